"""Rooms for procedural scenes: floor, walls with openings, a ceiling, furniture made of boxes and pillars."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from litdome.geometry import rotation_about_y
from litdome.synth.render import Mesh
from litdome.synth.shapes import Material, Mover, pillar, random_material

FloatArray = npt.NDArray[np.float64]
TEXELS = 64  # across a panel
Span = tuple[float, float]


def random_room(rng: np.random.Generator, floor: float, eyes: FloatArray) -> list[Mover]:
    """Floor, walls and furniture around the origin, turned at random; one room in two has a ceiling.

    What an eye would see from outside is left out, as on a stage: the room is open towards the cameras, and light
    comes in there and through windows and skylights.

    Args:
        rng: Chooses everything.
        floor: Height of the floor, m.
        eyes: Where cameras stand, shape (n, 3), m.
    """
    half, height = rng.uniform(1.5, 2.3, 2), rng.uniform(2.2, 3.2)
    turn = rotation_about_y(rng.uniform(-180, 180))
    seen_from = (eyes - [0.0, floor, 0.0]) @ turn  # in the room's own axes
    meshes = room_panels(rng, half, height, seen_from, ceiling=bool(rng.random() < 0.5))
    for _ in range(rng.integers(1, 5)):
        meshes += _furniture(rng, half)
    return [still(meshes, turn, np.array([0.0, floor, 0.0]))]


def room_panels(
    rng: np.random.Generator, half: FloatArray, height: float, eyes: FloatArray, *, ceiling: bool
) -> list[Mesh]:
    """The painted sides of a room whose floor is at y = 0, facing inwards; those that an eye sees from behind are left
    out.

    Args:
        rng: Chooses materials and openings.
        half: Half sizes along x and z, m.
        height: Of the walls, m.
        eyes: Shape (n, 3), m.
    """
    x, z = half
    up, across, along = np.array([0.0, height, 0]), np.array([2 * x, 0.0, 0]), np.array([0.0, 0, 2 * z])
    wall = random_material(rng)
    sides: list[tuple[FloatArray, FloatArray, FloatArray, Material, tuple[Span, Span] | None]]
    sides = [(np.array([-x, 0.0, -z]), along, across, random_material(rng), None)]
    for corner, side in (
        (np.array([-x, 0.0, -z]), across),  # towards +z
        (np.array([x, 0.0, z]), -across),  # towards -z
        (np.array([x, 0.0, -z]), along),  # towards -x
        (np.array([-x, 0.0, z]), -along),  # towards +x
    ):
        sides.append((corner, side, up, wall, _opening(rng) if rng.random() < 0.5 else None))
    if ceiling:
        skylight = _opening(rng) if rng.random() < 0.7 else None
        sides.append((np.array([-x, height, -z]), across, along, random_material(rng), skylight))
    meshes = []
    for corner, right, upward, material, opening in sides:
        normal = np.cross(right, upward)
        if ((eyes - corner) @ normal > 0).all():
            meshes += pierced(corner, right, upward, material, opening)
    return meshes


def pierced(
    corner: FloatArray, right: FloatArray, up: FloatArray, material: Material, opening: tuple[Span, Span] | None
) -> list[Mesh]:
    """A flat panel, or the four panels around a rectangular opening.

    Args:
        corner: Where ``right`` and ``up`` start, shape (3,), m.
        right, up: The panel's edges; it faces ``right x up``.
        material: Painted by position, so that the four panels continue each other.
        opening: Its spans along ``right`` and ``up``, 0..1.
    """
    if opening is None:
        spans: list[tuple[Span, Span]] = [((0, 1), (0, 1))]
    else:
        (left, stop), (low, high) = opening
        spans = [((0, left), (0, 1)), ((stop, 1), (0, 1)), ((left, stop), (0, low)), ((left, stop), (high, 1))]
    return [
        panel(corner + a * right + c * up, (b - a) * right, (d - c) * up, material)
        for (a, b), (c, d) in spans
        if b > a and d > c
    ]


def panel(corner: FloatArray, right: FloatArray, up: FloatArray, material: Material) -> Mesh:
    """A painted parallelogram that faces ``right x up``; edges in metres."""
    normal = np.cross(right, up)
    u, v = np.meshgrid((np.arange(TEXELS) + 0.5) / TEXELS, (np.arange(TEXELS) + 0.5) / TEXELS)
    points = corner + u[..., None] * right + v[..., None] * up
    return Mesh(
        np.stack([corner, corner + right, corner + right + up, corner + up]),
        np.array([[0, 1, 2], [0, 2, 3]]),
        np.tile(normal / np.linalg.norm(normal), (4, 1)),
        np.ones((4, 3)),
        roughness=material.roughness,
        metallic=material.metallic,
        texture=material.paint(points).astype(np.float32),
        uv=np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32),
    )


def box(low: FloatArray, high: FloatArray, material: Material) -> list[Mesh]:
    """An upright box between two corners, m, as six panels that face outwards."""
    x, y, z = np.diag(np.asarray(high, float) - low)
    low = np.asarray(low, float)
    faces = [(low, y, x), (low + z, x, y), (low, z, y), (low + x, y, z), (low, x, z), (low + y, z, x)]
    return [panel(corner, right, up, material) for corner, right, up in faces]


def still(meshes: list[Mesh], turn: FloatArray, place: FloatArray) -> Mover:
    """Meshes that stay where they are, turned, then placed."""
    mover = Mover(tuple(meshes), place, np.zeros(3), 0.0)
    return mover.turned(turn)


def _opening(rng: np.random.Generator) -> tuple[Span, Span]:
    """A window, or a door down to the floor."""
    left, low = rng.uniform(0.1, 0.5), rng.choice([0.0, rng.uniform(0.2, 0.4)])
    return (left, left + rng.uniform(0.2, 0.4)), (low, rng.uniform(0.6, 0.9))


def _furniture(rng: np.random.Generator, half: FloatArray) -> list[Mesh]:
    """A chest, a table, a shelf or a pillar on the floor, anywhere in the room."""
    size, material = rng.uniform([0.3, 0.3, 0.3], [0.9, 0.9, 0.6]), random_material(rng)
    x, z = rng.uniform(-half + size[[0, 2]] / 2, half - size[[0, 2]] / 2)
    low, high = np.array([x, 0, z]) - size / 2 * [1, 0, 1], np.array([x, 0, z]) + size * [0.5, 1, 0.5]
    kind = str(rng.choice(["chest", "table", "shelf", "pillar"]))
    if kind == "chest":
        return box(low, high, material)
    if kind == "pillar":
        return [pillar(np.array([x, 0.0, z]), size[0] * 0.3, rng.uniform(0.4, 2.2), material)]
    if kind == "shelf":
        (left, bottom, front), (right, top, back) = low, high
        rows = [bottom + k * size[1] / 2 for k in range(3)]
        boards = [((left, row, front), (right, row + 0.03, back)) for row in rows]
        boards += [((at, bottom, front), (at + 0.03, top, back)) for at in (left, right - 0.03)]
        return [mesh for a, b in boards for mesh in box(np.array(a), np.array(b), material)]
    legs = [(dx, dz) for dx in (low[0], high[0] - 0.05) for dz in (low[2], high[2] - 0.05)]
    top = box(np.array([low[0], high[1] - 0.05, low[2]]), high, material)
    return top + [
        mesh
        for dx, dz in legs
        for mesh in box(np.array([dx, 0, dz]), np.array([dx + 0.05, high[1] - 0.05, dz + 0.05]), material)
    ]

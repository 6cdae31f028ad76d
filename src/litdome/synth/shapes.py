"""Procedural objects with painted surfaces: superquadrics, tori, capsules, bumpy blobs and stacks of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from litdome.synth.render import Mesh

FloatArray = npt.NDArray[np.float64]
Shape = Callable[[FloatArray, FloatArray], FloatArray]  # (theta, phi) to points, shape (..., 3)
Paint = Callable[[FloatArray], FloatArray]  # points, shape (..., 3), to linear albedo
MESH_ROWS, MESH_COLUMNS = 33, 65
TEXTURE_ROWS, TEXTURE_COLUMNS = 64, 128
KINDS = ("superquadric", "torus", "capsule", "blob")
SKIN_LIGHT, SKIN_DARK = np.array([0.72, 0.48, 0.36]), np.array([0.09, 0.045, 0.03])


@dataclass(frozen=True, eq=False)
class Material:
    """How a surface reflects; `paint` gives the albedo of points of the object."""

    roughness: float
    metallic: float
    paint: Paint


@dataclass(frozen=True, eq=False)
class Mover:
    """An object in its rest place, and how it moves per frame (m, rad about the vertical)."""

    meshes: tuple[Mesh, ...]
    place: FloatArray
    velocity: FloatArray
    spin: float

    def at(self, frame: int) -> tuple[Mesh, ...]:
        """The object's meshes at a frame."""
        c, s = np.cos(self.spin * frame), np.sin(self.spin * frame)
        turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        offset = self.place + self.velocity * frame
        return tuple(replace(m, vertices=m.vertices @ turn.T + offset, normals=m.normals @ turn.T) for m in self.meshes)

    def turned(self, turn: FloatArray) -> Mover:
        """The object turned about its own origin by a rotation, shape (3, 3)."""
        turned = (replace(m, vertices=m.vertices @ turn.T, normals=m.normals @ turn.T) for m in self.meshes)
        return replace(self, meshes=tuple(turned))


def random_object(rng: np.random.Generator, place: FloatArray) -> Mover:
    """An object of a random kind, size, material and motion."""
    kind, size = str(rng.choice([*KINDS, "stack"])), rng.uniform(0.18, 0.6)
    shapes = _stack(rng, size) if kind == "stack" else [_shape(kind, rng, size)]
    material = random_material(rng)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    meshes = tuple(_grid_mesh(shape, material) for shape in shapes)
    return Mover(meshes, place, rng.normal(0, 0.008, 3), float(rng.normal(0, 0.03))).turned(rotation)


def ground_plane(rng: np.random.Generator, height: float, half_size: float = 3.0) -> Mover:
    """A painted floor at y = ``height``, m."""
    corners = np.array([[-1.0, 0, -1], [-1, 0, 1], [1, 0, 1], [1, 0, -1]]) * half_size
    u, v = np.meshgrid((np.arange(256) + 0.5) / 256, (np.arange(256) + 0.5) / 256)
    points = np.stack([2 * u - 1, 0 * u, 2 * v - 1], axis=-1) * half_size
    material = random_material(rng)
    mesh = Mesh(
        corners,
        np.array([[0, 1, 2], [0, 2, 3]]),
        np.tile([0.0, 1, 0], (4, 1)),
        np.ones((4, 3)),
        roughness=max(material.roughness, 0.5),
        texture=material.paint(points).astype(np.float32),
        uv=np.array([[0, 0], [0, 1], [1, 1], [1, 0]], np.float32),
    )
    return Mover((mesh,), np.array([0.0, height, 0.0]), np.zeros(3), 0.0)


def pillar(foot: FloatArray, radius: float, height: float, material: Material) -> Mesh:
    """An upright cylinder with slightly rounded edges, standing on ``foot``, m."""
    size, middle = np.array([radius, height / 2, radius]), foot + np.array([0.0, height / 2, 0.0])
    exponents = np.array([0.15, 1.0])
    return _grid_mesh(lambda theta, phi: _superquadric(theta, phi, exponents) * size + middle, material)


def random_material(rng: np.random.Generator) -> Material:
    """One time in six a metal; albedo plain, striped, patched, chequered or cloudy, skin tones among them."""
    first, second, third = _colour(rng), _colour(rng), _colour(rng)
    axis, frequency = rng.normal(size=3), rng.uniform(6, 25)
    axis /= np.linalg.norm(axis)
    waves, phases = rng.normal(size=(8, 3)) * frequency * 0.6, rng.uniform(0, 2 * np.pi, 8)
    seeds, owners = rng.normal(0, 0.4, (24, 3)), rng.integers(0, 3, 24)
    kind = str(rng.choice(["plain", "stripes", "patches", "chequers", "clouds"]))

    def paint(points: FloatArray) -> FloatArray:
        cloud = 0.5 + 0.5 * np.tanh(np.sin(points @ waves.T + phases).sum(axis=-1, keepdims=True) / 2)
        if kind == "patches":
            nearest = cKDTree(seeds).query(points.reshape(-1, 3))[1].reshape(points.shape[:-1])
            return np.asarray(np.stack([first, second, third])[owners[nearest]])
        if kind == "plain":
            return np.asarray(first * (0.85 + 0.15 * cloud))
        if kind == "stripes":
            mix = 0.5 + 0.5 * np.tanh(4 * np.sin(points @ axis * frequency))[..., None]
        elif kind == "chequers":
            mix = 0.5 + 0.5 * np.prod(np.sign(np.sin(points * frequency + 0.1)), axis=-1, keepdims=True)
        else:
            mix = cloud
        return np.asarray(first * (1 - mix) + second * mix)

    metal = rng.random() < 1 / 6
    return Material(float(rng.uniform(0.25, 0.95)), 1.0 if metal else 0.0, paint)


def _colour(rng: np.random.Generator) -> FloatArray:
    """Linear albedo: a grey, a skin tone, a muted or a saturated colour."""
    kind, bright = rng.integers(4), rng.uniform(0.06, 0.8)
    if kind == 0:
        return np.full(3, bright)
    if kind == 1:
        mix = rng.uniform()
        return np.asarray(SKIN_DARK ** (1 - mix) * SKIN_LIGHT**mix)
    colour = rng.uniform(0.0 if kind == 3 else 0.4, 1, 3) ** (2.0 if kind == 3 else 1.0)
    return np.asarray(np.clip(colour / colour.max() * bright, 0.02, 0.9))


def _shape(kind: str, rng: np.random.Generator, size: float) -> Shape:
    if kind == "torus":
        thick = rng.uniform(0.25, 0.5) * size
        return lambda theta, phi: _torus(theta, phi, size - thick, thick)
    if kind == "capsule":
        half = rng.uniform(0.5, 1.5) * size
        return lambda theta, phi: _ball(theta, phi) * (size * 0.5) + _lift(np.tanh(4 * np.cos(theta)) * half)
    if kind == "blob":
        waves, phases = rng.normal(size=(6, 3)) * rng.uniform(1.5, 5), rng.uniform(0, 2 * np.pi, 6)
        return lambda theta, phi: _bumpy(_ball(theta, phi), waves, phases) * size
    exponents, scale = rng.choice([0.2, 0.4, 1.0, 1.0], 2), rng.uniform(0.5, 1.0, 3) * size
    return lambda theta, phi: _superquadric(theta, phi, exponents) * scale


def _stack(rng: np.random.Generator, size: float) -> list[Shape]:
    """Three to five shapes grown onto each other: overlaps, contact shadows."""
    shapes, at = [], np.zeros(3)
    for _ in range(rng.integers(3, 6)):
        shapes.append(_moved(_shape(str(rng.choice(KINDS)), rng, size * rng.uniform(0.3, 0.6)), at))
        at = at + rng.normal(0, 0.4, 3) * size
    return shapes


def _moved(shape: Shape, offset: FloatArray) -> Shape:
    return lambda theta, phi: shape(theta, phi) + offset


def _ball(theta: FloatArray, phi: FloatArray) -> FloatArray:
    return np.stack([np.sin(theta) * np.sin(phi), np.cos(theta), np.sin(theta) * np.cos(phi)], axis=-1)


def _lift(height: FloatArray) -> FloatArray:
    return np.stack([0 * height, height, 0 * height], axis=-1)


def _torus(theta: FloatArray, phi: FloatArray, ring: float, thick: float) -> FloatArray:
    around = 2 * theta  # 0..2 pi; starts and ends on the outside
    out = ring + thick * np.cos(around)
    return np.stack([out * np.sin(phi), -thick * np.sin(around), out * np.cos(phi)], axis=-1)


def _superquadric(theta: FloatArray, phi: FloatArray, exponents: FloatArray) -> FloatArray:
    def power(value: FloatArray, exponent: float) -> FloatArray:
        return np.asarray(np.sign(value) * np.abs(value) ** exponent)

    ring = power(np.sin(theta), exponents[0])
    x, z = power(np.sin(phi), exponents[1]), power(np.cos(phi), exponents[1])
    return np.stack([ring * x, power(np.cos(theta), exponents[0]), ring * z], axis=-1)


def _bumpy(ball: FloatArray, waves: FloatArray, phases: FloatArray) -> FloatArray:
    return np.asarray(ball * (0.8 + 0.06 * np.sin(ball @ waves.T + phases).sum(axis=-1, keepdims=True)))


def _angles(down: FloatArray, across: FloatArray) -> tuple[FloatArray, FloatArray]:
    theta, phi = np.meshgrid(np.pi * down, 2 * np.pi * across, indexing="ij")
    return theta, phi


def _grid_mesh(shape: Shape, material: Material) -> Mesh:
    """Triangulate a shape over (theta, phi), with normals by differences and a texture painted on its points."""
    theta, phi = _angles(np.linspace(0, 1, MESH_ROWS), np.linspace(0, 1, MESH_COLUMNS))
    index = np.arange(theta.size).reshape(theta.shape)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
    texels = _angles(
        (np.arange(TEXTURE_ROWS) + 0.5) / TEXTURE_ROWS, (np.arange(TEXTURE_COLUMNS) + 0.5) / TEXTURE_COLUMNS
    )
    return Mesh(
        shape(theta, phi).reshape(-1, 3),
        np.concatenate([np.column_stack([a, b, c]), np.column_stack([a, c, d])]),
        _normals(shape, theta, phi).reshape(-1, 3),
        np.ones((theta.size, 3)),
        roughness=material.roughness,
        metallic=material.metallic,
        texture=material.paint(shape(*texels)).astype(np.float32),
        uv=np.stack([phi / (2 * np.pi), theta / np.pi], axis=-1).reshape(-1, 2).astype(np.float32),
    )


def _normals(shape: Shape, theta: FloatArray, phi: FloatArray, step: float = 1e-3) -> FloatArray:
    """Outward unit normals by differences; at a pole, where those vanish, along the axis."""
    down = shape(np.minimum(theta + step, np.pi), phi) - shape(np.maximum(theta - step, 0), phi)
    normals = np.cross(down, shape(theta, phi + step) - shape(theta, phi - step))
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    axis = np.sign(np.cos(theta))[..., None] * np.array([0.0, 1.0, 0.0])
    return np.asarray(np.where(length > 1e-10, normals / np.maximum(length, 1e-10), axis))

"""Rooms of procedural scenes: exact walls, light only through openings, nothing in the cameras' way."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from litdome.geometry import Camera, look_at
from litdome.synth.lights import DirectionalLights
from litdome.synth.render import Scene, cast_surface
from litdome.synth.rooms import box, pierced, random_room, room_panels
from litdome.synth.scenes import build_scene, render_scene
from litdome.synth.shading import shade
from litdome.synth.shapes import Material

WHITE = Material(1.0, 0.0, lambda points: np.ones_like(points))
EYE = np.array([0.4, 1.5, 4.0])
HALF, HEIGHT = np.array([2.0, 1.5]), 2.5


def camera_at(eye: np.ndarray, target: tuple[float, float, float] = (0.0, 1.0, 0.0)) -> Camera:
    intrinsics = np.array([[40.0, 0, 31.5], [0, 40, 23.5], [0, 0, 1]])
    return Camera("eye", 64, 48, intrinsics, np.zeros(8), look_at(eye, np.array(target)))


def test_walls_floor_and_ceiling_face_inwards_and_lie_where_they_should() -> None:
    meshes = room_panels(np.random.default_rng(0), HALF, HEIGHT, np.array([[0.0, 1.2, 0.0]]), ceiling=True)
    surface = cast_surface(Scene(tuple(meshes)), camera_at(np.array([0.3, 1.25, 1.3]), (0.0, 1.25, 0.0)))
    sides = {(0, 1, 0): 0.0, (0, -1, 0): -HEIGHT, (0, 0, 1): -1.5, (1, 0, 0): -2.0, (-1, 0, 0): -2.0}
    seen = {tuple(normal) for normal in np.round(surface.normal).astype(int).tolist()}
    assert {(0, 0, 1), (0, 1, 0), (0, -1, 0)} <= seen <= set(sides)
    for normal in seen:
        on = (surface.normal == np.array(normal)).all(axis=1)
        assert on.any()
        np.testing.assert_allclose(surface.position[on] @ np.array(normal), sides[normal], atol=1e-5)
    np.testing.assert_array_equal(surface.normal, surface.geometric_normal)


def test_light_comes_in_through_the_window_and_nowhere_else() -> None:
    """A lamp behind a wall lights exactly those points of the floor that see it through the opening."""
    wall = pierced(
        np.array([-2.0, 0, -1.5]), np.array([4.0, 0, 0]), np.array([0.0, 2.5, 0]), WHITE, ((0.25, 0.5), (0.4, 0.8))
    )
    floor = pierced(np.array([-2.0, 0, -1.5]), np.array([0, 0, 3.0]), np.array([4.0, 0, 0]), WHITE, None)
    scene = Scene(tuple(wall + floor))
    surface = cast_surface(scene, camera_at(EYE), antialias=False)
    toward = np.array([[0.1, 0.5, -0.8]], np.float32) / np.sqrt(0.9, dtype=np.float32)
    shown = shade(scene, surface, DirectionalLights(toward, np.full((1, 3), np.pi, np.float32)))
    on_floor = surface.normal[:, 1] == 1
    position = surface.position[on_floor].astype(np.float64)
    reach = (-1.5 - position[:, 2]) / toward[0, 2]
    x, y = position[:, 0] + reach * toward[0, 0], reach * toward[0, 1]
    outlines = abs(x - [[-2.0], [-1.0], [0.0], [2.0]]).min(axis=0), abs(y - [[1.0], [2.0], [2.5]]).min(axis=0)
    edge = np.minimum(*outlines) < 0.01
    lit = ((x > -1) & (x < 0) & (y > 1) & (y < 2)) | (y > 2.5) | (abs(x) > 2)  # the window, above, beside
    assert 20 < lit.sum() < 0.9 * len(lit)
    np.testing.assert_array_equal((shown[on_floor, 0] > 0)[~edge], lit[~edge])
    assert shown[on_floor][lit & ~edge].min() > 0.99 * toward[0, 1]  # Lambert: the cosine; the highlight adds to it


def test_a_box_has_its_size_and_faces_outwards() -> None:
    scene = Scene(tuple(box(np.array([-1.0, 0.5, -0.25]), np.array([1.0, 1.5, 0.25]), WHITE)))
    np.testing.assert_array_equal(scene.vertices.min(axis=0), [-1, 0.5, -0.25])
    np.testing.assert_array_equal(scene.vertices.max(axis=0), [1, 1.5, 0.25])
    middle = scene.vertices[scene.faces].mean(axis=1) - [0, 1, 0]
    assert (np.einsum("nc,nc->n", middle, scene.normals[scene.faces[:, 0]]) > 0).all()
    a, b, c = (scene.vertices[scene.faces[:, k]] for k in range(3))
    np.testing.assert_allclose(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2, 2 * (2 + 1 + 0.5), rtol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_no_side_of_a_room_is_seen_from_behind(seed: int) -> None:
    eyes = EYE + np.array([[0.0, 0, 0], [0.2, 0.1, 0]])
    room = random_room(np.random.default_rng(seed), -0.2, eyes)[0].at(3)
    assert {mesh.vertices[:, 1].min() for mesh in room} >= {-0.2}
    flat = [mesh for mesh in room if len(mesh.vertices) == 4 and np.ptp(mesh.vertices[:, [0, 2]], axis=0).max() > 1.2]
    assert flat  # the floor at least
    for mesh in flat:
        assert ((eyes - mesh.vertices[0]) @ mesh.normals[0] > 0).all()


def test_a_scene_in_a_room_repeats_and_fills_more_of_the_picture() -> None:
    first, again = (render_scene(2, height=24, width=40, frames=2, room=True) for _ in range(2))
    for field in dataclasses.fields(first):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(again, field.name), err_msg=field.name)
    assert first.mask.mean() > render_scene(2, height=24, width=40, room=False).mask.mean() + 0.1
    rooms = [len(build_scene(seed, height=8, width=8).movers[-1].meshes) > 5 for seed in range(30)]
    assert 3 < sum(rooms) < 18  # one in three when the seed decides

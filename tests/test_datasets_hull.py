"""The visual hull: a ball filmed by cameras around it, silhouettes by formula."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from exported_data import make_dataset

from litdome.datasets.export.colmap import moment_points
from litdome.datasets.export.hull import FINE, View, carve, hull_points
from litdome.datasets.export.moments import Moment
from litdome.datasets.export.shots import select_shots
from litdome.geometry import Camera, look_at, pixel_grid, rotation_about_y

CENTRE, RADIUS = np.array([0.1, 1.1, -0.2]), 0.5
SIZE = (96, 80)  # width, height
LENS = np.array([[110.0, 0, 47], [0, 110, 40.5], [0, 0, 1]])


def view(degrees: float, height_m: float = 1.4, colour: tuple[int, int, int] = (200, 100, 50)) -> View:
    """A ball seen from 3 m: a ray that passes within its radius shows it."""
    eye = rotation_about_y(degrees) @ [0.0, height_m, 3.0]
    camera = Camera("c", *SIZE, LENS, np.zeros(8), look_at(eye, [0, 1, 0]))
    rays = camera.ray_directions(pixel_grid(*SIZE))
    missed = np.linalg.norm(np.cross(CENTRE - camera.centre, rays), axis=1).reshape(SIZE[::-1])
    mask = np.where(missed < RADIUS, np.uint8(255), np.uint8(0))
    picture = np.where(mask[..., None] > 0, np.uint8(colour), np.uint8(0))
    return View(camera, picture, mask, np.full_like(mask, 255))


@pytest.fixture(scope="module")
def around() -> list[View]:
    return [view(45.0 * n, 0.4 + n % 3) for n in range(8)]


def test_points_lie_on_the_ball_and_take_its_colour(around: list[View]) -> None:
    points, colours = hull_points(around)
    away = np.linalg.norm(points - CENTRE, axis=1)
    pixel = 3.0 / 110  # m, of a pixel at the ball
    step = 2.2 * RADIUS / FINE  # m, of the grid
    assert len(points) > 1000 and away.min() > RADIUS - pixel - 2 * step
    assert np.median(away) < 1.1 * RADIUS and away.max() < 1.4 * RADIUS  # hulls of few views have corners
    assert (colours == (200, 100, 50)).all()
    for seen in around:
        columns, rows = np.rint(seen.camera.project(points)).astype(int).T
        assert (seen.mask[rows, columns] == 255).all()


def test_what_a_camera_does_not_show_is_not_carved_by_it(around: list[View]) -> None:
    left = around[0].weight.copy()
    left[:, :48] = 0
    cut = replace(around[0], weight=left, mask=np.where(left > 0, around[0].mask, np.uint8(0)))
    points, _ = hull_points([cut, *around[1:]])
    whole, _ = hull_points(around)
    assert np.ptp(points, axis=0) == pytest.approx(np.ptp(whole, axis=0), abs=0.12)  # m; one camera less carves less
    wrong = replace(cut, weight=around[0].weight)  # empty where it says it knows: half of the ball goes
    assert np.ptp(hull_points([wrong, *around[1:]])[0], axis=0).min() < 0.7 * np.ptp(whole, axis=0).min()


def test_padding_around_a_whole_silhouette_carves_as_the_picture_would() -> None:
    narrow = [view(10.0 * n) for n in range(3)]  # from one side: the hull is long
    aside = view(95.0)
    rows, columns = np.nonzero(aside.mask)
    padded = np.zeros_like(aside.weight)
    padded[rows.min() - 2 : rows.max() + 3, columns.min() - 2 : columns.max() + 3] = 255
    whole, _ = hull_points([*narrow, aside])
    np.testing.assert_array_equal(hull_points([*narrow, replace(aside, weight=padded)])[0], whole)
    assert np.ptp(hull_points(narrow)[0], axis=0).max() > 1.5 * np.ptp(whole, axis=0).max()


def test_two_views_or_masks_that_disagree_give_no_points(around: list[View]) -> None:
    assert len(hull_points(around[:2])[0]) == 0
    empty = [replace(v, mask=np.zeros_like(v.mask)) for v in around]
    assert len(hull_points(empty)[0]) == 0
    assert not carve(CENTRE[None] + [0, 2 * RADIUS, 0], around).any() and carve(CENTRE[None], around).all()


def test_held_out_cameras_place_no_points(tmp_path: Path) -> None:
    selection = select_shots(make_dataset(tmp_path))
    first = tuple(shot for shot in selection.shots if shot.pair == 0)
    assert [shot.split for shot in first] == ["train", "train", "test_camera"]
    moment = Moment("train", "take", 0, "relit", first)
    assert len(moment_points(selection, moment)[0]) == 0  # two cameras are left
    trained = tuple(replace(shot, split="train") for shot in first)
    assert len(moment_points(selection, replace(moment, shots=trained))[0]) > 100

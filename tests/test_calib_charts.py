"""Colour charts: found however they are turned, hidden in part, or not at all; never guessed."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from conftest import DATA, need

from litdome.calib.color.charts import find_chart, read_patches
from litdome.color import COLORCHECKER_24, linear_from_srgb
from litdome.errors import CalibrationError
from litdome.media.folders import read_picture
from litdome.synth.charts import chart_corners, chart_pose, film_chart
from litdome.synth.dome import wall_picture
from litdome.synth.rig import make_rig
from litdome.synth.sensors import expose
from litdome.synth.shading import flat_lights

PLACES = np.array([(x, y) for y in range(4) for x in range(6)], float)


def filmed(seed: int = 0) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """A picture with a chart, and where its corner patches are, px."""
    picture, corners = _filmed(seed)
    return picture.copy(), corners.copy()


@lru_cache
def _filmed(seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    camera = make_rig(1, width=240, height=360).cameras[0]
    rng = np.random.default_rng(seed)
    pose = chart_pose(camera, rng)
    picture = expose(film_chart(camera, pose, wall_picture(camera, flat_lights())), rng)
    return picture, chart_corners(camera, pose)


def middles(corners: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Of all patches, shape (24, 2), px."""
    square = np.array([(0, 0), (5, 0), (5, 3), (0, 3)], np.float32)
    to_picture = cv2.getPerspectiveTransform(square, corners.astype(np.float32))
    return cv2.perspectiveTransform(PLACES[:, None], to_picture)[:, 0]


@pytest.mark.parametrize("turned", range(4))
@pytest.mark.parametrize("seed", [0, 1])
def test_chart_is_found_in_any_turn_with_dark_skin_first(seed: int, turned: int) -> None:
    picture, corners = filmed(seed)
    for _ in range(turned):
        corners = np.stack([corners[:, 1], picture.shape[1] - 1 - corners[:, 0]], axis=1)
        picture = np.ascontiguousarray(np.rot90(picture))
    found = find_chart(picture)
    assert found is not None
    assert np.abs(found.corners - corners).max() < 1.0  # px: a twentieth of a patch


def test_mirrored_picture_is_refused() -> None:
    picture, _ = filmed()
    with pytest.raises(CalibrationError, match=r"^c07\.png: .*mirror"):
        find_chart(np.ascontiguousarray(picture[:, ::-1]), "c07.png")


def test_chart_with_a_quarter_hidden_is_found() -> None:
    picture, corners = filmed()
    patches = middles(corners)
    for x, y in patches[[3, 4, 5, 9, 10, 11]]:
        cv2.rectangle(picture, (int(x) - 13, int(y) - 13), (int(x) + 13, int(y) + 13), (60, 90, 50), -1)
    found = find_chart(picture)
    assert found is not None and np.abs(found.corners - corners).max() < 2.0


def test_no_chart_is_said_where_there_is_none() -> None:
    camera = make_rig(1, width=240, height=360).cameras[0]
    assert find_chart(expose(wall_picture(camera, flat_lights()), np.random.default_rng(0))) is None
    rng = np.random.default_rng(1)
    board = np.kron(rng.integers(0, 2, (9, 12)), np.ones((24, 24))).astype(np.uint8) * 200
    assert find_chart(np.repeat(board[..., None], 3, axis=2)) is None


def test_chart_with_its_colours_in_another_order_is_not_believed() -> None:
    """Negative control: the same lattice of even patches, but the colours of no ColorChecker."""
    picture, corners = filmed()
    rng = np.random.default_rng(3)
    for x, y in middles(corners):
        colour = [int(c) for c in rng.integers(40, 250, 3)]
        cv2.rectangle(picture, (int(x) - 9, int(y) - 9), (int(x) + 9, int(y) + 9), colour, -1)
    assert find_chart(picture) is None


def test_patches_are_read_and_clipped_ones_counted() -> None:
    picture, corners = filmed()
    display = picture / 255.0
    reading = read_patches(display, linear_from_srgb(display), corners)
    cyan = 17
    assert reading.clipped[cyan] and not reading.usable[cyan]  # sRGB cannot show it: its red is below 0
    assert reading.usable.sum() == 23
    # a code at half light is 0.4 % of full scale
    np.testing.assert_allclose(reading.linear[reading.usable], COLORCHECKER_24[reading.usable], atol=0.006)


def test_patch_outside_the_picture_is_not_usable() -> None:
    picture, corners = filmed()
    display = picture / 255.0
    reading = read_patches(display, linear_from_srgb(display), corners - [corners[0, 0], 0])
    assert not reading.usable[0] and np.isnan(reading.linear[0]).all()


def test_real_chart_turned_and_half_under_a_leaf_is_found_where_it_is() -> None:
    path: Path = need(DATA / "color" / "partial_card_rgb.png")
    found = find_chart(np.asarray(read_picture(path)))
    assert found is not None
    # dark skin is top right and rows run downwards; measured by eye at the patches' edges, px
    truth = np.array([(562, 374), (551, 820), (276, 817), (283, 375)])
    assert np.abs(found.corners - truth).max() < 8  # a tenth of a patch
    display = read_picture(path) / 255.0
    reading = read_patches(display, linear_from_srgb(display), found.corners)
    assert not reading.usable[[7, 20]].all()  # the leaf's edge runs across purplish blue and neutral 6.5

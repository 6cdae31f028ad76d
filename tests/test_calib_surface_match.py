"""Gains between cameras from a body that several see at once, against cameras whose gains are known."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial import cKDTree

from litdome.calib.color.surface_match import carve, differences, fit_gains, shared_colors
from litdome.errors import CalibrationError
from litdome.geometry import Rig
from litdome.synth.body import make_body
from litdome.synth.render import Scene, cast_surface
from litdome.synth.rig import make_rig

GAINS = np.array([(1.0, 1.0, 1.0), (0.8, 1.1, 0.95), (1.2, 0.9, 1.0), (0.9, 0.9, 1.15)])
SKIN = 0.4


@lru_cache(maxsize=1)
def seen() -> tuple[
    Rig, dict[str, npt.NDArray[np.float32]], dict[str, npt.NDArray[np.uint8]], npt.NDArray[np.floating]
]:
    """Four neighbouring cameras, what a perfect one would see under flat light, masks, and the body's vertices."""
    rig = Rig(make_rig(6, width=180, height=320).cameras[1:5])
    mesh = make_body("s1").mesh(3.0)
    pictures, masks = {}, {}
    for camera in rig.cameras:
        surface = cast_surface(Scene((mesh,)), camera)
        pictures[camera.id] = surface.picture(np.clip(surface.albedo, 0.03, 0.6)).astype(np.float32)
        masks[camera.id] = np.round(surface.mask * 255).astype(np.uint8)
    return rig, pictures, masks, mesh.vertices


def through(gains: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Shared colours as cameras with these gains see them."""
    rig, pictures, masks, _ = seen()
    own = {id: (pictures[id] * gain).astype(np.float32) for id, gain in zip(rig.ids, gains, strict=True)}
    return shared_colors(rig, own, masks)


def test_hull_holds_the_body_and_little_more() -> None:
    rig, _, masks, vertices = seen()
    points = carve(list(rig.cameras), masks)
    low, high = points.min(axis=0), points.max(axis=0)
    # voxels of 2 cm, and pixels of 2 cm at this distance
    assert np.abs(low[1] - vertices[:, 1].min()) < 0.06 and np.abs(high[1] - vertices[:, 1].max()) < 0.06
    for camera in rig.cameras:
        column, row = camera.project(points).round().astype(int).T
        assert (masks[camera.id][row, column] > 127).all()
    nearest, _ = cKDTree(points).query(vertices)
    assert np.quantile(nearest, 0.8) < 0.03  # m; hands that leave a picture, and fingers, are not in it


def test_gains_of_known_cameras_are_recovered() -> None:
    rig = seen()[0]
    found = fit_gains(through(GAINS), rig.ids, rig.ids[0])
    # the hull lies outside the body and textures are fine: a few percent, which is what docs/color.md promises
    np.testing.assert_allclose(found * GAINS, 1, atol=0.06)
    before, after = differences(through(GAINS), np.ones((4, 3))), differences(through(GAINS), found)
    assert (after < before / 2).all()


def test_alike_cameras_get_gains_of_one() -> None:
    found = fit_gains(through(np.ones((4, 3))), seen()[0].ids, None)
    np.testing.assert_allclose(found, 1, atol=0.06)


def test_camera_that_shares_nothing_is_named() -> None:
    colors = through(GAINS)
    colors[:, 3] = np.nan
    ids = seen()[0].ids
    with pytest.raises(CalibrationError, match=f"camera {ids[3]}: shares fewer"):
        fit_gains(colors, ids, None)


def test_empty_masks_share_nothing() -> None:
    rig, pictures, masks, _ = seen()
    assert len(shared_colors(rig, pictures, {id: np.zeros_like(mask) for id, mask in masks.items()})) == 0

from __future__ import annotations

import cv2
import numpy as np
import pytest

from litdome.errors import CalibrationError
from litdome.geometry import Camera
from litdome.preprocess.undistort import _resampler, undistort_picture

K = np.array([[300.0, 0, 159.5], [0, 300.0, 119.5], [0, 0, 1]])
CAMERA = Camera("c00", 320, 240, K, np.array([-0.25, 0.08, 0.001, -0.002, 0, 0, 0, 0]), np.eye(4))


def dots(pixels: np.ndarray) -> np.ndarray:
    """A picture with a soft dot at each pixel."""
    y, x = np.mgrid[0:240, 0:320]
    picture = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / 8.0) for px, py in pixels)
    return np.clip(picture * 250, 0, 255).astype(np.uint8)


def centroid(picture: np.ndarray, near: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]]
    weights = picture.astype(float) * (np.hypot(x - near[0], y - near[1]) < 9)
    return np.array([(x * weights).sum(), (y * weights).sum()]) / weights.sum()


def test_points_land_where_the_undistorted_camera_projects_them() -> None:
    points = np.array([[-0.3, -0.2, 1.0], [0.35, 0.1, 1.0], [-0.1, 0.28, 1.0]])
    picture = dots(CAMERA.project(points))
    straight = CAMERA.undistorted()
    for size in (None, (160, 120)):
        target = straight.scaled(*size) if size else straight
        out = undistort_picture(picture, CAMERA, size)
        assert out.shape == (target.height, target.width)
        for wanted in target.project(points):
            assert np.abs(centroid(out, wanted) - wanted).max() < 0.12  # px: bilinear lookup of a 2 px dot
    # negative control: without undistortion the first dot is off by more than 2 px
    assert np.abs(CAMERA.project(points)[0] - straight.project(points)[0]).max() > 2


def test_masks_stay_binary_with_nearest_and_maps_are_built_once() -> None:
    mask = np.zeros((240, 320), np.uint8)
    cv2.circle(mask, (100, 120), 50, 255, -1)
    _resampler.cache_clear()
    out = undistort_picture(mask, CAMERA, nearest=True)
    assert set(np.unique(out)) == {0, 255}
    again = Camera("c00", 320, 240, K.copy(), CAMERA.distortion.copy(), np.eye(4))
    undistort_picture(mask, again, nearest=True)
    assert _resampler.cache_info().misses == 1 and _resampler.cache_info().hits == 1


def test_another_size_than_the_calibration_is_refused() -> None:
    with pytest.raises(CalibrationError, match="320x200, calibrated at 320x240"):
        undistort_picture(np.zeros((200, 320), np.uint8), CAMERA)

"""Projection: OpenCV's pixels, and derivatives that are the derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from exact_boards import exact_rig

from litdome.calib.solve.projection import TERMS, changed_lens, lens_values, project, project_with_derivatives
from litdome.geometry import LensModel

MODELS: tuple[LensModel, ...] = ("pinhole5", "fisheye4", "pinhole8")


def scene() -> tuple[np.ndarray, np.ndarray]:
    """Lenses of one camera a model, and points before each, one of them on the axis."""
    rig = exact_rig(3, MODELS)
    points = np.random.default_rng(0).uniform([-0.5, -0.5, 1.0], [0.5, 0.5, 2.0], (3, 9, 3))
    points[:, 0, :2] = 0
    return np.array([lens_values(camera) for camera in rig.cameras]), points


def test_pixels_are_opencvs() -> None:
    rig, (lenses, points) = exact_rig(3, MODELS), scene()
    pixels = project(MODELS, lenses, points)
    for n, camera in enumerate(rig.cameras):
        pose = camera.world_from_camera
        expected = camera.project(points[n] @ pose[:3, :3].T + pose[:3, 3])
        np.testing.assert_allclose(pixels[n], expected, atol=1e-9)


def test_a_point_behind_the_camera_has_no_pixel() -> None:
    lenses, points = scene()
    points[1, 3, 2] = -1
    pixels = project(MODELS, lenses, points)
    assert np.isnan(pixels[1, 3]).all() and np.isfinite(np.delete(pixels.reshape(-1, 2), 12, axis=0)).all()


def test_derivatives_by_the_point_are_numeric_ones() -> None:
    lenses, points = scene()
    _, by_point, _ = project_with_derivatives(MODELS, lenses, points)
    step = 1e-6
    for axis in range(3):
        move = np.eye(3)[axis] * step
        numeric = (project(MODELS, lenses, points + move) - project(MODELS, lenses, points - move)) / (2 * step)
        np.testing.assert_allclose(by_point[..., axis], numeric, rtol=1e-6, atol=1e-6 * np.abs(numeric).max())


@pytest.mark.parametrize("n", range(3))
def test_derivatives_by_every_lens_term_are_numeric_ones(n: int) -> None:
    lenses, points = scene()
    _, _, by_term = project_with_derivatives(MODELS, lenses, points)
    step = 1e-6
    for term in range(12):
        move = np.eye(12)[term] * step
        there, back = (project(MODELS, changed_lens(lenses, sign * move), points)[n] for sign in (1, -1))
        numeric = (there - back) / (2 * step)
        if term < len(TERMS[MODELS[n]]):
            assert np.abs(numeric).max() > 0.1  # px per unit: the negative control, the term is there
            # central differences of 1e3 px lose 1e-7 to rounding
            np.testing.assert_allclose(by_term[n, ..., term], numeric, rtol=1e-6, atol=1e-6 * np.abs(numeric).max())

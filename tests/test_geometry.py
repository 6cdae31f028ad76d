from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from litdome.geometry import Camera, Resampler, invert_rigid, look_at, rotation_about_y, scaled_intrinsics

K = np.array([[900.0, 0, 181.0], [0, 905.0, 318.5], [0, 0, 1]])
LENS = np.array([-0.12, 0.05, 0.001, -0.0007, 0.01, 0, 0, 0])
CAMERA = Camera("c00", 360, 640, K, LENS, look_at((2.0, 1.5, 2.5), (0.0, 1.0, 0.0)))


@pytest.mark.parametrize("model", ["pinhole5", "fisheye4"])
def test_rays_through_projected_points_hit_them(model: str) -> None:
    camera = replace(CAMERA, model=model)
    points = np.random.default_rng(0).uniform([-0.4, 0.3, -0.4], [0.4, 1.7, 0.4], (50, 3))
    rays = camera.ray_directions(camera.project(points))
    to_points = points - camera.centre
    distance = np.linalg.norm(np.cross(rays, to_points), axis=1)
    assert distance.max() < 1e-5  # metres, at 3 m


def test_look_at_gives_opencv_axes() -> None:
    pose = look_at((0.0, 1.0, 3.0), (0.0, 1.0, 0.0))
    np.testing.assert_allclose(pose[:3, :3], np.diag([1.0, -1.0, -1.0]), atol=1e-12)
    np.testing.assert_allclose(invert_rigid(pose) @ pose, np.eye(4), atol=1e-12)


def test_light_turns_from_z_towards_x() -> None:
    np.testing.assert_allclose(rotation_about_y(90) @ [0, 0, 1], [1, 0, 0], atol=1e-12)


def test_scaling_keeps_what_a_pixel_centre_sees() -> None:
    half = scaled_intrinsics(K, 0.5, 0.5)
    assert half[0, 2] == pytest.approx((181.0 + 0.5) * 0.5 - 0.5) and half[0, 0] == 450
    point = np.array([[0.1, 1.2, 0.2]])
    full, small = CAMERA.project(point), CAMERA.scaled(180, 320).project(point)
    np.testing.assert_allclose(small, (full + 0.5) * 0.5 - 0.5, atol=1e-9)


@pytest.mark.parametrize("shrink", [1, 2, 3])
def test_a_resampled_picture_shows_points_where_the_target_projects_them(shrink: int) -> None:
    target = CAMERA.undistorted().scaled(360 // shrink, 640 // shrink)
    y, x = np.mgrid[:640, :360].astype(np.float32)
    resample = Resampler.between(CAMERA, target)
    for point in ([0.0, 1.0, 0.0], [0.3, 1.5, -0.2], [-0.3, 0.4, 0.1]):
        (u, v), (seen_u, seen_v) = CAMERA.project(np.array([point]))[0], target.project(np.array([point]))[0]
        seen = resample(np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 6.0**2)))
        rows, columns = np.mgrid[: target.height, : target.width]
        centroid = (seen * columns).sum() / seen.sum(), (seen * rows).sum() / seen.sum()
        np.testing.assert_allclose(centroid, (seen_u, seen_v), atol=0.1)  # px; bilinear lookup of a wide blob

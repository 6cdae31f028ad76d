from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from litdome.calib.leds.drive import measure_light
from litdome.calib.leds.mirror_ball import BallOutline, BallView, find_ball, map_from_ball
from litdome.errors import CalibrationError
from litdome.geometry import look_at
from litdome.media.hdr import read_hdr

SIDE = 320
FAR = np.array([[20000.0, 0, 160], [0, 20000.0, 150], [0, 0, 1]])
NEAR = np.array([[500.0, 0, 159.5], [0, 500.0, 159.5], [0, 0, 1]])


def sampled(hdr: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Nearest texel of a physical lat-long map, written out from its definition: centre -z, +x to its right."""
    height, width = hdr.shape[:2]
    u = np.arctan2(direction[..., 0], -direction[..., 2]) / (2 * np.pi) + 0.5
    v = np.arccos(np.clip(direction[..., 1], -1, 1)) / np.pi
    return hdr[np.minimum((v * height).astype(int), height - 1), (u * width).astype(int) % width]


def photographed(
    hdr: np.ndarray,
    pose: np.ndarray,
    intrinsics: np.ndarray,
    centre: np.ndarray,
    wall: float | None = None,
    side: int = SIDE,
) -> np.ndarray:
    """A mirror ball of radius 1 at ``centre`` (camera frame), ray by ray, four a pixel; around it the map or a wall."""
    fine = (np.arange(2 * side) + 0.5) / 2 - 0.5
    x, y = np.meshgrid(fine, fine)
    rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ np.linalg.inv(intrinsics).T
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    along = rays @ centre
    inside = along**2 - centre @ centre + 1
    hit = inside > 0
    distance = along - np.sqrt(np.maximum(inside, 0))
    normal = rays * distance[..., None] - centre
    mirrored = rays - 2 * (rays * normal).sum(axis=-1, keepdims=True) * normal
    world = np.where(hit[..., None], mirrored, rays) @ pose[:3, :3].T
    out = sampled(hdr, world)
    if wall is not None:
        out = np.where(hit[..., None], out, wall)
    return out.reshape(side, 2, side, 2, 3).mean(axis=(1, 3)).astype(np.float32)


def outline_of(intrinsics: np.ndarray, centre: np.ndarray) -> BallOutline:
    """Of a ball straight ahead of its camera's axis or nearly so: its silhouette's tangent cone, cut in both axes."""
    half = np.arcsin(1 / np.linalg.norm(centre))
    across, down = np.arctan2(centre[0], centre[2]), np.arctan2(centre[1], centre[2])
    f, cx, cy = intrinsics[0, 0], intrinsics[0, 2], intrinsics[1, 2]
    left, right = (cx + f * np.tan(across + sign * half) for sign in (-1, 1))
    top, bottom = (cy + f * np.tan(down + sign * half) for sign in (-1, 1))
    return BallOutline((left + right) / 2, (top + bottom) / 2, (right - left + bottom - top) / 4)


def view_of(
    hdr: np.ndarray, target: list[float], intrinsics: np.ndarray, centre: np.ndarray, **more: object
) -> BallView:
    pose = look_at([0, 0, 0], target)
    picture = photographed(hdr, pose, intrinsics, centre, **more)  # type: ignore[arg-type]
    far = intrinsics[0, 0] > 10000
    return BallView(picture, outline_of(intrinsics, centre), pose, None if far else intrinsics)


def texel_direction(row: int, column: int) -> np.ndarray:
    """Of a 64 x 128 physical map."""
    theta, phi = (row + 0.5) / 64 * np.pi, ((column + 0.5) / 128 - 0.5) * 2 * np.pi
    return np.array([np.sin(theta) * np.sin(phi), np.cos(theta), -np.sin(theta) * np.cos(phi)])


@pytest.mark.parametrize("intrinsics", [FAR, NEAR], ids=["orthographic", "perspective"])
@pytest.mark.parametrize(("row", "column"), [(20, 20), (20, 108), (44, 60), (5, 90)])
def test_one_bright_texel_is_found_where_it_is_and_not_mirrored(intrinsics: np.ndarray, row: int, column: int) -> None:
    hdr = np.zeros((64, 128, 3), np.float32)
    hdr[row, column] = 100
    centre = np.array([0, 0, 143.0 if intrinsics is FAR else 4.2])
    found = map_from_ball([view_of(hdr, [0.3, 0.1, -1.0], intrinsics, centre)], 64)
    at = np.unravel_index(found.radiance[..., 0].argmax(), (64, 128))
    turned = texel_direction(int(at[0]), int(at[1]))
    assert turned @ texel_direction(row, column) > np.cos(np.radians(3))  # a texel is 2.8 degrees
    mirrored = texel_direction(row, column) * [-1, 1, 1]
    assert turned @ mirrored < np.cos(np.radians(10))


def test_behind_the_ball_nothing_is_seen_and_a_second_view_sees_it() -> None:
    hdr = np.ones((64, 128, 3), np.float32)
    first = view_of(hdr, [0, 0, -1.0], NEAR, np.array([0, 0, 4.2]))
    alone = map_from_ball([first], 64)
    directions = np.array([[texel_direction(row, column) for column in range(128)] for row in range(64)])
    behind = directions @ [0, 0, -1] > np.cos(np.radians(12))
    assert not alone.seen[behind].any() and not alone.radiance[~alone.seen].any()
    assert alone.seen[directions[..., 2] > -0.7].all()
    np.testing.assert_allclose(alone.radiance[alone.seen], 1, atol=1e-5)
    both = map_from_ball([first, view_of(hdr, [1.0, 0, 0], NEAR, np.array([0, 0, 4.2]))], 64)
    assert both.seen.all()


def test_two_views_hide_the_camera_that_the_ball_shows() -> None:
    directions = np.array([[texel_direction(row, column) for column in range(128)] for row in range(64)])
    views = []
    for look in ([0, 0, -1.0], [1.0, 0, 0]):
        hdr = np.ones((64, 128, 3), np.float32)
        hdr[directions @ np.array(look) < -np.cos(np.radians(5))] = 0  # the photographer, seen from the ball
        views.append(view_of(hdr, look, NEAR, np.array([0, 0, 4.2])))
    found = map_from_ball(views, 64).radiance
    assert found.min() > 0.9 > map_from_ball(views[:1], 64).radiance[32, 0].max()


def test_a_dull_ball_is_brightened_by_its_reflectivity() -> None:
    view = view_of(np.ones((64, 128, 3), np.float32), [0, 0, -1.0], NEAR, np.array([0, 0, 4.2]))
    dull = BallView(view.picture * 0.6, view.outline, view.world_from_camera, view.intrinsics)
    found = map_from_ball([dull], 64, reflectivity=0.6)
    np.testing.assert_allclose(found.radiance[found.seen], 1, atol=1e-5)


def test_a_ball_off_the_axis_is_seen_from_where_it_is() -> None:
    hdr = np.zeros((64, 128, 3), np.float32)
    hdr[20, 90] = 100
    centre = np.array([0.5, -0.4, 5.5])
    found = map_from_ball([view_of(hdr, [0, 0, -1.0], NEAR, centre)], 64).radiance[..., 0]
    at = np.unravel_index(found.argmax(), found.shape)
    assert texel_direction(int(at[0]), int(at[1])) @ texel_direction(20, 90) > np.cos(np.radians(3))


@pytest.mark.parametrize("name", ["venice_sunset_1k.exr", "cobblestone_street_night_1k.hdr"])
def test_real_light_on_a_ball_comes_back(real_walk: Path, name: str) -> None:
    hdr = cv2.resize(read_hdr(real_walk / "hdris" / name), (256, 128), interpolation=cv2.INTER_AREA)
    views = [view_of(hdr, look, NEAR, np.array([0, 0, 4.2])) for look in ([0, 0, -1.0], [1.0, 0.2, 0])]
    found = map_from_ball(views, 128)
    truth, light = measure_light(hdr, "physical"), measure_light(found.radiance, "physical")
    off = np.abs(light.irradiance - truth.irradiance) / truth.irradiance.max(axis=0)
    assert np.quantile(off, 0.95) < 0.05 and found.seen.all()  # pixels of 1 degree look at texels of 1.4
    mirrored = measure_light(found.radiance[:, ::-1].copy(), "physical")
    assert np.abs(mirrored.irradiance - truth.irradiance).max() > 0.2 * truth.irradiance.max()


def test_a_ball_before_a_dark_wall_is_found(real_walk: Path) -> None:
    hdr = cv2.resize(read_hdr(real_walk / "hdris" / "venice_sunset_1k.exr"), (256, 128), interpolation=cv2.INTER_AREA)
    view = view_of(hdr, [0, 0, -1.0], NEAR, np.array([0.3, -0.2, 5.0]), wall=0.02)
    found = find_ball(view.picture)
    assert abs(found.x - view.outline.x) < 1 and abs(found.y - view.outline.y) < 1
    assert abs(found.radius - view.outline.radius) < 1


def test_a_focal_length_that_lets_nothing_be_seen_is_refused() -> None:
    lens = np.array([[10.0, 0, 200], [0, 10, 200], [0, 0, 1]])  # px: the camera all but touches the ball
    with pytest.raises(CalibrationError, match="shows nothing"):
        map_from_ball([BallView(np.ones((401, 401, 3)), BallOutline(200, 200, 150), np.eye(4), lens)], 64)


def test_no_ball_is_found_where_there_is_none() -> None:
    rng = np.random.default_rng(0)
    room = cv2.GaussianBlur(rng.uniform(0, 1, (240, 320, 3)).astype(np.float32), (0, 0), 6)
    with pytest.raises(CalibrationError, match="no mirror ball") as caught:
        find_ball(room)
    assert "--ball" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("outline", "said"),
    [
        (BallOutline(50, 50, 10), "at least 20 px"),
        (BallOutline(50, 50, 80), "reaches out of its picture of 100x90"),
        (BallOutline(95, 50, 30), "reaches out"),
    ],
)
def test_balls_that_cannot_be_read_are_refused(outline: BallOutline, said: str) -> None:
    view = BallView(np.ones((90, 100, 3), np.float32), outline, np.eye(4))
    with pytest.raises(CalibrationError, match=said):
        map_from_ball([view], 64)
    with pytest.raises(CalibrationError, match="reflectivity 0"):
        map_from_ball([view], 64, reflectivity=0)

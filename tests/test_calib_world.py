"""The world: from the cameras' own up, a board on the floor, marked points."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from litdome.calib.boards import BoardSpec, BoardView
from litdome.calib.marks import MarkedPoint, place_by_points, read_points
from litdome.calib.world import level_rig, place_by_cameras, place_by_floor, tilt_warnings
from litdome.errors import CalibrationError
from litdome.geometry import Camera, Rig, invert_rigid, look_at, rotation_about_y

SPEC = BoardSpec("charuco", 8, 6, 0.1, 0.075, "DICT_4X4_100")
MARKS = {"origin": (0, 0, 0), "front": (0.1, 0, 0.8), "left": (-0.9, 0, 0.2), "stand": (0.3, 1.1, -0.5)}


def stage(model: str = "pinhole5") -> Rig:
    """Five cameras around a person, in the true world (+y up, floor at 0)."""
    cameras = []
    for n, azimuth in enumerate((-70, -30, 5, 40, 80)):
        centre = rotation_about_y(azimuth) @ np.array([0, 0.6 + 0.3 * n, 3.0])
        k = np.array([[900.0, 0, 640], [0, 905, 360], [0, 0, 1]])
        distortion = np.array([-0.08, 0.02, 4e-4, -3e-4, 0, 0, 0, 0]) if model != "fisheye4" else np.full(8, 0.0)
        if model == "fisheye4":
            distortion[:4] = [0.03, -0.01, 0.002, 0]
        cameras.append(Camera(f"c{n}", 1280, 720, k, distortion, look_at(centre, [0, 0.7, 0]), model))  # type: ignore[arg-type]
    return Rig(tuple(cameras))


def lost(rig: Rig, scale: float = 1.0) -> Rig:
    """The rig in its first camera's frame, lengths divided by ``scale``: what a solver knows."""
    to_first = invert_rigid(rig.cameras[0].world_from_camera)
    poses = [to_first @ camera.world_from_camera for camera in rig.cameras]
    for pose in poses:
        pose[:3, 3] /= scale
    return Rig(tuple(replace(c, world_from_camera=pose) for c, pose in zip(rig.cameras, poses, strict=True)))


def floor_views(rig: Rig, turn_deg: float = 0.0, noise_px: float = 0.0) -> dict[str, BoardView]:
    """A board face up on the floor, its middle at the origin, its lower edge to the front; turned about +y."""
    flat = (
        SPEC.points[:, [0, 2, 1]] - np.array([SPEC.columns, 0, SPEC.rows]) * SPEC.square_m / 2
    )  # x right, z down rows
    points = flat @ rotation_about_y(turn_deg).T
    rng = np.random.default_rng(0)
    found = {}
    for camera in rig.cameras:
        pixels = camera.project(points)
        found[camera.id] = BoardView(
            np.arange(len(pixels), dtype=np.int32), pixels + rng.normal(0, noise_px, pixels.shape)
        )
    return found


def seen(rig: Rig, marks: dict[str, tuple[float, float, float]]) -> list[MarkedPoint]:
    places = {name: np.array(place, float) for name, place in marks.items()}
    return [
        MarkedPoint(name, place, {c.id: c.project(place[None])[0] for c in rig.cameras})
        for name, place in places.items()
    ]


def centres(rig: Rig) -> np.ndarray:
    return np.stack([camera.centre for camera in rig.cameras])


@pytest.mark.parametrize("model", ["pinhole5", "fisheye4"])
def test_a_board_on_the_floor_gives_floor_up_front_and_origin(model: str) -> None:
    truth = stage(model)
    placement = place_by_floor(lost(truth), floor_views(truth), SPEC)
    assert np.abs(centres(placement.placed(lost(truth))) - centres(truth)).max() < 1e-6
    assert not placement.warnings


def test_a_turned_floor_board_turns_the_front() -> None:
    truth = stage()
    found = centres(place_by_floor(lost(truth), floor_views(truth, turn_deg=30), SPEC).placed(lost(truth)))
    np.testing.assert_allclose(found, centres(truth) @ rotation_about_y(-30).T, atol=1e-6)


def test_one_camera_that_sees_the_floor_board_is_enough() -> None:
    truth = stage()
    placement = place_by_floor(lost(truth), {"c3": floor_views(truth, noise_px=0.1)["c3"]}, SPEC)
    assert np.abs(centres(placement.placed(lost(truth))) - centres(truth)).max() < 0.02


def test_a_floor_board_that_moved_between_cameras_is_refused() -> None:
    truth = stage()
    views = floor_views(truth)
    views["c4"] = floor_views(truth, turn_deg=20)["c4"]
    with pytest.raises(CalibrationError, match=r"floor board: .* px > 5.0 px over c0, c1, c2, c3, c4"):
        place_by_floor(lost(truth), views, SPEC)
    with pytest.raises(CalibrationError, match="no camera sees the board on the floor"):
        place_by_floor(lost(truth), {}, SPEC)


def test_marked_points_give_the_world_back() -> None:
    truth = stage()
    placement = place_by_points(lost(truth), seen(truth, MARKS))
    assert np.abs(centres(placement.placed(lost(truth))) - centres(truth)).max() < 1e-6
    assert placement.scale == 1 and not placement.warnings


def test_marks_give_scale_only_where_asked() -> None:
    truth, small = stage(), lost(stage(), scale=1.02)
    kept = place_by_points(small, seen(truth, MARKS))
    assert "+2.00 %" in kept.warnings[0] and kept.scale == 1
    freed = place_by_points(small, seen(truth, MARKS), free_scale=True)
    assert freed.scale == pytest.approx(1.02, abs=1e-9)
    assert np.abs(centres(freed.placed(small)) - centres(truth)).max() < 1e-6


def test_marks_are_refused_by_name() -> None:
    rig = stage()
    line = {"a": (0.0, 0.0, 0.0), "b": (0.5, 0.0, 0.0), "c": (1.0, 0.0, 0.0)}
    swapped = [
        replace(point, world_m=np.array(MARKS[other]))
        for point, other in zip(seen(rig, MARKS), list(MARKS)[::-1], strict=True)
    ]
    off = seen(rig, MARKS)
    off[2] = replace(off[2], pixels={**off[2].pixels, "c1": off[2].pixels["c1"] + 40})
    once = [replace(point, pixels={"c0": point.pixels["c0"]}) for point in seen(rig, MARKS)]
    strange = [replace(point, pixels={**point.pixels, "c9": point.pixels["c0"]}) for point in seen(rig, MARKS)]
    for points, message in (
        (seen(rig, MARKS)[:2], "2 marked points < 3"),
        (seen(rig, line), "on one line"),
        (swapped, "marked points: .* mm > 50 mm, worst"),
        (off, "marked point left: .* px > 5.0 px"),
        (once, "marked point origin: seen by 1 cameras < 2"),
        (strange, "marked point origin: no camera c9"),
    ):
        with pytest.raises(CalibrationError, match=message):
            place_by_points(rig, points)


def test_marked_points_are_read_from_toml(tmp_path: Path) -> None:
    file = tmp_path / "points.toml"
    file.write_text("[points.origin]\nworld_m = [0, 0, 0.5]\nc00 = [10.5, 20]\nc01 = [3, 4]\n")
    (point,) = read_points(file)
    assert point.name == "origin" and point.world_m.tolist() == [0, 0, 0.5]
    assert {id: pixels.tolist() for id, pixels in point.pixels.items()} == {"c00": [10.5, 20], "c01": [3, 4]}
    for text, message in (
        ("", "no .points.NAME."),
        ("points = 3", "no .points.NAME."),
        ("[points.a]\nc00 = [1, 2]", "point a has no world_m"),
        ("[points.a]\nworld_m = [0, 0]", "point a: world_m = .0, 0., expected 3 numbers"),
        ("[points.a]\nworld_m = [0, 0, 0]\nc00 = [nan, 1]", "point a: c00"),
        ("[points", "cannot be read"),
    ):
        file.write_text(text)
        with pytest.raises(CalibrationError, match=message):
            read_points(file)


def test_the_cameras_own_up_is_up_and_says_what_is_guessed() -> None:
    truth = stage()
    placement = place_by_cameras(lost(truth))
    found = level_rig(lost(truth))
    heights = centres(found)[:, 1] - centres(truth)[:, 1]
    assert np.ptp(heights) < 1e-9
    assert "guessed" in placement.warnings[0]


def test_a_world_with_another_axis_up_is_told() -> None:
    rig = stage()
    assert tilt_warnings(rig) == ()
    for turn, degrees in ((np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]), 90), (np.diag([1, -1, -1]), 180)):
        pose = np.eye(4)
        pose[:3, :3] = turn
        turned = Rig(tuple(replace(c, world_from_camera=pose @ c.world_from_camera) for c in rig.cameras))
        (warning,) = tilt_warnings(turned)
        assert f"{degrees} degrees from +y" in warning

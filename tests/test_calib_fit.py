"""Calibrations brought to the stored pictures: names matched, sizes fitted by the half-pixel rule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from litdome.calib.exchange import read_calibration
from litdome.calib.fit import StoredCamera, fit_camera, fit_rig, match_rig
from litdome.errors import CalibrationError
from litdome.geometry import Camera, Rig, look_at

# centres of four white marks on the treadmill's belt, read off the median pictures of the real recording, px
MARKS = [
    {"c01": (319, 1335), "c02": (326, 1208), "c04": (890, 1070)},
    {"c01": (110, 1060), "c02": (438, 1042), "c03": (875, 1234), "c04": (837, 1411)},
    {"c01": (767, 1291), "c02": (758, 1270), "c03": (164, 1241), "c04": (520, 1117)},
    {"c01": (519, 1064), "c02": (789, 1085), "c03": (486, 1432), "c04": (386, 1397)},
]


def triangulate(rig: Rig, seen: dict[str, tuple[int, int]]) -> tuple[np.ndarray, float]:
    """The point closest to all rays, and its RMS reprojection error, px (lens distortion is left to `project`)."""
    normal, right = np.zeros((3, 3)), np.zeros(3)
    for id, pixel in seen.items():
        camera = rig[id]
        ray = camera.world_from_camera[:3, :3] @ np.linalg.inv(camera.intrinsics) @ [*pixel, 1.0]
        across = np.eye(3) - np.outer(ray, ray) / (ray @ ray)
        normal, right = normal + across, right + across @ camera.centre
    point = np.linalg.solve(normal, right)
    errors = [np.linalg.norm(rig[id].project(point[None])[0] - pixel) for id, pixel in seen.items()]
    return point, float(np.sqrt(np.mean(np.square(errors))))


def real_cameras() -> list[StoredCamera]:
    scaled = [StoredCamera(id, "body", (1080, 1920), (1080, 1920), (1088, 1920)) for id in ("c01", "c02")]
    return scaled + [StoredCamera(id, "body", (1088, 1920), (1088, 1920)) for id in ("c03", "c04")]


def test_qualisys_cameras_agree_on_marks_in_real_pictures(real_walk: Path) -> None:
    found = match_rig(read_calibration(real_walk / "calibration/Calib.qca.txt"), real_cameras(), "Calib.qca.txt")
    rig = fit_rig(found, real_cameras())
    points, errors = zip(*(triangulate(rig, seen) for seen in MARKS), strict=True)
    # 11 px: each camera's whole picture is shifted against its calibration, by up to 21 px; without that 0.4 px remain
    assert max(errors) < 13
    heights = np.array(points)[:, 1]
    assert np.abs(heights).max() < 0.03  # +y up: the belt is the floor of their world, metres
    assert np.linalg.norm(points[0] - points[1]) == pytest.approx(1.05, abs=0.03)  # the marks form a rectangle ...
    assert np.linalg.norm(points[2] - points[3]) == pytest.approx(1.00, abs=0.03)
    transposed = []
    for camera in rig.cameras:
        pose = camera.world_from_camera.copy()
        pose[:3, :3] = pose[:3, :3].T
        transposed.append(replace(camera, world_from_camera=pose))
    assert min(triangulate(Rig(tuple(transposed)), seen)[1] for seen in MARKS) > 50  # the negative control


def test_a_scaled_calibration_follows_the_half_pixel_rule(real_walk: Path) -> None:
    rig = read_calibration(real_walk / "calibration/Calib.qca.txt")
    fitted = fit_camera(rig["c01"], real_cameras()[0])
    scale = 1080 / 1088
    assert fitted.intrinsics[0, 2] == pytest.approx((rig["c01"].intrinsics[0, 2] + 0.5) * scale - 0.5)
    assert fitted.intrinsics[0, 0] == pytest.approx(rig["c01"].intrinsics[0, 0] * scale)
    assert fitted.intrinsics[1, 1] == rig["c01"].intrinsics[1, 1] and fitted.width == 1080
    half = fit_camera(rig["c01"], replace(real_cameras()[0], stored=(540, 960)))
    assert half.intrinsics[0, 2] == pytest.approx((fitted.intrinsics[0, 2] + 0.5) / 2 - 0.5)
    left = fit_camera(rig["c01"], replace(real_cameras()[0], fit="crop-left"))
    centre = fit_camera(rig["c01"], replace(real_cameras()[0], fit="crop-centre"))
    assert left.intrinsics[0, 2] == rig["c01"].intrinsics[0, 2] and left.width == 1080
    assert centre.intrinsics[0, 2] == rig["c01"].intrinsics[0, 2] - 4


def test_another_size_that_nobody_declared_is_refused(real_walk: Path) -> None:
    rig = read_calibration(real_walk / "calibration/Calib.qca.txt")
    for camera in (replace(real_cameras()[0], calibration=None), replace(real_cameras()[0], calibration=(1100, 1920))):
        with pytest.raises(
            CalibrationError, match=r"camera c01: calibrated at 1088x1920 px, recorded at 1080x1920"
        ) as e:
            fit_camera(rig["c01"], camera)
        assert e.value.exit_code == 6 and "calibration_size = [1088, 1920]" in str(e.value.hint)


def test_names_match_but_for_case_and_missing_ones_are_told() -> None:
    pose = look_at((0.0, 1.0, 3.0), (0.0, 1.0, 0.0))
    ids = ("c00", "c01", "c02")
    rig = Rig(tuple(Camera(id, 640, 480, np.diag([700.0, 700, 1]), np.zeros(8), pose) for id in ids))
    cameras = [StoredCamera(id, "face", (640, 480), (640, 480)) for id in ("C00", "c01")]
    matched = match_rig(rig, cameras, "x.json")
    assert matched.ids == ("C00", "c01") and matched.cameras[0].role == "face"
    with pytest.raises(CalibrationError, match=r"x.json: no camera c09 in it \(it holds c00, c01, c02\)"):
        match_rig(rig, [StoredCamera("c09", "body", (640, 480), (640, 480))], "x.json")


def test_a_cropped_and_scaled_picture_sees_points_where_the_recorded_one_does() -> None:
    pose = look_at((0.0, 1.0, 3.0), (0.0, 1.0, 0.0))
    intrinsics = np.array([[600.0, 0, 322.0], [0, 610.0, 236.0], [0, 0, 1]])
    recorded = Camera("c00", 640, 480, intrinsics, np.array([0.1, -0.05, 0, 0, 0, 0, 0, 0]), pose)
    stored = StoredCamera("c00", "body", (200, 160), (640, 480), crop=(100, 40, 500, 360))
    points = np.array([[0.1, 1.1, 0.0], [-0.3, 0.8, 0.2]])
    expected = (recorded.project(points) - (100, 40) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(fit_camera(recorded, stored).project(points), expected, atol=1e-9)

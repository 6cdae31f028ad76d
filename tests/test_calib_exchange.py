"""Other programs' calibrations: conventions checked on real pictures, sizes fitted by the half-pixel rule."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from litdome.calib.exchange import read_calibration, read_qualisys, read_transforms, write_transforms
from litdome.calib.fit import StoredCamera, check_believable, fit_camera, match_rig
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
    rig = match_rig(read_calibration(real_walk / "calibration/Calib.qca.txt"), real_cameras(), "Calib.qca.txt")
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


def test_qualisys_values_are_px_times_64_and_millimetres_z_up(real_walk: Path) -> None:
    rig = read_qualisys(real_walk / "calibration/Calib.qca.txt")
    focal = [round(float(camera.intrinsics[0, 0]), 1) for camera in rig.cameras]
    assert focal == [1681.2, 1673.7, 1681.6, 1675.2]  # the data's README
    assert rig.ids == ("c01", "c02", "c03", "c04") and (rig["c01"].width, rig["c01"].height) == (1088, 1920)
    np.testing.assert_allclose(rig["c01"].centre, [1.46023, 1.89651, 1.90916], atol=1e-5)
    ups = np.array([-camera.world_from_camera[:3, 1] for camera in rig.cameras])
    assert (ups[:, 1] > 0.8).all()  # the pictures are upright


def test_a_scaled_calibration_follows_the_half_pixel_rule(real_walk: Path) -> None:
    rig = read_qualisys(real_walk / "calibration/Calib.qca.txt")
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
    rig = read_qualisys(real_walk / "calibration/Calib.qca.txt")
    for camera in (replace(real_cameras()[0], calibration=None), replace(real_cameras()[0], calibration=(1100, 1920))):
        with pytest.raises(
            CalibrationError, match=r"camera c01: calibrated at 1088x1920 px, recorded at 1080x1920"
        ) as e:
            fit_camera(rig["c01"], camera)
        assert e.value.exit_code == 6 and "calibration_size = [1088, 1920]" in str(e.value.hint)


def test_names_match_but_for_case_and_missing_ones_are_told() -> None:
    rig = some_rig()
    cameras = [StoredCamera(id, "face", (640, 480), (640, 480)) for id in ("C00", "c01")]
    matched = match_rig(rig, cameras, "x.json")
    assert matched.ids == ("C00", "c01") and matched.cameras[0].role == "face"
    with pytest.raises(CalibrationError, match=r"x.json: no camera c09 in it \(it holds c00, c01, c02\)"):
        match_rig(rig, [StoredCamera("c09", "body", (640, 480), (640, 480))], "x.json")


def some_rig() -> Rig:
    rng = np.random.default_rng(0)
    cameras = []
    for n in range(3):
        k = np.array([[700 + n, 0, 320 + rng.normal(0, 5)], [0, 702, 239 + rng.normal(0, 5)], [0, 0, 1]])
        distortion = np.array([-0.1, 0.02, 1e-3, -2e-3, 0.004, 0, 0, 0])
        pose = look_at(rng.uniform(-1, 1, 3) + np.array([0, 1.5, 3]), [0, 1, 0])
        cameras.append(Camera(f"c{n:02d}", 640, 480, k, distortion, pose))
    return Rig(tuple(cameras))


def test_transforms_json_survives_a_round_trip(tmp_path: Path) -> None:
    rig = some_rig()
    write_transforms(tmp_path / "transforms.json", rig)
    again = read_transforms(tmp_path / "transforms.json")
    for ours, theirs in zip(rig.cameras, again.cameras, strict=True):
        assert ours.id == theirs.id and (ours.width, ours.height) == (theirs.width, theirs.height)
        np.testing.assert_allclose(theirs.intrinsics, ours.intrinsics, atol=1e-9)
        np.testing.assert_allclose(theirs.distortion, ours.distortion, atol=1e-12)
        np.testing.assert_allclose(theirs.world_from_camera, ours.world_from_camera, atol=1e-9)


def test_transforms_json_is_opengl_with_z_up_and_corners_at_integers(tmp_path: Path) -> None:
    # a camera 3 m in front of the origin on nerfstudio's -y, looking along +y with +z up: OpenGL axes by hand
    frame = {
        "file_path": "images/c05.png",
        "transform_matrix": [[1, 0, 0, 0], [0, 0, -1, -3], [0, 1, 0, 1], [0, 0, 0, 1]],
    }
    lens = {"w": 640, "h": 480, "fl_x": 500.0, "fl_y": 500.0, "cx": 320.0, "cy": 240.0, "camera_model": "OPENCV"}
    (tmp_path / "transforms.json").write_text(json.dumps({**lens, "frames": [frame]}))
    camera = read_transforms(tmp_path / "transforms.json")["c05"]
    np.testing.assert_allclose(camera.centre, [0, 1, 3], atol=1e-12)
    np.testing.assert_allclose(camera.project(np.array([[0.0, 1.0, 0.0]])), [[319.5, 239.5]])  # the picture's middle
    right_above = camera.project(np.array([[0.3, 1.3, 0.0]]))[0]
    assert right_above[0] > 319.5 and right_above[1] < 239.5


def test_numbered_pictures_take_their_folders_name(tmp_path: Path) -> None:
    pose = np.eye(4).tolist()
    frames = [
        {"file_path": f"cameras/c0{n}/{frame:06d}.png", "transform_matrix": pose} for n in (0, 1) for frame in (0, 1)
    ]
    lens = {"w": 64, "h": 48, "fl_x": 50.0}
    (tmp_path / "t.json").write_text(json.dumps({**lens, "frames": frames}))
    assert read_transforms(tmp_path / "t.json").ids == ("c00", "c01")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not a transforms.json"),
        ('{"frames": []}', "no frames"),
        ('{"frames": [{"file_path": "a.png"}]}', "not a transforms.json"),
        ('{"camera_model": "EQUIRECTANGULAR", "frames": [{"file_path": "a.png"}]}', "lens model EQUIRECTANGULAR"),
    ],
)
def test_what_is_not_a_calibration_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(CalibrationError, match=says):
        read_calibration(tmp_path / "t.json")
    for name in ("missing.json", "t.yml"):
        with pytest.raises(CalibrationError, match=name):
            read_calibration(tmp_path / name)


def test_a_mirrored_pose_is_refused(tmp_path: Path) -> None:
    pose = np.diag([1.0, 1.0, -1.0, 1.0]).tolist()
    frames = [{"file_path": "c00.png", "w": 64, "h": 48, "fl_x": 50.0, "transform_matrix": pose}]
    (tmp_path / "t.json").write_text(json.dumps({"frames": frames}))
    with pytest.raises(CalibrationError, match="mirrored"):
        read_transforms(tmp_path / "t.json")


def test_a_real_stages_broken_camera_is_refused_and_its_sound_ones_are_not(real_walk: Path) -> None:
    content = json.loads((real_walk.parent / "lights/metashape_sensors_001_first7.json").read_text())
    width, height = content["resolution"]
    for sensor in content["sensors"]:
        focal_x = sensor["f"] + sensor["b1"]
        centre = np.array([width - 1, height - 1]) / 2 + [sensor["cx"], sensor["cy"]]
        k = np.array([[focal_x, 0, centre[0]], [0, sensor["f"], centre[1]], [0, 0, 1]])
        distortion = np.array([sensor[name] for name in ("k1", "k2", "p1", "p2", "k3")] + [0, 0, 0])
        camera = Camera(sensor["label"], width, height, k, distortion, np.eye(4))
        if sensor["label"] == "Cam02":
            with pytest.raises(CalibrationError, match=r"Cam02: .*principal point \d+ px .* > 1229 px"):
                check_believable(camera)
        else:
            check_believable(camera)


def test_a_cropped_and_scaled_picture_sees_points_where_the_recorded_one_does() -> None:
    pose = look_at((0.0, 1.0, 3.0), (0.0, 1.0, 0.0))
    intrinsics = np.array([[600.0, 0, 322.0], [0, 610.0, 236.0], [0, 0, 1]])
    recorded = Camera("c00", 640, 480, intrinsics, np.array([0.1, -0.05, 0, 0, 0, 0, 0, 0]), pose)
    stored = StoredCamera("c00", "body", (200, 160), (640, 480), crop=(100, 40, 500, 360))
    points = np.array([[0.1, 1.1, 0.0], [-0.3, 0.8, 0.2]])
    expected = (recorded.project(points) - (100, 40) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(fit_camera(recorded, stored).project(points), expected, atol=1e-9)

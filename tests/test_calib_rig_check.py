"""Rigs that cannot be are refused by name; doubtful ones are warned about."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import DATA, need

from litdome.calib.boards import BoardView
from litdome.calib.rig_check import check_copies, check_rig, folds_at, lens_problem
from litdome.errors import CalibrationError
from litdome.geometry import Camera, LensModel, Rig, look_at

SIZE = (1920, 1080)
NOTHING = np.zeros(8)


def camera(
    id: str = "c00", distortion: np.ndarray = NOTHING, model: LensModel = "pinhole5", focal: float = 1500.0
) -> Camera:
    k = np.array([[focal, 0, 959.5], [0, focal, 539.5], [0, 0, 1]])
    return Camera(id, *SIZE, k, distortion, look_at([0, 1, 3], [0, 1, 0]), model)


def metashape_cameras() -> tuple[Camera, ...]:
    """Seven lenses of a real stage, by Metashape's own formulas: cx and cy from the middle, fx = f + b1."""
    content = json.loads(need(DATA / "lights" / "metashape_sensors_001_first7.json").read_text())
    width, height = content["resolution"]
    cameras = []
    for s in content["sensors"]:
        k = np.array(
            [
                [s["f"] + s["b1"], 0, width / 2 + s["cx"] - 0.5],
                [0, s["f"], height / 2 + s["cy"] - 0.5],
                [0, 0, 1],
            ]
        )
        lens = np.array([s["k1"], s["k2"], s["p2"], s["p1"], s["k3"], 0, 0, 0])
        cameras.append(Camera(s["label"], width, height, k, lens, look_at([0, 1, 3 + len(cameras)], [0, 1, 0])))
    return tuple(cameras)


def test_the_broken_lens_of_a_real_stage_is_refused_and_the_other_six_are_not() -> None:
    cameras = metashape_cameras()
    with pytest.raises(CalibrationError, match=r"camera Cam02: principal point .*4522 px .*> 1229 px") as caught:
        check_rig(Rig(cameras))
    assert "Cam01" not in caught.value.message and "Cam03" not in caught.value.message
    sound = Rig(tuple(c for c in cameras if c.id != "Cam02"))
    assert check_rig(sound) == [] and len(sound.cameras) == 6


def spoilt(row: int, column: int, value: float) -> Camera:
    k = camera().intrinsics.copy()
    k[row, column] = value
    return replace(camera(), intrinsics=k)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (spoilt(0, 0, np.nan), "not finite"),
        (spoilt(0, 0, 100.0), "focal length 100 x 1500 px, allowed 384 to 38400"),
        (spoilt(0, 0, -1500.0), "focal length -1500"),
        (spoilt(1, 1, 1200.0), "fx / fy = 1.250"),
        (spoilt(0, 2, 1700.0), "principal point"),
        (camera(distortion=np.array([0, 0, 0.3, 0, 0, 0, 0, 0])), "tangential distortion 0.300"),
        (camera(distortion=np.array([-1.5, 0, 0, 0, 0, 0, 0, 0])), "folds the picture"),
        (replace(camera(), world_from_camera=np.diag([-1.0, 1, 1, 1])), "no rotation"),
        (replace(camera(), world_from_camera=np.diag([1.1, 1, 1, 1])), "no rotation"),
    ],
)
def test_what_cannot_be_is_refused(wrong: Camera, problem: str) -> None:
    assert lens_problem(camera()) is None
    with pytest.raises(CalibrationError, match=f"camera c00: .*{problem}"):
        check_rig(Rig((wrong,)))


def test_all_unbelievable_cameras_are_named() -> None:
    wrong = [replace(spoilt(0, 0, 100.0), id=id) for id in ("c03", "c09")]
    with pytest.raises(CalibrationError, match=r"camera c03: .*; camera c09: "):
        check_rig(Rig((camera("c01"), *wrong)))


@pytest.mark.parametrize(
    ("lens", "model", "fold_radius"),
    [
        ([-0.6, 0, 0, 0, 0, 0, 0, 0], "pinhole5", np.sqrt(1 / 1.8)),  # d/dr (r - 0.6 r^3) = 0
        ([0, 0, 0, 0, 0, 0.5, 0, 0], "pinhole8", np.sqrt(1 / 0.5)),  # d/dr r / (1 + 0.5 r^2) = 0
        ([-0.4, 0, 0, 0, 0, 0, 0, 0], "fisheye4", np.sqrt(1 / 1.2)),  # d/dt (t - 0.4 t^3) = 0
    ],
)
def test_the_fold_is_where_the_derivative_is_zero(lens: list[float], model: LensModel, fold_radius: float) -> None:
    short = camera(distortion=np.array(lens), model=model, focal=700.0)
    corner = np.hypot(959.5, 539.5) / 700
    r = fold_radius
    mapped = {"pinhole5": r - 0.6 * r**3, "pinhole8": r / (1 + 0.5 * r**2), "fisheye4": r - 0.4 * r**3}[model]
    assert mapped < corner
    assert folds_at(short) == pytest.approx(mapped / corner, abs=1e-4)
    assert folds_at(camera(model=model, focal=700.0)) == 1


def test_a_fold_in_the_corners_is_a_warning_and_one_in_the_middle_is_refused() -> None:
    corner, edge = np.hypot(959.5, 539.5) / 1500, 539.5 / 1500
    for folds, refused in ((0.95 * corner, False), (1.02 * edge, False), (0.98 * edge, True)):
        k1 = -1 / (3 * (folds * 1.5) ** 2)  # r + k1 r^3 turns at sqrt(-1 / 3 k1), where 2/3 of that radius is reached
        lens = camera(distortion=np.array([k1, 0, 0, 0, 0, 0, 0, 0]))
        assert (lens_problem(lens) is not None) is refused
        if not refused:
            (warning,) = check_rig(Rig((lens,)))
            assert warning.startswith(f"camera c00: its distortion folds at {folds / corner:.0%}")


def test_two_cameras_at_one_place_are_named() -> None:
    beside = look_at([0.004, 1, 3], [0.004, 1, 0])
    away = look_at([2, 1, 0], [0, 1, 0])
    turned = replace(camera("c03"), world_from_camera=look_at([0, 1, 3], [1, 1, 0]))
    rig = Rig((camera("c00"), replace(camera("c01"), world_from_camera=beside), turned))
    (warning,) = check_rig(Rig((*rig.cameras, replace(camera("c04"), world_from_camera=away))))
    assert "cameras c00 and c01 stand 4.0 mm apart" in warning


@pytest.mark.parametrize(("factor", "warned"), [(1.0, False), (0.01, True), (1000.0, True)])
def test_a_scale_that_no_stage_has_is_told(factor: float, warned: bool) -> None:
    poses = [look_at([x, 1, 3], [0, 1, 0]) for x in (-2, 0, 2)]
    for pose in poses:
        pose[:3, 3] *= factor
    cameras = [replace(camera(f"c0{n}"), world_from_camera=pose) for n, pose in enumerate(poses)]
    assert any("at most" in text for text in check_rig(Rig(tuple(cameras)))) is warned


def test_a_take_copied_under_two_names_is_refused() -> None:
    rng = np.random.default_rng(0)
    own = {n: BoardView(np.arange(12, dtype=np.int32), rng.uniform(0, 1000, (12, 2))) for n in range(5)}
    copy = {n: BoardView(view.ids, view.pixels + rng.uniform(-0.02, 0.02, (12, 2))) for n, view in own.items()}
    other = {n: BoardView(view.ids, view.pixels + 3) for n, view in own.items()}
    check_copies({"c00": own, "c01": other})
    with pytest.raises(CalibrationError, match="cameras c00 and c02: the same corners at the same pixels in all 5"):
        check_copies({"c00": own, "c01": other, "c02": copy})
    check_copies({"c00": own, "c02": {n: view for n, view in copy.items() if n}})  # one view more is no copy


def test_files_of_real_rigs_are_believed() -> None:
    from litdome.calib.exchange import read_calibration

    for name in ("real-walk/calibration/Calib.qca.txt", "charuco/charuco_calibration/camera_array.toml"):
        assert check_rig(read_calibration(Path(need(DATA / name)))) == []

"""The calibrate stage on a small recording with board takes, and on imports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from litdome.calib.exchange import write_transforms
from litdome.calib.stage import Calibrate, CalibrateConfig
from litdome.capture.check import IngestConfig
from litdome.capture.ingest import Ingest
from litdome.capture.recording import read_recording, session_attrs
from litdome.compute import Threads
from litdome.errors import CalibrationError
from litdome.geometry import Camera, Rig, invert_rigid, look_at
from litdome.media.encode import VideoWriter
from litdome.pipeline import run_stage
from litdome.store.session import Session

COLUMNS, ROWS, SQUARE_M, TEXELS = 7, 5, 0.12, 48
SIZE = (480, 640)
BOARD = """[board]
kind = "charuco"
columns = 7
rows = 5
square_mm = 120.0
marker_mm = 90.0
dictionary = "DICT_4X4_50"
"""


def truth() -> Rig:
    cameras = []
    for n, degrees in enumerate((-40, 0, 40)):
        angle = np.radians(degrees)
        k = np.array([[800.0 + 10 * n, 0, 238 + n], [0, 800.0 + 10 * n, 321 - n], [0, 0, 1]])
        pose = look_at([3 * np.sin(angle), 1.0 + 0.2 * n, 3 * np.cos(angle)], [0, 0.92, 0])
        cameras.append(Camera(f"c{n:02d}", *SIZE, k, np.zeros(8), pose))
    return Rig(tuple(cameras))


def board_picture() -> np.ndarray:
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    board = cv2.aruco.CharucoBoard((COLUMNS, ROWS), SQUARE_M, SQUARE_M * 0.75, dictionary)
    return cv2.copyMakeBorder(
        board.generateImage((COLUMNS * TEXELS, ROWS * TEXELS)), *[TEXELS // 3] * 4, cv2.BORDER_CONSTANT, value=255
    )


def photograph(camera: Camera, world_from_board: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """The board's picture seen by a camera without lens distortion, on grey (a homography; drawn at twice the size)."""
    metres = SQUARE_M / TEXELS
    rim = TEXELS // 3 + 0.5  # texel centres
    board_from_texel = np.array(
        [[metres, 0, (0.5 - rim) * metres + 0.5 * metres], [0, metres, (1 - rim) * metres], [0, 0, 1]]
    )
    plane = (camera.camera_from_world @ world_from_board)[:3][:, [0, 1, 3]]
    double = np.array([[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1.0]])
    large = (2 * SIZE[0], 2 * SIZE[1])
    homography = double @ camera.intrinsics @ plane @ board_from_texel
    seen = cv2.warpPerspective(picture, homography, large, flags=cv2.INTER_AREA, borderValue=110)
    return cv2.resize(seen, SIZE, interpolation=cv2.INTER_AREA)


def board_pose(rng: np.random.Generator, around: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """A board near ``around`` whose front faces ``towards``, tilted."""
    facing = look_at(around, 2 * around - towards)  # its z axis points away from who looks
    turn = facing[:3, :3] @ cv2.Rodrigues(rng.uniform(-0.5, 0.5, 3))[0]
    pose = np.eye(4)
    pose[:3, :3] = turn
    pose[:3, 3] = around - turn @ [COLUMNS * SQUARE_M / 2, ROWS * SQUARE_M / 2, 0]
    return pose


def make_take(folder: Path, *, boards: bool = True) -> Path:
    rig, rng = truth(), np.random.default_rng(0)
    for camera in rig.cameras:
        with_path = folder / f"cameras/{camera.id}.mp4"
        with VideoWriter(with_path, fps=25, crf=30) as video:
            for level in (200, 90, 200, 70):
                video.write(np.full((SIZE[1], SIZE[0], 3), level, np.uint8))
    (folder / "lights.csv").write_text("frame,kind,hdri\n0,flat,\n1,dark,\n2,flat,\n3,dark,\n")
    (folder / "recording.toml").write_text(f"fps = 25.0\n{BOARD}")
    if not boards:
        return folder
    picture = board_picture()
    joint = [
        board_pose(rng, np.array([0, 0.92, 0]) + rng.uniform(-0.15, 0.15, 3), np.array([0, 1, 3.0])) for _ in range(12)
    ]
    for camera in rig.cameras:
        middle = camera.centre + 1.5 * camera.world_from_camera[:3, 2]
        own = [board_pose(rng, middle + rng.uniform(-0.25, 0.25, 3), camera.centre) for _ in range(10)]
        for take, poses in (("intrinsic", own), ("extrinsic", joint)):
            (folder / f"boards/{take}/{camera.id}").mkdir(parents=True)
            for n, pose in enumerate(poses):
                cv2.imwrite(str(folder / f"boards/{take}/{camera.id}/{n:03d}.png"), photograph(camera, pose, picture))
    return folder


def ingested(folder: Path, out: Path) -> Session:
    recording = read_recording(folder)
    session = Session.new(str(out), session_attrs(recording))
    run_stage(session, Ingest(recording), IngestConfig(), inputs={"recording": "x"}, executor=Threads(1))
    return session


def test_boards_give_the_rig_back(tmp_path: Path) -> None:
    session = ingested(make_take(tmp_path / "take"), tmp_path / "take.zarr")
    with pytest.raises(CalibrationError, match="not calibrated"):
        _ = session.rig
    record = run_stage(session, Calibrate(), CalibrateConfig())
    found, true = session.rig, truth()
    assert max(record.summary["rms_px"]) < 0.3 and session.array("rig/size").attrs["models"] == ["pinhole5"] * 3
    for ours, theirs in zip(found.cameras, true.cameras, strict=True):
        assert ours.intrinsics[0, 0] == pytest.approx(theirs.intrinsics[0, 0], rel=0.01)
        relative = invert_rigid(found.cameras[0].world_from_camera) @ ours.world_from_camera
        expected = invert_rigid(true.cameras[0].world_from_camera) @ theirs.world_from_camera
        assert np.linalg.norm(relative[:3, 3] - expected[:3, 3]) < 0.02  # of 2 m and 3.9 m
        assert np.linalg.norm(ours.centre - theirs.centre) < 0.05  # the level world is the true one here
    assert session.read("rig/pose_std").shape == (3, 6) and session.read("rig/intrinsics_std").shape == (3, 12)


def test_an_import_is_fitted_to_the_session(tmp_path: Path) -> None:
    session = ingested(make_take(tmp_path / "take", boards=False), tmp_path / "take.zarr")
    write_transforms(tmp_path / "transforms.json", truth())
    config = CalibrateConfig(source="import", import_file=str(tmp_path / "transforms.json"))
    record = run_stage(session, Calibrate(), config)
    for ours, theirs in zip(session.rig.cameras, truth().cameras, strict=True):
        np.testing.assert_allclose(ours.world_from_camera, theirs.world_from_camera, atol=1e-9)
        np.testing.assert_allclose(ours.intrinsics, theirs.intrinsics, atol=1e-9)
    assert record.summary["source"] == "import transforms.json" and np.isnan(session.read("rig/reprojection_px")).all()
    other = Rig(tuple(replace(camera, width=500) for camera in truth().cameras))
    write_transforms(tmp_path / "other.json", other)
    with pytest.raises(CalibrationError, match="500x640"):
        run_stage(session, Calibrate(), CalibrateConfig(source="import", import_file=str(tmp_path / "other.json")))


def test_without_board_takes_the_error_says_what_to_type(tmp_path: Path) -> None:
    session = ingested(make_take(tmp_path / "take", boards=False), tmp_path / "take.zarr")
    with pytest.raises(CalibrationError, match="no such folder of board takes") as caught:
        run_stage(session, Calibrate(), CalibrateConfig())
    assert "--import FILE" in str(caught.value.hint)

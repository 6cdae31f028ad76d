"""Board takes: detectable, exact, and seen by neighbouring cameras together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from litdome.color import linear_from_srgb
from litdome.geometry import Camera
from litdome.media.images import probe_source
from litdome.progress import silent
from litdome.synth.boards import (
    WHITE,
    BoardDesign,
    board_for,
    can_read,
    extrinsic_poses,
    film_board,
    floor_pose,
    intrinsic_poses,
    write_board_takes,
)
from litdome.synth.camera_setup import CameraSetup
from litdome.synth.dome import wall_picture
from litdome.synth.recording import plan_take
from litdome.synth.rig import make_rig, place_cameras
from litdome.synth.sensors import Sensor
from litdome.synth.shading import flat_lights


def find(
    picture: npt.NDArray[np.uint8], design: BoardDesign, *, legacy: bool = False
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Ids and pixels of the corners that OpenCV finds."""
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, design.dictionary))
    size = (design.columns, design.rows)
    board = cv2.aruco.CharucoBoard(size, design.square_mm / 1000, design.marker_mm / 1000, dictionary)
    board.setLegacyPattern(legacy)
    corners, ids, _, _ = cv2.aruco.CharucoDetector(board).detectBoard(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
    if ids is None:
        return np.zeros(0, np.int64), np.zeros((0, 2))
    return np.asarray(ids, np.int64).ravel(), np.asarray(corners, np.float64).reshape(-1, 2)


def corner_pixels(camera: Camera, design: BoardDesign, pose: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    x, y = np.meshgrid(np.arange(1, design.columns), np.arange(1, design.rows))
    points = np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)]) * design.square_mm / 1000
    return camera.project(points @ pose[:3, :3].T + pose[:3, 3])


@pytest.mark.parametrize("height", [640, 320])
def test_detected_corners_lie_where_the_truth_says(height: int) -> None:
    camera = make_rig(3, width=height * 9 // 16, height=height).cameras[1]
    design, rng = board_for(height), np.random.default_rng(0)
    wall = wall_picture(camera, flat_lights(64))
    errors = []
    for pose in intrinsic_poses(camera, design, 6, rng):
        ids, pixels = find(film_board(camera, design, pose, wall, rng), design)
        errors.append(pixels - corner_pixels(camera, design, pose)[ids])
    error = np.concatenate(errors)
    assert len(error) > 6 * 8
    assert np.median(np.linalg.norm(error, axis=1)) < 0.12  # px, OpenCV's own accuracy at this size
    assert np.abs(error.mean(axis=0)).max() < 0.04  # no half-pixel shift


@pytest.mark.parametrize("variant", ["inverted", "legacy pattern", "mirrored", "legacy pattern, inverted, mirrored"])
def test_a_variant_is_found_only_when_it_is_undone(variant: str) -> None:
    camera = make_rig(3, width=360, height=640).cameras[1]
    design, rng = BoardDesign(8, 6, 100.0, 75.0, "DICT_5X5_100"), np.random.default_rng(0)
    wall = wall_picture(camera, flat_lights(64))
    pose = intrinsic_poses(camera, design, 4, rng)[1]
    picture = film_board(camera, design, pose, wall, rng, variant=variant)
    assert len(find(picture, design, legacy=False)[0]) < 6
    undone = picture[:, ::-1] if "mirrored" in variant else picture
    undone = 255 - undone if "inverted" in variant else undone
    ids, pixels = find(np.ascontiguousarray(undone), design, legacy="legacy" in variant)
    assert len(ids) >= 15
    assert np.median(np.linalg.norm(pixels - corner_pixels(camera, design, pose)[ids], axis=1)) < 0.15  # px, as above


def test_a_fisheye_lens_films_the_board_where_it_projects_it() -> None:
    camera = make_rig(1, width=480, height=480).cameras[0]
    intrinsics = np.array([[200.0, 0, 239.5], [0, 200.0, 239.5], [0, 0, 1]])
    fisheye = replace(
        camera, model="fisheye4", intrinsics=intrinsics, distortion=np.array([0.05, -0.01, 0.002, 0, 0, 0, 0, 0])
    )
    design, rng = BoardDesign(8, 6, 100.0, 75.0), np.random.default_rng(0)
    pose = np.eye(4)
    pose[:3, 3] = [-0.2, -0.3, 0.55]  # metres: the board reaches 45 degrees to the side
    pose = fisheye.world_from_camera @ pose
    picture = film_board(fisheye, design, pose, np.zeros((480, 480, 3), np.float32), rng)
    ids, pixels = find(picture, design)
    assert len(ids) >= 20
    assert np.median(np.linalg.norm(pixels - corner_pixels(fisheye, design, pose)[ids], axis=1)) < 0.15
    straight = corner_pixels(fisheye.undistorted(), design, pose)[ids]
    assert np.linalg.norm(pixels - straight, axis=1).max() > 10  # the negative control


def test_the_board_on_the_floor_faces_up_at_the_origin_and_is_read_from_above() -> None:
    rig, design = make_rig(4, width=360, height=640), board_for(640)
    pose = floor_pose(design)
    middle = np.array([design.size_m[0] / 2, design.size_m[1] / 2, 0.0])
    np.testing.assert_allclose(pose[:3, :3] @ middle + pose[:3, 3], 0, atol=1e-12)
    np.testing.assert_allclose(pose[:3, :3] @ [0, 0, -1], [0, 1, 0])  # the face
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
    can = {camera.id: can_read(camera, design, pose) for camera in rig.cameras}
    assert can == {"c00": True, "c01": False, "c02": True, "c03": False}  # every second stands at knee height
    for camera in rig.cameras:
        picture = film_board(camera, design, pose, wall_picture(camera, flat_lights(32)), np.random.default_rng(0))
        ids, pixels = find(picture, design)
        if can[camera.id]:
            error = np.linalg.norm(pixels - corner_pixels(camera, design, pose)[ids], axis=1)
            assert len(ids) >= 8 and np.median(error) < 0.3  # px: squares 12 px flat


def test_the_joint_take_connects_all_cameras() -> None:
    rig, design, rng = make_rig(4, width=180, height=320), board_for(320), np.random.default_rng(1)
    walls = {camera.id: wall_picture(camera, flat_lights(32)) for camera in rig.cameras}
    shared = np.zeros((4, 4), int)
    for pose in extrinsic_poses(rig, design, 12, rng):
        pictures = [film_board(camera, design, pose, walls[camera.id], rng) for camera in rig.cameras]
        seen = np.array([len(find(picture, design)[0]) >= 6 for picture in pictures])
        shared += np.outer(seen, seen)
    assert min(shared[k, k + 1] for k in range(3)) >= 2
    assert shared[0, 3] == 0  # one-sided: opposite cameras never share it


def test_the_joint_take_connects_face_cameras_with_the_ring() -> None:
    setup, design, rng = CameraSetup(face_cameras=2), board_for(320), np.random.default_rng(1)
    face = np.array([[-0.05, 1.55, 0.1], [0.05, 1.55, 0.1]])
    rig = place_cameras(setup, 3, joints=face[None], faces=face, width=180, height=320, seed=0)
    alone = extrinsic_poses(make_rig(3, width=180, height=320), design, 12, np.random.default_rng(1))
    poses = extrinsic_poses(rig, design, 12, rng)
    np.testing.assert_array_equal(poses[:12], alone)  # for the ring the take stays what it is without them
    black = np.zeros((320, 180, 3), np.float32)
    shared = np.zeros((5, 5), int)
    for pose in poses[12:]:
        pictures = [film_board(camera, design, pose, black, rng) for camera in rig.cameras]
        seen = np.array([len(find(picture, design)[0]) >= 6 for picture in pictures])
        shared += np.outer(seen, seen)
    assert shared[1, 3] >= 2 and shared[3, 4] >= 2, shared


def test_board_takes_lie_where_a_recording_has_them_and_are_filmed_as_its_cameras_are_set(tmp_path: Path) -> None:
    design, sensor = board_for(640), Sensor(exposure_ev=-1, bits=10)
    film = plan_take(tmp_path, cameras=1, pairs=1, width=360, height=640, hdris=1, lights=16).film
    film = replace(film, sensors=(sensor,))
    write_board_takes(tmp_path, film, design, 1, silent)
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    videos = {f"boards/{take}/c00.mp4" for take in ("intrinsic", "extrinsic")}
    assert written == videos | {"boards/floor/c00.png", "truth/boards.npz"}
    truth = np.load(tmp_path / "truth/boards.npz")
    assert truth["world_from_board"].shape == (24, 4, 4)
    ids, pixels = find(cv2.imread(str(tmp_path / "boards/floor/c00.png")), design)
    expected = corner_pixels(film.rig["c00"], design, truth["floor_world_from_board"])[ids]
    assert len(ids) >= 8 and np.median(np.linalg.norm(pixels - expected, axis=1)) < 0.3
    assert probe_source(tmp_path / "boards/intrinsic/c00.mp4").bits == 10
    still = linear_from_srgb(cv2.imread(str(tmp_path / "boards/floor/c00.png"), cv2.IMREAD_UNCHANGED) / 65535)
    on_board = still[
        int(pixels[:, 1].min()) : int(pixels[:, 1].max()), int(pixels[:, 0].min()) : int(pixels[:, 0].max())
    ]
    assert np.quantile(on_board, 0.9) == pytest.approx(WHITE / 2, rel=0.03)  # noise

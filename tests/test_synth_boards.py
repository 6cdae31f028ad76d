"""Board takes: detectable, exact, and seen by neighbouring cameras together."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from litdome.geometry import Camera
from litdome.synth.boards import BoardDesign, board_for, extrinsic_poses, film_board, intrinsic_poses
from litdome.synth.rig import make_rig, wall_picture
from litdome.synth.shading import flat_lights


def find(picture: npt.NDArray[np.uint8], design: BoardDesign) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Ids and pixels of the corners that OpenCV finds."""
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, design.dictionary))
    size = (design.columns, design.rows)
    board = cv2.aruco.CharucoBoard(size, design.square_mm / 1000, design.marker_mm / 1000, dictionary)
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

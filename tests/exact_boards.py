"""Exact views of a board: rigs of any lens model, board poses, corners projected and spoilt on purpose."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from litdome.calib.boards import BoardSpec, BoardView
from litdome.geometry import Camera, LensModel, Rig, invert_rigid, look_at

SPEC = BoardSpec("charuco", 8, 6, 0.08, 0.06, "DICT_4X4_100")
SIZE = (1080, 1440)
MIDDLE = np.array([0.0, 0.92, 0.0])
DISTORTION: dict[LensModel, list[float]] = {
    "pinhole5": [-0.08, 0.03, 4e-4, -3e-4, 0, 0, 0, 0],
    "pinhole8": [0.4, 0.1, 4e-4, -3e-4, 0.02, 0.5, 0.08, 0.01],
    "fisheye4": [0.03, -0.01, 0.004, -0.001, 0, 0, 0, 0],
}


def exact_rig(cameras: int = 4, models: Sequence[LensModel] = ("pinhole5",), seed: int = 0) -> Rig:
    """Cameras on an arc of 150 degrees, 2.5 m around the middle; models take turns."""
    rng = np.random.default_rng(seed)
    found = []
    for n in range(cameras):
        angle = np.radians(-75 + 150 * n / max(cameras - 1, 1))
        centre = np.array([2.5 * np.sin(angle), rng.uniform(0.5, 1.7), 2.5 * np.cos(angle)])
        focal = rng.uniform(1500, 1700)
        k = np.array([[focal, 0, 545 + rng.normal(0, 8)], [0, focal * 1.001, 715 + rng.normal(0, 8)], [0, 0, 1]])
        model = models[n % len(models)]
        found.append(Camera(f"c{n:02d}", *SIZE, k, np.array(DISTORTION[model]), look_at(centre, MIDDLE), model))
    return Rig(tuple(found))


def board_poses(count: int, seed: int = 1, spread_m: float = 0.25) -> list[np.ndarray]:
    """A board carried around the middle, turned about all axes, facing the arc of cameras."""
    rng = np.random.default_rng(seed)
    poses = []
    for _ in range(count):
        turn = cv2.Rodrigues(rng.uniform(-1, 1, 3) * [0.6, 0.9, 0.5])[0] @ np.diag([1.0, -1.0, -1.0])
        pose = np.eye(4)
        pose[:3, :3] = turn
        pose[:3, 3] = MIDDLE + rng.uniform(-spread_m, spread_m, 3) - turn @ [0.32, 0.24, 0]
        poses.append(pose)
    return poses


def see(camera: Camera, pose: np.ndarray, noise_px: float, rng: np.random.Generator) -> BoardView | None:
    """Corners that lie in the picture, when the board shows its front."""
    if (pose[:3, :3].T @ (camera.centre - pose[:3, 3]))[2] > -0.3:
        return None
    pixels = camera.project(SPEC.points @ pose[:3, :3].T + pose[:3, 3])
    ids = np.flatnonzero(((pixels >= 0) & (pixels <= np.array(SIZE) - 1)).all(axis=1))
    noisy = pixels[ids] + rng.normal(0, noise_px, (len(ids), 2))
    return BoardView(ids.astype(np.int32), noisy) if len(ids) >= 12 else None


def film(
    rig: Rig, poses: Sequence[np.ndarray], noise_px: float = 0.0, seed: int = 7, jitter_m: float = 0.0
) -> dict[str, dict[int, BoardView]]:
    """Views by camera; with ``jitter_m`` every camera sees the board where it was a moment earlier or later."""
    rng = np.random.default_rng(seed)
    views: dict[str, dict[int, BoardView]] = {camera.id: {} for camera in rig.cameras}
    for n, pose in enumerate(poses):
        for camera in rig.cameras:
            moved = pose.copy()
            moved[:3, 3] += rng.normal(0, jitter_m, 3)
            view = see(camera, moved, noise_px, rng)
            if view is not None:
                views[camera.id][n] = view
    return views


def relative(rig: Rig) -> list[np.ndarray]:
    """Poses in the first camera's frame."""
    first = invert_rigid(rig.cameras[0].world_from_camera)
    return [first @ camera.world_from_camera for camera in rig.cameras]


def lens_views(
    camera: Camera, count: int, reach: float, seed: int = 3, noise_px: float = 0.0, nearest_m: float = 0.8
) -> dict[int, BoardView]:
    """Tilted boards, the farthest twice as far as the nearest, middles up to ``reach`` of the way to the edges."""
    rng = np.random.default_rng(seed)
    views: dict[int, BoardView] = {}
    while len(views) < count:
        turn = cv2.Rodrigues(rng.uniform(-0.6, 0.6, 3))[0]
        depth = rng.uniform(1, 2) * nearest_m
        place = np.append(rng.uniform(-reach, reach, 2) * np.array(SIZE) / 2 / camera.intrinsics[0, 0] * depth, depth)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = turn, place - turn @ [0.32, 0.24, 0]
        view = see(camera, camera.world_from_camera @ pose, noise_px, rng)
        if view is not None:
            views[len(views)] = view
    return views

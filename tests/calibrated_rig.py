"""A session that holds a calibrated rig with everything that calibrate and color store, of exact made-up numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from litdome.geometry import Camera, look_at
from litdome.store.provenance import StageRecord
from litdome.store.session import Session

SIZE = (1280, 720)
NOISE_PX = 0.2
BOARD = {"kind": "charuco", "columns": 7, "rows": 5, "square_mm": 60.0}
TIMES = ("2025-01-01T10:00:00+00:00", "2025-01-01T10:00:30+00:00")


def ring(count: int, radius_m: float = 3.0) -> list[Camera]:
    """Cameras around the origin at three heights, the first one at world +z, the next ones towards +x."""
    cameras = []
    for n in range(count):
        angle = 2 * np.pi * n / count
        centre = (radius_m * np.sin(angle), 1.0 + 0.7 * (n % 3), radius_m * np.cos(angle))
        k = np.array([[1200.0 + n, 0, 639.5 + n], [0, 1200.0 + n, 359.5], [0, 0, 1]])
        distortion = np.array([-0.1, 0.02, 0.0005, -0.0003, 0.001, 0, 0, 0])
        cameras.append(Camera(f"c{n:02d}", *SIZE, k, distortion, look_at(centre, (0, 1.0, 0))))
    return cameras


def board_poses(count: int) -> np.ndarray[Any, Any]:
    """Boards near the middle, upright, each turned a little further."""
    poses = np.tile(np.eye(4), (count, 1, 1))
    for n in range(count):
        poses[n] = look_at(
            (0.6 * np.sin(n), 0.9 + 0.4 * np.sin(2.3 * n), 0.6 * np.cos(1.7 * n)), (np.cos(n), 1.0, np.sin(n))
        )
    return poses


def write_rig(url: Path, cameras: list[Camera]) -> Session:
    """A session with a rig and nothing else."""
    session = Session.new(str(url), {"name": url.stem, "holds": "rig"})
    sizes = np.array([[camera.width, camera.height] for camera in cameras], np.int32)
    about = {
        "camera_ids": [c.id for c in cameras],
        "roles": ["body"] * len(cameras),
        "models": [c.model for c in cameras],
    }
    session.write_small("rig/size", sizes, ("camera", "2"), attrs=about)
    write_poses(session, cameras)
    return session


def write_poses(session: Session, cameras: list[Camera]) -> None:
    """Lenses and poses."""
    for name, dims in (("intrinsics", ("row", "column")), ("distortion", ("coefficient",))):
        session.write_small(f"rig/{name}", np.stack([getattr(c, name) for c in cameras]), ("camera", *dims))
    poses = np.stack([camera.world_from_camera for camera in cameras])
    session.write_small("rig/world_from_camera", poses, ("camera", "row", "column"))


def write_measured(session: Session, *, views: int = 12, seed: int = 0, **summary: Any) -> None:
    """What calibrate writes beside the rig: deviations, corners, boards, the record; ``summary`` overrides."""
    cameras, random = len(session.cameras), np.random.default_rng(seed)
    width, height = SIZE
    xs, ys = np.meshgrid(np.linspace(0, 360, 6), np.linspace(0, 240, 4))
    grid = np.column_stack([xs.ravel(), ys.ravel()])
    blocks = [(c, v) for c in range(cameras) for v in range(views)]
    corner = np.repeat(np.array(blocks, np.int32), len(grid), axis=0)
    start = random.uniform((10, 10), (width - 400, height - 260), (len(blocks), 2))
    pixels = (start[:, None] + grid).reshape(-1, 2)
    residuals = random.normal(0, NOISE_PX, pixels.shape)
    state = np.zeros(len(corner), np.uint8)
    state[7::97] = 1
    residuals[state == 1] *= 20
    state[(corner[:, 0] == cameras - 1) & (corner[:, 1] == views - 1)] = 2
    rms = [
        float(np.sqrt(np.square(residuals[(corner[:, 0] == c) & (state == 0)]).sum(axis=1).mean()))
        for c in range(cameras)
    ]
    table = {
        "camera": corner[:, 0],
        "view": corner[:, 1] * 5,
        "id": np.tile(np.arange(24), len(blocks)).astype(np.int32),
    }
    for name, values in table.items():
        session.write_small(f"calibration/corner_{name}", values, ("corner",))
    session.write_small("calibration/corner_state", state, ("corner",))
    attrs = {"sizes": [list(SIZE)] * cameras, "variant": ["as printed"] * cameras}
    session.write_small("calibration/corner_px", pixels.astype(np.float32), ("corner", "2"), attrs=attrs)
    session.write_small("calibration/corner_residual_px", residuals.astype(np.float32), ("corner", "2"))
    boards = {"views": [5 * view for view in range(views)]}
    session.write_small("calibration/world_from_board", board_poses(views), ("view", "row", "column"), attrs=boards)
    lens_std = np.tile([0.4, 0.4, 0.8, 0.7, 0.001, 0.004, 0.0001, 0.0001, 0.01, np.nan, np.nan, np.nan], (cameras, 1))
    pose_std = np.tile([1e-4, 1e-4, 1e-4, 3e-4, 3e-4, 3e-4], (cameras, 1))
    pose_std[0] = 0
    session.write_small("rig/intrinsics_std", lens_std, ("camera", "parameter"))
    session.write_small("rig/pose_std", pose_std, ("camera", "parameter"))
    session.write_small("rig/reprojection_px", np.array(rms), ("camera",), attrs={"source": "boards"})
    last = session.cameras[-1]
    found = {
        "source": "boards, charuco 7x5",
        "board": BOARD,
        "cameras": list(session.cameras),
        "rms_px": rms,
        "trimmed_rms_px": 0.27,
        "all_rms_px": 0.29,
        "held_out_rms_px": 0.3,
        "pair_distance_mm": 0.09,
        "freed": {id: ["fx", "fy", "k1"] for id in session.cameras},
        "weak": {session.cameras[1]: ["k2"]},
        "views": {id: views - (id == last) for id in session.cameras},
        "views_left_out": [[last, 5 * (views - 1)]],
        "world": "up and floor from the board on the floor",
        "warnings": [],
    }
    write_record(session, {**found, **summary})


def write_record(session: Session, summary: dict[str, Any]) -> None:
    """The record of a finished calibrate."""
    session.write_record(StageRecord("calibrate", 2, "f", {}, {}, *TIMES, summary=summary))
    session.write_small("steps/calibrate/done", np.ones(1, bool), ("unit",))


def write_colors(session: Session) -> None:
    """Twenty-four patches of every camera; the second camera's chart was not found."""
    cameras = len(session.cameras)
    reference = np.random.default_rng(3).uniform(0.1, 0.9, (24, 3)).astype(np.float32)
    before = np.stack([np.clip(reference * (0.8 + 0.1 * (n % 4), 1.0, 0.85), 0, 1) for n in range(cameras)])
    after = np.clip(reference[None] + 0.004, 0, 1).repeat(cameras, axis=0)
    found = [n != 1 for n in range(cameras)]
    before[1], after[1] = np.nan, np.nan
    attrs = {
        "delta_e_before": [8.25 if one else None for one in found],
        "delta_e_after": [0.75 if one else None for one in found],
        "source": "chart photographs",
        "found": found,
        "patches": ["24 patches" if one else "no chart found in c01.png" for one in found],
    }
    session.write_small("color/reference", reference, ("patch", "channel"))
    session.write_small("color/before", before.astype(np.float32), ("camera", "patch", "channel"))
    session.write_small("color/after", after.astype(np.float32), ("camera", "patch", "channel"), attrs=attrs)

"""Figures that peers reach on real footage: four webcams twice (photographs that Qualisys calibrated: lens takes)."""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations

import numpy as np
import pytest
from conftest import DATA, need

from litdome.calib.boards import BoardSpec, BoardView, detect_take
from litdome.calib.boards.footage import read_footage
from litdome.calib.exchange import read_calibration
from litdome.calib.solve.poses import RigSolution, solve_rig
from litdome.geometry import Camera, Rig

SESSIONS = ("charuco_calibration", "post_optimization")


@lru_cache
def corners_of(name: str) -> tuple[tuple[Camera, ...], dict[str, dict[int, BoardView]], BoardSpec]:
    """Shipped lenses, views by camera, and the board; of the longer take every second picture."""
    folder = need(DATA / "charuco" / name)
    footage = read_footage(folder)
    shipped = read_calibration(folder / "camera_array.toml")
    assert footage.board is not None
    views = {}
    for id, camera in footage.cameras.items():
        assert camera.extrinsic is not None and camera.view_of is not None
        pictures = range(0, len(camera.view_of), 2 if name == SESSIONS[0] else 1)
        take = detect_take(camera.extrinsic, footage.board, pictures=pictures, variant=footage.variant)
        views[id] = {int(camera.view_of[n]): view for n, view in take.views.items()}
    return tuple(shipped[id] for id in footage.cameras), views, footage.board


@lru_cache
def solved(name: str, refine: str) -> RigSolution:
    """A session with its shipped lenses."""
    return solve_rig(*corners_of(name), refine=refine)


def trimmed_px(found: RigSolution) -> float:
    """Root mean square of every corner, those left out of the fit included, but for the worst 2.5 %."""
    squares = np.sort((found.corners.residual_px**2).sum(axis=1))
    return float(np.sqrt(squares[: int(np.ceil(0.975 * len(squares)))].mean()))


def baselines(rig: Rig) -> np.ndarray:
    return np.array([np.linalg.norm(a.centre - b.centre) for a, b in combinations(rig.cameras, 2)])


@pytest.mark.parametrize(
    ("name", "refine", "published_px"),
    [
        (SESSIONS[0], "none", 1.267),
        (SESSIONS[0], "f,k1,k2", 1.256),
        (SESSIONS[1], "none", 1.447),
        (SESSIONS[1], "f,k1,k2", 1.333),
    ],
)
def test_real_webcams_reach_the_published_rigid_board_error(name: str, refine: str, published_px: float) -> None:
    found = solved(name, refine)
    assert trimmed_px(found) <= published_px
    assert len(found.dropped) <= 10  # of 80 and 200 views in a camera


@pytest.mark.parametrize("name", SESSIONS)
def test_what_the_webcams_cannot_know_is_refused(name: str) -> None:
    kept, found = solved(name, "none"), solved(name, "auto")
    assert all("f" in names and "cx" in names for names in found.weak.values())
    assert np.abs(baselines(found.rig) / baselines(kept.rig) - 1).max() < 0.01
    for camera, shipped in zip(found.rig.cameras, corners_of(name)[0], strict=True):
        assert camera.intrinsics[0, 0] / camera.intrinsics[1, 1] == pytest.approx(
            shipped.intrinsics[0, 0] / shipped.intrinsics[1, 1], rel=0.01
        )
    free = solved(name, "f,aspect,cx,cy,k1,k2")  # the negative control
    assert free.all_rms_px < found.all_rms_px and np.abs(baselines(free.rig) / baselines(kept.rig) - 1).max() > 0.02


def test_two_sessions_agree_on_the_same_cameras_within_what_they_say() -> None:
    found = [solved(name, "f,k1,k2") for name in SESSIONS]
    focal = np.array([[camera.intrinsics[0, 0] for camera in one.rig.cameras] for one in found])
    std = np.array([one.intrinsics_std[:, 0] for one in found])
    off = np.abs(focal[0] - focal[1]) / np.linalg.norm(std, axis=0)
    assert off.max() < 3
    alone = off * min(one.view_noise_px / one.noise_px for one in found)
    assert alone.max() > 3  # corners counted as independent would promise too much

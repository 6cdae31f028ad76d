"""Bundle adjustment that leaves out views and corners that contradict the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from litdome.calib.solve.bundle import Corners, Estimate, Problem, residuals, robust_noise, solve, with_used
from litdome.calib.solve.pose_graph import MIN_CORNERS, connected
from litdome.errors import CalibrationError
from litdome.geometry import Camera

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
VIEW_RATIO = 5.0  # a view so many times worse than the median one is left out ...
CORNER_RATIO = 5.0  # ... and a corner so many times farther off than the median one, of its view and of all, ...
MIN_OFF_PX = 0.5  # ... if they are also worse than this
MAX_ROUNDS = 5
START_NOISE_PX, QUIETER = 1.0, 0.7  # a corner's noise before any is known; by how much it must fall to fit once more
BOARD_HINT = "check [board]: columns and rows count squares; was the board flat and still?"


def fit_robustly(
    lenses: Sequence[Camera], corners: Corners, start: Estimate, free: BoolArray, belief: FloatArray | None = None
) -> tuple[Problem, Estimate]:
    """Solve, leave out what is far off, and solve again until nothing changes; the problem says what was used.

    ``belief`` holds standard deviations of what comes in, shape (camera, 18); it weighs against the corners' own noise,
    which is measured as it goes: sharp corners know better than a belief that blurred ones leave standing.

    Raises:
        CalibrationError: A camera is left without a view that it shares with the others (named).
    """
    problem, noise_px = Problem([camera.model for camera in lenses], corners, free), START_NOISE_PX
    seen = corners.used
    used = seen & np.isfinite(residuals(problem, start)).all(axis=-1)
    estimate = start
    for _ in range(MAX_ROUNDS):
        problem = with_used(problem, _still_linked(lenses, corners, used))
        problem = replace(problem, belief=None if belief is None else belief / noise_px)
        estimate = solve(problem, estimate)
        residual = residuals(problem, estimate)
        kept, believed_px = _not_far_off(residual, seen), noise_px
        noise_px = robust_noise(residual, problem.corners.used, parameters=0)
        if (kept == used).all() and (belief is None or noise_px > QUIETER * believed_px):
            break
        used = kept
    return problem, estimate


def _not_far_off(residual: FloatArray, seen: BoolArray) -> BoolArray:
    """Of the corners ``seen``, those to use: not far off in their view, nor of a view far worse than the median one."""
    error = np.where(seen, np.nan_to_num(np.linalg.norm(residual, axis=-1), nan=np.inf), np.nan)
    in_view = np.nanmedian(error, axis=1)
    limit = np.maximum(CORNER_RATIO * np.maximum(in_view, np.median(in_view)), MIN_OFF_PX)
    kept = seen & np.isfinite(error) & (error <= limit[:, None])
    view_rms = np.sqrt(np.where(kept, error**2, 0).sum(axis=1) / np.maximum(kept.sum(axis=1), 1))
    kept &= (view_rms <= max(VIEW_RATIO * float(np.median(view_rms)), MIN_OFF_PX))[:, None]
    return np.asarray(kept & (kept.sum(axis=1, keepdims=True) >= MIN_CORNERS), bool)


def _still_linked(lenses: Sequence[Camera], corners: Corners, used: BoolArray) -> BoolArray:
    """``used`` without views that now only one camera has.

    Raises:
        CalibrationError: That leaves cameras without a link to the others (named).
    """
    live = used.any(axis=1)
    cameras_of = np.bincount(corners.view[live], minlength=int(corners.view.max()) + 1)
    linked = used & (cameras_of[corners.view] >= min(2, len(lenses)))[:, None]
    rows = linked.any(axis=1)
    reached = connected(corners.camera[rows], corners.view[rows], len(lenses))
    lost = np.flatnonzero(~reached | ~np.isin(np.arange(len(lenses)), corners.camera[rows]))
    if len(lost) and len(lenses) == 1:
        raise CalibrationError(f"{lenses[0].id}: its board views contradict each other", hint=BOARD_HINT)
    if len(lost):
        raise CalibrationError(
            f"cameras {', '.join(lenses[int(n)].id for n in lost)}: their board views contradict the other cameras'",
            hint="were all cameras in step? is each lens the right one? film the board again",
        )
    return linked

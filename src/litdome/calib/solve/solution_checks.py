"""What a solved rig is worth: errors of corners used, trimmed and held out, of distances, and of lens values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from litdome.calib.boards import BoardSpec
from litdome.calib.solve.bundle import (
    CAMERA_LENGTH,
    POSE_LENGTH,
    Corners,
    Estimate,
    Problem,
    residuals,
    solve,
    with_used,
)
from litdome.calib.solve.pose_graph import connected
from litdome.calib.solve.projection import TERMS
from litdome.geometry import Camera

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
TRIMMED = 0.025
FOLDS = 5


def rms_of(residual: FloatArray, which: BoolArray) -> float:
    """Root mean square of sqrt(dx^2 + dy^2) over the corners in ``which``; NaN without any."""
    squares = (residual[which] ** 2).sum(axis=-1)
    return float(np.sqrt(squares.mean())) if len(squares) else float("nan")


def trimmed_rms(residual: FloatArray, which: BoolArray) -> float:
    """The same without the worst 2.5 % of corners."""
    squares = np.sort((residual[which] ** 2).sum(axis=-1))
    return float(np.sqrt(squares[: int(np.ceil(len(squares) * (1 - TRIMMED)))].mean()))


def held_out_rms(problem: Problem, estimate: Estimate) -> float:
    """Error of corners in views that the cameras were not fitted to, px.

    Every fifth view in turn is held out: cameras and lenses are fitted to the others, then only the board's own pose
    to the view. Corners of a camera that the others no longer reach are not judged; NaN where none are left.
    """
    corners = problem.corners
    views = np.unique(corners.view[corners.used.any(axis=1)])
    squares = []
    for fold in range(min(FOLDS, len(views))):
        held = np.isin(corners.view, views[fold::FOLDS])[:, None]
        rest = corners.used & ~held
        rows = rest.any(axis=1)
        reached = connected(corners.camera[rows], corners.view[rows], len(problem.free))
        reached &= np.isin(np.arange(len(reached)), corners.camera[rows])
        fitted = solve(with_used(problem, rest), estimate)
        judged = with_used(problem, corners.used & held & reached[corners.camera][:, None])
        judged = replace(judged, free=np.zeros_like(problem.free), belief=None)
        residual = residuals(judged, solve(judged, fitted))
        squares.extend((residual[judged.corners.used] ** 2).sum(axis=-1))
    return float(np.sqrt(np.mean(squares))) if squares else float("nan")


def pair_distance_mm(cameras: Sequence[Camera], corners: Corners, spec: BoardSpec) -> float:
    """Root mean square error of the distances between all corners of a view, triangulated from the used ones, mm.

    Corners that fewer than two cameras saw have no place; NaN where no view has two that do.
    """
    normal, right, seen = _rays_by_corner(cameras, corners, len(spec.points))
    errors = []
    for view in range(len(seen)):
        ids = np.flatnonzero(seen[view] >= 2)
        places = np.linalg.solve(normal[view, ids], right[view, ids][..., None])[..., 0]
        a, b = np.triu_indices(len(ids), 1)
        found = np.linalg.norm(places[a] - places[b], axis=1)
        errors.append(found - np.linalg.norm(spec.points[ids[a]] - spec.points[ids[b]], axis=1))
    squares = np.concatenate(errors) ** 2 if errors else np.empty(0)
    return float(1000 * np.sqrt(squares.mean())) if len(squares) else float("nan")


def lens_std(cameras: Sequence[Camera], estimate: Estimate, covariance: FloatArray, free: BoolArray) -> FloatArray:
    """Standard deviations of fx fy cx cy (px) and distortion, shape (camera, 12); NaN where a value was kept."""
    std = np.zeros((len(cameras), CAMERA_LENGTH - POSE_LENGTH))
    for index, camera in enumerate(cameras):
        rows = slice(index * CAMERA_LENGTH + POSE_LENGTH, (index + 1) * CAMERA_LENGTH)
        block, own = covariance[rows, rows], free[index, POSE_LENGTH:]
        std[index] = np.sqrt(np.diag(block))
        std[index, : len(TERMS[camera.model])][~own[: len(TERMS[camera.model])]] = np.nan
        if own[:2].any():
            focal = estimate.lenses[index, :2]
            std[index, 0] = focal[0] * np.sqrt(block[0, 0]) if own[0] else np.nan
            std[index, 1] = focal[1] * np.sqrt(block[:2, :2].sum())
    return std


def _rays_by_corner(
    cameras: Sequence[Camera], corners: Corners, count: int
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.int64]]:
    """Normal equations of the point nearest to all rays, by view and corner, and how many rays there are."""
    views = int(corners.view.max()) + 1
    normal, right = np.zeros((views, count, 3, 3)), np.zeros((views, count, 3))
    seen = np.zeros((views, count), np.int64)
    for index, camera in enumerate(cameras):
        rows, columns = np.nonzero(corners.used & (corners.camera == index)[:, None])
        rays = camera.ray_directions(corners.pixels[rows, columns])
        across = np.eye(3) - rays[:, :, None] * rays[:, None, :]
        at = (corners.view[rows], corners.ids[rows, columns])
        np.add.at(normal, at, across)
        np.add.at(right, at, across @ camera.centre)
        np.add.at(seen, at, 1)
    return normal, right, seen

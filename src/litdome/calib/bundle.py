"""Bundle adjustment with a rigid board: cameras, board poses and small lens changes in one robust least squares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from litdome.geometry import Camera, Rig, invert_rigid

FloatArray = npt.NDArray[np.float64]
SOFT_PX = 1.0  # residuals beyond this count linearly
LENS_PARAMETERS = 3  # one factor for fx and fy, k1, k2
FOCAL_PRIOR, RADIAL_PRIOR = 0.003, 0.02  # weakest belief in the lenses that come in: relative, absolute
DROP_RATIO = 5.0  # a view so many times worse than the median one is left out
TRIMMED = 0.025
MIN_NOISE_PX = 0.01
MAX_ITERATIONS, TOLERANCE, MAX_DAMPING = 60, 1e-7, 1e8


class Observation(NamedTuple):
    """The board of one view in one camera; points in the board's frame, pixels where they were seen."""

    camera: int
    view: int
    points: FloatArray
    pixels: FloatArray


@dataclass(frozen=True, eq=False)
class PoseSolution:
    """A rig found from a board take.

    Attributes:
        rig: Cameras; the world is the first camera's own frame, metres, until `level_rig` turns it.
        world_from_board: By view.
        rms_px: Root of the mean squared residual per corner, all corners, by camera, shape (camera,).
        trimmed_rms_px: The same over all cameras without the worst 2.5 % of corners.
        pose_std: Standard deviations of each camera's rotation (rad) and translation (m), shape (camera, 6).
        focal_std: Relative standard deviation of the focal lengths, shape (camera,); NaN where they were kept.
        dropped: (camera id, view) that contradict the rest.
    """

    rig: Rig
    world_from_board: Mapping[int, FloatArray]
    rms_px: FloatArray
    trimmed_rms_px: float
    pose_std: FloatArray
    focal_std: FloatArray
    dropped: tuple[tuple[str, int], ...]


class BundleProblem:
    """Rigid-board bundle adjustment: cameras (the first fixed), boards, and lens changes, in one vector.

    Per camera: rotation and translation of camera_from_world (6), then lens changes; per view: of world_from_board (6).
    ``noise_px`` is what a corner is off by (one coordinate); it weighs corners against the belief in the lenses.
    """

    def __init__(
        self, lenses: Sequence[Camera], observations: Sequence[Observation], refine: bool, noise_px: float = SOFT_PX
    ) -> None:
        self.lenses = tuple(lenses)
        self.observations = list(observations)
        self.views = sorted({o.view for o in self.observations})
        self.row_of = {view: row for row, view in enumerate(self.views)}
        self.refine = refine
        self.noise_px = noise_px
        self.cameras = len(lenses)
        self.boards_at = 6 * self.cameras
        self.lenses_at = self.boards_at + 6 * len(self.views)
        self.length = self.lenses_at + LENS_PARAMETERS * self.cameras
        fixed = np.zeros(self.length, bool)
        fixed[:6] = True
        if not refine:
            fixed[self.lenses_at :] = True
        self.free = np.flatnonzero(~fixed)
        self.full = np.zeros(self.length)

    def pack(self, cameras: Sequence[FloatArray], boards: Mapping[int, FloatArray]) -> FloatArray:
        """The free parameters of poses, lens changes zero."""
        full = np.zeros(self.length)
        for index, pose in enumerate(cameras):
            full[6 * index : 6 * index + 6] = vector_of(invert_rigid(pose))
        for row, view in enumerate(self.views):
            full[self.boards_at + 6 * row :][:6] = vector_of(boards[view])
        return full[self.free]

    def solve(self, x: FloatArray) -> FloatArray:
        """Levenberg-Marquardt on the normal equations; corners beyond `SOFT_PX` pull only linearly (soft L1)."""
        residual, jacobian = self.evaluate(x)
        cost, weights = self._robust(residual)
        damping, floor = 1e-4, MIN_NOISE_PX**2 * len(residual)
        for _ in range(MAX_ITERATIONS):
            weighted = jacobian.multiply(weights[:, None]).tocsr()
            normal, gradient = (weighted.T @ jacobian).toarray(), weighted.T @ residual
            normal[np.diag_indices_from(normal)] *= 1 + damping
            step = np.linalg.solve(normal, -gradient)
            trial_residual, trial_jacobian = self.evaluate(x + step)
            trial_cost, trial_weights = self._robust(trial_residual)
            if trial_cost < cost:
                converged = cost - trial_cost < TOLERANCE * (cost + floor)
                x, residual, jacobian = x + step, trial_residual, trial_jacobian
                cost, weights, damping = trial_cost, trial_weights, max(damping / 10, 1e-9)
                if converged:
                    break
            elif damping > MAX_DAMPING:
                break
            else:
                damping *= 10
        return x

    def _robust(self, residual: FloatArray) -> tuple[float, FloatArray]:
        """Soft L1 cost over corners plus the prior's squares, and the weight of each residual."""
        corners = residual[: self.corner_residuals].reshape(-1, 2)
        root = np.sqrt(1 + (corners**2).sum(axis=1) / SOFT_PX**2)
        prior = residual[self.corner_residuals :]
        weights = np.concatenate([np.repeat(1 / root, 2), np.ones(len(prior))])
        return float((2 * SOFT_PX**2 * (root - 1)).sum() + (prior**2).sum()), weights

    @property
    def corner_residuals(self) -> int:
        """Residuals that are pixels; the prior's follow."""
        return sum(o.pixels.size for o in self.observations)

    def lens(self, full: FloatArray, index: int) -> Camera:
        """A camera with its lens changes applied."""
        focal, k1, k2 = full[self.lenses_at + LENS_PARAMETERS * index :][:LENS_PARAMETERS]
        camera = self.lenses[index]
        intrinsics, distortion = camera.intrinsics.copy(), camera.distortion.copy()
        intrinsics[[0, 1], [0, 1]] *= 1 + focal
        distortion[:2] += [k1, k2]
        return replace(camera, intrinsics=intrinsics, distortion=distortion)

    def expand(self, x: FloatArray) -> FloatArray:
        full = self.full.copy()
        full[self.free] = x
        return full

    def evaluate(self, x: FloatArray) -> tuple[FloatArray, csr_matrix]:
        """Residuals, px (then the prior's), and their sparse Jacobian."""
        full = self.expand(x)
        lenses = [self.lens(full, index) for index in range(self.cameras)]
        residuals, blocks = [], []
        row = 0
        for o in self.observations:
            residual, columns, jacobian = self._project(full, lenses[o.camera], o)
            residuals.append(residual)
            blocks.append((row, columns, jacobian))
            row += len(residual)
        if self.refine:
            prior = np.tile(self.noise_px / np.array([FOCAL_PRIOR, RADIAL_PRIOR, RADIAL_PRIOR]), self.cameras)
            residuals.append(full[self.lenses_at :] * prior)
            blocks.append((row, np.arange(self.lenses_at, self.length), np.diag(prior)))
        return np.concatenate(residuals), self._sparse(blocks)[:, self.free]

    def _project(
        self, full: FloatArray, lens: Camera, o: Observation
    ) -> tuple[FloatArray, npt.NDArray[np.intp], FloatArray]:
        camera_at, board_at = 6 * o.camera, self.boards_at + 6 * self.row_of[o.view]
        camera, board = full[camera_at : camera_at + 6], full[board_at : board_at + 6]
        composed = cv2.composeRT(board[:3], board[3:], camera[:3], camera[3:])
        rvec, tvec = composed[:2]
        dr_dboard, dr_dcamera = np.hstack(composed[2:4]), np.hstack(composed[4:6])
        dt_dboard, dt_dcamera = np.hstack(composed[6:8]), np.hstack(composed[8:10])
        pixels, partial = cv2.projectPoints(o.points, rvec, tvec, lens.intrinsics, lens.distortion)
        by_r, by_t = partial[:, :3], partial[:, 3:6]
        by_focal = partial[:, 6:8] @ self.lenses[o.camera].intrinsics[[0, 1], [0, 1]]
        jacobian = np.column_stack(
            [by_r @ dr_dcamera + by_t @ dt_dcamera, by_r @ dr_dboard + by_t @ dt_dboard, by_focal, partial[:, 10:12]]
        )
        lens_at = self.lenses_at + LENS_PARAMETERS * o.camera
        starts = ((camera_at, 6), (board_at, 6), (lens_at, LENS_PARAMETERS))
        columns = np.concatenate([np.arange(at, at + count) for at, count in starts])
        return (pixels.reshape(-1, 2) - o.pixels).ravel(), columns, jacobian

    def _sparse(self, blocks: Sequence[tuple[int, npt.NDArray[np.intp], FloatArray]]) -> csr_matrix:
        rows = [np.repeat(np.arange(row, row + len(j)), j.shape[1]) for row, _, j in blocks]
        columns = [np.tile(columns, len(j)) for _, columns, j in blocks]
        values = [j.ravel() for _, _, j in blocks]
        height = blocks[-1][0] + len(blocks[-1][2])
        where = (np.concatenate(rows), np.concatenate(columns))
        return csr_matrix((np.concatenate(values), where), shape=(height, self.length))

    def errors(self, x: FloatArray) -> list[FloatArray]:
        """Distance of each corner from where it should be, px, by observation."""
        full = self.expand(x)
        lenses = [self.lens(full, index) for index in range(self.cameras)]
        residuals = [self._project(full, lenses[o.camera], o)[0] for o in self.observations]
        return [np.linalg.norm(residual.reshape(-1, 2), axis=1) for residual in residuals]

    def noise(self, x: FloatArray) -> float:
        """Robust standard deviation of a corner's coordinate, px."""
        residual = self.evaluate(x)[0][: self.corner_residuals]
        return max(float(1.4826 * np.median(np.abs(residual))), MIN_NOISE_PX)

    def outlying(self, x: FloatArray) -> list[Observation]:
        """Observations far worse than the median one."""
        rms = np.array([np.sqrt((error**2).mean()) for error in self.errors(x)])
        limit = max(DROP_RATIO * float(np.median(rms)), 2 * SOFT_PX)
        return [o for o, value in zip(self.observations, rms, strict=True) if value > limit]

    def poses(self, x: FloatArray) -> tuple[list[FloatArray], dict[int, FloatArray]]:
        """world_from_camera of every camera and world_from_board by view."""
        vectors = self.expand(x)[: self.lenses_at].reshape(-1, 6)
        cameras = [invert_rigid(pose_of(vector[:3], vector[3:])) for vector in vectors[: self.cameras]]
        boards = {view: pose_of(*np.split(vectors[self.cameras + row], 2)) for view, row in self.row_of.items()}
        return cameras, boards

    def solution(self, x: FloatArray, dropped: Sequence[Observation]) -> PoseSolution:
        """What ``x`` means, with residuals and standard deviations."""
        full = self.expand(x)
        poses, boards = self.poses(x)
        cameras = [replace(self.lens(full, index), world_from_camera=pose) for index, pose in enumerate(poses)]
        errors = self.errors(x)
        camera_of = np.repeat([o.camera for o in self.observations], [len(error) for error in errors])
        squared = np.concatenate(errors) ** 2
        std = self._std(x, float(squared.mean()) / 2)
        kept = np.sort(squared)[: int(np.ceil(len(squared) * (1 - TRIMMED)))]
        return PoseSolution(
            rig=Rig(tuple(cameras)),
            world_from_board=boards,
            rms_px=np.sqrt([squared[camera_of == index].mean() for index in range(self.cameras)]),
            trimmed_rms_px=float(np.sqrt(kept.mean())),
            pose_std=std[: self.boards_at].reshape(-1, 6),
            focal_std=std[self.lenses_at :: LENS_PARAMETERS] if self.refine else np.full(self.cameras, np.nan),
            dropped=tuple((self.lenses[o.camera].id, o.view) for o in dropped),
        )

    def _std(self, x: FloatArray, variance: float) -> FloatArray:
        """Standard deviation of every parameter, 0 where it is fixed, shape (parameter,)."""
        jacobian = self.evaluate(x)[1]
        normal = (jacobian.T @ jacobian).toarray()
        std = np.zeros(self.length)
        std[self.free] = np.sqrt(np.maximum(np.diag(np.linalg.inv(normal)) * variance, 0))
        return std


def pose_of(rvec: FloatArray, tvec: FloatArray) -> FloatArray:
    """Rigid transform, shape (4, 4), of a rotation vector and a translation."""
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(np.ravel(rvec))[0]
    pose[:3, 3] = np.ravel(tvec)
    return pose


def vector_of(pose: FloatArray) -> FloatArray:
    """Rotation vector and translation of a rigid transform, shape (6,)."""
    return np.concatenate([cv2.Rodrigues(pose[:3, :3])[0].ravel(), pose[:3, 3]])

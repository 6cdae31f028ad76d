"""Bundle adjustment with a rigid board: cameras, lenses and board poses in one robust least squares.

Boards are eliminated (Schur complement), so what is factored is one dense matrix of the cameras' parameters, however
many boards there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.transform import Rotation

from litdome.calib.solve.projection import LENS_LENGTH, changed_lens, project, project_with_derivatives
from litdome.geometry import LensModel

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.intp]
POSE_LENGTH = 6  # rotation, then translation
CAMERA_LENGTH = POSE_LENGTH + LENS_LENGTH
SOFT_PX = 1.0  # residuals beyond this count linearly
MAX_ITERATIONS, TOLERANCE, MAX_DAMPING = 100, 1e-9, 1e8
MIN_NOISE_PX = 0.01
MEDIAN_DISTANCE = 1.1774  # of a two-dimensional normal distribution of standard deviation 1


@dataclass(frozen=True, eq=False)
class Corners:
    """Corners of o observations, each one board in one camera, padded to m corners.

    Attributes:
        camera, view: Row of the camera and of the view, shape (o,).
        points: In the board's frame, shape (o, m, 3), metres.
        pixels: Where they were seen, shape (o, m, 2).
        ids: Of the board's corners, shape (o, m), -1 where padded.
        used: Which of them count, shape (o, m).
    """

    camera: IntArray
    view: IntArray
    points: FloatArray
    pixels: FloatArray
    ids: IntArray
    used: BoolArray


@dataclass(frozen=True, eq=False)
class Estimate:
    """What is solved for: lenses (camera, 12), camera_from_world (camera, 4, 4), world_from_board (view, 4, 4)."""

    lenses: FloatArray
    camera_from_world: FloatArray
    world_from_board: FloatArray


@dataclass(frozen=True, eq=False)
class Problem:
    """Corners to explain, and which of each camera's 6 pose and 12 lens parameters may move, shape (camera, 18).

    ``belief`` is the standard deviation of what comes in, by parameter, in units of a corner's noise (inf: none).
    """

    models: Sequence[LensModel]
    corners: Corners
    free: BoolArray
    belief: FloatArray | None = None


class Share(NamedTuple):
    """What one view says of the cameras once its board's own pose is taken out."""

    columns: IntArray
    information: FloatArray
    score: FloatArray


class Normal(NamedTuple):
    """Blocks of the normal equations by observation (cameras, cross) and by view (boards), and the gradients."""

    camera: FloatArray
    cross: FloatArray
    camera_gradient: FloatArray
    board: FloatArray
    board_gradient: FloatArray


def residuals(problem: Problem, estimate: Estimate) -> FloatArray:
    """Projected minus seen, shape (o, m, 2), px; NaN where a corner would lie behind its camera."""
    corners = problem.corners
    seen = _in_cameras(corners, estimate)
    models = [problem.models[camera] for camera in corners.camera]
    return project(models, estimate.lenses[corners.camera], seen) - corners.pixels


def solve(problem: Problem, estimate: Estimate, soft_px: float | None = SOFT_PX) -> Estimate:
    """Levenberg-Marquardt from ``estimate``; corners beyond ``soft_px`` pull only linearly (None: plain squares).

    Raises:
        FloatingPointError: The start puts corners behind their camera.
    """
    start = estimate
    cost = _cost(problem, start, estimate, soft_px)
    if not np.isfinite(cost):
        raise FloatingPointError("a corner lies behind its camera")
    damping, floor = 1e-4, MIN_NOISE_PX**2 * problem.corners.used.sum()
    for _ in range(MAX_ITERATIONS):
        normal = normal_equations(problem, estimate, soft_px)
        gain = 0.0
        while gain <= 0 and damping < MAX_DAMPING:
            try:
                trial = _stepped(problem, start, estimate, normal, damping)
                trial_cost = _cost(problem, start, trial, soft_px)
            except np.linalg.LinAlgError:  # rounding left the matrix indefinite: a shorter step
                trial_cost = np.inf
            gain = cost - trial_cost if np.isfinite(trial_cost) else 0.0
            damping = damping * 10 if gain <= 0 else max(damping / 10, 1e-10)
        if gain <= 0:
            break
        estimate, cost = trial, trial_cost
        if gain < TOLERANCE * (cost + floor):
            break
    return estimate


def jacobians(problem: Problem, estimate: Estimate) -> tuple[FloatArray, FloatArray]:
    """How each residual moves with its camera's 18 parameters and its board's 6, shapes (o, m, 2, 18), (o, m, 2, 6).

    Cameras turn and move along their own axes, boards along theirs (see `moved`).
    """
    corners = problem.corners
    in_camera = np.where(corners.used[..., None], _in_cameras(corners, estimate), [0.0, 0.0, 1.0])
    models = [problem.models[camera] for camera in corners.camera]
    _, by_point, by_term = project_with_derivatives(models, estimate.lenses[corners.camera], in_camera)
    turn = estimate.camera_from_world[corners.camera, :3, :3] @ estimate.world_from_board[corners.view, :3, :3]
    by_camera = np.concatenate([_by_rotation(by_point, in_camera), by_point, by_term], axis=-1)
    by_board_point = by_point @ turn[:, None]
    return by_camera, np.concatenate([_by_rotation(by_board_point, corners.points), by_board_point], axis=-1)


def moved(estimate: Estimate, cameras: FloatArray, boards: FloatArray) -> Estimate:
    """``estimate`` after small changes of cameras, shape (camera, 18), and boards, shape (view, 6)."""
    return Estimate(
        changed_lens(estimate.lenses, cameras[:, POSE_LENGTH:]),
        _small_motion(cameras[:, :POSE_LENGTH]) @ estimate.camera_from_world,
        estimate.world_from_board @ _small_motion(boards),
    )


def normal_equations(problem: Problem, estimate: Estimate, soft_px: float | None) -> Normal:
    """The blocks of the normal equations at ``estimate``, robustness included to second order.

    What a corner far off adds along its residual bends with the square of its weight (Source: Triggs et al. 2000,
    Bundle adjustment - a modern synthesis, 4.3; here for soft L1, where it stays positive).
    """
    corners = problem.corners
    residual = np.where(corners.used[..., None], residuals(problem, estimate), 0)
    weight = _weights(residual, corners.used, soft_px)[..., None]
    along = residual / np.maximum(np.linalg.norm(residual, axis=-1, keepdims=True), np.finfo(float).tiny)
    count, rows = len(corners.camera), 2 * corners.used.shape[1]

    def scaled(jacobian: FloatArray) -> FloatArray:
        radial = along[..., :1] * jacobian[..., 0, :] + along[..., 1:] * jacobian[..., 1, :]
        jacobian -= ((1 - weight) * along)[..., None] * radial[..., None, :]
        jacobian *= np.sqrt(weight)[..., None]
        return jacobian.reshape(count, rows, -1)

    camera, board = (scaled(jacobian) for jacobian in jacobians(problem, estimate))
    column = (residual / np.sqrt(np.where(weight > 0, weight, 1))).reshape(count, rows, 1)
    camera_t, board_t = camera.transpose(0, 2, 1), board.transpose(0, 2, 1)
    views = len(estimate.world_from_board)
    boards, board_gradient = np.zeros((views, POSE_LENGTH, POSE_LENGTH)), np.zeros((views, POSE_LENGTH))
    np.add.at(boards, corners.view, board_t @ board)
    np.add.at(board_gradient, corners.view, (board_t @ column)[..., 0])
    return Normal(camera_t @ camera, camera_t @ board, (camera_t @ column)[..., 0], boards, board_gradient)


def view_shares(corners: Corners, normal: Normal, damping: float = 0.0) -> Iterator[Share]:
    """What each view says of the cameras, in the order of views; columns count 18 a camera."""
    boards = _damped(normal.board, damping)
    order = np.argsort(corners.view, kind="stable")
    starts = np.searchsorted(corners.view[order], np.arange(len(boards) + 1))
    for view, board in enumerate(boards):
        rows = order[starts[view] : starts[view + 1]]
        columns = (corners.camera[rows, None] * CAMERA_LENGTH + np.arange(CAMERA_LENGTH)).ravel()
        cross = normal.cross[rows].reshape(-1, POSE_LENGTH)
        eliminated = np.linalg.solve(board, cross.T).T
        information = -eliminated @ cross.T
        for at, row in enumerate(rows):
            block = slice(at * CAMERA_LENGTH, (at + 1) * CAMERA_LENGTH)
            information[block, block] += normal.camera[row]
        score = normal.camera_gradient[rows].ravel() - eliminated @ normal.board_gradient[view]
        yield Share(columns, information, score)


def camera_information(problem: Problem, normal: Normal, damping: float = 0.0) -> tuple[FloatArray, FloatArray]:
    """Reduced normal matrix and gradient of all camera parameters, shapes (18 c, 18 c) and (18 c,), without boards."""
    length = problem.free.size
    information, gradient = np.zeros((length, length)), np.zeros(length)
    for columns, block, score in view_shares(problem.corners, normal, damping):
        information[np.ix_(columns, columns)] += block
        gradient[columns] += score
    return information, gradient


def robust_noise(residual: FloatArray, used: BoolArray, parameters: int) -> float:
    """Standard deviation of a corner's coordinate, px, from the median distance; NaN counts as far off."""
    distances = np.nan_to_num(np.linalg.norm(residual[used], axis=-1), nan=np.inf)
    spare = max(2 * len(distances) - parameters, 1) / (2 * len(distances))
    return max(float(np.median(distances) / MEDIAN_DISTANCE / np.sqrt(spare)), MIN_NOISE_PX)


def with_used(problem: Problem, used: BoolArray) -> Problem:
    """The same problem with other corners in use."""
    return replace(problem, corners=replace(problem.corners, used=used))


def _stepped(problem: Problem, start: Estimate, estimate: Estimate, normal: Normal, damping: float) -> Estimate:
    """``estimate`` after one damped step."""
    corners = problem.corners
    information, gradient = camera_information(problem, normal, damping)
    if problem.belief is not None:
        pull = 1 / problem.belief.ravel() ** 2
        information[np.diag_indices_from(information)] += pull
        gradient += pull * _lens_change(problem, start, estimate).ravel()
    step = np.zeros(problem.free.size)
    free = np.flatnonzero(problem.free)
    if len(free):
        step[free] = -_solved(information[np.ix_(free, free)], gradient[free], damping)
    cameras = step.reshape(problem.free.shape)
    pull_of_cameras = (normal.cross.transpose(0, 2, 1) @ cameras[corners.camera][..., None])[..., 0]
    gradients = normal.board_gradient.copy()
    np.add.at(gradients, corners.view, pull_of_cameras)
    moves = np.linalg.solve(_damped(normal.board, damping), gradients[..., None])[..., 0]
    return moved(estimate, cameras, np.negative(moves))


def _damped(boards: FloatArray, damping: float) -> FloatArray:
    """Boards' blocks with a longer diagonal; one that nobody sees stays where it is."""
    diagonal = np.diagonal(boards, axis1=1, axis2=2)
    unseen = ~diagonal.any(axis=1, keepdims=True)
    return boards + (damping * diagonal + unseen)[:, :, None] * np.eye(POSE_LENGTH)


def _solved(matrix: FloatArray, right: FloatArray, damping: float) -> FloatArray:
    scale = 1 / np.sqrt(np.maximum(np.diag(matrix), np.finfo(float).tiny))
    scaled = matrix * scale[:, None] * scale
    scaled[np.diag_indices_from(scaled)] += max(damping, 1e-12)
    return np.asarray(cho_solve(cho_factor(scaled), right * scale) * scale)


def _lens_change(problem: Problem, start: Estimate, estimate: Estimate) -> FloatArray:
    """Terms by which lenses differ from where they started, shape (camera, 18); poses 0."""
    change = np.zeros(problem.free.shape)
    terms = change[:, POSE_LENGTH:]
    terms[:] = estimate.lenses - start.lenses
    terms[:, 0] = estimate.lenses[:, 0] / start.lenses[:, 0] - 1
    terms[:, 1] = estimate.lenses[:, 1] / start.lenses[:, 1] / (1 + terms[:, 0]) - 1
    return change


def _cost(problem: Problem, start: Estimate, estimate: Estimate, soft_px: float | None) -> float:
    """Soft L1 (or plain squares) over used corners, plus the belief's squares."""
    squares = (residuals(problem, estimate)[problem.corners.used] ** 2).sum(axis=-1)
    cost = squares if soft_px is None else 2 * soft_px**2 * (np.sqrt(1 + squares / soft_px**2) - 1)
    belief = 0.0
    if problem.belief is not None:
        belief = float(((_lens_change(problem, start, estimate) / problem.belief) ** 2).sum())
    return float(cost.sum()) + belief


def _weights(residual: FloatArray, used: BoolArray, soft_px: float | None) -> FloatArray:
    """What each corner counts, shape (o, m); 0 where it is not used."""
    if soft_px is None:
        return used.astype(np.float64)
    squares = (residual**2).sum(axis=-1)
    return np.where(used, 1 / np.sqrt(1 + np.where(used, squares, 0) / soft_px**2), 0.0)


def _in_cameras(corners: Corners, estimate: Estimate) -> FloatArray:
    """Corners in their cameras' frames, shape (o, m, 3)."""
    camera_from_board = estimate.camera_from_world[corners.camera] @ estimate.world_from_board[corners.view]
    return corners.points @ camera_from_board[:, :3, :3].transpose(0, 2, 1) + camera_from_board[:, None, :3, 3]


def _by_rotation(by_point: FloatArray, points: FloatArray) -> FloatArray:
    """Change with a small rotation w of the points (w x point), shape (o, m, 2, 3)."""
    return np.cross(points[:, :, None], by_point)


def _small_motion(steps: FloatArray) -> FloatArray:
    """Rigid transforms of rotation vectors and translations, shape (n, 6) to (n, 4, 4)."""
    motion = np.tile(np.eye(4), (len(steps), 1, 1))
    motion[:, :3, :3] = Rotation.from_rotvec(steps[:, :3]).as_matrix()
    motion[:, :3, 3] = steps[:, 3:]
    return motion

"""Where cameras and boards are, roughly: from pairs of cameras that share views, along a spanning tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from litdome.calib.boards import BoardSpec, BoardView
from litdome.calib.solve.bundle import Corners, Estimate
from litdome.calib.solve.projection import lens_values, project
from litdome.errors import CalibrationError
from litdome.geometry import Camera, invert_rigid

FloatArray = npt.NDArray[np.float64]
MIN_CORNERS = 4
MAX_LINK_VIEWS = 40  # views that vote on how two cameras stand to each other
AGREEING = 0.1  # rad + distance over depth: two poses this close say the same
UNLIKELY = 0.01  # what the less likely of two mirrored poses must gain by agreeing with other views
PLACING_SOFT_PX = 10.0


class Link(NamedTuple):
    """How camera b stands to camera a, with how many views agree and how well."""

    a: int
    b: int
    a_from_b: FloatArray
    agreeing: int
    disagreement: float


def gather_corners(
    cameras: Sequence[Camera], views: Mapping[str, Mapping[int, BoardView]], spec: BoardSpec, at_least: int
) -> tuple[Corners, tuple[int, ...]]:
    """Corners of all views that at least so many cameras have, and the numbers of those views."""
    usable = {
        (index, number): view
        for index, camera in enumerate(cameras)
        for number, view in sorted(views.get(camera.id, {}).items())
        if len(view) >= MIN_CORNERS and not _in_a_line(spec.points[view.ids])
    }
    seen_by: dict[int, int] = {}
    for _, number in usable:
        seen_by[number] = seen_by.get(number, 0) + 1
    numbers = tuple(sorted(number for number, count in seen_by.items() if count >= at_least))
    row_of = {number: row for row, number in enumerate(numbers)}
    taken = [(index, row_of[number], view) for (index, number), view in usable.items() if number in row_of]
    most = max((len(view) for *_, view in taken), default=0)
    ids = np.full((len(taken), most), -1)
    pixels = np.zeros((len(taken), most, 2))
    for row, (*_, view) in enumerate(taken):
        ids[row, : len(view)] = view.ids
        pixels[row, : len(view)] = view.pixels
    camera, view_rows = (np.array([item[n] for item in taken], np.intp) for n in (0, 1))
    return Corners(camera, view_rows, spec.points[ids], pixels, ids, ids >= 0), numbers


def start_estimate(cameras: Sequence[Camera], corners: Corners) -> Estimate:
    """Rough poses of all cameras (the first is the world) and of all boards.

    A view of a flat board allows two poses, mirrored to each other: the one that other views and cameras agree with
    is taken.

    Raises:
        CalibrationError: Cameras fall into groups that share no view (named).
    """
    if not len(corners.camera):
        raise _disconnected(cameras, corners)
    poses = [
        _board_poses(cameras[camera], corners.points[row][used], corners.pixels[row][used])
        for row, (camera, used) in enumerate(zip(corners.camera, corners.used, strict=True))
    ]
    camera_from_world = _chain(cameras, corners, poses)
    lenses = np.array([lens_values(camera) for camera in cameras])
    estimate = Estimate(lenses, camera_from_world, np.tile(np.eye(4), (int(corners.view.max()) + 1, 1, 1)))
    return _with_boards(cameras, corners, poses, estimate)


def _in_a_line(points: FloatArray) -> bool:
    return bool(np.linalg.matrix_rank(points - points[0], tol=1e-6) < 2)


def _board_poses(camera: Camera, points: FloatArray, pixels: FloatArray) -> list[FloatArray]:
    """camera_from_board, shape (4, 4), the likelier of the two that a plane allows first."""
    values = lens_values(camera)
    flat = (camera.undistort_pixels(pixels) - values[2:4]) / values[:2]
    if not np.isfinite(flat).all():
        return []
    _, rvecs, tvecs, _ = cv2.solvePnPGeneric(points, flat, np.eye(3), None, flags=cv2.SOLVEPNP_IPPE)
    found = []
    for rvec, tvec in zip(rvecs, tvecs, strict=True):
        rvec, tvec = cv2.solvePnPRefineLM(points, flat, np.eye(3), None, rvec, tvec)
        projected = cv2.projectPoints(points, rvec, tvec, np.eye(3), None)[0].reshape(-1, 2)
        pose = pose_of(rvec, tvec)
        if np.isfinite(pose).all() and ((points @ pose[:3, :3].T + pose[:3, 3])[:, 2] > 0).all():
            found.append((float(((projected - flat) ** 2).sum()), pose))
    return [pose for _, pose in sorted(found, key=lambda item: item[0])]


def _chain(cameras: Sequence[Camera], corners: Corners, poses: Sequence[Sequence[FloatArray]]) -> FloatArray:
    """camera_from_world of each camera along the links that most views agree on."""
    by_camera: list[dict[int, int]] = [{} for _ in cameras]
    for row, (camera, view) in enumerate(zip(corners.camera, corners.view, strict=True)):
        if poses[row]:
            by_camera[camera][int(view)] = row
    links = []
    for a, b in combinations(range(len(cameras)), 2):
        shared = sorted(by_camera[a].keys() & by_camera[b].keys())
        if shared:
            weight = [-min(corners.used[by_camera[c][view]].sum() for c in (a, b)) for view in shared]
            best = sorted(np.argsort(weight, kind="stable")[:MAX_LINK_VIEWS])
            rows = [(by_camera[a][shared[n]], by_camera[b][shared[n]]) for n in best]
            links.append(_link(a, b, [(poses[row_a], poses[row_b]) for row_a, row_b in rows]))
    links.sort(key=lambda link: (-link.agreeing, link.disagreement))
    placed: dict[int, FloatArray] = {0: np.eye(4)}
    while link := next((link for link in links if (link.a in placed) != (link.b in placed)), None):
        if link.a in placed:
            placed[link.b] = invert_rigid(link.a_from_b) @ placed[link.a]
        else:
            placed[link.a] = link.a_from_b @ placed[link.b]
    if len(placed) < len(cameras):
        raise _disconnected(cameras, corners)
    return np.stack([placed[index] for index in range(len(cameras))])


def _link(a: int, b: int, poses: Sequence[tuple[Sequence[FloatArray], Sequence[FloatArray]]]) -> Link:
    """The pose of b to a that most shared views agree with, each allowed the better of its mirrored poses."""
    said, view_of, depths, unlikely = [], [], [], []
    for view, (of_a, of_b) in enumerate(poses):
        for rank_a, pose_a in enumerate(of_a):
            for rank_b, pose_b in enumerate(of_b):
                said.append(pose_a @ invert_rigid(pose_b))
                view_of.append(view)
                depths.append((pose_a[2, 3] + pose_b[2, 3]) / 2)
                unlikely.append(UNLIKELY * (rank_a + rank_b))
    stack = np.stack(said)
    apart = np.linalg.norm(stack[:, None, :3, 3] - stack[None, :, :3, 3], axis=-1) / np.median(depths)
    cosines = (np.einsum("aij,bij->ab", stack[:, :3, :3], stack[:, :3, :3]) - 1) / 2
    distance = apart + np.arccos(np.clip(cosines, -1, 1))
    starts = np.searchsorted(view_of, np.arange(len(poses)))
    by_view = np.minimum.reduceat(distance, starts, axis=1)
    disagreement = np.minimum(by_view, AGREEING).sum(axis=1) + unlikely
    best = int(np.argmin(disagreement))
    agreeing = int((by_view[best] < AGREEING).sum())
    return Link(a, b, stack[best], agreeing, float(disagreement[best]) / len(poses))


def connected(camera: npt.NDArray[np.intp], view: npt.NDArray[np.intp], cameras: int) -> npt.NDArray[np.bool_]:
    """Whether each camera is linked to the first through shared views; ``camera`` and ``view`` by observation."""
    return np.equal(_groups(camera, view, cameras), 0)


def _groups(camera: npt.NDArray[np.intp], view: npt.NDArray[np.intp], cameras: int) -> npt.NDArray[np.intp]:
    """The lowest camera that each camera is linked to, shape (camera,)."""
    group = np.arange(cameras)
    while True:
        lowest = np.full(int(view.max(initial=-1)) + 1, cameras)
        np.minimum.at(lowest, view, group[camera])
        lower = group.copy()
        np.minimum.at(lower, camera, lowest[view])
        if (lower == group).all():
            return group
        group = lower


def _disconnected(cameras: Sequence[Camera], corners: Corners) -> CalibrationError:
    group = _groups(corners.camera, corners.view, len(cameras))
    names = [[cameras[int(n)].id for n in np.flatnonzero(group == key)] for key in np.unique(group)]
    names.sort(key=lambda ids: -len(ids))
    others = "; ".join(", ".join(ids) for ids in names[1:])
    return CalibrationError(
        f"cameras {others} share no board view with the others ({', '.join(names[0])})",
        hint="carry the board past every pair of neighbouring cameras",
    )


def _with_boards(
    cameras: Sequence[Camera], corners: Corners, poses: Sequence[Sequence[FloatArray]], estimate: Estimate
) -> Estimate:
    """Boards where, of what their cameras say, the corners of all of them fit best."""
    boards = estimate.world_from_board.copy()
    for view in range(len(boards)):
        rows = np.flatnonzero(corners.view == view)
        best = np.inf
        for row in rows:
            for pose in poses[int(row)]:
                trial = invert_rigid(estimate.camera_from_world[corners.camera[row]]) @ pose
                cost = _misfit(cameras, corners, rows, estimate, trial)
                if cost < best:
                    best, boards[view] = cost, trial
    return Estimate(estimate.lenses, estimate.camera_from_world, boards)


def _misfit(
    cameras: Sequence[Camera], corners: Corners, rows: npt.NDArray[np.intp], estimate: Estimate, board: FloatArray
) -> float:
    """Soft L1 of a board's corners in all its cameras; corners behind a camera cost as much as a far miss."""
    indices = corners.camera[rows]
    pose = estimate.camera_from_world[indices] @ board
    seen = corners.points[rows] @ pose[:, :3, :3].transpose(0, 2, 1) + pose[:, None, :3, 3]
    pixels = project([cameras[camera].model for camera in indices], estimate.lenses[indices], seen)
    squares = ((pixels - corners.pixels[rows])[corners.used[rows]] ** 2).sum(axis=-1)
    squares = np.nan_to_num(squares, nan=1e8)
    return float(np.sqrt(1 + squares / PLACING_SOFT_PX**2).sum())


def pose_of(rvec: FloatArray, tvec: FloatArray) -> FloatArray:
    """Rigid transform, shape (4, 4), of a rotation vector and a translation."""
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(np.ravel(rvec))[0]
    pose[:3, 3] = np.ravel(tvec)
    return pose

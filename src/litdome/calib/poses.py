"""Poses of all cameras from a board carried around: pose graph, then bundle adjustment with a rigid board."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

import cv2
import numpy as np
import numpy.typing as npt

from litdome.calib.boards import BoardSpec, BoardView
from litdome.calib.bundle import BundleProblem, Observation, PoseSolution, pose_of
from litdome.errors import CalibrationError
from litdome.geometry import Camera, invert_rigid

FloatArray = npt.NDArray[np.float64]
MAX_PNP_PX = 10.0


def solve_poses(
    lenses: Sequence[Camera],
    views: Mapping[str, Mapping[int, BoardView]],
    spec: BoardSpec,
    *,
    refine_lenses: bool = True,
) -> PoseSolution:
    """Find where the cameras are from views that they took of one board at the same time.

    Args:
        lenses: Cameras with intrinsics and distortion (pinhole5); their poses do not count.
        views: By camera id and view; equal views were taken at the same time.
        spec: The board; its edge sets the scale.
        refine_lenses: Also refine f, k1 and k2 of each camera, held near their values by a weak prior.

    Raises:
        CalibrationError: A camera shares no board view with the others (named).
    """
    observations = _observations(lenses, views, spec)
    seen_from = {(o.camera, o.view): pose for o, pose in observations}
    camera_poses = _chain_cameras(lenses, seen_from)
    board_poses = _place_boards(camera_poses, seen_from)
    placed = [o for o, _ in observations if o.view in board_poses]
    problem = BundleProblem(lenses, placed, refine_lenses)
    x = problem.solve(problem.pack(camera_poses, board_poses))
    outliers, poses, noise_px = problem.outlying(x), problem.poses(x), problem.noise(x)
    kept = _without(problem.observations, outliers, lenses)
    problem = BundleProblem(lenses, kept, refine_lenses, noise_px)
    x = problem.solve(problem.pack(*poses))
    return problem.solution(x, outliers)


def _without(
    observations: Sequence[Observation], outliers: Sequence[Observation], lenses: Sequence[Camera]
) -> list[Observation]:
    """Observations but for the outliers and for views that then only one camera has."""
    bad = {(o.camera, o.view) for o in outliers}
    good = [o for o in observations if (o.camera, o.view) not in bad]
    counts = Counter(o.view for o in good)
    kept = [o for o in good if counts[o.view] > 1]
    lost = [camera.id for index, camera in enumerate(lenses) if all(o.camera != index for o in kept)]
    if lost:
        raise CalibrationError(
            f"cameras {', '.join(lost)}: all their board views contradict the other cameras'",
            hint="were all cameras in step? film the board again",
        )
    return kept


def board_pose(camera: Camera, view: BoardView, spec: BoardSpec) -> tuple[FloatArray, float]:
    """camera_from_board, shape (4, 4), of the better of the two poses that a plane allows, and its RMS, px."""
    points = spec.points[view.ids]
    _, rvecs, tvecs, errors = cv2.solvePnPGeneric(
        points, view.pixels, camera.intrinsics, camera.distortion, flags=cv2.SOLVEPNP_IPPE
    )
    best = int(np.argmin(np.ravel(errors)))
    rvec, tvec = cv2.solvePnPRefineLM(
        points, view.pixels, camera.intrinsics, camera.distortion, rvecs[best], tvecs[best]
    )
    pixels, _ = cv2.projectPoints(points, rvec, tvec, camera.intrinsics, camera.distortion)
    residual = pixels.reshape(-1, 2) - view.pixels
    return pose_of(rvec, tvec), float(np.sqrt((residual**2).sum(axis=1).mean()))


def _observations(
    lenses: Sequence[Camera], views: Mapping[str, Mapping[int, BoardView]], spec: BoardSpec
) -> list[tuple[Observation, FloatArray]]:
    """Views that at least two cameras share, each with its camera_from_board."""
    found = []
    for index, camera in enumerate(lenses):
        for number, view in sorted(views.get(camera.id, {}).items()):
            if sum(number in views.get(other.id, {}) for other in lenses) < 2:
                continue
            pose, rms = board_pose(camera, view, spec)
            if rms < MAX_PNP_PX:
                found.append((Observation(index, number, spec.points[view.ids], view.pixels), pose))
    return found


def _chain_cameras(lenses: Sequence[Camera], seen_from: Mapping[tuple[int, int], FloatArray]) -> list[FloatArray]:
    """world_from_camera of each camera in the first one's frame, along the pairs that share most views."""
    links: list[tuple[int, int, int, FloatArray]] = []
    for a, b in combinations(range(len(lenses)), 2):
        shared = [view for camera, view in seen_from if camera == a and (b, view) in seen_from]
        if shared:
            relative = [seen_from[a, view] @ invert_rigid(seen_from[b, view]) for view in shared]
            links.append((len(shared), a, b, _medoid(relative)))
    links.sort(key=lambda link: -link[0])
    poses: dict[int, FloatArray] = {0: np.eye(4)}
    while True:
        link = next((link for link in links if (link[1] in poses) != (link[2] in poses)), None)
        if link is None:
            break
        _, a, b, a_from_b = link
        if a in poses:
            poses[b] = poses[a] @ a_from_b
        else:
            poses[a] = poses[b] @ invert_rigid(a_from_b)
    lost = [camera.id for index, camera in enumerate(lenses) if index not in poses]
    if lost:
        raise CalibrationError(
            f"cameras {', '.join(lost)}: no board view is shared with {lenses[0].id} and its neighbours",
            hint="carry the board past every pair of neighbouring cameras",
        )
    return [poses[index] for index in range(len(lenses))]


def _medoid(poses: Sequence[FloatArray]) -> FloatArray:
    """The pose with the smallest median distance to the others (m + rad)."""
    stack = np.stack(poses)
    centres = np.linalg.norm(stack[:, None, :3, 3] - stack[None, :, :3, 3], axis=-1)
    cosines = (np.einsum("aij,bij->ab", stack[:, :3, :3], stack[:, :3, :3]) - 1) / 2
    distance = centres + np.arccos(np.clip(cosines, -1, 1))
    return np.asarray(stack[int(np.argmin(np.median(distance, axis=1)))])


def _place_boards(
    cameras: Sequence[FloatArray], seen_from: Mapping[tuple[int, int], FloatArray]
) -> dict[int, FloatArray]:
    """world_from_board by view: of what its cameras say, the pose in the middle."""
    said: dict[int, list[FloatArray]] = {}
    for (camera, view), pose in seen_from.items():
        said.setdefault(view, []).append(cameras[camera] @ pose)
    return {view: _medoid(poses) for view, poses in said.items() if len(poses) > 1}

"""Poses of all cameras from a board carried around: pose graph, then bundle adjustment with a rigid board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from litdome.calib.boards import BoardSpec, BoardView
from litdome.calib.solve.bundle import (
    CAMERA_LENGTH,
    POSE_LENGTH,
    SOFT_PX,
    Corners,
    Estimate,
    Problem,
    residuals,
)
from litdome.calib.solve.gating import (
    WEAK_BELIEF,
    Precision,
    all_terms,
    better_known,
    choose_terms,
    lens_belief,
    measure_precision,
    term_names,
    term_std,
    terms_named,
)
from litdome.calib.solve.pose_graph import gather_corners, start_estimate
from litdome.calib.solve.projection import LENS_LENGTH, TERMS, with_lens
from litdome.calib.solve.robust_fit import fit_robustly
from litdome.calib.solve.solution_checks import held_out_rms, lens_std, pair_distance_mm, rms_of, trimmed_rms
from litdome.errors import CalibrationError
from litdome.geometry import Camera, LensModel, Rig, invert_rigid

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int32]
USED, CORNER_LEFT_OUT, VIEW_LEFT_OUT = 0, 1, 2
FEW_VIEWS = 3  # fewer cannot outvote one that is wrong


@dataclass(frozen=True, eq=False)
class CornerTable:
    """Every corner that was looked at, arrays of length n.

    Attributes:
        camera: Row of the camera in the rig.
        view: Number of the view.
        id: Corner of the board.
        pixels: Where it was seen, shape (n, 2).
        residual_px: Where it should be, minus that, shape (n, 2); NaN where it would lie behind the camera.
        state: 0 used, 1 this corner left out, 2 its whole view in this camera left out.
    """

    camera: IntArray
    view: IntArray
    id: IntArray
    pixels: FloatArray
    residual_px: FloatArray
    state: npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class RigSolution:
    """A rig found from a board take; errors are of a rigid board, root mean square of sqrt(dx^2 + dy^2) per corner.

    Attributes:
        rig: Cameras; the world is the first camera's own frame, metres.
        world_from_board: By view, shape (4, 4) each.
        corners: Every corner, its residual, and whether it counted.
        rms_px: Of the corners used, by camera, shape (camera,).
        all_rms_px: Of every corner of the views that were used.
        trimmed_rms_px: The same without the worst 2.5 %.
        held_out_rms_px: Of views that the cameras were not fitted to.
        pair_distance_mm: Root mean square error of distances between triangulated corners of one view.
        noise_px, view_noise_px: See `Precision`.
        intrinsics_std: fx fy cx cy (px), then distortion, shape (camera, 12); NaN where the value was kept.
        pose_std: Rotation (rad) and centre (m) along each camera's own axes, against the first, shape (camera, 6);
            lens values that were kept count as known to half a percent (`LENS_BELIEF`), not as exact.
        freed, weak: By camera id, lens terms that the take changed, and those that it knows too weakly.
        dropped: (camera id, view) that contradict the rest.
        warnings: In words.
    """

    rig: Rig
    world_from_board: Mapping[int, FloatArray]
    corners: CornerTable
    rms_px: FloatArray
    all_rms_px: float
    trimmed_rms_px: float
    held_out_rms_px: float
    pair_distance_mm: float
    noise_px: float
    view_noise_px: float
    intrinsics_std: FloatArray
    pose_std: FloatArray
    freed: Mapping[str, tuple[str, ...]]
    weak: Mapping[str, tuple[str, ...]]
    dropped: tuple[tuple[str, int], ...]
    warnings: tuple[str, ...]


def solve_rig(
    lenses: Sequence[Camera],
    views: Mapping[str, Mapping[int, BoardView]],
    spec: BoardSpec,
    *,
    refine: str = "auto",
    lens_std: FloatArray | None = None,
) -> RigSolution:
    """Find where the cameras are from views that they took of one board at the same time.

    Args:
        lenses: Cameras with intrinsics and distortion, any lens model; their poses do not count.
        views: By camera id and view; equal views were taken at the same time.
        spec: The board; its edge sets the scale.
        refine: Lens terms that may change: ``auto`` (those that the views know well enough, by their covariance, and
            better than they came in), ``none``, or names such as ``f,k1,k2`` (of all cameras, however well known).
        lens_std: How well lenses are known as they come in, fx fy cx cy and distortion, shape (camera, 12); rows of
            NaN, or None, where nobody says.

    Raises:
        CalibrationError: Cameras share no board view with the others, or only views that contradict them (named);
            an unknown lens term.
    """
    corners, numbers = gather_corners(lenses, views, spec, at_least=min(2, len(lenses)))
    start = start_estimate(lenses, corners)
    candidates = _candidates(lenses, refine)
    known_before = term_std(lenses, np.full((len(lenses), LENS_LENGTH), np.nan) if lens_std is None else lens_std)
    if refine == "auto":
        problem, estimate = fit_robustly(lenses, corners, start, candidates, lens_belief(lenses, WEAK_BELIEF))
        free = _known_terms(lenses, problem, estimate, candidates, known_before)
    else:
        free = candidates
    while True:
        problem, estimate = fit_robustly(lenses, corners, start, free)
        if refine != "auto":
            break
        known = free & _known_terms(lenses, problem, estimate, candidates, known_before)
        if (known == free).all():
            break
        free = known
    return _solution(lenses, problem, estimate, numbers, candidates, spec)


def refined_terms(models: Sequence[LensModel], refine: str) -> list[str]:
    """The lens terms that may change, of cameras with these lens models; ``refine`` as `solve_rig` takes it.

    Raises:
        CalibrationError: A term that none of the models has.
    """
    known = {name for model in models for name in TERMS[model]}
    names = {"auto": sorted(known), "none": []}.get(refine, [name.strip() for name in refine.split(",")])
    if unknown := sorted(set(names) - known):
        raise CalibrationError(
            f"calibrate.refine: {', '.join(map(repr, unknown))} unknown to these lenses ({', '.join(sorted(known))})",
            hint="--set calibrate.refine=auto, none, or terms such as f,k1,k2",
        )
    return names


def _candidates(lenses: Sequence[Camera], refine: str) -> BoolArray:
    """Poses of all cameras but the first, and the lens terms that may change, shape (camera, 18)."""
    candidates = terms_named(lenses, refined_terms([camera.model for camera in lenses], refine))
    candidates[1:, :POSE_LENGTH] = True
    return candidates


def _known_terms(
    lenses: Sequence[Camera], problem: Problem, estimate: Estimate, candidates: BoolArray, known_before: FloatArray
) -> BoolArray:
    precision = measure_precision(problem, estimate, SOFT_PX)
    return choose_terms(lenses, estimate, precision, better_known(precision, candidates, known_before))


def _solution(
    lenses: Sequence[Camera],
    problem: Problem,
    estimate: Estimate,
    numbers: Sequence[int],
    candidates: BoolArray,
    spec: BoardSpec,
) -> RigSolution:
    corners, free = problem.corners, problem.free
    residual = residuals(problem, estimate)
    precision = measure_precision(problem, estimate, SOFT_PX)
    cameras = tuple(
        with_lens(replace(camera, world_from_camera=invert_rigid(pose)), lens)
        for camera, pose, lens in zip(lenses, estimate.camera_from_world, estimate.lenses, strict=True)
    )
    belief = np.where(free, np.inf, lens_belief(cameras))
    covariance = precision.covariance(free | all_terms(lenses), belief)
    live = np.any(corners.used, axis=1)
    accepted = (corners.ids >= 0) & live[:, None]
    dropped = tuple(
        (lenses[camera].id, numbers[view])
        for camera, view, is_live in zip(corners.camera, corners.view, live, strict=True)
        if not is_live
    )
    std = np.sqrt(np.diag(covariance)).reshape(len(lenses), CAMERA_LENGTH)
    return RigSolution(
        rig=Rig(cameras),
        world_from_board={
            number: estimate.world_from_board[row]
            for row, number in enumerate(numbers)
            if corners.used[corners.view == row].any()
        },
        corners=_table(corners, residual, numbers),
        rms_px=np.array([rms_of(residual, corners.used & (corners.camera == n)[:, None]) for n in range(len(lenses))]),
        all_rms_px=rms_of(residual, accepted),
        trimmed_rms_px=trimmed_rms(residual, accepted),
        held_out_rms_px=held_out_rms(problem, estimate),
        pair_distance_mm=pair_distance_mm(cameras, corners, spec),
        noise_px=precision.noise_px,
        view_noise_px=precision.view_noise_px,
        intrinsics_std=lens_std(lenses, estimate, covariance, free),
        pose_std=std[:, :POSE_LENGTH],
        freed=term_names(lenses, free),
        weak=term_names(lenses, candidates & ~free),
        dropped=dropped,
        warnings=_warnings(lenses, corners, precision),
    )


def _table(corners: Corners, residual: FloatArray, numbers: Sequence[int]) -> CornerTable:
    rows, columns = np.nonzero(corners.ids >= 0)
    live = np.any(corners.used, axis=1)[rows]
    state = np.where(live, np.where(corners.used[rows, columns], USED, CORNER_LEFT_OUT), VIEW_LEFT_OUT)
    return CornerTable(
        camera=corners.camera[rows].astype(np.int32),
        view=np.asarray(numbers, np.int32)[corners.view[rows]],
        id=corners.ids[rows, columns].astype(np.int32),
        pixels=corners.pixels[rows, columns],
        residual_px=residual[rows, columns],
        state=state.astype(np.uint8),
    )


def _warnings(lenses: Sequence[Camera], corners: Corners, precision: Precision) -> tuple[str, ...]:
    warnings = []
    live = np.any(corners.used, axis=1)
    for index, camera in enumerate(lenses):
        own = corners.camera == index
        if (lost := int((own & ~live).sum())) > (own & live).sum():
            warnings.append(f"camera {camera.id}: {lost} of {int(own.sum())} board views contradict the other cameras'")
        count = int((own & live).sum())
        if count < FEW_VIEWS and len(lenses) > 1:
            views = "1 board view" if count == 1 else f"{count} board views"
            warnings.append(f"camera {camera.id}: its pose rests on {views} alone: nothing checks it, film more")
    if precision.view_noise_px > 3 * precision.noise_px:
        warnings.append(
            f"corners of one view move together ({precision.view_noise_px:.2f} px against {precision.noise_px:.2f} px "
            "each): were the cameras in step, is the board flat? standard deviations allow for it"
        )
    return tuple(warnings)

"""Lenses: intrinsics and distortion of one camera from views of a board; bad views are left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from litdome.calib.boards import BoardSpec, BoardView
from litdome.calib.solve.bundle import POSE_LENGTH, SOFT_PX, Corners, Estimate, Problem, residuals
from litdome.calib.solve.gating import (
    WEAK_BELIEF,
    choose_terms,
    lens_belief,
    measure_precision,
    term_names,
    terms_named,
)
from litdome.calib.solve.pose_graph import gather_corners, start_estimate
from litdome.calib.solve.projection import TERMS, with_lens
from litdome.calib.solve.robust_fit import fit_robustly
from litdome.calib.solve.solution_checks import lens_std, rms_of
from litdome.errors import CalibrationError
from litdome.geometry import Camera, LensModel

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
MIN_VIEWS = 3
START_FOCALS = np.geomspace(0.3, 10, 16)  # of the picture's longer side
START_VIEWS = 12  # that say which of them is nearest
ALWAYS = ("f", "aspect", "cx", "cy", "k1", "k2", "p1", "p2")  # k3 and above only where they are known


@dataclass(frozen=True, eq=False)
class Lens:
    """Intrinsics of one camera.

    Attributes:
        size: (width, height) of the pictures, px.
        model: Lens model.
        intrinsics: K, shape (3, 3), px.
        distortion: Shape (8,), OpenCV order (fisheye4: the first four), zero-padded.
        std: Standard deviations of fx, fy, cx, cy (px) and distortion, shape (12,); NaN where a value stays 0.
        rms_px: Root of the mean squared reprojection error per corner, of the corners used.
        view_rms_px: The same by view (picture index), of the views that were kept.
        rejected: Views left out.
        weak: Values that these views know too weakly; k3 and above then stay 0.
    """

    size: tuple[int, int]
    model: LensModel
    intrinsics: FloatArray
    distortion: FloatArray
    std: FloatArray
    rms_px: float
    view_rms_px: Mapping[int, float]
    rejected: tuple[int, ...]
    weak: tuple[str, ...]


def calibrate_lens(
    views: Mapping[int, BoardView],
    spec: BoardSpec,
    size: tuple[int, int],
    *,
    model: LensModel = "pinhole5",
    max_rms_px: float = 2.0,
    name: str = "camera",
) -> Lens:
    """Fit a lens to views of a board; views and corners that contradict the others are left out.

    Args:
        views: By picture index; at least 3.
        spec: The board.
        size: (width, height), px.
        model: Lens model. k3 and above are only fitted where the views know them well enough.
        max_rms_px: What is still believed.
        name: For messages.

    Raises:
        CalibrationError: Too few views, or the RMS stays above the limit.
    """
    camera = Camera(name, *size, np.eye(3), np.zeros(8), np.eye(4), model)
    corners, numbers = gather_corners([camera], {name: views}, spec, at_least=1)
    _need_views(len(numbers), len(views), name)
    start = _start(camera, corners)
    camera = with_lens(camera, start.lenses[0])
    belief = lens_belief([camera], WEAK_BELIEF)
    belief[:, POSE_LENGTH] = np.inf
    candidates = terms_named([camera], TERMS[model])
    problem, estimate = fit_robustly([camera], corners, start, candidates, belief)
    known = choose_terms([camera], estimate, measure_precision(problem, estimate, SOFT_PX), candidates)
    free = candidates & (known | terms_named([camera], ALWAYS))
    problem, estimate = fit_robustly([camera], corners, start, free, belief)
    lens = _lens(camera, problem, estimate, numbers, candidates & ~known)
    _need_views(len(lens.view_rms_px), len(views), name)
    if lens.rms_px > max_rms_px:
        raise CalibrationError(
            f"{name}: lens reprojection {lens.rms_px:.2f} px > {max_rms_px:.2f} px over {len(lens.view_rms_px)} views",
            hint="check [board] square counts; hold the board still",
        )
    return lens


def _need_views(usable: int, given: int, name: str) -> None:
    if usable < MIN_VIEWS:
        raise CalibrationError(
            f"{name}: {usable} usable board views of {given} < {MIN_VIEWS}", hint="film the board longer"
        )


def _with_focal(camera: Camera, focal_px: float) -> Camera:
    """``camera`` with another focal length, and the principal point in the middle."""
    middle = (camera.width - 1) / 2, (camera.height - 1) / 2
    return replace(camera, intrinsics=np.array([[focal_px, 0, middle[0]], [0, focal_px, middle[1]], [0, 0, 1.0]]))


def _start(camera: Camera, corners: Corners) -> Estimate:
    """A focal length, the likeliest of several without distortion, and the board poses that go with it."""
    thin = np.unique(np.linspace(0, len(corners.camera) - 1, START_VIEWS).astype(int))
    some = Corners(
        corners.camera[thin],
        np.arange(len(thin)),
        corners.points[thin],
        corners.pixels[thin],
        corners.ids[thin],
        corners.used[thin],
    )
    problem = Problem([camera.model], some, terms_named([camera], ()))
    trials = []
    for focal_px in START_FOCALS * max(camera.width, camera.height):
        residual = residuals(problem, start_estimate([_with_focal(camera, focal_px)], some))
        off = np.nan_to_num(np.linalg.norm(residual[some.used], axis=-1), nan=np.inf)
        trials.append((float(np.median(off)), float(focal_px)))
    return start_estimate([_with_focal(camera, min(trials)[1])], corners)


def _lens(camera: Camera, problem: Problem, estimate: Estimate, numbers: tuple[int, ...], weak: BoolArray) -> Lens:
    found = with_lens(camera, estimate.lenses[0])
    residual, used = residuals(problem, estimate), problem.corners.used
    covariance = measure_precision(problem, estimate, SOFT_PX).covariance(problem.free)
    view_rms = {
        numbers[view]: rms_of(residual[row], used[row])
        for row, view in enumerate(problem.corners.view)
        if used[row].any()
    }
    return Lens(
        size=(camera.width, camera.height),
        model=camera.model,
        intrinsics=found.intrinsics,
        distortion=found.distortion,
        std=lens_std([camera], estimate, covariance, problem.free)[0],
        rms_px=rms_of(residual, used),
        view_rms_px=view_rms,
        rejected=tuple(sorted(set(numbers) - set(view_rms))),
        weak=term_names([camera], weak)[camera.id],
    )

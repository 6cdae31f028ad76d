"""Which lens terms a board take may change: those that it knows well enough, by their covariance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from litdome.calib.solve.bundle import (
    CAMERA_LENGTH,
    POSE_LENGTH,
    Estimate,
    Problem,
    camera_information,
    normal_equations,
    residuals,
    robust_noise,
    view_shares,
)
from litdome.calib.solve.projection import TERMS, lens_values, project_with_derivatives, with_lens
from litdome.geometry import Camera, pixel_grid

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
LENS_BELIEF = 0.005  # a lens that comes in is believed as far as a focal length wrong by so much would move pixels
FREEING_ORDER = (("f",), ("k1",), ("cx", "cy"), ("k2",), ("aspect",), ("p1", "p2"), ("k3",), ("k4",), ("k5",), ("k6",))
WEAK_BELIEF = 0.05  # holds terms that are hardly seen while all are free
EVERY_TERM = tuple(name for names in FREEING_ORDER for name in names)
GRID = (16, 9)
HELD_STD = 1e-6  # of a value that must not move: below what any board tells


class Precision(NamedTuple):
    """What a solution knows: the cameras' reduced normal matrix (18 c, 18 c), and the noise that goes with it.

    ``noise_px`` is one corner's, robust; ``view_noise_px`` is what it would have to be, were corners independent, for
    views to contradict each other as much as they do. A board in motion, or one that is not flat, moves all corners
    of a view together, which does not average out over corners.
    """

    information: FloatArray
    noise_px: float
    view_noise_px: float

    def covariance(self, free: BoolArray, belief: FloatArray | None = None) -> FloatArray:
        """Covariance of the free parameters, shape (18 c, 18 c), 0 for all others.

        ``belief`` adds what is known of each from elsewhere, as a standard deviation, shape (camera, 18).
        """
        covariance = np.zeros_like(self.information)
        columns = np.flatnonzero(free)
        if len(columns):
            block = self.information[np.ix_(columns, columns)]
            if belief is not None:
                block = block + np.diag((self.view_noise_px / belief.ravel()[columns]) ** 2)
            scale = 1 / np.sqrt(np.maximum(np.diag(block), np.finfo(float).tiny))
            inverse = np.linalg.pinv(block * scale[:, None] * scale, rcond=1e-13, hermitian=True)
            covariance[np.ix_(columns, columns)] = inverse * scale[:, None] * scale * self.view_noise_px**2
        return covariance


def measure_precision(problem: Problem, estimate: Estimate, soft_px: float | None) -> Precision:
    """The precision of an estimate; the noise of views is measured by how much each pulls at the cameras.

    At a solution whose corners are independent the expected pull of a view follows from the normal matrix; what is
    pulled beyond that is noise that whole views share (a clustered, "sandwich" estimate with one factor for all).
    """
    normal = normal_equations(problem, estimate, soft_px)
    information = camera_information(problem, normal)[0]
    parameters = int(problem.free.sum()) + POSE_LENGTH * len(set(problem.corners.view.tolist()))
    noise = robust_noise(residuals(problem, estimate), problem.corners.used, parameters)
    bare = Precision(information, noise, 1.0)
    inverse = bare.covariance(problem.free)
    pulled = expected = 0.0
    for columns, block, score in view_shares(problem.corners, normal):
        known = inverse[np.ix_(columns, columns)]
        share = known @ block
        pulled += float(score @ known @ score)
        expected += float(np.trace(share) - (share * share.T).sum())
    together = np.sqrt(pulled / expected) if expected > 0 else noise
    return Precision(information, noise, max(noise, float(together)))


def choose_terms(
    cameras: Sequence[Camera], estimate: Estimate, precision: Precision, candidates: BoolArray
) -> BoolArray:
    """The parameters that may move, shape (camera, 18): poses as in ``candidates``, and the lens terms that are known.

    A camera's freed terms together must leave its pixels better known than `LENS_BELIEF`, where poses are unknown and
    each term that stays is only believed that far. Where that cannot be had with all of them, terms are freed one kind
    after the other (focal length first), up to the first too weakly seen.
    """
    spreads = [_spread(with_lens(camera, lens)) for camera, lens in zip(cameras, estimate.lenses, strict=True)]
    belief = _belief(spreads, LENS_BELIEF)
    free = candidates.copy()
    free[:, POSE_LENGTH:] = False
    weak = np.zeros(len(cameras), bool)
    for names in (EVERY_TERM, *FREEING_ORDER):
        asked = candidates & terms_named(cameras, names) & ~weak[:, None]
        added = asked.copy()
        while added.any():
            covariance = precision.covariance(candidates, np.where(free | added, np.inf, belief))
            ratios = _uncertainties(covariance, spreads, free | added)
            worst = int(np.argmax(np.where(added.any(axis=1), ratios, 0)))
            if (ratios <= LENS_BELIEF).all():
                break
            added[worst] = False
        free |= added
        weak |= asked.any(axis=1) & ~added.any(axis=1) & (names is not EVERY_TERM)
    return free


def better_known(precision: Precision, candidates: BoolArray, known: FloatArray) -> BoolArray:
    """Of the parameters that may move, shape (camera, 18), those that the take knows better than they came in.

    Terms that came in better known stay: what a lens take saw out to the corners of the picture is not given up for
    a board that was farther away. They go one by one, the worst of each camera first, and count as known as they came.

    Args:
        precision: What the take knows.
        candidates: What may move.
        known: Standard deviations of lens terms as they came in, shape (camera, 18); inf: anything is better.
    """
    better = candidates.copy()
    while True:
        std = np.sqrt(np.diag(precision.covariance(candidates, np.where(better, np.inf, known))))
        ratios = np.where(better, std.reshape(known.shape) / known, 0.0)
        worse = ratios.max(axis=1) > 1
        if not worse.any():
            better[:, POSE_LENGTH + 1] &= better[:, POSE_LENGTH]  # aspect goes with the focal length
            return better
        better[worse, np.argmax(ratios[worse], axis=1)] = False


def terms_named(cameras: Sequence[Camera], names: Sequence[str]) -> BoolArray:
    """Where the named lens terms are among the parameters, shape (camera, 18)."""
    named = np.zeros((len(cameras), CAMERA_LENGTH), bool)
    for row, camera in zip(named, cameras, strict=True):
        for n, name in enumerate(TERMS[camera.model]):
            row[POSE_LENGTH + n] = name in names
    return named


def all_terms(cameras: Sequence[Camera]) -> BoolArray:
    """Where the lens terms of each camera's model are among the parameters, shape (camera, 18)."""
    return terms_named(cameras, sorted({name for camera in cameras for name in TERMS[camera.model]}))


def term_std(cameras: Sequence[Camera], lens_std: FloatArray) -> FloatArray:
    """Standard deviations of lens terms, shape (camera, 18), from those of fx fy cx cy and distortion, (camera, 12).

    NaN is a value that could not be known at all: beside known ones of its camera it is to stay (`HELD_STD`), and where
    none is known anything is better (inf). Aspect is inf: it does not follow from the deviations of fx and fy alone.
    """
    known = np.full((len(cameras), CAMERA_LENGTH), np.inf)
    for row, camera, std in zip(known, cameras, lens_std, strict=True):
        if np.isfinite(std).any():
            row[POSE_LENGTH:] = np.maximum(np.nan_to_num(std, nan=0.0), HELD_STD)
            row[POSE_LENGTH : POSE_LENGTH + 2] = std[0] / camera.intrinsics[0, 0], np.inf
    return known


def lens_belief(cameras: Sequence[Camera], how_far: float = LENS_BELIEF) -> FloatArray:
    """Standard deviations of lens terms that each alone move pixels as a focal length wrong by ``how_far`` does,
    shape (camera, 18); inf for poses."""
    return _belief([_spread(camera) for camera in cameras], how_far)


def _belief(spreads: Sequence[FloatArray], how_far: float) -> FloatArray:
    belief = np.full((len(spreads), CAMERA_LENGTH), np.inf)
    for row, spread in zip(belief, spreads, strict=True):
        moved = np.diag(spread)
        row[POSE_LENGTH:][moved > 0] = how_far * np.sqrt(spread[0, 0] / moved[moved > 0])
    return belief


def term_names(cameras: Sequence[Camera], free: BoolArray) -> dict[str, tuple[str, ...]]:
    """Names of the free lens terms by camera id."""
    return {
        camera.id: tuple(name for n, name in enumerate(TERMS[camera.model]) if row[POSE_LENGTH + n])
        for camera, row in zip(cameras, free, strict=True)
    }


def _uncertainties(covariance: FloatArray, spreads: Sequence[FloatArray], free: BoolArray) -> FloatArray:
    ratios = []
    for index, spread in enumerate(spreads):
        terms = np.flatnonzero(free[index, POSE_LENGTH:])
        rows = index * CAMERA_LENGTH + POSE_LENGTH + terms
        moved = (covariance[np.ix_(rows, rows)] * spread[np.ix_(terms, terms)]).sum()
        ratios.append(np.sqrt(max(float(moved), 0) / spread[0, 0]))
    return np.array(ratios)


def _spread(camera: Camera) -> FloatArray:
    """Mean over the picture of J^T J, J how a pixel moves with the lens terms, shape (12, 12)."""
    cells = (pixel_grid(*GRID) + 0.5) / GRID
    pixels = cells * [camera.width, camera.height] - 0.5
    values = lens_values(camera)
    flat = (camera.undistort_pixels(pixels) - values[2:4]) / values[:2]
    flat = flat[np.isfinite(flat).all(axis=1)]
    points = np.column_stack([flat, np.ones(len(flat))])
    by_term = project_with_derivatives([camera.model], values[None], points[None])[2][0].reshape(-1, len(values))
    return np.asarray(by_term.T @ by_term / len(points))

"""Pictures against a guide: which of its moments each shows, by the light."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.capture.chain import follow_states

FloatArray = npt.NDArray[np.floating[Any]]
FloatsF32 = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.integer[Any]]
BoolArray = npt.NDArray[np.bool_]
SAME, SAME_TEMPER = 3, 1.5  # features that tell whether a light comes again, in any camera's view
TEMPER = 4.0  # the features of a picture, and of its neighbours, tell the same thing again
STEP = 1e-3  # chance that a camera loses pictures at any one frame
REPEAT = 0.1  # repeating is so much rarer than losing
SURPRISE = 0.2  # share of features that another view of the same light does not tell
LONG_TAKE, STRETCH = 2000, 32  # pictures; a long take is placed by stretches, and picture by picture where in doubt
ROUNDS = 3  # of placing, and learning how well the features agree
BATCH = 20_000  # pictures placed at once: bounds the memory
CLEARLY = 0.2  # of a feature's variance, per picture


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where the pictures of each camera belong among the others.

    Attributes:
        shift: Shape (camera, picture), int32: rig frame - picture.
        chance: Shape (camera, picture), float32: of this shift, 0..1; 0 where the camera agrees with none.
        agreement: Shape (camera,), float32: correlation with the other cameras' light, 0..1.
    """

    shift: npt.NDArray[np.int32]
    chance: npt.NDArray[np.float32]
    agreement: npt.NDArray[np.float32]


def match_guide(features: FloatsF32, guide: FloatsF32, longest: int) -> Alignment:
    """Place all cameras' pictures against those of a guide.

    Args:
        features: What the light does in each picture, shape (camera, picture, feature), NaN where there is none; the
            first `SAME` are 1 where it comes again, -1 where not, the others have mean 0 and deviation 1.
        guide: The same of the guide, shape (picture, feature).
        longest: Largest shift, pictures.
    """
    shifts = np.arange(-longest, longest + 1)
    last = _last(guide)
    ends = np.array([last - _last(own) for own in features])
    shift, doubted = _place_stretches(features, guide, shifts, ends)
    chance = np.ones(shift.shape, np.float32)
    to_begin = np.array([0.9] * SAME + [0.7] * (features.shape[-1] - SAME), np.float32)
    agreement = np.tile(to_begin, (len(features), 1))
    runs = _runs(doubted)
    for turn in range(ROUNDS):
        for batch in _batches(runs):
            _place_runs(batch, features, guide, shifts, ends, agreement, shift, chance)
        for row in np.unique(runs[:, 0]) if turn else range(len(features)):
            agreement[row] = _agreement(features[row], guide, shift[row])
    return Alignment(shift, chance, agreement.max(axis=1))


def _place_stretches(
    features: FloatsF32, guide: FloatsF32, shifts: IntArray, ends: IntArray
) -> tuple[npt.NDArray[np.int32], BoolArray]:
    """(shift, whether in doubt) of all pictures, by stretches of them, shape (camera, picture).

    In a short take everything is in doubt; so is in a long one where a shift steps, where two would do, and where
    another than the likeliest fits clearly better.
    """
    cameras, pictures = features.shape[:2]
    if pictures < LONG_TAKE:
        return np.zeros((cameras, pictures), np.int32), np.ones((cameras, pictures), bool)
    stretches = -(-pictures // STRETCH)
    own = np.zeros((cameras, stretches * STRETCH, features.shape[-1]), np.float32)
    own[:, :pictures] = np.nan_to_num(features)
    others = np.zeros((stretches * STRETCH, guide.shape[-1], len(shifts)), np.float32)
    others[:pictures] = np.nan_to_num(_shifted(guide, shifts))
    fit = own.reshape(cameras, stretches, -1).swapaxes(0, 1) @ others.reshape(stretches, -1, len(shifts))
    fit = np.ascontiguousarray(fit.swapaxes(0, 1))  # (camera, stretch, shift)
    lengths = np.full(cameras, stretches)
    likely = np.exp((fit - fit.max(axis=-1, keepdims=True)) / TEMPER)
    chances = follow_states(likely, _steps(shifts), _near(shifts, ends * 0), _near(shifts, ends), lengths)
    path = chances.argmax(axis=-1)
    kept = np.take_along_axis(fit, path[..., None], axis=-1)[..., 0]
    doubted = kept < fit.max(axis=-1) - CLEARLY * STRETCH
    for row, step in np.argwhere(np.diff(path)):
        before, after = path[row, step : step + 2]
        better = fit[row, :, before] - fit[row, :, after]
        told_before = np.flatnonzero(better[: step + 1] > CLEARLY * STRETCH)
        told_after = np.flatnonzero(better[step + 1 :] < -CLEARLY * STRETCH)
        start = told_before[-1] if len(told_before) else 0
        doubted[row, start : step + 2 + told_after[0] if len(told_after) else None] = True
    beside = np.zeros((cameras, 1), bool)
    doubted |= np.hstack([doubted[:, 1:], beside]) | np.hstack([beside, doubted[:, :-1]])
    shift, in_doubt = (np.repeat(values, STRETCH, axis=1)[:, :pictures] for values in (shifts[path], doubted))
    return shift.astype(np.int32), in_doubt


def _runs(flags: BoolArray) -> npt.NDArray[np.intp]:
    """(row, start, stop) of every run of set flags, shape (run, 3)."""
    edges = np.diff(flags.astype(np.int8), axis=1, prepend=0, append=0)
    starts, stops = np.argwhere(edges == 1), np.argwhere(edges == -1)
    return np.column_stack([starts, stops[:, 1]])


def _batches(runs: npt.NDArray[np.intp]) -> Iterator[npt.NDArray[np.intp]]:
    """Runs of like length together, some `BATCH` pictures at once."""
    runs = runs[np.argsort(runs[:, 1] - runs[:, 2], kind="stable")]  # the longest first
    while len(runs):
        count = max(1, BATCH // int(runs[0, 2] - runs[0, 1]))
        yield runs[:count]
        runs = runs[count:]


def _place_runs(
    runs: npt.NDArray[np.intp],
    features: FloatsF32,
    guide: FloatsF32,
    shifts: IntArray,
    ends: IntArray,
    agreement: FloatsF32,
    shift: npt.NDArray[np.int32],
    chance: FloatsF32,
) -> None:
    """Place runs of pictures (row, start, stop) one by one, into ``shift`` and ``chance``."""
    rows, starts, stops = runs.T
    pictures, lengths = features.shape[1], stops - starts
    at = np.minimum(starts[:, None] + np.arange(lengths.max()), pictures - 1)
    evidence = _evidence(features[rows[:, None], at], _shifted(guide, shifts)[at], agreement[rows])
    likely = np.exp(evidence - evidence.max(axis=-1, keepdims=True)) + np.float32(1e-12)
    step, state = _steps(shifts), shift - shifts[0]
    known_before, known_after = step[state[rows, starts - 1]], step[:, state[rows, stops % pictures]].T
    first = np.where(starts[:, None] == 0, _near(shifts, ends[rows] * 0), known_before)
    last = np.where(stops[:, None] == pictures, _near(shifts, ends[rows]), known_after)
    chances = follow_states(likely, step, first, last, lengths)
    best, surest = shifts[chances.argmax(axis=-1)], chances.max(axis=-1)
    for n, (row, start, stop) in enumerate(runs):
        shift[row, start:stop] = best[n, : stop - start]
        chance[row, start:stop] = surest[n, : stop - start]


def _shifted(guide: FloatsF32, shifts: IntArray) -> FloatsF32:
    """The guide's features at picture + each shift, NaN beyond its ends, shape (picture, feature, shift); a view."""
    longest = int(shifts[-1])
    wide = np.pad(guide, ((longest, longest), (0, 0)), constant_values=np.nan)
    return np.lib.stride_tricks.sliding_window_view(wide, len(shifts), axis=0)


def _evidence(own: FloatsF32, other: FloatsF32, agreement: FloatsF32) -> FloatsF32:
    """Log evidence that two pictures show the same moment, against two chance ones, summed over the features.

    Args:
        own: Features of pictures, shape (run, picture, feature).
        other: What they are compared with, shape (run, picture, feature, shift).
        agreement: Correlation of the features, shape (run, feature).
    """
    alike = own[..., :SAME, None] * other[:, :, :SAME]
    agree = agreement[:, None, :SAME, None]
    same = np.where(alike > 0, np.log1p(agree), np.log1p(-agree)) * np.abs(alike)
    agree = agreement[:, None, SAME:, None]
    rest = 1 - agree**2
    mine = own[..., SAME:, None]
    apart = (mine - agree * other[:, :, SAME:]) ** 2 / rest
    moment = np.exp((mine**2 - apart) / 2) / np.sqrt(rest)
    told = np.log(np.float32(1 - SURPRISE) * moment + np.float32(SURPRISE))
    return np.asarray(np.nan_to_num(same).sum(axis=2) / SAME_TEMPER + np.nan_to_num(told).sum(axis=2) / TEMPER)


def _agreement(own: FloatsF32, guide: FloatsF32, shift: npt.NDArray[np.int32]) -> FloatsF32:
    """Correlation of a camera's features with the guide's, shape (feature,); one for all but the first."""
    at = np.arange(len(own)) + shift
    matched = guide[np.clip(at, 0, len(guide) - 1)]
    matched[(at < 0) | (at >= len(guide))] = np.nan
    both = np.isfinite(own) & np.isfinite(matched)
    own, matched = np.where(both, own, 0), np.where(both, matched, 0)
    products, powers, guides = (
        np.einsum("pf,pf->f", one, two) for one, two in ((own, matched), (own, own), (matched, matched))
    )
    for sums in (products, powers, guides):
        sums[SAME:] = sums[SAME:].sum()
    return np.asarray(np.clip(products / np.maximum(np.sqrt(powers * guides), 1e-6), 0.01, 0.97))


def _last(features: FloatsF32) -> int:
    return int(np.flatnonzero(np.isfinite(features).any(axis=1)).max(initial=0))


def _steps(shifts: IntArray) -> FloatArray:
    """Chance of each step from shift to shift."""
    step = shifts[None, :] - shifts[:, None]
    chance = STEP * np.where(step > 0, 1.0, REPEAT) / np.maximum(np.abs(step), 1) ** 3
    chance[step == 0] = 1 - 2 * STEP
    return np.asarray(chance)


def _near(shifts: IntArray, likeliest: IntArray) -> FloatArray:
    """Chances of shifts at the ends of a take, where cameras likely start and end together, shape (camera, shift)."""
    return np.asarray(1 / np.maximum(np.abs(shifts - likeliest[:, None]), 0.5) ** 2)

"""Cameras against each other by their light: all see the same lights in turn, so a lost picture shows as a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.capture.interleave import APART, block_levels, find_period, light_distance
from litdome.capture.looks import Looks

FloatArray = npt.NDArray[np.floating[Any]]
SAME, SAME_TEMPER = 3, 1.5  # features that tell whether a light comes again, in any camera's view
CLIP = 3.0  # standard deviations; beyond, a feature tells no more
TEMPER = 4.0  # the features of a picture, and of its neighbours, tell the same thing again
STEP = 1e-3  # chance that a camera loses pictures at any one frame
REPEAT = 0.1  # repeating is so much rarer than losing
SURPRISE = 0.2  # share of features that another view of the same light does not tell
MIN_AGREEMENT = 0.35  # correlation with the other cameras, below which the light tells nothing
SURE = 0.95  # chance from which on a picture counts as placed
FEW = 3  # one camera in so many that has more pictures than the rest is believed
TOGETHER = 4  # steps of several cameras so many frames apart are one event
LONGEST_SHIFT = 60
LONG_TAKE, STRETCH = 2000, 32  # pictures
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


def align_cameras(levels: npt.NDArray[np.float32], longest: int) -> Alignment:
    """Place the pictures of all cameras on one line of time, by the light that they show.

    Losing pictures is taken for likelier than repeating them: of two cameras, the one that is ahead lost some. Pictures
    that less than a third of the cameras have were stored twice by those.

    Args:
        levels: As `block_levels` gives, shape (camera, picture, block), NaN where a camera has no picture.
        longest: Largest shift of one camera against another, pictures.
    """
    cameras, pictures = levels.shape[:2]
    shift = np.zeros((cameras, pictures), np.int32)
    if cameras == 1:
        return Alignment(shift, np.ones((1, pictures), np.float32), np.ones(1, np.float32))
    period = find_period(levels)
    features = np.stack([_features(own, period) for own in levels])
    reference = int(np.argmax(np.isfinite(levels[..., 0]).sum(axis=1)))
    chance, agreement = np.ones((cameras, pictures), np.float32), np.ones(cameras, np.float32)
    guide = features[reference]
    for turn in range(2):
        for camera in range(cameras):
            if turn or camera != reference:
                placed = _place(features[camera], guide, longest)
                shift[camera], chance[camera], agreement[camera] = placed
        if cameras == 2 or turn:
            break
        guide = _consensus(features, shift, agreement)
    shift -= _steps_of_the_rig(shift, agreement)
    return Alignment(shift, np.where(agreement[:, None] >= MIN_AGREEMENT, chance, 0), agreement)


def align_by_light(looks: Mapping[str, Looks]) -> dict[str, npt.NDArray[np.int64]]:
    """Rig frame of every decoded picture, from the pixels alone.

    Args:
        looks: By camera, the looks of all its pictures in their order (one row).

    Returns:
        By camera, shape (picture,): the rig frame, 0 for the first picture of the camera that starts first; -1 where
        the light does not tell (among equal lights in a row, at the place of a loss, or in a camera that agrees with
        none).
    """
    most = max(found.frames for found in looks.values())
    fewest = min(found.frames for found in looks.values())
    levels = np.full((len(looks), most, 48), np.nan, np.float32)
    for row, seen in zip(levels, looks.values(), strict=True):
        row[: seen.frames] = block_levels(seen.grid)[0]
    found = align_cameras(levels, min(LONGEST_SHIFT, most - fewest + 8, most // 2))
    placed = found.shift + np.arange(most)
    told = found.chance >= SURE
    placed -= placed[told].min() if told.any() else 0
    frames = np.where(told, placed, -1).astype(np.int64)
    return {id: row[: looks[id].frames] for id, row in zip(looks, frames, strict=True)}


def find_steps(alignment: Alignment, camera: int) -> tuple[tuple[int, int], ...]:
    """(picture, count) where a camera lost pictures: from this one on, count more than before (below 0: repeated)."""
    sure = np.flatnonzero(alignment.chance[camera] >= SURE)
    steps = np.diff(alignment.shift[camera, sure])
    return tuple((int(sure[n + 1]), int(steps[n])) for n in np.flatnonzero(steps))


def _features(levels: npt.NDArray[np.float32], period: int | None) -> npt.NDArray[np.float32]:
    """What the light does in each picture of a camera, shape (picture, feature).

    The first features are 1 where a picture is lit as one before it (by one, two, a period), -1 where not; 0 everywhere
    without a period. The others, level and change, have mean 0 and deviation 1 among the pictures alike in the first
    ones: they tell nothing that those do.
    """
    level = np.log(levels.mean(axis=-1) + np.float32(0.01))
    distances = [light_distance(levels, lag) for lag in (1, 2, period or 2)]
    same = np.zeros((len(levels), len(distances)))
    if period is not None and np.isfinite(distances[-1]).any():
        # of the pictures a period apart, one in so many are both flat: the lower half of those are typical of them
        spread = float(np.nanquantile(distances[-1], 0.5 / period)) / np.log(2)
        same = np.stack([np.where(d < APART * spread, 1.0, -1.0) for d in distances], axis=-1)
        same[~np.isfinite(np.stack(distances, axis=-1))] = np.nan
    features = np.stack([level, *(np.sqrt(d) for d in distances[:2])], axis=-1)
    code = (same == 1) @ np.array([1, 2, 4])
    for value in np.unique(code):
        features[code == value] = _standard(features[code == value])
    return np.asarray(np.concatenate([same, features], axis=-1), np.float32)


def _standard(features: FloatArray) -> FloatArray:
    """Features of shape (picture, feature) less their mean, over their deviation, clipped."""
    known = np.isfinite(features)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, features, 0).sum(axis=0) / count
    deviation = np.sqrt((np.where(known, features - mean, 0) ** 2).sum(axis=0) / count)
    return np.asarray(np.clip((features - mean) / np.maximum(deviation, 1e-6), -CLIP, CLIP))


def _place(own: FloatArray, guide: FloatArray, longest: int) -> tuple[npt.NDArray[np.intp], FloatArray, float]:
    """(shift, its chance, agreement) of a camera's pictures against a guide, features of shape (picture, feature)."""
    shifts = np.arange(-longest, longest + 1)
    if len(own) > LONG_TAKE and _never_apart(own, guide, longest):
        still = np.zeros(len(own), np.intp)
        return still, np.ones(len(own), np.float32), _correlation(own, guide)
    shifted = np.stack([_moved(guide, int(k)) for k in shifts], axis=1)
    agreement = np.array([0.9] * SAME + [0.7] * (own.shape[1] - SAME))  # to begin with
    for _ in range(3):
        evidence = _evidence(own[:, None, SAME:], shifted[..., SAME:], float(agreement[SAME])) / TEMPER
        alike = np.nan_to_num(np.log1p(agreement[:SAME] * own[:, None, :SAME] * shifted[..., :SAME]))
        evidence += alike.sum(axis=-1) / SAME_TEMPER
        chances = _follow(evidence, shifts, _last(guide) - _last(own))
        best = chances.argmax(axis=1)
        matched = np.take_along_axis(shifted, best[:, None, None], axis=1)[:, 0]
        agreement[:SAME] = [_correlation(own[:, n], matched[:, n]) for n in range(SAME)]
        agreement[SAME:] = _correlation(own[:, SAME:], matched[:, SAME:])
    return shifts[best], chances.max(axis=1), float(agreement.max())


def _correlation(own: FloatArray, other: FloatArray) -> float:
    both = np.isfinite(own) & np.isfinite(other)
    norm = np.sqrt((own[both] ** 2).sum() * (other[both] ** 2).sum())
    return float(np.clip((own[both] * other[both]).sum() / max(norm, 1e-6), 0.01, 0.97))


def _never_apart(own: FloatArray, guide: FloatArray, longest: int) -> bool:
    """Whether in every stretch of a long take no shift fits clearly better than none; much cheaper than following."""
    products = []
    for shift in (0, *range(-longest, 0), *range(1, longest + 1)):
        product = np.nan_to_num(own * _moved(guide, shift)).sum(axis=1)
        products.append(product[: len(own) // STRETCH * STRETCH].reshape(-1, STRETCH).sum(axis=1))
    still, others = products[0], np.max(products[1:], axis=0)
    return bool((still > others - CLEARLY * STRETCH).all() and still.sum() > 0)


def _moved(guide: FloatArray, shift: int) -> FloatArray:
    """The guide's features at picture + shift, NaN beyond its ends."""
    out = np.full_like(guide, np.nan)
    count = len(guide) - abs(shift)
    if count > 0:
        out[max(-shift, 0) :][:count] = guide[max(shift, 0) :][:count]
    return out


def _evidence(own: FloatArray, other: FloatArray, agreement: float) -> FloatArray:
    """Log evidence that two pictures show the same moment, against two chance ones; summed over the features."""
    rest = 1 - agreement**2
    apart = (own - agreement * other) ** 2 / rest
    same = np.exp((own**2 - apart) / 2) / np.sqrt(rest)
    evidence = np.nan_to_num(np.log((1 - SURPRISE) * same + SURPRISE))
    return np.asarray(evidence.sum(axis=-1))


def _last(features: FloatArray) -> int:
    return int(np.flatnonzero(np.isfinite(features).any(axis=1)).max(initial=0))


def _follow(evidence: FloatArray, shifts: npt.NDArray[np.intp], end: int) -> FloatArray:
    """Chance of each shift at each picture, shape (picture, shift): forward and backward over single steps.

    Cameras likely start together, at shift 0, and end together, at shift ``end``.
    """
    step = shifts[None, :] - shifts[:, None]
    chance = STEP * np.where(step > 0, 1.0, REPEAT) / np.maximum(np.abs(step), 1) ** 3
    chance[step == 0] = 1 - 2 * STEP
    likely = np.exp(evidence - evidence.max(axis=1, keepdims=True)) + 1e-12
    ahead, behind = np.empty_like(likely), np.ones_like(likely)
    state = 1 / np.maximum(np.abs(shifts), 0.5) ** 2
    for picture, now in enumerate(likely):
        state = state * now
        state /= state.sum()
        ahead[picture] = state
        state = state @ chance
    state = 1 / np.maximum(np.abs(shifts - end), 0.5) ** 2
    behind[-1] = state
    for picture in range(len(likely) - 1, 0, -1):
        state = chance @ (state * likely[picture])
        state /= state.sum()
        behind[picture - 1] = state
    chances = ahead * behind
    chances /= chances.sum(axis=1, keepdims=True)
    return np.asarray(chances)


def _consensus(features: FloatArray, shift: npt.NDArray[np.int32], agreement: FloatArray) -> FloatArray:
    """What the cameras that agree show at each moment of the guide, as features of shape (picture, feature)."""
    moments = np.arange(features.shape[1])
    rows = []
    for camera in np.flatnonzero(agreement >= MIN_AGREEMENT):
        row = np.full_like(features[camera], np.nan)
        at = moments + shift[camera]
        inside = (at >= 0) & (at < len(moments))
        row[at[inside]] = features[camera][inside]
        rows.append(row)
    stacked = np.stack(rows)
    seen = np.isfinite(stacked).any(axis=0)
    out = np.full_like(stacked[0], np.nan)
    out[seen] = np.nanmedian(np.where(seen, stacked, 0), axis=0)[seen]
    return np.asarray(out)


def _steps_of_the_rig(shift: npt.NDArray[np.int32], agreement: FloatArray) -> npt.NDArray[np.int32]:
    """What is to be taken off all shifts, shape (picture,): their common start, and what the guide lost or repeated.

    A step back of other cameras means that they have pictures which the guide lost.
    """
    trusted = shift[agreement >= MIN_AGREEMENT]
    if not len(trusted):
        return np.zeros(shift.shape[1], np.int32)
    out = np.full(shift.shape[1], np.median(trusted[:, 0]), np.int32)
    events = [
        (int(at) + 1, int(n)) for row in trusted for at in np.flatnonzero(np.diff(row)) for n in [row[at + 1] - row[at]]
    ]
    while events:
        at, count = min(events)
        same = [event for event in events if event[0] - at <= TOGETHER and event[1] == count]
        events = [event for event in events if event not in same]
        having = len(same) if count < 0 else len(trusted) - len(same)  # cameras with pictures that the rest lack
        if (having * FEW >= len(trusted)) == (count < 0):
            out[int(np.median([event[0] for event in same])) :] += count
    return out

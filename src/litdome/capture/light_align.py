"""Cameras against each other by their light: all see the same lights in turn, so a lost picture shows as a step."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.capture.interleave import APART, find_period, light_distance, over_cameras
from litdome.capture.light_match import SAME, Alignment, match_guide

FloatArray = npt.NDArray[np.floating[Any]]
FloatsF32 = npt.NDArray[np.float32]
CLIP = 3.0  # standard deviations; beyond, a feature tells no more
MIN_AGREEMENT = 0.35  # correlation with the other cameras, below which the light tells nothing
SURE = 0.95  # chance from which on a picture counts as placed
FEW = 3  # one camera in so many that has more pictures than the rest is believed
TOGETHER = 4  # steps of several cameras so many frames apart are one event


def align_cameras(levels: npt.NDArray[np.float32], longest: int) -> Alignment:
    """Place the pictures of all cameras on one line of time, by the light that they show.

    Losing pictures is taken for likelier than repeating them: of two cameras, the one that is ahead lost some. Pictures
    that less than a third of the cameras have were stored twice by those.

    Args:
        levels: As `block_levels` gives, shape (camera, picture, block), NaN where a camera has no picture.
        longest: Largest shift of one camera against another, pictures.
    """
    period = find_period(levels)
    return align_features(np.stack([picture_features(own, period) for own in levels]), longest)


def align_features(features: npt.NDArray[np.float32], longest: int) -> Alignment:
    """As `align_cameras`, from features of all pictures (`picture_features`), shape (camera, picture, feature)."""
    if len(features) == 1:
        one = np.ones(features.shape[:2], np.float32)
        return Alignment(np.zeros(one.shape, np.int32), one, one[:, 0])
    reference = int(np.argmax(np.isfinite(features[..., SAME]).sum(axis=1)))
    found = match_guide(features, features[reference], longest)
    found.shift[reference], found.chance[reference], found.agreement[reference] = 0, 1, 1
    if len(features) > 2:
        found = match_guide(features, _consensus(features, found.shift, found.agreement), longest)
    shift = found.shift - _steps_of_the_rig(found.shift, found.agreement)
    chance = np.where(found.agreement[:, None] >= MIN_AGREEMENT, found.chance, np.float32(0))
    return Alignment(shift, chance, found.agreement)


def find_steps(shift: npt.NDArray[np.int32], sure: npt.NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    """(picture, count) where a camera lost pictures: from this one on, count more than before (below 0: repeated).

    Args:
        shift: Of one camera, shape (picture,).
        sure: Which of them are told by the light.
    """
    told = np.flatnonzero(sure)
    steps = np.diff(shift[told])
    return tuple((int(told[n + 1]), int(steps[n])) for n in np.flatnonzero(steps))


def picture_features(levels: npt.NDArray[np.float32], period: int | None) -> npt.NDArray[np.float32]:
    """What the light does in each picture of a camera, shape (picture, feature).

    The first features are 1 where a picture is lit as one before it (by one, two, a period), -1 where not; 0 everywhere
    without a period. The others, level and change, have mean 0 and deviation 1 among the pictures alike in the first
    ones: they tell nothing that those do.
    """
    level = np.log(levels @ np.full(levels.shape[-1], 1 / levels.shape[-1], np.float32) + np.float32(0.01))
    lags = (1, 2, period or 2)
    by_lag = {lag: light_distance(levels, lag) for lag in set(lags)}
    distances = [by_lag[lag] for lag in lags]
    same = np.zeros((len(levels), len(distances)), np.float32)
    if period is not None and np.isfinite(distances[-1]).any():
        # of the pictures a period apart, one in so many are both flat: the lower half of those are typical of them
        spread = float(np.nanquantile(distances[-1], 0.5 / period)) / np.log(2)
        same = np.stack([np.where(d < APART * spread, np.float32(1), np.float32(-1)) for d in distances], axis=-1)
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


def _consensus(features: FloatsF32, shift: npt.NDArray[np.int32], agreement: FloatArray) -> FloatsF32:
    """What the cameras that agree show at each moment of the guide, as features of shape (picture, feature)."""
    moments = np.arange(features.shape[1])
    rows = []
    for camera in np.flatnonzero(agreement >= MIN_AGREEMENT):
        row = np.full_like(features[camera], np.nan)
        at = moments + shift[camera]
        inside = (at >= 0) & (at < len(moments))
        row[at[inside]] = features[camera][inside]
        rows.append(row)
    return over_cameras(np.stack(rows))


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

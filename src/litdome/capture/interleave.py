"""Which frames are flat, found by looking: they come at a fixed beat and look alike; what lies between does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.capture.chain import follow_states

FloatArray = npt.NDArray[np.floating[Any]]
LONGEST_PERIOD = 32
MIN_FLATS = 3  # a beat shows at three flat frames, not before
SEARCHED_FRAMES, SEARCHED_CAMERAS = 1000, 8  # enough to find the beat; every frame of these is then followed
CHUNK = 1024  # pictures, small enough for the processor's cache
WINDOW_PERIODS = 6  # a lost frame spoils one window of the search
SPREADS = np.geomspace(0.002, 0.1, 9)  # typical distance between successive flat frames: noise and motion
APART = 3.0  # other light differs from the flat frame before it by so many spreads at least
ALIKE = 1.2  # spreads; off the beat, a frame is flat that is so near to the flat ones beside it
SURPRISE = 0.02  # share of frames that do anything
SCALES = np.log(1e5)  # distances lie between 1e-5 and 1
TEMPER = 3.0  # neighbouring frames tell the same thing again
JUMP = 1e-3  # chance of losing or repeating frames at any one frame
CLEAR = 0.9  # confidence that needs no second look
ONE_CHANGE = 0.4  # doubt that one change of the other light leaves
ENOUGH_EVIDENCE = 0.3  # of what flat frames can tell at best
LEVEL_FLOOR = 0.01  # of white: two dark pictures are alike


@dataclass(frozen=True, eq=False)
class Interleave:
    """The beat of a take.

    Attributes:
        period: Frames from flat to flat.
        phase: Place of frame 0 within the beat is -phase: the flat frames before any jump are phase, phase + period...
        confidence: 0..1, that the flat frames are these and not others.
        place: Shape (frame,), int16: frames since the last flat one of the beat.
        flat: Shape (frame,), bool: the flat frames, those out of the beat too.
        spread: Typical distance between successive flat frames.
        jumps: (frame, count): from this frame on the beat is ahead by count frames; below 0: behind.
    """

    period: int
    phase: int
    confidence: float
    place: npt.NDArray[np.int16]
    flat: npt.NDArray[np.bool_]
    spread: float
    jumps: tuple[tuple[int, int], ...]


def some_cameras(count: int) -> slice:
    """Enough of so many cameras to find the beat and follow it: all see the same light."""
    return slice(None, None, -(-count // SEARCHED_CAMERAS))


def block_levels(grid: npt.NDArray[np.float16]) -> npt.NDArray[np.float32]:
    """Mean levels over 2x2 blocks of looks' grids, shape (..., 24, 8) to (..., 48), float32, 0 and above."""
    rows, columns = grid.shape[-2] // 2, grid.shape[-1] // 2
    pictures = grid.reshape(-1, rows, 2, columns * 2)
    out = np.empty((len(pictures), rows, columns), np.float32)
    for start in range(0, len(pictures), CHUNK):
        wide = pictures[start : start + CHUNK].astype(np.float32)
        both = wide[:, :, 0] + wide[:, :, 1]
        np.add(both[..., ::2], both[..., 1::2], out=out[start : start + CHUNK])
    np.maximum(out, 0, out=out)
    out *= np.float32(0.25)
    return out.reshape(*grid.shape[:-2], rows * columns)


def seen_frames(levels: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Frames that at least one camera has, shape (camera, frame, block) to (frame,)."""
    return np.asarray(np.isfinite(levels[..., 0]).any(axis=0))


def light_distance(levels: npt.NDArray[np.float32], lag: int) -> npt.NDArray[np.float32]:
    """How much each frame differs from the one ``lag`` frames before it.

    Args:
        levels: Shape (..., frame, block), NaN where a frame is absent.
        lag: Frames.

    Returns:
        Shape (..., frame), 0 alike to 1; NaN for the first ``lag`` frames and where one of the two is absent.

    Source: the Bray-Curtis dissimilarity of blocks; their mean, weighted with their light, is one of square roots: a
        subject that moves changes some blocks much, another light changes all.
    """
    out = np.full(levels.shape[:-1], np.nan, np.float32)
    frames, blocks = levels.shape[-2:]
    for own, row in zip(levels.reshape(-1, frames, blocks), out.reshape(-1, frames), strict=True):
        for start in range(lag, frames, CHUNK):
            now = own[start : start + CHUNK]
            row[start : start + CHUNK] = _apart(now, own[start - lag : start - lag + len(now)])
    return out


def over_cameras(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Median over the cameras that have one, shape (camera, ...) to (...); NaN where none has."""
    rising = np.sort(values, axis=0)  # NaN last
    last = np.maximum(np.isfinite(rising).sum(axis=0) - 1, 0)
    low, high = (np.take_along_axis(rising, at[None], axis=0)[0] for at in (last // 2, (last + 1) // 2))
    return np.asarray((low + high) / 2)


def _apart(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Distance of pictures, shape (..., block) to (...)."""
    blocks = np.ones(one.shape[-1], np.float32)
    apart, light = one - other, one + other
    light += np.float32(LEVEL_FLOOR)
    np.abs(apart, out=apart)
    apart *= light
    np.sqrt(apart, out=apart)
    return np.asarray((apart @ blocks / (light @ blocks)) ** 2)


def find_interleave(levels: npt.NDArray[np.float32]) -> Interleave | None:
    """Find the beat of a take, follow it through lost frames, and say how sure that is.

    Args:
        levels: As `block_levels` gives, shape (camera, frame, block); the cameras in step with each other.

    Returns:
        None where no frame comes again at a beat: constant light, or light without order.
    """
    levels = levels[some_cameras(len(levels))]
    in_place = _find_beat(levels)
    if in_place is not None and in_place.confidence >= CLEAR:
        return in_place
    # sorted, the blocks tell the light wherever the subject went between two flat frames
    sorted_ = _find_beat(np.sort(levels, axis=-1))
    return max((f for f in (in_place, sorted_) if f), key=lambda found: found.confidence, default=None)


def find_period(levels: npt.NDArray[np.float32]) -> int | None:
    """Frames from flat to flat, the cameras in step or not; None where nothing comes again at a beat."""
    found = _find_period(levels) or _find_period(np.sort(levels, axis=-1))
    return found[0] if found else None


def _find_beat(levels: npt.NDArray[np.float32]) -> Interleave | None:
    found = _find_period(levels)
    if found is None:
        return None
    period, spread = found
    lags = [over_cameras(light_distance(levels, lag)) for lag in range(1, period + 1)]
    _, place = _follow(_evidence(lags, period, spread) / TEMPER)
    spread = _measured_spread(lags[-1][place == 0], spread)
    evidence = _evidence(lags, period, spread)
    chances, place = _follow(evidence / TEMPER)
    beats = np.flatnonzero(place == 0)
    if not len(beats):
        return None
    compared = max(int(np.isfinite(lags[-1][beats]).sum()), 1)
    told = float(evidence[np.arange(len(place)), place].sum()) / (compared * _best_gain())
    seen = seen_frames(levels)
    sure = 2 * np.abs(chances[seen, 0] - 0.5).mean() if period == 2 else chances[beats[seen[beats]], 0].mean()
    confidence = float(sure * np.clip(told / ENOUGH_EVIDENCE, 0, 1))
    if period == 2:  # with one other light, held throughout, either could be the flat one
        changes = int((lags[-1][place == 1] > APART * spread).sum())
        confidence *= 1 - ONE_CHANGE**changes
    flat = _flat_frames(levels, beats, spread)
    phase = int(-place[0] % period)
    return Interleave(period, phase, confidence, place.astype(np.int16), flat, spread, _jumps(place, period))


def _measured_spread(distance: FloatArray, searched: float) -> float:
    """Scale of the exponential distribution with the median of these distances, near the one searched."""
    known = distance[np.isfinite(distance)]
    measured = float(np.median(known)) / np.log(2) if len(known) else searched
    return float(np.clip(measured, searched / 3, searched * 1.5))


def _flat_frames(levels: npt.NDArray[np.float32], beats: npt.NDArray[np.intp], spread: float) -> npt.NDArray[np.bool_]:
    """Frames that look like the flat ones next to them, whether on the beat or not, shape (frame,)."""
    frames = np.arange(levels.shape[1])
    out = np.isin(frames, beats)
    limit = np.where(out, 2 * APART, ALIKE) * spread
    for start in range(0, len(frames), CHUNK):
        some = frames[start : start + CHUNK]
        apart = _from_beats(levels, beats, some, sort=False)
        doubted = some[np.isfinite(apart) & ((apart > limit[some]) == out[some])]
        # a subject that went elsewhere is no other light
        out[doubted] = _from_beats(levels, beats, doubted, sort=True) <= limit[doubted]
    return out


def _from_beats(
    levels: npt.NDArray[np.float32], beats: npt.NDArray[np.intp], frames: npt.NDArray[np.intp], *, sort: bool
) -> FloatArray:
    """Distance of frames to the nearer of the beats before and after; infinite where neither can be compared."""
    last = len(beats) - 1
    nearest = np.full(len(frames), np.inf)
    for place in (np.searchsorted(beats, frames) - 1, np.searchsorted(beats, frames, side="right")):
        other = beats[np.clip(place, 0, last)]
        pair = levels[:, frames], levels[:, other]
        one, two = (np.sort(view, axis=-1) for view in pair) if sort else pair
        nearest = np.fmin(nearest, np.where(other == frames, np.inf, over_cameras(_apart(one, two))))
    return nearest


def _best_gain() -> float:
    return float(np.log((1 - SURPRISE) * np.exp(-1) * SCALES + SURPRISE))


def _like_flat(distance: FloatArray, spread: float) -> FloatArray:
    """Log evidence that two frames are both flat, against a distance of any size; NaN stays."""
    ratio = np.maximum(distance / spread, 1)
    return np.asarray(np.log((1 - SURPRISE) * ratio * np.exp(-ratio) * SCALES + SURPRISE))


def _unlike_flat(distance: FloatArray, spread: float) -> FloatArray:
    """Log evidence that a frame is lit otherwise than the flat one before it; at most 0."""
    ratio = np.maximum(distance / spread, 1e-3) / APART
    share = 1 / (1 + ratio**-6)
    return np.asarray(np.log((1 - SURPRISE) * share + SURPRISE))


def _evidence(lags: list[FloatArray], period: int, spread: float) -> FloatArray:
    """Log evidence for each place in the beat, shape (..., frame, place); 0 where nothing can be compared."""
    flat = _like_flat(lags[period - 1], spread)
    others = [_unlike_flat(lags[place - 1], spread) for place in range(1, period)]
    return np.nan_to_num(np.stack([flat, *others], axis=-1))


def _find_period(levels: npt.NDArray[np.float32]) -> tuple[int, float] | None:
    """(period, spread) that explain most, each camera and each stretch with its own phase; None where nothing does."""
    few = levels[:: -(-len(levels) // SEARCHED_CAMERAS)]
    stretches = _stretches(seen_frames(few))
    longest = min(LONGEST_PERIOD, max((stop - start for start, stop in stretches), default=0) // MIN_FLATS)
    lags = [
        [light_distance(few[:, start:stop], lag) for lag in range(1, min(longest, stop - start - 1) + 1)]
        for start, stop in stretches
    ]
    scores: dict[tuple[int, float], float] = {}
    for spread in map(float, SPREADS):
        flats = [[np.nan_to_num(_like_flat(lag, spread)) for lag in found] for found in lags]
        others = [np.nan_to_num(_unlike_flat(np.stack(found, axis=-1), spread)) if found else None for found in lags]
        for period in range(2, longest + 1):
            scores[period, spread] = sum(
                _score(np.concatenate([flat[period - 1][..., None], other[..., : period - 1]], axis=-1))
                for flat, other in zip(flats, others, strict=True)
                if other is not None and len(flat) >= period
            )
    best = max(scores, key=lambda candidate: scores[candidate], default=None)
    return best if best is not None and scores[best] > 0 else None


def _stretches(seen: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Half-open ranges of frames without long holes, up to as many frames as are searched."""
    frames = np.flatnonzero(seen)[:SEARCHED_FRAMES]
    if not len(frames):
        return []
    ends = np.flatnonzero(np.diff(frames) > LONGEST_PERIOD)
    starts, stops = np.append(0, ends + 1), np.append(ends, len(frames) - 1)
    return [(int(frames[start]), int(frames[stop]) + 1) for start, stop in zip(starts, stops, strict=True)]


def _score(evidence: FloatArray) -> float:
    """Evidence for a beat whatever its phase, shape (camera, frame, place), summed over stretches, mean of cameras."""
    cameras, frames, period = evidence.shape
    beats = frames // period
    if not beats:
        return 0.0
    whole = evidence[:, : beats * period].reshape(cameras, beats, period, period)
    windows = np.add.reduceat(whole, np.arange(0, beats, WINDOW_PERIODS), axis=1)
    offsets = np.arange(period)
    by_phase = windows[:, :, offsets, (offsets - offsets[:, None]) % period].sum(axis=-1)
    top = by_phase.max(axis=-1, keepdims=True)
    return float((top[..., 0] + np.log(np.exp(by_phase - top).mean(axis=-1))).mean(axis=0).sum())


def _follow(evidence: FloatArray) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.intp]]:
    """Chances of each place at each frame, shape (frame, place), and the likeliest place."""
    frames, period = evidence.shape
    step = np.full((period, period), JUMP / period)
    step[np.arange(period), (np.arange(period) + 1) % period] += 1 - JUMP
    likely = np.exp(evidence - evidence.max(axis=1, keepdims=True))
    anywhere = np.ones((1, period))
    chances = follow_states(likely[None], step, anywhere, anywhere, np.array([frames]))[0]
    return chances, chances.argmax(axis=1)


def _jumps(place: npt.NDArray[np.intp], period: int) -> tuple[tuple[int, int], ...]:
    frames = np.flatnonzero((np.diff(place) - 1) % period) + 1
    count = (place[frames] - place[frames - 1] - 1) % period
    count = np.where(count > period // 2, count - period, count)
    return tuple((int(frame), int(n)) for frame, n in zip(frames, count, strict=True))

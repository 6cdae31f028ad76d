"""Two lights in one picture: a shutter that rolls over the LED switch shows this light above and another below."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.capture.interleave import CHUNK, LEVEL_FLOOR, Interleave, over_cameras

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.intp]
BANDS = 12  # rows of the grid in twos
EDGE = 3  # so many bands at the top, or at the bottom, must agree
OWN, FOREIGN = 0.25, 0.75  # share of the other light: below, a band shows its own light; above, the other one
MIN_CONTRAST = 0.05  # distance between two lights in a band that can be told
CONTRAST_SPREADS, SAME_SPREADS = 6.0, 5.0  # the same in spreads of the flat light; and what counts as alike
MIN_SPREAD = 0.004  # half a code of dim light
RESIDUE = 0.35  # share of the lights' difference that a mixture may leave unexplained
SAMPLED = 500  # pictures that tell what is typical of a camera
MEAN_CONTRAST = 0.02  # between neighbouring periods on average, where lights are held for some of them


def find_mixed(grid: npt.NDArray[np.float16], beat: Interleave) -> npt.NDArray[np.bool_]:
    """Pictures that show one light above and the light before or after it below, or the other way round.

    A flat picture is compared with flat ones near it, another with those of the same light a period away: a moving
    subject changes single blocks, another light whole bands from one edge on. Where a light comes only once, bands that
    are exactly flat at one edge tell, if that camera's other pictures are not flat there.

    Args:
        grid: Levels of all cameras, shape (camera, frame, 24, 8), NaN where a frame is absent.
        beat: Which frames are flat.

    Returns:
        Shape (camera, frame), bool; all pictures of a camera whose lower bands keep another beat than its upper ones.
    """
    out = np.zeros(grid.shape[:2], bool)
    for camera, levels in enumerate(grid):
        bands = levels.astype(np.float32).reshape(len(levels), BANDS, -1)
        np.maximum(bands, 0, out=bands)
        seen = np.isfinite(bands[:, 0, 0])
        spread = _spread(bands, np.flatnonzero(beat.flat & seen))
        two_beats = _keeps_two_beats(bands, seen, beat, spread)
        out[camera] = seen if two_beats else _mixed_frames(bands, seen, beat, spread)
    return out


def _mixed_frames(
    bands: FloatArray, seen: npt.NDArray[np.bool_], beat: Interleave, spread: float
) -> npt.NDArray[np.bool_]:
    """Single mixed pictures of a camera, levels of shape (frame, band, block)."""
    out = np.zeros(len(bands), bool)
    flats, others = np.flatnonzero(beat.flat & seen), np.flatnonzero(~beat.flat & seen)
    if len(flats) < 2 * EDGE:
        return out
    contrast = max(MIN_CONTRAST, CONTRAST_SPREADS * spread)

    flat_pairs = [(flats[lag:], flats[:-lag]) for lag in (1, 2, 3)]
    other_pairs = [_pairs_apart(others, lag * beat.period, len(bands)) for lag in (1, 2)]
    for own, pairs in ((flats, flat_pairs), (others, other_pairs)):
        doubted = _half_changed(bands, pairs, spread, contrast)
        for start in range(0, len(doubted), CHUNK):
            frames = doubted[start : start + CHUNK]
            alike = _near(frames, flats) if own is flats else _a_period_away(frames, beat, seen)
            out[frames] = _are_mixtures(bands, frames, alike, flats, beat, seen, spread, contrast)
    clean = flats[~out[flats]]
    out[others] |= _flat_at_an_edge(bands, others, clean, spread, contrast)
    # the neighbour's light, itself mixed, is nowhere to be seen whole
    beside = clean[out[np.clip(clean - 1, 0, None)] | out[np.clip(clean + 1, None, len(out) - 1)]]
    for start in range(0, len(beside) if len(clean) > 1 else 0, CHUNK):
        frames = beside[start : start + CHUNK]
        around = over_cameras(bands[_nearest(clean, frames, 6)[:, 1:].T])
        apart = _distance(bands[frames], around)
        top, bottom = apart[:, :EDGE], apart[:, -EDGE:]
        for kept, changed in ((top, bottom), (bottom, top)):
            out[frames] |= (kept.max(axis=1) < SAME_SPREADS * spread) & (changed.min(axis=1) > contrast)
    return out


def _spread(bands: FloatArray, flats: IntArray) -> float:
    """Typical distance of a band from one flat frame to the next: noise and motion."""
    if len(flats) < 2:
        return MIN_SPREAD
    some = _some(np.arange(1, len(flats)))
    quarter = float(
        np.quantile(_distance(bands[flats[some]], bands[flats[some - 1]]), 0.25)
    )  # half of them may be mixed
    return float(max(MIN_SPREAD, quarter / np.log(4 / 3)))


def _near(frames: IntArray, flats: IntArray) -> IntArray:
    """The three flat frames before and the three after each frame, itself left out, shape (n, 6); -1 for none."""
    before, after = np.searchsorted(flats, frames), np.searchsorted(flats, frames, side="right")
    places = np.stack([before - 3, before - 2, before - 1, after, after + 1, after + 2], axis=1)
    inside = (places >= 0) & (places < len(flats))
    return np.where(inside, flats[np.clip(places, 0, len(flats) - 1)], -1)


def _a_period_away(frames: IntArray, beat: Interleave, seen: npt.NDArray[np.bool_]) -> IntArray:
    """Frames one and two periods away that are not flat, shape (n, 4); -1 for none."""
    places = frames[:, None] + beat.period * np.array([-2, -1, 1, 2])
    inside = (places >= 0) & (places < len(seen))
    at = np.clip(places, 0, len(seen) - 1)
    return np.where(inside & seen[at] & ~beat.flat[at], places, -1)


def _nearest(flats: IntArray, frames: IntArray, count: int) -> IntArray:
    """The flat frames nearest to each frame, itself first where it is flat, shape (n, count or all that there are)."""
    width = min(2 * count, len(flats))
    start = np.clip(np.searchsorted(flats, frames) - count, 0, len(flats) - width)
    window = flats[start[:, None] + np.arange(width)]
    order = np.argsort(np.abs(window - frames[:, None]), axis=1, kind="stable")[:, :count]
    return np.take_along_axis(window, order, axis=1)


def _pairs_apart(frames: IntArray, lag: int, end: int) -> tuple[IntArray, IntArray]:
    """Those frames, below ``end``, that have another one of them ``lag`` later, and that one."""
    has = np.zeros(end + lag, bool)
    has[frames] = True
    first = frames[has[frames + lag]]
    return first, first + lag


def _some(frames: IntArray) -> IntArray:
    """At most `SAMPLED` of the frames, evenly spread."""
    return frames[:: -(-len(frames) // SAMPLED) or 1]


def _distance(one: FloatArray, other: FloatArray) -> FloatArray:
    """Of bands, over their blocks: shape (..., band, block) to (..., band), 0 alike to 1."""
    blocks = np.ones(one.shape[-1], np.float32)
    apart = np.abs(one - other) @ blocks / ((one + other) @ blocks + LEVEL_FLOOR * one.shape[-1])
    return np.asarray(apart)


def _half_changed(
    bands: FloatArray, pairs: list[tuple[IntArray, IntArray]], spread: float, contrast: float
) -> IntArray:
    """Frames of which one edge looks as in a frame of the same light and the other does not; worth a second look."""
    out = np.zeros(len(bands), bool)
    same, changed = SAME_SPREADS * spread, contrast
    for ones, others in pairs:
        for start in range(0, len(ones), CHUNK):
            one, other = ones[start : start + CHUNK], others[start : start + CHUNK]
            top, bottom = (
                _distance(bands[one, edge], bands[other, edge]).mean(axis=1)
                for edge in (slice(EDGE), slice(-EDGE, None))
            )
            half = ((top < same) & (bottom > changed)) | ((bottom < same) & (top > changed))
            out[one[half]] = out[other[half]] = True
    return np.flatnonzero(out)


def _are_mixtures(
    bands: FloatArray,
    frames: IntArray,
    alike: IntArray,
    flats: IntArray,
    beat: Interleave,
    seen: npt.NDArray[np.bool_],
    spread: float,
    contrast: float,
) -> npt.NDArray[np.bool_]:
    """Whether frames show, from an edge on, the light of the frame before or after, shape (n,)."""
    own, known = _own_light(bands, alike, frames, spread)
    out = np.zeros(len(frames), bool)
    for step in (-1, 1):
        other = np.clip(frames + step, 0, len(bands) - 1)
        asked = np.flatnonzero(known & (other != frames) & seen[other] & (beat.flat[other] != beat.flat[frames]))
        other = other[asked]
        flat_there = over_cameras(bands[_nearest(flats, other, 3).T])
        foreign = np.where(beat.flat[other][:, None, None], flat_there, bands[other])
        out[asked] |= _is_mixture(bands[frames[asked]], own[asked], foreign, contrast)
    return out


def _own_light(
    bands: FloatArray, alike: IntArray, frames: IntArray, spread: float
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """What pictures would show without mixing: as two or more frames that are alike in one half; whether there are."""
    apart = _distance(bands[alike], bands[frames][:, None])  # (n, alike, band)
    halves = (slice(0, BANDS // 2), slice(BANDS // 2, None))
    top, bottom = ((alike >= 0) & (np.median(apart[..., half], axis=-1) < SAME_SPREADS * spread) for half in halves)
    whole, above, below = top & bottom, top & ~bottom, bottom & ~top
    either = np.where((above.sum(axis=1) >= below.sum(axis=1))[:, None], above, below)
    same = np.where((whole.sum(axis=1) >= 2)[:, None], whole, either)
    shown = np.where(same[..., None, None], bands[alike], np.float32(np.nan))
    return over_cameras(shown.swapaxes(0, 1)), same.sum(axis=1) >= 2


def _is_mixture(shown: FloatArray, own: FloatArray, foreign: FloatArray, contrast: float) -> npt.NDArray[np.bool_]:
    """Whether bands of pictures, from an edge on, show a foreign light, shape (n, band, block) each."""
    told = _distance(foreign, own) > contrast
    apart = foreign - own
    share = ((shown - own) * apart).sum(axis=-1) / np.maximum((apart**2).sum(axis=-1), 1e-9)
    unexplained = np.abs(shown - own - share[..., None] * apart).sum(axis=-1)
    residue = unexplained / np.maximum(np.abs(apart).sum(axis=-1), 1e-9)
    kept = share < OWN
    changed = (share > FOREIGN) & (share < 2 - FOREIGN) & (residue < RESIDUE)
    rank, count = told.cumsum(axis=1), told.sum(axis=1, keepdims=True)
    top, bottom = told & (rank <= EDGE), told & (rank > count - EDGE)
    down = (kept | ~top).all(axis=1) & (changed | ~bottom).all(axis=1)
    up = (kept | ~bottom).all(axis=1) & (changed | ~top).all(axis=1)
    return np.asarray((count[:, 0] >= 2 * EDGE) & (down | up))


def _flat_at_an_edge(
    bands: FloatArray, others: IntArray, flats: IntArray, spread: float, contrast: float
) -> npt.NDArray[np.bool_]:
    """Frames of ``others`` that are exactly flat at one edge, where most are not, and lit otherwise at the other."""
    out = np.zeros(len(others), bool)
    if not len(flats):
        return out
    typical = np.median(_from_flat(bands, _some(others), flats), axis=0) > contrast if len(others) else out
    edges = [edge for edge in (slice(EDGE), slice(-EDGE, None)) if typical[edge].all()]
    for start in range(0, len(others) if edges else 0, CHUNK):
        frames = others[start : start + CHUNK]
        close = np.zeros(len(frames), bool)
        for flat in _nearest(flats, frames, 2).T:
            for edge in edges:
                close |= (_distance(bands[frames, edge], bands[flat, edge]) < SAME_SPREADS * spread).all(axis=1)
        apart = _from_flat(bands, frames[close], flats)
        same, lit = apart < spread, apart > contrast
        for edge in edges:
            across = slice(-EDGE, None) if edge.start is None else slice(EDGE)
            out[start + np.flatnonzero(close)] |= same[:, edge].all(axis=1) & lit[:, across].all(axis=1)
    return out


def _from_flat(bands: FloatArray, frames: IntArray, flats: IntArray) -> FloatArray:
    """Distance of the bands of frames from the flat light around them, shape (n, band)."""
    near = _near(frames, flats)
    around = np.where((near >= 0)[..., None, None], bands[near], np.float32(np.nan))
    return _distance(bands[frames], over_cameras(around.swapaxes(0, 1)))


def _keeps_two_beats(bands: FloatArray, seen: npt.NDArray[np.bool_], beat: Interleave, spread: float) -> bool:
    """Whether bands at one edge come again a frame off the beat, and those at the other edge on it."""
    flats = np.flatnonzero(beat.flat)
    on = _returns(bands, seen, flats, beat.period)
    least = max(MEAN_CONTRAST, SAME_SPREADS * spread)
    for step in (-1, 1):
        off = _returns(bands, seen, flats + step, beat.period)
        shifted = (off < on / 4) & (on > least)
        kept = (on < off / 4) & (off > least)
        for order in (slice(None), slice(None, None, -1)):
            if kept[order][:EDGE].all() and shifted[order][-EDGE:].all():
                return True
    return False


def _returns(bands: FloatArray, seen: npt.NDArray[np.bool_], frames: IntArray, period: int) -> FloatArray:
    """Mean distance of bands between frames and those a period later, shape (band,); 0 where there are too few."""
    frames = frames[(frames >= 0) & (frames + period < len(bands))]
    frames = frames[seen[frames] & seen[frames + period]]
    if len(frames) < 2 * EDGE:
        return np.zeros(BANDS, np.float32)
    frames = _some(frames)
    return np.asarray(_distance(bands[frames], bands[frames + period]).mean(axis=0))

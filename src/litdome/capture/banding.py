"""Two lights in one picture: a shutter that rolls over the LED switch shows this light above and another below."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.capture.interleave import LEVEL_FLOOR, Interleave

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.intp]
BANDS = 12  # rows of the grid in twos
EDGE = 3  # so many bands at the top, or at the bottom, must agree
OWN, FOREIGN = 0.25, 0.75  # share of the other light: below, a band shows its own light; above, the other one
MIN_CONTRAST = 0.05  # distance between two lights in a band that can be told
CONTRAST_SPREADS, SAME_SPREADS = 6.0, 5.0  # the same in spreads of the flat light; and what counts as alike
MIN_SPREAD = 0.004  # half a code of dim light
RESIDUE = 0.35  # share of the lights' difference that a mixture may leave unexplained
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
        bands = np.maximum(levels.astype(np.float32).reshape(len(levels), BANDS, -1), 0)
        seen = np.isfinite(bands).all(axis=(1, 2))
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

    def mixtures(frames: IntArray, alike: IntArray) -> None:
        for n in np.flatnonzero(_half_changed(bands, frames, alike, spread, contrast)):
            frame, own = int(frames[n]), _own_light(bands, alike[n], int(frames[n]), spread)
            for other in (frame - 1, frame + 1):
                if own is not None and 0 <= other < len(bands) and seen[other] and beat.flat[other] != beat.flat[frame]:
                    foreign = _foreign_light(bands, flats, other) if beat.flat[other] else bands[other]
                    out[frame] |= _is_mixture(bands[frame], own, foreign, contrast)

    mixtures(flats, _near(flats, flats))
    mixtures(others, _a_period_away(others, beat, seen))
    clean = flats[~out[flats]]
    out[others] |= _flat_at_an_edge(bands, others, clean, spread, contrast)
    # the neighbour's light, itself mixed, is nowhere to be seen whole
    for frame in clean[out[np.clip(clean - 1, 0, None)] | out[np.clip(clean + 1, None, len(out) - 1)]]:
        around = clean[np.argsort(np.abs(clean - frame))][1:6]
        apart = _distance(bands[frame], np.median(bands[around], axis=0))
        edges = sorted([apart[:EDGE], apart[-EDGE:]], key=lambda edge: float(edge.max()))
        out[frame] = edges[0].max() < SAME_SPREADS * spread and edges[1].min() > contrast
    return out


def _spread(bands: FloatArray, flats: IntArray) -> float:
    """Typical distance of a band from one flat frame to the next: noise and motion."""
    if len(flats) < 2:
        return MIN_SPREAD
    quarter = float(np.quantile(_distance(bands[flats[1:]], bands[flats[:-1]]), 0.25))  # half of them may be mixed
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


def _distance(one: FloatArray, other: FloatArray) -> FloatArray:
    """Of bands, over their blocks: shape (..., band, block) to (..., band), 0 alike to 1."""
    apart = np.abs(one - other).sum(axis=-1) / ((one + other).sum(axis=-1) + LEVEL_FLOOR * one.shape[-1])
    return np.asarray(apart)


def _half_changed(
    bands: FloatArray, frames: IntArray, alike: IntArray, spread: float, contrast: float
) -> npt.NDArray[np.bool_]:
    """Frames of which one edge looks as in a frame of the same light and the other does not; worth a second look."""
    out = np.zeros(len(frames), bool)
    for places in alike.T:
        apart = _distance(bands[frames], bands[places])
        top, bottom = apart[:, :EDGE].mean(axis=1), apart[:, -EDGE:].mean(axis=1)
        same, changed = SAME_SPREADS * spread, contrast
        out |= (places >= 0) & (((top < same) & (bottom > changed)) | ((bottom < same) & (top > changed)))
    return out


def _own_light(bands: FloatArray, alike: IntArray, frame: int, spread: float) -> FloatArray | None:
    """What the picture would show without mixing: as two or more frames that are alike in one half; None without."""
    alike = alike[alike >= 0]
    apart = _distance(bands[alike], bands[frame])
    halves = (slice(0, BANDS // 2), slice(BANDS // 2, None))
    top, bottom = (np.median(apart[:, half], axis=1) < SAME_SPREADS * spread for half in halves)
    whole = alike[top & bottom]
    same = whole if len(whole) >= 2 else max((alike[top & ~bottom], alike[bottom & ~top]), key=len)
    return np.asarray(np.median(bands[same], axis=0)) if len(same) >= 2 else None


def _foreign_light(bands: FloatArray, flats: IntArray, other: int) -> FloatArray:
    return np.asarray(np.median(bands[flats[np.argsort(np.abs(flats - other))][:3]], axis=0))


def _is_mixture(shown: FloatArray, own: FloatArray, foreign: FloatArray, contrast: float) -> bool:
    """Whether bands of a picture, from an edge on, show a foreign light, shape (band, block) each."""
    told = _distance(foreign, own) > contrast
    if told.sum() < 2 * EDGE:
        return False
    shown, own, foreign = shown[told], own[told], foreign[told]
    apart = foreign - own
    share = ((shown - own) * apart).sum(axis=1) / np.maximum((apart**2).sum(axis=1), 1e-9)
    unexplained = np.abs(shown - own - share[:, None] * apart).sum(axis=1)
    residue = unexplained / np.maximum(np.abs(apart).sum(axis=1), 1e-9)
    for order in (slice(None), slice(None, None, -1)):
        kept, changed = share[order][:EDGE], share[order][-EDGE:]
        whole = (changed > FOREIGN) & (changed < 2 - FOREIGN) & (residue[order][-EDGE:] < RESIDUE)
        if (kept < OWN).all() and whole.all():
            return True
    return False


def _flat_at_an_edge(
    bands: FloatArray, others: IntArray, flats: IntArray, spread: float, contrast: float
) -> npt.NDArray[np.bool_]:
    """Frames of ``others`` that are exactly flat at one edge, where most are not, and lit otherwise at the other."""
    near = _near(others, flats)
    around = np.where((near >= 0)[..., None, None], bands[near], np.nan)
    apart = _distance(bands[others], np.nanmedian(around, axis=1))
    typical = np.median(apart, axis=0) > contrast if len(apart) else np.zeros(BANDS, bool)
    flat, lit = apart < spread, apart > contrast
    top = flat[:, :EDGE].all(axis=1) & lit[:, -EDGE:].all(axis=1) & typical[:EDGE].all()
    bottom = flat[:, -EDGE:].all(axis=1) & lit[:, :EDGE].all(axis=1) & typical[-EDGE:].all()
    return np.asarray(top | bottom)


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
    return np.asarray(_distance(bands[frames], bands[frames + period]).mean(axis=0))

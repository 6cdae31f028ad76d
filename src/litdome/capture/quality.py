"""Exposure, clipping, focus and noise of every camera in a few numbers, from looks sampled over the take."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.capture.looks import LOOK_ARRAYS, Looks
from litdome.color import display_from_codes, linear_from_srgb
from litdome.lighting import KIND_CODES, LightingSchedule
from litdome.stage import SessionLike, Summary

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]
PLACES = 24  # along the take: enough for a chart, few enough to read while the subject waits
FRAMES_OF_A_PLACE = 4  # of each kind
FOCUS_PLACES = 3  # running: one soft place is a turned head
LIGHT_CAMERAS, FRAMES_OF_A_LIGHT = 3, 4
DARK_LUMA = 0.02  # of white: the brightest block of a picture that nothing lights
SERIES = ("exposure_stops", "clipped", "clipped_relit", "sharpness", "noise")


@dataclass(frozen=True, eq=False)
class Places:
    """Where the take is sampled: rig frames that lie close together, evenly spread over the take.

    Attributes:
        flat, relit: Rig frames of each place; a place may have no relit one.
    """

    flat: tuple[IntArray, ...]
    relit: tuple[IntArray, ...]

    @property
    def frames(self) -> IntArray:
        """All rig frames, rising."""
        return np.unique(np.concatenate([*self.flat, *self.relit, np.zeros(0, np.int64)])).astype(np.int64)


def sample_places(schedule: LightingSchedule) -> Places:
    """At most `PLACES` places with up to `FRAMES_OF_A_PLACE` flat frames and as many relit ones after the first."""
    flats, relits = (np.flatnonzero(schedule.kind == KIND_CODES[word]) for word in ("flat", "hdri"))
    anchors = np.unique(np.linspace(0, len(flats), min(PLACES, len(flats)), endpoint=False).astype(int))
    ends = [*anchors[1:], len(flats)]
    flat = tuple(flats[a : min(a + FRAMES_OF_A_PLACE, end)] for a, end in zip(anchors, ends, strict=True))
    first = [int(np.searchsorted(relits, flats[a])) for a in anchors]
    after = [*first[1:], len(relits)]
    return Places(flat, tuple(relits[a : min(a + FRAMES_OF_A_PLACE, end)] for a, end in zip(first, after, strict=True)))


def camera_quality(
    looks: Looks, frames: IntArray, places: Places, transfers: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """What each camera's pictures are like, over the take and against the other cameras.

    Args:
        looks: Of the sampled frames.
        frames: Rig frame of each column of ``looks``, rising.
        places: Where the take was sampled.
        transfers: Of each camera's looks: exposure is compared in linear light.

    Returns:
        By camera: ``exposure_stops`` (against the median camera, by the brightest tenth of flat-lit pictures),
        ``clipped`` and ``clipped_relit`` (share of pixels at white), ``black``, ``sharpness``, ``focus`` (sharpness of
        the worst three places running against the first three), ``noise`` (8-bit codes) and ``series``: `SERIES` at
        each place.
        None where nothing was recorded.
    """
    flat, relit = ([np.searchsorted(frames, of_place) for of_place in kind] for kind in (places.flat, places.relit))
    level = _over_places(np.stack([_bright_level(*one) for one in zip(looks.grid, transfers, strict=True)]), flat)
    series = {
        "exposure_stops": _stops(level),
        "clipped": _over_places(looks.clipped, flat),
        "clipped_relit": _over_places(looks.clipped, relit),
        "sharpness": _over_places(looks.sharpness, flat),
        "noise": _over_places(looks.noise, flat),
    }
    black = _over_places(looks.black, flat)
    stops = _stops(_median(level, axis=1))
    start = _median(series["sharpness"][:, :FOCUS_PLACES], axis=1)
    found = {}
    for row, id in enumerate(looks.cameras):
        sharp = series["sharpness"][row]
        steady = [float(_median(sharp[n : n + FOCUS_PLACES])) for n in range(max(1, len(sharp) - FOCUS_PLACES + 1))]
        worst = min(filter(np.isfinite, steady), default=np.nan)
        medians = {name: _plain(_median(series[name][row])) for name in SERIES[1:]}
        found[id] = {
            "exposure_stops": _plain(stops[row]),
            **medians,
            "black": _plain(_median(black[row])),
            "focus": _plain(worst / start[row]) if start[row] > 0 else None,
            "series": {name: [_plain(value) for value in values[row]] for name, values in series.items()},
        }
    return found


def dark_lights(looks: Looks, hdri: IntArray, names: tuple[str, ...]) -> list[str]:
    """HDRI entries under which every sampled picture stays black: they were listed and never lit.

    Args:
        looks: Of relit frames.
        hdri: Entry of each column of ``looks``.
        names: Of the entries.
    """
    brightest = looks.grid.astype(np.float32).max(axis=(2, 3), initial=-np.inf)
    dark = []
    for entry in np.unique(hdri):
        levels = brightest[:, hdri == entry]
        levels = levels[np.isfinite(levels)]
        if len(levels) and levels.max() < DARK_LUMA:
            dark.append(names[entry])
    return dark


def summarise_quality(session: SessionLike) -> Summary:
    """The take's quality as plain values for the record of ingest; reads a small part of ``looks/*`` only.

    Returns:
        ``frames`` (first rig frame of each place), ``cameras`` (`camera_quality`), ``lights`` (how many entries are
        listed), ``dark_lights`` and ``unpaired_lights`` (names of those that stay black, that have no pair).
    """
    schedule, places = session.schedule, sample_places(session.schedule)
    frames = places.frames
    looks = read_looks(session, np.arange(len(session.cameras)), frames)
    lit = _frames_of_lights(schedule)
    rows = np.unique(np.linspace(0, len(session.cameras) - 1, LIGHT_CAMERAS).round().astype(int))
    paired = set(session.pairs.hdri.tolist())
    return {
        "frames": [int(flat[0]) for flat in places.flat],
        "cameras": camera_quality(looks, frames, places, [_shown_transfer(session, id) for id in session.cameras]),
        "lights": len(session.hdri_names),
        "dark_lights": dark_lights(read_looks(session, rows, lit), schedule.hdri[lit], session.hdri_names),
        "unpaired_lights": [name for n, name in enumerate(session.hdri_names) if n not in paired],
    }


def read_looks(session: SessionLike, rows: IntArray, frames: IntArray) -> Looks:
    """The looks of some cameras and rig frames (both rising)."""
    cameras = tuple(session.cameras[row] for row in rows)
    return Looks(cameras, *(np.asarray(session.array(f"looks/{name}").oindex[rows, frames]) for name in LOOK_ARRAYS))


def _frames_of_lights(schedule: LightingSchedule) -> IntArray:
    """Up to `FRAMES_OF_A_LIGHT` relit rig frames of each HDRI entry, rising."""
    relit = np.flatnonzero((schedule.kind == KIND_CODES["hdri"]) & (schedule.hdri >= 0))  # -1: nobody knows which
    order = relit[np.argsort(schedule.hdri[relit], kind="stable")]
    _, start = np.unique(schedule.hdri[order], return_index=True)
    place = np.arange(len(order)) - np.repeat(start, np.diff([*start, len(order)]))
    return np.sort(order[place < FRAMES_OF_A_LIGHT])


def _bright_level(grid: npt.NDArray[np.float16], transfer: str) -> FloatArray:
    """Linear light that a tenth of the picture's blocks pass; grid (frame, y, x) to (frame,)."""
    shown = np.clip(grid.astype(np.float32), 0, None)
    light = linear_from_srgb(np.asarray(display_from_codes(shown, transfer, 0.0), np.float32))
    return np.asarray(np.quantile(light.reshape(len(light), -1), 0.9, axis=-1))


def _shown_transfer(session: SessionLike, camera: str) -> str:
    """Transfer of a camera's looks: as stored, but scene-linear floats are looked at through the sRGB curve."""
    path = f"cameras/{camera}/flat/rgb"
    is_float = session.has(path) and session.array(path).dtype.kind == "f"
    return "srgb" if is_float else session.transfer(camera)


def _stops(level: FloatArray) -> FloatArray:
    """Stops above the median camera; NaN where a camera has no level."""
    safe = np.maximum(level, 1e-4)
    return np.asarray(np.log2(safe) - np.log2(_median(safe, axis=0)))


def _over_places(values: FloatArray, places: Sequence[IntArray]) -> FloatArray:
    """Median of (camera, frame) over the frames of each place, shape (camera, place)."""
    return np.stack([_median(values[:, place], axis=1) for place in places], axis=1)


def _median(values: FloatArray, axis: int | None = None) -> FloatArray:
    """Median of what is known; NaN where nothing is."""
    if values.size == 0 and axis == 1:
        return np.full(len(values), np.nan, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all NaN is an answer here
        return np.asarray(np.nanmedian(values, axis=axis))


def _plain(value: Any) -> float | None:
    return float(f"{value:.4g}") if np.isfinite(value) else None

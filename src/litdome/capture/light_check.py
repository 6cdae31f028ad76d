"""What was lit when, by the pixels alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise, repeat
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.capture.banding import find_mixed
from litdome.capture.interleave import (
    APART,
    FloatArray,
    Interleave,
    block_levels,
    find_interleave,
    find_period,
    light_distance,
    over_cameras,
    some_cameras,
)
from litdome.capture.light_align import SURE, align_features, find_steps, picture_features
from litdome.capture.light_match import Alignment
from litdome.capture.looks import Looks
from litdome.lighting import KIND_CODES

CONFIDENT = 0.8  # below, pixels contradict nobody
LONGEST_SHIFT = 8  # frames between cameras that clocks have brought in step already
DARK_LEVEL, LIT_BLOCKS = 0.03, 3  # of white; so many blocks of any camera are brighter where a light is on
THREADS = 2  # each takes 60 MB in a take of 40,000 frames
REPEATED = 0.1  # of the spread of the flat light: noise alone differs more
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LightEstimate:
    """What the pixels say.

    Attributes:
        cameras: Ids, in the order of the rows.
        beat: The beat of flat frames; None where there is none.
        kind: Shape (frame,), uint8, codes of the schedule: dark, flat, hdri for anything else; meaningful only where
            `confidence` is high.
        changed: Shape (frame,), bool: lit otherwise than a period before.
        seen: Shape (frame,), bool: some camera has it.
        shift: Shape (camera, frame), int32: rig frame less frame; 0 where a camera is in step with the others.
        sure: Shape (camera, frame), bool: the shift is told by the light.
        drops: By camera, (frame, count): pictures lost before this frame that no clock tells; below 0: stored twice.
        mixed: Shape (camera, frame), bool: two lights in one picture.
        duplicates: Shape (camera, frame), bool: the picture before once more.
    """

    cameras: tuple[str, ...]
    beat: Interleave | None
    kind: npt.NDArray[np.uint8]
    changed: BoolArray
    seen: BoolArray
    shift: npt.NDArray[np.int32]
    sure: BoolArray
    drops: dict[str, tuple[tuple[int, int], ...]]
    mixed: BoolArray
    duplicates: BoolArray

    @property
    def confidence(self) -> float:
        """0..1, that the flat frames are these and not others."""
        return self.beat.confidence if self.beat else 0.0

    @property
    def offsets(self) -> dict[str, int]:
        """Frames by which a camera is off from its first told frame on, cameras in step left out."""
        first = {
            id: int(row[np.argmax(sure)]) for id, row, sure in zip(self.cameras, self.shift, self.sure, strict=True)
        }
        return {id: shift for id, shift in first.items() if shift}

    def summary(self, contradicting: tuple[int, ...] = ()) -> dict[str, Any]:
        """Plain JSON values for the record of ingest."""
        beat = self.beat
        return {
            "period": beat.period if beat else None,
            "phase": beat.phase if beat else None,
            "confidence": round(self.confidence, 4),
            "contradicting_frames": list(contradicting),
            "offsets": self.offsets,
            "drops": {id: [list(drop) for drop in drops] for id, drops in self.drops.items() if drops},
            "mixed_light": _by_camera(self.cameras, self.mixed),
            "duplicates": _by_camera(self.cameras, self.duplicates),
        }


def estimate_light(looks: Looks, longest: int = LONGEST_SHIFT) -> LightEstimate:
    """Find the beat of the light, cameras out of step, lost and repeated pictures, and mixed light.

    Args:
        looks: Of all cameras, by rig frame as the clocks say; NaN where absent.
        longest: Frames by which a camera may be off; never more than a quarter of the take.

    Returns:
        The estimate; without a beat (constant light, light without order, a take too short) its confidence is 0.
    """
    some = some_cameras(len(looks.cameras))
    period = find_period(block_levels(looks.grid[some]))
    aligned, change, bright = _align(looks, period, longest)
    present = np.isfinite(looks.grid[..., 0, 0])
    told = (aligned.chance >= SURE) & present
    held = _held(aligned.shift, told)
    shift = np.stack([without_excursions(row) for row in held])
    sure = told & (shift == held)
    in_step = _in_step(block_levels(looks.grid[some]), shift[some])
    beat = find_interleave(in_step)
    drops = {id: find_steps(row, known) for id, row, known in zip(looks.cameras, shift, sure, strict=True)}
    if beat is not None and len(looks.cameras) == 1:
        drops[looks.cameras[0]] = beat.jumps
    confident = beat if beat is not None and beat.confidence >= CONFIDENT else None
    seen, lit = (np.asarray(_in_step(flags, shift).any(axis=0)) for flags in (present, bright))
    return LightEstimate(
        cameras=looks.cameras,
        beat=beat,
        kind=_kinds(seen & ~lit, beat),
        changed=_changed(in_step, beat),
        seen=seen,
        shift=shift,
        sure=sure,
        drops=drops,
        mixed=_mixed(looks.grid, shift, confident),
        duplicates=_duplicates(looks.fingerprint, change, confident),
    )


def _align(looks: Looks, period: int | None, longest: int) -> tuple[Alignment, FloatArray, BoolArray]:
    """(where pictures belong, change since the picture before, whether any light is on) of all cameras."""
    with ThreadPoolExecutor(THREADS) as pool:
        by_camera = list(pool.map(_measure, looks.grid, repeat(period)))  # levels of all at once fill the memory
    features, change, bright = (np.stack(values) for values in zip(*by_camera, strict=True))
    return align_features(features, min(longest, max(looks.frames // 4, 1))), change, bright


def _measure(grid: npt.NDArray[np.float16], period: int | None) -> tuple[FloatArray, FloatArray, BoolArray]:
    """(features, change since the picture before, whether any light is on) of a camera's pictures."""
    levels = block_levels(grid)
    # a lamp in the picture is no light on the stage
    bright = (levels >= DARK_LEVEL).sum(axis=-1) >= LIT_BLOCKS
    return picture_features(levels, period), light_distance(levels, 1), bright


def _held(shift: npt.NDArray[np.int32], sure: BoolArray) -> npt.NDArray[np.int32]:
    """Shifts where they are told, held in between; 0 in a camera where they never are."""
    frames = np.arange(shift.shape[1])
    last = np.maximum.accumulate(np.where(sure, frames, -1), axis=1)
    first = sure.argmax(axis=1).reshape(-1, 1)
    held = np.take_along_axis(shift, np.where(last < 0, first, last), axis=1)
    held[~sure.any(axis=1)] = 0
    return held


def without_excursions(shift: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Shifts of a camera, shape (frame,), less what leaves a value and comes back to it.

    Lost pictures do not come back: under light that is held for long, the light only seems to say so.
    """
    edges = [0, *(np.flatnonzero(np.diff(shift)) + 1).tolist(), len(shift)]
    runs = [(int(shift[start]), stop - start) for start, stop in pairwise(edges) if stop > start]  # value, length
    while True:
        back = [n for n in range(1, len(runs) - 1) if runs[n - 1][0] == runs[n + 1][0]]
        if not back:
            return np.repeat(np.array([value for value, _ in runs], np.int32), [length for _, length in runs])
        n = min(back, key=lambda n: runs[n][1])
        runs[n - 1 : n + 2] = [(runs[n - 1][0], sum(length for _, length in runs[n - 1 : n + 2]))]


def _in_step(values: npt.NDArray[Any], shift: npt.NDArray[np.int32]) -> npt.NDArray[Any]:
    """Levels, grids or flags by true rig frame, (camera, frame, ...); what moves beyond the ends is left out."""
    if not shift.any():
        return values
    out = np.full_like(values, np.nan if values.dtype.kind == "f" else 0)
    for row, own, by in zip(out, values, shift, strict=True):
        at = np.arange(len(own)) + by
        inside = (at >= 0) & (at < len(own))
        row[at[inside]] = own[inside]
    return out


def _back(flags: BoolArray, shift: npt.NDArray[np.int32]) -> BoolArray:
    """Flags by true rig frame, at the frames that the looks had, shape (camera, frame)."""
    at = np.arange(flags.shape[1]) + shift
    inside = (at >= 0) & (at < flags.shape[1])
    return np.asarray(np.take_along_axis(flags, np.where(inside, at, 0), axis=1) & inside)


def _mixed(grid: npt.NDArray[np.float16], shift: npt.NDArray[np.int32], beat: Interleave | None) -> BoolArray:
    """Pictures lit by two lights at the frames that the looks had, shape (camera, frame)."""
    if beat is None:
        return np.zeros(shift.shape, bool)

    def of_camera(row: int) -> BoolArray:
        own, by = grid[row : row + 1], shift[row : row + 1]
        return _back(find_mixed(_in_step(own, by), beat), by)

    with ThreadPoolExecutor(THREADS) as pool:
        return np.concatenate(list(pool.map(of_camera, range(len(grid)))))


def _kinds(dark: BoolArray, beat: Interleave | None) -> npt.NDArray[np.uint8]:
    """Codes of flat, dark and other frames, shape (frame,)."""
    kind = np.where(dark, np.uint8(KIND_CODES["dark"]), np.uint8(KIND_CODES["hdri"]))
    if beat is not None:
        kind[beat.flat] = KIND_CODES["flat"]
    return kind


def _changed(levels: npt.NDArray[np.float32], beat: Interleave | None) -> BoolArray:
    if beat is None:
        return np.zeros(levels.shape[1], bool)
    distance = over_cameras(light_distance(levels, beat.period))
    return np.asarray(distance > APART * beat.spread)  # NaN is not


def _duplicates(fingerprint: npt.NDArray[np.uint32], change: FloatArray, beat: Interleave | None) -> BoolArray:
    """Pictures that are the one before once more: equal codes, or, where lights alternate, no change at all."""
    out = np.zeros(fingerprint.shape, bool)
    out[:, 1:] = (fingerprint[:, 1:] == fingerprint[:, :-1]) & (fingerprint[:, 1:] > 0)
    if beat is None:
        return out
    least = np.array([np.nanquantile(row, 0.1) if np.isfinite(row).any() else 0 for row in change])
    alternates = least > APART * beat.spread
    return np.asarray(out | (alternates[:, None] & (change < REPEATED * beat.spread)))


def _by_camera(cameras: tuple[str, ...], flags: BoolArray) -> dict[str, list[int]]:
    return {id: np.flatnonzero(row).tolist() for id, row in zip(cameras, flags, strict=True) if row.any()}

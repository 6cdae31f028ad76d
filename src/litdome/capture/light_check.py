"""What was lit when, by the pixels alone; and where a lighting schedule says otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from litdome.capture.banding import find_mixed
from litdome.capture.interleave import (
    APART,
    FloatArray,
    Interleave,
    block_levels,
    find_interleave,
    light_distance,
    seen_frames,
)
from litdome.capture.light_align import SURE, align_cameras, find_steps
from litdome.capture.looks import Looks
from litdome.capture.schedule import StageLighting
from litdome.errors import InputError
from litdome.lighting import KIND_CODES, LightingSchedule

CONFIDENT = 0.8  # below, pixels contradict nobody
LONGEST_SHIFT = 8  # frames between cameras that clocks have brought in step already
LONGEST_LATE = 40  # frames by which a schedule is searched for a shift
FLAT_MISFIT, LIGHTS_MISFIT = 0.02, 0.05  # shares of frames that a shift of the schedule may leave unexplained
DARK_LEVEL = 0.03  # of white, in the brightest blocks of the brightest camera
REPEATED = 0.1  # of the spread of the flat light: noise alone differs more
NAMED = 8  # frames that an error lists
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


@dataclass(frozen=True)
class Contradiction:
    """Where a lighting schedule and the pixels disagree.

    Attributes:
        frames: Rig frames, rising.
        late: Frames by which the schedule is late (below 0: early) from the first of them on; None: no such shift.
        certain: The changes of light tell this shift from others about as small.
        what: ``flat``: frames that are flat in one and not in the other; ``lights``: HDRIs that change at other frames.
    """

    frames: tuple[int, ...]
    late: int | None
    what: Literal["flat", "lights"]
    certain: bool = True

    def message(self, source: str) -> str:
        """One line for the error; ``source`` names the schedule."""
        some = ", ".join(map(str, self.frames[:NAMED])) + (", ..." if len(self.frames) > NAMED else "")
        noun = "frame" if abs(self.late or len(self.frames)) == 1 else "frames"
        if self.late:
            side = "late" if self.late > 0 else "early"
            return (
                f"{source} is {abs(self.late)} {noun} {side} from frame {self.frames[0]} on, by the pictures ({some})"
            )
        return f"{source} and the pictures disagree in {len(self.frames)} {noun}: {some}"


def estimate_light(looks: Looks) -> LightEstimate:
    """Find the beat of the light, cameras out of step, lost and repeated pictures, and mixed light.

    Args:
        looks: Of all cameras, by rig frame as the clocks say; NaN where absent.

    Returns:
        The estimate; without a beat (constant light, light without order, a take too short) its confidence is 0.
    """
    levels = block_levels(looks.grid)
    aligned = align_cameras(levels, min(LONGEST_SHIFT, max(looks.frames // 4, 1)))
    sure = (aligned.chance >= SURE) & np.isfinite(levels[..., 0])
    shift = _held(aligned.shift, sure)
    in_step = _in_step(levels, shift)
    beat = find_interleave(in_step)
    drops = {id: find_steps(aligned, row) for row, id in enumerate(looks.cameras)}
    if beat is not None and len(looks.cameras) == 1:
        drops[looks.cameras[0]] = beat.jumps
    none = np.zeros(looks.grid.shape[:2], bool)
    confident = beat is not None and beat.confidence >= CONFIDENT
    mixed = _back(find_mixed(_in_step(looks.grid, shift), beat), shift) if beat is not None and confident else none
    return LightEstimate(
        cameras=looks.cameras,
        beat=beat,
        kind=_kinds(in_step, beat),
        changed=_changed(in_step, beat),
        seen=seen_frames(in_step),
        shift=shift,
        sure=sure,
        drops=drops,
        mixed=mixed,
        duplicates=_duplicates(looks, levels, beat if confident else None),
    )


def compare(schedule: LightingSchedule, estimate: LightEstimate) -> Contradiction | None:
    """Frames in which a schedule says flat and the pixels do not, or the other way round.

    Frames that no camera has, or that are mixed in half of the cameras, are left out; so is everything where the
    estimate is not confident. Where the flat frames agree, the changes of the other lights are compared: a schedule
    that is late by whole periods shows there.
    """
    if estimate.beat is None or estimate.confidence < CONFIDENT:
        return None
    frames = min(len(schedule.kind), len(estimate.kind))
    said = schedule.kind[:frames] == KIND_CODES["flat"]
    flat = estimate.kind[:frames] == KIND_CODES["flat"]
    told = estimate.seen[:frames] & (estimate.mixed[:, :frames].mean(axis=0) < 0.5)
    differ = np.flatnonzero((said != flat) & told)
    changes = _said_changes(schedule, estimate.beat.period)[:frames]
    changed = estimate.changed[:frames] & ~flat
    if len(differ):
        after = (told & (said | flat))[differ[0] :].sum()
        fits = _late(said, flat, changes, changed, told, int(differ[0])) if len(differ) > after / 5 else []
        late = fits[0] if fits else None
        certain = len(fits) < 2 or abs(fits[1]) > abs(fits[0]) + 1  # else as likely early as late
        return Contradiction(tuple(map(int, differ)), late, "flat", certain)
    return _late_lights(changes, changed, told & ~flat, estimate.beat.period)


def lighting_by_pixels(estimate: LightEstimate, lighting: StageLighting | None) -> StageLighting:
    """What was lit by the pixels, with the HDRIs of a schedule where it can be brought in line.

    Args:
        estimate: Of the pictures.
        lighting: A schedule that contradicts them; None: there is none. HDRIs that it gives to flat frames, and all
            HDRIs where its shift is not certain, stay unknown.

    Raises:
        InputError: The pixels do not tell which frames are flat.
    """
    if estimate.beat is None or estimate.confidence < CONFIDENT:
        raise InputError(
            f"the flat frames cannot be told by looking: confidence {estimate.confidence:.2f} (needs {CONFIDENT})",
            hint="write lights.csv",
        )
    kind = estimate.kind.copy()
    hdri, pattern = np.full(len(kind), -1, np.int32), np.full(len(kind), -1, np.int32)
    if lighting is None:
        return StageLighting(LightingSchedule(kind, hdri, ()), pattern)
    schedule, found = lighting.schedule, compare(lighting.schedule, estimate)
    at = np.arange(len(kind))
    if found is not None and found.late is not None and found.certain:
        at[0 if found.what == "lights" else found.frames[0] :] += found.late
    inside = (at >= 0) & (at < len(schedule.kind))
    at = np.clip(at, 0, len(schedule.kind) - 1)
    usable = inside & (kind != KIND_CODES["flat"]) & (schedule.kind[at] != KIND_CODES["flat"])
    kind[usable], hdri[usable], pattern[usable] = (
        schedule.kind[at][usable],
        schedule.hdri[at][usable],
        lighting.pattern[at][usable],
    )
    return StageLighting(LightingSchedule(kind, hdri, schedule.entries), pattern)


def _late(
    said: BoolArray, flat: BoolArray, changes: BoolArray, changed: BoolArray, told: BoolArray, first: int
) -> list[int]:
    """Shifts of a schedule from a frame on that explain the flat frames, and the changes of light about as well as any.

    The smallest first.
    """
    frames = np.arange(first, len(said))
    fits: dict[int, float] = {}
    for late in sorted(range(-LONGEST_LATE, LONGEST_LATE + 1), key=lambda late: (abs(late), -late)):
        inside = frames[(frames + late >= 0) & (frames + late < len(said)) & told[frames]]
        if late == 0 or len(inside) < len(frames) / 2 or len(inside) < 4:
            continue
        if (said[inside + late] != flat[inside]).mean() <= FLAT_MISFIT:
            fits[late] = float((changes[inside + late] != changed[inside]).mean())
    return [late for late, misfit in fits.items() if misfit <= min(fits.values()) + LIGHTS_MISFIT]


def _said_changes(schedule: LightingSchedule, period: int) -> BoolArray:
    out = np.zeros(len(schedule.kind), bool)
    relit = schedule.kind == KIND_CODES["hdri"]
    out[period:] = (schedule.hdri[period:] != schedule.hdri[:-period]) & relit[period:] & relit[:-period]
    return out


def _late_lights(changes: BoolArray, changed: BoolArray, told: BoolArray, period: int) -> Contradiction | None:
    """HDRIs that change whole periods earlier or later than the schedule says, while they are held for several."""
    differ = np.flatnonzero((changes != changed) & told)
    if len(differ) < 3 or len(differ) < 0.1 * changes.sum() or changes.sum() > 0.7 * told.sum():
        return None
    for late in (sign * n * period for n in range(1, LONGEST_LATE // period + 1) for sign in (1, -1)):
        frames = np.flatnonzero(told)
        frames = frames[(frames + late >= period) & (frames + late < len(changes))]
        if len(frames) >= told.sum() / 2 and (changes[frames + late] != changed[frames]).sum() <= 0.1 * len(differ):
            return Contradiction(tuple(map(int, differ)), late, "lights")
    return None


def _held(shift: npt.NDArray[np.int32], sure: BoolArray) -> npt.NDArray[np.int32]:
    """Shifts where they are told, held in between; 0 in a camera where they never are."""
    frames = np.arange(shift.shape[1])
    last = np.maximum.accumulate(np.where(sure, frames, -1), axis=1)
    first = sure.argmax(axis=1).reshape(-1, 1)
    held = np.take_along_axis(shift, np.where(last < 0, first, last), axis=1)
    held[~sure.any(axis=1)] = 0
    return held


def _in_step(values: npt.NDArray[Any], shift: npt.NDArray[np.int32]) -> npt.NDArray[Any]:
    """Levels or grids by true rig frame, shape (camera, frame, ...); what moves beyond the ends is left out."""
    if not shift.any():
        return values
    out = np.full_like(values, np.nan)
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


def _kinds(levels: npt.NDArray[np.float32], beat: Interleave | None) -> npt.NDArray[np.uint8]:
    """Codes of flat, dark and other frames, shape (frame,)."""
    seen = seen_frames(levels)
    brightest = np.zeros(levels.shape[1], np.float32)
    top = np.sort(levels, axis=-1)[..., -3]  # a lamp in the picture is no light on the stage
    brightest[seen] = np.nanmax(top[:, seen], axis=0)
    kind = np.full(levels.shape[1], KIND_CODES["hdri"], np.uint8)
    kind[seen & (brightest < DARK_LEVEL)] = KIND_CODES["dark"]
    if beat is not None:
        kind[beat.flat] = KIND_CODES["flat"]
    return kind


def _changed(levels: npt.NDArray[np.float32], beat: Interleave | None) -> BoolArray:
    if beat is None:
        return np.zeros(levels.shape[1], bool)
    distance = light_distance(levels, beat.period)
    seen = np.isfinite(distance).any(axis=0)
    out = np.zeros(levels.shape[1], bool)
    out[seen] = np.nanmedian(distance[:, seen], axis=0) > APART * beat.spread
    return out


def _duplicates(looks: Looks, levels: npt.NDArray[np.float32], beat: Interleave | None) -> BoolArray:
    """Pictures that are the one before once more: equal codes, or, where lights alternate, no change at all."""
    out = np.zeros(looks.fingerprint.shape, bool)
    out[:, 1:] = (looks.fingerprint[:, 1:] == looks.fingerprint[:, :-1]) & (looks.fingerprint[:, 1:] > 0)
    if beat is None:
        return out
    change: FloatArray = light_distance(levels, 1)
    least = np.array([np.nanquantile(row, 0.1) if np.isfinite(row).any() else 0 for row in change])
    alternates = least > APART * beat.spread
    return np.asarray(out | (alternates[:, None] & (change < REPEATED * beat.spread)))


def _by_camera(cameras: tuple[str, ...], flags: BoolArray) -> dict[str, list[int]]:
    return {id: np.flatnonzero(row).tolist() for id, row in zip(cameras, flags, strict=True) if row.any()}

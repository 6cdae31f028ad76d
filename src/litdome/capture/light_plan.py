"""What is taken for lit when: the schedule's word, checked against the pixels, or theirs where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from litdome.capture.clock import NO_FRAME, RigClock, Trust
from litdome.capture.light_check import LONGEST_SHIFT, LightEstimate, estimate_light
from litdome.capture.light_compare import compare, lighting_by_pixels
from litdome.capture.look_ahead import Source, look_at, look_windows
from litdome.capture.schedule import StageLighting
from litdome.errors import InputError
from litdome.lighting import LightingSchedule

LAST_FRAME = 10_000_000
OUTSIDE, NO_TIME_LISTED, SECOND, UNDECIDED = -1, -2, -3, -4
LEFT_OUT = {  # why a picture has no rig frame
    OUTSIDE: "outside the schedule",
    NO_TIME_LISTED: "without a time stamp",
    SECOND: "of a rig frame that had one already",
    UNDECIDED: "near a loss, which the light cannot place",
}
LONGEST_LOSS = 60  # frames; the search costs as much more
END = 16  # frames, in takes of 128 and more: a stretch of its own shift at an end must be as long to be believed
EDGE = 2  # frames before a loss that the light places with less certainty than it claims
RigFrames = dict[str, npt.NDArray[np.int32]]


@dataclass(frozen=True, eq=False)
class LightPlan:
    """What is lit when, and where each picture belongs.

    Attributes:
        lighting: What was lit at each rig frame.
        source: Where that comes from, in words.
        rig_frames: Rig frame of each picture by camera, shape (picture,), int32; a key of `LEFT_OUT`: not stored.
        warnings: What a user should know.
    """

    lighting: StageLighting
    source: str
    rig_frames: RigFrames
    warnings: tuple[str, ...]


def light_by_schedule(
    lighting: StageLighting, name: str, sources: Sequence[Source], clock: RigClock, trust: Trust | None
) -> LightPlan:
    """The schedule as written, after a look at whether the pictures agree; with ``pixels``, the schedule set right.

    Raises:
        InputError: The pictures contradict the schedule, or a camera is out of step, and ``trust`` does not decide.
    """
    frames = len(lighting.pattern)
    placed = {source.camera.id: place_pictures(clock, source, frames) for source in sources}
    longest = _longest_shift(sources, clock)
    if trust == "pixels":
        return _set_right(lighting, name, sources, placed, frames, longest)
    warnings: list[str] = []
    for start, stop in look_windows(frames):
        looks = look_at(sources, placed, start, stop)
        window = LightingSchedule(lighting.schedule.kind[start:stop], lighting.schedule.hdri[start:stop], ())
        need_agreement(window, estimate_light(looks, longest), name, start, trust, warnings)
        if warnings:
            break
    return LightPlan(lighting, name, placed, tuple(warnings))


def light_by_pixels(sources: Sequence[Source], clock: RigClock) -> LightPlan:
    """The light of a take without a schedule, with cameras brought in step by the light that they saw.

    Raises:
        InputError: The pixels do not tell which frames are flat.
    """
    placed = {source.camera.id: place_pictures(clock, source, LAST_FRAME) for source in sources}
    frames = max(int(found.max(initial=-1)) for found in placed.values()) + 1
    longest = _longest_shift(sources, clock)
    room = frames + min(longest, frames // 4)  # pictures were lost: the take is longer than any file
    plan = _set_right(None, "no lights.csv: the light was found by looking", sources, placed, room, longest)
    last = max(int(found.max(initial=0)) for found in plan.rig_frames.values()) + 1
    schedule = plan.lighting.schedule
    short = LightingSchedule(schedule.kind[:last], schedule.hdri[:last], schedule.entries)
    warnings = (*plan.warnings, "no lights.csv: the HDRIs of the relit frames are unknown")
    return replace(plan, lighting=StageLighting(short, plan.lighting.pattern[:last]), warnings=warnings)


def need_agreement(
    schedule: LightingSchedule,
    estimate: LightEstimate,
    name: str,
    start: int,
    trust: Trust | None,
    warnings: list[str],
) -> None:
    """Refuse a schedule that the pixels contradict, and cameras out of step; with ``file`` they become warnings.

    Args:
        schedule: From rig frame ``start`` on.
        estimate: Of the same frames.
        name: Of the schedule.
        start: Rig frame of the first of them.
        trust: What the user trusts.
        warnings: Takes what is trusted all the same.

    Raises:
        InputError: Says which frames, or which camera from which frame on.
    """
    found = compare(schedule, estimate)
    there = found and replace(found, frames=tuple(start + frame for frame in found.frames))
    texts = [there.message(name)] if there else []
    texts += _out_of_step(estimate, start)
    if texts and trust not in ("file", "pixels"):
        raise InputError(texts[0], hint="--trust pixels sets it right, --trust file takes it as it is")
    warnings += [f"{text}; taken as it is" for text in texts]


def place_pictures(clock: RigClock, source: Source, frames: int) -> npt.NDArray[np.int32]:
    """Rig frame of each picture, shape (picture,); a key of `LEFT_OUT` where it has none."""
    found = clock.rig_frames(source.camera.id, len(source.index))
    return _once(np.where(found == NO_FRAME, NO_TIME_LISTED, np.where(found < 0, OUTSIDE, found)), frames)


def _longest_shift(sources: Sequence[Source], clock: RigClock) -> int:
    """Frames by which a camera may be off: a few where clocks tell the time, else what a camera has fewer pictures."""
    counts = [len(source.index) for source in sources]
    return LONGEST_SHIFT if clock.times else min(LONGEST_LOSS, max(counts) - min(counts) + LONGEST_SHIFT)


def _once(frames: npt.NDArray[np.int64], end: int) -> npt.NDArray[np.int32]:
    """Rig frames below ``end``, each for the first picture that has it; keys of `LEFT_OUT` stay."""
    first = np.zeros(len(frames), bool)
    first[np.unique(frames, return_index=True)[1]] = True
    placed = np.where(frames < end, np.where(first, frames, SECOND), OUTSIDE)
    return np.where(frames < 0, frames, placed).astype(np.int32)


def _set_right(
    lighting: StageLighting | None,
    name: str,
    sources: Sequence[Source],
    placed: RigFrames,
    frames: int,
    longest: int,
) -> LightPlan:
    """What the pixels say: cameras in step, flat frames where they are."""
    estimate = estimate_light(look_at(sources, placed, 0, frames), longest)
    found = None if lighting is None else compare(lighting.schedule, estimate)
    right = lighting_by_pixels(estimate, lighting)
    warnings = [f"{text}; brought in step" for text in _out_of_step(estimate, 0)]
    in_step: RigFrames = {}
    rows = zip(placed.items(), estimate.shift, _undecided(estimate), strict=True)
    for (id, own), shift, undecided in rows:
        at = np.maximum(own, 0)
        moved = np.maximum(own + shift[at], OUTSIDE)
        in_step[id] = _once(np.where(own < 0, own, np.where(undecided[at], UNDECIDED, moved)), frames)
    if found is not None:
        warnings.append(f"{found.message(name)}; the pictures are trusted")
    if estimate.beat is not None:
        name += f", flat every {estimate.beat.period} frames, confidence {estimate.confidence:.2f}"
    return LightPlan(right, name, in_step, tuple(warnings))


def _undecided(estimate: LightEstimate) -> npt.NDArray[np.bool_]:
    """Frames that cannot be placed, (camera, frame): between two of different shifts, just before, and cut-off ends."""
    frames = np.arange(estimate.shift.shape[1])
    following = np.minimum.accumulate(np.where(estimate.sure, frames, len(frames))[:, ::-1], axis=1)[:, ::-1]
    after = np.take_along_axis(estimate.shift, np.minimum(following, len(frames) - 1), axis=1)
    undecided = (following < len(frames)) & (after != estimate.shift)
    for _ in range(EDGE):
        undecided[:, :-1] |= undecided[:, 1:]
    end = min(END, undecided.shape[1] // 8)
    for row, shift in zip(undecided, estimate.shift, strict=True):
        steps = np.flatnonzero(np.diff(shift)) + 1
        if len(steps) and steps[0] < end:
            row[: steps[0]] = True
        if len(steps) and len(shift) - steps[-1] < end:
            row[steps[-1] :] = True
    return np.asarray(undecided)


def _out_of_step(estimate: LightEstimate, start: int) -> list[str]:
    """A line for each camera whose pictures show another light than the others' of the same rig frame."""
    texts = []
    for id, shift in zip(estimate.cameras, estimate.shift, strict=True):
        steps = np.flatnonzero(np.diff(shift, prepend=0))
        if len(steps):
            by = int(shift[steps[0]])
            count = f"{abs(by)} frame" + ("" if abs(by) == 1 else "s")
            more = f", and changes {len(steps) - 1} more times" if len(steps) > 1 else ""
            side = "ahead" if by > 0 else "behind"  # who lost pictures is ahead of the others' count
            texts.append(f"camera {id}: by its light, it is {count} {side} from rig frame {start + steps[0]} on{more}")
    return texts

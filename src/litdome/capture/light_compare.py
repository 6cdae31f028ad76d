"""Where a lighting schedule says otherwise than the pixels, and what then holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from litdome.capture.light_check import CONFIDENT, LightEstimate
from litdome.capture.schedule import StageLighting
from litdome.errors import InputError
from litdome.lighting import KIND_CODES, LightingSchedule

LONGEST_LATE = 40  # frames by which a schedule is searched for a shift
FLAT_MISFIT, LIGHTS_MISFIT = 0.02, 0.05  # shares of frames that a shift of the schedule may leave unexplained
NAMED = 8  # frames that an error lists
BoolArray = npt.NDArray[np.bool_]


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

"""Which rig frame a decoded picture is, by time stamps and frame offsets; a clock that cannot be right is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from litdome.capture.csv_rows import LAST_FRAME, read_rows, shown, whole_number
from litdome.capture.recording import CameraSource
from litdome.errors import InputError
from litdome.media.index import SourceIndex
from litdome.media.timecode import timecode_seconds

TimesArray = npt.NDArray[np.int64]
Trust = Literal["timestamps", "offset", "file", "pixels"]
NO_TIME = NO_FRAME = np.iinfo(np.int64).min
COLUMNS = ("camera", "frame", "time_ns")
LAST_NS = 2**62  # the year 2116, and far from overflow
MAX_CONTRADICTION_FRAMES = 0.5
MAX_DRIFT_FRAMES = 0.5  # over the take; more, and pictures land on their neighbours' rig frames
MIN_OVERLAP = 0.5  # of the shorter one's time
MAX_LATE_NS = 10**9  # that a camera may start apart from all others without its clock being in doubt
GAP_TOLERANCE = 0.25  # a gap between pictures is so near to whole frames
HALF_DAY_NS, DAY_NS = 43_200 * 10**9, 86_400 * 10**9


@dataclass(frozen=True)
class RigClock:
    """Maps decoded pictures to rig frames.

    Attributes:
        t0_ns: Time of rig frame 0.
        fps: Rig frames per second.
        starts: Rig frame of each camera's decoded picture 0, for cameras without time stamps or with trusted offsets.
        times: Time of each decoded picture by camera, shape (decoded,), ns; `NO_TIME` where none is listed.
    """

    t0_ns: int
    fps: float
    starts: Mapping[str, int]
    times: Mapping[str, TimesArray]

    def rig_frames(self, camera: str, pictures: int) -> npt.NDArray[np.int64]:
        """Rig frame of a camera's decoded pictures, shape (picture,); `NO_FRAME` where its time is not listed."""
        if camera not in self.times:
            return np.arange(pictures) + self.starts.get(camera, 0)
        times = np.full(pictures, NO_TIME, np.int64)
        listed = self.times[camera][:pictures]
        times[: len(listed)] = listed
        known = times != NO_TIME
        origin, start = self.t0_ns, 0
        if camera in self.starts:
            every = self.times[camera]
            origin, start = int(every[every != NO_TIME][0]), self.starts[camera]
        frames = np.full(pictures, NO_FRAME, np.int64)
        frames[known] = start + np.floor((times[known] - origin) * self.fps / 1e9 + 0.5).astype(np.int64)
        return frames

    def frame_times(self, frames: int) -> TimesArray:
        """Nominal time of rig frames 0.., shape (frame,), ns."""
        return self.t0_ns + np.round(np.arange(frames) * 1e9 / self.fps).astype(np.int64)


def read_timestamps(file: Path) -> dict[str, TimesArray]:
    """Read timestamps.csv (camera, frame, time_ns).

    Returns:
        By camera, the time of each decoded picture, shape (decoded,), ns; `NO_TIME` where none is listed.

    Raises:
        InputError: Not such a table, a number is wrong, a picture is listed twice, or time does not rise (names the
            line), or nothing is listed.
    """
    listed: dict[str, dict[int, int]] = {}
    for where, row in read_rows(file, COLUMNS, COLUMNS):
        camera, frame = row["camera"], whole_number(where, "frame", row["frame"], LAST_FRAME)
        if not camera or not camera.isprintable():
            raise InputError(f"{where}: camera is {shown(camera)}")
        times = listed.setdefault(camera, {})
        if frame in times:
            raise InputError(f"{where}: camera {shown(camera)} frame {frame} is listed twice")
        times[frame] = whole_number(where, "time_ns", row["time_ns"], LAST_NS)
    if not listed:
        raise InputError(f"{file}: no times in it", hint="fill it, or delete it: frames are then counted")
    return {camera: _times_array(file, camera, times) for camera, times in listed.items()}


def _times_array(file: Path, camera: str, listed: dict[int, int]) -> TimesArray:
    times = np.full(max(listed) + 1, NO_TIME, np.int64)
    times[list(listed)] = list(listed.values())
    known = np.flatnonzero(times != NO_TIME)
    falls = np.flatnonzero(np.diff(times[known]) <= 0)
    if len(falls):
        frame = int(known[falls[0] + 1])
        raise InputError(
            f"{file}: camera {shown(camera)} frame {frame}: its time does not rise", hint="check the clock"
        )
    return times


def times_from_container(
    sources: Mapping[str, SourceIndex], fps: float, offsets: Mapping[str, int] | None = None
) -> dict[str, TimesArray]:
    """Times that the files themselves carry, where there is no timestamps.csv.

    Args:
        sources: The index of each camera's source.
        fps: Rig frames per second.
        offsets: Rig frame of each camera's picture 0 where recording.toml says one, else 0; timecode needs none.

    Returns:
        With SMPTE timecode in all sources: times since midnight. Else, where presentation times leave out whole frames
        in some source: times since the start of the take, for all. Else nothing: pictures are to be counted.

    Raises:
        InputError: A timecode that cannot be at this rate (names the camera).
    """
    if sources and all(index.timecode for index in sources.values()):
        return _timecode_times(sources, fps)
    counted = {id: _elapsed_ns(index, fps) for id, index in sources.items()}
    if not any(_leaves_out_frames(times, fps) for times in counted.values()):
        return {}
    starts = {id: round((offsets or {}).get(id, 0) * 1e9 / fps) for id in sources}
    lowest = min(starts.values())
    return {id: times + (starts[id] - lowest) for id, times in counted.items()}


def _elapsed_ns(index: SourceIndex, fps: float) -> TimesArray:
    if index.times_ns is None or not len(index):
        return np.round(np.arange(len(index)) * 1e9 / fps).astype(np.int64)
    return np.asarray(index.times_ns - index.times_ns[0])


def _timecode_times(sources: Mapping[str, SourceIndex], fps: float) -> dict[str, TimesArray]:
    starts = {}
    for id, index in sources.items():
        try:
            starts[id] = round(timecode_seconds(index.timecode or "", fps) * 1e9)
        except InputError as error:
            raise InputError(f"camera {id}: {error.message}", hint="write timestamps.csv, or correct fps") from error
    latest = max(starts.values())
    after_midnight = {id: DAY_NS if latest - start > HALF_DAY_NS else 0 for id, start in starts.items()}
    return {id: starts[id] + after_midnight[id] + _elapsed_ns(index, fps) for id, index in sources.items()}


def _leaves_out_frames(times: TimesArray, fps: float) -> bool:
    """Whether pictures come at the rig's rate but for gaps of whole frames."""
    steps = np.diff(times) * fps / 1e9
    if len(steps) < 2 or abs(np.median(steps) - 1) > GAP_TOLERANCE:
        return False
    gaps = steps[steps > 1.5]
    return len(gaps) > 0 and bool((np.abs(gaps - np.round(gaps)) < GAP_TOLERANCE).all())


def make_clock(
    cameras: tuple[CameraSource, ...], fps: float, times: Mapping[str, TimesArray], trust: Trust | None = None
) -> RigClock:
    """Bring time stamps and frame offsets together.

    Rig frame = round((time - t0) * fps), t0 = the smallest over cameras of (first time - frame_offset / fps); without
    time stamps: decoded index + frame_offset.

    Args:
        cameras: With their offsets.
        fps: Rig frames per second.
        times: As `read_timestamps` or `times_from_container` gives.
        trust: What wins where both are given and disagree. ``timestamps``: the clocks are right, and cameras with a
            non-zero offset have no say in t0. ``offset``: a camera's first time counts as its offset, and a clock that
            runs off is set right; its later times only tell drops. Other words are not about clocks.

    Raises:
        InputError: A clock that cannot be right (names the camera, in frames and ms), or time stamps and offsets that
            differ by more than half a frame; ``trust`` decides.
    """
    offsets = {camera.id: camera.frame_offset or 0 for camera in cameras}
    times = {id: times[id] for id in offsets if id in times}
    if not times:
        return RigClock(0, fps, offsets, {})
    if trust not in ("timestamps", "offset"):
        starts_at = {id: round(offsets[id] * 1e9 / fps) for id in times}
        _need_right_clocks({id: found[found != NO_TIME] - starts_at[id] for id, found in times.items()}, fps)
    first = {id: int(found[found != NO_TIME][0]) for id, found in times.items()}
    undisputed = [id for id in first if offsets[id] == 0] if trust == "timestamps" else []
    starts = [first[id] - round(offsets[id] * 1e9 / fps) for id in undisputed or first]
    t0 = min(starts)
    untimed = {id: offset for id, offset in offsets.items() if id not in times}
    if trust == "offset":
        return RigClock(t0, fps, offsets, {id: _set_right(found, fps) for id, found in times.items()})
    if trust != "timestamps":
        _need_agreement(cameras, {id: (time - t0) * fps / 1e9 for id, time in first.items()})
    return RigClock(t0, fps, untimed, times)


def _need_right_clocks(known: Mapping[str, TimesArray], fps: float) -> None:
    """Refuse clocks that run faster or slower than the rig, and clocks that show another time of day."""
    rates = {id: _rate(found, fps) for id, found in known.items()}
    common = float(np.median(list(rates.values())))
    for id, found in known.items():
        frames = float(found[-1] - found[0]) * fps / 1e9
        drift = (rates[id] - 1) * frames
        if abs(drift) <= MAX_DRIFT_FRAMES:
            continue
        runs = f"runs off by {abs(drift):.1f} frames ({abs(drift) * 1000 / fps:.0f} ms) over the take"
        if len(rates) > 1 and abs(common - 1) * frames > MAX_DRIFT_FRAMES:
            raise InputError(
                f"time stamps against fps = {fps:g}: camera {id} {runs}; they say {fps / common:.4g} frames per second",
                hint=f"write fps = {fps / common:.6g} into recording.toml, or --trust timestamps",
            )
        raise InputError(
            f"camera {id}: its clock {runs}; {MAX_DRIFT_FRAMES} frames are allowed",
            hint="--trust offset sets it right by its frame_offset, --trust timestamps believes it",
        )
    _need_same_day(known, fps)


def _rate(times: TimesArray, fps: float) -> float:
    """Time that passes per rig frame, in frames; 1 for a right clock. Lost frames do not matter."""
    steps = np.diff(times) * fps / 1e9
    whole = np.maximum(np.round(steps), 1)
    return float(steps.sum() / whole.sum()) if len(steps) else 1.0


def _need_same_day(known: Mapping[str, TimesArray], fps: float) -> None:
    middle = float(np.median([float(found[0]) for found in known.values()]))
    for id in sorted(known, key=lambda id: abs(float(known[id][0]) - middle), reverse=True):
        others = [found for other, found in known.items() if other != id]
        if not others:
            return
        own = known[id]
        start, end = (int(np.median([found[edge] for found in others])) for edge in (0, -1))
        shorter = min(int(own[-1] - own[0]), end - start)
        apart = abs(int(own[0]) - start)
        if apart > MAX_LATE_NS and min(int(own[-1]), end) - max(int(own[0]), start) < MIN_OVERLAP * shorter:
            whom = "the others" if len(others) > 1 else f"camera {next(other for other in known if other != id)}"
            raise InputError(
                f"camera {id}: its clock is {'ahead of' if own[0] > start else 'behind'} {whom} by "
                f"{apart * fps / 1e9:.1f} frames ({apart / 1e6:.0f} ms)",
                hint="--trust offset starts each camera at its frame_offset, --trust timestamps believes the clock",
            )


def _set_right(times: TimesArray, fps: float) -> TimesArray:
    """Times of a clock that runs off, stretched to the rig's rate from the first one on."""
    known = times != NO_TIME
    first, rate = int(times[known][0]), _rate(times[known], fps)
    right = times.copy()
    right[known] = first + np.round((times[known] - first) / rate).astype(np.int64)
    return right


def _need_agreement(cameras: tuple[CameraSource, ...], starts: Mapping[str, float]) -> None:
    any_offset = any(camera.frame_offset for camera in cameras)  # then the others' 0 is a statement, too
    for camera in cameras:
        if camera.id not in starts or (camera.frame_offset is None and not any_offset):
            continue
        seen, said = starts[camera.id], camera.frame_offset or 0
        if abs(seen - said) > MAX_CONTRADICTION_FRAMES:
            raise InputError(
                f"camera {camera.id}: starts at rig frame {seen:.2f} by its time stamps, {said} by its frame_offset; "
                f"they may differ by {MAX_CONTRADICTION_FRAMES} frames",
                hint="--trust timestamps, or --trust offset",
            )

"""Which rig frame a decoded picture is, and which frames are flat when nobody wrote it down."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from litdome.capture.recording import CameraSource
from litdome.errors import InputError
from litdome.lighting import KIND_CODES

TimesArray = npt.NDArray[np.int64]
Trust = Literal["timestamps", "offset"]
NO_TIME = np.iinfo(np.int64).min
MAX_CONTRADICTION_FRAMES = 0.5
MIN_CONTRAST = 4.0  # relit against flat frames differ at least so much more than flat frames among themselves
MIN_LEAD = 2.0  # the best phase against the runner-up
LONGEST_PERIOD = 32


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

    def rig_frame(self, camera: str, decoded: int) -> int | None:
        """Rig frame of a camera's n-th decoded picture; None where time stamps exist but not for this picture."""
        if camera not in self.times:
            return decoded + self.starts.get(camera, 0)
        times = self.times[camera]
        if decoded >= len(times) or times[decoded] == NO_TIME:
            return None
        if camera in self.starts:
            first = int(times[times != NO_TIME][0])
            return self.starts[camera] + _round_frames(int(times[decoded]) - first, self.fps)
        return _round_frames(int(times[decoded]) - self.t0_ns, self.fps)

    def frame_times(self, frames: int) -> TimesArray:
        """Nominal time of rig frames 0.., shape (frame,), ns."""
        return self.t0_ns + np.round(np.arange(frames) * 1e9 / self.fps).astype(np.int64)


@dataclass(frozen=True)
class LightPhase:
    """Which frames are flat, found by looking.

    Attributes:
        kind: Shape (frame,), uint8: 1 flat, 2 hdri.
        period: Frames from flat to flat.
        phase: The first flat frame.
        confidence: 0..1; 1 - (score of the runner-up) / (score of this phase).
    """

    kind: npt.NDArray[np.uint8]
    period: int
    phase: int
    confidence: float


def _round_frames(time_ns: int, fps: float) -> int:
    return int(np.floor(time_ns * fps / 1e9 + 0.5))


def read_timestamps(file: Path) -> dict[str, TimesArray]:
    """Read timestamps.csv (camera, frame, time_ns).

    Returns:
        By camera, the time of each decoded picture, shape (decoded,), ns; `NO_TIME` where none is listed.

    Raises:
        InputError: A column or number is wrong, a picture is listed twice, or time does not rise (names the line).
    """
    listed: dict[str, dict[int, int]] = {}
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        for row in reader:
            where = f"{file} line {reader.line_num}"
            try:
                camera, frame, time_ns = row["camera"].strip(), int(row["frame"]), int(row["time_ns"])
            except (KeyError, ValueError, AttributeError, TypeError) as error:
                raise InputError(f"{where}: not camera,frame,time_ns ({error!r})") from error
            if frame < 0 or frame in listed.setdefault(camera, {}):
                raise InputError(f"{where}: camera {camera} frame {frame} is listed twice, or negative")
            listed[camera][frame] = time_ns
    return {camera: _times_array(file, camera, times) for camera, times in listed.items()}


def _times_array(file: Path, camera: str, listed: dict[int, int]) -> TimesArray:
    times = np.full(max(listed) + 1, NO_TIME, np.int64)
    times[list(listed)] = list(listed.values())
    known = np.flatnonzero(times != NO_TIME)
    falls = np.flatnonzero(np.diff(times[known]) <= 0)
    if len(falls):
        frame = int(known[falls[0] + 1])
        raise InputError(f"{file}: camera {camera} frame {frame}: its time does not rise", hint="check the clock")
    return times


def make_clock(
    cameras: tuple[CameraSource, ...], fps: float, times: Mapping[str, TimesArray], trust: Trust | None = None
) -> RigClock:
    """Bring time stamps and frame offsets together.

    Rig frame = round((time - t0) * fps), t0 = the smallest over cameras of (first time - frame_offset / fps); without
    time stamps: decoded index + frame_offset.

    Args:
        cameras: With their offsets.
        fps: Rig frames per second.
        times: As `read_timestamps` gives.
        trust: What wins where both are given and disagree. ``timestamps``: cameras with a non-zero offset have no say
            in t0. ``offset``: a camera's first time counts as its offset; later times only tell drops.

    Raises:
        InputError: Both are given and differ by more than half a frame (names the camera), and ``trust`` is None.
    """
    offsets = {camera.id: camera.frame_offset or 0 for camera in cameras}
    times = {id: times[id] for id in offsets if id in times}
    if not times:
        return RigClock(0, fps, offsets, {})
    first = {id: int(found[found != NO_TIME][0]) for id, found in times.items()}
    undisputed = [id for id in first if offsets[id] == 0] if trust == "timestamps" else []
    starts = [first[id] - round(offsets[id] * 1e9 / fps) for id in undisputed or first]
    t0 = min(starts)
    untimed = {id: offset for id, offset in offsets.items() if id not in times}
    if trust == "offset":
        return RigClock(t0, fps, offsets, times)
    if trust is None:
        _need_agreement(cameras, {id: (time - t0) * fps / 1e9 for id, time in first.items()})
    return RigClock(t0, fps, untimed, times)


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


def find_light_phase(mean_luma: npt.NDArray[np.floating]) -> LightPhase:
    """Find the flat frames of a regular interleave: they look alike, and unlike the frames between them.

    Args:
        mean_luma: Mean luma of every picture, shape (camera, frame), codes above 0; NaN where a frame is absent.

    Returns:
        The phase, with its confidence.

    Raises:
        InputError: Too few frames, or more than one phase (or none) explains the brightness.
    """
    frames = mean_luma.shape[1]
    if frames < 8:
        raise InputError(f"{frames} frames are too few to find the flat ones by looking", hint="write lights.csv")
    level = np.log(np.maximum(mean_luma, 1.0))
    candidates = [(p, first) for p in range(2, min(LONGEST_PERIOD, frames // 3) + 1) for first in range(p)]
    scores = [_contrast(level, *candidate) for candidate in candidates]
    close = max(max(scores) / MIN_LEAD, MIN_CONTRAST)
    # every second flat frame is regular, too: the shortest period among the good ones is the true one
    good = [n for n, score in enumerate(scores) if score >= close] or [int(np.argmax(scores))]
    best, (period, phase) = scores[good[0]], candidates[good[0]]
    rivals = [s for s, (p, first) in zip(scores, candidates, strict=True) if p % period or first % period != phase]
    second = max(rivals)
    if best < MIN_CONTRAST or best < MIN_LEAD * second:
        raise InputError(
            f"the flat frames cannot be told by looking: contrast {best:.1f} (needs {MIN_CONTRAST}), "
            f"{best / max(second, 1e-9):.1f} times the runner-up (needs {MIN_LEAD})",
            hint="write lights.csv",
        )
    kind = np.full(frames, KIND_CODES["hdri"], np.uint8)
    kind[phase::period] = KIND_CODES["flat"]
    return LightPhase(kind, period, phase, 1 - second / best)


def _contrast(level: npt.NDArray[np.floating], period: int, phase: int) -> float:
    """How much more the other frames differ from their flat neighbours than flat frames differ among themselves."""
    flat = level[:, phase::period]
    among = _distance(flat[:, 1:] - flat[:, :-1])
    others = np.setdiff1d(np.arange(level.shape[1]), np.arange(phase, level.shape[1], period))
    before = np.clip((others - phase) // period, 0, flat.shape[1] - 1)
    after = np.clip(before + 1, 0, flat.shape[1] - 1)
    apart = _distance(level[:, others] - (flat[:, before] + flat[:, after]) / 2)
    if not len(among) or not len(apart):
        return 0.0
    # the lower quartile: where one other frame in four looks flat, the period is a multiple of the true one
    return float(np.quantile(apart, 0.25) / (np.median(among) + 1e-3))


def _distance(difference: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Root mean square over the cameras that saw both frames, shape (n,); frames that none saw are left out."""
    seen = np.isfinite(difference)
    total = np.where(seen, difference, 0) ** 2
    count = seen.sum(axis=0)
    return np.asarray(np.sqrt(total.sum(axis=0)[count > 0] / count[count > 0]))

"""Look at a whole recording before anything is written: what will be ingested, or the error that says why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from litdome.capture.interleave import RigClock, Trust, find_light_phase, make_clock, read_timestamps
from litdome.capture.recording import CameraSource, Recording
from litdome.capture.schedule import StageLighting, read_lighting
from litdome.config import nearest
from litdome.errors import InputError, UsageError
from litdome.lighting import KIND_CODES, LightingSchedule
from litdome.media.hdr import read_hdr
from litdome.media.images import iter_source, probe_source, read_picture
from litdome.media.planes import CHROMA_STEPS, PictureCodes
from litdome.media.video import VideoProbe
from litdome.stage import StageConfig

FPS_TOLERANCE = 0.01


class IngestConfig(StageConfig):
    """Settings of ingest."""

    scale: float = Field(1.0, gt=0, le=1, description="stored size / recorded size")
    trust: Trust | None = Field(None, description="what wins where time stamps and frame offsets disagree")
    skip_cameras: tuple[str, ...] = Field((), description="cameras to leave out")


@dataclass(frozen=True, eq=False)
class IngestPlan:
    """What ingest will do, found without writing.

    Attributes:
        cameras: Those that are taken, sorted by id.
        probes: What each source holds.
        sizes: Stored (width, height) of each camera, px.
        fps: Rig frames per second.
        clock: Maps decoded pictures to rig frames.
        lighting: What was lit at each rig frame.
        light_source: Where `lighting` comes from, in words.
        warnings: What a user should know.
    """

    cameras: tuple[CameraSource, ...]
    probes: Mapping[str, VideoProbe]
    sizes: Mapping[str, tuple[int, int]]
    fps: float
    clock: RigClock
    lighting: StageLighting
    light_source: str
    warnings: tuple[str, ...]


def check_recording(recording: Recording, config: IngestConfig) -> IngestPlan:
    """Probe every camera, read the schedule, the time stamps, the HDRIs and the plates; write nothing.

    Raises:
        UsageError: ``skip_cameras`` names a camera that is not there.
        InputError: A camera is missing or undecodable (named), or the recording contradicts itself.
    """
    cameras = _taken_cameras(recording, config.skip_cameras)
    warnings = [f"camera {id}: skipped as asked" for id in sorted(set(config.skip_cameras))]
    probes = {camera.id: _probe(camera) for camera in cameras}
    fps = _fps(recording, probes, warnings)
    times = read_timestamps(recording.timestamps) if recording.timestamps else {}
    untimed = [camera.id for camera in cameras if times and camera.id not in times]
    warnings += [f"camera {id}: not in timestamps.csv; its frames are counted" for id in untimed]
    clock = make_clock(cameras, fps, times, config.trust)
    sizes = {id: _stored_size(probe, config.scale) for id, probe in probes.items()}
    for camera in cameras:
        _check_background(recording, camera.id, probes[camera.id])
    if recording.schedule is not None:
        lighting, light_source = read_lighting(recording.schedule, recording.hdris), recording.schedule.name
        _check_hdris(recording, lighting.schedule, warnings)
    else:
        lighting, light_source = _look(cameras, clock, warnings)
    if not (lighting.schedule.kind == KIND_CODES["flat"]).any():
        raise InputError(f"{recording.folder}: no flat frame in {light_source}", hint="correct the lighting schedule")
    return IngestPlan(cameras, probes, sizes, fps, clock, lighting, light_source, tuple(warnings))


def _taken_cameras(recording: Recording, skipped: tuple[str, ...]) -> tuple[CameraSource, ...]:
    ids = [camera.id for camera in recording.cameras]
    for id in skipped:
        if id not in ids:
            raise UsageError(f"{recording.folder}: no camera {id} to skip", hint=nearest(id, ids))
    taken = tuple(camera for camera in recording.cameras if camera.id not in skipped)
    if not taken:
        raise UsageError(f"{recording.folder}: all {len(ids)} cameras are skipped")
    return taken


def _probe(camera: CameraSource) -> VideoProbe:
    try:
        return probe_source(camera.source)
    except InputError as error:
        hint = f"copy the file again, or --skip-camera {camera.id}"
        raise InputError(f"camera {camera.id}: {error.message}", hint=hint) from error


def _fps(recording: Recording, probes: Mapping[str, VideoProbe], warnings: list[str]) -> float:
    claimed = {id: probe.fps for id, probe in probes.items() if probe.fps}
    fps = recording.fps or next(iter(claimed.values()), None)
    if fps is None:
        raise InputError(f"{recording.folder}: frames per second unknown", hint="write fps = 25.0 into recording.toml")
    warnings += [
        f"camera {id}: the file claims {found:g} frames per second, the recording {fps:g}"
        for id, found in claimed.items()
        if abs(found - fps) > FPS_TOLERANCE * fps
    ]
    return fps


def _stored_size(probe: VideoProbe, scale: float) -> tuple[int, int]:
    if scale == 1:
        return probe.width, probe.height
    rows, columns = CHROMA_STEPS.get(probe.subsampling, (1, 1))
    width, height = round(probe.width * scale / columns), round(probe.height * scale / rows)
    return max(1, width) * columns, max(1, height) * rows


def _check_background(recording: Recording, camera: str, probe: VideoProbe) -> None:
    path = recording.background(camera)
    if path is None:
        return
    height, width = read_picture(path).shape[:2]
    if (width, height) != (probe.width, probe.height):
        raise InputError(f"{path}: {width}x{height} px, camera {camera} is {probe.width}x{probe.height}")


def _check_hdris(recording: Recording, schedule: LightingSchedule, warnings: list[str]) -> None:
    for name in sorted({entry.name for entry in schedule.entries}):
        hdr = read_hdr(recording.hdris[name])
        height, width = hdr.shape[:2]
        if not np.isfinite(hdr).all() or hdr.max() <= 0:
            raise InputError(f"{recording.hdris[name]}: holds NaN or infinite values, or no light", hint="export again")
        if width != 2 * height:
            warnings.append(f"HDRI {name}: {width}x{height} px; a lat-long map is twice as wide as high")


def _look(cameras: tuple[CameraSource, ...], clock: RigClock, warnings: list[str]) -> tuple[StageLighting, str]:
    seen = [_mean_lumas(camera, clock) for camera in cameras]
    frames = max(max(levels, default=-1) for levels in seen) + 1
    mean_luma = np.full((len(cameras), frames), np.nan)
    for row, levels in zip(mean_luma, seen, strict=True):
        row[list(levels)] = list(levels.values())
    found = find_light_phase(mean_luma)
    none = np.full(frames, -1, np.int32)
    source = f"found by looking: flat every {found.period} frames from {found.phase}, confidence {found.confidence:.2f}"
    warnings.append(f"no lights.csv: {source}; the HDRIs of the relit frames are unknown")
    return StageLighting(LightingSchedule(found.kind, none, ()), none.copy()), source


def _mean_lumas(camera: CameraSource, clock: RigClock) -> dict[int, float]:
    """Mean level of each picture of a camera by rig frame, 0..255."""
    levels: dict[int, float] = {}
    for decoded, codes in enumerate(iter_source(camera.source)):
        frame = clock.rig_frame(camera.id, decoded)
        if frame is not None and frame >= 0:
            levels[frame] = _mean_level(codes)
    return levels


def _mean_level(codes: PictureCodes) -> float:
    picture = codes.picture[::4, ::4]
    top = 1.0 if picture.dtype == np.float16 else float(np.iinfo(picture.dtype).max)
    return float(picture.mean(dtype=np.float64)) * 255 / top

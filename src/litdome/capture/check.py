"""Look at a whole recording before anything is written: what will be ingested, or the error that says why not."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from litdome.capture.actions import PlannedAction, read_actions
from litdome.capture.blocks import block_length, stored_frames
from litdome.capture.clock import RigClock, Trust, make_clock, read_timestamps, times_from_container
from litdome.capture.light_plan import light_by_pixels, light_by_schedule
from litdome.capture.look_ahead import Source
from litdome.capture.recording import CameraSource, Recording
from litdome.capture.schedule import StageLighting, read_lighting
from litdome.compute import default_workers
from litdome.config import nearest
from litdome.errors import ConfigError, InputError, UsageError
from litdome.lighting import KIND_CODES, LightingSchedule
from litdome.media.images import probe_source, read_picture
from litdome.media.index import SourceIndex, index_source
from litdome.media.latlong import read_latlong
from litdome.media.planes import CHROMA_STEPS, PictureCodes, Region, cropped, need_region, scaled
from litdome.media.video import VideoProbe
from litdome.stage import StageConfig
from litdome.store.layout import Compression
from litdome.store.schema import SHARD_FRAMES

FPS_TOLERANCE = 0.01
CLOCK_TRUST, LIGHT_TRUST = ("timestamps", "offset"), ("file", "pixels")


class IngestConfig(StageConfig):
    """Settings of ingest."""

    scale: float = Field(1.0, gt=0, le=1, description="stored size / recorded size, after the crop")
    crop: Region | None = Field(None, description="x0, y0, x1, y1 of the recorded pictures to store, px, half-open")
    compression: Compression = Field("zstd-1", description="of the stored pictures")
    trust: tuple[Trust, ...] = Field((), description="what wins: file or pixels, and timestamps or offset")
    skip_cameras: tuple[str, ...] = Field((), description="cameras to leave out")
    block_frames: int = Field(1024, ge=16, description="rig frames in a unit of work, at least")

    @field_validator("trust", mode="before")
    @classmethod
    def _one_or_more(cls, value: object) -> object:
        return () if value is None else (value,) if isinstance(value, str) else value

    @field_validator("trust")
    @classmethod
    def _one_of_each(cls, value: tuple[Trust, ...]) -> tuple[Trust, ...]:
        if any(set(pair) <= set(value) for pair in (CLOCK_TRUST, LIGHT_TRUST)):
            raise ValueError("takes file or pixels, and timestamps or offset, one of each")
        return value

    @property
    def clock_trust(self) -> Trust | None:
        """What wins where times and offsets disagree."""
        return next((word for word in self.trust if word in CLOCK_TRUST), None)

    @property
    def light_trust(self) -> Trust | None:
        """What wins where the schedule and the pixels disagree."""
        return next((word for word in self.trust if word in LIGHT_TRUST), None)

    def recorded(self) -> dict[str, Any]:
        """As usual; who trusts the file gets the arrays of one whose file is right."""
        deciding = sorted(set(self.trust) - {"file"})
        return {**super().recorded(), "trust": deciding if len(deciding) > 1 else next(iter(deciding), None)}


@dataclass(frozen=True, eq=False)
class IngestPlan:
    """What ingest will do, found without writing.

    Attributes:
        cameras: Those that are taken, sorted by id.
        probes: What each source holds; a camera that is still being written has none, no index, and so on.
        indexes: Its pictures.
        sizes: Stored (width, height) of each camera, px.
        crop: Part of the recorded pictures that is stored, px; None: all.
        compression: Of the stored pictures.
        fps: Rig frames per second.
        rig_frames: Rig frame of each picture by camera, shape (picture,), int32; below 0: not stored.
        time_ns: Nominal time of each rig frame, ns.
        lighting: What was lit at each rig frame.
        light_source: Where `lighting` comes from, in words.
        block_length: Rig frames in a unit of work.
        warnings: What a user should know.
        actions: What the subject did when; empty: nobody says.
    """

    cameras: tuple[CameraSource, ...]
    probes: Mapping[str, VideoProbe]
    indexes: Mapping[str, SourceIndex]
    sizes: Mapping[str, tuple[int, int]]
    crop: Region | None
    compression: Compression
    fps: float
    rig_frames: Mapping[str, npt.NDArray[np.int32]]
    time_ns: npt.NDArray[np.int64]
    lighting: StageLighting
    light_source: str
    block_length: int
    warnings: tuple[str, ...]
    actions: tuple[PlannedAction, ...] = ()


def check_recording(recording: Recording, config: IngestConfig, waiting: frozenset[str] = frozenset()) -> IngestPlan:
    """Probe and index every camera, read the schedule, the time stamps, the HDRIs and the plates; write nothing.

    Args:
        recording: What to look at.
        config: Settings.
        waiting: Cameras whose files are still being written: they have their place in the plan, and nothing more.

    Raises:
        UsageError: ``skip_cameras`` names a camera that is not there.
        ConfigError: The crop is not inside a picture.
        InputError: A camera is missing or undecodable (named), or the recording contradicts itself.
    """
    cameras = _taken_cameras(recording, config.skip_cameras)
    warnings = [f"camera {id}: skipped as asked" for id in sorted(set(config.skip_cameras))]
    warnings += [f"{path}: not listed in recording.toml; left out" for path in recording.unlisted]
    here = tuple(camera for camera in cameras if camera.id not in waiting)
    with ThreadPoolExecutor(default_workers()) as pool:  # an index reads the whole file
        sources = list(pool.map(lambda camera: _examine(camera, recording.transfer), here))
    probes = {source.camera.id: source.probe for source in sources}
    indexes = {source.camera.id: source.index for source in sources}
    fps = _fps(recording, probes, warnings)
    clock = _clock(recording, cameras, indexes, fps, config, warnings)
    sizes = {id: stored_size(id, probe, config) for id, probe in probes.items()}
    actions = read_actions(recording.actions) if recording.actions else ()
    for camera in here:
        _check_background(recording, camera.id, probes[camera.id])
    if recording.schedule is not None:
        lighting = read_lighting(recording.schedule, recording.hdris)
        _check_hdris(recording, lighting.schedule, warnings)
        light = light_by_schedule(lighting, recording.schedule.name, sources, clock, config.light_trust)
    else:
        light = light_by_pixels(sources, clock)
    schedule, frames = light.lighting.schedule, len(light.lighting.pattern)
    if actions and actions[-1].end_frame > frames:
        warnings.append(f"actions.csv goes on to frame {actions[-1].end_frame}, the take ends at {frames}")
    if not (schedule.kind == KIND_CODES["flat"]).any():
        raise InputError(f"{recording.folder}: no flat frame in {light.source}", hint="correct the lighting schedule")
    return IngestPlan(
        cameras,
        probes,
        indexes,
        sizes,
        config.crop,
        config.compression,
        fps,
        light.rig_frames,
        clock.frame_times(frames),
        light.lighting,
        light.source,
        block_length(stored_frames(schedule), frames, shard=SHARD_FRAMES, at_least=config.block_frames),
        (*warnings, *light.warnings),
        actions,
    )


def _taken_cameras(recording: Recording, skipped: tuple[str, ...]) -> tuple[CameraSource, ...]:
    ids = [camera.id for camera in recording.cameras]
    for id in skipped:
        if id not in ids:
            raise UsageError(f"{recording.folder}: no camera {id} to skip", hint=nearest(id, ids))
    taken = tuple(camera for camera in recording.cameras if camera.id not in skipped)
    if not taken:
        raise UsageError(f"{recording.folder}: all {len(ids)} cameras are skipped")
    return taken


def _examine(camera: CameraSource, transfer: str | None) -> Source:
    try:
        probe, index = probe_source(camera.source), index_source(camera.source)
    except InputError as error:
        hint = f"copy the file again, or --skip-camera {camera.id}"
        raise InputError(f"camera {camera.id}: {error.message}", hint=hint) from error
    if probe.transfer in ("pq", "hlg") and transfer is None:
        hint = "export it as bt709, srgb, log3g10 or linear EXR, or name its transfer in recording.toml"
        raise InputError(f"camera {camera.id}: {camera.source} is {probe.transfer}, which no session holds", hint=hint)
    return Source(camera, probe, index)


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


def stored_size(camera: str, probe: VideoProbe, config: IngestConfig) -> tuple[int, int]:
    """(width, height) of a camera's stored pictures, px: cropped, then scaled to whole chroma samples.

    Raises:
        ConfigError: The crop is not inside the camera's pictures, or cuts through a chroma sample.
    """
    x0, y0, x1, y1 = config.crop or (0, 0, probe.width, probe.height)
    if config.crop is not None:
        try:
            need_region(config.crop, (probe.width, probe.height), probe.subsampling)
        except ConfigError as error:
            raise ConfigError(f"camera {camera}: {error.message}", hint=error.hint) from error
    if config.scale == 1:
        return x1 - x0, y1 - y0
    rows, columns = CHROMA_STEPS.get(probe.subsampling, (1, 1))
    width, height = round((x1 - x0) * config.scale / columns), round((y1 - y0) * config.scale / rows)
    return max(1, width) * columns, max(1, height) * rows


def _clock(
    recording: Recording,
    cameras: tuple[CameraSource, ...],
    indexes: Mapping[str, SourceIndex],
    fps: float,
    config: IngestConfig,
    warnings: list[str],
) -> RigClock:
    """From timestamps.csv, else from the containers, else by counting."""
    if recording.timestamps:
        times = read_timestamps(recording.timestamps)
        warnings += _timestamp_warnings(recording, indexes, times)
    else:
        offsets = {camera.id: camera.frame_offset or 0 for camera in cameras}
        times = times_from_container(indexes, fps, offsets)
        if times:
            warnings.append("no timestamps.csv: the times of the video files are used")
    return make_clock(cameras, fps, times, config.clock_trust)


def stored_picture(codes: PictureCodes, crop: Region | None, size: tuple[int, int], subsampling: str) -> PictureCodes:
    """A picture as it is stored: cropped, then scaled."""
    return scaled(codes if crop is None else cropped(codes, crop, subsampling), size, subsampling)


def _timestamp_warnings(
    recording: Recording, indexes: Mapping[str, SourceIndex], times: Mapping[str, npt.NDArray[np.int64]]
) -> list[str]:
    """Where timestamps.csv and the files do not list the same cameras and pictures."""
    untimed = [id for id in indexes if id not in times]
    unknown = sorted(set(times) - {camera.id for camera in recording.cameras})
    counts = [(id, len(times[id]), len(index)) for id, index in indexes.items() if id in times]
    return [
        *(f"camera {id}: not in timestamps.csv; its frames are counted" for id in untimed),
        *(f"timestamps.csv: no camera {id} in the recording; its times are left" for id in unknown),
        *(
            f"camera {id}: timestamps.csv lists {listed} pictures, the file holds {held}: taken to be the first ones"
            for id, listed, held in counts
            if listed != held
        ),
    ]


def _check_background(recording: Recording, camera: str, probe: VideoProbe) -> None:
    path = recording.background(camera)
    if path is None:
        return
    height, width = read_picture(path).shape[:2]
    if (width, height) != (probe.width, probe.height):
        raise InputError(f"{path}: {width}x{height} px, camera {camera} is {probe.width}x{probe.height}")


def _check_hdris(recording: Recording, schedule: LightingSchedule, warnings: list[str]) -> None:
    for name in sorted({entry.name for entry in schedule.entries}):
        warnings += read_latlong(recording.hdris[name], recording.hdri_convention)[1]

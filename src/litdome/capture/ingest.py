"""Ingest: a recording becomes a session; each camera is decoded once and written shard after shard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import ClassVar, cast

import cv2
import numpy as np
import numpy.typing as npt

from litdome.capture.check import IngestConfig, IngestPlan, check_recording
from litdome.capture.recording import CameraSource, Recording
from litdome.errors import InputError
from litdome.lighting import KIND_CODES, rotate_hdri
from litdome.media.hdr import read_hdr
from litdome.media.images import iter_source, read_picture
from litdome.media.planes import Codes, PictureCodes, chroma_shape
from litdome.media.video import VideoProbe
from litdome.pairs import PairTable, frames_of_kind, make_pairs
from litdome.stage import Kind, SessionLike, StageConfig, Summary, Unit

STORED_KINDS: dict[Kind, str] = {"flat": "flat", "relit": "hdri", "dark": "dark"}  # the store's word: the schedule's


class Ingest:
    """Copies a recording into a session: planes as decoded, the schedule, the pairs, the HDRIs."""

    name: ClassVar[str] = "ingest"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "copy a recording into a session"
    needs: ClassVar[tuple[str, ...]] = ()
    Config: ClassVar[type[StageConfig]] = IngestConfig

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self._plan: tuple[StageConfig, IngestPlan] | None = None

    def plan(self, config: StageConfig) -> IngestPlan:
        """`check_recording`, once per config (an `IngestConfig`)."""
        if self._plan is None or self._plan[0] != config:
            self._plan = (config, check_recording(self.recording, cast(IngestConfig, config)))
        return self._plan[1]

    def prepare(self, session: SessionLike, config: IngestConfig) -> list[Unit]:
        """Write everything small and create the picture arrays; one unit per camera."""
        plan = self.plan(config)
        session.set_attrs("", fps=plan.fps)
        _write_rig(session, plan)
        _write_schedule(session, plan)
        _write_hdris(session, plan, self.recording)
        for camera in plan.cameras:
            _create_pictures(session, plan, camera.id, self.recording)
            _write_background(session, plan, camera.id, self.recording)
        return [Unit(camera.id, 0, len(plan.lighting.pattern)) for camera in plan.cameras]

    def run(self, session: SessionLike, config: IngestConfig, unit: Unit) -> None:
        """Decode one camera and write its shards."""
        plan = self.plan(config)
        row = next(n for n, camera in enumerate(plan.cameras) if camera.id == unit.camera)
        camera = plan.cameras[row]
        present, notes = _copy_camera(session, plan, camera)
        session.write("schedule/present", row, present[None])
        session.set_attrs(_first_plane(plan, camera.id), notes=notes)

    def finish(self, session: SessionLike, config: IngestConfig) -> Summary:
        """Frames and drops per camera, warnings."""
        plan = self.plan(config)
        present = session.read("schedule/present")
        kinds = plan.lighting.schedule.kind
        stored = np.isin(kinds, [KIND_CODES[word] for word in STORED_KINDS.values()])
        warnings = list(plan.warnings)
        for n, camera in enumerate(plan.cameras):
            notes = session.array(_first_plane(plan, camera.id)).attrs["notes"]
            warnings += [f"camera {camera.id}: {note}" for note in notes]
            warnings += _absence_warnings(camera.id, np.flatnonzero(stored & ~present[n]))
        pairs = len(session.pairs)
        return {
            "cameras": [camera.id for camera in plan.cameras],
            "frames": len(kinds),
            "frames_present": [int(count) for count in (present & stored).sum(axis=1)],
            "frames_absent": [int(count) for count in (~present & stored).sum(axis=1)],
            "pairs": pairs,
            "relit_without_pair": int((kinds == KIND_CODES["hdri"]).sum()) - pairs,
            "pattern_frames_left": int((kinds == KIND_CODES["pattern"]).sum()),
            "lights": plan.light_source,
            "warnings": warnings,
        }


def _absence_warnings(camera: str, frames: npt.NDArray[np.intp]) -> list[str]:
    if not len(frames):
        return []
    some = ", ".join(str(frame) for frame in frames[:8]) + (", ..." if len(frames) > 8 else "")
    noun = "rig frame" if len(frames) == 1 else "rig frames"
    return [f"camera {camera}: {len(frames)} {noun} absent: {some}"]


def _write_rig(session: SessionLike, plan: IngestPlan) -> None:
    cameras = plan.cameras
    attrs = {
        "camera_ids": [camera.id for camera in cameras],
        "roles": [camera.role for camera in cameras],
        "models": ["pinhole5"] * len(cameras),
        "recorded_sizes": [[plan.probes[camera.id].width, plan.probes[camera.id].height] for camera in cameras],
        "calibration_sizes": [camera.calibration_size and list(camera.calibration_size) for camera in cameras],
        "calibration_fits": [camera.calibration_fit for camera in cameras],
    }
    sizes = np.array([plan.sizes[camera.id] for camera in cameras], np.int32)
    description = "width and height of the stored pictures"
    session.write_small("rig/size", sizes, ("camera", "axis"), unit="px", description=description, attrs=attrs)


def _write_schedule(session: SessionLike, plan: IngestPlan) -> None:
    schedule, frames = plan.lighting.schedule, len(plan.lighting.pattern)
    time_ns = plan.clock.frame_times(frames)
    entries = {"entries": [asdict(entry) for entry in schedule.entries], "source": plan.light_source}
    kind, hdri = schedule.kind, schedule.hdri
    session.write_small("schedule/kind", kind, ("frame",), description="0 dark, 1 flat, 2 hdri, 3 pattern")
    session.write_small("schedule/hdri", hdri, ("frame",), description="HDRI entry, -1 none", attrs=entries)
    session.write_small("schedule/pattern", plan.lighting.pattern, ("frame",), description="pattern, -1 none")
    session.write_small("schedule/time_ns", time_ns, ("frame",), unit="ns", description="start of exposure, nominal")
    session.create(
        "schedule/present",
        (len(plan.cameras), frames),
        bool,
        ("camera", "frame"),
        shard=None,
        chunk=(1, frames),
        description="whether the camera recorded the rig frame",
    )
    for stored, word in STORED_KINDS.items():
        found = frames_of_kind(schedule, word)
        session.write_small(f"frames/{stored}", found, (stored,), description="rig frame of each stored picture")
    _write_pairs(session, make_pairs(schedule, time_ns))


def _write_pairs(session: SessionLike, pairs: PairTable) -> None:
    described = {"gap_ms": ("ms", "from the flat to the relit frame"), "alpha": ("", "place between the flat frames")}
    for field, values in vars(pairs).items():
        unit, description = described.get(field, ("", "index; -1 none"))
        session.write_small(f"pairs/{field}", values, ("pair",), unit=unit, description=description)


def _write_hdris(session: SessionLike, plan: IngestPlan, recording: Recording) -> None:
    entries = plan.lighting.schedule.entries
    for entry in entries:
        hdr = rotate_hdri(read_hdr(recording.hdris[entry.name]), entry.rotation_deg, recording.hdri_convention)
        lit = (hdr * np.float32(entry.gain)).astype(np.float32)
        description = "scene-linear radiance, rotation and gain applied"
        session.write_small(f"hdris/{entry.entry}", lit, ("v", "u", "channel"), unit="1", description=description)
    if entries:
        session.set_attrs("hdris", names=[entry.entry for entry in entries])


def _write_background(session: SessionLike, plan: IngestPlan, camera: str, recording: Recording) -> None:
    path = recording.background(camera)
    if path is None:
        return
    plate = read_picture(path)
    if plate.dtype == np.uint16:
        plate = (plate >> 8).astype(np.uint8)
    plate = _resized(plate, plan.sizes[camera])
    attrs = {"source": "given", "file": path.name}
    described = {"unit": "code", "description": "clean plate under flat light, display-referred"}
    session.write_small(f"cameras/{camera}/background", plate, ("y", "x", "channel"), attrs=attrs, **described)


def _create_pictures(session: SessionLike, plan: IngestPlan, camera: str, recording: Recording) -> None:
    probe, (width, height) = plan.probes[camera], plan.sizes[camera]
    attrs = {
        "subsampling": probe.subsampling,
        "matrix": recording.matrix or probe.matrix,
        "range": recording.range or probe.range,
        "transfer": recording.transfer,
        "bits": probe.bits,
    }
    for kind, word in STORED_KINDS.items():
        count = len(frames_of_kind(plan.lighting.schedule, word))
        for plane, shape, dims in _plane_shapes(probe, width, height) if count else ():
            session.create(
                f"cameras/{camera}/{kind}/{plane}",
                (count, *shape),
                probe.dtype,
                ("n", *dims),
                shard=session.shard_frames,
                unit="code",
                description=f"{plane} as decoded",
                attrs=attrs,
            )


def _plane_shapes(probe: VideoProbe, width: int, height: int) -> list[tuple[str, tuple[int, ...], tuple[str, ...]]]:
    if probe.subsampling == "rgb":
        return [("rgb", (height, width, 3), ("y", "x", "channel"))]
    chroma = (2, *chroma_shape(height, width, probe.subsampling))
    return [("luma", (height, width), ("y", "x")), ("chroma", chroma, ("cbcr", "y2", "x2"))]


def _first_plane(plan: IngestPlan, camera: str) -> str:
    """The array whose attributes carry what decoding found; there is always a flat frame."""
    return f"cameras/{camera}/flat/{'rgb' if plan.probes[camera].subsampling == 'rgb' else 'luma'}"


def _copy_camera(
    session: SessionLike, plan: IngestPlan, camera: CameraSource
) -> tuple[npt.NDArray[np.bool_], list[str]]:
    """Decode a camera into its shards; which rig frames it holds, and what is worth a warning."""
    kinds, probe, size = plan.lighting.schedule.kind, plan.probes[camera.id], plan.sizes[camera.id]
    words = {KIND_CODES[word]: kind for kind, word in STORED_KINDS.items()}
    shards = {kind: _ShardBuffer(session, camera.id, kind, plan) for kind in STORED_KINDS}
    index_in_kind = {code: np.cumsum(kinds == code) - 1 for code in words}
    present = np.zeros(len(kinds), bool)
    notes: list[str] = []
    outside = untimed = twice = 0
    for decoded, codes in _decoded(camera, probe, notes):
        frame = plan.clock.rig_frame(camera.id, decoded)
        if frame is None:
            untimed += 1
        elif not 0 <= frame < len(kinds):
            outside += 1
        elif present[frame]:
            twice += 1
        else:
            present[frame] = True
            code = int(kinds[frame])
            if code in words:
                shards[words[code]].put(int(index_in_kind[code][frame]), _scaled(codes, size, probe.subsampling))
    for shard in shards.values():
        shard.close()
    counts = (
        (outside, "outside the schedule"),
        (untimed, "without a time stamp"),
        (twice, "of a rig frame had already"),
    )
    return present, notes + [f"{count} pictures {why}: left out" for count, why in counts if count]


def _decoded(camera: CameraSource, probe: VideoProbe, notes: list[str]) -> Iterator[tuple[int, PictureCodes]]:
    """The pictures of a camera; one that breaks off in the middle ends there, with a note."""
    count = 0
    try:
        for codes in iter_source(camera.source):
            if codes.size != (probe.width, probe.height) or codes.picture.dtype != probe.dtype:
                raise InputError(f"picture {count} is {codes.size} px {codes.picture.dtype}, unlike the first")
            yield count, codes
            count += 1
    except InputError as error:
        if not count:
            raise
        notes.append(error.message)


def _scaled(codes: PictureCodes, size: tuple[int, int], subsampling: str) -> PictureCodes:
    if codes.size == size:
        return codes
    if codes.luma is None or codes.chroma is None:
        return PictureCodes(rgb=_resized(codes.picture, size))
    rows, columns = chroma_shape(size[1], size[0], subsampling)
    chroma = np.stack([_resized(plane, (columns, rows)) for plane in codes.chroma])
    return PictureCodes(luma=_resized(codes.luma, size), chroma=chroma)


def _resized(plane: Codes, size: tuple[int, int]) -> Codes:
    if (plane.shape[1], plane.shape[0]) == size:
        return plane
    wide = plane.astype(np.float32) if plane.dtype == np.float16 else plane  # OpenCV has no half floats
    return np.asarray(cv2.resize(wide, size, interpolation=cv2.INTER_AREA)).astype(plane.dtype)


class _ShardBuffer:
    """Collects pictures of one camera and kind, in rising order, and writes each shard once; gaps are zero."""

    def __init__(self, session: SessionLike, camera: str, kind: Kind, plan: IngestPlan) -> None:
        self.session = session
        self.group = f"cameras/{camera}/{kind}"
        count = len(frames_of_kind(plan.lighting.schedule, STORED_KINDS[kind]))
        self.pending = session.shards(count)
        probe = plan.probes[camera]
        depth = min(session.shard_frames, count)
        shapes = _plane_shapes(probe, *plan.sizes[camera])
        self.buffers = {plane: np.zeros((depth, *shape), probe.dtype) for plane, shape, _ in shapes}

    def put(self, n: int, codes: PictureCodes) -> None:
        while n >= self.pending[0][1]:
            self._flush()
        start = self.pending[0][0]
        for plane, buffer in self.buffers.items():
            buffer[n - start] = getattr(codes, plane)

    def close(self) -> None:
        while self.pending:
            self._flush()

    def _flush(self) -> None:
        start, stop = self.pending.pop(0)
        for plane, buffer in self.buffers.items():
            self.session.write(f"{self.group}/{plane}", start, buffer[: stop - start])
            buffer[...] = 0

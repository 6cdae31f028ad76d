"""What ingest writes before the first picture: rig, schedule, pairs, HDRIs, plates, and the empty picture arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.capture.actions import action_of_frames
from litdome.capture.blocks import stored_frames
from litdome.capture.check import IngestPlan, stored_picture
from litdome.capture.looks import LOOK_ARRAYS, empty_looks
from litdome.capture.motion import MOTION_ARRAYS
from litdome.capture.recording import CameraSource, Recording
from litdome.lighting import rotate_hdri
from litdome.media.images import read_picture
from litdome.media.latlong import read_latlong
from litdome.media.planes import PictureCodes, chroma_shape
from litdome.media.video import VideoProbe
from litdome.pairs import PairTable, make_pairs
from litdome.stage import SessionLike

CONTAINER_TAGS = (
    "major_brand",
    "minor_version",
    "compatible_brands",
    "handler_name",
    "vendor_id",
    "encoder",
    "language",
)


def plane_shapes(probe: VideoProbe, size: tuple[int, int]) -> dict[str, tuple[tuple[int, ...], tuple[str, ...]]]:
    """Shape and axis names of the arrays that hold a picture of ``size`` (width, height), px."""
    width, height = size
    if probe.subsampling == "rgb":
        return {"rgb": ((height, width, 3), ("y", "x", "channel"))}
    chroma = (2, *chroma_shape(height, width, probe.subsampling))
    return {"luma": ((height, width), ("y", "x")), "chroma": (chroma, ("cbcr", "y2", "x2"))}


def prepare_session(session: SessionLike, plan: IngestPlan, recording: Recording) -> None:
    """Write everything small; the same call twice changes nothing."""
    session.set_attrs("", fps=plan.fps)
    _write_rig(session, plan)
    _write_schedule(session, plan)
    _create_looks(session, plan)
    _write_hdris(session, plan, recording)
    for camera in plan.probes:
        _create_pictures(session, plan, camera, recording)
        _write_background(session, plan, camera, recording)


def _write_rig(session: SessionLike, plan: IngestPlan) -> None:
    cameras = plan.cameras
    probes = [plan.probes.get(camera.id) for camera in cameras]
    attrs = {
        "camera_ids": [camera.id for camera in cameras],
        "roles": [camera.role for camera in cameras],
        "models": ["pinhole5"] * len(cameras),
        "recorded_sizes": [probe and [probe.width, probe.height] for probe in probes],
        "crops": [None if plan.crop is None else list(plan.crop) for _ in cameras],
        "calibration_sizes": [camera.calibration_size and list(camera.calibration_size) for camera in cameras],
        "calibration_fits": [camera.calibration_fit for camera in cameras],
        "capture": [_capture(camera, probe) for camera, probe in zip(cameras, probes, strict=True)],
    }
    sizes = np.array([plan.sizes.get(camera.id, (0, 0)) for camera in cameras], np.int32)
    description = "width and height of the stored pictures"
    session.write_small("rig/size", sizes, ("camera", "axis"), unit="px", description=description, attrs=attrs)


def _capture(camera: CameraSource, probe: VideoProbe | None) -> dict[str, Any]:
    """How a camera was set, as the stream says and, before it, recording.toml."""
    tags = {name: text for name, text in (probe.metadata if probe else {}).items() if name not in CONTAINER_TAGS}
    printable = {name: "".join(c if c.isprintable() else " " for c in text) for name, text in tags.items()}
    return {**printable, **camera.capture.model_dump(exclude_none=True)}


def _write_schedule(session: SessionLike, plan: IngestPlan) -> None:
    schedule = plan.lighting.schedule
    entries = {"entries": [asdict(entry) for entry in schedule.entries], "source": plan.light_source}
    kind, hdri = schedule.kind, schedule.hdri
    session.write_small("schedule/kind", kind, ("frame",), description="0 dark, 1 flat, 2 hdri, 3 pattern")
    session.write_small("schedule/hdri", hdri, ("frame",), description="HDRI entry, -1 none", attrs=entries)
    session.write_small("schedule/pattern", plan.lighting.pattern, ("frame",), description="pattern, -1 none")
    session.write_small(
        "schedule/time_ns", plan.time_ns, ("frame",), unit="ns", description="start of exposure, nominal"
    )
    if plan.actions:
        _write_actions(session, plan)
    _create_per_frame(session, plan, "schedule/present", (), bool, "whether the camera recorded the rig frame")
    for stored, found in stored_frames(schedule).items():
        session.write_small(f"frames/{stored}", found, (stored,), description="rig frame of each stored picture")
    _write_pairs(session, make_pairs(schedule, plan.time_ns))


def _write_actions(session: SessionLike, plan: IngestPlan) -> None:
    names = {
        "names": [action.name for action in plan.actions],
        "expressions": [action.expression for action in plan.actions],
    }
    numbers = action_of_frames(plan.actions, len(plan.lighting.pattern))
    description = "number of the action, from 1 (the row of actions.csv); 0 between actions"
    session.write_small("schedule/action", numbers, ("frame",), description=description, attrs=names)


def _create_looks(session: SessionLike, plan: IngestPlan) -> None:
    none = empty_looks((), 0)
    for name, description in LOOK_ARRAYS.items():
        values = getattr(none, name)
        absent = np.nan if values.dtype.kind == "f" else 0
        _create_per_frame(session, plan, f"looks/{name}", values.shape[2:], values.dtype, description, absent)
    for name, description in MOTION_ARRAYS.items():
        _create_per_frame(session, plan, f"looks/{name}", (), np.float32, description, np.nan)


def _create_per_frame(
    session: SessionLike,
    plan: IngestPlan,
    path: str,
    shape: tuple[int, ...],
    dtype: npt.DTypeLike,
    description: str,
    fill: float = 0,
) -> None:
    frames = len(plan.lighting.pattern)
    dims = ("camera", "frame", *("row", "column")[: len(shape)])
    whole = (len(plan.cameras), frames, *shape)
    chunk = (1, plan.block_length, *shape)
    session.create(path, whole, dtype, dims, shard=None, chunk=chunk, description=description, fill=fill)


def _write_pairs(session: SessionLike, pairs: PairTable) -> None:
    described = {"gap_ms": ("ms", "from the flat to the relit frame"), "alpha": ("", "place between the flat frames")}
    for field, values in vars(pairs).items():
        unit, description = described.get(field, ("", "index; -1 none"))
        session.write_small(f"pairs/{field}", values, ("pair",), unit=unit, description=description)


def _write_hdris(session: SessionLike, plan: IngestPlan, recording: Recording) -> None:
    entries = plan.lighting.schedule.entries
    for entry in entries:
        convention = recording.hdri_convention
        hdr = rotate_hdri(read_latlong(recording.hdris[entry.name])[0], entry.rotation_deg, convention)
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
    attrs = {"source": "given", "file": path.name}
    described = {"unit": "code", "description": "clean plate under flat light, display-referred"}
    stored = stored_picture(PictureCodes(rgb=plate), plan.crop, plan.sizes[camera], "rgb").picture
    session.write_small(f"cameras/{camera}/background", stored, ("y", "x", "channel"), attrs=attrs, **described)


def _create_pictures(session: SessionLike, plan: IngestPlan, camera: str, recording: Recording) -> None:
    probe = plan.probes[camera]
    attrs: Mapping[str, Any] = {
        "subsampling": probe.subsampling,
        "matrix": recording.matrix or probe.matrix,
        "range": recording.range or probe.range,
        "transfer": recording.transfer or probe.transfer or "srgb",
        "bits": probe.bits,
    }
    for kind, frames in stored_frames(plan.lighting.schedule).items():
        for plane, (shape, dims) in plane_shapes(probe, plan.sizes[camera]).items() if len(frames) else ():
            session.create(
                f"cameras/{camera}/{kind}/{plane}",
                (len(frames), *shape),
                probe.dtype,
                ("n", *dims),
                shard=session.shard_frames,
                unit="code",
                description=f"{plane} as decoded",
                attrs=attrs,
                compression=plan.compression,
            )

"""What came of an ingest: frames, drops, light and quality per camera, in numbers and in warnings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from litdome.capture.blocks import STORED_KINDS
from litdome.capture.check import IngestConfig, IngestPlan
from litdome.capture.light_check import estimate_light
from litdome.capture.light_compare import compare
from litdome.capture.light_plan import LEFT_OUT, need_agreement
from litdome.capture.looks import Looks
from litdome.capture.motion import summarise_motion
from litdome.capture.quality import summarise_quality
from litdome.lighting import KIND_CODES
from litdome.stage import SessionLike, Summary

NAMED_FRAMES = 8  # so many frames are named in a warning

BoolArray = npt.NDArray[np.bool_]


def ingest_summary(session: SessionLike, plan: IngestPlan, config: IngestConfig) -> Summary:
    """Measure a whole ingest, and write ``schedule/mixed`` and ``schedule/repeated``.

    Raises:
        InputError: The pictures contradict the lighting schedule, and nothing says which to trust.
    """
    kinds = plan.lighting.schedule.kind
    present: BoolArray = session.read("schedule/present")
    stored = np.isin(kinds, [KIND_CODES[word] for word in STORED_KINDS.values()])
    warnings = [*plan.warnings, *_end_warnings(plan)]
    light = _check_light(session, plan, config, warnings)
    for row, camera in enumerate(plan.cameras):
        warnings += [f"camera {camera.id}: {text}" for text in _left_out(plan, row, present[row])]
        warnings += _absence_warnings(camera.id, np.flatnonzero(stored & ~present[row]))
    pairs = len(session.pairs)
    return {
        "cameras": [camera.id for camera in plan.cameras],
        "frames": len(kinds),
        "frames_present": [int(count) for count in (present & stored).sum(axis=1)],
        "frames_absent": [int(count) for count in (~present & stored).sum(axis=1)],
        "counts": {camera.id: _counts(plan, row, present[row]) for row, camera in enumerate(plan.cameras)},
        "pairs": pairs,
        "relit_without_pair": int((kinds == KIND_CODES["hdri"]).sum()) - pairs,
        "pattern_frames_left": int((kinds == KIND_CODES["pattern"]).sum()),
        "lights": plan.light_source,
        "light": light,
        "quality": summarise_quality(session),
        "motion": summarise_motion(session, plan.fps),
        "warnings": warnings,
    }


def _check_light(session: SessionLike, plan: IngestPlan, config: IngestConfig, warnings: list[str]) -> Summary:
    """Compare all pictures with the schedule, and write down which show two lights, or another one's picture again."""
    schedule = plan.lighting.schedule
    estimate = estimate_light(_light_looks(session))
    seen = {warning.removesuffix("; taken as it is") for warning in warnings}
    found: list[str] = []
    need_agreement(schedule, estimate, plan.light_source, 0, config.light_trust, found)
    warnings += [text for text in found if text.removesuffix("; taken as it is") not in seen]
    flags = (
        ("mixed", estimate.mixed, "lit by two lights"),
        ("repeated", estimate.duplicates, "the picture before again"),
    )
    for name, values, description in flags:
        session.write_small(f"schedule/{name}", values, ("camera", "frame"), description=description)
    contradiction = compare(schedule, estimate)
    return estimate.summary(contradiction.frames if contradiction else ())


def _light_looks(session: SessionLike) -> Looks:
    """The looks of all pictures, without what the light does not need (NaN): whole arrays read fast."""
    grid, fingerprint = session.read("looks/grid"), session.read("looks/fingerprint")
    unread = np.broadcast_to(np.float32(np.nan), fingerprint.shape)
    return Looks(tuple(session.cameras), grid, unread, unread, unread, unread, fingerprint)


def _end_warnings(plan: IngestPlan) -> list[str]:
    """Whether the schedule goes on where no camera does any more."""
    listed, name = len(plan.lighting.schedule.kind), plan.light_source.partition(",")[0]
    last = max(int(frames.max(initial=-1)) for frames in plan.rig_frames.values())
    text = f"{name} lists {listed} frames, no camera has a picture after rig frame {last}: the rest is absent"
    return [text] if last + 1 < listed else []


def _left_out(plan: IngestPlan, row: int, present: BoolArray) -> list[str]:
    """Pictures of a camera that are in its file and not in the session."""
    camera = plan.cameras[row].id
    frames, index = _frames_in_file(plan, row), plan.indexes[camera]
    lost = _undecodable(plan, row, present)
    unplaced = [(int((frames == code).sum()), f"{why}: left out") for code, why in LEFT_OUT.items()]
    short = 0 if index.claimed is None else index.claimed - len(index)
    counts = (
        (short, f"fewer in the file than its header promises ({index.claimed}): was the copy cut short?"),
        *unplaced,
        (len(lost), f"cannot be decoded: {_rig_frames(lost)} {_some(lost)}"),
    )
    return [f"{count} picture{'' if count == 1 else 's'} {what}" for count, what in counts if count > 0]


def _frames_in_file(plan: IngestPlan, row: int) -> npt.NDArray[np.int32]:
    """Rig frame of each picture that the source holds; numbers that a folder leaves out are none."""
    camera = plan.cameras[row].id
    return np.delete(plan.rig_frames[camera], list(plan.indexes[camera].left_out))


def _undecodable(plan: IngestPlan, row: int, present: BoolArray) -> npt.NDArray[np.intp]:
    """Rig frames whose picture is in the file and did not come out of the decoder."""
    expected = np.zeros(len(present), bool)
    frames = _frames_in_file(plan, row)
    expected[frames[frames >= 0]] = True
    return np.flatnonzero(expected & ~present)


def _counts(plan: IngestPlan, row: int, present: BoolArray) -> dict[str, int | None]:
    """Pictures that the container holds, that its header promises, that were stored, undecodable, without a place."""
    index = plan.indexes[plan.cameras[row].id]
    undecodable = len(_undecodable(plan, row, present))
    return {
        "container": len(index) - len(index.left_out),
        "claimed": index.claimed,
        "decoded": int(present.sum()),
        "undecodable": undecodable,
        "left_out": int((_frames_in_file(plan, row) < 0).sum()),
    }


def _absence_warnings(camera: str, frames: npt.NDArray[np.intp]) -> list[str]:
    if not len(frames):
        return []
    return [f"camera {camera}: {len(frames)} {_rig_frames(frames)} absent: {_some(frames)}"]


def _rig_frames(frames: npt.NDArray[np.intp]) -> str:
    return "rig frame" if len(frames) == 1 else "rig frames"


def _some(frames: npt.NDArray[np.intp]) -> str:
    return ", ".join(map(str, frames[:NAMED_FRAMES])) + (", ..." if len(frames) > NAMED_FRAMES else "")

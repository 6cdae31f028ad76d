"""What a verdict on a take rests on: the record of ingest, the gaps, the room on the disk; no picture is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.config import build_config, load_tables
from litdome.geometry import REFERENCE_HEIGHT_PX
from litdome.pipeline import config_models
from litdome.report.calibration_words import calibration_found
from litdome.report.disk import DiskUse, disk_use
from litdome.report.losses import Loss, clock_time, find_losses, lost_frames
from litdome.store.session import Session

SPOILT = 0.25  # share of an action's pairs that may be faster than what is told of it, as ingest has it


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a verdict rests on; the keys of ``summary`` are those of the record of ingest.

    Attributes:
        cameras: Ids.
        pairs: Number of pairs.
        time_ns: Of every rig frame, shape (frame,).
        lost: Rig frames that a camera did not record, shape (camera, frame).
        losses: Every gap of every camera.
        summary: What ingest found; ``light`` and ``quality`` may be missing.
        units: Units of ingest that are done, and all.
        disk: Room, where it is known.
        rig_only: Whether the session holds a rig and no take.
        calibration: What calibrate found; empty before it has finished.
        max_shift_px: Mean motion from flat to relit above which align drops a pair, by camera, px of its pictures.
        aligned_motion: As ``motion`` of the summary, but as align measured it on the person; empty before align has
            finished.
    """

    cameras: tuple[str, ...]
    pairs: int
    time_ns: npt.NDArray[np.int64]
    lost: npt.NDArray[np.bool_]
    losses: tuple[Loss, ...]
    summary: Mapping[str, Any]
    units: tuple[int, int]
    disk: DiskUse | None
    rig_only: bool = False
    calibration: Mapping[str, Any] = field(default_factory=dict)
    max_shift_px: Mapping[str, float] = field(default_factory=dict)
    aligned_motion: Mapping[str, Any] = field(default_factory=dict)

    def time(self, frame: int) -> str:
        """When a rig frame was, since the start of the take."""
        inside = min(max(frame, 0), len(self.time_ns) - 1)
        return clock_time(int(self.time_ns[inside] - self.time_ns[0]))

    def measured(self, name: str) -> dict[str, float]:
        """A number of ``quality`` by camera, those that are known."""
        found = self.summary.get("quality", {}).get("cameras", {})
        return {id: values[name] for id, values in found.items() if values.get(name) is not None}


def gather(session: Session) -> Evidence:
    """Read what the verdict on a session needs; pictures and looks are not touched."""
    record, done = session.record("ingest"), session.done("ingest")
    ingested = session.has("pairs/relit_frame") and session.has("rig/size")
    lost = lost_frames(session) if ingested else np.zeros((0, 1), bool)
    summary = {} if record is None or not record.finished else record.summary
    return Evidence(
        cameras=session.cameras if session.has("rig/size") else (),
        pairs=len(session.pairs) if ingested else 0,
        time_ns=session.read("schedule/time_ns") if session.has("schedule/time_ns") else np.zeros(1, np.int64),
        lost=lost,
        losses=find_losses(session, lost) if ingested else (),
        summary=summary,
        units=(int(done.sum()), len(done)),
        disk=disk_use(session.url),
        rig_only=session.is_rig_only,
        calibration=calibration_found(session),
        max_shift_px=_max_shift_px(session) if session.has("rig/size") else {},
        aligned_motion=_aligned_motion(session, summary.get("motion", {}).get("parts", [])),
    )


def _max_shift_px(session: Session) -> dict[str, float]:
    """As align was last run; before, as litdome.toml beside the session sets it, else its default."""
    record = session.record("align")
    if record is not None:
        limit = float(record.config["max_shift_px"])
    else:
        beside = Path(session.url).parent / "litdome.toml"
        tables = load_tables([beside] if beside.is_file() else [])
        limit = float(build_config(config_models()["align"], "align", tables).model_dump()["max_shift_px"])
    return {id: limit * session.size(id)[1] / REFERENCE_HEIGHT_PX for id in session.cameras}


def _aligned_motion(session: Session, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a quarter of a part's pairs exceed, by camera; None where align measured none."""
    record = session.record("align")
    if not parts or record is None or not record.finished or not session.has("quality/shift_p95_px"):
        return {}
    flat = session.pairs.flat_frame
    inside = [(flat >= part["start"]) & (flat < part["stop"]) for part in parts]
    shifts = {"shift_px": session.read("quality/shift_px"), "p95_px": session.read("quality/shift_p95_px")}
    cameras = {
        id: {name: [_exceeded(values[row, pairs]) for pairs in inside] for name, values in shifts.items()}
        for row, id in enumerate(session.cameras)
    }
    return {"parts": list(parts), "cameras": cameras}


def _exceeded(values: npt.NDArray[np.float32]) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.quantile(known, 1 - SPOILT)) if len(known) else None

"""What the page says and shows about a session."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from litdome.geometry import REFERENCE_HEIGHT_PX
from litdome.pipeline import processing_stages, side_stages
from litdome.report.calibration_section import CalibrationSection, calibration_section
from litdome.report.charts import heat_map
from litdome.report.evidence import gather
from litdome.report.light_sheet import light_sheet
from litdome.report.sheets import COMPENSATED, FLAT, MASK, RELIT, Sheet, pair_tiles, picture_row, spaced
from litdome.report.status import SessionStatus, plural, session_status
from litdome.report.take_section import TakeSection, take_section
from litdome.store.pair_columns import PairColumns, pair_columns
from litdome.store.provenance import StageRecord
from litdome.store.session import Session

SHOWN_PAIRS, SHOWN_CAMERAS = 3, 8
TILE_WIDTH_PX = 240
ROW_NAMES = (FLAT, RELIT, MASK, COMPENSATED)


@dataclass(frozen=True)
class StageRow:
    """A stage with its time and what its record says."""

    name: str
    purpose: str
    state: str
    units: str
    time: str
    next_command: str | None
    facts: tuple[tuple[str, str], ...]
    settings: str


@dataclass(frozen=True)
class CameraRow:
    """A camera with its means; '-' where a number is not known."""

    id: str
    role: str
    size: str
    absent: str
    reprojection: str
    shift: str
    kept: str


@dataclass(frozen=True)
class SessionSection:
    """A session for the page's template; ``rig_only``: it holds a calibration and no take."""

    name: str
    url: str
    rig_only: bool
    calibration: CalibrationSection
    facts: tuple[tuple[str, str], ...]
    verdict: tuple[str, ...]
    status: SessionStatus
    take: TakeSection
    shown: str
    sheets: tuple[Sheet, ...]
    lights: Sheet | None
    stages: tuple[StageRow, ...]
    cameras: tuple[CameraRow, ...]
    heat: str | None
    shift_limit: str
    warnings: tuple[tuple[str, str], ...]


def session_section(session: Session) -> SessionSection:
    """Collect everything that the page shows of a session, whatever stage it has reached."""
    evidence = gather(session)
    status = session_status(session, evidence)
    ingested = session.record("ingest") is not None and session.has("pairs/alpha")
    quality = pair_columns(session) if ingested else None
    cameras = spaced(session.cameras, SHOWN_CAMERAS) if ingested else ()
    pairs = spaced(range(len(session.pairs)), SHOWN_PAIRS, inner=True) if ingested else ()
    return SessionSection(
        name=str(session.attrs.get("name", session.url)),
        url=session.url,
        rig_only=session.is_rig_only,
        calibration=calibration_section(session),
        facts=_facts(session),
        verdict=_verdict(session, status, quality),
        status=status,
        take=take_section(session, evidence, status.verdict),
        shown=_shown(session, cameras, pairs) if ingested else "",
        sheets=tuple(_pair_sheet(session, cameras, pair) for pair in pairs),
        lights=light_sheet(session, cameras) if ingested and session.hdri_names else None,
        stages=_stage_rows(session, status),
        cameras=_camera_rows(session, status, quality) if quality is not None else (),
        shift_limit=_shift_limit(session),
        heat=None if quality is None else _heat(session, quality),
        warnings=tuple((record.stage, text) for record in session.records() for text in record.warnings),
    )


def _facts(session: Session) -> tuple[tuple[str, str], ...]:
    attrs = session.attrs
    consent = attrs.get("consent")
    uses = ", ".join(consent.get("uses", ())) if isinstance(consent, Mapping) else ""
    found = {
        "subject": attrs.get("subject"),
        "rate": f"{attrs['fps']:g} fps" if attrs.get("fps") else None,
        "lights": str(session.array("schedule/hdri").attrs.get("source", "")) if session.has("schedule/hdri") else None,
        "consent": uses or "not recorded",
        "session": session.url,
    }
    return tuple((name, str(value)) for name, value in found.items() if value)


def _verdict(session: Session, status: SessionStatus, quality: PairColumns | None) -> tuple[str, ...]:
    if quality is None:
        return ("ingest is unfinished",)
    absent = sum(map(len, status.absent.values()))
    parts = [
        plural(len(session.pairs), "pair"),
        plural(len(session.cameras), "camera"),
        f"{plural(absent, 'frame')} absent" if absent else "no frame absent",
        f"{percent(quality.keep)} of pairs kept" if "shift_px" in quality.scores else "pairs not aligned yet",
    ]
    reprojection = _reprojection(session)
    known = reprojection[np.isfinite(reprojection)]
    parts.append(f"calibration {known.mean():.2f} px" if len(known) else _calibration_without_error(session))
    return tuple(parts)


def percent(flags: npt.NDArray[np.bool_]) -> str:
    """The share of true ones, ``92 %``; ``-`` of none."""
    return f"{100 * flags.mean():.0f} %" if flags.size else "-"


def _calibration_without_error(session: Session) -> str:
    if not session.has("rig/world_from_camera"):
        return "lenses calibrated, no poses yet" if session.has("rig/intrinsics") else "not calibrated yet"
    source = session.array("rig/reprojection_px").attrs.get("source") if session.has("rig/reprojection_px") else None
    return f"calibration: {source}" if source else "calibrated"


def _reprojection(session: Session) -> npt.NDArray[np.float64]:
    if not session.has("rig/reprojection_px"):
        return np.full(len(session.cameras), np.nan)
    values = session.read("rig/reprojection_px").astype(np.float64)
    return np.asarray(values.reshape(len(values), -1).mean(axis=1))


def _shown(session: Session, cameras: Sequence[str], pairs: Sequence[int]) -> str:
    of_pairs, of_cameras = plural(len(session.pairs), "pair"), plural(len(session.cameras), "camera")
    return f"{len(pairs)} of {of_pairs}, {len(cameras)} of {of_cameras}"


def _pair_sheet(session: Session, cameras: Sequence[str], pair: int) -> Sheet:
    table = session.pairs
    hdri = int(table.hdri[pair])
    light = f", light {session.hdri_names[hdri]}" if hdri >= 0 else ""
    tiles = {camera: pair_tiles(session, camera, pair, TILE_WIDTH_PX) for camera in cameras}
    frames = {FLAT: f"rig frame {table.flat_frame[pair]}", RELIT: f"rig frame {table.relit_frame[pair]}"}
    rows = []
    for name in ROW_NAMES:
        if name in (FLAT, RELIT) or any(name in found for found in tiles.values()):
            cells = [(tiles[camera].get(name), f"{name}, camera {camera}, pair {pair}") for camera in cameras]
            rows.append((name, frames.get(name, ""), picture_row(cells)))
    return Sheet(f"Pair {pair}{light}, {table.gap_ms[pair]:.0f} ms apart", tuple(cameras), tuple(rows))


def _stage_rows(session: Session, status: SessionStatus) -> tuple[StageRow, ...]:
    purposes = {"ingest": "copy a recording into a session"}
    purposes |= {name: stage.summary for name, stage in (processing_stages() | side_stages()).items()}
    rows = []
    for line in status.stages:
        record = session.record(line.name)
        rows.append(
            StageRow(
                name=line.name,
                purpose=purposes[line.name],
                state=line.state,
                units=f"{line.done}/{line.total}" if record else "-",
                time="-" if record is None else _time(record),
                next_command=line.next_command,
                facts=() if record is None else readable(record.summary),
                settings="" if record is None else json.dumps(dict(record.config), indent=1),
            )
        )
    return tuple(rows)


def _time(record: StageRecord) -> str:
    if not record.finished:
        return "unfinished"
    elapsed = datetime.fromisoformat(record.finished) - datetime.fromisoformat(record.started)
    return duration(elapsed.total_seconds())


def duration(seconds: float) -> str:
    """``0 s`` reads as under a second; ``75`` as ``1 min 15 s``."""
    if seconds < 1:
        return "< 1 s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def readable(summary: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The numbers and words of a record's summary, as text; long lists and tables are left out."""
    found = []
    for key, value in summary.items():
        items = value if isinstance(value, list) else [value]
        if 0 < len(items) <= SHOWN_CAMERAS and all(isinstance(item, str | int | float) for item in items):
            texts = (f"{item:.4g}" if isinstance(item, float) else str(item) for item in items)
            found.append((key.replace("_", " "), ", ".join(texts)))
    return tuple(found)


def _camera_rows(session: Session, status: SessionStatus, quality: PairColumns) -> tuple[CameraRow, ...]:
    roles, reprojection = cast(list[str], session.array("rig/size").attrs["roles"]), _reprojection(session)
    shift = quality.scores.get("shift_px")
    rows = []
    for n, id in enumerate(session.cameras):
        measured = None if shift is None else shift[n][np.isfinite(shift[n])]
        width, height = session.size(id)
        rows.append(
            CameraRow(
                id=id,
                role=roles[n],
                size=f"{width} × {height}",
                absent=_absent(status.absent.get(id, [])),
                reprojection=f"{reprojection[n]:.2f}" if np.isfinite(reprojection[n]) else "-",
                shift=f"{measured.mean():.2f}" if measured is not None and len(measured) else "-",
                kept=percent(quality.keep[n]),
            )
        )
    return tuple(rows)


def _absent(frames: Sequence[int]) -> str:
    if not frames:
        return "none"
    some = ", ".join(map(str, frames[:6])) + (", ..." if len(frames) > 6 else "")
    return f"{len(frames)} ({some})"


def _shift_limit(session: Session) -> str:
    record = session.record("align")
    limit = None if record is None else record.config.get("max_shift_px")
    return "" if limit is None else f"Pairs above {limit:g} px (at a height of {REFERENCE_HEIGHT_PX}) are dropped."


def _heat(session: Session, quality: PairColumns) -> str | None:
    shift = quality.scores.get("shift_px")
    if shift is None or not np.isfinite(shift).any():
        return None
    top = max(1.0, float(np.ceil(np.nanpercentile(shift, 98))))
    worst = np.unravel_index(int(np.nanargmax(shift)), shift.shape)
    what = (
        f"Misalignment of every camera and pair: mean {np.nanmean(shift):.2f} px, worst {shift[worst]:.2f} px "
        f"(camera {session.cameras[worst[0]]}, pair {worst[1]}); {plural(int((~quality.keep).sum()), 'pair')} dropped"
    )
    return heat_map(shift, quality.keep, session.cameras, top=top, label="misalignment, px", what=what)

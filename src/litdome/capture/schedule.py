"""Lighting schedules: lights.csv and Goliath-style lights json."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from litdome.config import nearest
from litdome.errors import InputError
from litdome.lighting import KIND_CODES, HdriEntry, LightingSchedule

COLUMNS = ("frame", "kind", "hdri", "rotation_deg", "gain")
FLAT_PATTERN = 0  # Goliath: pattern 0 is fully lit


@dataclass(frozen=True, eq=False)
class StageLighting:
    """A schedule with the pattern numbers that OLAT stages add.

    Attributes:
        schedule: What was lit at each rig frame.
        pattern: Shape (frame,), int32: pattern number, -1 none.
    """

    schedule: LightingSchedule
    pattern: npt.NDArray[np.int32]


@dataclass(frozen=True)
class _Row:
    frame: int
    kind: str
    hdri: HdriEntry | None
    pattern: int


def read_lighting(file: Path, hdris: Collection[str]) -> StageLighting:
    """Read a lighting schedule.

    Args:
        file: ``lights.csv`` (frame, kind, hdri and optionally rotation_deg, gain) or a Goliath-style json.
        hdris: Names of the HDRI files that there are.

    Returns:
        The schedule, entries sorted by name; distinct (name, rotation, gain) are distinct entries.

    Raises:
        InputError: Unreadable, an unknown kind or HDRI (names line, file and the nearest name), a frame twice
            or left out.
    """
    rows = list(_json_rows(file) if file.suffix.lower() == ".json" else _csv_rows(file, hdris))
    if not rows:
        raise InputError(f"{file}: no frames in it")
    _need_every_frame_once(file, [row.frame for row in rows])
    rows.sort(key=lambda row: row.frame)
    entries = sorted({row.hdri for row in rows if row.hdri}, key=lambda entry: entry.entry)
    index = {entry: n for n, entry in enumerate(entries)}
    schedule = LightingSchedule(
        kind=np.array([KIND_CODES[row.kind] for row in rows], np.uint8),
        hdri=np.array([index[row.hdri] if row.hdri else -1 for row in rows], np.int32),
        entries=tuple(entries),
    )
    return StageLighting(schedule, np.array([row.pattern for row in rows], np.int32))


def _csv_rows(file: Path, hdris: Collection[str]) -> Iterable[_Row]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        names = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = names
        for name in names:
            if name not in COLUMNS:
                raise InputError(f"{file}: unknown column {name!r}", hint=nearest(name, COLUMNS))
        for needed in COLUMNS[:2]:
            if needed not in names:
                raise InputError(f"{file}: no column {needed!r}", hint=f"the first line is {','.join(COLUMNS[:3])}")
        for row in reader:
            values = {key: (value or "").strip() for key, value in row.items() if key is not None}
            yield _csv_row(f"{file} line {reader.line_num}", values, hdris)


def _csv_row(where: str, values: dict[str, str], hdris: Collection[str]) -> _Row:
    try:
        frame = int(values["frame"])
        rotation, gain = float(values.get("rotation_deg") or 0), float(values.get("gain") or 1)
    except ValueError as error:
        raise InputError(
            f"{where}: {error}", hint="frame is a whole number, rotation_deg and gain are numbers"
        ) from error
    kind, name = values["kind"], values.get("hdri", "")
    if kind not in KIND_CODES:
        raise InputError(f"{where}: unknown kind {kind!r}", hint=nearest(kind, KIND_CODES))
    if kind == "pattern":
        return _Row(frame, kind, None, int(name) if name.isdigit() else -1)
    if kind != "hdri":
        return _Row(frame, kind, None, -1)
    if name not in hdris:
        raise InputError(f"{where}: HDRI {name!r} is not in hdris/", hint=nearest(name, hdris))
    if not np.isfinite([rotation, gain]).all() or gain <= 0:
        raise InputError(f"{where}: rotation_deg {rotation}, gain {gain}: must be finite, gain above 0")
    return _Row(frame, kind, HdriEntry(name, rotation, gain), -1)


def _json_rows(file: Path) -> Iterable[_Row]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        listed = content["light_pattern_per_frame"] if isinstance(content, dict) else content
        pairs = [(int(frame), int(pattern)) for frame, pattern in listed]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{file}: not a lights json with [frame, pattern] pairs ({error!r})") from error
    for frame, pattern in pairs:
        yield _Row(frame, "flat" if pattern == FLAT_PATTERN else "pattern", None, pattern)


def _need_every_frame_once(file: Path, frames: list[int]) -> None:
    counts = np.bincount(frames, minlength=len(frames)) if min(frames) >= 0 else None
    if counts is None:
        raise InputError(f"{file}: frame {min(frames)}; rig frames count from 0")
    if counts.max() > 1:
        raise InputError(f"{file}: frame {int(np.argmax(counts > 1))} is there {counts.max()} times", hint="once each")
    if counts.min() == 0:
        raise InputError(f"{file}: frame {int(np.argmin(counts))} is missing", hint="list every frame from 0 on")

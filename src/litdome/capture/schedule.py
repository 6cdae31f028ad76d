"""Lighting schedules: lights.csv, Goliath-style lights json, and pylightstage sequences."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from litdome.capture.csv_rows import LAST_FRAME, need_size, read_rows, shown, whole_number
from litdome.capture.sequences import SEQUENCE_SUFFIXES, read_sequence
from litdome.config import nearest
from litdome.errors import InputError
from litdome.lighting import KIND_CODES, HdriEntry, LightingSchedule

COLUMNS = ("frame", "kind", "hdri", "rotation_deg", "gain")
FLAT_PATTERN = 0  # Goliath: pattern 0 is fully lit
FULLY_LIT = 0.9  # of the lights that any pattern uses; broken ones stay dark
LARGEST_JSON_BYTES = 64 * 2**20
LAST_PATTERN = 2**31 - 1


@dataclass(frozen=True, eq=False)
class StageLighting:
    """A schedule with the pattern numbers that OLAT stages add.

    Attributes:
        schedule: What was lit at each rig frame.
        pattern: Shape (frame,), int32: pattern number, -1 none.
        drive: What the fixtures were driven with, shape (frame, fixture, channel), uint16, white fixtures before
            coloured ones; None where the schedule does not say.
        fps: Frames per second that the schedule was made for; None where it does not say.
    """

    schedule: LightingSchedule
    pattern: npt.NDArray[np.int32]
    drive: npt.NDArray[np.uint16] | None = None
    fps: float | None = None


@dataclass(frozen=True)
class _Row:
    frame: int
    kind: str
    hdri: HdriEntry | None
    pattern: int


def read_lighting(file: Path, hdris: Collection[str]) -> StageLighting:
    """Read a lighting schedule.

    Args:
        file: ``lights.csv`` (frame, kind, hdri and optionally rotation_deg, gain), a Goliath-style ``.json``, or a
            pylightstage sequence (``.cbor``, ``.cbor.zst``).
        hdris: Names of the HDRI files that there are.

    Returns:
        The schedule, entries sorted by name; distinct (name, rotation, gain) are distinct entries.

    Raises:
        InputError: Unreadable, too large, an unknown kind or HDRI (names line, file and the nearest name), a frame
            twice or left out.
        MissingPackageError: A sequence, and cbor2 is not installed.
    """
    if file.name.lower().endswith(SEQUENCE_SUFFIXES):
        return _sequence_lighting(file)
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


def _sequence_lighting(file: Path) -> StageLighting:
    sequence = read_sequence(file)
    none = np.full(len(sequence.kind), -1, np.int32)
    return StageLighting(LightingSchedule(sequence.kind, none, ()), sequence.pattern, sequence.drive, sequence.fps)


def _csv_rows(file: Path, hdris: Collection[str]) -> Iterable[_Row]:
    for where, values in read_rows(file, COLUMNS, COLUMNS[:2]):
        yield _csv_row(where, values, hdris)


def _csv_row(where: str, values: Mapping[str, str], hdris: Collection[str]) -> _Row:
    frame = whole_number(where, "frame", values["frame"], LAST_FRAME)
    rotation = _number(where, "rotation_deg", values.get("rotation_deg") or "0")
    gain = _number(where, "gain", values.get("gain") or "1")
    kind, name = values["kind"], values.get("hdri", "")
    if kind not in KIND_CODES:
        raise InputError(f"{where}: unknown kind {shown(kind)}", hint=nearest(kind, KIND_CODES))
    if kind == "pattern":
        return _Row(frame, kind, None, whole_number(where, "pattern", name, LAST_PATTERN) if name else -1)
    if kind != "hdri":
        return _Row(frame, kind, None, -1)
    if name not in hdris:
        raise InputError(f"{where}: HDRI {shown(name)} is not in hdris/", hint=nearest(name, hdris))
    if gain <= 0:
        raise InputError(f"{where}: gain {gain:g}: must be above 0")
    return _Row(frame, kind, HdriEntry(name, rotation, gain), -1)


def _number(where: str, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value) or "_" in text:
        raise InputError(f"{where}: {name} is {shown(text)}", hint=f"{name} is a finite number")
    return value


def read_patterns(file: Path, described: Path | None = None) -> tuple[dict[int, int], frozenset[int]]:
    """Pattern of each frame that a Goliath-style lights json lists, and which patterns light every light alike.

    Args:
        file: ``light_pattern_per_frame``, alone or with ``light_patterns`` beside it.
        described: Another file that holds ``light_patterns``.

    Raises:
        InputError: Not JSON, too large, not a list of [frame, pattern].
    """
    content = _json(file)
    listed = content.get("light_pattern_per_frame") if isinstance(content, dict) else content
    if not isinstance(listed, list):
        raise InputError(
            f"{file}: no list of [frame, pattern]", hint="light_pattern_per_frame: [[0, 0], [1, 137], ...]"
        )
    about = content if described is None else _json(described)
    flat = _flat_patterns(about.get("light_patterns")) if isinstance(about, dict) else set()
    return dict(_frame_patterns(file, listed)), frozenset(flat or {FLAT_PATTERN})


def _json_rows(file: Path) -> Iterable[_Row]:
    patterns, flat = read_patterns(file)
    return [_Row(frame, "flat" if p in flat else "pattern", None, p) for frame, p in patterns.items()]


def _json(file: Path) -> object:
    need_size(file, LARGEST_JSON_BYTES)
    try:
        return cast(object, json.loads(file.read_text(encoding="utf-8-sig")))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: not JSON ({shown(str(error))})") from error


def _frame_patterns(file: Path, listed: list[object]) -> Iterable[tuple[int, int]]:
    seen: set[int] = set()
    for n, pair in enumerate(listed):
        where = f"{file} entry {n} of light_pattern_per_frame"
        if not isinstance(pair, list) or len(pair) != 2:
            raise InputError(f"{where}: {shown(str(pair))} is not [frame, pattern]")
        frame, pattern = (
            _json_number(where, name, value, most)
            for name, value, most in zip(("frame", "pattern"), pair, (LAST_FRAME, LAST_PATTERN), strict=True)
        )
        if frame in seen:
            raise InputError(f"{where}: frame {frame} is there twice", hint="once each")
        seen.add(frame)
        yield frame, pattern


def _json_number(where: str, name: str, value: object, most: int) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise InputError(f"{where}: {name} is {shown(str(value))}", hint=f"{name} is a whole number, 0 to {most}")
    return value


def _flat_patterns(listed: object) -> set[int]:
    """Numbers of the patterns that light every light alike, of those that a file describes; empty: it does not say."""
    lit: dict[int, dict[int, float]] = {}
    for number, pattern in enumerate(listed if isinstance(listed, list) else []):
        durations = pattern.get("light_index_durations") if isinstance(pattern, dict) else None
        if not isinstance(durations, list) or not all(_is_duration(one) for one in durations):
            return set()
        lit[number] = {int(light): float(duration) for light, duration in durations if duration > 0}
    every = {light for lights in lit.values() for light in lights}
    full = {number: lights for number, lights in lit.items() if 1 < len(lights) > FULLY_LIT * len(every)}
    return {number for number, lights in full.items() if len(set(lights.values())) == 1}


def _is_duration(value: object) -> bool:
    numbers = (int, float)
    return isinstance(value, list) and len(value) == 2 and all(isinstance(number, numbers) for number in value)


def _need_every_frame_once(file: Path, frames: list[int]) -> None:
    ordered = np.sort(np.array(frames, np.int64))
    twice = ordered[1:][np.diff(ordered) == 0]
    if len(twice):
        count = int((ordered == twice[0]).sum())
        raise InputError(f"{file}: frame {twice[0]} is there {count} times", hint="once each")
    missing = np.flatnonzero(ordered != np.arange(len(ordered)))
    if len(missing):
        raise InputError(f"{file}: frame {missing[0]} is missing", hint="list every frame from 0 on")

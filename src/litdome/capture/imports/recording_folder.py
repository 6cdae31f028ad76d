"""What every import writes: a recording folder in our layout, whole or not at all."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w


@dataclass(frozen=True)
class LightRow:
    """What was lit at a rig frame: a kind of lights.csv and, for ``hdri`` and ``pattern``, the name or number."""

    kind: str
    which: str = ""


@dataclass(frozen=True)
class Imported:
    """What an import made.

    Attributes:
        cameras: Ids.
        frames: Rig frames.
        lit: How many frames of each kind.
        calibration, masks: Inside the recording; None where the capture has none.
        notes: What the user has to know, one line each.
    """

    cameras: tuple[str, ...]
    frames: int
    lit: Mapping[str, int]
    calibration: Path | None
    masks: Path | None
    notes: tuple[str, ...]


def write_description(folder: Path, table: Mapping[str, Any], lights: Sequence[LightRow]) -> None:
    """recording.toml and lights.csv of a recording folder."""
    (folder / "recording.toml").write_text(tomli_w.dumps(dict(table)), encoding="utf-8")
    with (folder / "lights.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["frame", "kind", "hdri"])
        writer.writerows([frame, row.kind, row.which] for frame, row in enumerate(lights))


def place(source: Path, target: Path) -> None:
    """Make a file appear at ``target`` without a second copy of its bytes, where the disk allows that."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def counted(lights: Sequence[LightRow]) -> dict[str, int]:
    """Frames of each kind, in the order of their first."""
    return {kind: sum(row.kind == kind for row in lights) for kind in dict.fromkeys(row.kind for row in lights)}

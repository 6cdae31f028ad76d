"""Provenance: what made an array. A chain of fingerprints gives status, dry runs and resume."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from litdome import __version__

PROBE_BYTES = 1 << 16


@dataclass(frozen=True)
class StageRecord:
    """How one stage was last run on a session; ``finished`` is empty while work remains."""

    stage: str
    version: int
    fingerprint: str
    inputs: Mapping[str, str]
    config: Mapping[str, Any]
    started: str
    finished: str = ""
    host: str = field(default_factory=platform.node)
    software: str = f"litdome {__version__}"
    device: str = "cpu"
    seed: int = 0
    summary: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def as_attrs(self) -> dict[str, Any]:
        """Plain values for Zarr attributes."""
        return {**asdict(self), "warnings": list(self.warnings)}

    @classmethod
    def from_attrs(cls, attrs: Mapping[str, Any]) -> StageRecord:
        """The record in ``attrs``; unknown keys of newer minor versions are left out."""
        known = {name: attrs[name] for name in cls.__dataclass_fields__ if name in attrs}
        return cls(**{**known, "warnings": tuple(known.get("warnings", ()))})


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def stage_fingerprint(stage: str, version: int, config: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """sha256 over (stage, version, config, input fingerprints), hex."""
    return digest([stage, version, config, dict(sorted(inputs.items()))])


def digest(value: Any) -> str:
    """sha256 of a JSON value, hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def file_fingerprint(path: Path, root: Path) -> str:
    """A file by relative name, size and the hash of its head, middle and tail (64 KiB each)."""
    size = path.stat().st_size
    found = hashlib.sha256(f"{path.relative_to(root).as_posix()}:{size}:".encode())
    with path.open("rb") as stream:
        for offset in sorted({0, max(0, size // 2 - PROBE_BYTES // 2), max(0, size - PROBE_BYTES)}):
            stream.seek(offset)
            found.update(stream.read(PROBE_BYTES))
    return found.hexdigest()


def folder_fingerprint(root: Path, *, without: tuple[str, ...] = ("truth",)) -> str:
    """All files below ``root`` by their fingerprints; folders named in ``without`` (at the top) do not count."""
    files = sorted(p for p in root.rglob("*") if p.is_file() and p.relative_to(root).parts[0] not in without)
    return digest([file_fingerprint(path, root) for path in files])

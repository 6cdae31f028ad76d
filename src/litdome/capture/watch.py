"""Which files of a recording that is still being written have come to rest."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

State = tuple[int, int]  # size in bytes, modification time in ns


def file_states(path: Path) -> dict[Path, State]:
    """Size and modification time of a file, or of all files below a folder; empty where nothing is."""
    found: dict[Path, State] = {}
    for file in path.rglob("*") if path.is_dir() else [path]:
        try:
            status = file.stat()
        except FileNotFoundError:
            continue
        if not file.is_dir():
            found[file] = (status.st_size, status.st_mtime_ns)
    return found


@dataclass
class Watch:
    """Looks at files again and again; one is at rest when it has not changed for a while.

    Attributes:
        rest_s: How long without a change, s.
        clock: Seconds, rising.
    """

    rest_s: float
    clock: Callable[[], float] = time.monotonic
    _seen: dict[Path, tuple[dict[Path, State], float]] = field(default_factory=dict)

    def is_at_rest(self, path: Path) -> bool:
        """Whether a file, or files below a folder, are there, and none has changed in the last ``rest_s``."""
        states, now = file_states(path), self.clock()
        before = self._seen.get(path)
        if before is None or before[0] != states:
            self._seen[path] = (states, now)
            return False
        return bool(states) and now - before[1] >= self.rest_s

"""How much room a session takes and how much is left, without listing its shards."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from litdome.store.files import free_bytes, is_local, open_files, size_in_words

SAMPLES = 4  # chunks of an array whose size is asked for


@dataclass(frozen=True)
class DiskUse:
    """Bytes that a session takes (estimated from a few chunks of every array) and that are free where it lies."""

    used: int
    free: int

    def __str__(self) -> str:
        """``about 1.2 TB used, 3.4 TB free``."""
        return f"about {size_in_words(self.used)} used, {size_in_words(self.free)} free"


def disk_use(url: str) -> DiskUse | None:
    """Room that the session at ``url`` takes; None where it is not on a file system of this machine."""
    files, path = open_files(url)
    return DiskUse(estimate_bytes(Path(path)), free_bytes(path)) if is_local(files) else None


def estimate_bytes(folder: Path) -> int:
    """Bytes of all arrays under ``folder``: exact where an array has up to `SAMPLES` chunks, else by their mean."""
    about = folder / "zarr.json"
    if not about.is_file():
        return 0
    node = json.loads(about.read_bytes())
    if node["node_type"] == "array":
        return about.stat().st_size + _array_bytes(folder, node)
    with os.scandir(folder) as entries:
        inner = [Path(entry.path) for entry in entries if entry.is_dir()]
    return about.stat().st_size + sum(map(estimate_bytes, inner))


def _array_bytes(folder: Path, node: dict[str, Any]) -> int:
    shape = np.array(node["shape"], int)
    chunk = np.array(node["chunk_grid"]["configuration"]["chunk_shape"], int)
    grid = tuple(-(-shape // np.maximum(chunk, 1)))
    count = int(np.prod(grid))
    chosen = np.unique(np.linspace(0, count - 1, min(SAMPLES, count)).round().astype(int))
    sizes = [_file_bytes(folder.joinpath("c", *map(str, np.unravel_index(n, grid)))) for n in chosen] if grid else []
    return round(count * float(np.mean(sizes))) if sizes else _file_bytes(folder / "c")


def _file_bytes(file: Path) -> int:
    """Size of a chunk; 0 of one that was never written."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0

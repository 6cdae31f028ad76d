"""Room for a take: what it will need, measured on its first pictures, against what is free."""

from __future__ import annotations

import shutil
from pathlib import Path

import fsspec

from litdome.errors import StoreError

RESERVE = 0.05  # of the need, for everything that is not pictures


def free_bytes(url: str) -> int | None:
    """Bytes free where ``url`` will lie; None where that has no limit to ask for (object stores)."""
    files, path = fsspec.core.url_to_fs(url)
    if "file" not in ((files.protocol,) if isinstance(files.protocol, str) else files.protocol):
        return None
    folder = Path(path).absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def check_space(url: str, needed: int) -> None:
    """Refuse a take that will not fit.

    Raises:
        StoreError: ``needed`` bytes and the reserve are more than what is free.
    """
    free, wanted = free_bytes(url), round(needed * (1 + RESERVE))
    if free is not None and wanted > free:
        raise StoreError(
            f"{url}: the take needs about {in_words(wanted)}, {in_words(free)} are free",
            hint="free space, give another place, or ingest with --scale or --crop",
        )


def in_words(size: int) -> str:
    """``1.4 GB``."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"

"""Room for a take: what it will need, measured on its first pictures, against what is free."""

from __future__ import annotations

import shutil
from pathlib import Path

import fsspec
import numpy as np

from litdome.capture.blocks import stored_frames
from litdome.capture.check import IngestPlan, stored_picture
from litdome.errors import StoreError
from litdome.media.images import iter_pictures
from litdome.media.planes import Codes
from litdome.store.layout import Compression, compress

SAMPLED = 4  # pictures a camera: flat ones and relit ones
RESERVE = 0.05  # of the need, for everything that is not pictures


def needed_bytes(plan: IngestPlan) -> int:
    """Bytes that a take will take, from its first pictures as they would be stored."""
    total = 0
    for camera in (camera for camera in plan.cameras if camera.id in plan.probes):
        probe, size = plan.probes[camera.id], plan.sizes[camera.id]
        pictures = sum(map(len, stored_frames(plan.lighting.schedule).values()))
        sampled = [
            sum(_stored_bytes(plane, plan.compression) for plane in (codes.luma, codes.chroma, codes.rgb))
            for _, codes in iter_pictures(camera.source, plan.indexes[camera.id], 0, SAMPLED)
            for codes in [stored_picture(codes, plan.crop, size, probe.subsampling)]
        ]
        total += round(pictures * sum(sampled) / max(len(sampled), 1))
    return total


def _stored_bytes(plane: Codes | None, compression: Compression) -> int:
    return 0 if plane is None else len(compress(np.ascontiguousarray(plane), compression))


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

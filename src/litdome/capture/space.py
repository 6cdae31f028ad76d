"""Room for a take: what it will need, measured on its first pictures, against what is free."""

from __future__ import annotations

import numpy as np

from litdome.capture.blocks import stored_frames
from litdome.capture.check import IngestPlan, stored_picture
from litdome.capture.recording import Recording
from litdome.errors import StoreError
from litdome.media.hdr import read_hdr
from litdome.media.images import iter_pictures
from litdome.media.planes import Codes
from litdome.store.files import free_bytes, is_local, open_files, size_in_words
from litdome.store.layout import Compression, compress

SAMPLED = 4  # pictures a camera: flat ones and relit ones; HDRIs of a take
RESERVE = 0.05  # of the need, for everything else


def needed_bytes(plan: IngestPlan, recording: Recording) -> int:
    """Bytes that a take will take, from its first pictures and HDRIs as they would be stored.

    Cameras whose files are still being written count as the others.
    """
    entries = plan.lighting.schedule.entries
    maps = [_stored_bytes(read_hdr(recording.hdris[entry.name]), "zstd-1") for entry in entries[:SAMPLED]]
    held, total = round(len(entries) * sum(maps) / max(len(maps), 1)), 0
    for camera in (camera for camera in plan.cameras if camera.id in plan.probes):
        probe, size = plan.probes[camera.id], plan.sizes[camera.id]
        pictures = sum(map(len, stored_frames(plan.lighting.schedule).values()))
        sampled = [
            sum(_stored_bytes(plane, plan.compression) for plane in (codes.luma, codes.chroma, codes.rgb))
            for _, codes in iter_pictures(camera.source, plan.indexes[camera.id], 0, SAMPLED)
            for codes in [stored_picture(codes, plan.crop, size, probe.subsampling)]
        ]
        total += round(pictures * sum(sampled) / max(len(sampled), 1))
    return held + round(total * len(plan.cameras) / max(len(plan.probes), 1))


def _stored_bytes(plane: Codes | None, compression: Compression) -> int:
    return 0 if plane is None else len(compress(np.ascontiguousarray(plane), compression))


def check_space(url: str, needed: int) -> None:
    """Refuse a take that will not fit; object stores have no limit to ask for.

    Raises:
        StoreError: ``needed`` bytes and the reserve are more than what is free.
    """
    files, path = open_files(url)
    if not is_local(files):
        return
    free, wanted = free_bytes(path), round(needed * (1 + RESERVE))
    if wanted > free:
        raise StoreError(
            f"{url}: the take needs about {size_in_words(wanted)}, {size_in_words(free)} are free",
            hint="free space, give another place, or ingest with --scale or --crop",
        )

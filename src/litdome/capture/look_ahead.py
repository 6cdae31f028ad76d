"""Look at pictures before ingest: all of a short take, windows of a long one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from litdome.capture.looks import Looks, empty_looks, measure_picture
from litdome.capture.recording import CameraSource
from litdome.compute import default_workers
from litdome.media.images import iter_pictures
from litdome.media.index import SourceIndex
from litdome.media.video import VideoProbe

SHORT_TAKE = 512  # frames; all of it is looked at
WINDOW, BETWEEN = 128, 8192  # frames; six beats of 1:20, and what a look may cost: a sixtieth of ingest


@dataclass(frozen=True, eq=False)
class Source:
    """A camera of a recording with what its file holds."""

    camera: CameraSource
    probe: VideoProbe
    index: SourceIndex


def look_windows(frames: int) -> list[tuple[int, int]]:
    """Half-open ranges of rig frames to look at, evenly spread and at both ends."""
    if frames <= SHORT_TAKE:
        return [(0, frames)]
    starts = np.linspace(0, frames - WINDOW, 2 + frames // BETWEEN).round().astype(int)
    return [(int(start), int(start) + WINDOW) for start in starts]


def look_at(sources: Sequence[Source], rig_frames: Mapping[str, npt.NDArray[np.int32]], start: int, stop: int) -> Looks:
    """Decode the pictures of the rig frames ``start`` to ``stop`` and measure them; cameras run side by side.

    Args:
        sources: What to look at.
        rig_frames: Rig frame of each picture by camera, shape (picture,), -1 for none.
        start, stop: Half-open range of rig frames.

    Returns:
        Frame 0 is ``start``; NaN where a picture is absent or cannot be decoded.
    """
    looks = empty_looks(tuple(source.camera.id for source in sources), stop - start)

    def look(row: int) -> None:
        source = sources[row]
        frames = rig_frames[source.camera.id]
        wanted = np.flatnonzero((frames >= start) & (frames < stop))
        if len(wanted):
            first, end = int(wanted[0]), int(wanted[-1]) + 1
            for n, codes in iter_pictures(source.camera.source, source.index, first, end):
                if start <= frames[n] < stop:
                    looks.put(row, int(frames[n]) - start, measure_picture(codes, source.probe))

    with ThreadPoolExecutor(default_workers()) as pool:
        list(pool.map(look, range(len(sources))))
    return looks

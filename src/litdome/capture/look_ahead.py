"""Look at pictures before ingest: all of a short take, windows of a long one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from litdome.capture.looks import Looks, empty_looks, measure_picture
from litdome.capture.recording import CameraSource
from litdome.compute import default_workers
from litdome.media.images import iter_pictures
from litdome.media.index import SourceIndex
from litdome.media.video import VideoProbe

SHORT_TAKE = 512  # frames; all of it is looked at
WINDOW, BETWEEN = 64, 4096  # frames; three beats of 1:20, and what a look may cost: a sixtieth of ingest


def look_windows(frames: int) -> list[tuple[int, int]]:
    """Half-open ranges of rig frames to look at, evenly spread and at both ends."""
    if frames <= SHORT_TAKE:
        return [(0, frames)]
    count = 2 + frames // BETWEEN
    starts = np.linspace(0, frames - WINDOW, count).round().astype(int)
    return [(int(start), int(start) + WINDOW) for start in starts]


def look_at(
    cameras: Sequence[CameraSource],
    probes: Mapping[str, VideoProbe],
    indexes: Mapping[str, SourceIndex],
    places: Mapping[str, npt.NDArray[np.int32]],
    windows: Sequence[tuple[int, int]],
) -> Looks:
    """Decode what lies in ``windows`` and measure it; cameras run side by side.

    Args:
        cameras, probes, indexes: What to look at.
        places: Frame of each picture by camera, shape (picture,), -1 for none.
        windows: Half-open ranges of frames, rising.

    Returns:
        Frames up to the end of the last window; NaN where nothing was looked at or is absent.
    """
    looks = empty_looks(tuple(camera.id for camera in cameras), windows[-1][1])

    def look(row: int) -> None:
        camera = cameras[row]
        frames = places[camera.id]
        for start, stop in windows:
            wanted = np.flatnonzero((frames >= start) & (frames < stop))
            if not len(wanted):
                continue
            first, end = int(wanted[0]), int(wanted[-1]) + 1
            for n, codes in iter_pictures(camera.source, indexes[camera.id], first, end):
                if start <= frames[n] < stop:
                    looks.put(row, int(frames[n]), measure_picture(codes, probes[camera.id]))

    with ThreadPoolExecutor(default_workers()) as pool:
        list(pool.map(look, range(len(cameras))))
    return looks

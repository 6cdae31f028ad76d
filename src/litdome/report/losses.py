"""Which frames each camera lost, when, and which pairs are absent for it: in words for the people on the stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from litdome.store.session import Session

BoolArray = npt.NDArray[np.bool_]
Range = tuple[int, int]


@dataclass(frozen=True)
class Loss:
    """Rig frames in a row that a camera did not record.

    Attributes:
        camera: Its id.
        start, stop: Rig frames, half-open.
        time_ns: Of the first one, since the start of the take.
        pairs: Half-open ranges of pairs that lack their flat or their relit picture by it, rising.
    """

    camera: str
    start: int
    stop: int
    time_ns: int
    pairs: tuple[Range, ...]

    def __str__(self) -> str:
        """``c17 lost 3 frames at 00:01:12.340; pairs 1808-1809 absent``."""
        count = self.stop - self.start
        lost = f"{self.camera} lost {count:,} {'frame' if count == 1 else 'frames'} at {clock_time(self.time_ns)}"
        return f"{lost}; {pairs_in_words(self.pairs)}"


def find_losses(session: Session, lost: BoolArray | None = None) -> tuple[Loss, ...]:
    """Every gap of every camera, by camera, then by time; ``lost`` saves reading `lost_frames` again."""
    if not session.has("pairs/relit_frame"):
        return ()
    lost = lost_frames(session) if lost is None else lost
    time_ns = session.read("schedule/time_ns")
    found = []
    for id, row in zip(session.cameras, lost, strict=True):
        gaps = np.array(runs(row), np.int64).reshape(-1, 2)
        flats, relits = (
            np.searchsorted(listed, gaps) for listed in (session.pairs.flat_frame, session.pairs.relit_frame)
        )
        since = time_ns[gaps[:, 0]] - time_ns[0]
        for gap, flat, relit, after in zip(gaps.tolist(), flats.tolist(), relits.tolist(), since.tolist(), strict=True):
            found.append(Loss(id, gap[0], gap[1], after, joined([(flat[0], flat[1]), (relit[0], relit[1])])))
    return tuple(found)


def lost_frames(session: Session) -> BoolArray:
    """Rig frames that were ingested and that a camera has not, shape (camera, frame)."""
    if not session.has("schedule/present"):
        return np.zeros((len(session.cameras), 0), bool)
    present = session.read("schedule/present").astype(bool)
    return ~present & ingested_frames(session, present.shape[1])


def ingested_frames(session: Session, frames: int) -> BoolArray:
    """Which rig frames ingest came to, shape (camera, frame): its units are blocks of frames, of each all cameras."""
    done = session.done("ingest")
    cameras = len(session.cameras)
    if not len(done) or len(done) % cameras:
        return np.zeros((cameras, frames), bool)
    blocks = done.reshape(-1, cameras).T
    length = session.array("schedule/present").chunks[1] if blocks.shape[1] > 1 else frames
    return np.asarray(np.repeat(blocks, length, axis=1)[:, :frames])


def runs(flags: BoolArray) -> list[Range]:
    """Half-open ranges of true values, rising."""
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def joined(ranges: Sequence[Range]) -> tuple[Range, ...]:
    """The same numbers in the fewest ranges, rising; empty ones vanish."""
    found: list[Range] = []
    for start, stop in sorted(item for item in ranges if item[0] < item[1]):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        else:
            found.append((start, stop))
    return tuple(found)


def clock_time(time_ns: int) -> str:
    """Time since the start of the take, ``00:01:12.340``."""
    total_ms = round(time_ns / 1e6)
    minutes, ms = divmod(total_ms, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{ms // 1000:02d}.{ms % 1000:03d}"


def pairs_in_words(pairs: Sequence[Range]) -> str:
    """``pairs 1808-1809 absent``, ``pair 4 absent``, ``no pair absent``."""
    if not pairs:
        return "no pair absent"
    texts = [str(start) if stop == start + 1 else f"{start}-{stop - 1}" for start, stop in pairs]
    one = len(pairs) == 1 and pairs[0][1] == pairs[0][0] + 1
    return f"{'pair' if one else 'pairs'} {', '.join(texts)} absent"

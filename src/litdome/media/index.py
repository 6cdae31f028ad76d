"""Which pictures a source holds and where their decoding can begin, without decoding one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.errors import InputError
from litdome.media.folders import numbered_pictures, picture_tags
from litdome.media.timecode import find_timecode
from litdome.media.video import iter_packets, open_video

Int64Array = npt.NDArray[np.int64]
NANOSECONDS = 1_000_000_000
MOST_JITTER = 0.25  # of a frame, that even times may be off by


@dataclass(frozen=True, eq=False)
class PacketTable:
    """The packets of a video in file order, which is the order of decoding.

    Attributes:
        pts: Shape (packet,), int64, presentation time in the stream's ticks, no two alike.
        dts: Shape (packet,), int64, decoding time, ticks.
        is_key: Shape (packet,), bool: a decoder may begin here.
        picture: Shape (packet,), int64, number of the packet's picture in the order of presentation; -1: an edit list
            leaves it out.
    """

    pts: Int64Array
    dts: Int64Array
    is_key: npt.NDArray[np.bool_]
    picture: Int64Array

    @cached_property
    def _by_pts(self) -> Int64Array:
        return np.argsort(self.pts)

    def packet_at(self, pts: int | None) -> int | None:
        """Number of the packet with this presentation time; None: there is none."""
        if pts is None:
            return None
        place = int(np.searchsorted(self.pts, pts, sorter=self._by_pts))
        found = int(self._by_pts[min(place, len(self.pts) - 1)])
        return found if self.pts[found] == pts else None

    def keys_before(self, picture: int) -> list[int]:
        """Packets at which decoding may begin for a picture, the best first: the last two keys before it, the first."""
        wanted = int(np.flatnonzero(self.picture == picture)[0])
        keys = np.flatnonzero(self.is_key[: wanted + 1] & (self.pts[: wanted + 1] <= self.pts[wanted]))
        return [int(key) for key in dict.fromkeys([*keys[-1:-3:-1], 0])]

    def spoiled_by(self, packet: int | None) -> set[int]:
        """Pictures that may be predicted from a damaged packet, its own among them.

        They end at the next key and include what is shown before that key; damage in what is itself shown before its
        key goes no further. None: a packet that is not in the table spoils nothing in it.
        """
        if packet is None:
            return set()
        keys = np.flatnonzero(self.is_key)
        place = int(np.searchsorted(keys, packet, "right"))
        end = int(keys[place]) if place < len(keys) else len(self.pts)
        own_key = int(keys[place - 1]) if place else 0
        spoiled = np.arange(len(self.pts)) >= packet
        if self.pts[packet] < self.pts[own_key]:
            spoiled &= (np.arange(len(self.pts)) < end) & (self.pts < self.pts[own_key])
        elif end < len(self.pts):
            spoiled[end:] &= self.pts[end:] < self.pts[end]
        return {int(picture) for picture in self.picture[spoiled] if picture >= 0}

    @cached_property
    def settled_at(self) -> Int64Array:
        """Shape (picture,): the picture whose coming shows that all packets decoded before picture n's were sound."""
        shown = self.picture >= 0
        settled = np.empty(int(shown.sum()), np.int64)
        settled[self.picture[shown]] = np.maximum.accumulate(self.picture[shown])
        return settled


@dataclass(frozen=True, eq=False)
class SourceIndex:
    """The pictures of a source in the order of presentation; picture n is what timestamps.csv calls frame n.

    Attributes:
        count: Pictures that the container holds (a folder: highest number + 1, gaps included).
        times_ns: Shape (picture,), int64, rising, ns on the container's own clock; None: the source has no times that
            can be believed, its pictures are counted as the decoder gives them, always from the beginning.
        claimed: Pictures that the container's header promises; None: it promises nothing.
        timecode: SMPTE timecode of picture 0.
        packets: Where to seek; None where there are no times.
        left_out: Numbers that the names of a folder's pictures leave out, rising.
    """

    count: int
    times_ns: Int64Array | None = None
    claimed: int | None = None
    timecode: str | None = None
    packets: PacketTable | None = field(default=None, repr=False)
    left_out: tuple[int, ...] = ()

    def __len__(self) -> int:
        return self.count

    @cached_property
    def slots(self) -> Int64Array | None:
        """Shape (picture,): place of each picture on the even grid of the source's times, the first at 0.

        A jump is a picture that the camera dropped or a hole in the file swallowed. None: no times, or uneven ones.
        """
        return None if self.times_ns is None else _even_slots(self.times_ns)


def index_source(source: Path) -> SourceIndex:
    """Index a video file by its packets, or a folder by its names; nothing is decoded.

    Raises:
        InputError: Missing, unreadable, not a video, or without a picture.
    """
    if source.is_dir():
        numbers = numbered_pictures(source)
        left_out = tuple(number for number in range(max(numbers)) if number not in numbers)
        return SourceIndex(max(numbers) + 1, timecode=_first_timecode(numbers), left_out=left_out)
    with open_video(source) as (container, stream):
        rows = [
            (packet.pts, packet.dts, packet.is_keyframe, packet.is_discard)
            for packet in iter_packets(container, stream)
            if packet is not None
        ]
        discarded = sum(row[3] for row in rows)
        if len(rows) == discarded:
            raise InputError(f"{source}: no pictures in it", hint="is the copy complete? play the file to check")
        claimed, timecode = _claimed(stream, discarded), find_timecode(container, stream)
        reorders = stream.codec_context.codec.reorder and not all(row[2] for row in rows)
        counted = reorders and _holds_decoding_times(container.format.name, rows)
        tick_ns = stream.time_base * NANOSECONDS
    packets = None if counted else _packet_table(rows)
    if packets is None:
        return SourceIndex(len(rows) - discarded, None, claimed, timecode)
    packets = _without_loose_end(packets, is_cut=claimed is not None and claimed > len(rows) - discarded)
    pts = np.sort(packets.pts[packets.picture >= 0])
    times_ns = np.array([round(int(value) * tick_ns) for value in pts], np.int64)
    return SourceIndex(len(pts), times_ns, claimed, timecode, packets)


def _first_timecode(numbers: Mapping[int, Path]) -> str | None:
    try:
        return picture_tags(numbers[0]).get("timecode") if 0 in numbers else None
    except InputError:  # an unreadable picture is an absent one; it shows when the pictures are read
        return None


def _holds_decoding_times(container: str, rows: list[tuple[Any, ...]]) -> bool:
    """Whether what are given for times of presentation are those of decoding: in AVI always, in MXF by some writers."""
    return container == "avi" or (container == "mxf" and all(row[0] == row[1] for row in rows))


def _packet_table(rows: list[tuple[Any, ...]]) -> PacketTable | None:
    """The table, or None where presentation times are missing or repeated."""
    if any(row[0] is None for row in rows):
        return None
    pts, dts, is_key, discarded = (np.array(column) for column in zip(*rows, strict=True))
    dts = np.where([row[1] is None for row in rows], pts, dts).astype(np.int64)
    if len(np.unique(pts)) < len(pts):
        return None
    picture = np.full(len(pts), -1, np.int64)
    shown = np.flatnonzero(~discarded)
    picture[shown[np.argsort(pts[shown])]] = np.arange(len(shown))
    return PacketTable(pts.astype(np.int64), dts, is_key.astype(bool), picture)


def _without_loose_end(packets: PacketTable, *, is_cut: bool) -> PacketTable:
    """The table of a file that was cut off, without pictures whose predecessors may have been cut off with the rest.

    With B-frames a picture lies in the file before some that are shown before it; what is still to come is shown after
    the last decoding time. Without a promise of the header, a gap in even times shows that something was to come.
    """
    pts = np.sort(packets.pts[packets.picture >= 0])
    sure = int(np.searchsorted(pts, packets.dts.max(), "right"))
    if not is_cut:
        slots = _even_slots(pts)
        jumps = np.flatnonzero(np.diff(slots) > 1) + 1 if slots is not None else np.zeros(0, np.int64)
        sure = int(next((jump for jump in jumps if jump >= sure), len(pts)))
    return replace(packets, picture=np.where(packets.picture < sure, packets.picture, -1))


def _even_slots(times: Int64Array) -> Int64Array | None:
    gaps = np.diff(times)
    if not len(gaps):
        return np.zeros(len(times), np.int64)
    slots = np.concatenate([[0], np.cumsum(np.maximum(1, np.rint(gaps / np.median(gaps))))]).astype(np.int64)
    places = (times - times[0]) * (slots[-1] / (times[-1] - times[0]))
    return slots if np.abs(places - slots).max() < MOST_JITTER else None


def _claimed(stream: Any, discarded: int) -> int | None:
    """Pictures that mp4, mov and avi headers promise, or Matroska's statistics; less what an edit list leaves out."""
    tagged = stream.metadata.get("NUMBER_OF_FRAMES", "")
    total = stream.frames or (int(tagged) if tagged.isdecimal() else 0)
    return total - discarded if total > discarded else None

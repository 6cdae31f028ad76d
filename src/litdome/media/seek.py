"""Any stretch of a video, picture by picture: exact numbers, and nothing that damage has touched."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import av
from av.video.frame import PictureType

from litdome.errors import InputError
from litdome.media.index import PacketTable, SourceIndex
from litdome.media.planes import PictureCodes
from litdome.media.video import codes_of_frame, decoded_frames, iter_packets, open_video

INTRA = (PictureType.NONE, PictureType.I)  # NONE: of decoders that know only whole pictures


def iter_video(path: Path, index: SourceIndex, start: int, stop: int) -> Iterator[tuple[int, PictureCodes]]:
    """Pictures ``start`` to ``stop`` of a video with their numbers; see `litdome.media.images.iter_pictures`.

    Raises:
        InputError: The file cannot be opened, or not be read any more, or its times contradict the decoder's order.
    """
    if start >= stop:
        return
    frames = _iter_counted(path) if index.packets is None else _iter_timed(path, index.packets, start)
    last = -1
    for number, frame in frames:
        if number <= last:
            hint = "wrap it anew: ffmpeg -i FILE -c copy FILE.mov"
            raise InputError(f"{path}: picture {number} comes after picture {last}: its times are wrong", hint=hint)
        last = number
        if number >= stop:
            return
        if number >= start:
            yield number, codes_of_frame(frame, path)


def _iter_timed(path: Path, table: PacketTable, start: int) -> Iterator[tuple[int, Any]]:
    """Sound frames from a key before ``start`` on.

    A key whose own picture does not come out is damaged, or a key by name only (rolling refresh): then from an earlier
    one, at last from the first packet.
    """
    for first in table.keys_before(start):
        with open_video(path) as (container, stream):
            packets = _packets_from(container, stream, table, first)
            frames = _sound_frames(stream, packets, table)
            leading = next(frames, None)
            reached = first == 0 or (leading is not None and leading[0] <= max(table.picture[first], 0))
            if leading is not None and reached:
                yield leading
                yield from frames
                return


def _packets_from(container: Any, stream: Any, table: PacketTable, first: int) -> Iterator[Any | None] | None:
    """The packets from the ``first`` on; None: seeking does not lead there."""
    if first == 0:
        return iter_packets(container, stream)
    try:
        container.seek(int(table.dts[first]), stream=stream)
    except av.FFmpegError:
        return None
    packets = iter_packets(container, stream)
    for packet in packets:
        if packet is None or (packet.is_keyframe and packet.pts is not None and packet.pts > table.pts[first]):
            return None
        if packet.pts == table.pts[first]:
            return chain([packet], packets)
    return None


def _sound_frames(stream: Any, packets: Iterator[Any | None] | None, table: PacketTable) -> Iterator[tuple[int, Any]]:
    """Decoded frames by number, held back until no damage can come to light in what they were predicted from."""
    context = stream.codec_context
    expected = (context.width, context.height, context.pix_fmt)
    spoiled: set[int] = set()
    held: deque[tuple[int, Any]] = deque()
    for packet in packets or ():
        frames = decoded_frames(stream, packet)
        if packet is not None and (frames is None or packet.is_corrupt):
            spoiled |= table.spoiled_by(table.packet_at(packet.pts))
        for frame in frames or ():
            place = table.packet_at(frame.pts)
            if place is None or table.picture[place] < 0:
                continue
            if frame.is_corrupt or (frame.width, frame.height, frame.format.name) != expected:
                spoiled |= table.spoiled_by(place)
            elif place and table.picture[place - 1] in spoiled and frame.pict_type not in INTRA:
                spoiled |= table.spoiled_by(place)  # a key by name only, as encoders with rolling refresh write it
            held.append((int(table.picture[place]), frame))
        while held and (packet is None or table.settled_at[held[0][0]] <= held[-1][0]):
            number, frame = held.popleft()
            if number not in spoiled:
                yield number, frame


def _iter_counted(path: Path) -> Iterator[tuple[int, Any]]:
    """Frames in the decoder's order up to the first damage: behind it, their numbers would be guesses."""
    number = 0
    with open_video(path) as (container, stream):
        for packet in iter_packets(container, stream):
            frames = decoded_frames(stream, packet)
            if frames is None or (packet is not None and packet.is_corrupt):
                return
            for frame in frames:
                if frame.is_corrupt:
                    return
                yield number, frame
                number += 1

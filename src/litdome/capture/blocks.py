"""Blocks of rig frames: the units of ingest, and the shards of each kind of picture that a block writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from litdome.lighting import KIND_CODES, LightingSchedule
from litdome.pairs import frames_of_kind
from litdome.stage import Kind

STORED_KINDS: dict[Kind, str] = {"flat": "flat", "relit": "hdri", "dark": "dark"}  # the store's word: the schedule's
FramesOfKind = Mapping[Kind, npt.NDArray[np.int32]]  # rig frame of each stored picture, rising


@dataclass(frozen=True)
class Block:
    """Rig frames ``start`` to ``stop``, and the shards whose first picture lies among them.

    Attributes:
        start, stop: Half-open range of rig frames; presence and looks of these are the block's to write.
        shards: By kind, half-open ranges of stored pictures, each a whole shard.
        last: Half-open end of the rig frames that the shards need; the last shards may reach into the next block.
    """

    start: int
    stop: int
    shards: Mapping[Kind, tuple[tuple[int, int], ...]]
    last: int


def stored_frames(schedule: LightingSchedule) -> dict[Kind, npt.NDArray[np.int32]]:
    """Rig frames of the pictures that are stored, by the store's kinds."""
    return {kind: frames_of_kind(schedule, word) for kind, word in STORED_KINDS.items()}


def kinds_by_code() -> dict[int, Kind]:
    """The store's kind of each kind code that is stored."""
    return {KIND_CODES[word]: kind for kind, word in STORED_KINDS.items()}


def block_at(start: int, stop: int, frames: FramesOfKind, shard: int) -> Block:
    """The block of rig frames ``start`` to ``stop`` where shards hold ``shard`` pictures."""
    shards: dict[Kind, tuple[tuple[int, int], ...]] = {}
    last = stop
    for kind, listed in frames.items():
        first, end = (-(-int(np.searchsorted(listed, edge)) // shard) * shard for edge in (start, stop))
        shards[kind] = tuple((n, min(n + shard, len(listed))) for n in range(first, min(end, len(listed)), shard))
        if shards[kind]:
            last = max(last, int(listed[shards[kind][-1][1] - 1]) + 1)
    return Block(start, stop, shards, last)


def block_length(frames: FramesOfKind, total: int, *, shard: int, at_least: int) -> int:
    """Rig frames in a block, so that blocks decode as few frames twice as can be: none in a regular interleave.

    Args:
        frames: Rig frames of the stored pictures, by kind.
        total: Rig frames of the take.
        shard: Pictures in a shard.
        at_least: Shortest block; the longest is twice that.
    """
    if total <= at_least:
        return max(total, 1)
    lengths = range(at_least, 2 * at_least)
    return min(lengths, key=lambda length: _decoded_twice(frames, total, shard, length))


def _decoded_twice(frames: FramesOfKind, total: int, shard: int, length: int) -> int:
    stops = np.arange(length, total, length)
    reach = stops.copy()
    for listed in frames.values():
        if len(listed):
            owned = np.minimum(-(-np.searchsorted(listed, stops) // shard) * shard, len(listed))
            reach = np.maximum(reach, np.where(owned > 0, listed[owned - 1] + 1, 0))
    return int((reach - stops).sum())

"""Blocks: every shard belongs to exactly one, and what a block decodes holds all that its shards need."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from litdome.capture.blocks import block_at, block_length
from litdome.stage import Kind

SHARD = 16


def frames_of(kinds: np.ndarray) -> dict[Kind, np.ndarray]:
    names: tuple[Kind, ...] = ("flat", "relit", "dark")
    return {name: np.flatnonzero(kinds == code).astype(np.int32) for code, name in enumerate(names)}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=400), st.integers(8, 90))
def test_each_shard_belongs_to_one_block_that_decodes_all_of_it(listed: list[int], length: int) -> None:
    frames = frames_of(np.array(listed))
    total = len(listed)
    owned: dict[Kind, list[tuple[int, int]]] = {kind: [] for kind in frames}
    for start in range(0, total, length):
        block = block_at(start, min(start + length, total), frames, SHARD)
        assert block.last >= block.stop
        for kind, shards in block.shards.items():
            owned[kind] += shards
            for first, stop in shards:
                assert frames[kind][first] >= start and frames[kind][stop - 1] < block.last
    for kind, found in owned.items():
        n = len(frames[kind])
        assert found == [(k, min(k + SHARD, n)) for k in range(0, n, SHARD)]


def test_regular_interleaves_are_decoded_once() -> None:
    for period, phase in ((2, 0), (2, 1), (21, 0), (21, 5), (3, 2)):
        kinds = np.where((np.arange(9000) - phase) % period == 0, 0, 1)
        frames = frames_of(kinds)
        length = block_length(frames, len(kinds), shard=SHARD, at_least=1024)
        assert 1024 <= length < 2048 and length % (SHARD * period) == 0
        blocks = [block_at(s, min(s + length, 9000), frames, SHARD) for s in range(0, 9000, length)]
        assert all(block.last == block.stop for block in blocks)


def test_an_irregular_schedule_decodes_little_twice() -> None:
    kinds = np.random.default_rng(0).integers(0, 2, 20_000)
    frames = frames_of(kinds)
    length = block_length(frames, len(kinds), shard=SHARD, at_least=1024)
    blocks = [block_at(s, min(s + length, 20_000), frames, SHARD) for s in range(0, 20_000, length)]
    assert sum(block.last - block.stop for block in blocks) < 0.03 * 20_000


def test_a_short_take_is_one_block() -> None:
    assert block_length(frames_of(np.array([0, 1, 0])), 3, shard=SHARD, at_least=1024) == 3

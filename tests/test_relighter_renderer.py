"""Chunks of long clips."""

from __future__ import annotations

import pytest
import torch

from litdome.train_plugins.relighter.renderer import chunk_ranges, cross_fade


@pytest.mark.parametrize(("frames", "chunk", "overlap"), [(1, 4, 1), (4, 4, 1), (5, 4, 1), (23, 4, 2), (9, 2, 5)])
def test_chunks_cover_every_frame_and_have_one_length(frames: int, chunk: int, overlap: int) -> None:
    ranges = chunk_ranges(frames, chunk, overlap)
    assert {frame for start, end in ranges for frame in range(start, end)} == set(range(frames))
    assert {end - start for start, end in ranges} == {min(chunk, frames)}


def test_chunks_that_agree_stay_as_they_are() -> None:
    video = torch.rand(11, 3, 2, 2)
    parts = [(start, video[start:end]) for start, end in chunk_ranges(11, 4, 2)]
    assert torch.allclose(cross_fade(parts, 11), video, atol=1e-6)


def test_chunks_that_differ_fade_linearly() -> None:
    parts = [(0, torch.zeros(4, 3, 1, 1)), (2, torch.ones(4, 3, 1, 1))]
    assert cross_fade(parts, 6)[:, 0, 0, 0].tolist() == pytest.approx([0, 0, 1 / 3, 2 / 3, 1, 1])

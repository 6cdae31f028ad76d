"""A shutter that rolls over the LED switch is found; moving people and HDRIs from above raise no alarm."""

from __future__ import annotations

import numpy as np
import pytest
from stage_looks import film_looks, interleaved

from litdome.capture.banding import find_mixed
from litdome.capture.interleave import block_levels, find_interleave
from litdome.capture.looks import GRID, Looks

KINDS = [{}, {"same_mean": True}, {"hdri_gain": 0.125, "noise": 0.002}, {"motion": 0.05}, {"drift": 0.3}]


def mixed_frames(looks: Looks) -> list[list[int]]:
    found = find_interleave(block_levels(looks.grid))
    assert found is not None
    return [np.flatnonzero(row).tolist() for row in find_mixed(looks.grid, found)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("run", [1, 4])
def test_single_mixed_frames_are_found_in_their_camera(kind: dict[str, float], run: int) -> None:
    lights = interleaved(60, 2, 0, run=run)
    mixed = {1: {30: 12, 41: 8, 50: 16}}
    assert mixed_frames(film_looks(lights, mixed=mixed, **kind)) == [[], [30, 41, 50], []]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_no_false_alarm(kind: dict[str, float], seed: int) -> None:
    for run in (1, 3):
        assert not any(mixed_frames(film_looks(interleaved(60, 2, 0, run=run, seed=seed), seed=seed, **kind)))


def test_light_from_above_is_no_banding() -> None:
    lights = interleaved(60, 2, 0, run=2)
    looks = film_looks(lights)
    above = np.linspace(1.2, 0.2, GRID[0])[:, None].astype(np.float16)
    looks.grid[:, 1::2] *= above
    assert not any(mixed_frames(looks))


def test_a_camera_that_always_rolls_is_mixed_throughout() -> None:
    every = {frame: 12 for frame in range(60)}
    found = mixed_frames(film_looks(interleaved(60, 2, 0), mixed={1: every}))
    assert found == [[], list(range(60)), []]


def test_one_in_21() -> None:
    assert mixed_frames(film_looks(interleaved(130, 21, 3), mixed={1: {24: 10, 45: 12}}))[1] == [24, 45]

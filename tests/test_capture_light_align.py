"""Cameras are brought in step by the light alone, and what the light does not tell stays open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stage_looks import FLAT, film_looks, interleaved

from litdome.capture.interleave import block_levels
from litdome.capture.light_align import SURE, align_cameras, find_steps
from litdome.capture.looks import Looks

MOST_UNTOLD = 0.3  # of a camera's pictures
NEAR_A_LOSS = 6  # pictures


def placed(looks: Looks, pictures: Mapping[int, Sequence[int]]) -> dict[str, np.ndarray]:
    """Rig frame of each camera's pictures, from 0; -1 where the light does not tell."""
    counts = [len(pictures.get(row, range(looks.frames))) for row in range(len(looks.cameras))]
    levels = block_levels(looks.grid)
    for row, count in enumerate(counts):
        levels[row, count:] = np.nan
    found = align_cameras(levels, max(counts) - min(counts) + 8)
    told = found.chance >= SURE
    frames = found.shift + np.arange(looks.frames)
    frames -= frames[told].min()
    return {id: np.where(told, frames, -1)[row, : counts[row]] for row, id in enumerate(looks.cameras)}


def without(frames: int, *lost: int) -> list[int]:
    return [frame for frame in range(frames) if frame not in lost]


def wrong_and_untold(found: np.ndarray, shown: Sequence[int]) -> tuple[int, float]:
    told = found >= 0
    losses = np.flatnonzero(np.diff(shown) > 1)
    far = np.array([all(abs(n - loss) > NEAR_A_LOSS for loss in losses) for n in range(len(shown))])
    return int((found != np.array(shown))[told & far].sum()), float(1 - told.mean())


@pytest.mark.parametrize("run", [1, 4])
@pytest.mark.parametrize("light", [{}, {"hdri_gain": 0.125, "noise": 0.002}, {"black_wall": True, "motion": 0.01}])
@pytest.mark.parametrize("lost", [(50,), (50, 51), (20, 70, 71, 72)])
def test_a_camera_that_lost_pictures_is_put_back(lost: tuple[int, ...], light: dict[str, float], run: int) -> None:
    pictures = {1: without(120, *lost)}
    looks = film_looks(interleaved(120, 2, 0, run=run), pictures=pictures, **light)
    found = placed(looks, pictures)
    for row, id in enumerate(looks.cameras):
        wrong, untold = wrong_and_untold(found[id], pictures.get(row, range(120)))
        assert wrong == 0 and untold < MOST_UNTOLD


@given(st.sets(st.integers(20, 80), max_size=2), st.sets(st.integers(20, 80), max_size=2), st.integers(0, 4))
@settings(max_examples=12, deadline=None, derandomize=True)
def test_two_of_three_cameras_may_lose_pictures(first: set[int], second: set[int], late: int) -> None:
    pictures = {0: without(100, *first), 2: without(100, *second)[late:]}
    found = placed(film_looks(interleaved(100, 2, 1), pictures=pictures), pictures)
    for row, id in enumerate(found):
        assert wrong_and_untold(found[id], pictures.get(row, range(100)))[0] == 0


@pytest.mark.parametrize("loser", [0, 1])
def test_of_two_cameras_the_one_that_is_ahead_lost_a_picture(loser: int) -> None:
    looks = film_looks(interleaved(100, 2, 0), cameras=2, pictures={loser: without(100, 50)})
    aligned = align_cameras(block_levels(looks.grid), 8)
    steps = [find_steps(aligned.shift[row], aligned.chance[row] >= SURE) for row in range(2)]
    assert [sum(count for _, count in found) for found in steps] == [int(row == loser) for row in range(2)]
    assert abs(steps[loser][0][0] - 50) <= NEAR_A_LOSS


def test_cameras_in_step_stay_where_they_are() -> None:
    for lights in (interleaved(100, 2, 0), interleaved(126, 21, 3), [FLAT] * 60):
        aligned = align_cameras(block_levels(film_looks(lights).grid), 8)
        assert not aligned.shift[aligned.chance > 0.95].any()


def test_a_long_take_in_step_is_seen_at_a_glance_and_a_loss_in_it_still_is() -> None:
    lights = interleaved(2100, 2, 0, run=3)
    looks = film_looks(lights, cameras=2, pictures={1: without(2100, 1300)})
    aligned = align_cameras(block_levels(looks.grid), 4)
    assert aligned.shift[1, [0, 1290, 1310, 2098]].tolist() == [0, 0, 1, 1]


def test_constant_light_places_nothing() -> None:
    looks = film_looks([FLAT] * 60, motion=0)
    found = placed(looks, {})
    assert all((found[id] < 0).all() for id in ("c01", "c02"))

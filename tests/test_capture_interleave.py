"""The beat of the light by looking: found under dim and even light, motion and noise; never invented."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import DATA, need
from hypothesis import given, settings
from hypothesis import strategies as st
from stage_looks import FLAT, UNIQUE, film_looks, interleaved

from litdome.capture.interleave import Interleave, block_levels, find_interleave
from litdome.capture.looks import Looks

CONFIDENT = 0.8
HARD = {
    "plain": {},
    "dim": {"hdri_gain": 0.125},
    "same mean": {"same_mean": True},
    "drift and noise": {"drift": 0.3, "noise": 0.003},
    "moving": {"motion": 0.05},
    "black wall": {"black_wall": True, "motion": 0.01},
}


def beat(looks: Looks) -> Interleave | None:
    return find_interleave(block_levels(looks.grid))


def is_flat(lights: list[int]) -> list[bool]:
    return [light == FLAT for light in lights]


@pytest.mark.parametrize("kind", HARD)
@pytest.mark.parametrize(("period", "phase", "frames"), [(2, 0, 60), (2, 1, 60), (3, 2, 60), (21, 4, 126)])
def test_the_flat_frames_are_found(kind: str, period: int, phase: int, frames: int) -> None:
    if kind == "black wall" and period == 21:
        pytest.skip("a subject that is all there is moves too far in 21 frames of this random walk")
    lights = interleaved(frames, period, phase)
    found = beat(film_looks(lights, **HARD[kind]))
    assert found is not None and (found.period, found.phase) == (period, phase)
    assert found.confidence > CONFIDENT and found.flat.tolist() == is_flat(lights)


@given(
    period=st.integers(2, 8), data=st.data(), run=st.integers(1, 2), seed=st.integers(0, 50), gain=st.floats(0.1, 0.8)
)
@settings(max_examples=25, deadline=None)
def test_any_period_and_phase(period: int, data: st.DataObject, run: int, seed: int, gain: float) -> None:
    phase = data.draw(st.integers(0, period - 1))
    lights = interleaved(12 * period, period, phase, run=run, seed=seed)
    found = beat(film_looks(lights, cameras=2, hdri_gain=gain, seed=seed))
    assert found is not None and found.confidence > CONFIDENT
    assert (found.period, found.phase) == (period, phase) and found.flat.tolist() == is_flat(lights)


def test_twelve_frames_are_enough_where_every_pair_has_its_own_light() -> None:
    for phase in (0, 1):
        lights = interleaved(12, 2, phase)
        found = beat(film_looks(lights))
        assert found is not None and found.confidence > CONFIDENT and found.flat.tolist() == is_flat(lights)


def test_the_real_olat_schedule_is_followed_out_of_its_beat_too() -> None:
    file = need(DATA / "lights" / "light_pattern_per_frame.json")
    lights = [FLAT if pattern == 0 else UNIQUE + pattern for _, pattern in json.loads(file.read_text())]
    found = beat(film_looks(lights, cameras=2))
    assert found is not None and found.period == 21 and found.confidence > CONFIDENT
    assert found.flat.tolist() == is_flat(lights)  # the first and the last flat frame are off the beat


@pytest.mark.parametrize("lost", [(31,), (31, 32, 33), (20, 61)])
def test_one_camera_s_lost_frames_show_as_jumps(lost: tuple[int, ...]) -> None:
    lights = interleaved(100, 2, 0)
    kept = [frame for frame in range(100) if frame not in lost]
    found = beat(film_looks(lights, cameras=1, pictures={0: kept}))
    assert found is not None and found.flat.tolist() == is_flat([lights[frame] for frame in kept])
    assert len(found.jumps) == (2 if lost == (20, 61) else 1)


def test_absent_frames_and_windows_of_a_long_take_do_not_matter() -> None:
    lights = interleaved(700, 2, 1)
    looks = film_looks(lights, absent={0: [7, 8], 1: [8], 2: [8]})
    looks.grid[:, 64:600] = np.nan
    found = beat(looks)
    assert found is not None and found.confidence > CONFIDENT
    assert found.flat[600:].tolist() == is_flat(lights)[600:]


@pytest.mark.parametrize(
    "lights",
    [
        [FLAT] * 60,
        list(range(60)),
        [int(n) for n in np.random.default_rng(3).integers(-1, 3, 60)],
        interleaved(5, 2, 0),
    ],
    ids=["constant light", "another light every frame", "without order", "too short"],
)
@pytest.mark.parametrize("kind", HARD)
def test_no_beat_is_invented(lights: list[int], kind: str) -> None:
    found = beat(film_looks(lights, **HARD[kind]))
    assert found is None or found.confidence < CONFIDENT


def test_one_other_light_throughout_leaves_open_which_one_is_flat() -> None:
    for seed in range(5):
        found = beat(film_looks([FLAT, 5] * 30, seed=seed))
        assert found is None or found.confidence < CONFIDENT


def test_a_ramp_is_no_beat() -> None:
    looks = film_looks([FLAT] * 40, motion=0)
    looks.grid[:] *= np.linspace(0.1, 1.9, 40)[None, :, None, None].astype(np.float16)
    found = beat(looks)
    assert found is None or found.confidence < CONFIDENT

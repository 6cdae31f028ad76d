"""The pair rule of the contract, against a plain loop over frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litdome.lighting import HdriEntry, LightingSchedule
from litdome.pairs import PairTable, make_pairs


def schedule_of(kinds: list[int]) -> LightingSchedule:
    kind = np.array(kinds, np.uint8)
    hdri = np.where(kind == 2, np.arange(len(kind)) % 3, -1).astype(np.int32)
    return LightingSchedule(kind, hdri, tuple(HdriEntry(name) for name in "abc"))


def times(frames: int, fps: float = 25.0) -> np.ndarray:
    return np.round(np.arange(frames) * 1e9 / fps).astype(np.int64)


@given(st.lists(st.integers(0, 3), max_size=60))
@settings(max_examples=150, deadline=None)
def test_every_relit_frame_with_an_earlier_flat_one_makes_one_pair(kinds: list[int]) -> None:
    pairs = make_pairs(schedule_of(kinds), times(len(kinds)))
    flats = [frame for frame, kind in enumerate(kinds) if kind == 1]
    relits = [frame for frame, kind in enumerate(kinds) if kind == 2]
    expected = [frame for frame in relits if any(flat < frame for flat in flats)]
    assert pairs.relit_frame.tolist() == expected
    for n, frame in enumerate(expected):
        before = [flat for flat in flats if flat < frame][-1]
        after = next((flat for flat in flats if flat > frame), -1)
        assert (pairs.flat_frame[n], pairs.next_flat_frame[n]) == (before, after)
        assert flats[pairs.flat[n]] == before
        assert relits[pairs.relit[n]] == frame
        assert pairs.next_flat[n] == (flats.index(after) if after >= 0 else -1)
        assert pairs.hdri[n] == frame % 3
        assert pairs.gap_ms[n] == pytest.approx((frame - before) * 40.0, rel=1e-6)
        if after < 0:
            assert np.isnan(pairs.alpha[n])
        else:
            assert pairs.alpha[n] == pytest.approx((frame - before) / (after - before), rel=1e-6)


@pytest.mark.parametrize(("relit_per_flat", "alphas"), [(1, [0.5]), (20, [n / 21 for n in range(1, 21)])])
def test_the_same_rule_gives_half_steps_at_1_to_1_and_fractions_at_1_to_20(relit_per_flat: int, alphas: list) -> None:
    kinds = ([1] + [2] * relit_per_flat) * 3 + [1]
    pairs = make_pairs(schedule_of(kinds), times(len(kinds)))
    assert len(pairs) == 3 * relit_per_flat
    np.testing.assert_allclose(pairs.alpha, alphas * 3, rtol=1e-6)


def test_pairs_have_int32_and_float32_arrays_even_when_there_are_none() -> None:
    for kinds in ([], [2, 2], [1], [2, 1]):
        pairs = make_pairs(schedule_of(kinds), times(len(kinds)))
        assert isinstance(pairs, PairTable) and len(pairs) == 0
        assert pairs.next_flat_frame.dtype == np.int32 and pairs.alpha.dtype == np.float32


def test_uneven_time_stamps_move_alpha_not_the_partners() -> None:
    time_ns = np.array([0, 10, 40], np.int64) * 1_000_000
    pairs = make_pairs(schedule_of([1, 2, 1]), time_ns)
    assert pairs.gap_ms.tolist() == [10.0] and pairs.alpha.tolist() == [0.25]

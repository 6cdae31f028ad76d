from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from litdome.datasets.splits import (
    LEFT_OUT,
    HeldOut,
    held_out_names,
    hold_out,
    pair_factors,
    pair_reach,
    sample_split,
    seen_lights,
    split_pairs,
)


def reach(count: int, neighbours: int, ratio: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames of a take with ``ratio`` relit frames after each flat one."""
    flat = np.array([i // ratio * (ratio + 1) for i in range(count)], np.int32)
    return pair_reach(flat, flat + ratio + 1, np.union1d(flat, flat + ratio + 1), neighbours)


def test_a_pair_reaches_the_flats_that_its_own_flats_look_at() -> None:
    first, last = reach(60, 1, 20)
    assert (first[25], last[25]) == (0, 63)  # its flats, 21 and 42, look at 0 and 63
    assert (first[0], last[0]) == (0, 42) and last[-1] == 63  # the take begins and ends
    none = np.array([5], np.int32)
    assert [found.tolist() for found in pair_reach(none - 1, none, none[:0], 1)] == [[4], [5]]


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(4, 60), st.sampled_from([0, 1, 3]), st.sampled_from([1, 2, 5]))
def test_train_and_tests_share_no_recorded_frame(data: st.DataObject, count: int, neighbours: int, ratio: int) -> None:
    hdri = np.array(data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count)), np.int32)
    held = HeldOut(frozenset({data.draw(st.integers(0, 3))}), data.draw(st.integers(0, count)))
    first, last = reach(count, neighbours, ratio)
    names = split_pairs(hdri, first, last, held)
    frames = [set(range(a, b + 1)) for a, b in zip(first, last, strict=True)]
    train = [frames[i] for i in range(count) if names[i] == "train"]
    tests = [frames[i] for i in range(count) if names[i] not in ("train", LEFT_OUT)]
    assert not any(a & b for a in train for b in tests)
    for i, name in enumerate(names):
        light, motion = int(hdri[i]) in held.lights, i >= held.motion_from
        if name == "train":
            assert not light and not motion
        elif name != LEFT_OUT:
            assert name == "_".join(["light"] * light + ["motion"] * motion)


def test_a_window_of_one_pair_leaks_where_three_does_not() -> None:
    first, last = reach(12, 0, 1)
    wide_first, wide_last = reach(12, 1, 1)
    held = HeldOut(frozenset(), 6)
    assert split_pairs(np.zeros(12, np.int32), first, last, held).count("train") == 5
    assert split_pairs(np.zeros(12, np.int32), wide_first, wide_last, held).count("train") == 3


def test_random_lights_leave_most_pairs_for_training() -> None:
    hdri = np.random.default_rng(0).integers(0, 3, 50).astype(np.int32)
    first, last = reach(50, 1, 1)
    names = split_pairs(hdri, first, last, HeldOut(frozenset({1}), 40))
    eligible = sum(h != 1 for h in hdri[:40])
    assert names.count("train") >= 0.6 * eligible and names.count("light") >= 1


def test_rotations_of_one_map_are_held_out_together() -> None:
    groups = ["sky", "sky", "room", "room", "street"]
    for seed in range(8):
        drawn = held_out_names(0.1, sorted(set(groups)), seed, 2)
        held = hold_out(drawn, 0.8, light_groups=groups, pair_count=10)
        assert len({groups[i] for i in held.lights}) == 1
        assert all((i in held.lights) == (groups[i] in {groups[j] for j in held.lights}) for i in range(5))
        assert held.motion_from == 8


def test_names_say_exactly_what_is_held_out() -> None:
    assert sample_split("train", False) == "train"
    assert sample_split("train", True) == "test_camera"
    assert sample_split("light_motion", True) == "test_light_motion_camera"
    assert sample_split(LEFT_OUT, True) == LEFT_OUT


def test_lights_that_training_shows_are_known_by_content() -> None:
    hdri = np.array([0, 0, 1, 1, 0, 1, 2, -1], np.int32)
    splits = ["train", "train", "train", LEFT_OUT, "train", "train", "motion", "train"]
    assert seen_lights(splits, hdri, ["sky", "room", "street"]) == {"sky", "room"}
    assert pair_factors(hdri, HeldOut(frozenset({2}), 6))[6] == "light_motion"


def plain_split(hdri: np.ndarray, first: np.ndarray, last: np.ndarray, held: HeldOut) -> list[str]:
    """The rule of `split_pairs` by comparing every pair with every other one."""
    factors = np.array(pair_factors(hdri, held))
    tests = np.isin(factors, ["motion", "light_motion"])
    meets = (first[:, None] <= last[None]) & (first[None] <= last[:, None])
    train = (factors == "train") & ~meets[:, tests].any(axis=1)
    admitted, lost = np.zeros(len(hdri), bool), np.zeros(len(hdri), bool)
    for pair in sorted(np.flatnonzero(factors == "light"), key=lambda i: (int((meets[i] & train).sum()), int(i))):
        if not admitted.any() or ((meets[pair] | lost) & train).sum() <= 0.25 * train.sum():
            admitted[pair] = True
            lost |= meets[pair]
    used = tests | admitted | (train & ~lost)
    return [str(name) if keep else LEFT_OUT for name, keep in zip(factors, used, strict=True)]


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(1, 50), st.sampled_from([0, 1, 3]), st.sampled_from([1, 2, 5]))
def test_ranges_find_the_same_split_as_comparing_all_pairs(
    data: st.DataObject, count: int, neighbours: int, ratio: int
) -> None:
    hdri = np.array(data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count)), np.int32)
    held = HeldOut(frozenset({0}), data.draw(st.integers(0, count)))
    first, last = reach(count, neighbours, ratio)
    assert split_pairs(hdri, first, last, held) == plain_split(hdri, first, last, held)


def test_a_held_out_camera_needs_no_guard_gaps() -> None:
    factors = pair_factors(np.array([0, 1, 0, 0], np.int32), HeldOut(frozenset({1}), 3))
    assert factors == ["train", "light", "train", "motion"]

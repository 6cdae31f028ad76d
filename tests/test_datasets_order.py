"""The order of samples: whole epochs, exact resume, shares of processes, weights."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from litdome.datasets.order import Pick, ResumableSampler
from litdome.errors import UsageError


def consumed(sampler: ResumableSampler, count: int) -> list[Pick]:
    """Draw ``count`` samples as a training loop does."""
    found: list[Pick] = []
    while len(found) < count:
        part = [pick for _, pick in zip(range(count - len(found)), sampler, strict=False)]
        sampler.advance(len(part))
        found += part
    return found


def test_epoch_is_a_permutation_and_the_next_is_another() -> None:
    picks = consumed(ResumableSampler(range(50), seed=1), 100)
    first, second = ([pick.sample for pick in picks[part]] for part in (slice(50), slice(50, 100)))
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert first != [pick.sample for pick in consumed(ResumableSampler(range(50), seed=2), 50)]
    assert [pick.draw for pick in picks] == list(range(100))


@given(st.integers(2, 40), st.integers(0, 90), st.integers(0, 2**31), st.booleans())
def test_resumed_order_goes_on_exactly_where_it_stood(count: int, used: int, seed: int, is_weighted: bool) -> None:
    weights = np.linspace(0.1, 1, count) if is_weighted else None
    whole = consumed(ResumableSampler(range(count), seed, weights), used + 30)
    begun = ResumableSampler(range(count), seed, weights)
    consumed(begun, used)
    resumed = ResumableSampler(range(count), seed, weights)
    resumed.load_state_dict(json.loads(json.dumps(begun.state_dict())))
    assert consumed(resumed, 30) == whole[used:]


def test_what_workers_read_ahead_is_not_lost() -> None:
    sampler = ResumableSampler(range(10), seed=0)
    ahead = list(sampler)
    sampler.advance(3)
    assert list(sampler) == ahead[3:]


@given(st.integers(1, 5), st.integers(5, 40), st.integers(0, 4))
def test_processes_share_an_epoch_without_overlap(world: int, count: int, used: int) -> None:
    assume(count - used >= world)
    samplers = [ResumableSampler(range(count), 7, rank=rank, world=world) for rank in range(world)]
    for sampler in samplers:
        sampler.advance(used)
    parts = [list(sampler) for sampler in samplers]
    assert {len(part) for part in parts} == {len(samplers[0])}
    alone = ResumableSampler(range(count), 7)
    alone.advance(used)
    left = list(alone)
    together = sorted((pick for part in parts for pick in part), key=lambda pick: pick.draw)
    assert together == left[: len(together)]
    assert len(left) - len(together) < world


def test_weighted_epoch_holds_each_sample_as_often_as_its_share() -> None:
    weights = np.array([4.0, 1.0, 0.0, np.nan, 2.0, 1.0, 0.5, 0.5])
    sampler = ResumableSampler(weights, 3, weights)
    share = np.nan_to_num(weights) / np.nansum(weights) * len(weights)
    total: Counter[int] = Counter()
    for _ in range(200):
        epoch = Counter(pick.sample for pick in consumed(sampler, len(weights)))
        assert all(np.floor(share[i]) <= epoch[i] <= np.ceil(share[i]) for i in range(len(weights)))
        total += epoch
    assert total[2] == total[3] == 0
    # 200 epochs of a share of 4/9 vary by 0.035 (one deviation); 0.15 is four of them
    assert np.allclose([total[i] / 200 for i in range(len(weights))], share, atol=0.15)
    assert dict(sampler.skipped) == {"weight not measured": 1, "weight 0": 1}


def test_epoch_that_nobody_used_is_not_given_again() -> None:
    sampler = ResumableSampler(range(4), seed=0)
    list(sampler)
    with pytest.raises(UsageError, match="nothing of it was used") as caught:
        next(iter(sampler))
    assert "advance" in caught.value.hint
    sampler.advance(4)
    assert len(list(sampler)) == 4
    assert (sampler.epoch, sampler.position) == (1, 0)


@pytest.mark.parametrize("other", [{"seed": 1}, {"samples": range(6)}, {"weights": np.ones(5)}])
def test_state_of_another_order_is_refused(other: dict[str, object]) -> None:
    begun = {"samples": range(5), "seed": 0}
    with pytest.raises(UsageError, match="another seed, dataset or weights"):
        ResumableSampler(**(begun | other)).load_state_dict(ResumableSampler(**begun).state_dict())


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, 2.0], "weights of shape"),
        ([1.0, -1.0, 1.0], "at least 0"),
        ([1.0, np.inf, 1.0], "finite"),
        ([0.0, np.nan, 0.0], "no sample of 3 has a weight above 0"),
    ],
)
def test_weights_that_cannot_be_are_refused(weights: list[float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ResumableSampler(range(3), 0, weights)


def test_more_processes_than_samples_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot share 2 samples among 3"):
        ResumableSampler(range(2), 0, rank=0, world=3)
    with pytest.raises(UsageError, match="cannot share 0 samples"):
        ResumableSampler([], 0)

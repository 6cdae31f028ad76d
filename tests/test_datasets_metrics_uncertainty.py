"""Intervals of differences: against formulas, and against what is known of the distributions."""

from __future__ import annotations

import numpy as np
import pytest

from litdome.datasets.metrics import Interval, Term, bootstrap_sum, detectable, verdict


def term(factor: float, values: np.ndarray, clusters=None, seeds=None) -> Term:
    n = len(values)
    return Term(factor, values, clusters or list(range(n)), seeds or [0] * n)


def test_the_error_of_a_mean_is_that_of_the_formula() -> None:
    values = np.random.default_rng(1).normal(3, 2, 400)
    found = bootstrap_sum([term(1, values)], draws=8000)
    assert found.value == pytest.approx(values.mean())
    assert found.error == pytest.approx(values.std() / np.sqrt(400), rel=0.03)  # 8000 draws: 0.8 % of the error
    assert found.low == pytest.approx(values.mean() - 1.96 * found.error, abs=0.1 * found.error)
    assert found.high == pytest.approx(values.mean() + 1.96 * found.error, abs=0.1 * found.error)


def test_a_constant_difference_on_the_same_clusters_is_known_exactly() -> None:
    values = np.random.default_rng(2).normal(20, 5, 30)
    paired = bootstrap_sum([term(1, values + 0.4), term(-1, values)])
    assert (paired.low, paired.high) == pytest.approx((0.4, 0.4))
    apart = bootstrap_sum([term(1, values + 0.4), term(-1, values, clusters=[f"other {k}" for k in range(30)])])
    assert apart.high - apart.low > 3  # the same numbers on clusters of their own say next to nothing


def test_many_pictures_of_one_cluster_count_as_one() -> None:
    few = np.random.default_rng(3).normal(0, 1, 12)
    alone = bootstrap_sum([term(1, few)])
    copied = bootstrap_sum([term(1, np.repeat(few, 50), clusters=np.repeat(np.arange(12), 50).tolist())])
    assert copied.error == pytest.approx(alone.error)
    assert bootstrap_sum([term(1, np.repeat(few, 50))]).error < alone.error / 5  # what ignoring clusters would claim


def test_seeds_add_their_own_spread() -> None:
    trained = np.random.default_rng(4).normal(0, 1, 5)  # one picture, five trainings
    one = {"clusters": [0] * 5, "seeds": list(range(5))}
    found = bootstrap_sum([term(1, trained, **one)], draws=8000)
    assert found.error == pytest.approx(trained.std() / np.sqrt(5), rel=0.03)
    assert (found.clusters, found.seeds) == (1, 5)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng, covered = np.random.default_rng(5), 0
    for _ in range(300):
        found = bootstrap_sum([term(1, rng.normal(0, 1, 40))], draws=400)
        covered += found.low < 0 < found.high
    assert 0.90 < covered / 300 < 0.98  # 0.95, less a little for 40 clusters; 0.0126 is one deviation


def test_a_term_without_values_is_refused() -> None:
    with pytest.raises(ValueError, match="without values"):
        bootstrap_sum([term(1, np.zeros(0))])


def test_the_detectable_difference_is_found_four_times_of_five() -> None:
    assert detectable(1.0) == pytest.approx(1.959964 + 0.841621, abs=1e-5)
    rng, size = np.random.default_rng(6), detectable(0.5)
    found = rng.normal(size, 0.5, 40000) > 1.959964 * 0.5
    assert found.mean() == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(
    ("low", "high", "bounds", "expected"),
    [
        (0.1, 0.5, {"above": 0}, "holds"),
        (-0.1, 0.5, {"above": 0}, "undecided"),
        (-0.5, -0.1, {"above": 0}, "does not hold"),
        (0.1, 0.5, {"above": 1.0}, "does not hold"),
        (-0.2, 0.25, {"within": 0.3}, "holds"),
        (-0.2, 0.35, {"within": 0.3}, "undecided"),
        (0.35, 0.9, {"within": 0.3}, "does not hold"),
        (-0.9, 0.9, {"within": 0.3}, "undecided"),
        (0.1, 0.4, {"below": 0.5}, "holds"),
        (0.1, 0.6, {"below": 0.5}, "undecided"),
        (0.1, 0.4, {"above": 0.0, "below": 0.3}, "undecided"),
    ],
)
def test_only_an_interval_all_inside_holds(low: float, high: float, bounds: dict[str, float], expected: str) -> None:
    assert verdict(Interval((low + high) / 2, low, high, 0.1, 9, 3), **bounds) == expected

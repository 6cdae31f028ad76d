"""How sure a difference between methods is: cluster bootstrap, minimum detectable difference, and what holds.

Pictures of one camera under one light are alike, so they are drawn together, as a cluster; trainings from several seeds
are drawn as well. What is compared on the same clusters and seeds is thereby compared in pairs.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

FloatArray = npt.NDArray[np.floating[Any]]
Verdict = Literal["holds", "does not hold", "undecided"]
SHARE, POWER = 0.95, 0.8


@dataclass(frozen=True)
class Term:
    """One method in a sum.

    Attributes:
        factor: Multiplies its mean.
        values: A measure of each sample and seed, shape (n,).
        clusters, seeds: What each value belongs to, n each; equal names are the same cluster or seed in every term.
    """

    factor: float
    values: FloatArray
    clusters: Sequence[Hashable]
    seeds: Sequence[Hashable]


@dataclass(frozen=True)
class Interval:
    """A sum of means with its spread.

    Attributes:
        value: Of the samples as they are.
        low, high: Ends of the bootstrap's percentile interval.
        error: Standard deviation over the draws.
        clusters, seeds: How many there are; with one seed the interval says nothing of how much trainings differ.
    """

    value: float
    low: float
    high: float
    error: float
    clusters: int
    seeds: int


def bootstrap_sum(terms: Sequence[Term], *, draws: int = 4000, share: float = SHARE, seed: int = 0) -> Interval:
    """The sum of the terms' means, each times its factor, with clusters and seeds drawn again.

    Args:
        terms: With one value or more each.
        draws: How often; draws that leave a term without a value do not count.
        share: Of the draws that lie inside the interval.
        seed: Of the draws.

    Raises:
        ValueError: A term without values.
    """
    if any(len(term.values) == 0 for term in terms):
        raise ValueError("a term without values")
    cluster_names = {name: k for k, name in enumerate(dict.fromkeys(c for term in terms for c in term.clusters))}
    seed_names = {name: k for k, name in enumerate(dict.fromkeys(s for term in terms for s in term.seeds))}
    rng = np.random.default_rng(seed)
    cluster_weights, seed_weights = (
        rng.multinomial(len(names), np.full(len(names), 1 / len(names)), draws).astype(np.float64)
        for names in (cluster_names, seed_names)
    )
    value, drawn = 0.0, np.zeros(draws)
    for term in terms:
        totals, counts = _by_place(term, seed_names, cluster_names)
        value += term.factor * totals.sum() / counts.sum()
        weighed = [((seed_weights @ table) * cluster_weights).sum(axis=1) for table in (totals, counts)]
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn += term.factor * weighed[0] / weighed[1]
    found = drawn[np.isfinite(drawn)]
    tail = (1 - share) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return Interval(value, float(low), float(high), float(found.std()), len(cluster_names), len(seed_names))


def _by_place(
    term: Term, seeds: Mapping[Hashable, int], clusters: Mapping[Hashable, int]
) -> tuple[FloatArray, FloatArray]:
    """Sum and number of a term's values, shape (seed, cluster) each."""
    totals, counts = np.zeros((2, len(seeds), len(clusters)))
    where = [seeds[name] for name in term.seeds], [clusters[name] for name in term.clusters]
    np.add.at(totals, where, np.asarray(term.values, np.float64))
    np.add.at(counts, where, 1.0)
    return totals, counts


def detectable(error: float, *, share: float = SHARE, power: float = POWER) -> float:
    """The smallest true difference that an experiment of this standard error finds with ``power``, two-sided."""
    return float((norm.ppf((1 + share) / 2) + norm.ppf(power)) * error)


def verdict(
    interval: Interval, *, above: float | None = None, below: float | None = None, within: float | None = None
) -> Verdict:
    """Whether a sum lies where it was expected: ``holds`` with the whole interval inside, ``does not hold`` with the
    whole interval outside, else ``undecided``."""
    low = -np.inf if above is None else above
    high = np.inf if below is None else below
    if within is not None:
        low, high = max(low, -within), min(high, within)
    if low < interval.low and interval.high < high:
        return "holds"
    return "does not hold" if interval.high <= low or interval.low >= high else "undecided"

"""Chains of states are followed exactly, cut into pieces or not."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from litdome.capture import chain
from litdome.capture.chain import follow_states

STEP = np.array([[0.9, 0.08, 0.02], [0.1, 0.7, 0.2], [0.05, 0.05, 0.9]])
FIRST, LAST = np.array([[0.2, 0.5, 0.3]]), np.array([[1.0, 0.1, 0.4]])


def by_all_paths(likely: np.ndarray) -> np.ndarray:
    """Chances of the states by summing over every path that there is, shape (moment, state)."""
    out = np.zeros(likely.shape)
    for path in product(range(3), repeat=len(likely)):
        chance = FIRST[0, path[0]] * LAST[0, path[-1]]
        chance *= np.prod([STEP[one, other] for one, other in pairwise(path)])
        chance *= np.prod([likely[moment, state] for moment, state in enumerate(path)])
        out[np.arange(len(path)), path] += chance
    return out / out.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("piece", [512, 3, 2])
def test_the_chances_are_those_of_all_paths(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "PIECE", piece)
    likely = np.random.default_rng(0).uniform(0.05, 1, (2, 8, 3))
    lengths = np.array([8, 5])
    found = follow_states(likely, STEP, FIRST, LAST, lengths)
    for row, length in enumerate(lengths):
        assert found[row, :length] == pytest.approx(by_all_paths(likely[row, :length]), abs=1e-5)  # float32


def test_a_long_chain_without_news_knows_its_ends() -> None:
    step = np.full((2, 2), 1e-5) + np.eye(2) * (1 - 2e-5)
    one, other = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    found = follow_states(np.ones((1, 5000, 2)), step, one, other, np.array([5000]))
    assert found[0, 0].tolist() == [1, 0] and found[0, -1].tolist() == [0, 1]
    assert found[0, 2500] == pytest.approx([0.5, 0.5], abs=1e-3)

"""Forward and backward along chains of states (which place in the beat, which shift), many chains at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]
FloatsF32 = npt.NDArray[np.float32]
PIECE, FEW_CHAINS = 512, 8  # moments; few chains, if longer, are cut into pieces that are followed beside each other


def follow_states(
    likely: FloatArray, step: FloatArray, first: FloatArray, last: FloatArray, lengths: npt.NDArray[np.intp]
) -> FloatsF32:
    """Chance of each state at each moment, by what was seen before and after.

    Args:
        likely: Likelihood of what was seen at a moment in a state, up to a factor, shape (chain, moment, state);
            anything beyond the end of a chain.
        step: Chance of going from a state to another from one moment to the next, shape (state, state).
        first, last: Chance of the states before anything was seen, at the first and at the last moment, shape
            (chain, state).
        lengths: Moments of each chain, shape (chain,).

    Returns:
        Shape (chain, moment, state), float32, sums of 1; anything beyond the end of a chain.

    Source: the forward-backward algorithm. What a whole piece does to a state is a matrix, by which the pieces of a
        chain hand on to each other exactly what they know.
    """
    chains, moments, states = likely.shape
    pieces = -(-moments // PIECE) if moments > 2 * PIECE and chains < FEW_CHAINS else 1
    size = -(-moments // pieces)
    at = np.arange(pieces * size)
    seen = np.ones((chains, pieces * size, states), np.float32)
    np.copyto(seen[:, :moments], likely, where=(at[:moments] < lengths[:, None])[..., None], casting="same_kind")
    seen = seen.reshape(chains * pieces, size, states)
    leads = (at < lengths[:, None] - 1).reshape(chains * pieces, size, 1)  # to a next moment
    ahead, back = np.asarray(step, np.float32), np.ascontiguousarray(step.T, np.float32)
    begin, end = (np.empty((chains, pieces, states), np.float32) for _ in range(2))
    begin[:, 0], end[:, -1] = first, last
    if pieces > 1:
        passed = _passed(seen, leads, ahead).reshape(chains, pieces, states, states)
        for piece in range(1, pieces):
            begin[:, piece] = _scaled(np.einsum("cs,cst->ct", begin[:, piece - 1], passed[:, piece - 1]))
            end[:, -piece - 1] = _scaled(np.einsum("cst,ct->cs", passed[:, -piece], end[:, -piece]))
    chances = np.empty_like(seen)
    state = begin.reshape(-1, states)
    for moment in range(size):
        state = _scaled(state * seen[:, moment])
        chances[:, moment] = state
        state = np.where(leads[:, moment], state @ ahead, state)
    state = end.reshape(-1, states)
    for moment in reversed(range(size)):
        state = np.where(leads[:, moment], state @ back, state)
        chances[:, moment] *= state
        state = _scaled(state * seen[:, moment])
    chances /= chances.sum(axis=-1, keepdims=True)
    return chances.reshape(chains, pieces * size, states)[:, :moments]


def _passed(seen: FloatsF32, leads: npt.NDArray[np.bool_], ahead: FloatsF32) -> FloatsF32:
    """What each piece makes of each state that it begins with, up to a factor, shape (piece, state, state)."""
    states = seen.shape[-1]
    passed = np.tile(np.eye(states, dtype=np.float32), (len(seen), 1, 1))
    for moment in range(seen.shape[1]):
        passed = passed * seen[:, None, moment]
        passed = np.where(leads[:, None, moment], (passed.reshape(-1, states) @ ahead).reshape(passed.shape), passed)
        passed /= passed.max(axis=(1, 2), keepdims=True)
    return passed


def _scaled(chances: FloatsF32) -> FloatsF32:
    return np.asarray(chances / chances.sum(axis=-1, keepdims=True))

"""Smooth noise in space, for folds, locks and mottled skin; and smoothing over a mesh."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from litdome.template.model import FloatArray, IntArray


def smooth_noise(points: npt.NDArray[np.float64], wavelength_m: float, seed: int) -> FloatArray:
    """Smooth noise in -1..1 at points, shape (n, 3): a few waves in random directions."""
    rng = np.random.default_rng([seed, 77])
    total = np.zeros(len(points))
    for _ in range(6):
        direction = rng.normal(size=3)
        direction *= 2 * np.pi / (np.linalg.norm(direction) * wavelength_m * rng.uniform(0.6, 1.6))
        total += np.sin(points @ direction + rng.uniform(0, 2 * np.pi))
    noise: FloatArray = np.clip(total / 3, -1, 1)  # the sum's deviation is sqrt(3)
    return noise


def spread(values: FloatArray, faces: IntArray, kinds: IntArray, rounds: int) -> FloatArray:
    """Average over neighbouring vertices of the same kind: cloth ends in a slope, armpits do not fold over.

    Args:
        values: Shape (vertex, c).
        faces: Shape (face, 3).
        kinds: Shape (vertex,): between two kinds nothing is averaged.
        rounds: How often.
    """
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    edges = edges[kinds[edges[:, 0]] == kinds[edges[:, 1]]]
    degree = np.maximum(np.bincount(edges[:, 0], minlength=len(values)), 1)[:, None]
    for _ in range(rounds):
        sums = [np.bincount(edges[:, 0], values[edges[:, 1], axis], len(values)) for axis in range(values.shape[1])]
        values = 0.5 * values + 0.5 * np.stack(sums, axis=1) / degree
    return values


def inner(chosen: npt.NDArray[np.bool_], faces: IntArray) -> npt.NDArray[np.bool_]:
    """Those of the chosen vertices, shape (vertex,), that no face joins to one that is not chosen."""
    kept = chosen.copy()
    kept[faces[~chosen[faces].all(axis=1)]] = False
    return kept

"""The light's phase by looking."""

from __future__ import annotations

import numpy as np
import pytest

from litdome.capture.interleave import find_light_phase
from litdome.errors import InputError


def levels(frames: int, period: int, phase: int, cameras: int = 3, seed: int = 0) -> np.ndarray:
    """Mean luma of a take: constant flat light with slow drift and noise, other light that varies."""
    rng = np.random.default_rng(seed)
    lit = np.where(np.arange(frames) % period == phase, 110.0, rng.uniform(30, 100, frames))
    drift = np.linspace(1, 1.03, frames) * rng.uniform(0.8, 1.2, (cameras, 1))
    return lit * drift * rng.normal(1, 0.002, (cameras, frames))


@pytest.mark.parametrize(("period", "phase"), [(2, 0), (2, 1), (3, 2), (5, 0), (21, 4)])
def test_the_phase_is_found_for_any_period(period: int, phase: int) -> None:
    found = find_light_phase(levels(120, period, phase))
    assert (found.period, found.phase) == (period, phase) and found.confidence > 0.5
    assert np.flatnonzero(found.kind == 1).tolist() == list(range(phase, 120, period))


def test_absent_frames_do_not_matter() -> None:
    mean_luma = levels(60, 2, 1)
    mean_luma[0, 7], mean_luma[:, 20] = np.nan, np.nan
    assert (find_light_phase(mean_luma).period, find_light_phase(mean_luma).phase) == (2, 1)


def test_what_cannot_be_told_is_refused() -> None:
    rng = np.random.default_rng(0)
    always_flat = 110 * rng.normal(1, 0.002, (3, 60))
    one_hdri = np.where(np.arange(60) % 2, 70.0, 110.0) * rng.normal(
        1, 0.002, (3, 60)
    )  # either could be the flat light
    random = rng.uniform(30, 120, (3, 60))
    for mean_luma in (always_flat, one_hdri, random, levels(6, 2, 0)):
        with pytest.raises(InputError, match=r"by looking") as caught:
            find_light_phase(mean_luma)
        assert caught.value.hint == "write lights.csv"

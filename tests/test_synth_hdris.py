"""Procedural HDRIs: exposure, and suns that a half float could not average away."""

from __future__ import annotations

import numpy as np
import pytest

from litdome.errors import UsageError
from litdome.synth.hdris import HDRI_KINDS, make_hdri, mean_exposure


@pytest.mark.parametrize("name", HDRI_KINDS)
def test_exposure_lies_where_pictures_come_out_well(name: str) -> None:
    for seed in range(3):
        hdr = make_hdri(name, seed, 64)
        assert hdr.shape == (64, 128, 3) and hdr.dtype == np.float32
        assert hdr.min() >= 0
        assert 0.55 < mean_exposure(hdr) < 1.25


def test_uniform_radiance_one_has_exposure_one() -> None:
    assert mean_exposure(np.ones((32, 64, 3))) == pytest.approx(1, abs=1e-3)


def test_suns_are_thousands_and_seeds_differ() -> None:
    suns = [make_hdri("sun_and_sky", seed) for seed in range(4)]
    assert max(sun.max() for sun in suns) > 2000
    assert np.abs(suns[0] - suns[1]).max() > 100


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no HDRI kind 'moon'") as caught:
        make_hdri("moon", 0)
    assert "overcast" in str(caught.value.hint)

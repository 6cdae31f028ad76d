"""Tone maps against published formulas and figures."""

from __future__ import annotations

import numpy as np
import pytest

from litdome.color import luminance, srgb_from_linear
from litdome.lighting import ToneMap, tone_map_ldr, tone_map_log


@pytest.mark.parametrize(
    ("radiance", "simple", "ldr", "log"),
    [
        (0.18, 0.1525, 0.4271, 0.1427),
        (1, 0.5000, 0.7366, 0.3040),
        (4, 0.8000, 0.9126, 0.4550),
        (16, 0.9412, 1.0, 0.5905),
        (100, 0.9901, 1.0, 0.7361),
        (1000, 0.9990, 1.0, 0.8809),
    ],
)
def test_tone_maps_give_published_values(radiance: float, simple: float, ldr: float, log: float) -> None:
    x = np.full((1, 1, 3), radiance, np.float32)
    assert ToneMap("simple").linear(x)[0, 0, 0] == pytest.approx(simple, abs=6e-5)  # four digits are published
    assert tone_map_ldr(x)[0, 0, 0] == pytest.approx(ldr, abs=6e-5)
    assert tone_map_log(x)[0, 0, 0] == pytest.approx(log, abs=6e-5)


def test_extended_reaches_one_at_white_and_goes_beyond() -> None:
    grey = np.array([1.0, 3.0, 6.0, 30.0])[:, None, None] * np.ones(3)
    for kind in ("extended", "luminance"):
        found = ToneMap(kind, white=6.0).linear(grey)[:, 0, 0]  # type: ignore[arg-type]
        np.testing.assert_allclose(found, grey[:, 0, 0] * (1 + grey[:, 0, 0] / 36) / (1 + grey[:, 0, 0]))
        assert found[2] == pytest.approx(1) and found[3] > 1
    np.testing.assert_array_equal(ToneMap("extended").linear(grey), ToneMap().linear(grey))  # white 16


def test_luminance_keeps_hues_and_extended_does_not() -> None:
    colour = np.array([[[8.0, 2.0, 0.5]]])
    kept, washed = (ToneMap(kind).linear(colour)[0, 0] for kind in ("luminance", "extended"))  # type: ignore[arg-type]
    np.testing.assert_allclose(kept / kept[0], [1, 0.25, 0.0625])
    assert washed[1] / washed[0] > 0.5
    wanted = float(luminance(colour)[0, 0])
    assert luminance(kept) == pytest.approx(wanted * (1 + wanted / 256) / (1 + wanted))


def test_photographic_brings_the_log_average_to_the_key() -> None:
    halves = np.ones((8, 16, 3))
    halves[:4] = 100.0  # half of the sphere: the log-average is 10
    for gain in (1.0, 40.0):  # its exposure is the map's own
        found = ToneMap("photographic", white=4.0, key=0.18).linear(halves * gain)
        for value, exposed in ((found[0, 0, 0], 1.8), (found[7, 0, 0], 0.018)):
            assert value == pytest.approx(exposed * (1 + exposed / 16) / (1 + exposed), rel=1e-5)
    polar = np.ones((8, 16, 3))
    polar[0] = 100.0  # an eighth of the rows, 3.8 % of the sphere
    share = (1 - np.cos(np.pi / 8)) / 2
    exposed = 0.18 / 100**share
    assert ToneMap("photographic", white=1e9).linear(polar)[7, 0, 0] == pytest.approx(exposed / (1 + exposed), rel=1e-5)


@pytest.mark.parametrize("kind", ["diffusionrenderer", "simple", "extended", "luminance", "photographic"])
def test_ldr_maps_are_display_referred_and_grow_with_radiance(kind: str) -> None:
    radiance = np.geomspace(1e-4, 6e4, 60, dtype=np.float32).reshape(6, 10, 1) * np.ones(3, np.float32)
    tone_map = ToneMap(kind)  # type: ignore[arg-type]
    found = tone_map_ldr(radiance, tone_map)
    assert found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1
    assert (np.diff(found[..., 0].ravel()) >= -1e-6).all()
    np.testing.assert_array_equal(found, srgb_from_linear(np.clip(tone_map.linear(radiance), 0, 1)))

"""Spectra of LEDs, camera and surfaces: consistent with themselves, and worth five channels."""

from __future__ import annotations

import numpy as np
import pytest

from litdome.calib.leds.mixing import mix_chart, mix_lights
from litdome.color import COLORCHECKER_24
from litdome.synth.spectra import (
    RGBAW,
    camera_sensitivities,
    channel_responses,
    daylight,
    led_spectra,
    mix_channels,
    reflectance_basis,
)
from litdome.synth.subjects import SUBJECTS

PATCHES = np.array([rgb for rgb in COLORCHECKER_24 if min(rgb) > 0])


def test_surfaces_show_their_rgb_reflectance_in_daylight() -> None:
    np.testing.assert_allclose(reflectance_basis().sum(axis=1), 1, atol=1e-12)
    shown = camera_sensitivities() * daylight() @ (reflectance_basis() @ PATCHES.T)
    np.testing.assert_allclose(shown.T, PATCHES, atol=1e-12)
    red = camera_sensitivities() * led_spectra()[0] @ (reflectance_basis() @ PATCHES.T)
    assert np.abs(red.T / red.max() - PATCHES).max() > 0.3


@pytest.mark.parametrize("subject", SUBJECTS)
def test_reflectances_of_skin_and_clothes_could_be_real(subject: str) -> None:
    outfit = SUBJECTS[subject].outfit
    colours = np.array([outfit.skin, outfit.hair, outfit.shirt, outfit.accent, outfit.trousers, outfit.shoes])
    reflectance = colours @ reflectance_basis().T
    # the most saturated red is 1 % below black around 500 nm
    assert reflectance.min() > -0.015 and reflectance.max() < 1


def test_a_channels_matrix_is_the_sum_over_bands() -> None:
    skin = np.array([0.52, 0.32, 0.23])
    for led, response in zip(led_spectra(), channel_responses(), strict=True):
        reflected = np.array([sum(s * led * (reflectance_basis() @ skin)) for s in camera_sensitivities()])
        white = np.array([sum(s * led) for s in camera_sensitivities()])
        np.testing.assert_allclose(response @ skin, reflected / white.mean(), rtol=1e-12)


def chart_error(channels: list[int], rgb: np.ndarray) -> float:
    """RMS over patches of what the mixture shows against daylight of that colour."""
    responses = channel_responses()[channels]
    weights = mix_channels(rgb[None], responses)[0]
    assert weights.min() >= 0
    shown = PATCHES @ np.einsum("c,cij->ji", weights, responses)
    return float(np.sqrt(((shown - PATCHES * rgb) ** 2).mean()))


def test_white_and_amber_leds_show_colours_truer_than_red_green_and_blue_alone() -> None:
    for rgb in (np.ones(3), np.array([1.2, 1.0, 0.7])):
        assert chart_error([0, 1, 2, 3, 4], rgb) < 0.25 * chart_error([0, 1, 2], rgb)


def test_amber_leds_widen_what_white_ones_reach_towards_warm_light() -> None:
    for rgb, share in (((1.2, 1.0, 0.7), 0.6), ((1.6, 1.0, 0.4), 0.35), ((2.0, 1.0, 0.15), 0.3)):
        with_amber, without = (chart_error(channels, np.array(rgb)) for channels in ([0, 1, 2, 3, 4], [0, 1, 2, 4]))
        assert with_amber < share * without
    cool = np.array([0.6, 1.0, 1.3])
    assert chart_error([0, 1, 2, 3, 4], cool) == pytest.approx(chart_error([0, 1, 2, 4], cool), rel=0.01)


def test_a_chart_photographed_under_each_channel_is_mixed_to_look_as_in_daylight() -> None:
    names = [f"p{k}" for k in range(len(PATCHES))] + ["white"]
    chart = np.concatenate([PATCHES, np.ones((1, 3))])
    response = np.einsum("cij,pj->pic", channel_responses(), chart)
    five = mix_lights(np.ones((1, 3)), mix_chart(RGBAW, names, response, chart))
    three = mix_lights(np.ones((1, 3)), mix_chart(RGBAW[:3], names, response[..., :3], chart))
    assert five.residual[0] < 0.02 and not five.out_of_gamut[0]
    assert three.residual[0] > 3 * five.residual[0]

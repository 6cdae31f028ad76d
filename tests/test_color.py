"""CIEDE2000 against the published pairs and colour-science."""

from __future__ import annotations

import numpy as np
from colour_oracle import colour

from litdome.color import COLORCHECKER_24, ciede2000, delta_e_2000, lab_from_linear

RNG = np.random.default_rng(0)
# Sharma, Wu and Dalal 2005, table 1: rows 1, 4, 7 to 16 (opposite hues), 20, 25, 34
PAIRS = [
    ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
    ((50.0, -1.3802, -84.2814), (50.0, 0.0, -82.7485), 1.0),
    ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
    ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0009), 7.1792),
    ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0011), 7.2195),
    ((50.0, -0.001, 2.49), (50.0, 0.0009, -2.49), 4.8045),
    ((50.0, -0.001, 2.49), (50.0, 0.0011, -2.49), 4.7461),
    ((50.0, 2.5, 0.0), (50.0, 0.0, -2.5), 4.3065),
    ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
    ((50.0, 2.5, 0.0), (58.0, 24.0, 15.0), 19.4535),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
]


def test_ciede2000_gives_the_published_differences_in_both_orders() -> None:
    first, second, expected = (np.array([pair[n] for pair in PAIRS]) for n in range(3))
    np.testing.assert_allclose(ciede2000(first, second), expected, atol=5e-5)  # four digits are published
    np.testing.assert_allclose(ciede2000(second, first), expected, atol=5e-5)


def test_differences_of_linear_colours_are_those_of_colour_science() -> None:
    a, b = RNG.random((2, 500, 3)) ** 2
    srgb = colour.models.RGB_COLOURSPACE_sRGB
    lab = [colour.XYZ_to_Lab(linear @ srgb.matrix_RGB_to_XYZ.T, srgb.whitepoint) for linear in (a, b)]
    np.testing.assert_allclose(lab_from_linear(a), lab[0], atol=0.02)  # its white has four digits of its own
    np.testing.assert_allclose(delta_e_2000(a, b), colour.difference.delta_E_CIE2000(*lab), atol=0.02)
    assert np.all(delta_e_2000(COLORCHECKER_24, COLORCHECKER_24) == 0)


def test_neutral_colours_have_no_hue() -> None:
    lab = lab_from_linear(np.linspace(0, 1, 5)[:, None].repeat(3, axis=1))
    np.testing.assert_allclose(lab[:, 1:], 0, atol=1e-12)
    np.testing.assert_allclose(lab[[0, -1], 0], [0, 100], atol=1e-12)

"""Colour fits against exact sensors."""

from __future__ import annotations

import numpy as np
import pytest
from colour_oracle import colour

from litdome.calib.color.match import MIN_PATCHES, fit_affine, white_balance
from litdome.color import COLORCHECKER_24
from litdome.errors import CalibrationError

ALL = np.ones(24, bool)
MATRIX = np.array([[1.2, -0.1, 0.05], [0.08, 0.9, -0.04], [-0.02, 0.15, 1.4]])
OFFSET = np.array([-0.004, 0.003, -0.008])


def measured() -> np.ndarray:
    """What a camera sees whose colours MATRIX and OFFSET put right."""
    return (COLORCHECKER_24 - OFFSET) @ np.linalg.inv(MATRIX).T


def test_reference_is_the_published_chart() -> None:
    chart = colour.CCS_COLOURCHECKERS["ColorChecker24 - After November 2014"]
    xyz = colour.xyY_to_XYZ(np.array(list(chart.data.values())))
    lab = colour.XYZ_to_Lab(xyz, chart.illuminant)
    np.testing.assert_allclose(lab[0], [37.54, 14.37, 14.92], atol=0.005)  # X-Rite's table, dark skin
    linear = colour.XYZ_to_sRGB(xyz, chart.illuminant, "Bradford", apply_cctf_encoding=False)
    np.testing.assert_allclose(COLORCHECKER_24, linear, atol=6e-5)  # four digits are stored


def test_affine_of_a_known_camera_is_recovered() -> None:
    fit = fit_affine(measured(), COLORCHECKER_24, ALL, "c00")
    np.testing.assert_allclose(fit.affine, np.column_stack([MATRIX, OFFSET]), atol=1e-9)
    assert fit.used.all() and fit.condition < 10


def test_hidden_and_clipped_patches_are_left_out() -> None:
    seen, hidden = measured(), [2, 6, 12, 13, 18, 19, 21]
    seen[hidden] = [0.14, 0.2, 0.09]  # a leaf
    usable = ALL.copy()
    usable[5] = False
    fit = fit_affine(seen, COLORCHECKER_24, usable, "c00")
    np.testing.assert_allclose(fit.affine, np.column_stack([MATRIX, OFFSET]), atol=1e-9)
    assert not fit.used[[5, *hidden]].any() and fit.used.sum() == 24 - 8


def test_too_few_patches_are_refused() -> None:
    usable = np.arange(24) < MIN_PATCHES - 1
    with pytest.raises(CalibrationError, match="c07: 9 of 24 patches"):
        fit_affine(measured(), COLORCHECKER_24, usable, "c07")


def test_neutral_patches_alone_do_not_make_a_matrix() -> None:
    greys = np.repeat(COLORCHECKER_24[18:], 4, axis=0)
    seen = greys * [0.8, 1.0, 0.7]
    with pytest.raises(CalibrationError, match="too much alike"):
        fit_affine(seen, greys, ALL, "c00")


def test_another_chart_is_refused() -> None:
    """Negative control: patches that no affine brings to the reference."""
    rng = np.random.default_rng(0)
    with pytest.raises(CalibrationError, match="patches agree"):
        fit_affine(rng.uniform(0.02, 0.9, (24, 3)), COLORCHECKER_24, ALL, "c00")


def test_white_balance_makes_neutral_patches_neutral() -> None:
    gains = white_balance(COLORCHECKER_24 * [0.5, 1.0, 0.8], COLORCHECKER_24, ALL)
    np.testing.assert_allclose(gains, [2.0, 1.0, 1.25], rtol=1e-12)
    assert np.isnan(white_balance(COLORCHECKER_24, COLORCHECKER_24, np.arange(24) < 18)).all()

from __future__ import annotations

import numpy as np
import pytest

from litdome.datasets.metrics import masked_psnr, masked_ssim

RNG = np.random.default_rng(0)
TRUTH = RNG.random((40, 50, 3))
MASK = np.zeros((40, 50))
MASK[10:30, 10:40] = 1


def test_psnr_of_a_constant_error_is_its_formula_and_ignores_the_outside() -> None:
    picture = TRUTH + 0.1
    picture[:5] = 9
    assert masked_psnr(picture, TRUTH, MASK) == pytest.approx(20.0)
    assert np.isnan(masked_psnr(picture, TRUTH, MASK * 0))


def test_ssim_is_one_for_equal_and_falls_with_noise() -> None:
    assert masked_ssim(TRUTH, TRUTH, MASK) == pytest.approx(1.0)
    noisy = [masked_ssim(TRUTH + RNG.normal(0, s, TRUTH.shape), TRUTH, MASK) for s in (0.05, 0.3)]
    assert 1 > noisy[0] > noisy[1] > 0

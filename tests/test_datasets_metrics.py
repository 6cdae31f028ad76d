"""Measures against scikit-image, torchmetrics and closed forms, on the same arrays."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure

from litdome.color import delta_e_2000, linear_from_srgb, srgb_from_linear
from litdome.datasets.metrics import by_region, color_bias, detail_ratio, masked_psnr, masked_ssim

RNG = np.random.default_rng(0)
TRUTH = RNG.random((40, 50, 3))
NOISY = np.clip(TRUTH + RNG.normal(0, 0.1, TRUTH.shape), 0, 1)
MASK = np.zeros((40, 50))
MASK[10:30, 10:40] = 1


def test_psnr_of_a_constant_error_is_its_formula_and_ignores_the_outside() -> None:
    picture = TRUTH + 0.1
    picture[:5] = 9
    assert masked_psnr(picture, TRUTH, MASK) == pytest.approx(20.0)
    assert np.isnan(masked_psnr(picture, TRUTH, MASK * 0))
    assert np.isinf(masked_psnr(TRUTH, TRUTH, MASK))


def test_psnr_of_a_whole_picture_is_that_of_scikit_image() -> None:
    expected = peak_signal_noise_ratio(TRUTH, NOISY, data_range=1)
    assert masked_psnr(NOISY, TRUTH, np.ones((40, 50))) == pytest.approx(expected, abs=1e-9)


def test_ssim_is_one_for_equal_and_falls_with_noise() -> None:
    assert masked_ssim(TRUTH, TRUTH, MASK) == pytest.approx(1.0)
    noisy = [masked_ssim(TRUTH + RNG.normal(0, s, TRUTH.shape), TRUTH, MASK) for s in (0.05, 0.3)]
    assert 1 > noisy[0] > noisy[1] > 0


def test_ssim_over_a_mask_is_the_mean_of_the_maps_of_scikit_image_and_torchmetrics() -> None:
    """The mask stays off the border, where the three mirror pictures differently."""
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    _, full = structural_similarity(NOISY, TRUTH, channel_axis=-1, full=True, **settings)
    found = masked_ssim(NOISY, TRUTH, MASK)
    assert found == pytest.approx(full.mean(axis=-1)[MASK > 0].mean(), abs=1e-6)
    pair = [torch.from_numpy(shown.transpose(2, 0, 1)[None]) for shown in (NOISY, TRUTH)]
    _, theirs = structural_similarity_index_measure(*pair, data_range=1.0, return_full_image=True)
    assert found == pytest.approx(float(theirs[0].mean(dim=0).numpy()[MASK > 0].mean()), abs=1e-6)


def test_detail_ratio_of_scaled_detail_is_the_square_of_the_scale() -> None:
    stripes = np.sin(np.arange(50) * np.pi / 2)[None, :, None] * np.ones((40, 1, 3))
    truth = 0.5 + 0.2 * stripes
    for scale in (0.5, 1.0, 1.5):
        assert detail_ratio(0.5 + 0.2 * scale * stripes, truth, MASK) == pytest.approx(scale**2, abs=1e-9)
    assert np.isnan(detail_ratio(truth, np.full_like(truth, 0.5), MASK * 0))


def test_detail_ratio_tells_blur_and_noise_from_a_change_of_light() -> None:
    soft = np.clip(cv2.GaussianBlur(TRUTH, (0, 0), 1.0), 0, 1)
    assert detail_ratio(cv2.GaussianBlur(soft, (0, 0), 1.0), soft, MASK) < 0.5
    assert detail_ratio(soft + RNG.normal(0, 0.1, soft.shape), soft, MASK) > 1.5
    assert detail_ratio(soft + 0.1, soft, MASK) == pytest.approx(1.0, abs=1e-9)


def test_color_bias_sees_a_gain_and_not_noise() -> None:
    gained = srgb_from_linear(linear_from_srgb(TRUTH) * np.array([1.0, 0.8, 1.0]))
    inside = linear_from_srgb(TRUTH)[MASK > 0].mean(axis=0)
    expected = float(delta_e_2000(inside, inside * np.array([1.0, 0.8, 1.0])))
    assert color_bias(gained, TRUTH, MASK) == pytest.approx(expected, abs=1e-9) and expected > 5
    swapped = TRUTH.copy()
    swapped[10:30, 10:40] = TRUTH[10:30, 10:40][::-1, ::-1]  # wrong everywhere, and with the same mean
    assert color_bias(swapped, TRUTH, MASK) == pytest.approx(0, abs=1e-6) and masked_psnr(swapped, TRUTH, MASK) < 10
    assert np.isnan(color_bias(TRUTH, TRUTH, MASK * 0))


def test_regions_are_measured_alone() -> None:
    regions = {"hands": MASK * 0, "face": MASK, "all": np.ones_like(MASK)}
    picture = TRUTH.copy()
    picture[10:30, 10:40] += 0.1
    found = by_region(masked_psnr, picture, TRUTH, regions)
    assert found["face"] == pytest.approx(20) and found["all"] > 24 and np.isnan(found["hands"])

"""Two pictures compared over a mask: PSNR, SSIM, fine detail, colour. Display-referred values in 0..1."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from litdome.color import LUMINANCE_WEIGHTS, delta_e_2000, linear_from_srgb

FloatArray = npt.NDArray[np.floating[Any]]
Measure = Callable[[FloatArray, FloatArray, FloatArray], float]
DETAIL_SIGMA_PX = 1.5  # what a blur of this size takes away counts as fine detail


def masked_psnr(picture: FloatArray, truth: FloatArray, mask: FloatArray) -> float:
    """PSNR over the mask, dB (peak 1).

    Args:
        picture, truth: Shape (y, x, 3), 0..1.
        mask: Weights, shape (y, x), 0..1.

    Returns:
        dB; NaN for an empty mask, inf for equal pictures.
    """
    total = float(mask.sum()) * picture.shape[-1]
    if total == 0:
        return float("nan")
    error = float((((picture - truth) ** 2) * mask[..., None]).sum()) / total
    return float("inf") if error == 0 else -10 * float(np.log10(error))


def masked_ssim(picture: FloatArray, truth: FloatArray, mask: FloatArray) -> float:
    """SSIM averaged over the mask: Gaussian window of 11 px, sigma 1.5, per channel, population variances.

    The map is that of the whole pictures: within 5 px of the mask's border a window sees the background too.

    Args, Returns:
        As `masked_psnr`; 1 for equal pictures.

    Source: Wang et al. 2004.
    """
    if mask.sum() == 0:
        return float("nan")

    def blur(values: FloatArray) -> FloatArray:
        return np.asarray(cv2.GaussianBlur(values.astype(np.float64), (11, 11), 1.5))

    mean_a, mean_b = blur(picture), blur(truth)
    var_a = blur(picture * picture) - mean_a**2
    var_b = blur(truth * truth) - mean_b**2
    covariance = blur(picture * truth) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    ssim = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return float((ssim.mean(axis=-1) * mask).sum() / mask.sum())


def detail_ratio(picture: FloatArray, truth: FloatArray, mask: FloatArray) -> float:
    """High-band energy of the picture over that of the truth: below 1 blurred, above 1 noisy; 0.9 to 1.1 is healthy.

    The high band is what a Gaussian of `DETAIL_SIGMA_PX` takes away from the luma, squared and averaged over the mask.

    Args, Returns:
        As `masked_psnr`; NaN for an empty mask or a truth without detail.
    """
    energies = [float((_high_band(shown) ** 2 * mask).sum()) for shown in (picture, truth)]
    return energies[0] / energies[1] if energies[1] > 0 else float("nan")


def _high_band(picture: FloatArray) -> FloatArray:
    luma = picture.astype(np.float64) @ LUMINANCE_WEIGHTS.astype(np.float64)
    return np.asarray(luma - cv2.GaussianBlur(luma, (0, 0), DETAIL_SIGMA_PX))


def color_bias(picture: FloatArray, truth: FloatArray, mask: FloatArray) -> float:
    """CIEDE2000 between the mean colours over the mask, both means in linear light: what a wrong gain or tint leaves.

    Args, Returns:
        As `masked_psnr`; 0 for equal means, NaN for an empty mask.
    """
    if mask.sum() == 0:
        return float("nan")
    weights = mask[mask > 0] / mask.sum()
    means = [weights @ linear_from_srgb(shown[mask > 0]) for shown in (picture, truth)]
    return float(delta_e_2000(*means))


def by_region(
    measure: Measure, picture: FloatArray, truth: FloatArray, regions: Mapping[str, FloatArray]
) -> dict[str, float]:
    """A measure of this module over each region alone.

    Args:
        measure: `masked_psnr`, `masked_ssim`, ...
        picture, truth: As the measure takes them.
        regions: Mask of each region by name (face, eyes, hands), shape (y, x), 0..1.

    Returns:
        By region; NaN where a region is empty.
    """
    return {name: measure(picture, truth, mask) for name, mask in regions.items()}

"""Picture metrics over a mask; display-referred values in 0..1."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]


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
    """SSIM averaged over the mask: Gaussian window of 11 px, sigma 1.5, per channel, unbiased as in Wang 2004.

    Args, Returns:
        As `masked_psnr`; 1 for equal pictures.
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

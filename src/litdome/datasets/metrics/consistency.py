"""Does a method show the same thing over time, from all sides, and from every noise? Each against its truth, so that
what really changes (motion, highlights) does not count as an error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from litdome.datasets.metrics.registration import warp

FloatArray = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class CrossInference:
    """How much pictures of different noise seeds differ.

    Attributes:
        variance: Unbiased variance over seeds, mean over mask and channels.
        psnr: Of any two of them, dB, from the mean squared difference of all pairs; -10 log10(2 variance).
    """

    variance: float
    psnr: float


def cross_inference(pictures: FloatArray, mask: FloatArray) -> CrossInference:
    """Spread between results of different seeds.

    Args:
        pictures: Shape (seed, y, x, 3), 0..1, two seeds or more.
        mask: Weights, shape (y, x), 0..1.

    Returns:
        NaN for an empty mask; variance 0 and PSNR inf for equal pictures.
    """
    if mask.sum() == 0:
        return CrossInference(float("nan"), float("nan"))
    spread = pictures.astype(np.float64).var(axis=0, ddof=1).mean(axis=-1)
    variance = float((spread * mask).sum() / mask.sum())
    return CrossInference(variance, float("inf") if variance == 0 else -10 * float(np.log10(2 * variance)))


def excess_warped_error(
    picture: FloatArray,
    previous: FloatArray,
    truth: FloatArray,
    previous_truth: FloatArray,
    flow: FloatArray,
    mask: FloatArray,
) -> float:
    """Flicker beyond that of the truth: mean |I_t - W I_(t-1)| of the method minus the same of the truth.

    Args:
        picture, previous: The method's pictures at t and t-1, shape (y, x, 3), 0..1.
        truth, previous_truth: The truth at the same times.
        flow: Where each pixel of t was at t-1, relative to it, shape (y, x, 2), px, x before y; exact, not estimated.
        mask: Weights at t, shape (y, x), 0..1, 0 where something was hidden at t-1.

    Returns:
        Display-referred difference; 0 flickers like the truth, negative less (blurred). NaN for an empty mask.
    """
    errors = []
    for now, before in ((picture, previous), (truth, previous_truth)):
        moved, inside = warp(before, flow)
        errors.append(np.abs(now - moved).mean(axis=-1))
    weight = mask * inside
    total = float(weight.sum())
    return float(((errors[0] - errors[1]) * weight).sum() / total) if total else float("nan")


def view_consistency(
    pictures: tuple[FloatArray, FloatArray],
    truths: tuple[FloatArray, FloatArray],
    points: tuple[FloatArray, FloatArray],
) -> float:
    """Mean |(I'_a - I'_b) - (I_a - I_b)| at surface points that cameras a and b both see.

    Args:
        pictures: The method's pictures of the two cameras, shape (y, x, 3) each, 0..1.
        truths: What the cameras saw.
        points: Where the same surface points lie in a and in b, shape (point, 2) each, px, x before y, pixel centres
            at integers.

    Returns:
        Display-referred difference; 0 where both cameras are wrong alike. NaN without points.
    """
    if not len(points[0]):
        return float("nan")
    differ = [_at(shown[0], points[0]) - _at(shown[1], points[1]) for shown in (pictures, truths)]
    return float(np.abs(differ[0] - differ[1]).mean())


def _at(picture: FloatArray, points: FloatArray) -> FloatArray:
    """Bilinear values, shape (point, 3)."""
    x, y = (np.ascontiguousarray(points[:, axis, None], np.float32) for axis in (0, 1))
    rows = 16384  # cv2.remap takes no side of 32768 or more
    parts = [
        cv2.remap(picture.astype(np.float32), x[n : n + rows], y[n : n + rows], cv2.INTER_LINEAR)
        for n in range(0, len(points), rows)
    ]
    return np.concatenate(parts).reshape(-1, picture.shape[-1])

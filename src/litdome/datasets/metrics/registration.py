"""How far a picture is displaced against its truth, and how good it is once that is put right.

A relit picture is driven by the flat picture half a step earlier, so it lags behind its truth where people move: raw
PSNR, registered PSNR and the shift belong together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from litdome.datasets.metrics.pictures import masked_psnr

FloatArray = npt.NDArray[np.floating[Any]]
SMOOTH_SIGMA_PX = 4.0  # the registration is local, but too stiff to explain texture that is wrong


@dataclass(frozen=True)
class Registered:
    """A picture against its truth, after local registration.

    Attributes:
        psnr: Masked PSNR of the registered picture, dB.
        shift_px: Mean displacement over the mask, px of the picture.
        shift_p95_px: What 95 % of the mask stay below.
    """

    psnr: float
    shift_px: float
    shift_p95_px: float


def register(picture: FloatArray, truth: FloatArray, mask: FloatArray) -> Registered:
    """Register a picture locally on its truth and score what is left.

    Args:
        picture, truth: Same light, shape (y, x, 3), 0..1, display-referred.
        mask: Weights, shape (y, x), 0..1. Its pixels that come from outside of the picture do not count in the PSNR.

    Returns:
        Scores; NaN for an empty mask.
    """
    weight = mask > 0.5
    if not weight.any():
        return Registered(float("nan"), float("nan"), float("nan"))
    flow = displacement(picture, truth, mask)
    moved, inside = warp(picture, flow)
    length = np.linalg.norm(flow, axis=-1)[weight]
    psnr = masked_psnr(moved, truth, mask * inside)
    return Registered(psnr, float(length.mean()), float(np.percentile(length, 95)))


def displacement(picture: FloatArray, truth: FloatArray, mask: FloatArray) -> FloatArray:
    """Where each pixel of the truth is found in the picture, shape (y, x, 2), px, x before y.

    DIS optical flow (fine preset), smoothed over the mask alone by a Gaussian of `SMOOTH_SIGMA_PX`.
    """
    first, second = (_codes(shown) for shown in (truth, picture))
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(0)
    flow = np.asarray(dis.calc(first, second, None), np.float32)
    weight = mask.astype(np.float32) + np.float32(1e-4)
    total = cv2.GaussianBlur(flow * weight[..., None], (0, 0), SMOOTH_SIGMA_PX)
    return np.asarray(total / cv2.GaussianBlur(weight, (0, 0), SMOOTH_SIGMA_PX)[..., None])


def warp(picture: FloatArray, flow: FloatArray) -> tuple[FloatArray, FloatArray]:
    """``picture`` read at ``flow`` from each pixel (bicubic), and whether that lies inside it, shape (y, x), 0 or 1."""
    height, width = picture.shape[:2]
    x = np.arange(width, dtype=np.float32)[None] + flow[..., 0].astype(np.float32)
    y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1].astype(np.float32)
    moved = cv2.remap(picture.astype(np.float32), x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return np.asarray(moved), inside.astype(np.float32)


def _codes(picture: FloatArray) -> npt.NDArray[np.uint8]:
    luma = np.clip(picture, 0, 1).mean(axis=-1)
    return np.asarray(luma * 255 + 0.5, np.uint8)

"""Colour: transfer curves between stored codes, display-referred values and linear light, all per channel."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]
LUMINANCE_WEIGHTS = np.array([0.2126, 0.7152, 0.0722], np.float32)  # ITU-R BT.709


def srgb_from_linear(linear: FloatArray) -> FloatArray:
    """Encode linear light with the sRGB curve (IEC 61966-2-1).

    Args:
        linear: Any shape, float, non-negative; values above 1 continue the curve.

    Returns:
        Display-referred values, same shape and dtype.
    """
    linear = np.maximum(linear, 0)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.power(linear, 1 / 2.4) - 0.055).astype(linear.dtype)


def linear_from_srgb(encoded: FloatArray) -> FloatArray:
    """Decode sRGB values in 0..1 to linear light; the inverse of `srgb_from_linear`."""
    encoded = np.maximum(encoded, 0)
    return np.where(encoded <= 0.04045, encoded / 12.92, np.power((encoded + 0.055) / 1.055, 2.4)).astype(encoded.dtype)


def luminance(linear: FloatArray) -> FloatArray:
    """Relative luminance (BT.709) of linear RGB in the last axis."""
    return np.asarray(linear @ LUMINANCE_WEIGHTS.astype(linear.dtype))

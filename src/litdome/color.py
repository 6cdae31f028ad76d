"""Colour: transfer curves between stored codes, display-referred values and linear light, all per channel."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.errors import ConfigError

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


def display_from_codes(rgb: FloatArray, transfer: str, exposure_ev: float) -> FloatArray:
    """Display-referred values in 0..1 of decoded pictures.

    Args:
        rgb: Decoded values, last axis RGB, nominally 0..1.
        transfer: ``srgb``, ``bt709`` (both display-referred already), ``linear`` or ``log3g10``.
        exposure_ev: Stops added in linear light.

    Source: Log3G10 as RED publishes it (white paper 915-0187).
    """
    if transfer in ("srgb", "bt709"):
        if exposure_ev == 0:
            return rgb
        linear = linear_from_srgb(rgb)
    elif transfer == "log3g10":
        linear = np.where(rgb < 0, rgb / 15.1927, (np.power(10, rgb / 0.224282) - 1) / 155.975327) - 0.01
    elif transfer == "linear":
        linear = rgb
    else:
        raise ConfigError(f"transfer {transfer!r} is not known", hint="srgb, bt709, linear or log3g10")
    return np.clip(srgb_from_linear(np.maximum(linear * 2.0**exposure_ev, 0).astype(rgb.dtype)), 0, 1)

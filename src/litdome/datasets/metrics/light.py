"""The light that a picture shows, read off it: a fit of order-2 irradiance to relit over flat, given normals.

Flat light of radiance 1 shows the albedo, so relit / flat in linear light is irradiance / pi by the normal.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.color import linear_from_srgb
from litdome.lighting import sh_basis

FloatArray = npt.NDArray[np.floating[Any]]
CLIPPED = 0.995  # of full scale: from here on a value says only that it is at least this
COEFFICIENTS = 9


def fit_light(relit: FloatArray, flat: FloatArray, normals: FloatArray, mask: FloatArray) -> FloatArray:
    """Irradiance that explains a relit picture, by least squares on ``relit = flat * sh_basis(normal) @ light``.

    Args:
        relit, flat: The same moment, shape (y, x, 3), 0..1, display-referred; clipped values do not count.
        normals: World, unit, shape (y, x, 3).
        mask: Weights, shape (y, x), 0..1.

    Returns:
        Irradiance / pi as `lighting.irradiance_sh` gives it, shape (9, 3); of several that fit, the smallest. NaN for a
        channel with fewer than 9 values.
    """
    basis, light = sh_basis(normals.astype(np.float64)), np.full((COEFFICIENTS, 3), np.nan)
    for channel in range(3):
        lit, unlit = relit[..., channel], flat[..., channel]
        used = (mask > 0) & (lit < CLIPPED) & (unlit < CLIPPED)
        if used.sum() < COEFFICIENTS:
            continue
        root = np.sqrt(mask[used])
        design = basis[used] * (linear_from_srgb(unlit[used]) * root)[:, None]
        light[:, channel] = np.linalg.lstsq(design, linear_from_srgb(lit[used]) * root, rcond=None)[0]
    return light


def lighting_error(light: FloatArray, truth: FloatArray, normals: FloatArray) -> float:
    """Root-mean-square difference of two irradiances over normals, relative to the truth's root mean square.

    Args:
        light, truth: Shape (9, 3); the truth from `fit_light` on the true picture, or from the HDRI.
        normals: Those that the picture shows, shape (..., 3), unit: a camera says nothing about the far side.

    Returns:
        0 for the same light, 1 for darkness.
    """
    basis = sh_basis(normals.astype(np.float64))
    return float(np.sqrt(np.mean((basis @ (light - truth)) ** 2) / np.mean((basis @ truth) ** 2)))


def lighting_instability(lights: FloatArray, normals: FloatArray) -> float:
    """Root-mean-square deviation from their mean of lights that should be one, relative to its root mean square.

    Args:
        lights: Of pictures under the same light (other times, cameras or seeds), shape (picture, 9, 3).
        normals: Where they are compared, shape (..., 3), unit.

    Returns:
        0 for a steady light.
    """
    mean = lights.mean(axis=0)
    return float(np.sqrt(np.mean([lighting_error(light, mean, normals) ** 2 for light in lights])))

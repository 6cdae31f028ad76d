"""Irradiance of a map as spherical harmonics of the normal."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from litdome.lighting.latlong import (
    FloatArray,
    HdriConvention,
    clean_hdri,
    latlong_directions,
    latlong_solid_angles,
)


def sh_basis(directions: FloatArray) -> FloatArray:
    """Real spherical harmonics up to degree 2 of unit directions, shape (..., 3) to (..., 9)."""
    x, y, z = np.moveaxis(directions, -1, 0)
    return np.stack(
        [
            np.full_like(x, 0.282095),
            0.488603 * y,
            0.488603 * z,
            0.488603 * x,
            1.092548 * x * y,
            1.092548 * y * z,
            0.315392 * (3 * z * z - 1),
            1.092548 * x * z,
            0.546274 * (x * x - y * y),
        ],
        axis=-1,
    )


def irradiance_sh(hdr: FloatArray, convention: HdriConvention = "physical") -> FloatArray:
    """Irradiance / pi as spherical harmonics of the normal, shape (9, 3): ``sh_basis(n) @ result`` is what an
    albedo-1 Lambertian surface shows (radiance 1 from everywhere gives 1).

    Source: Ramamoorthi and Hanrahan 2001.
    """
    height = min(128, hdr.shape[0])
    small = cv2.resize(clean_hdri(hdr), (height * 2, height), interpolation=cv2.INTER_AREA)
    weights = latlong_solid_angles(height, height * 2)[..., None]
    basis = sh_basis(latlong_directions(height, height * 2, convention))
    coefficients = np.einsum("vuk,vuc->kc", basis * weights, small)
    cosine_lobe = np.array([1.0] + [2 / 3] * 3 + [1 / 4] * 5)[:, None]
    return cast(FloatArray, coefficients * cosine_lobe)

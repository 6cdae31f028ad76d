"""Fall-off of light towards a picture's corners, from a picture of something evenly lit and evenly white."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from litdome.color import falloff_at
from litdome.errors import CalibrationError

FloatArray = npt.NDArray[np.float64]
BLOCKS = 32  # along the longer side
MAX_RESIDUAL = 0.03  # of the light in the middle: dirt, folds or a scene instead of a white surface
MAX_TILT = 0.4  # from the middle to an edge: the light is from one side, not even
TRIM = 3.0  # blocks further off than so many deviations are dust, and left out


@dataclass(frozen=True, eq=False)
class Falloff:
    """What a flat field shows.

    Attributes:
        coefficients: Of r^2, r^4 and r^6 for r = 1 in the corners of the picture, shape (3,).
        residual: Root mean square of what they do not explain, share of the light in the middle.
        corner: Share of the light that arrives in the corners.
    """

    coefficients: FloatArray
    residual: float
    corner: float


def fit_falloff(linear: npt.NDArray[np.floating[Any]], name: str) -> Falloff:
    """Fall-off of a flat field, with a gradient of the light across it fitted beside and left out.

    Args:
        linear: Linear light without black level, shape (y, x, 3).
        name: Of the picture, for errors.

    Raises:
        CalibrationError: Clipped, too dark, unevenly lit, or no fall-off that a lens can have.
    """
    height, width = linear.shape[:2]
    brightness = linear.mean(axis=2)
    middle = float(np.median(brightness[height * 3 // 8 : height * 5 // 8, width * 3 // 8 : width * 5 // 8]))
    if linear.max(axis=2).mean() > 0.97 or np.mean(linear >= 0.98) > 0.01 or middle < 0.02:
        raise CalibrationError(
            f"{name}: a flat field must be neither clipped nor dark, its middle is at {middle:.2f} of full scale",
            hint="expose it at a third to two thirds",
        )
    size = (-(-BLOCKS * width // max(height, width)), -(-BLOCKS * height // max(height, width)))
    shares = cv2.resize(brightness / middle, size, interpolation=cv2.INTER_AREA).astype(np.float64).ravel()
    x, y = (
        ((np.arange(count) + 0.5) / count - 0.5) * length for count, length in zip(size, (width, height), strict=True)
    )
    radius = np.hypot(width, height) / 2
    x, y = (axis.ravel() / radius for axis in np.meshgrid(x, y))
    r2 = x**2 + y**2
    design = np.stack([np.ones_like(r2), x, y, r2, r2**2, r2**3, x * r2, y * r2], axis=1)
    kept = np.ones(len(shares), bool)
    for _ in range(4):
        fit, *_ = np.linalg.lstsq(design[kept], shares[kept], rcond=None)
        residual = np.abs(design @ fit - shares)
        kept = residual <= TRIM * max(float(np.sqrt((residual[kept] ** 2).mean())), 1e-3)
    rms, tilt = float(np.sqrt((residual[kept] ** 2).mean())), float(np.hypot(fit[1], fit[2]) / fit[0])
    coefficients = fit[3:6] / fit[0]
    curve = falloff_at(np.linspace(0, 1, 50), coefficients)
    if rms > MAX_RESIDUAL or tilt > MAX_TILT or kept.mean() < 0.8:
        raise CalibrationError(
            f"{name}: not evenly white: {100 * rms:.1f} % beside the fall-off (at most {100 * MAX_RESIDUAL:.0f} %), "
            f"{100 * tilt:.0f} % from one side to the middle (at most {100 * MAX_TILT:.0f} %)",
            hint="photograph a white diffuser before the lens under flat light",
        )
    if curve.min() < 0.15 or curve.max() > 1.05:
        raise CalibrationError(
            f"{name}: brighter or darker towards the corners ({curve[-1]:.2f}) than a lens makes it",
            hint="photograph a white diffuser before the lens under flat light",
        )
    return Falloff(coefficients, rms, float(curve[-1]))

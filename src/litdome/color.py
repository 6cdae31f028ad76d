"""Colour: transfer curves between stored codes, display-referred values and linear light, all per channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.errors import ConfigError

FloatArray = npt.NDArray[np.floating[Any]]
LUMINANCE_WEIGHTS = np.array([0.2126, 0.7152, 0.0722], np.float32)  # ITU-R BT.709
# linear sRGB of the 24 patches row by row: X-Rite's values after November 2014, D50 brought to D65 by Bradford's rule
COLORCHECKER_24 = np.array(
    [
        (0.1737, 0.0788, 0.0529),  # dark skin
        (0.5598, 0.2774, 0.2109),  # light skin
        (0.1042, 0.1889, 0.3289),  # blue sky
        (0.1057, 0.1508, 0.0508),  # foliage
        (0.2274, 0.2124, 0.4264),  # blue flower
        (0.1153, 0.5074, 0.4111),  # bluish green
        (0.7459, 0.2021, 0.0299),  # orange
        (0.0587, 0.1012, 0.3877),  # purplish blue
        (0.5601, 0.0802, 0.1146),  # moderate red
        (0.1092, 0.0420, 0.1381),  # purple
        (0.3328, 0.4974, 0.0426),  # yellow green
        (0.7710, 0.3579, 0.0204),  # orange yellow
        (0.0210, 0.0475, 0.2841),  # blue
        (0.0461, 0.2920, 0.0615),  # green
        (0.4462, 0.0364, 0.0406),  # red
        (0.8417, 0.5744, 0.0047),  # yellow
        (0.5223, 0.0778, 0.2893),  # magenta
        (-0.0439, 0.2337, 0.3772),  # cyan
        (0.8795, 0.8850, 0.8342),  # white 9.5
        (0.5845, 0.5922, 0.5845),  # neutral 8
        (0.3577, 0.3671, 0.3653),  # neutral 6.5
        (0.1901, 0.1909, 0.1898),  # neutral 5
        (0.0859, 0.0887, 0.0898),  # neutral 3.5
        (0.0314, 0.0315, 0.0323),  # black 2
    ]
)
COLORCHECKER_24.setflags(write=False)
SRGB_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])  # IEC 61966-2-1
SRGB_TO_XYZ.setflags(write=False)


@dataclass(frozen=True, eq=False)
class ColorCorrection:
    """A camera's colour calibration: from its own linear light to that of the reference.

    Attributes:
        affine: Shape (3, 4): linear light without black level and fall-off in, linear light out.
        black_level: What the camera gives in the dark, linear, shape (3,).
        vignetting: Fall-off towards the corners, shape (6,): coefficients of r^2, r^4 and r^6, then the middle x and y
            and the length of r = 1, all in px of the stored picture; coefficients 0 where it is not known.
        gain: Brings this session's light to that of the session the rest was taken from.
    """

    affine: npt.NDArray[np.float64]
    black_level: npt.NDArray[np.float64]
    vignetting: npt.NDArray[np.float64]
    gain: float = 1.0

    @property
    def matrix(self) -> npt.NDArray[np.float64]:
        """Black level, affine and gain in one, shape (3, 4); right where there is no fall-off."""
        offset = self.affine[:, 3] - self.affine[:, :3] @ self.black_level
        return self.gain * np.column_stack([self.affine[:, :3], offset])

    def falloff(self, region: tuple[int, int, int, int]) -> npt.NDArray[np.float32] | None:
        """Share of the light that arrives at each pixel of a region (x0, y0, x1, y1), shape (y, x); None: all of it."""
        if not self.vignetting[:3].any():
            return None
        x0, y0, x1, y1 = region
        x = (np.arange(x0, x1) - self.vignetting[3]) / self.vignetting[5]
        y = (np.arange(y0, y1) - self.vignetting[4]) / self.vignetting[5]
        return falloff_at((x**2 + (y**2)[:, None]).astype(np.float32), self.vignetting[:3])


def falloff_at(r2: FloatArray, coefficients: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """1 + c1 r^2 + c2 r^4 + c3 r^6, float32, at squared radii ``r2``."""
    c1, c2, c3 = (np.float32(c) for c in coefficients)
    return np.asarray(1 + r2 * (c1 + r2 * (c2 + r2 * c3)), np.float32)


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


def lab_from_linear(linear: FloatArray) -> npt.NDArray[np.float64]:
    """CIE L*a*b* of linear sRGB, shape (..., 3), against its own white (D65)."""
    ratio = linear.astype(np.float64) @ (SRGB_TO_XYZ / SRGB_TO_XYZ.sum(axis=1, keepdims=True)).T
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def delta_e_2000(a: FloatArray, b: FloatArray) -> npt.NDArray[np.float64]:
    """CIEDE2000 between linear sRGB colours, shape (..., 3) to (...); white is D65."""
    return ciede2000(lab_from_linear(a), lab_from_linear(b))


def ciede2000(a: FloatArray, b: FloatArray) -> npt.NDArray[np.float64]:
    """CIEDE2000 between L*a*b* colours, shape (..., 3) to (...).

    Source: Sharma, Wu and Dalal 2005, equations 2 to 22.
    """
    mean_chroma = (np.hypot(a[..., 1], a[..., 2]) + np.hypot(b[..., 1], b[..., 2])) / 2
    stretch = 1.5 - 0.5 * _chroma_weight(mean_chroma)
    (chroma_a, hue_a), (chroma_b, hue_b) = (
        (np.hypot(lab[..., 1] * stretch, lab[..., 2]), np.arctan2(lab[..., 2], lab[..., 1] * stretch) % (2 * np.pi))
        for lab in (a, b)
    )
    grey = chroma_a * chroma_b == 0
    turn = hue_b - hue_a
    turn = np.where(grey, 0, np.where(np.abs(turn) > np.pi, turn - np.sign(turn) * 2 * np.pi, turn))
    hue = np.where(grey, hue_a + hue_b, hue_a + turn / 2)
    light, chroma = (a[..., 0] + b[..., 0]) / 2, (chroma_a + chroma_b) / 2
    tint = 1 - 0.17 * np.cos(hue - np.radians(30)) + 0.24 * np.cos(2 * hue)
    tint += 0.32 * np.cos(3 * hue + np.radians(6)) - 0.20 * np.cos(4 * hue - np.radians(63))
    from_middle = (light - 50) ** 2
    d_light = (b[..., 0] - a[..., 0]) / (1 + 0.015 * from_middle / np.sqrt(20 + from_middle))
    d_chroma = (chroma_b - chroma_a) / (1 + 0.045 * chroma)
    d_hue = 2 * np.sqrt(chroma_a * chroma_b) * np.sin(turn / 2) / (1 + 0.015 * chroma * tint)
    blue = np.radians(60) * np.exp(-((((np.degrees(hue) % 360) - 275) / 25) ** 2))
    rotation = -2 * _chroma_weight(chroma) * np.sin(blue)
    squared = d_light**2 + d_chroma**2 + d_hue**2 + rotation * d_chroma * d_hue
    return np.asarray(np.sqrt(np.maximum(squared, 0)))


def _chroma_weight(chroma: FloatArray) -> npt.NDArray[np.float64]:
    return np.sqrt(chroma**7 / (chroma**7 + 25.0**7))

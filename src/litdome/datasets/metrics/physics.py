"""What light itself demands of a relighter; no truth is needed, so real takes can be checked.

All errors are mean absolute differences in linear light over the mask, relative to the mean of what they are compared
with: 0 is right. Pixels where a picture is clipped do not count.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from litdome.color import linear_from_srgb
from litdome.datasets.metrics.light import CLIPPED
from litdome.lighting import HdriConvention, latlong_directions, latlong_solid_angles, rotate_hdri

FloatArray = npt.NDArray[np.floating[Any]]
LIT = 0.2  # of the brightest ratio: darker surfaces are at the light's edge or in shadow


class Relight(Protocol):
    """Lights one flat picture: any renderer, with everything but the light held."""

    def __call__(self, hdr: FloatArray, /, *, turn_deg: float = 0.0) -> FloatArray:
        """The picture under a lat-long map, shape (v, u, 3) to (y, x, 3), 0..1, display-referred.

        ``turn_deg`` turns cameras and subject, from world +z towards +x about +y, and leaves the map where it is.
        """
        ...


def superposition_error(relight: Relight, first: FloatArray, second: FloatArray, mask: FloatArray) -> float:
    """R(L1 + L2) against R(L1) + R(L2)."""
    together, *alone = (relight(hdr) for hdr in (first + second, first, second))
    return _difference([together], alone, mask)


def gain_error(relight: Relight, hdr: FloatArray, gain: float, mask: FloatArray) -> float:
    """R(gain L) against gain R(L)."""
    scaled, plain = relight(hdr * gain), relight(hdr)
    return _difference([scaled], [plain], mask, gain)


def turn_error(
    relight: Relight, hdr: FloatArray, turn_deg: float, mask: FloatArray, convention: HdriConvention = "physical"
) -> float:
    """Rig and light turned together against neither turned; a wrong handedness of the environment shows here."""
    turned = relight(np.asarray(rotate_hdri(hdr, turn_deg, convention)), turn_deg=turn_deg)
    return _difference([turned], [relight(hdr)], mask)


def one_light(
    direction: FloatArray,
    *,
    irradiance: float = 1.0,
    radius_deg: float = 12.0,
    height: int = 64,
    convention: HdriConvention = "physical",
) -> FloatArray:
    """A lat-long map, dark but for one disc, shape (height, 2 height, 3), float32.

    Args:
        direction: Towards the light, world, shape (3,).
        irradiance: Of a surface that faces it, over pi: what an albedo-1 surface shows.
        radius_deg: Of the disc.
        height: Of the map, px.
        convention: Where the map's centre lies in the world.
    """
    towards = np.asarray(direction, np.float64) / np.linalg.norm(direction)
    cosine = latlong_directions(height, 2 * height, convention) @ towards
    disc = cosine >= np.cos(np.radians(radius_deg))
    total = float((disc * cosine * latlong_solid_angles(height, 2 * height)).sum())
    return np.repeat((disc * (irradiance * np.pi / total))[..., None], 3, axis=-1).astype(np.float32)


def one_light_error_deg(
    relight: Relight,
    direction: FloatArray,
    flat: FloatArray,
    normals: FloatArray,
    mask: FloatArray,
    *,
    convention: HdriConvention = "physical",
) -> float:
    """Angle between one light and where the picture's shading says it is; below 10 degrees is right.

    Args:
        relight: The renderer.
        direction: Towards the light, world, shape (3,); on the camera's side, so that lit surfaces are seen.
        flat: The flat picture, shape (y, x, 3), 0..1, display-referred.
        normals: World, unit, shape (y, x, 3).
        mask: Weights, shape (y, x), 0..1.
        convention: Where a map's centre lies in the world.

    Returns:
        Degrees; NaN where too little is lit to tell.
    """
    found = shading_direction(relight(one_light(direction, convention=convention)), flat, normals, mask)
    towards = np.asarray(direction, np.float64) / np.linalg.norm(direction)
    return float(np.degrees(np.arccos(np.clip(found @ towards, -1, 1))))


def shading_direction(relit: FloatArray, flat: FloatArray, normals: FloatArray, mask: FloatArray) -> FloatArray:
    """Direction of the one light that shades a picture: relit / flat = k n.d where lit; shape (3,), unit or NaN."""
    lit, unlit = (linear_from_srgb(shown.astype(np.float64)).mean(axis=-1) for shown in (relit, flat))
    seen = (mask > 0.5) & (unlit > 0) & (relit.max(axis=-1) < CLIPPED) & (flat.max(axis=-1) < CLIPPED)
    ratio = np.divide(lit, unlit, out=np.zeros_like(lit), where=seen)
    bright = float(np.percentile(ratio[seen], 99)) if seen.any() else 0.0
    used = seen & (ratio > LIT * bright) & (bright > 0)
    if used.sum() < 3:
        return np.full(3, np.nan)
    design = normals[used].astype(np.float64) * unlit[used][:, None]
    found, _, rank, _ = np.linalg.lstsq(design, lit[used], rcond=None)
    return np.asarray(found / np.linalg.norm(found)) if rank == 3 and found.any() else np.full(3, np.nan)


def _difference(tested: list[FloatArray], summed: list[FloatArray], mask: FloatArray, gain: float = 1.0) -> float:
    """Of sums of display-referred pictures, in linear light, the second times ``gain``."""
    free = np.all([shown < CLIPPED for shown in (*tested, *summed)], axis=0)
    weight = free * mask[..., None]
    a, b = (sum(linear_from_srgb(shown.astype(np.float64)) for shown in shown_all) for shown_all in (tested, summed))
    reference = float((b * gain * weight).sum())
    return float((np.abs(a - b * gain) * weight).sum()) / reference if reference > 0 else float("nan")

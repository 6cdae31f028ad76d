"""Lat-long maps: which way a texel looks, in the conventions of five programs, and light sampled, turned, converted.

World +y up; row 0 is up. u = 0.5 + atan2(x side, z depth) / 2 pi, v = acos(y) / pi, texel centres at half texels.
``side`` says whether world +x lies right (1) or left (-1) of the centre, ``depth`` whether the centre is +z or -z.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from litdome.geometry import rotation_about_y

FloatArray = npt.NDArray[np.floating[Any]]
HdriConvention = Literal["physical", "cosmos", "openexr", "goliath", "skylibs"]
SIDE_AND_DEPTH: dict[HdriConvention, tuple[int, int]] = {
    "physical": (1, -1),  # a photograph taken towards world -z
    "skylibs": (1, -1),  # skylibs 0.7.7 envmap/projections.py world2latlong
    "openexr": (-1, 1),  # ImfEnvmap.h: longitude pi at the left edge, pi / 2 is +x; physical turned by half a turn
    "cosmos": (1, 1),  # DiffusionRenderer's demo, its flip and roll taken together: a mirrored world
    "goliath": (1, 1),  # ca_code/utils/envmap.py dir2uv
}
HDRI_MAX = 65504.0  # DiffusionRenderer clamps to the largest half float


def clean_hdri(hdr: FloatArray) -> FloatArray:
    """Radiance with NaN set to 0 and the rest clamped to 0..65504 (what DiffusionRenderer does), float32."""
    return np.clip(np.nan_to_num(hdr.astype(np.float32), nan=0.0, posinf=HDRI_MAX, neginf=0.0), 0, HDRI_MAX)


def latlong_uv(directions: FloatArray, convention: HdriConvention = "physical") -> FloatArray:
    """Lat-long coordinates (u right, v down, both 0..1) of world directions, shape (..., 3) to (..., 2)."""
    side, depth = SIDE_AND_DEPTH[convention]
    u = np.arctan2(side * directions[..., 0], depth * directions[..., 2]) / (2 * np.pi) + 0.5
    v = np.arccos(np.clip(directions[..., 1], -1, 1)) / np.pi
    return np.stack([u, v], axis=-1)


def latlong_directions(height: int, width: int, convention: HdriConvention = "physical") -> FloatArray:
    """World directions of the texel centres of a lat-long map, shape (height, width, 3), unit."""
    side, depth = SIDE_AND_DEPTH[convention]
    phi = ((np.arange(width) + 0.5) / width - 0.5) * 2 * np.pi
    theta = (np.arange(height) + 0.5) / height * np.pi
    sin = np.sin(theta)[:, None]
    up = np.broadcast_to(np.cos(theta)[:, None], (height, width))
    return np.stack([side * (sin * np.sin(phi)[None]), up, depth * (sin * np.cos(phi)[None])], axis=-1)


def latlong_solid_angles(height: int, width: int) -> FloatArray:
    """Solid angle of each texel of a lat-long map, shape (height, 1), sr; width * sum = 4 pi."""
    edges = np.cos(np.linspace(0, np.pi, height + 1))
    return ((edges[:-1] - edges[1:]) * 2 * np.pi / width)[:, None]


def sample_latlong(
    hdr: FloatArray,
    directions: FloatArray,
    convention: HdriConvention = "physical",
    *,
    wrap_poles: bool = False,
) -> FloatArray:
    """Bilinear radiance of a lat-long map, shape (v, u, 3), in unit world directions, shape (..., 3).

    ``wrap_poles`` blends the half texel at each pole with the other pole, as the original does; else it is held.
    """
    height, width = hdr.shape[:2]
    uv = latlong_uv(directions.reshape(-1, 3), convention)
    x, y = uv[:, 0] * width - 0.5, uv[:, 1] * height - 0.5
    if not wrap_poles:
        y = np.clip(y, 0, height - 1)
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    left, right = x0 % width, (x0 + 1) % width
    above, below = y0 % height, (y0 + 1) % height
    top = hdr[above, left] * (1 - fx) + hdr[above, right] * fx
    bottom = hdr[below, left] * (1 - fx) + hdr[below, right] * fx
    return cast(FloatArray, (top * (1 - fy) + bottom * fy).astype(np.float32).reshape(directions.shape))


def rotate_hdri(hdr: FloatArray, rotation_deg: float, convention: HdriConvention = "physical") -> FloatArray:
    """The same map with its light turned from world +z towards +x about +y, shape kept."""
    if rotation_deg == 0:
        return hdr
    height, width = hdr.shape[:2]
    directions = latlong_directions(height, width, convention) @ rotation_about_y(-rotation_deg).T
    return sample_latlong(hdr, directions, convention)


def convert_hdri(hdr: FloatArray, source: HdriConvention, target: HdriConvention) -> FloatArray:
    """The same light as a map of another convention, shape kept: texels change places, none is resampled.

    Only half a turn of a map of odd width is resampled (bilinear): there no texel lies where it should.

    Args:
        hdr: Scene-linear radiance, shape (v, u, 3).
        source, target: Convention of ``hdr`` and of the result.
    """
    (side, depth), (new_side, new_depth) = SIDE_AND_DEPTH[source], SIDE_AND_DEPTH[target]
    half_turn = depth != new_depth
    height, width = hdr.shape[:2]
    if half_turn and width % 2:
        return sample_latlong(hdr, latlong_directions(height, width, target), source)
    mirrored = (side != new_side) != half_turn
    placed = hdr[:, ::-1] if mirrored else hdr
    return np.roll(placed, width // 2, axis=1) if half_turn else np.ascontiguousarray(placed)


def content_groups(maps: Iterable[tuple[str, FloatArray]]) -> list[str]:
    """Content group of each map, the name of its first: maps that differ by rotation about +y, gain or name only share
    one.

    A rotation about +y keeps the mean of every row; rows relative to their mean are compared within 1 %.

    Args:
        maps: Name and radiance, shape (v, u, 3), one after the other.
    """
    groups: list[str] = []
    profiles: list[npt.NDArray[np.floating[Any]]] = []
    for name, hdr in maps:
        rows = hdr.mean(axis=1, dtype=np.float64)
        profile = rows / max(rows.mean(), 1e-12)
        same = [j for j, p in enumerate(profiles) if p.shape == profile.shape and np.allclose(p, profile, rtol=0.01)]
        groups.append(groups[same[0]] if same else name)
        profiles.append(profile)
    return groups

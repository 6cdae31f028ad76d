"""Light: HDRIs, their conventions, projection into views, tone maps, irradiance, and what was lit when.

World +y up. ``physical``: the centre of a lat-long map is the direction world -z and +x lies to its right.
``cosmos``: the centre is world +z and +x lies to its right (a mirrored world, as DiffusionRenderer's demo).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, cast

import cv2
import numpy as np
import numpy.typing as npt

from litdome.color import srgb_from_linear
from litdome.geometry import OPENCV_FROM_OPENGL, rotation_about_y

FloatArray = npt.NDArray[np.floating[Any]]
HdriConvention = Literal["physical", "cosmos"]
HDRI_MAX = 65504.0  # DiffusionRenderer clamps to the largest half float
CUBE_HALF = 256.0  # DiffusionRenderer resamples through a cube map of 512 texels a side
KIND_CODES = {"dark": 0, "flat": 1, "hdri": 2, "pattern": 3}


@dataclass(frozen=True)
class HdriEntry:
    """One distinct light: an HDRI file with its rotation and gain; the unit that ``schedule/hdri`` indexes.

    Attributes:
        name: File stem.
        rotation_deg: Turns the light from world +z towards +x about +y.
        gain: Multiplies the radiance.
    """

    name: str
    rotation_deg: float = 0.0
    gain: float = 1.0

    @property
    def entry(self) -> str:
        """Name of the entry in the store: the file stem, with rotation and gain where they are not 0 and 1."""
        rotation = f"@{self.rotation_deg:g}" if self.rotation_deg else ""
        return self.name + rotation + (f"x{self.gain:g}" if self.gain != 1 else "")


@dataclass(frozen=True)
class LightingSchedule:
    """What was lit at each rig frame.

    Attributes:
        kind: Shape (frame,), uint8: 0 dark, 1 flat, 2 hdri, 3 pattern.
        hdri: Shape (frame,), int32: index into `entries`, -1 none.
        entries: Distinct lights, sorted by entry name (code points).
    """

    kind: npt.NDArray[np.uint8]
    hdri: npt.NDArray[np.int32]
    entries: tuple[HdriEntry, ...]


def clean_hdri(hdr: FloatArray) -> FloatArray:
    """Radiance with NaN set to 0 and the rest clamped to 0..65504 (what DiffusionRenderer does), float32."""
    return np.clip(np.nan_to_num(hdr.astype(np.float32), nan=0.0, posinf=HDRI_MAX, neginf=0.0), 0, HDRI_MAX)


def latlong_uv(directions: FloatArray, convention: HdriConvention = "physical") -> FloatArray:
    """Lat-long coordinates (u right, v down, both 0..1) of world directions, shape (..., 3) to (..., 2)."""
    depth = -directions[..., 2] if convention == "physical" else directions[..., 2]
    u = np.arctan2(directions[..., 0], depth) / (2 * np.pi) + 0.5
    v = np.arccos(np.clip(directions[..., 1], -1, 1)) / np.pi
    return np.stack([u, v], axis=-1)


def latlong_directions(height: int, width: int, convention: HdriConvention = "physical") -> FloatArray:
    """World directions of the texel centres of a lat-long map, shape (height, width, 3), unit."""
    phi = ((np.arange(width) + 0.5) / width - 0.5) * 2 * np.pi
    theta = (np.arange(height) + 0.5) / height * np.pi
    sin = np.sin(theta)[:, None]
    depth = sin * np.cos(phi)[None]
    up = np.broadcast_to(np.cos(theta)[:, None], depth.shape)
    return np.stack([sin * np.sin(phi)[None], up, -depth if convention == "physical" else depth], axis=-1)


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


def view_directions(height: int, width: int) -> FloatArray:
    """Direction of each pixel of an environment map in the camera's frame, x right, y up, z to the viewer.

    The picture's centre is light from the camera's side; its left and right edges are light from behind the subject.

    Returns:
        Shape (height, width, 3), float32, unit; what DiffusionRenderer calls env_nrm.

    Source: nv-tlabs/cosmos-transfer1-diffusion-renderer utils_env_proj.py, closed form.
    """
    theta = np.pi * np.linspace(1 / height, 1 - 1 / height, height)[:, None]
    phi = np.pi * ((2 * np.arange(width) + 1) / width - 1)[None]
    up = np.broadcast_to(np.cos(theta), (height, width))
    return np.stack([np.sin(theta) * np.sin(phi), up, np.sin(theta) * np.cos(phi)], axis=-1).astype(np.float32)


def project_hdri(
    hdr: FloatArray,
    world_from_camera: FloatArray,
    height: int,
    width: int,
    *,
    convention: HdriConvention = "physical",
    rotation_deg: float = 0.0,
) -> FloatArray:
    """Turn a lat-long HDRI into the frame of a camera.

    Args:
        hdr: Scene-linear radiance, shape (v, u, 3).
        world_from_camera: Camera pose, shape (4, 4) or (3, 3), OpenCV axes.
        height, width: Size of the result, px.
        convention: Where the map's centre lies in the world.
        rotation_deg: Turns the light from world +z towards +x about +y.

    Returns:
        Radiance, shape (height, width, 3), float32, over the directions of `view_directions`.
    """
    world = view_directions(height, width) @ (world_from_camera[:3, :3] @ OPENCV_FROM_OPENGL).T
    directions, clean = world @ rotation_about_y(-rotation_deg).T, clean_hdri(hdr)
    view = sample_latlong(clean, directions, convention)
    polar = np.abs(directions[..., 1]) > np.cos(max(8 / CUBE_HALF, 0.75 * np.pi / hdr.shape[0]))
    view[polar] = _sample_pole(clean, directions[polar], convention)
    return view


def _sample_pole(hdr: FloatArray, directions: FloatArray, convention: HdriConvention) -> FloatArray:
    """Radiance near a pole as DiffusionRenderer sees it: four texels of a cube face, each from the map with both axes
    wrapped. Shape (n, 3) to (n, 3). At the pole itself a lat-long map has no one value; this is a mean around it."""
    face = directions[:, [0, 2]] / np.abs(directions[:, 1:2]) * CUBE_HALF + CUBE_HALF - 0.5
    low = np.floor(face)
    fraction = face - low
    total = np.zeros_like(directions)
    for step in ((0, 0), (0, 1), (1, 0), (1, 1)):
        corner = (low + step + 0.5 - CUBE_HALF) / CUBE_HALF
        around = np.stack([corner[:, 0], np.sign(directions[:, 1]), corner[:, 1]], axis=-1)
        around /= np.linalg.norm(around, axis=-1, keepdims=True)
        weight = np.prod(np.where(step, fraction, 1 - fraction), axis=-1, keepdims=True)
        total += weight * sample_latlong(hdr, around, convention, wrap_poles=True)
    return total


def rotate_hdri(hdr: FloatArray, rotation_deg: float, convention: HdriConvention = "physical") -> FloatArray:
    """The same map with its light turned from world +z towards +x about +y, shape kept."""
    if rotation_deg == 0:
        return hdr
    height, width = hdr.shape[:2]
    directions = latlong_directions(height, width, convention) @ rotation_about_y(-rotation_deg).T
    return sample_latlong(hdr, directions, convention)


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


def tone_map_ldr(radiance: FloatArray) -> FloatArray:
    """DiffusionRenderer's env_ldr in 0..1: per-channel extended Reinhard with white 16, then the sRGB curve."""
    reinhard = radiance * (1 + radiance / 16.0**2) / (1 + radiance)
    return np.clip(srgb_from_linear(np.clip(reinhard, 0, 1)), 0, 1)


def tone_map_log(radiance: FloatArray) -> FloatArray:
    """DiffusionRenderer's env_log in 0..1: the sRGB curve of ln(1 + x) / ln(1 + 10000), clamped."""
    return np.clip(srgb_from_linear(np.log1p(radiance) / np.log1p(np.float32(10000))), 0, 1)


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

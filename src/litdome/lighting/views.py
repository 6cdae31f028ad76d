"""An HDRI in a camera's frame: the environment maps that the relighter is conditioned on."""

from __future__ import annotations

import numpy as np

from litdome.geometry import OPENCV_FROM_OPENGL, rotation_about_y
from litdome.lighting.latlong import FloatArray, HdriConvention, clean_hdri, sample_latlong
from litdome.lighting.tone_maps import DIFFUSIONRENDERER, ToneMap, tone_map_ldr, tone_map_log

CUBE_HALF = 256.0  # DiffusionRenderer resamples through a cube map of 512 texels a side


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


def environment_maps(
    hdr: FloatArray,
    world_from_camera: FloatArray,
    height: int,
    width: int,
    *,
    convention: HdriConvention = "physical",
    gain: float = 1.0,
    tone_map: ToneMap = DIFFUSIONRENDERER,
) -> tuple[FloatArray, FloatArray]:
    """The two maps of an HDRI that a relighter is conditioned on for a camera.

    Args:
        hdr: Scene-linear radiance, shape (v, u, 3).
        world_from_camera: Camera pose, shape (4, 4) or (3, 3), OpenCV axes.
        height, width: Size of the maps, px.
        convention: Where the map's centre lies in the world.
        gain: Session gain: from the map's radiance to that of the pictures (docs/lighting.md).
        tone_map: Of the ldr map.

    Returns:
        ldr and log, each shape (height, width, 3), float32, 0..1.
    """
    radiance = project_hdri(hdr * np.float32(gain), world_from_camera, height, width, convention=convention)
    return tone_map_ldr(radiance, tone_map), tone_map_log(radiance)

"""The simulated stage itself: its ring of cameras, their sensors, and the LED dome seen behind the subject."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from litdome.color import srgb_from_linear
from litdome.geometry import Camera, Rig, look_at
from litdome.lighting import sh_basis
from litdome.synth.lights import DirectionalLights
from litdome.synth.render import Float32Array, camera_rays
from litdome.synth.sensors import Sensor
from litdome.synth.shading import dome_directions

TARGET = np.array([0.0, 0.92, 0.0])  # half the height of a standing person, m
SUBJECT_HEIGHT_M = 2.15  # what a camera must see, arms up not included
WALL_RADIUS_M = 4.5
WALL_ALBEDO = 0.025  # darker than black shoes, so that plates tell people apart
LED_BRIGHTNESS = 0.25  # of an LED's face, of the radiance of its cell; a real one would clip
SHOT_NOISE = 4e-5  # variance per linear light: one code at half light
READ_NOISE = 3e-4  # linear: one code in the dark


def make_rig(
    count: int, *, width: int = 360, height: int = 640, radius_m: float = 3.2, seed: int = 0, lens: float = 1.0
) -> Rig:
    """A dome of cameras at two heights around a standing person; every third one behind.

    Args:
        count: Number of cameras; ids ``c00``, ``c01``, ...
        width, height: Of the pictures, px.
        radius_m: Mean distance from the person.
        seed: Jitters positions, focal lengths and distortion, as hands and lenses do.
        lens: Scales the lens distortion (0: none).
    """
    rng = np.random.default_rng([seed, 1])
    cameras = []
    for index in range(count):
        azimuth = np.radians(_azimuth_deg(index, count) + rng.uniform(-4, 4))
        radius = radius_m * rng.uniform(0.97, 1.03)
        level = 0.55 if index % 2 else 1.5
        centre = [radius * np.sin(azimuth), level + rng.uniform(-0.1, 0.1), radius * np.cos(azimuth)]
        focal = height * radius / SUBJECT_HEIGHT_M * rng.uniform(0.97, 1.03)
        principal = np.array([width - 1, height - 1]) / 2 + rng.normal(0, 0.008 * width, 2)
        intrinsics = np.array([[focal, 0, principal[0]], [0, focal, principal[1]], [0, 0, 1]])
        k1, k2 = rng.uniform(-0.12, -0.06), rng.uniform(0.02, 0.05)
        distortion = np.array([k1, k2, *rng.normal(0, 3e-4, 2), 0, 0, 0, 0]) * lens
        pose = look_at(centre, TARGET + rng.normal(0, 0.02, 3))
        cameras.append(Camera(f"c{index:02d}", width, height, intrinsics, distortion, pose))
    return Rig(tuple(cameras))


def _azimuth_deg(index: int, count: int) -> float:
    """Neighbours lie side by side in one ring; a gap of up to 60 degrees closes behind the person."""
    span = min(300.0, 45.0 * max(count - 1, 1))
    return -span / 2 + span * index / max(count - 1, 1)


@lru_cache(maxsize=32)
def _wall(camera: Camera, count: int) -> tuple[Float32Array, npt.NDArray[np.intp], Float32Array, Float32Array]:
    """Per pixel: irradiance basis (9), the nearest LED, how much of its dot is seen, and the panels' pattern."""
    rays = camera_rays(camera, antialias=False)[0].astype(np.float64)
    centre = camera.centre - TARGET
    along = rays @ centre
    reach = -along + np.sqrt(along**2 + WALL_RADIUS_M**2 - centre @ centre)
    outward = (centre + reach[:, None] * rays) / WALL_RADIUS_M
    distance, led = cKDTree(dome_directions(count)).query(outward)
    dot_radius = 0.09 * np.sqrt(4 * np.pi / count)
    sharpness = reach.mean() / camera.intrinsics[0, 0] / WALL_RADIUS_M
    dot = np.clip((dot_radius - distance) / sharpness + 0.5, 0, 1)
    azimuth, height = np.arctan2(outward[:, 0], outward[:, 2]), np.arcsin(np.clip(outward[:, 1], -1, 1))
    seam = np.minimum(_from_line(azimuth, np.pi / 12) * np.cos(height), _from_line(height, np.pi / 12))
    panels = 0.35 + 0.65 * np.clip((seam - 0.006) / sharpness + 0.5, 0, 1)
    return sh_basis(-outward).astype(np.float32), led, dot[:, None].astype(np.float32), panels.astype(np.float32)


def wall_picture(camera: Camera, lights: DirectionalLights) -> Float32Array:
    """The inside of the dome as a camera sees it, linear, shape (y, x, 3).

    Dark grey panels lit by the light itself, and a grid of LED dots, each in the light of its cell.
    """
    count = len(lights.directions)
    basis, led, dot, panels = _wall(camera, count)
    radiance = lights.intensity * np.float32(count / (4 * np.pi))
    coefficients = sh_basis(lights.directions.astype(np.float64)).T @ lights.intensity
    coefficients *= np.array([1.0] + [2 / 3] * 3 + [1 / 4] * 5)[:, None]
    panel = np.maximum(basis @ coefficients.astype(np.float32), 0) * (WALL_ALBEDO * panels[:, None])
    picture = panel * (1 - dot) + dot * radiance[led] * np.float32(LED_BRIGHTNESS)
    return np.asarray(picture.reshape(camera.height, camera.width, 3), np.float32)


def _from_line(angle: npt.NDArray[np.float64], step: float) -> npt.NDArray[np.float64]:
    """Distance to the nearest multiple of ``step``, rad."""
    return np.asarray(np.abs((angle + step / 2) % step - step / 2))


def expose(linear: Float32Array, rng: np.random.Generator, sensor: Sensor | None = None) -> npt.NDArray[np.uint8]:
    """What the sensor stores of linear light under session gain 1: shot and read noise, sRGB curve, 8 bits."""
    linear = linear if sensor is None else sensor.see(linear)
    noise = rng.standard_normal(linear.shape, np.float32)
    signal = np.clip(linear, 0, 1.2)
    noise *= np.sqrt(SHOT_NOISE * signal + READ_NOISE**2)
    codes = _srgb_codes()
    return np.asarray(codes[(np.clip(signal + noise, 0, 1) * (len(codes) - 1) + 0.5).astype(np.uint16)])


@lru_cache(maxsize=1)
def _srgb_codes() -> npt.NDArray[np.uint8]:
    """sRGB codes of 0..1 in steps fine enough for the curve's steepest part (a fifth of a code)."""
    return np.asarray(np.round(srgb_from_linear(np.linspace(0, 1, 16384)) * 255), np.uint8)

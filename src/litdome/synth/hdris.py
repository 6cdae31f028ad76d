"""Procedural HDRIs: skies with suns, overcast days, rooms with windows, coloured area lights, streets at night.

All in the ``physical`` convention, exposed so that an albedo-1 surface shows about 0.6 to 1.2 on the average.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from litdome.color import luminance
from litdome.errors import UsageError
from litdome.lighting import irradiance_sh, latlong_directions, sh_basis

Float32Array = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]
Painter = Callable[[FloatArray, np.random.Generator], FloatArray]
PROBE_NORMALS = np.array([[0, 1, 0], [1, 0, 0], [-1, 0, 0], [0, 0, 1], [0, 0, -1]], np.float64)


def make_hdri(name: str, seed: int, height: int = 128) -> Float32Array:
    """Paint one HDRI.

    Args:
        name: One of `HDRI_KINDS`.
        seed: Chooses where lights lie, their sizes and colours.
        height: Of the map, px; the width is twice that.

    Returns:
        Scene-linear radiance, shape (v, u, 3), ``physical``; suns reach several thousand.

    Raises:
        UsageError: There is no kind of that name.
    """
    if name not in HDRI_KINDS:
        raise UsageError(f"no HDRI kind {name!r}", hint=f"one of {', '.join(HDRI_KINDS)}")
    rng = np.random.default_rng([seed, *name.encode()])
    directions = latlong_directions(height, 2 * height).astype(np.float64)
    hdr = np.maximum(HDRI_KINDS[name](directions, rng), 0.0)
    return (hdr * (rng.uniform(0.6, 1.2) / mean_exposure(hdr))).astype(np.float32)


def mean_exposure(hdr: npt.NDArray[np.floating]) -> float:
    """What an albedo-1 Lambertian surface shows, mean of one facing up and four upright ones, luminance."""
    shown = sh_basis(PROBE_NORMALS) @ irradiance_sh(hdr)
    return float(luminance(shown.astype(np.float64)).mean())


def _sun_and_sky(directions: FloatArray, rng: np.random.Generator) -> FloatArray:
    elevation = rng.uniform(0.15, 1.2)
    warmth = np.clip(1 - elevation / 0.9, 0, 1)
    sky = _gradient(directions, (0.75, 0.8, 0.9), (0.18, 0.36, 0.85), ground=(0.22, 0.19, 0.15))
    clouds = np.clip(_noise(directions, rng, 4.0) - 0.2, 0, 1)[..., None] * (directions[..., 1:2] > 0)
    sky = sky * (1 - 0.7 * clouds) + 0.9 * clouds
    colour = np.array([1.0, 0.92 - 0.35 * warmth, 0.82 - 0.6 * warmth])
    toward = _toward(rng.uniform(-np.pi, np.pi), elevation)
    glow = 2.0 * np.exp(30 * (directions @ toward - 1))[..., None]
    sun = _disc(directions, toward, 0.02) * rng.uniform(5000, 12000)
    return np.asarray(sky + (glow + sun) * colour)


def _overcast(directions: FloatArray, rng: np.random.Generator) -> FloatArray:
    sky = _gradient(directions, (0.7, 0.75, 0.8), (1.0, 1.02, 1.05), ground=(0.14, 0.13, 0.11))
    bright = np.exp(2.0 * (directions @ _toward(rng.uniform(-np.pi, np.pi), 0.8) - 1))[..., None]
    cloudy = sky * (0.8 + 0.5 * _noise(directions, rng, 3.0)[..., None])
    return np.asarray(cloudy + bright * (directions[..., 1:2] > 0))


def _room(directions: FloatArray, rng: np.random.Generator) -> FloatArray:
    wall = rng.uniform(0.08, 0.25) * _tint(rng, 0.3)
    room = _gradient(directions, tuple(wall), tuple(wall * 1.4), ground=tuple(wall * np.array([0.7, 0.5, 0.35])))
    room = room * (0.8 + 0.4 * _noise(directions, rng, 2.0)[..., None])
    azimuth, daylight = rng.uniform(-np.pi, np.pi), np.array([0.85, 0.95, 1.1]) * rng.uniform(6, 20)
    for k in range(rng.integers(1, 4)):
        window = _panel(directions, _toward(azimuth + 0.8 * k, rng.uniform(0.05, 0.4)), 0.28, 0.38)
        room = room * (1 - window) + window * daylight * rng.uniform(0.6, 1.0)
    lamp = _disc(directions, _toward(rng.uniform(-np.pi, np.pi), rng.uniform(0.4, 1.4)), 0.1)
    return np.asarray(room + lamp * np.array([1.0, 0.7, 0.4]) * rng.uniform(20, 80))


def _area_lights(directions: FloatArray, rng: np.random.Generator) -> FloatArray:
    light = np.full_like(directions, 0.02)
    for _ in range(rng.integers(2, 5)):
        toward = _toward(rng.uniform(-np.pi, np.pi), rng.uniform(-0.3, 1.1))
        panel = _panel(directions, toward, rng.uniform(0.12, 0.5), rng.uniform(0.12, 0.5))
        light = light * (1 - panel) + panel * _tint(rng, 0.95) * rng.uniform(3, 25)
    return light


def _studio(directions: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A key light, a weak fill on the other side and a rim light behind."""
    light = _gradient(directions, (0.05, 0.05, 0.05), (0.08, 0.08, 0.08), ground=(0.03, 0.03, 0.03))
    azimuth, side = rng.uniform(-np.pi, np.pi), rng.choice([-1.0, 1.0])
    for turn, up, size, power in ((0.7, 0.6, 0.35, 20), (-0.9, 0.2, 0.5, 3), (2.8, 0.5, 0.18, 40)):
        panel = _panel(directions, _toward(azimuth + side * turn, up), size, size * 0.8)
        light = light + panel * _tint(rng, 0.15) * power
    return light


def _night_street(directions: FloatArray, rng: np.random.Generator) -> FloatArray:
    street = _gradient(directions, (0.05, 0.04, 0.045), (0.004, 0.006, 0.015), ground=(0.03, 0.026, 0.02))
    for _ in range(rng.integers(4, 10)):
        lamp = _disc(directions, _toward(rng.uniform(-np.pi, np.pi), rng.uniform(0.02, 0.7)), rng.uniform(0.03, 0.07))
        street = street + lamp * _tint(rng, 0.6) * np.array([1.0, 0.75, 0.5]) * rng.uniform(40, 300)
    for _ in range(rng.integers(1, 5)):
        sign = _panel(directions, _toward(rng.uniform(-np.pi, np.pi), rng.uniform(0, 0.4)), 0.15, 0.06)
        street = street + sign * _tint(rng, 1.0) * rng.uniform(5, 30)
    return street


def _sunset(directions: FloatArray, rng: np.random.Generator) -> FloatArray:
    toward = _toward(rng.uniform(-np.pi, np.pi), rng.uniform(0.04, 0.15))
    near = np.exp(1.5 * (directions @ toward - 1))[..., None]
    sky = _gradient(directions, (0.5, 0.35, 0.35), (0.1, 0.16, 0.4), ground=(0.08, 0.06, 0.06))
    orange = np.array([1.2, 0.5, 0.15]) * near * np.exp(-3 * np.abs(directions[..., 1:2]))
    sun = _disc(directions, toward, 0.04) * np.array([1.0, 0.5, 0.18]) * rng.uniform(600, 1500)
    return np.asarray(sky + 2 * orange + sun)


HDRI_KINDS: dict[str, Painter] = {
    "sun_and_sky": _sun_and_sky,
    "overcast": _overcast,
    "room": _room,
    "area_lights": _area_lights,
    "studio": _studio,
    "night_street": _night_street,
    "sunset": _sunset,
}


def _toward(azimuth: float, elevation: float) -> FloatArray:
    """Unit direction; azimuth 0 is +z, pi / 2 is +x; rad."""
    flat = np.cos(elevation)
    return np.array([flat * np.sin(azimuth), np.sin(elevation), flat * np.cos(azimuth)])


def _gradient(
    directions: FloatArray, horizon: tuple[float, ...], zenith: tuple[float, ...], *, ground: tuple[float, ...]
) -> FloatArray:
    """From the horizon up to the zenith, and the ground below."""
    up = directions[..., 1:2]
    height = np.clip(up, 0, 1) ** 0.6
    sky = np.array(horizon) * (1 - height) + np.array(zenith) * height
    return np.where(up >= 0, sky, np.array(ground))


def _disc(directions: FloatArray, toward: FloatArray, radius: float) -> FloatArray:
    """A round light of angular radius ``radius``, rad, with a soft edge of one texel, shape (v, u, 1), 0..1."""
    softness = np.pi / directions.shape[0]
    angle = np.arccos(np.clip(directions @ toward, -1, 1))
    return np.asarray(np.clip((radius - angle) / softness + 0.5, 0, 1))[..., None]


def _panel(directions: FloatArray, toward: FloatArray, width: float, height: float) -> FloatArray:
    """An upright rectangular light of half sizes ``width`` x ``height`` (tangents), shape (v, u, 1), 0..1."""
    side = np.cross(toward, [0.0, 1.0, 1e-3])
    side /= np.linalg.norm(side)
    depth = directions @ toward
    x = np.abs(directions @ side) / np.maximum(depth, 1e-3)
    y = np.abs(directions @ np.cross(side, toward)) / np.maximum(depth, 1e-3)
    softness = np.pi / directions.shape[0]
    inside = np.clip((width - x) / softness + 0.5, 0, 1) * np.clip((height - y) / softness + 0.5, 0, 1)
    return np.asarray(inside * (depth > 0))[..., None]


def _noise(directions: FloatArray, rng: np.random.Generator, frequency: float) -> FloatArray:
    """Smooth noise of mean about 0.5, shape (v, u): random plane waves at three octaves."""
    total = np.zeros(directions.shape[:-1])
    for octave in range(3):
        waves = rng.normal(size=(4, 3)) * frequency * 2.0**octave
        phases = rng.uniform(0, 2 * np.pi, 4)
        total += np.sin(directions @ waves.T + phases).sum(axis=-1) / 4 / 2.0**octave
    return np.asarray(0.5 + 0.5 * total)


def _tint(rng: np.random.Generator, strength: float) -> FloatArray:
    """A random colour of luminance about 1; ``strength`` 0 is white, 1 saturated."""
    colour = 1 - strength * rng.uniform(0, 1, 3) ** 0.5
    return np.asarray(colour / colour.max())

"""The rig of a simulated stage: its ring of cameras, and what their sensors store."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from litdome.geometry import Camera, Rig, look_at
from litdome.synth.render import Float32Array

TARGET = np.array([0.0, 0.92, 0.0])  # half the height of a standing person, m
SUBJECT_HEIGHT_M = 2.15  # what a camera must see, arms up not included


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

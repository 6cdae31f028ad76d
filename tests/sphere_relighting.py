"""A Lambertian ball seen by a camera on world +z, and a renderer of it that is physically exact."""

from __future__ import annotations

import numpy as np

from litdome.color import srgb_from_linear
from litdome.geometry import rotation_about_y
from litdome.lighting import latlong_directions, latlong_solid_angles

SIZE = 48
_y, _x = np.mgrid[:SIZE, :SIZE] / ((SIZE - 1) / 2) - 1
_inside = _x**2 + _y**2 < 0.9
NORMALS = np.stack([_x, -_y, np.sqrt(np.maximum(1 - _x**2 - _y**2, 0.05))], axis=-1)
NORMALS /= np.linalg.norm(NORMALS, axis=-1, keepdims=True)
MASK = _inside.astype(np.float64)
ALBEDO = 0.2 + 0.4 * np.random.default_rng(3).random((SIZE, SIZE, 3))
FLAT = srgb_from_linear(ALBEDO)


def lambertian(hdr: np.ndarray, *, turn_deg: float = 0.0, physical: bool = True) -> np.ndarray:
    """The ball under a map; ``physical`` False reads the map mirrored, as the other convention has it."""
    height, width = hdr.shape[:2]
    directions = latlong_directions(height, width, "physical" if physical else "cosmos").reshape(-1, 3)
    light = (hdr * latlong_solid_angles(height, width)[..., None]).reshape(-1, 3) / np.pi
    lit = light.any(axis=1)
    normals = NORMALS.reshape(-1, 3) @ rotation_about_y(turn_deg).T
    irradiance = np.maximum(normals @ directions[lit].T, 0) @ light[lit]
    return np.clip(srgb_from_linear(ALBEDO * irradiance.reshape(SIZE, SIZE, 3)), 0, 1)

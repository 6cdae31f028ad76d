"""The effective environment map: what a stage's LEDs do, as a lat-long map."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from litdome.errors import CalibrationError
from litdome.lighting.latlong import HdriConvention, latlong_directions, latlong_solid_angles
from litdome.lighting.led_set import LedSet

Float32Array = npt.NDArray[np.float32]


def effective_map(
    leds: LedSet, intensity: npt.NDArray[np.floating[Any]], height: int, convention: HdriConvention
) -> Float32Array:
    """Each LED's light spread evenly over its cell: the directions that it is the nearest LED of, within one spacing.

    Where no LED is within one spacing (below the lowest ones), the map is black, as the stage is. No light is lost:
    radiance times solid angle over a cell is the LED's intensity.

    Args:
        leds: The stage.
        intensity: Irradiance of each LED on a surface that faces it, shape (light, 3).
        height: Rows of the map; it is twice as wide.
        convention: Where the map's centre lies in the world.

    Returns:
        Scene-linear radiance, shape (height, 2 * height, 3), float32.

    Raises:
        CalibrationError: Texels so large that a LED has none.
    """
    texels = latlong_directions(height, 2 * height, convention).reshape(-1, 3)
    solid_angle = np.repeat(latlong_solid_angles(height, 2 * height), 2 * height)
    lit = leds.directions[leds.valid]
    reach = 2 * np.sin(leds.spacing / 2)
    distance, cell = cKDTree(lit).query(texels, distance_upper_bound=reach)
    reached = distance < np.inf
    area = np.bincount(cell[reached], solid_angle[reached], len(lit))
    if not area.all():
        dark = int(np.flatnonzero(leds.valid)[np.argmin(area)])
        raise CalibrationError(f"LED {dark} has no texel in a map of {height} rows", hint="give a larger map")
    out = np.zeros((len(texels), 3), np.float32)
    out[reached] = (intensity[leds.valid] / area[:, None])[cell[reached]]
    return out.reshape(height, 2 * height, 3)

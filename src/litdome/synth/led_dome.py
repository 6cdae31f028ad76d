"""The LEDs of a simulated stage: laid out as on a real one or read from a file, and what they are driven with.

A drive is the intensity of every LED and channel: irradiance on a surface at the centre that faces the LED.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from litdome.errors import UsageError
from litdome.lighting import clean_hdri, latlong_directions, latlong_solid_angles
from litdome.lighting.led_set import FEWEST_LEDS, MOST_LEDS, LedSet, led_set, read_leds
from litdome.synth.lights import DirectionalLights, face_radius
from litdome.synth.rig import TARGET
from litdome.synth.shading import dome_directions
from litdome.synth.spectra import RGBAW, channel_responses, mix_channels

FloatArray = npt.NDArray[np.float64]
RGB = ("red", "green", "blue")
LOWEST_DEG = -66.0
RADIUS_M = 3.6  # of the default dome: just outside the cameras


@dataclass(frozen=True, eq=False)
class Dome:
    """A dome of LEDs.

    Attributes:
        leds: Where they are, and which of them work.
        spectral: LEDs of five kinds (`RGBAW`) instead of ideal red, green and blue ones.
        far: Infinitely far away, each as large as its part of the sphere: light as it would fall in the open.
    """

    leds: LedSet
    spectral: bool = False
    far: bool = False

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the LEDs' channels."""
        return RGBAW if self.spectral else RGB

    def lights(self, drive: FloatArray) -> DirectionalLights:
        """The light of a drive, shape (light, channel)."""
        leds, count = self.leds, len(self.leds)
        return DirectionalLights(
            leds.directions.astype(np.float32),
            drive.astype(np.float32),
            2 / np.sqrt(count) if self.far else face_radius(count),
            None if self.far else leds.positions_m.astype(np.float32),
            leds.centre_m.astype(np.float32),
            channel_responses().astype(np.float32) if self.spectral else None,
        )

    def flat_drive(self) -> FloatArray:
        """White light of 4 pi together: a small white ball at the centre shows 1 on the average. All working LEDs
        alike, as a stage does it; far ones as radiance 1 from everywhere."""
        if self.far:
            return self.drive_hdri(np.ones((64, 128, 3)))
        return self._mixed(np.outer(self.leds.valid * (4 * np.pi / self.leds.valid.sum()), np.ones(3)))

    def one_led_drive(self, led: int) -> FloatArray:
        """One LED alone, white, as bright as shows a white surface at the centre that faces it as 1."""
        return self._mixed(np.outer(np.arange(len(self.leds)) == led, np.full(3, np.pi)))

    def drive_hdri(self, hdr: npt.NDArray[np.floating[Any]]) -> FloatArray:
        """Each working LED gives the light of its cell of the sphere: of all texels that it is the nearest one of.

        Args:
            hdr: Scene-linear radiance, shape (v, u, 3), ``physical``.
        """
        height, width = hdr.shape[:2]
        working = np.flatnonzero(self.leds.valid)
        nearest = cKDTree(self.leds.directions[working]).query(latlong_directions(height, width).reshape(-1, 3))[1]
        cells = working[nearest]
        energy = (clean_hdri(hdr) * latlong_solid_angles(height, width)[..., None]).reshape(-1, 3)
        return self._mixed(np.stack([np.bincount(cells, energy[:, c], len(self.leds)) for c in range(3)], axis=1))

    def _mixed(self, rgb: FloatArray) -> FloatArray:
        """Drive for light as a white surface shows it, shape (light, 3)."""
        return mix_channels(rgb, channel_responses()) if self.spectral else rgb


def make_dome(count: int, *, spectral: bool = False) -> Dome:
    """A dome of real size around the middle of a standing person, its LEDs as `ring_dome` lays them out."""
    _need_count("leds", count)
    return Dome(led_set(ring_dome(count, radius_m=RADIUS_M) + TARGET, centre_m=TARGET), spectral)


def import_dome(file: Path, *, spectral: bool = False) -> Dome:
    """The LEDs of a Goliath-style lights json, their centre moved to the middle of a standing person.

    Raises:
        CalibrationError: As `litdome.lighting.led_set.read_leds`.
    """
    leds = read_leds(file)
    return Dome(replace(leds, positions_m=leds.positions_m - leds.centre_m + TARGET, centre_m=TARGET), spectral)


def far_dome(count: int, *, spectral: bool = False) -> Dome:
    """Lights at infinity, evenly spread: `dome_directions`."""
    _need_count("far_lights", count)
    towards = dome_directions(count).astype(np.float64)
    return Dome(led_set(towards, centre_m=np.zeros(3)), spectral, far=True)


def _need_count(name: str, count: int) -> None:
    if not FEWEST_LEDS <= count <= MOST_LEDS:
        raise UsageError(
            f"{name} = {count}, must be within {FEWEST_LEDS}..{MOST_LEDS}", hint=f"--{name.replace('_', '-')} 331"
        )


def ring_dome(count: int = 331, *, radius_m: float = 1.8, lowest_deg: float = LOWEST_DEG) -> FloatArray:
    """Positions of ``count`` LEDs in rings around the vertical, as far apart in the rings as the rings are.

    With 331 LEDs the nearest one is 10.9 degrees away (10.4 to 11.2), as on the stage of FaceOLAT and HumanOLAT
    (10.94, 10.1 to 12.4; lowest LED at -66 degrees).

    Returns:
        Shape (count, 3), metres from the centre of the dome, +y up.
    """
    span = np.radians(90 - lowest_deg)
    area = 2 * np.pi * (1 - np.cos(span))
    rings = max(2, round(span / np.sqrt(area / count)) + 1)
    elevations = np.pi / 2 - np.linspace(0, span, rings)
    wanted = np.cos(elevations)
    low, high = 0.0, float(count)
    while high - low > 1e-9:  # LEDs on a ring of the equator's length, so that all rings hold `count`
        middle = (low + high) / 2
        low, high = (middle, high) if _ring_counts(wanted, middle).sum() < count else (low, middle)
    counts = _ring_counts(wanted, high)
    counts[np.argmax(counts)] += count - counts.sum()
    parts = []
    for ring, (elevation, number) in enumerate(zip(elevations, counts, strict=True)):
        azimuth = 2 * np.pi * (np.arange(number) + 0.5 * (ring % 2)) / number
        level = np.full(number, np.sin(elevation))
        parts.append(
            np.stack([np.cos(elevation) * np.sin(azimuth), level, np.cos(elevation) * np.cos(azimuth)], axis=1)
        )
    return radius_m * np.concatenate(parts)


def _ring_counts(wanted: FloatArray, equator: float) -> npt.NDArray[np.int64]:
    return np.maximum(1, np.round(wanted * equator)).astype(np.int64)

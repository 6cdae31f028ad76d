"""LEDs of a stage that does not exist, laid out as a real one: rings from overhead down to 66 degrees below."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
LOWEST_DEG = -66.0


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

"""The lights of a simulated stage, infinitely far away or LEDs at a distance, and how points see them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from litdome.synth.render import Float32Array, IntArray

FACE = 0.09  # radius of an LED's face: so much of the side of the square that it has on the sphere


def face_radius(count: int) -> float:
    """Angular radius of the face of one of ``count`` LEDs around the stage, rad."""
    return float(FACE * np.sqrt(4 * np.pi / count))


@dataclass(frozen=True, eq=False)
class DirectionalLights:
    """Lights around the stage.

    Attributes:
        directions: Towards the lights from the centre of the stage, unit, world, shape (n, 3).
        intensity: Irradiance on a surface at the centre that faces the light (radiance times solid angle), shape
            (n, channel).
        spread: Angular radius of one light, rad: no highlight is narrower.
        positions: World, shape (n, 3), metres; None: infinitely far away. Nearer lights are brighter by the square of
            the distance, in all directions alike.
        centre: Of the stage, shape (3,), metres: where `intensity` holds.
        response: What intensity 1 of each channel shows of a surface of given reflectance in linear RGB,
            ``response[channel] @ reflectance``, shape (channel, 3, 3); None: the channels are R, G and B.
    """

    directions: Float32Array
    intensity: Float32Array
    spread: float = 0.0
    positions: Float32Array | None = None
    centre: Float32Array = field(default_factory=lambda: np.zeros(3, np.float32))
    response: Float32Array | None = None

    @property
    def rgb(self) -> Float32Array:
        """Intensity as a white surface shows it, linear, shape (n, 3)."""
        return self.intensity if self.response is None else self.intensity @ self.response.sum(axis=2)

    def scaled(self, gain: float) -> DirectionalLights:
        """The same lights, ``gain`` times as bright."""
        return self if gain == 1 else replace(self, intensity=self.intensity * np.float32(gain))

    def lit(self) -> DirectionalLights:
        """Those that are not dark."""
        on = self.intensity.max(axis=1) > 0
        at = None if self.positions is None else self.positions[on]
        return replace(self, directions=self.directions[on], intensity=self.intensity[on], positions=at)


@dataclass(frozen=True, eq=False)
class Bearings:
    """Lights as n points see them: see `bearings`.

    Attributes:
        lights: Which.
        points: From the centre of the stage, shape (n, 3), metres.
        toward: To the lights from that centre, shape (light, 3), metres; unit where they are infinitely far away.
        distance: To the lights, shape (n, light), metres; None: infinite.
    """

    lights: DirectionalLights
    points: Float32Array
    toward: Float32Array
    distance: Float32Array | None

    def cosines(self, vectors: Float32Array) -> Float32Array:
        """Of each point's unit vector, shape (n, 3), with the directions towards the lights, shape (n, light)."""
        if self.distance is None:
            return vectors @ self.toward.T
        away = vectors @ self.toward.T - (vectors * self.points).sum(axis=1, keepdims=True)
        return np.asarray(away / self.distance)

    def rays(self, point: IntArray, light: IntArray) -> Float32Array:
        """Unit directions from points to lights, both given by number, shape (k, 3)."""
        if self.distance is None:
            return self.toward[light]
        return np.asarray((self.toward[light] - self.points[point]) / self.distance[point, light][:, None])

    def gather(self, shares: Float32Array) -> Float32Array:
        """Light of all lights together, ``shares`` of each, shape (n, light), reflected; shape (n, channel)."""
        if self.distance is not None:
            shares = shares * ((self.toward**2).sum(axis=1) / self.distance**2)
        return shares @ self.lights.intensity


def bearings(lights: DirectionalLights, points: Float32Array) -> Bearings:
    """Lights as points, world, shape (n, 3), see them."""
    if lights.positions is None:
        return Bearings(lights, points, lights.directions, None)
    toward, points = lights.positions - lights.centre, points - lights.centre
    squared = (toward**2).sum(axis=1) + (points**2).sum(axis=1, keepdims=True) - 2 * points @ toward.T
    return Bearings(lights, points, toward, np.sqrt(np.maximum(squared, 1e-6)))

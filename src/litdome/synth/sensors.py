"""Cameras that see colour differently: a matrix, a black level and a fall-off each, known exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from litdome.color import falloff_at
from litdome.synth.render import Float32Array

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sensor:
    """What a camera makes of linear light: fall-off times matrix times light, plus black level.

    Attributes:
        matrix: Shape (3, 3).
        black_level: Linear, shape (3,).
        falloff: Coefficients of r^2, r^4 and r^6, r = 1 in the corners; shape (3,).
    """

    matrix: FloatArray
    black_level: FloatArray
    falloff: FloatArray

    def see(self, linear: Float32Array) -> Float32Array:
        """Signal of linear light, shape (y, x, 3)."""
        height, width = linear.shape[:2]
        x, y = np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2
        r2 = ((x**2 + (y**2)[:, None]) / (np.hypot(width, height) / 2) ** 2).astype(np.float32)
        light = (linear @ self.matrix.T.astype(np.float32)) * falloff_at(r2, self.falloff)[..., None]
        return np.asarray(light + self.black_level.astype(np.float32), np.float32)


def make_sensors(count: int, spread: float, seed: int) -> tuple[Sensor, ...]:
    """Sensors whose gains and cross-talk differ by ``spread``; corners lose up to three times as much light."""
    sensors = []
    for index in range(count):
        rng = np.random.default_rng([seed, 21, index])
        matrix = np.diag(rng.uniform(1 - 2 * spread, 1, 3)) @ (np.eye(3) + rng.uniform(-spread, spread, (3, 3)) / 2)
        falloff = -spread * np.array([rng.uniform(1, 2), rng.uniform(0, 1), 0.0])
        sensors.append(Sensor(matrix, rng.uniform(0, 0.1, 3) * spread, falloff))
    return tuple(sensors)

"""What a camera makes of light: optics and shutter, colour, noise and codes, each known exactly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from litdome.color import falloff_at, srgb_from_linear
from litdome.geometry import Camera, Rig
from litdome.media.encode import Codec
from litdome.media.planes import Codes
from litdome.synth.camera_setup import CameraSetup
from litdome.synth.render import Float32Array

FloatArray = npt.NDArray[np.float64]
SHOT_NOISE = 4e-5  # variance per linear light at gain 0 dB: one 8-bit code at half light
READ_NOISE = 3e-4  # linear: one 8-bit code in the dark
SKIN_BEFORE_AXIS_M = 0.1  # the side of a person that a camera sees lies this much before the vertical through them


@dataclass(frozen=True, eq=False)
class Sensor:
    """How one camera takes pictures; as made, exactly what the light is, at once, sharp everywhere.

    Attributes:
        matrix: Linear light to the camera's own, shape (3, 3).
        black_level: Linear, shape (3,).
        falloff: Coefficients of r^2, r^4 and r^6, r = 1 in the corners; shape (3,).
        exposure_ev: Stops brighter than the light.
        gain_db: Multiplies the signal; the light is dimmed by as much, so that only noise grows.
        bits: Of a stored code, 8 or 10.
        aperture_m: Width of the entrance pupil; 0: a pinhole.
        focus_m: Depth that is sharp, along the optical axis.
        shutter_s: How long each row is exposed; 0: an instant.
        rolling_s: From the first row's exposure to the last one's; their middle is the frame's time.
    """

    matrix: FloatArray = field(default_factory=lambda: np.eye(3))
    black_level: FloatArray = field(default_factory=lambda: np.zeros(3))
    falloff: FloatArray = field(default_factory=lambda: np.zeros(3))
    exposure_ev: float = 0.0
    gain_db: float = 0.0
    bits: int = 8
    aperture_m: float = 0.0
    focus_m: float = 1.0
    shutter_s: float = 0.0
    rolling_s: float = 0.0

    @property
    def response(self) -> FloatArray:
        """Matrix and exposure in one: linear light to signal in the middle of the picture, shape (3, 3)."""
        return np.asarray(self.matrix * 2.0**self.exposure_ev)

    @property
    def codec(self) -> Codec:
        """Of its videos."""
        return "h264" if self.bits == 8 else "hevc"

    @property
    def open_s(self) -> float:
        """From the first row's opening to the last one's closing."""
        return self.shutter_s + self.rolling_s

    @property
    def is_blurred(self) -> bool:
        """Whether depth or motion blurs or bends the picture."""
        return self.aperture_m > 0 or self.open_s > 0

    def see(self, linear: Float32Array) -> Float32Array:
        """Signal of linear light, shape (y, x, 3)."""
        height, width = linear.shape[:2]
        x, y = np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2
        r2 = ((x**2 + (y**2)[:, None]) / (np.hypot(width, height) / 2) ** 2).astype(np.float32)
        light = (linear @ self.response.T.astype(np.float32)) * falloff_at(r2, self.falloff)[..., None]
        return np.asarray(light + self.black_level.astype(np.float32), np.float32)


def expose(linear: Float32Array, rng: np.random.Generator, sensor: Sensor | None = None) -> Codes:
    """What a camera stores of the linear light on its sensor: shot and read noise, sRGB curve, codes.

    Returns:
        Shape as ``linear``: uint8; of 10 bits uint16, full scale.
    """
    linear = linear if sensor is None else sensor.see(linear)
    noise = rng.standard_normal(linear.shape, np.float32)
    signal = np.clip(linear, 0, 1.2)
    noise *= np.sqrt(noise_variance(signal, 0.0 if sensor is None else sensor.gain_db))
    codes = _srgb_codes(8 if sensor is None else sensor.bits)
    return np.asarray(codes[(np.clip(signal + noise, 0, 1) * (len(codes) - 1) + 0.5).astype(np.uint16)])


def noise_variance(signal: Float32Array, gain_db: float) -> Float32Array:
    """Variance of the noise of a linear signal, same shape: photons are fewer and all noise is amplified."""
    gain = 10 ** (gain_db / 20)
    return np.asarray(SHOT_NOISE * gain * signal + (READ_NOISE * gain) ** 2)


@lru_cache(maxsize=2)
def _srgb_codes(bits: int) -> Codes:
    """sRGB codes of 0..1 in steps fine enough for the curve's steepest part (a fifth of a code)."""
    top = 2**bits - 1
    codes = np.round(srgb_from_linear(np.linspace(0, 1, 1 << (bits + 6))) * top)
    return np.asarray(codes, np.uint8) if bits == 8 else np.asarray(np.round(codes * (65535 / top)), np.uint16)


def make_sensors(count: int, spread: float, seed: int) -> tuple[Sensor, ...]:
    """Sensors whose gains and cross-talk differ by ``spread``; corners lose up to three times as much light."""
    sensors = []
    for index in range(count):
        rng = np.random.default_rng([seed, 21, index])
        matrix = np.diag(rng.uniform(1 - 2 * spread, 1, 3)) @ (np.eye(3) + rng.uniform(-spread, spread, (3, 3)) / 2)
        falloff = -spread * np.array([rng.uniform(1, 2), rng.uniform(0, 1), 0.0])
        sensors.append(Sensor(matrix, rng.uniform(0, 0.1, 3) * spread, falloff))
    return tuple(sensors)


def set_cameras(rig: Rig, setup: CameraSetup, color_spread: float, seed: int) -> tuple[Sensor, ...]:
    """The sensors of a take, in the rig's order; none where nothing is set: every camera sees exactly.

    Args:
        rig: Whose cameras; they focus on the side of the person that they see.
        setup: What they share.
        color_spread: Of `make_sensors`.
        seed: Draws what is each camera's own.
    """
    if setup == CameraSetup(setup.face_cameras, distance_m=setup.distance_m) and not color_spread:
        return ()
    colors = make_sensors(len(rig.cameras), color_spread, seed)
    return tuple(
        _set(camera, color, setup, np.random.default_rng([seed, 23, k]))
        for k, (camera, color) in enumerate(zip(rig.cameras, colors, strict=True))
    )


def _set(camera: Camera, color: Sensor, setup: CameraSetup, rng: np.random.Generator) -> Sensor:
    brighter, farther = rng.uniform(-1, 1, 2)
    return replace(
        color,
        falloff=color.falloff - np.array([setup.vignetting, 0.0, 0.0]),
        exposure_ev=float(brighter * setup.exposure_spread_ev),
        gain_db=setup.gain_db,
        bits=setup.bits,
        aperture_m=setup.aperture_mm / 1000,
        focus_m=max(0.2, person_depth(camera) + float(farther) * setup.focus_error_m),
        shutter_s=setup.shutter_ms / 1000,
        rolling_s=setup.rolling_shutter_ms / 1000,
    )


def person_depth(camera: Camera) -> float:
    """Depth of the skin of a person at the origin in the middle of a camera's picture, metres."""
    forward, centre = camera.world_from_camera[[0, 2], 2], camera.centre[[0, 2]]
    return float(-(centre @ forward) / (forward @ forward)) - SKIN_BEFORE_AXIS_M


def write_camera_truth(path: Path, ids: Sequence[str], sensors: Sequence[Sensor]) -> None:
    """How each camera took its pictures, as .json: the fields of `Sensor` by camera id."""
    path.parent.mkdir(parents=True, exist_ok=True)
    known = {id: asdict(sensor) for id, sensor in zip(ids, sensors or [Sensor()] * len(ids), strict=True)}
    path.write_text(json.dumps(known, indent=1, default=np.ndarray.tolist), encoding="utf-8")

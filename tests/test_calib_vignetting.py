"""Fall-off from flat fields: recovered where it is one, refused where it is not."""

from __future__ import annotations

import numpy as np
import pytest

from litdome.calib.color.vignetting import fit_falloff
from litdome.errors import CalibrationError
from litdome.synth.sensors import Sensor

COEFFICIENTS = np.array([-0.3, -0.1, 0.05])


def flat_field(coefficients: np.ndarray = COEFFICIENTS, light: float = 0.5) -> np.ndarray:
    """Shape (90, 160, 3), with the noise of a sensor."""
    sensor = Sensor(np.eye(3), np.zeros(3), coefficients)
    noise = np.random.default_rng(0).normal(0, 0.003, (90, 160, 3))
    return (sensor.see(np.full((90, 160, 3), light, np.float32)) + noise).astype(np.float32)


def test_falloff_is_recovered_beside_a_gradient_of_the_light() -> None:
    tilt = 1 + np.linspace(-0.1, 0.1, 160)[:, None]
    found = fit_falloff(flat_field() * tilt, "c00.png")
    r = np.linspace(0, 1, 20)
    curve, truth = (1 + c[0] * r**2 + c[1] * r**4 + c[2] * r**6 for c in (found.coefficients, COEFFICIENTS))
    np.testing.assert_allclose(curve, truth, atol=0.01)  # a tilt times a fall-off is not quite their sum
    assert found.corner == pytest.approx(0.65, abs=0.01)


def test_dust_is_left_out() -> None:
    picture = flat_field()
    picture[20:26, 30:36] *= 0.5
    np.testing.assert_allclose(fit_falloff(picture, "c00.png").corner, 0.65, atol=0.01)


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (flat_field(light=1.3).clip(0, 1), "clipped"),
        (flat_field(light=0.005), "dark"),
        (flat_field() * np.where(np.arange(160)[:, None] % 40 < 20, 1, 0.6), "not evenly white"),
        (flat_field() * (1 + np.linspace(-0.6, 0.6, 160)[:, None]), "not evenly white"),
        (flat_field(np.array([0.2, 0.0, 0.0])), "than a lens"),
    ],
)
def test_what_is_no_flat_field_is_refused(picture: np.ndarray, words: str) -> None:
    with pytest.raises(CalibrationError, match=words):
        fit_falloff(picture, "c00.png")

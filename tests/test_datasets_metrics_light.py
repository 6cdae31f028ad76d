from __future__ import annotations

import numpy as np
import pytest
from sphere_relighting import ALBEDO, FLAT, MASK, NORMALS, lambertian

from litdome.color import srgb_from_linear
from litdome.datasets.metrics import fit_light, lighting_error, lighting_instability
from litdome.lighting import irradiance_sh, latlong_directions, sh_basis

LIGHT = np.random.default_rng(4).normal(0, 0.15, (9, 3))
LIGHT[0] = 1.5
SEEN = NORMALS[MASK > 0]


def relit(light: np.ndarray) -> np.ndarray:
    return srgb_from_linear(ALBEDO * (sh_basis(NORMALS) @ light))


def test_a_known_light_is_read_off_a_picture_whatever_the_albedo() -> None:
    np.testing.assert_allclose(fit_light(relit(LIGHT), FLAT, NORMALS, MASK), LIGHT, atol=1e-6)


def test_the_light_of_an_hdri_is_read_off_a_lambertian_ball() -> None:
    directions = latlong_directions(32, 64)
    hdr = (0.4 + 0.3 * directions[..., :1] + 0.2 * directions[..., 1:2]) * np.array([1.0, 0.8, 0.6])
    truth = irradiance_sh(hdr)
    found = fit_light(lambertian(hdr), FLAT, NORMALS, MASK)
    assert lighting_error(found, truth, SEEN) < 0.01  # 32 rows of the map
    mirrored = irradiance_sh(hdr[:, ::-1])
    assert lighting_error(found, mirrored, SEEN) > 0.2  # negative control


def test_error_of_a_gain_is_the_gain() -> None:
    assert lighting_error(LIGHT * 1.1, LIGHT, SEEN) == pytest.approx(0.1)
    assert lighting_error(LIGHT * 0, LIGHT, SEEN) == pytest.approx(1)


def test_clipped_and_masked_values_do_not_count() -> None:
    picture = relit(LIGHT)
    picture[:10] = 1.0
    picture[:, :8] = 0.5
    mask = MASK.copy()
    mask[:, :8] = 0
    np.testing.assert_allclose(fit_light(picture, FLAT, NORMALS, mask), LIGHT, atol=1e-5)
    assert lighting_error(fit_light(picture, FLAT, NORMALS, MASK), LIGHT, SEEN) > 0.02  # negative control
    assert np.isnan(fit_light(picture, FLAT, NORMALS, MASK * 0)).all()


def test_normals_of_one_side_fit_what_they_show() -> None:
    front = MASK * (NORMALS[..., 2] > 0.9)
    found = fit_light(relit(LIGHT), FLAT, NORMALS, front)
    assert lighting_error(found, LIGHT, NORMALS[front > 0]) < 1e-6


def test_instability_of_a_light_that_swings_is_its_amplitude() -> None:
    lights = LIGHT * np.array([0.9, 1.1, 0.9, 1.1])[:, None, None]
    assert lighting_instability(lights, SEEN) == pytest.approx(0.1)
    assert lighting_instability(np.stack([LIGHT] * 3), SEEN) == pytest.approx(0, abs=1e-9)

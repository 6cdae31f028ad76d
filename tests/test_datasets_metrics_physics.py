"""Physics checks on a ball that keeps them, and on renderers that break one each."""

from __future__ import annotations

import numpy as np
import pytest
from sphere_relighting import FLAT, MASK, NORMALS, lambertian

from litdome.color import srgb_from_linear
from litdome.datasets.metrics import (
    gain_error,
    one_light,
    one_light_error_deg,
    superposition_error,
    turn_error,
)
from litdome.geometry import Camera, look_at
from litdome.lighting import irradiance_sh, latlong_directions, sh_basis
from litdome.synth.body import make_body
from litdome.synth.render import Scene, cast_surface
from litdome.synth.shading import dome_lights, flat_lights, light_transport

DIRECTIONS = latlong_directions(32, 64)
SKY = 0.2 + 0.15 * DIRECTIONS[..., 1:2] * np.ones(3)
SIDE = 0.2 + 0.15 * DIRECTIONS[..., :1] * np.array([1.0, 0.7, 0.4])


def exposed(hdr: np.ndarray, *, turn_deg: float = 0.0) -> np.ndarray:
    """A renderer with automatic exposure: always as bright as before."""
    return lambertian(hdr / hdr.mean() * 0.3, turn_deg=turn_deg)


def gamma(hdr: np.ndarray, *, turn_deg: float = 0.0) -> np.ndarray:
    """A renderer whose output curve is not the sRGB curve."""
    return lambertian(hdr, turn_deg=turn_deg) ** 1.3


def mirrored(hdr: np.ndarray, *, turn_deg: float = 0.0) -> np.ndarray:
    return lambertian(hdr, turn_deg=turn_deg, physical=False)


def test_an_exact_renderer_keeps_superposition_and_gain() -> None:
    assert superposition_error(lambertian, SKY, SIDE, MASK) < 1e-6
    assert gain_error(lambertian, SKY, 2.0, MASK) < 1e-6


def test_automatic_exposure_breaks_superposition_and_gain() -> None:
    assert superposition_error(exposed, SKY, SIDE, MASK) == pytest.approx(0.5, abs=0.02)
    assert gain_error(exposed, SKY, 2.0, MASK) == pytest.approx(0.5, abs=0.02)


def test_a_wrong_output_curve_breaks_superposition_and_gain() -> None:
    assert superposition_error(gamma, SKY, SIDE, MASK) > 0.05 and gain_error(gamma, SKY, 2.0, MASK) > 0.05


def test_clipped_pixels_do_not_count() -> None:
    assert gain_error(lambertian, SKY, 7.0, MASK) < 1e-6
    assert lambertian(SKY * 7).max() == 1
    assert np.isnan(gain_error(lambertian, SKY, 1000.0, MASK))


def test_turning_rig_and_light_together_changes_nothing() -> None:
    assert turn_error(lambertian, SIDE, 40.0, MASK) < 0.002  # a map of 32 rows read between its texels


def test_turning_the_light_the_wrong_way_shows() -> None:
    def other_way(hdr: np.ndarray, *, turn_deg: float = 0.0) -> np.ndarray:
        return lambertian(hdr, turn_deg=-turn_deg)

    assert turn_error(other_way, SIDE, 40.0, MASK) > 0.1
    assert turn_error(mirrored, SIDE, 40.0, MASK) > 0.1


@pytest.mark.parametrize("direction", [(0.0, 0.3, 1.0), (0.8, 0.4, 0.6), (-0.7, -0.2, 0.8)])
def test_one_light_is_found_where_it_is(direction: tuple[float, float, float]) -> None:
    assert one_light_error_deg(lambertian, np.array(direction), FLAT, NORMALS, MASK) < 2.0


def test_a_mirrored_environment_puts_the_light_elsewhere() -> None:
    """Negative control: the picture under a light on the other side of the camera's axis."""

    def left_for_right(hdr: np.ndarray, *, turn_deg: float = 0.0) -> np.ndarray:
        return lambertian(np.ascontiguousarray(hdr[:, ::-1]), turn_deg=turn_deg)

    assert one_light_error_deg(left_for_right, np.array([0.8, 0.4, 0.6]), FLAT, NORMALS, MASK) > 60
    assert np.isnan(one_light_error_deg(mirrored, np.array([0.0, 0.0, 1.0]), FLAT, NORMALS, MASK))  # lit from behind


def test_on_the_simulated_person_the_truth_passes_and_a_mirrored_light_fails() -> None:
    """Cloth, skin and shadows of its own are no Lambertian ball; light from 512 places, up to 5 degrees off."""
    focal, size, leds = 50.0, (48, 32), 512
    intrinsics = np.array([[focal, 0, (size[1] - 1) / 2], [0, focal, (size[0] - 1) / 2], [0, 0, 1]])
    pose = look_at(np.array([1.0, 1.1, 2.0]), np.array([0.0, 0.9, 0.0]))
    scene, camera = Scene((make_body("s1").mesh(0.8),)), Camera("c00", *size[::-1], intrinsics, np.zeros(8), pose)
    surface = cast_surface(scene, camera)
    traced = light_transport(scene, surface, flat_lights(leds))

    def truth(hdr: np.ndarray, *, turn_deg: float = 0.0) -> np.ndarray:
        shown = traced.relit(dome_lights(hdr, leds).intensity) * surface.coverage[:, None]
        return np.clip(srgb_from_linear(surface.picture(shown)), 0, 1)

    def left_for_right(hdr: np.ndarray, *, turn_deg: float = 0.0) -> np.ndarray:
        return truth(np.ascontiguousarray(hdr[:, ::-1]))

    flat, mask = truth(np.ones((32, 64, 3), np.float32)), np.asarray(surface.mask, np.float64)
    normals = surface.picture(surface.normal)
    for towards in ((0.6, -0.4, -0.7), (-0.6, -0.4, -0.7), (0.0, -0.7, -0.7)):  # in the camera's axes
        light = pose[:3, :3] @ np.array(towards)
        mirror_deg = np.degrees(2 * np.arcsin(abs(light[0]) / np.linalg.norm(light)))
        assert one_light_error_deg(truth, light, flat, normals, mask) < 10 < mirror_deg
        assert one_light_error_deg(left_for_right, light, flat, normals, mask) == pytest.approx(mirror_deg, abs=10)
    assert superposition_error(truth, SKY / 2, SIDE / 2, mask) < 1e-5 and gain_error(truth, SIDE, 0.5, mask) < 1e-5


def test_one_light_gives_the_irradiance_it_says() -> None:
    towards = np.array([0.6, 0.0, 0.8])
    hdr = one_light(towards, irradiance=0.7)
    white = lambertian(hdr * 0)  # nothing lit
    assert white.max() == 0 and (hdr > 0).any(axis=-1).mean() < 0.03
    facing = irradiance_sh(hdr)
    assert sh_basis(towards) @ facing == pytest.approx(np.full(3, 0.7 * 17 / 16), rel=0.03)  # order 2 of a cosine lobe

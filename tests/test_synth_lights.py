"""Lights at infinity and LEDs at a distance: fall-off, superposition, and what surfaces make of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from test_synth_render import ball, front_camera

from litdome.geometry import look_at
from litdome.lighting import latlong_directions, latlong_solid_angles
from litdome.synth.hdris import make_hdri
from litdome.synth.led_dome import far_dome, make_dome
from litdome.synth.lights import DirectionalLights, bearings
from litdome.synth.render import Float32Array, Scene, Surface, cast_surface
from litdome.synth.shading import flat_lights, light_vertices, shade, shade_vertices

CENTRE = np.array([0.0, 0.92, 0.0])


def seen_ball(**material: float) -> tuple[Scene, Surface]:
    scene, at = Scene((ball((0.2, 1.1, 0.1), 0.3, **material),)), (0.2, 1.1, 0.1)
    return scene, cast_surface(scene, front_camera(world_from_camera=look_at((0.2, 1.1, 1.5), at)))


def irradiance_by_hand(lights: DirectionalLights, points: Float32Array, normals: Float32Array) -> Float32Array:
    """Unoccluded, shape (n, 3), LED by LED in double precision; no fall-off but the square of the distance."""
    assert lights.positions is not None
    out = np.zeros((len(points), 3))
    for position, intensity in zip(lights.positions.astype(float), lights.intensity.astype(float), strict=True):
        away = position - points
        distance = np.linalg.norm(away, axis=1)
        cosine = np.maximum((normals * away).sum(axis=1) / distance, 0)
        out += (cosine * ((position - CENTRE) ** 2).sum() / distance**2)[:, None] * intensity
    return out.astype(np.float32)


def test_irradiance_of_leds_at_a_distance_is_their_sum_by_the_inverse_square() -> None:
    dome = make_dome(64)
    lights = dome.lights(dome.drive_hdri(make_hdri("room", 3, height=32)))
    scene, surface = seen_ball(reflectance=0.0)
    shown = shade(scene, surface, lights) * np.pi
    wanted = irradiance_by_hand(lights, surface.position, surface.normal)
    assert np.abs(shown / wanted - 1).max() < 1e-4  # single precision; a ball shades nothing of what it faces
    far = shade(scene, surface, replace(lights, positions=None)) * np.pi
    assert np.abs(far / wanted - 1).max() > 0.05


def test_leds_very_far_away_are_lights_at_infinity() -> None:
    dome = make_dome(64)
    near = dome.lights(dome.drive_hdri(make_hdri("studio", 1, height=32)))
    far = replace(near, positions=CENTRE.astype(np.float32) + near.directions * np.float32(1e4))
    scene, surface = seen_ball(roughness=0.4)
    endless = shade(scene, surface, replace(near, positions=None))
    # 30 cm of 10 km: 3e-5, and the single precision of squares of 1e4
    assert np.abs(shade(scene, surface, far) - endless).max() < 1e-3 * endless.max()
    assert np.abs(shade(scene, surface, near) - endless).max() > 0.05 * endless.max()


def test_rays_and_cosines_point_at_the_leds() -> None:
    lights = make_dome(24).lights(np.ones((24, 3)))
    points = np.random.default_rng(0).uniform(-0.5, 1.5, (9, 3)).astype(np.float32)
    seen = bearings(lights, points)
    point, light = np.divmod(np.arange(9 * 24), 24)
    rays = seen.rays(point, light)
    assert lights.positions is not None and seen.distance is not None
    reached = points[point] + rays * seen.distance[point, light][:, None]
    np.testing.assert_allclose(reached, lights.positions[light], atol=1e-5)
    cosines = seen.cosines(np.tile(np.float32([0, 1, 0]), (9, 1)))
    np.testing.assert_allclose(cosines[point, light], rays[:, 1], atol=1e-5)


@pytest.mark.parametrize("far", [True, False])
def test_one_led_at_a_time_adds_up_to_all_of_them(far: bool) -> None:
    count = 16
    dome = far_dome(count) if far else make_dome(count)
    drive = dome.drive_hdri(make_hdri("overcast", 5, height=32))
    scene, surface = seen_ball(roughness=0.4)
    eye = np.array([0.2, 1.1, 1.5])

    def shown(drive: npt.NDArray[np.float64]) -> Float32Array:
        return shade_vertices(scene, surface, light_vertices(scene, (dome.lights(drive),)), eye)[0]

    one_by_one = [shown(drive * (np.arange(count) == led)[:, None]) for led in range(count)]
    together = shown(drive)
    np.testing.assert_allclose(np.sum(one_by_one, axis=0, dtype=np.float64), together, atol=1e-5)
    assert np.abs(np.sum(one_by_one[:-1], axis=0) - together).max() > 1e-3


def test_shadows_traced_at_vertices_agree_with_those_at_pixels_for_near_leds_of_five_channels() -> None:
    dome = make_dome(64, spectral=True)
    hdr = np.full((32, 64, 3), 0.2, np.float32)
    hdr[10, 34] = (200.0, 100.0, 30.0)
    scene = Scene((ball((-0.3, 1.0, 0), 0.3, roughness=0.5), ball((0.35, 1.05, 0.1), 0.3, roughness=0.5)))
    camera = front_camera(world_from_camera=look_at((0, 1.0, 2), (0, 1.0, 0)))
    surface = cast_surface(scene, camera)
    lights = (dome.lights(dome.drive_hdri(hdr)), dome.lights(dome.flat_drive()))
    lit = light_vertices(scene, lights)
    for fast, light in zip(shade_vertices(scene, surface, lit, camera.centre), lights, strict=True):
        exact = shade(scene, surface, light)
        assert np.abs(fast - exact).mean() < 0.01 * exact.mean()  # where a triangle straddles the edge of a shadow
    white = [lit.white_irradiance(k).mean(axis=0) for k in range(2)]
    assert np.abs(white[1] / white[1].mean() - 1).max() < 0.02 < np.abs(white[0] / white[0].mean() - 1).max()


def test_a_white_ball_vanishes_in_a_constant_environment() -> None:
    scene, surface = seen_ball(reflectance=0.0)
    assert np.abs(shade(scene, surface, flat_lights(331)) - 1).max() < 0.01
    half = flat_lights(331)
    half = replace(half, intensity=half.intensity * (half.directions[:, :1] > 0))
    assert np.abs(shade(scene, surface, half) - 1).max() > 0.5


@pytest.mark.parametrize(("kind", "limit"), [("overcast", 0.01), ("room", 0.02), ("sun_and_sky", 0.1)])
def test_irradiance_of_a_dome_is_that_of_its_map(kind: str, limit: float) -> None:
    # one light for each cell of the sphere: a sun is off by up to half a cell, against the strongest irradiance
    hdr = make_hdri(kind, 2, height=64)
    dome = far_dome(331)
    light = dome.lights(dome.drive_hdri(hdr))
    normals = latlong_directions(12, 24).reshape(-1, 3)
    energy = (hdr * latlong_solid_angles(64, 128)[..., None]).reshape(-1, 3)
    exact = np.maximum(normals @ latlong_directions(64, 128).reshape(-1, 3).T, 0) @ energy
    found = np.maximum(normals @ light.directions.T.astype(float), 0) @ light.intensity
    assert np.abs(found - exact).max() < limit * exact.max()
    turned = np.maximum(normals[:, [2, 1, 0]] @ light.directions.T.astype(float), 0) @ light.intensity
    assert np.abs(turned - exact).max() > limit * exact.max()

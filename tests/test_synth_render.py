"""The ray caster: exposure, shadows, exact geometry."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from litdome.geometry import Camera, look_at
from litdome.lighting import latlong_directions
from litdome.synth.render import Float32Array, Mesh, Scene, cast_surface
from litdome.synth.shading import (
    DirectionalLights,
    dome_directions,
    dome_lights,
    flat_lights,
    light_transport,
    light_vertices,
    shade,
    shade_vertices,
)


def ball(centre: tuple[float, float, float], radius: float, **material: float) -> Mesh:
    theta, phi = np.meshgrid(np.linspace(0, np.pi, 65), np.linspace(0, 2 * np.pi, 129), indexing="ij")
    normal = np.stack([np.sin(theta) * np.cos(phi), np.cos(theta), -np.sin(theta) * np.sin(phi)], -1).reshape(-1, 3)
    index = np.arange(65 * 129).reshape(65, 129)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
    faces = np.concatenate([np.column_stack([a, b, c]), np.column_stack([a, c, d])])
    return Mesh(np.array(centre) + radius * normal, faces, normal, np.ones_like(normal), **material)


def front_camera(**change: object) -> Camera:
    values = dict(
        id="c00",
        width=80,
        height=60,
        intrinsics=np.array([[90.0, 0, 39.5], [0, 90.0, 29.5], [0, 0, 1]]),
        distortion=np.zeros(8),
        world_from_camera=look_at((0, 0, 4), (0, 0, 0)),
    )
    return Camera(**{**values, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [64, 128, 331])
def test_radiance_one_from_everywhere_shows_an_albedo_one_lambertian_as_one(count: int) -> None:
    scene = Scene((ball((0, 0, 0), 1.0, reflectance=0.0),))
    shown = shade(scene, cast_surface(scene, front_camera()), flat_lights(count))
    # the discrete dome's own ripple: below 2 % at 64 lights
    assert np.abs(shown - 1).max() < 0.02


@pytest.mark.parametrize("roughness", [0.3, 0.6, 1.0])
def test_a_white_metal_in_uniform_light_reflects_no_more_than_it_gets(roughness: float) -> None:
    scene = Scene((ball((0, 0, 0), 1.0, roughness=roughness, metallic=1.0),))
    shown = shade(scene, cast_surface(scene, front_camera()), flat_lights(331))
    assert 0.4 < shown.mean() < 1.02


def test_outlines_reflect_no_more_than_they_get() -> None:
    coarse = ball((0, 0, 0), 1.0, roughness=0.45)
    keep = np.arange(65 * 129).reshape(65, 129)[::8, ::8]
    a, b, c, d = (part.ravel() for part in (keep[:-1, :-1], keep[1:, :-1], keep[1:, 1:], keep[:-1, 1:]))
    faces = np.concatenate([np.column_stack([a, b, c]), np.column_stack([a, c, d])])
    scene, lights = Scene((replace(coarse, faces=faces, albedo=np.zeros_like(coarse.albedo)),)), flat_lights(128)
    surface, eye = cast_surface(scene, front_camera()), front_camera().centre
    assert ((surface.normal * surface.to_viewer).sum(axis=1) < 0).any()  # the smooth surface turns away there
    at_vertices = shade_vertices(scene, surface, light_vertices(scene, [lights]), eye)[0]
    assert max(at_vertices.max(), shade(scene, surface, lights).max()) < 1


def test_dome_keeps_all_light_of_a_map_and_its_direction() -> None:
    hdr = np.full((32, 64, 3), 0.1, np.float32)
    hdr[10, 40] = 500.0
    lights = dome_lights(hdr, 128, rotation_deg=30, follow=True)
    uniform = 4 * np.pi * 0.1
    assert lights.intensity.sum(axis=0).min() > uniform
    sun = latlong_directions(32, 64)[10, 40]
    angle = np.radians(30)  # from +z towards +x
    turned = [
        sun[0] * np.cos(angle) + sun[2] * np.sin(angle),
        sun[1],
        sun[2] * np.cos(angle) - sun[0] * np.sin(angle),
    ]
    brightest = lights.directions[lights.intensity[:, 0].argmax()]
    assert brightest @ turned > np.cos(np.radians(1.0))
    placed = dome_lights(hdr, 128, rotation_deg=30)
    np.testing.assert_allclose(placed.intensity, lights.intensity)
    assert placed.directions[placed.intensity[:, 0].argmax()] @ turned > np.cos(np.radians(13.0))  # one LED cell


def one_light(direction: tuple[float, float, float]) -> DirectionalLights:
    unit = np.array([direction], np.float32)
    unit /= np.linalg.norm(unit)
    return DirectionalLights(unit, np.full((1, 3), np.pi, np.float32))


def test_light_from_camera_right_brightens_the_right_half_of_the_picture() -> None:
    scene = Scene((ball((0, 0, 0), 1.0),))
    surface = cast_surface(scene, front_camera())
    shown = surface.picture(shade(scene, surface, one_light((1, 0, 0.2))))[..., 0]
    assert shown[:, 40:].sum() > 5 * shown[:, :40].sum()


def test_an_object_throws_its_shadow_away_from_the_light() -> None:
    light = one_light((1, 0, 0.001))
    alone = Scene((ball((-0.8, 0, 0), 0.5, reflectance=0.0),))
    pair = Scene((*alone.meshes, ball((0.8, 0, 0), 0.6, reflectance=0.0)))
    lit = cast_surface(alone, front_camera())
    both = cast_surface(pair, front_camera())
    open_light, shadowed = shade(alone, lit, light), shade(pair, both, light)[both.object == 0]
    assert open_light.max() > 0.8  # a point facing the light, seen at an angle
    assert shadowed.max() < 0.01


def test_shadows_at_vertices_agree_with_shadows_at_pixels() -> None:
    scene = Scene((ball((-0.5, 0, 0), 0.5, roughness=0.5), ball((0.6, 0.1, 0), 0.5, roughness=0.5)))
    hdr = np.full((32, 64, 3), 0.2, np.float32)
    hdr[12, 20] = 150.0
    camera = front_camera()
    surface = cast_surface(scene, camera)
    lights = (dome_lights(hdr, 64), flat_lights(64))
    both = shade_vertices(scene, surface, light_vertices(scene, lights), camera.centre)
    for fast, light in zip(both, lights, strict=True):
        exact = shade(scene, surface, light)
        # they differ where a vertex triangle straddles the edge of a shadow
        assert np.abs(fast - exact).mean() < 0.01 * exact.mean()
    assert np.abs(both[0] - both[1]).mean() > 0.1


def test_a_scene_traced_once_is_lit_as_if_traced_for_that_light() -> None:
    """Matt, glossy and metal: all that `shade` computes, for any intensities."""
    matt, metal = ball((-0.5, 0, 0), 0.5, roughness=0.8), ball((0.6, 0.1, 0), 0.5, roughness=0.3, metallic=1.0)
    scene = Scene((matt, metal))
    surface = cast_surface(scene, front_camera())
    transport = light_transport(scene, surface, flat_lights(64))
    hdr = np.random.default_rng(0).exponential(size=(32, 64, 3)).astype(np.float32)
    for lights in (dome_lights(hdr, 64), dome_lights(hdr[:, ::-1], 64), flat_lights(64)):
        exact = shade(scene, surface, lights)
        np.testing.assert_allclose(transport.relit(lights.intensity), exact, rtol=2e-3, atol=1e-3 * exact.mean())
    assert (
        np.abs(transport.relit(flat_lights(64).intensity) - shade(scene, surface, dome_lights(hdr, 64))).mean() > 0.05
    )


def test_geometry_reprojects_onto_the_pixel_it_was_seen_at() -> None:
    camera = front_camera(distortion=np.array([-0.12, 0.05, 1e-3, -1e-3, 0, 0, 0, 0]))
    scene = Scene((ball((0.1, 0.2, 0), 1.0),))
    surface = cast_surface(scene, camera)
    inside = surface.coverage == 1
    at = camera.project(surface.position.astype(np.float64)[inside])
    where = np.column_stack([surface.pixels[inside] % 80, surface.pixels[inside] // 80])
    assert np.abs(at - where).max() < 1e-3  # px; rays are single precision
    edge = surface.mask[(surface.mask > 0) & (surface.mask < 1)]
    assert len(edge) > 50  # the outline is antialiased


def test_texture_is_read_at_the_uv_that_is_seen() -> None:
    quad = np.array([[-2.0, 2, 0], [2, 2, 0], [2, -2, 0], [-2, -2, 0]])
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    texture: Float32Array = np.zeros((2, 2, 3), np.float32)
    texture[0, 1] = (1, 0, 0)
    facing = np.tile([0.0, 0, 1], (4, 1))
    mesh = Mesh(quad, np.array([[0, 3, 2], [0, 2, 1]]), facing, np.ones((4, 3)), texture=texture, uv=uv)
    scene = Scene((mesh,))
    red = cast_surface(scene, front_camera()).picture(cast_surface(scene, front_camera()).albedo)[..., 0]
    assert red[5, 75] > 0.9 and red[5, 5] < 0.1 and red[55, 75] < 0.1  # top right of the picture


def test_dome_directions_are_spread_evenly() -> None:
    directions = dome_directions(331).astype(np.float64)
    nearest = np.arccos(np.clip(np.sort(directions @ directions.T, axis=1)[:, -2], -1, 1))
    assert np.degrees(nearest.min()) > 8  # a real dome of 331: 10.1 to 12.4 degrees
    assert np.abs(directions.mean(axis=0)).max() < 1e-2

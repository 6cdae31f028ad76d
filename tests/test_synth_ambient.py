"""Light as sums and integrals: superposition, quadrature, furnaces, form factors, the bounce."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_synth_render import ball, front_camera

from litdome.lighting import latlong_directions, latlong_solid_angles
from litdome.synth.ambient import cosine_rays, tangent_frames, with_bounce
from litdome.synth.hdris import make_hdri
from litdome.synth.render import Float32Array, Mesh, Scene, cast_surface
from litdome.synth.shading import LitVertices, dome_lights, flat_lights, light_vertices, shade, shade_vertices


def corner(depth_m: float, height_m: float, wall_albedo: float = 0.5) -> Scene:
    """Vertex 0 lies on a floor, at a distance from the foot of a wall that is as good as endless sideways."""
    point = np.array([[0, 0, 0], [0.01, 0, 0], [0, 0, -0.01]])
    wall = np.array([[-1e3, 0, 0], [1e3, 0, 0], [1e3, height_m, 0], [-1e3, height_m, 0]]) - [0, 0, depth_m]
    meshes = (
        Mesh(point, np.array([[0, 1, 2]]), np.tile([0.0, 1, 0], (3, 1)), np.ones((3, 3))),
        Mesh(wall, np.array([[0, 1, 2], [0, 2, 3]]), np.tile([0.0, 0, 1], (4, 1)), np.full((4, 3), wall_albedo)),
    )
    return Scene(meshes)


def form_factor(depth_m: float, height_m: float) -> float:
    """Share of a floor point's light that comes from an endless wall."""
    return float((1 - depth_m / np.hypot(depth_m, height_m)) / 2)


@pytest.mark.parametrize(("depth_m", "height_m"), [(1.0, 0.5), (1.0, 1.0), (0.3, 3.0)])
def test_a_wall_takes_away_the_light_that_its_form_factor_says(depth_m: float, height_m: float) -> None:
    lit = light_vertices(corner(depth_m, height_m), (flat_lights(2048),))
    assert lit.irradiance[0, 1] / np.pi == pytest.approx(1 - form_factor(depth_m, height_m), abs=0.005)


@pytest.mark.parametrize(("depth_m", "height_m"), [(1.0, 0.5), (1.0, 1.0), (0.3, 3.0)])
def test_a_lit_wall_gives_back_what_its_form_factor_and_albedo_say(depth_m: float, height_m: float) -> None:
    scene = corner(depth_m, height_m, wall_albedo=0.5)
    lights = flat_lights(32)
    shone = np.tile(np.array([3.0, 2, 1], np.float32), (7, 1))
    dark = np.zeros((7, 32), np.float32)
    back = with_bounce(scene, LitVertices(lights, dark, shone), rays=1024).irradiance[0] - shone[0]
    np.testing.assert_allclose(back, 0.5 * form_factor(depth_m, height_m) * shone[0], rtol=0.02)
    few = with_bounce(scene, LitVertices(lights, dark, shone)).irradiance[0] - shone[0]
    np.testing.assert_allclose(few, back, atol=0.04 * shone[0].max())  # 32 rays: 3 % steps
    black = with_bounce(corner(depth_m, height_m, wall_albedo=0.0), LitVertices(lights, dark, shone))
    np.testing.assert_array_equal(black.irradiance[0], shone[0])


def test_the_inside_of_a_surface_throws_nothing() -> None:
    scene = corner(1.0, 1.0)
    turned = replace(scene.meshes[1], faces=scene.meshes[1].faces[:, ::-1])
    shone = LitVertices(flat_lights(8), np.zeros((7, 8), np.float32), np.ones((7, 3), np.float32))
    inside_out = with_bounce(Scene((scene.meshes[0], turned)), shone)
    np.testing.assert_array_equal(inside_out.irradiance[0], 1)


def test_rays_are_cosine_weighted_about_any_normal() -> None:
    rays = cosine_rays(4096)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=1), 1, atol=1e-6)
    # irradiance over pi of a radiance y_up ** n is 2 / (n + 2)
    assert rays[:, 2].mean() == pytest.approx(2 / 3, abs=1e-4)
    assert (rays[:, 2] ** 2).mean() == pytest.approx(1 / 2, abs=1e-4)
    normals = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    normals = np.concatenate([normals, [[0, 0, 1], [0, 0, -1]]]).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    frames = tangent_frames(normals)
    np.testing.assert_allclose(frames @ frames.transpose(0, 2, 1), np.tile(np.eye(3), (102, 1, 1)), atol=1e-6)
    np.testing.assert_array_equal(frames[:, 2], normals)


def test_lights_superpose() -> None:
    """Each LED alone, summed, is all of them together: to 1e-5 in linear, highlights and bounce included."""
    pair = (ball((-0.5, 0, 0), 0.5, roughness=0.4), ball((0.6, 0.1, 0), 0.5, roughness=0.6, metallic=0.5))
    scene, camera = Scene(pair), front_camera()
    surface = cast_surface(scene, camera)
    together = dome_lights(make_hdri("sunset", 3), 6)

    def pictures(intensity: Float32Array) -> tuple[Float32Array, Float32Array]:
        lights = replace(together, intensity=intensity)
        lit = with_bounce(scene, light_vertices(scene, (lights,)))
        return shade(scene, surface, lights), shade_vertices(scene, surface, lit, camera.centre)[0]

    each = np.eye(6, dtype=np.float32)[:, :, None] * together.intensity[None]
    alone = [pictures(intensity) for intensity in each]
    for kind, whole in enumerate(pictures(together.intensity)):
        summed = np.sum([one[kind].astype(np.float64) for one in alone], axis=0)
        assert np.abs(summed - whole).max() < 1e-5 * max(1.0, float(whole.max()))
        assert np.abs(summed - alone[0][kind] - whole).max() > 1e-3  # one LED less is seen


@pytest.mark.parametrize("kind", ["room", "sun_and_sky"])
def test_irradiance_is_the_quadrature_of_the_map(kind: str) -> None:
    hdr = make_hdri(kind, 1)
    mesh = ball((0, 0, 0), 1.0, reflectance=0.0)
    normals = mesh.normals[:: len(mesh.normals) // 200]
    toward = latlong_directions(*hdr.shape[:2]).reshape(-1, 3)
    weighted = (hdr * latlong_solid_angles(*hdr.shape[:2])[..., None]).reshape(-1, 3)
    exact = np.maximum(normals @ toward.T, 0) @ weighted
    lit = light_vertices(Scene((mesh,)), (dome_lights(hdr, 331, follow=True),))
    ours = lit.irradiance[:: len(mesh.normals) // 200]
    assert np.abs(ours - exact).max() < 0.01 * exact.max()  # 331 cells in place of 8192 and more texels
    assert np.abs(ours[::-1] - exact).max() > 0.05 * exact.max()


@pytest.mark.parametrize("albedo", [1.0, 0.5])
def test_a_lambertian_ball_in_a_furnace_shows_its_albedo_and_no_shape(albedo: float) -> None:
    mesh = ball((0, 0, 0), 1.0, reflectance=0.0)
    scene = Scene((replace(mesh, albedo=mesh.albedo * albedo),))
    shown = shade(scene, cast_surface(scene, front_camera()), flat_lights(331))
    assert np.abs(shown / albedo - 1).max() < 0.01
    half = flat_lights(331)
    half = replace(half, intensity=half.intensity * (half.directions[:, :1] > 0))
    assert np.abs(shade(scene, cast_surface(scene, front_camera()), half) / albedo - 1).max() > 0.5

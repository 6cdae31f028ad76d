"""Our shading against mitsuba's path tracer on fixed scenes: a ball on a floor, metals, varnish, a person.

The bounds are what was measured, rounded up (docs/benchmarks.md); the negative controls say that the comparison sees.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from path_tracer import metal, trace, varnish
from test_synth_render import ball

from litdome.geometry import Camera, look_at
from litdome.synth.ambient import with_bounce
from litdome.synth.body import make_body
from litdome.synth.lights import DirectionalLights
from litdome.synth.render import Float32Array, Mesh, Scene, Surface, cast_surface
from litdome.synth.shading import flat_lights, light_vertices, shade, shade_vertices

GOLD = (0.9, 0.6, 0.3)


def camera(width: int, height: int, focal: float, centre: tuple[float, ...], target: tuple[float, ...]) -> Camera:
    intrinsics = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    return Camera("c00", width, height, intrinsics, np.zeros(8), look_at(centre, target))


CAMERA = camera(64, 64, 80, (0.5, 1.2, 4), (0, 0, 0))
PERSON_CAMERA = camera(96, 160, 220, (0.6, 1.2, 3.2), (0, 0.9, 0))


def three_lights() -> DirectionalLights:
    directions = np.array([(1, 1.2, 0.6), (-1, 0.6, 0.8), (0, 0.3, 1)], np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return DirectionalLights(directions, np.array([(2, 1.8, 1.5), (0.6, 0.8, 1.2), (0.3, 0.2, 0.2)], np.float32))


def painted(mesh: Mesh, color: tuple[float, float, float], **change: float) -> Mesh:
    return replace(mesh, albedo=np.tile(color, (len(mesh.vertices), 1)), **change)


def floor() -> Mesh:
    corners = np.array([[-2.0, -1, -2], [2, -1, -2], [2, -1, 2], [-2, -1, 2]])
    up = np.tile([0.0, 1, 0], (4, 1))
    return Mesh(corners, np.array([[0, 2, 1], [0, 3, 2]]), up, np.full((4, 3), 0.6), reflectance=0.0)


@pytest.fixture(scope="module")
def person() -> Mesh:
    """A person in one colour: without a texture, so that both renderers have the same albedo."""
    mesh = make_body("s2").mesh(3.0)
    bare = replace(mesh, texture=None, uv=None, creases=None, crease_strengths=None)
    return painted(bare, (0.7, 0.5, 0.4), reflectance=0.0)


def inside(surface: Surface) -> npt.NDArray[np.bool_]:
    """Away from outlines: there a pixel's mean and its centre differ by right."""
    return cv2.erode((surface.mask == 1).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0


def over_black(surface: Surface, shaded: Float32Array) -> Float32Array:
    return np.asarray(surface.picture(shaded * surface.coverage[:, None]))


def test_lambert_and_shadows_agree_to_the_pixel(tmp_path: Path) -> None:
    meshes = [painted(ball((0, 0, 0), 0.9), (0.7, 0.5, 0.3), reflectance=0.0), floor()]
    scene, lights = Scene(tuple(meshes)), three_lights()
    surface = cast_surface(scene, CAMERA)
    ours = over_black(surface, shade(scene, surface, lights))
    theirs = trace(tmp_path, CAMERA, [(mesh, {}) for mesh in meshes], lights)
    apart = np.abs(ours - theirs)[inside(surface)].max(axis=-1)
    assert np.median(apart) < 1e-4
    assert (apart > 0.02).mean() < 0.08  # the edges of two shadows
    assert abs(ours.mean() / theirs.mean() - 1) < 0.005
    dimmed = replace(lights, intensity=lights.intensity * np.float32(1.01))
    assert np.median(np.abs(over_black(surface, shade(scene, surface, dimmed)) - theirs)[inside(surface)]) > 1e-3


def near(lights: DirectionalLights) -> DirectionalLights:
    """The same light at the middle of the ball, from 2.5 to 3.3 m away."""
    away = np.array([[2.5], [2.9], [3.3]], np.float32)
    return replace(lights, positions=lights.directions * away)


def test_light_falls_off_with_distance_as_in_a_path_tracer(tmp_path: Path) -> None:
    meshes = [painted(ball((0, 0, 0), 0.9), GOLD, metallic=1.0, roughness=0.5), floor()]
    scene, lights = Scene(tuple(meshes)), near(three_lights())
    surface = cast_surface(scene, CAMERA)
    theirs = trace(tmp_path, CAMERA, [(meshes[0], metal(0.5, GOLD)), (meshes[1], {})], lights)
    at = inside(surface)
    apart = np.abs(over_black(surface, shade(scene, surface, lights)) - theirs)[at].max(axis=-1)
    assert np.median(apart) < 3e-4
    assert np.quantile(apart, 0.95) < 0.02  # edges of shadows
    far = np.abs(over_black(surface, shade(scene, surface, three_lights())) - theirs)[at].max(axis=-1)
    assert np.median(far) > 0.03


@pytest.mark.parametrize(("roughness", "bound"), [(0.3, 0.005), (0.5, 0.005), (0.8, 0.01), (1.0, 0.04)])
def test_a_metal_reflects_what_a_path_tracer_says(tmp_path: Path, roughness: float, bound: float) -> None:
    mesh, lights = painted(ball((0, 0, 0), 0.9), GOLD, metallic=1.0, roughness=roughness), three_lights()
    scene = Scene((mesh,))
    surface = cast_surface(scene, CAMERA)
    ours = over_black(surface, shade(scene, surface, lights))
    theirs = trace(tmp_path, CAMERA, [(mesh, metal(roughness, GOLD))], lights)
    at = inside(surface)
    assert abs(ours[at].mean() / theirs[at].mean() - 1) < bound  # its shadowing terms of light and eye are independent
    assert np.median(np.abs(ours - theirs)[at]) < 0.003
    other = trace(tmp_path, CAMERA, [(mesh, metal(0.8 * roughness, GOLD))], lights)
    assert np.abs(ours - other)[at].mean() > 2 * np.abs(ours - theirs)[at].mean()


@pytest.mark.parametrize("roughness", [0.3, 0.5, 0.8])
def test_a_highlight_of_a_dielectric_is_what_a_path_tracer_says(tmp_path: Path, roughness: float) -> None:
    mesh, lights = painted(ball((0, 0, 0), 0.9), (0.0, 0.0, 0.0), roughness=roughness), three_lights()
    scene = Scene((mesh,))
    surface = cast_surface(scene, CAMERA)
    ours = over_black(surface, shade(scene, surface, lights))
    theirs = trace(tmp_path, CAMERA, [(mesh, varnish(roughness))], lights)
    at = inside(surface)
    assert -0.035 < ours[at].mean() / theirs[at].mean() - 1 < 0  # Schlick's Fresnel: 3 % too dark between
    assert np.sqrt(((ours - theirs)[at] ** 2).mean()) < 0.003


@pytest.mark.parametrize("roughness", [0.3, 0.8])
def test_a_white_metal_loses_as_much_light_in_a_furnace_as_in_a_path_tracer(tmp_path: Path, roughness: float) -> None:
    mesh = painted(ball((0, 0, 0), 0.9), (1.0, 1.0, 1.0), metallic=1.0, roughness=roughness)
    scene = Scene((mesh,))
    surface = cast_surface(scene, CAMERA)
    middle = (surface.normal * surface.to_viewer).sum(axis=1) > 0.5
    theirs = trace(tmp_path, CAMERA, [(mesh, metal(roughness, (1.0, 1.0, 1.0)))], None)
    fine, coarse = (shade(scene, surface, flat_lights(count))[middle].mean() for count in (2048, 128))
    expected = theirs.reshape(-1, 3)[surface.pixels][middle].mean()
    assert abs(fine / expected - 1) < 0.015
    assert -0.08 < coarse / expected - 1 < 0  # LEDs 20 degrees apart widen what they light


def test_a_person_is_shaded_as_a_path_tracer_does(tmp_path: Path, person: Mesh) -> None:
    scene, lights = Scene((person,)), three_lights()
    surface = cast_surface(scene, PERSON_CAMERA)
    lit = light_vertices(scene, (lights,))
    theirs, at = trace(tmp_path, PERSON_CAMERA, [(person, {})], lights), inside(surface)
    at_pixels = over_black(surface, shade(scene, surface, lights))
    at_vertices = over_black(surface, shade_vertices(scene, surface, lit, PERSON_CAMERA.centre)[0])
    for ours, typical in ((at_pixels, 0.002), (at_vertices, 0.004)):
        assert abs(ours[at].mean() / theirs[at].mean() - 1) < 0.015
        assert np.median(np.abs(ours - theirs)[at]) < typical
        assert np.quantile(np.abs(ours - theirs)[at], 0.95) < 0.05  # edges of shadows


def test_a_bounce_on_a_person_is_what_a_path_tracer_says(tmp_path: Path, person: Mesh) -> None:
    scene = Scene((person,))
    surface = cast_surface(scene, PERSON_CAMERA)
    direct = light_vertices(scene, (flat_lights(128),))
    theirs = trace(tmp_path, PERSON_CAMERA, [(person, {})], None, bounces=1, samples=64)
    once, never = (
        over_black(surface, shade_vertices(scene, surface, lit, PERSON_CAMERA.centre)[0])
        for lit in (with_bounce(scene, direct), direct)
    )
    at = inside(surface)
    assert abs(once[at].mean() / theirs[at].mean() - 1) < 0.01
    assert never[at].mean() / theirs[at].mean() < 0.98  # without it 3 % of the light are missing
    # averaged over 9 x 9 pixels, which takes the path tracer's noise away
    smooth = [cv2.blur(np.where(at[..., None], picture - theirs, 0), (9, 9))[at] for picture in (once, never)]
    assert np.abs(smooth[0]).mean() < 0.5 * np.abs(smooth[1]).mean()

"""Light on surfaces: Lambert and GGX with a shadow ray per light; an HDRI as lights at infinity.

Exposure: radiance 1 from all directions shows an unoccluded albedo-1 Lambertian surface as linear 1.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from litdome.geometry import rotation_about_y
from litdome.lighting import HdriConvention, clean_hdri, latlong_directions, latlong_solid_angles
from litdome.synth.lights import Bearings, DirectionalLights, bearings
from litdome.synth.render import Float32Array, IntArray, Scene, Surface, unit

CHUNK_POINTS = 4096  # times 128 lights: 2 MB a temporary, stays in the cache
SHADOW_OFFSET_M = 1.5e-3
LEAST_FACING = 0.05  # cosine


def dome_directions(count: int) -> Float32Array:
    """Directions of an evenly spread LED dome (Fibonacci sphere), shape (count, 3), unit, +y up."""
    k = np.arange(count) + 0.5
    up = 1 - 2 * k / count
    azimuth = k * np.pi * (3 - np.sqrt(5))
    radius = np.sqrt(1 - up**2)
    return np.stack([radius * np.sin(azimuth), up, radius * np.cos(azimuth)], axis=1).astype(np.float32)


@lru_cache(maxsize=16)
def dome_cells(height: int, width: int, count: int, convention: HdriConvention) -> IntArray:
    """The LED that each texel of a lat-long map belongs to (the nearest one), shape (height * width,)."""
    directions = latlong_directions(height, width, convention).reshape(-1, 3)
    return np.asarray(cKDTree(dome_directions(count)).query(directions)[1])


def flat_lights(count: int = 128) -> DirectionalLights:
    """Uniform white light of radiance 1 from all directions."""
    return dome_lights(np.ones((64, 128, 3), np.float32), count)


def dome_lights(
    hdr: npt.NDArray[np.floating[Any]],
    count: int = 128,
    *,
    convention: HdriConvention = "physical",
    rotation_deg: float = 0.0,
    gain: float = 1.0,
    follow: bool = False,
) -> DirectionalLights:
    """Reproduce a lat-long HDRI with an LED dome: each LED emits the light of its cell of the sphere.

    Args:
        hdr: Scene-linear radiance, shape (v, u, 3).
        count: Number of LEDs.
        convention: Where the map's centre lies in the world.
        rotation_deg: Turns the light from world +z towards +x about +y.
        gain: Multiplies the radiance.
        follow: Move each light to the centroid of its cell's light instead of the LED's place, so that a sun shines
            from exactly where it is. A real dome cannot.
    """
    height, width = hdr.shape[:2]
    # the map is turned by turning the directions of its texels, so the cells are those of the turned dome
    texels = latlong_directions(height, width, convention).reshape(-1, 3) @ rotation_about_y(rotation_deg).T
    if rotation_deg == 0:
        cells = dome_cells(height, width, count, convention)
    else:
        cells = np.asarray(cKDTree(dome_directions(count)).query(texels)[1])
    energy = (clean_hdri(hdr) * (latlong_solid_angles(height, width)[..., None] * gain)).reshape(-1, 3)
    intensity = np.stack([np.bincount(cells, energy[:, c], count) for c in range(3)], axis=1)
    directions = dome_directions(count)
    if follow:
        weight = energy.sum(axis=1) + 1e-12
        directions = np.stack([np.bincount(cells, weight * texels[:, c], count) for c in range(3)], axis=1)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True) + 1e-20
    return DirectionalLights(directions.astype(np.float32), intensity.astype(np.float32), 2 / np.sqrt(count))


def shade(scene: Scene, surface: Surface, lights: DirectionalLights) -> Float32Array:
    """Linear radiance of a surface under lights, shape (n, 3): Lambert and GGX, with a shadow ray per light.

    ``surface.picture(shade(...) * surface.coverage[:, None])`` is the picture over black.
    """
    lit = lights.lit()
    origins = _shadow_origins(scene, surface)
    out = np.zeros((len(surface.pixels), 3), np.float32)
    for start in range(0, len(out), CHUNK_POINTS):
        chunk = slice(start, start + CHUNK_POINTS)
        seen = bearings(lit, surface.position[chunk])
        cosine = _open_cosines(scene, origins[chunk], surface.normal[chunk], seen)
        lobes = _highlight(cosine, surface.normal[chunk], surface.to_viewer[chunk], surface.roughness[chunk], seen)
        out[chunk] = _combine(surface, chunk, lit.response, *map(seen.gather, (cosine, *lobes)))
    return out


@dataclass(frozen=True, eq=False)
class Transport:
    """What each of a set of lights at infinity shows of a surface, shadows traced once: see `light_transport`.

    Attributes:
        albedo: Of the surface, shape (n, 3).
        tinted, white: What intensity 1 of each light shows times albedo and besides it, shape (n, light), float16.
    """

    albedo: Float32Array
    tinted: npt.NDArray[np.float16]
    white: npt.NDArray[np.float16]

    def relit(self, intensity: Float32Array) -> Float32Array:
        """Linear radiance, shape (n, 3), under intensities, shape (light, 3)."""
        tinted, white = (share.astype(np.float32) @ intensity for share in (self.tinted, self.white))
        return np.asarray(self.albedo * tinted + white, np.float32)


def light_transport(scene: Scene, surface: Surface, lights: DirectionalLights) -> Transport:
    """Shade a surface for all intensities of ``lights`` at once; agrees with `shade` to half precision.

    ``lights`` are at infinity and have three channels; surfaces reflect something at normal incidence.
    """
    origins, seen = _shadow_origins(scene, surface), bearings(lights, np.zeros((1, 3), np.float32))
    tinted, white = (np.empty((len(surface.pixels), len(lights.directions)), np.float16) for _ in range(2))
    for start in range(0, len(tinted), CHUNK_POINTS):
        chunk = slice(start, start + CHUNK_POINTS)
        cosine = _open_cosines(scene, origins[chunk], surface.normal[chunk], seen)
        straight, grazing = _highlight(
            cosine, surface.normal[chunk], surface.to_viewer[chunk], surface.roughness[chunk], seen
        )
        metallic, mirror = surface.metallic[chunk, None], straight - grazing
        tinted[chunk] = (1 - metallic) * cosine / np.float32(np.pi) + metallic * mirror
        white[chunk] = surface.reflectance[chunk, None] * (1 - metallic) * mirror + grazing
    return Transport(surface.albedo, tinted, white)


@dataclass(frozen=True, eq=False)
class LitVertices:
    """A scene's vertices under a dome, for any number of lightings and views: see `light_vertices`.

    Attributes:
        lights: The dome; the intensities of k lightings side by side, shape (light, k channel).
        cosine: Unoccluded cosines at each vertex, shape (vertex, light).
        irradiance: Shape (vertex, k channel).
    """

    lights: DirectionalLights
    cosine: Float32Array
    irradiance: Float32Array

    def white_irradiance(self, lighting: int) -> Float32Array:
        """Irradiance of one of the lightings in linear RGB, as a white surface shows it, shape (vertex, 3)."""
        response = self.lights.response
        count = 3 if response is None else len(response)
        light = self.irradiance[:, lighting * count : (lighting + 1) * count]
        return light if response is None else np.asarray(light @ response.sum(axis=2))


def light_vertices(scene: Scene, lights: Sequence[DirectionalLights]) -> LitVertices:
    """Trace the shadows of a finely meshed scene once, at its vertices; ``lights`` share one dome."""
    dome = replace(lights[0], intensity=np.concatenate([light.intensity for light in lights], axis=1))
    origins = scene.vertices + scene.normals * np.float32(2 * SHADOW_OFFSET_M)
    cosines, irradiance = [], []
    for start in range(0, len(origins), CHUNK_POINTS):
        chunk = slice(start, start + CHUNK_POINTS)
        seen = bearings(dome, scene.vertices[chunk])
        cosines.append(_open_cosines(scene, origins[chunk], scene.normals[chunk], seen))
        irradiance.append(seen.gather(cosines[-1]))
    return LitVertices(dome, np.concatenate(cosines), np.concatenate(irradiance))


def shade_vertices(scene: Scene, surface: Surface, lit: LitVertices, eye: npt.NDArray[np.float64]) -> Float32Array:
    """As `shade` for each of the k lightings, shape (k, n, 3), shadows and highlights interpolated between vertices.

    Args:
        scene: Finely meshed: shadows are as sharp as its triangles are small.
        surface: What one camera sees of it.
        lit: Of `light_vertices`.
        eye: Where that camera stands, shape (3,), metres.
    """
    seen = np.flatnonzero(np.bincount(scene.faces[surface.triangle].ravel(), minlength=len(scene.vertices)))
    view = unit(eye.astype(np.float32) - scene.vertices[seen])
    roughness = scene.material[seen, 0]
    values = np.zeros((len(scene.vertices), 3 * lit.irradiance.shape[1]), np.float32)
    for start in range(0, len(seen), CHUNK_POINTS):
        part = slice(start, start + CHUNK_POINTS)
        at = seen[part]
        toward = bearings(lit.lights, scene.vertices[at])
        lobes = _highlight(lit.cosine[at], scene.normals[at], view[part], roughness[part], toward)
        values[at] = np.concatenate([lit.irradiance[at], *map(toward.gather, lobes)], axis=1)
    corners = scene.faces[surface.triangle]
    mixed = sum(surface.barycentric[:, k, None] * values[corners[:, k]] for k in range(3))
    response = lit.lights.response
    parts = np.asarray(mixed).reshape(len(corners), 3, -1, 3 if response is None else len(response))
    everything = slice(None)
    lightings = (np.moveaxis(parts[:, :, k], 1, 0) for k in range(parts.shape[2]))
    return np.stack([_combine(surface, everything, response, *lighting) for lighting in lightings])


def _open_cosines(scene: Scene, origins: Float32Array, normals: Float32Array, seen: Bearings) -> Float32Array:
    """Cosines towards the lights that reach each point, 0 for the others, shape (n, light)."""
    cosine = np.maximum(seen.cosines(normals), 0)
    light, point = np.nonzero(cosine.T > 1e-4)  # light by light: parallel rays trace faster
    dark = scene.occluded(origins[point], seen.rays(point, light))
    cosine[point[dark], light[dark]] = 0
    return np.asarray(cosine)


def _highlight(
    cosine: Float32Array,
    normals: Float32Array,
    view: Float32Array,
    roughness: Float32Array,
    seen: Bearings,
) -> tuple[Float32Array, Float32Array]:
    """GGX lobe times cosine, without and times Schlick's grazing term, each of shape (n, light)."""
    # vertices just behind an outline are seen as if from the horizon, else lights behind them glare on it
    away = np.maximum(LEAST_FACING - (normals * view).sum(axis=1, keepdims=True), 0)
    view = np.where(away > 0, unit(view + away * normals), view)
    facing = (normals * view).sum(axis=1, keepdims=True)
    half = 2 + 2 * seen.cosines(view)  # squared length of light + view
    np.maximum(half, 1e-4, out=half)
    alpha = np.sqrt(roughness[:, None] ** 4 + np.float32(seen.lights.spread) ** 2)
    bump = np.minimum((cosine + facing) ** 2 / half, 1) * (alpha**2 - 1) + 1
    lobe = cosine * (alpha**2 / np.float32(np.pi)) / bump**2
    # Smith's shadowing term, height-correlated, over 4 cos cos
    squared, rest = alpha**2, 1 - alpha**2
    lobe *= 0.5 / (facing * np.sqrt(squared + rest * cosine**2) + cosine * np.sqrt(squared + rest * facing**2))
    fresnel = 1 - np.sqrt(np.minimum(half * 0.25, 1))
    return lobe, lobe * (fresnel * fresnel) ** 2 * fresnel


def _combine(
    surface: Surface,
    chunk: slice,
    response: Float32Array | None,
    irradiance: Float32Array,
    straight: Float32Array,
    grazing: Float32Array,
) -> Float32Array:
    """Reflected radiance, shape (n, 3); a reflectance of 0 has no highlight, grazing or not."""
    albedo, metallic = surface.albedo[chunk], surface.metallic[chunk, None]
    normal_reflectance = surface.reflectance[chunk, None] * (1 - metallic) + albedo * metallic
    highlight = _reflected(normal_reflectance, straight - grazing, response)
    highlight += _reflected((normal_reflectance > 0).astype(np.float32), grazing, response)
    return _reflected(albedo * (1 - metallic), irradiance / np.float32(np.pi), response) + highlight


def _reflected(reflectance: Float32Array, light: Float32Array, response: Float32Array | None) -> Float32Array:
    """Linear RGB of reflectances, shape (n, 3), in light, shape (n, channel)."""
    if response is None:
        return reflectance * light
    seen = (light @ response.reshape(len(response), 9)).reshape(-1, 3, 3)
    return np.asarray((seen @ reflectance[:, :, None])[:, :, 0])


def _shadow_origins(scene: Scene, surface: Surface) -> Float32Array:
    """Points lifted to the smooth surface that the normals describe, so that facets throw no shadow on themselves.

    Source: J. Hanika, Hacking the shadow terminator, Ray Tracing Gems II, 2021.
    """
    lifted = surface.position.copy()
    for k in range(3):
        corner = scene.faces[surface.triangle, k]
        normal = scene.normals[corner]
        below = np.minimum(((surface.position - scene.vertices[corner]) * normal).sum(axis=1), 0)
        lifted -= (surface.barycentric[:, k] * below)[:, None] * normal
    return lifted + surface.geometric_normal * np.float32(SHADOW_OFFSET_M)

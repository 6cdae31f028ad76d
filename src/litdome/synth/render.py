"""A small ray caster with exact truth: meshes, G-buffers of camera views, LED-dome lighting with shadows.

Light is a set of directional lights. Exposure: radiance 1 from all directions shows an unoccluded albedo-1
Lambertian surface as linear 1.0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from scipy.spatial import cKDTree

from litdome.geometry import Camera, pixel_grid, rotation_about_y
from litdome.lighting import HdriConvention, clean_hdri, latlong_directions, latlong_solid_angles

Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.integer[Any]]
CHUNK_POINTS = 4096  # times 128 lights: 2 MB a temporary, stays in the cache
SHADOW_OFFSET_M = 1.5e-3
SUBPIXELS = np.array([[-0.25, -0.25], [0.25, -0.25], [-0.25, 0.25], [0.25, 0.25]])


@dataclass(frozen=True, eq=False)
class Mesh:
    """One object.

    Attributes:
        vertices: Shape (n, 3), metres, world.
        faces: Vertex indices, shape (m, 3), counter-clockwise seen from outside.
        normals: Unit, shape (n, 3), outward.
        albedo: Linear 0..1 per vertex, shape (n, 3); multiplies `texture` where there is one.
        roughness, metallic: Scalar or per vertex, 0..1.
        reflectance: Reflectance at normal incidence of the non-metallic part (0: purely Lambertian).
        texture: Linear 0..1, shape (v, u, 3), or None.
        uv: Texture coordinates per vertex, shape (n, 2), 0..1, v down, or None.
    """

    vertices: npt.NDArray[np.floating[Any]]
    faces: IntArray
    normals: npt.NDArray[np.floating[Any]]
    albedo: npt.NDArray[np.floating[Any]]
    roughness: float | Float32Array = 0.6
    metallic: float | Float32Array = 0.0
    reflectance: float = 0.04
    texture: Float32Array | None = None
    uv: Float32Array | None = None


class Scene:
    """Meshes ready to be hit by rays. Queries release the GIL: threads run side by side."""

    def __init__(self, meshes: tuple[Mesh, ...]) -> None:
        counts = [len(mesh.vertices) for mesh in meshes]
        starts = np.cumsum([0, *counts[:-1]])
        self.meshes = meshes
        self.vertices = np.concatenate([mesh.vertices for mesh in meshes]).astype(np.float32)
        self.normals = np.concatenate([mesh.normals for mesh in meshes]).astype(np.float32)
        self.albedo = np.concatenate([mesh.albedo for mesh in meshes]).astype(np.float32)
        self.faces = np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=True)])
        self.faces = self.faces.astype(np.int32)
        self.object = np.repeat(np.arange(len(meshes), dtype=np.int32), [len(mesh.faces) for mesh in meshes])
        rough = [np.broadcast_to(m.roughness, (len(m.vertices),)) for m in meshes]
        metal = [np.broadcast_to(m.metallic, (len(m.vertices),)) for m in meshes]
        self.material = np.stack([np.concatenate(rough), np.concatenate(metal)], axis=1).astype(np.float32)
        self._embree = EmbreeScene()
        self._mesh = TriangleMesh(self._embree, self.vertices, self.faces)
        # the first query commits the scene; threads may only come after
        self._embree.run(np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32), query="OCCLUDED")

    def hit(self, origins: Float32Array, directions: Float32Array) -> tuple[IntArray, Float32Array]:
        """First hits of rays, shapes (n, 3): triangle (-1: none), shape (n,), and barycentric u, v, shape (n, 2)."""
        found = self._embree.run(origins, directions, query="INTERSECT", output=True)
        return found["primID"], np.stack([found["u"], found["v"]], axis=1)

    def occluded(self, origins: Float32Array, directions: Float32Array) -> npt.NDArray[np.bool_]:
        """Whether rays, shapes (n, 3), hit anything, shape (n,)."""
        return np.asarray(self._embree.run(origins, directions, query="OCCLUDED") >= 0)


@dataclass(frozen=True, eq=False)
class Surface:
    """What one camera sees: values at the n pixels that the scene covers; `picture` lays them out as (y, x, ...).

    Geometry is that of the ray through the pixel's centre (of a covered corner sample where the centre misses);
    coverage and albedo are means over the pixel.

    Attributes:
        width, height: Picture size, px.
        pixels: Row-major pixel numbers, shape (n,).
        coverage: 0..1, shape (n,).
        object, triangle: Index of the mesh and of the triangle in the scene, shape (n,).
        barycentric: Weights of the triangle's three vertices, shape (n, 3).
        depth: Along the optical axis, metres, shape (n,).
        position, normal, geometric_normal, to_viewer: World, shape (n, 3).
        albedo: Linear, shape (n, 3).
        roughness, metallic, reflectance: Shape (n,).
    """

    width: int
    height: int
    pixels: IntArray
    coverage: Float32Array
    object: IntArray
    triangle: IntArray
    barycentric: Float32Array
    depth: Float32Array
    position: Float32Array
    normal: Float32Array
    geometric_normal: Float32Array
    to_viewer: Float32Array
    albedo: Float32Array
    roughness: Float32Array
    metallic: Float32Array
    reflectance: Float32Array

    def picture(self, values: npt.NDArray[Any], fill: float = 0.0) -> npt.NDArray[Any]:
        """Lay per-pixel values, shape (n, ...), out as a picture, shape (y, x, ...), ``fill`` where nothing is."""
        out = np.full((self.height * self.width, *values.shape[1:]), fill, values.dtype)
        out[self.pixels] = values
        return out.reshape(self.height, self.width, *values.shape[1:])

    @property
    def mask(self) -> Float32Array:
        """Coverage as a picture, shape (y, x), 0..1."""
        return self.picture(self.coverage)


@dataclass(frozen=True, eq=False)
class DirectionalLights:
    """Light from infinitely far away.

    Attributes:
        directions: Towards the lights, unit, world, shape (n, 3).
        intensity: Radiance times solid angle, shape (n, 3).
    """

    directions: Float32Array
    intensity: Float32Array
    spread: float = field(default=0.0)  # angular radius of one light, rad: the least width of a highlight


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


def cast_surface(scene: Scene, camera: Camera, *, antialias: bool = True) -> Surface:
    """Cast a camera's rays, lens distortion included.

    Args:
        scene: What to look at.
        camera: From where.
        antialias: Also cast 2 x 2 samples per pixel for coverage and albedo (else coverage is 0 or 1).
    """
    region = _seen_region(scene, camera)
    rays = camera_rays(camera, antialias)[:, region]
    samples = len(rays)
    flat = rays.reshape(-1, 3)
    centre = camera.centre.astype(np.float32)
    triangle, uv = scene.hit(np.broadcast_to(centre, flat.shape).copy(), flat)
    hit = (triangle >= 0).reshape(samples, -1)
    covered = np.flatnonzero(hit.any(axis=0))
    first = hit[:, covered].argmax(axis=0) * hit.shape[1] + covered  # the centre sample, or the first that hits
    counted = hit[1:] if antialias else hit
    coverage = counted[:, covered].mean(axis=0, dtype=np.float32)
    albedo = np.zeros((hit.size, 3), np.float32)
    found = np.flatnonzero(hit.ravel())
    albedo[found] = _albedo(scene, triangle[found], uv[found])
    hits = hit[:, covered].sum(axis=0, dtype=np.float32)[:, None]
    mean = albedo.reshape(samples, -1, 3)[:, covered].sum(axis=0) / hits
    keep = coverage > 0
    pixels = region[covered[keep]]
    return _surface(
        scene, camera, pixels, coverage[keep], triangle[first[keep]], uv[first[keep]], mean[keep], flat[first[keep]]
    )


def _surface(
    scene: Scene,
    camera: Camera,
    pixels: IntArray,
    coverage: Float32Array,
    triangle: IntArray,
    uv: Float32Array,
    albedo: Float32Array,
    rays: Float32Array,
) -> Surface:
    weights = np.column_stack([1 - uv.sum(axis=1), uv]).astype(np.float32)
    corners = scene.vertices[scene.faces[triangle]]
    position = np.einsum("nk,nkc->nc", weights, corners)
    normal = _unit(np.einsum("nk,nkc->nc", weights, scene.normals[scene.faces[triangle]]))
    geometric = _unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    geometric *= np.where((geometric * rays).sum(axis=1, keepdims=True) > 0, -1, 1)
    material = np.einsum("nk,nkc->nc", weights, scene.material[scene.faces[triangle]])
    objects = scene.object[triangle]
    reflectance = np.array([mesh.reflectance for mesh in scene.meshes], np.float32)[objects]
    pose = camera.camera_from_world
    return Surface(
        width=camera.width,
        height=camera.height,
        pixels=pixels,
        coverage=coverage,
        object=objects,
        triangle=triangle,
        barycentric=weights,
        depth=(position @ pose[2, :3] + pose[2, 3]).astype(np.float32),
        position=position,
        normal=normal,
        geometric_normal=geometric.astype(np.float32),
        to_viewer=-rays,
        albedo=albedo,
        roughness=material[:, 0],
        metallic=material[:, 1],
        reflectance=reflectance,
    )


def shade(scene: Scene, surface: Surface, lights: DirectionalLights) -> Float32Array:
    """Linear radiance of a surface under lights, shape (n, 3): Lambert and GGX, with a shadow ray per light.

    ``surface.picture(shade(...) * surface.coverage[:, None])`` is the picture over black.
    """
    lit = lights.intensity.max(axis=1) > 0
    lights = DirectionalLights(lights.directions[lit], lights.intensity[lit], lights.spread)
    origins = _shadow_origins(scene, surface)
    out = np.zeros((len(surface.pixels), 3), np.float32)
    for start in range(0, len(out), CHUNK_POINTS):
        chunk = slice(start, start + CHUNK_POINTS)
        cosine = np.maximum(surface.normal[chunk] @ lights.directions.T, 0)
        light, point = np.nonzero(cosine.T > 1e-4)  # light by light: parallel rays trace faster
        dark = scene.occluded(origins[chunk][point], lights.directions[light])
        cosine[point[dark], light[dark]] = 0
        out[chunk] = _reflect(surface, chunk, cosine, lights)
    return out


def _reflect(surface: Surface, chunk: slice, cosine: Float32Array, lights: DirectionalLights) -> Float32Array:
    """Reflected radiance, shape (n, 3), from the unoccluded cosines, shape (n, light)."""
    albedo, metallic = surface.albedo[chunk], surface.metallic[chunk, None]
    diffuse = albedo * (1 - metallic) * (cosine @ lights.intensity) / np.pi
    normal_reflectance = surface.reflectance[chunk, None] * (1 - metallic) + albedo * metallic
    if not normal_reflectance.any():
        return cast(Float32Array, diffuse)
    view = surface.to_viewer[chunk]
    facing = np.maximum((surface.normal[chunk] * view).sum(axis=1, keepdims=True), 0.05)
    half = 2 + 2 * (view @ lights.directions.T)  # squared length of light + view
    np.maximum(half, 1e-4, out=half)
    alpha = surface.roughness[chunk, None] ** 2
    alpha = np.sqrt(alpha**2 + np.float32(lights.spread) ** 2)
    bump = (cosine + facing) ** 2 / half * (alpha**2 - 1) + 1
    lobe = cosine * (alpha**2 / np.pi) / bump**2
    # Hammon's form of the Smith shadowing term over 4 cos cos
    lobe *= 0.5 / (2 * cosine * facing * (1 - alpha) + (cosine + facing) * alpha)
    fresnel = (1 - np.sqrt(np.minimum(half / 4, 1))) ** 5
    straight, grazing = lobe @ lights.intensity, (lobe * fresnel) @ lights.intensity
    return cast(Float32Array, diffuse + normal_reflectance * (straight - grazing) + grazing)


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


def _albedo(scene: Scene, triangle: IntArray, uv: Float32Array) -> Float32Array:
    weights = np.column_stack([1 - uv.sum(axis=1), uv]).astype(np.float32)
    out = np.einsum("nk,nkc->nc", weights, scene.albedo[scene.faces[triangle]])
    offset = 0
    for index, mesh in enumerate(scene.meshes):
        if mesh.texture is not None and mesh.uv is not None:
            here = np.flatnonzero(scene.object[triangle] == index)
            corners = mesh.uv[scene.faces[triangle[here]] - offset]
            out[here] *= _sample_texture(mesh.texture, np.einsum("nk,nkc->nc", weights[here], corners))
        offset += len(mesh.vertices)
    return cast(Float32Array, out)


def _sample_texture(texture: Float32Array, uv: Float32Array) -> Float32Array:
    """Bilinear lookup at uv, shape (n, 2), 0..1, clamped at the border."""
    height, width = texture.shape[:2]
    x = np.clip(uv[:, 0] * width - 0.5, 0, width - 1.001)
    y = np.clip(uv[:, 1] * height - 0.5, 0, height - 1.001)
    x0, y0 = x.astype(int), y.astype(int)
    fx, fy = (x - x0).astype(np.float32)[:, None], (y - y0).astype(np.float32)[:, None]
    top = texture[y0, x0] * (1 - fx) + texture[y0, x0 + 1] * fx
    bottom = texture[y0 + 1, x0] * (1 - fx) + texture[y0 + 1, x0 + 1] * fx
    return np.asarray(top * (1 - fy) + bottom * fy, np.float32)


@lru_cache(maxsize=64)
def camera_rays(camera: Camera, antialias: bool) -> Float32Array:
    """Unit ray directions, shape (sample, pixel, 3): the pixel centre first, then 2 x 2 sub-samples."""
    grid = pixel_grid(camera.width, camera.height)
    offsets = np.concatenate([np.zeros((1, 2)), SUBPIXELS]) if antialias else np.zeros((1, 2))
    return np.stack([_ray_directions(camera, grid + offset) for offset in offsets])


def _ray_directions(camera: Camera, pixels: npt.NDArray[np.float64]) -> Float32Array:
    """As `Camera.ray_directions`, which this OpenCV (5.0, no undistortPointsIter) cannot run."""
    if not hasattr(cv2, "undistortPointsIter") and camera.model != "fisheye4":
        criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-9)
        plane = cv2.undistortPoints(pixels[:, None], camera.intrinsics, camera.distortion, criteria=criteria)[:, 0]
        seen = np.column_stack([plane, np.ones(len(plane))]) @ camera.world_from_camera[:3, :3].T
        return _unit(seen.astype(np.float32))
    return camera.ray_directions(pixels).astype(np.float32)


def _seen_region(scene: Scene, camera: Camera) -> IntArray:
    """Pixels within the bounding box of the projected scene, row-major; all where it reaches behind the camera."""
    everything = np.arange(camera.width * camera.height)
    vertices = scene.vertices.astype(np.float64)
    pose = camera.camera_from_world
    if (vertices @ pose[2, :3] + pose[2, 3]).min() < 0.1:
        return everything
    pixels = camera.project(vertices)
    x0, y0 = np.floor(pixels.min(axis=0)).astype(int) - 1
    x1, y1 = np.ceil(pixels.max(axis=0)).astype(int) + 2
    rows = everything.reshape(camera.height, camera.width)
    return rows[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)].ravel()


def _unit(vectors: Float32Array) -> Float32Array:
    return cast(Float32Array, vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))

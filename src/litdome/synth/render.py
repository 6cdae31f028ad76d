"""A small ray caster with exact truth: meshes, and G-buffers of what cameras see of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from litdome.geometry import Camera, pixel_grid

Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.integer[Any]]
SUBPIXELS = np.array([[-0.25, -0.25], [0.25, -0.25], [-0.25, 0.25], [0.25, 0.25]], np.float32)


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
        creases: Share of the albedo that k kinds of crease take away, shape (v, u, k), 0..1, or None.
        crease_strengths: Of each kind, shape (k,), 0..1.
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
    creases: Float32Array | None = None
    crease_strengths: npt.NDArray[np.floating[Any]] | None = None


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
    coverage is the pixel's mean.

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


def cast_surface(scene: Scene, camera: Camera, *, antialias: bool = True) -> Surface:
    """Cast a camera's rays, lens distortion included.

    Args:
        scene: What to look at.
        camera: From where.
        antialias: Cast 2 x 2 more samples per pixel along outlines (else coverage is 0 or 1).
    """
    rows, columns = _seen_region(scene, camera)
    region = np.arange(camera.height * camera.width).reshape(camera.height, camera.width)[rows, columns]
    rays = camera_rays(camera, antialias)
    centre = camera.centre.astype(np.float32)
    triangle, uv = _hit_from(scene, centre, rays[0, region.ravel()])
    rays_hit, coverage = rays[0, region.ravel()].copy(), (triangle >= 0).astype(np.float32)
    if antialias and region.size:
        edge = np.flatnonzero(_outline((triangle >= 0).reshape(region.shape)).ravel())
        samples = rays[1:, region.ravel()[edge]]
        found, found_uv = _hit_from(scene, centre, samples.reshape(-1, 3))
        found, found_uv = found.reshape(4, -1), found_uv.reshape(4, -1, 2)
        coverage[edge] = (found >= 0).mean(axis=0)
        lost = (triangle[edge] < 0) & (found >= 0).any(axis=0)
        first, at = (found >= 0).argmax(axis=0)[lost], np.flatnonzero(lost)
        triangle[edge[lost]], uv[edge[lost]] = found[first, at], found_uv[first, at]
        rays_hit[edge[lost]] = samples[first, at]
    seen = np.flatnonzero((coverage > 0) & (triangle >= 0))
    return _surface(scene, camera, region.ravel()[seen], coverage[seen], triangle[seen], uv[seen], rays_hit[seen])


def _hit_from(scene: Scene, centre: Float32Array, rays: Float32Array) -> tuple[IntArray, Float32Array]:
    return scene.hit(np.broadcast_to(centre, rays.shape).copy(), rays)


def _outline(hit: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Pixels whose 3 x 3 neighbourhood is neither all hit nor all missed, shape (y, x)."""
    inside, square = hit.astype(np.uint8), np.ones((3, 3), np.uint8)
    return np.asarray(cv2.dilate(inside, square) != cv2.erode(inside, square))


def _surface(
    scene: Scene,
    camera: Camera,
    pixels: IntArray,
    coverage: Float32Array,
    triangle: IntArray,
    uv: Float32Array,
    rays: Float32Array,
) -> Surface:
    weights = np.column_stack([1 - uv.sum(axis=1), uv]).astype(np.float32)
    corners = scene.vertices[scene.faces[triangle]]
    position = np.einsum("nk,nkc->nc", weights, corners)
    normal = unit(np.einsum("nk,nkc->nc", weights, scene.normals[scene.faces[triangle]]))
    geometric = unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
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
        albedo=albedo_at(scene, triangle, uv),
        roughness=material[:, 0],
        metallic=material[:, 1],
        reflectance=reflectance,
    )


def albedo_at(scene: Scene, triangle: IntArray, uv: Float32Array) -> Float32Array:
    """Linear albedo at points of triangles, barycentric as `Scene.hit` gives them, shape (n, 3)."""
    weights = np.column_stack([1 - uv.sum(axis=1), uv]).astype(np.float32)
    out = np.einsum("nk,nkc->nc", weights, scene.albedo[scene.faces[triangle]])
    offset = 0
    for index, mesh in enumerate(scene.meshes):
        if mesh.texture is not None and mesh.uv is not None:
            here = np.flatnonzero(scene.object[triangle] == index)
            corners = mesh.uv[scene.faces[triangle[here]] - offset]
            at = np.einsum("nk,nkc->nc", weights[here], corners)
            out[here] *= sample_texture(mesh.texture, at)
            if mesh.creases is not None and mesh.crease_strengths is not None:
                out[here] *= 1 - (sample_texture(mesh.creases, at) @ mesh.crease_strengths[:, None].astype(np.float32))
        offset += len(mesh.vertices)
    return cast(Float32Array, out)


def sample_texture(texture: Float32Array, uv: Float32Array) -> Float32Array:
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
    centres = camera.ray_directions(pixel_grid(camera.width, camera.height)).astype(np.float32)
    if not antialias:
        return centres[None]
    # rays a quarter of a pixel aside by the slope between neighbours: right to 1e-4 px, a fifth of the time
    rows = centres.reshape(camera.height, camera.width, 3)
    down, across = (np.asarray(np.gradient(rows, axis=axis)).reshape(-1, 3) for axis in (0, 1))
    return np.stack([centres, *(unit(centres + x * across + y * down) for x, y in SUBPIXELS)])


def _seen_region(scene: Scene, camera: Camera) -> tuple[slice, slice]:
    """Rows and columns around the projected scene; the whole picture where the scene reaches behind the camera."""
    vertices = scene.vertices.astype(np.float64)
    pose = camera.camera_from_world
    if (vertices @ pose[2, :3] + pose[2, 3]).min() < 0.1:
        return slice(0, camera.height), slice(0, camera.width)
    pixels = camera.project(vertices)
    x0, y0 = np.maximum(np.floor(pixels.min(axis=0)).astype(int) - 1, 0)
    x1, y1 = np.maximum(np.ceil(pixels.max(axis=0)).astype(int) + 2, 0)
    return slice(y0, y1), slice(x0, x1)


def unit(vectors: Float32Array) -> Float32Array:
    """Vectors, shape (n, 3), at length 1; a zero vector stays zero."""
    return cast(Float32Array, vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))

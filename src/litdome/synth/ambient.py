"""Light that a surface throws on itself: one diffuse bounce, gathered at the vertices of a finely meshed scene."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from litdome.synth.render import Float32Array, IntArray, Scene, albedo_at
from litdome.synth.shading import CHUNK_POINTS, SHADOW_OFFSET_M, LitVertices

GATHER_RAYS = 32


def with_bounce(scene: Scene, lit: LitVertices, rays: int = GATHER_RAYS) -> LitVertices:
    """Add the light that reaches each vertex by way of one other point of the scene.

    What a ray meets counts as Lambertian in its albedo; highlights, the wall and second bounces are left out.

    Args:
        scene: Finely meshed.
        lit: Of `light_vertices`.
        rays: Per vertex, the same in each vertex's own frame: what they miss varies smoothly, and never flickers.
    """
    gathered = [
        _gather(scene, lit, np.arange(start, min(start + CHUNK_POINTS, len(scene.vertices))), rays)
        for start in range(0, len(scene.vertices), CHUNK_POINTS)
    ]
    return replace(lit, irradiance=lit.irradiance + np.concatenate(gathered))


def _gather(scene: Scene, lit: LitVertices, vertices: IntArray, rays: int) -> Float32Array:
    """Irradiance of all lightings that comes from the scene itself, shape (n, k channel)."""
    normals = scene.normals[vertices]
    directions = np.einsum("rc,ncd->rnd", cosine_rays(rays), tangent_frames(normals)).reshape(-1, 3)
    origins = scene.vertices[vertices] + normals * np.float32(2 * SHADOW_OFFSET_M)
    triangle, uv = scene.hit(np.tile(origins, (rays, 1)), directions.astype(np.float32))
    hit = np.flatnonzero(triangle >= 0)
    first, second, third = (scene.vertices[scene.faces[triangle[hit], k]] for k in range(3))
    front = (np.cross(second - first, third - first) * directions[hit]).sum(axis=1) < 0  # insides are dark
    hit = hit[front]
    met, weights = triangle[hit], np.column_stack([1 - uv[hit].sum(axis=1), uv[hit]])
    falling = np.einsum("nk,nkc->nc", weights, lit.irradiance[scene.faces[met]])
    metallic = np.einsum("nk,nk->n", weights, scene.material[scene.faces[met], 1])
    reflectance = _per_channel(albedo_at(scene, met, uv[hit]) * (1 - metallic)[:, None], lit.lights.response)
    thrown = np.zeros((len(directions), falling.shape[1]), np.float32)
    thrown[hit] = falling * np.tile(reflectance, falling.shape[1] // reflectance.shape[1])
    # pi times the mean of (albedo E / pi) over cosine-weighted rays
    return np.asarray(thrown.reshape(rays, len(vertices), -1).mean(axis=0))


def _per_channel(albedo: Float32Array, response: Float32Array | None) -> Float32Array:
    """Share of each channel's light that comes back, its colours together, shape (n, channel)."""
    if response is None:
        return albedo
    return np.asarray(np.einsum("cij,nj->nc", response, albedo) / response.sum(axis=(1, 2)))


def cosine_rays(count: int) -> Float32Array:
    """Evenly spread directions around +z, denser by their cosine, shape (count, 3): a mean over them is an irradiance
    over pi."""
    k = np.arange(count) + 0.5
    radius, azimuth = np.sqrt(k / count), k * np.pi * (3 - np.sqrt(5))
    x, y, up = radius * np.cos(azimuth), radius * np.sin(azimuth), np.sqrt(1 - k / count)
    return np.stack([x, y, up], axis=1).astype(np.float32)


def tangent_frames(normals: Float32Array) -> Float32Array:
    """Two tangents and the normal of each, shape (n, 3) to (n, 3, 3), continuous but where a normal is -z.

    Source: T. Duff et al., Building an orthonormal basis, revisited, JCGT 6(1), 2017.
    """
    x, y, z = normals.T
    sign = np.where(z < 0, np.float32(-1), np.float32(1))
    a = -1 / (sign + z)
    b = x * y * a
    first = np.stack([1 + sign * x * x * a, sign * b, -sign * x], axis=1)
    second = np.stack([b, sign + y * y * a, -y], axis=1)
    return np.stack([first, second, normals], axis=1)

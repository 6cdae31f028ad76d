"""Folds of a forehead whose brows are raised: a fine surface that lies on the template's coarse one and rises from it.

The template's triangles are 11 mm wide there, more than the folds are apart. Where the brows are down the fine surface
lies in the coarse one, with the same normals and the same texture, so that it cannot be told which of them is seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.synth.face import CREASES, crease_distance, groove, sides
from litdome.synth.render import Mesh
from litdome.template.model import FloatArray, IntArray, Template, load_template
from litdome.template.skinning import vertex_normals

LEFT, RIGHT, BOTTOM, TOP = -0.05, 0.05, 1.621, 1.656  # at rest, m: between brows and hair
ROWS, COLUMNS = 30, 21  # every 1.2 mm up, 5 mm across: folds lie across
FOLD_HEIGHT_M, VALLEY_M, RIM_M = 0.001, 0.0016, 0.006


@dataclass(frozen=True, eq=False)
class Forehead:
    """A grid of points on the template's surface.

    Attributes:
        corners: Texture coordinates (cut vertices) of the face that each point lies in, shape (point, 3).
        weights: Of the three, shape (point, 3).
        faces: Between the points, shape (m, 3), counter-clockwise seen from outside.
        height_m: How far each rises with the left and with the right brow fully up, shape (point, 2).
    """

    corners: IntArray
    weights: FloatArray
    faces: IntArray
    height_m: FloatArray

    def on(self, mesh: Mesh, strength: FloatArray) -> Mesh:
        """A person's mesh with the forehead as its last vertices and faces; brows, left and right, are 0..1 up."""
        flat, smooth = (self._at(values) for values in (mesh.vertices, mesh.normals))
        normals, vertices = smooth / np.linalg.norm(smooth, axis=1, keepdims=True), flat
        if strength.any():
            vertices = flat + normals * (self.height_m @ strength)[:, None]
            normals = normals + vertex_normals(vertices, self.faces) - vertex_normals(flat, self.faces)
            normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        roughness, uv = np.asarray(mesh.roughness), np.asarray(mesh.uv)
        return replace(
            mesh,
            vertices=np.concatenate([mesh.vertices, vertices]),
            normals=np.concatenate([mesh.normals, normals]),
            faces=np.concatenate([mesh.faces, self.faces + len(mesh.vertices)]),
            albedo=np.concatenate([mesh.albedo, self._at(mesh.albedo)]).astype(np.float32),
            roughness=np.concatenate([roughness, self._at(roughness)]).astype(np.float32),
            uv=np.concatenate([uv, self._at(uv)]).astype(np.float32),
        )

    def _at(self, values: npt.NDArray[np.floating[Any]]) -> FloatArray:
        """Values of cut vertices, shape (uv, ...), at the points."""
        return np.asarray(np.einsum("pk,pk...->p...", self.weights, values[self.corners]))


@lru_cache(maxsize=1)
def make_forehead() -> Forehead:
    """The forehead of the template that litdome ships; others' lies on the same faces."""
    template = load_template()
    across, up = np.meshgrid(np.linspace(LEFT, RIGHT, COLUMNS), np.linspace(BOTTOM, TOP, ROWS))
    points = np.stack([across.ravel(), up.ravel()], axis=1)
    face, weights = _faces_before(template, points)
    number = np.arange(ROWS * COLUMNS, dtype=np.int32).reshape(ROWS, COLUMNS)
    a, b, c, d = number[:-1, :-1].ravel(), number[:-1, 1:].ravel(), number[1:, 1:].ravel(), number[1:, :-1].ravel()
    rim = np.minimum(np.minimum(points[:, 0] - LEFT, RIGHT - points[:, 0]), np.minimum(up - BOTTOM, TOP - up).ravel())
    share = np.clip(rim / RIM_M, 0, 1)
    risen = FOLD_HEIGHT_M * share**2 * (3 - 2 * share)
    valleys = groove(crease_distance(points, CREASES["brows up"]), VALLEY_M)
    return Forehead(
        corners=template.face_uv[face],
        weights=weights,
        faces=np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)]),
        height_m=risen[:, None] * (1 - valleys) * sides(points),
    )


def _faces_before(template: Template, points: FloatArray) -> tuple[IntArray, FloatArray]:
    """The face of the head that points, shape (n, 2), seen from the front lie in, shape (n,), and their weights."""
    corners = template.vertices[template.faces].astype(np.float64)
    on_head = template.face_regions == template.region_names.index("head")
    near = (corners[:, :, 2].min(axis=1) > 0.05) & (corners[:, :, 1].max(axis=1) > BOTTOM - 0.02) & on_head
    some = np.flatnonzero(near).astype(np.int32)
    a, b, c = (corners[some, k, :2] for k in range(3))
    to_b, to_c, to_point = b - a, c - a, points[:, None] - a
    area = to_b[:, 0] * to_c[:, 1] - to_b[:, 1] * to_c[:, 0]
    at_b = (to_point[..., 0] * to_c[:, 1] - to_point[..., 1] * to_c[:, 0]) / area
    at_c = (to_b[:, 0] * to_point[..., 1] - to_b[:, 1] * to_point[..., 0]) / area
    weights = np.stack([1 - at_b - at_c, at_b, at_c], axis=-1)
    weights[:, area <= 0] = -1  # turned away
    best = weights.min(axis=2).argmax(axis=1)
    return some[best], weights[np.arange(len(points)), best]

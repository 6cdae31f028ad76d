"""The template's surface unrolled: which point of the body lies under each texel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from litdome.template.model import FloatArray, IntArray, Template


@dataclass(frozen=True, eq=False)
class UvMap:
    """What lies under the texels that the surface covers.

    Attributes:
        size: Texels along each side.
        texels: Row-major texel numbers, shape (n,).
        face: Face under each, shape (n,).
        barycentric: Weights of the face's three vertices, shape (n, 3).
    """

    size: int
    texels: IntArray
    face: IntArray
    barycentric: FloatArray

    def interpolate(self, values: npt.NDArray[Any], faces: IntArray) -> FloatArray:
        """Vertex values, shape (vertex, c), at the texels, shape (n, c)."""
        blended: FloatArray = np.einsum("nk,nkc->nc", self.barycentric, values[faces[self.face]])
        return blended

    def picture(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Texel values, shape (n, c), as texture, shape (size, size, c), grown over its gaps (no bleeding seams)."""
        inside = np.zeros((self.size, self.size), bool)
        inside.flat[self.texels] = True
        texture = np.zeros((self.size * self.size, *values.shape[1:]), values.dtype)
        texture[self.texels] = values
        rows, columns = distance_transform_edt(~inside, return_distances=False, return_indices=True)
        return np.asarray(texture.reshape(self.size, self.size, *values.shape[1:])[rows, columns])


def rasterise_uv(template: Template, size: int) -> UvMap:
    """Find the face under each texel centre, ((i + 0.5) / size) from the left and the top."""
    corners = template.uv[template.face_uv].astype(np.float64) * size - 0.5
    low = np.maximum(np.ceil(corners.min(axis=1)), 0).astype(np.int64)
    high = np.minimum(np.floor(corners.max(axis=1)), size - 1).astype(np.int64)
    extent = np.maximum(high - low + 1, 0)
    counts = extent[:, 0] * extent[:, 1]
    face = np.repeat(np.arange(len(corners), dtype=np.int32), counts)
    place = np.arange(len(face)) - np.repeat(np.cumsum(counts) - counts, counts)
    x = low[face, 0] + place % extent[face, 0]
    y = low[face, 1] + place // extent[face, 0]
    barycentric = _barycentric(corners[face], np.column_stack([x, y]).astype(np.float64))
    inside = np.flatnonzero((barycentric >= 0).all(axis=1))
    texels, first = np.unique((y * size + x)[inside], return_index=True)
    chosen = inside[first]
    return UvMap(size, texels.astype(np.int32), face[chosen], barycentric[chosen])


def _barycentric(corners: FloatArray, points: FloatArray) -> FloatArray:
    """Weights, shape (n, 3), of points, shape (n, 2), in triangles, shape (n, 3, 2); NaN where one has no area."""
    ab, ac, ap = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], points - corners[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
        second = (ap[:, 0] * ac[:, 1] - ap[:, 1] * ac[:, 0]) / area
        third = (ab[:, 0] * ap[:, 1] - ab[:, 1] * ap[:, 0]) / area
    return np.column_stack([1 - second - third, second, third])

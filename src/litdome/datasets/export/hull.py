"""The visual hull of a moment: where all masks agree that the person may be. Points for a trainer to start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_erosion

from litdome.datasets.export.shots import UInt8Array
from litdome.geometry import Camera, FloatArray

COARSE, FINE = 32, 48  # points of the grid along each axis: to find the person, then to draw the surface
FEWEST_VIEWS = 3  # two silhouettes leave a lump many times as large as the person


@dataclass(frozen=True, eq=False)
class View:
    """What one camera saw.

    Attributes:
        camera: Without distortion.
        picture, mask, weight: Shapes (y, x, 3), (y, x) and (y, x); where weight is 0 nothing is known.
    """

    camera: Camera
    picture: UInt8Array
    mask: UInt8Array
    weight: UInt8Array

    @cached_property
    def is_whole(self) -> bool:
        """Whether the person ends before what is known does: then no part of them lies elsewhere."""
        known = self.weight > 0
        return not ((self.mask > 127) & known & ~binary_erosion(known)).any()

    def look(self, points: FloatArray) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.intp]]:
        """Which world points, shape (n, 3), the picture shows, and the row and column of those, shape (2, shown)."""
        projection = self.camera.intrinsics @ self.camera.camera_from_world[:3]
        rays = points @ projection[:, :3].T + projection[:, 3]
        shown = rays[:, 2] > 1e-6
        pixels = np.rint(rays[shown, 1::-1] / rays[shown, 2:])
        inside = ((pixels >= 0) & (pixels < self.weight.shape)).all(axis=1)
        places = pixels[inside].astype(np.intp).T
        known = self.weight[tuple(places)] > 0
        shown[np.flatnonzero(shown)] = inside
        shown[np.flatnonzero(shown)] = known
        return shown, places[:, known]


def hull_points(views: Sequence[View]) -> tuple[FloatArray, UInt8Array]:
    """Points on the surface of the visual hull, shape (n, 3), metres, and their colours, shape (n, 3).

    A point belongs to it when it lies within the mask of every camera, those aside that see the person cut off and do
    not show it, and at least half of the cameras (and `FEWEST_VIEWS`) show it. Its colour is the median over those.
    Empty with fewer views, or where masks are empty or disagree.
    """
    nothing = np.zeros((0, 3)), np.zeros((0, 3), np.uint8)
    views = [view for view in views if (view.mask > 127).any()]
    if len(views) < FEWEST_VIEWS:
        return nothing
    centre = _meeting_point(views)
    reach = float(np.median([np.linalg.norm(view.camera.centre - centre) for view in views])) / 2
    low, high = centre - reach, centre + reach
    for size in (COARSE, FINE):
        grid = _grid(low, high, size)
        inside = carve(grid.reshape(-1, 3), views).reshape(grid.shape[:3])
        if not inside.any():
            return nothing
        step = (high - low) / (size - 1)
        low, high = grid[inside].min(axis=0) - step, grid[inside].max(axis=0) + step
    points = grid[inside & ~binary_erosion(inside)]
    return points, _colours(points, views)


def carve(points: FloatArray, views: Sequence[View]) -> npt.NDArray[np.bool_]:
    """Which points, shape (n, 3), lie in the visual hull."""
    left, seen = np.arange(len(points)), np.zeros(len(points), int)
    for view in views:
        shown, places = view.look(points[left])
        seen[left[shown]] += 1
        outside = np.full(len(left), view.is_whole)
        outside[shown] = view.mask[tuple(places)] <= 127
        left = left[~outside]
    found = np.zeros(len(points), bool)
    found[left] = seen[left] >= max(FEWEST_VIEWS, len(views) / 2)
    return found


def _meeting_point(views: Sequence[View]) -> FloatArray:
    """The point nearest to the rays through the middles of the masks, shape (3,)."""
    left, right = np.zeros((3, 3)), np.zeros(3)
    for view in views:
        middle = np.argwhere(view.mask > 127).mean(axis=0)[::-1]
        ray = view.camera.ray_directions(middle[None])[0]
        across = np.eye(3) - np.outer(ray, ray)
        left += across
        right += across @ view.camera.centre
    return np.asarray(np.linalg.lstsq(left, right, rcond=None)[0])


def _grid(low: FloatArray, high: FloatArray, size: int) -> FloatArray:
    axes = (np.linspace(a, b, size) for a, b in zip(low, high, strict=True))
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def _colours(points: FloatArray, views: Sequence[View]) -> UInt8Array:
    seen = np.full((len(views), len(points), 3), np.nan, np.float32)
    for colours, view in zip(seen, views, strict=True):
        shown, places = view.look(points)
        colours[shown] = view.picture[tuple(places)]
    return np.rint(np.nanmedian(seen, axis=0)).astype(np.uint8)

"""Blur by focus and motion, and rolling shutters: pictures of one moment made into what falls on a sensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from litdome.synth.render import Float32Array
from litdome.synth.sensors import Sensor

FloatArray = npt.NDArray[np.float64]
MOMENT_PX = 0.7  # what moves farther between two moments shows as two
BLUR_STEP_PX = 0.5  # blur is rounded to this width
DISC_SAMPLES = 16  # across a pixel, when the area of a disc in it is counted


@dataclass(frozen=True, eq=False)
class View:
    """What lies before a camera at one moment, linear light.

    Attributes:
        front: Of the person, times coverage, shape (y, x, 3).
        coverage: 0..1, shape (y, x).
        depth: Of the person along the optical axis, metres, shape (y, x); read where there is coverage.
        behind: What is seen where the person is not, shape (y, x, 3).
        behind_m: Its depth.
    """

    front: Float32Array
    coverage: Float32Array
    depth: Float32Array
    behind: Float32Array
    behind_m: float


def photograph(view_at: Callable[[float], View], sensor: Sensor, focal_px: float, *, moments: int) -> Float32Array:
    """Light that falls on a sensor while its shutter is open, linear, shape (y, x, 3).

    Args:
        view_at: The view at a time after the frame's, s.
        sensor: Its lens and shutter.
        focal_px: Of the lens.
        moments: Pictures taken while the shutter is open: see `moment_count`.
    """
    offsets = moment_offsets(sensor.open_s, moments)
    pictures = (focused(view_at(float(offset)), sensor, focal_px) for offset in offsets)
    total = next(pictures)
    if moments > 1:
        weights = row_weights(len(total), moments, sensor.shutter_s, sensor.rolling_s)[..., None, None]
        total = total * weights[:, 0]
        for k, picture in enumerate(pictures, start=1):
            total += picture * weights[:, k]
    return total


def moment_count(travel_px: float) -> int:
    """How many moments show a movement without gaps; rows are then at most half of `MOMENT_PX` from their place."""
    return max(1, int(np.ceil(travel_px / MOMENT_PX)))


def moment_offsets(open_s: float, count: int) -> FloatArray:
    """Middles of ``count`` equal parts of the time that a shutter is open, 0 in its middle, s, shape (count,)."""
    return np.asarray(((np.arange(count) + 0.5) / count - 0.5) * open_s)


def row_weights(height: int, count: int, shutter_s: float, rolling_s: float) -> Float32Array:
    """How much each moment of `moment_offsets` adds to each row, shape (row, moment); a row's sum is 1.

    Row r is open for ``shutter_s`` around ((r + 0.5) / height - 0.5) ``rolling_s``; a row that is open for no time
    shows the moment nearest to it.
    """
    open_s = shutter_s + rolling_s
    middle = ((np.arange(height) + 0.5) / height - 0.5) * rolling_s
    edges = (np.arange(count + 1) / count - 0.5) * open_s
    if shutter_s == 0:
        at = np.clip(np.searchsorted(edges, middle, side="right") - 1, 0, count - 1)
        return np.eye(count, dtype=np.float32)[at]
    open_until = np.clip(edges, (middle - shutter_s / 2)[:, None], (middle + shutter_s / 2)[:, None])
    return np.asarray(np.diff(open_until, axis=1) / shutter_s, np.float32)


def focused(view: View, sensor: Sensor, focal_px: float) -> Float32Array:
    """A view through a lens, linear, shape (y, x, 3): each point of it spread over its circle of confusion.

    A nearer part of the person that blurs mixes with what it covers, rather than lying over it.
    """
    if sensor.aperture_m == 0:
        return np.asarray(view.front + view.behind * (1 - view.coverage[..., None]), np.float32)
    behind = spread(view.behind, float(confusion_px(view.behind_m, sensor, focal_px)))
    width = confusion_px(_around_person(view), sensor, focal_px)
    levels = np.round(width / BLUR_STEP_PX).astype(np.int32)
    person = np.dstack([view.front, view.coverage, np.ones_like(view.coverage)]).astype(np.float32)
    total = np.zeros_like(person)
    for level in np.unique(levels):
        total += spread(person * (levels == level)[..., None], float(level) * BLUR_STEP_PX)
    # where circles of different width meet, more or less than 1 arrives
    front, coverage = total[..., :3] / total[..., 4:], total[..., 3:4] / total[..., 4:]
    return np.asarray(front + behind * (1 - coverage), np.float32)


def _around_person(view: View) -> Float32Array:
    """The person's depth, beside them that of the nearest part of them, shape (y, x); the wall's without a person."""
    away = view.coverage == 0
    if away.all():
        return np.full_like(view.depth, view.behind_m)
    rows, columns = distance_transform_edt(away, return_distances=False, return_indices=True)
    return np.asarray(view.depth[rows, columns])


def without_person(behind: Float32Array, behind_m: float) -> View:
    """The view of an empty stage: see `View`."""
    return View(np.zeros_like(behind), np.zeros_like(behind[..., 0]), np.zeros_like(behind[..., 0]), behind, behind_m)


def confusion_px(depth_m: npt.ArrayLike, sensor: Sensor, focal_px: float) -> FloatArray:
    """Width of the circle over which a thin lens spreads a point at a depth, px.

    A ray through the edge of the pupil, a/2 from its middle, meets the sensor f a/2 |1/z - 1/focus| from where the
    point's chief ray does.
    """
    return np.asarray(sensor.aperture_m * focal_px * np.abs(1 / np.asarray(depth_m, np.float64) - 1 / sensor.focus_m))


def spread(picture: Float32Array, width_px: float) -> Float32Array:
    """A picture, shape (y, x, channel), each pixel spread evenly over a circle; at the rim the outer pixels go on."""
    if width_px < 2 * BLUR_STEP_PX:  # the circle lies inside its pixel
        return picture
    kernel = _disc(round(width_px / BLUR_STEP_PX) * BLUR_STEP_PX)
    return np.asarray(cv2.filter2D(picture, -1, kernel, borderType=cv2.BORDER_REPLICATE))


@lru_cache(maxsize=64)
def _disc(width_px: float) -> Float32Array:
    """Share of a circle's area in each pixel, shape (n, n), n odd."""
    reach = int(np.ceil(width_px / 2 - 0.5))
    fine = (np.arange((2 * reach + 1) * DISC_SAMPLES) + 0.5) / DISC_SAMPLES - reach - 0.5
    inside = fine**2 + (fine**2)[:, None] <= (width_px / 2) ** 2
    share = inside.reshape(2 * reach + 1, DISC_SAMPLES, 2 * reach + 1, DISC_SAMPLES).mean(axis=(1, 3))
    return np.asarray(share / share.sum(), np.float32)

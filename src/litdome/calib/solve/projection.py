"""Projection through every lens model, many corners at once, with analytic derivatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from litdome.geometry import Camera, LensModel

FloatArray = npt.NDArray[np.float64]
LENS_LENGTH = 12  # fx fy cx cy, then 8 distortion values
TERMS: Mapping[LensModel, tuple[str, ...]] = {
    "pinhole5": ("f", "aspect", "cx", "cy", "k1", "k2", "p1", "p2", "k3"),
    "pinhole8": ("f", "aspect", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"),
    "fisheye4": ("f", "aspect", "cx", "cy", "k1", "k2", "k3", "k4"),
}
SMALL_RADIUS = 1e-6


def lens_values(camera: Camera) -> FloatArray:
    """fx, fy, cx, cy (px), then the 8 distortion values of a camera, shape (12,)."""
    k = camera.intrinsics
    return np.concatenate([[k[0, 0], k[1, 1], k[0, 2], k[1, 2]], camera.distortion])


def with_lens(camera: Camera, values: FloatArray) -> Camera:
    """``camera`` with lens values, shape (12,)."""
    intrinsics = np.array([[values[0], 0, values[2]], [0, values[1], values[3]], [0, 0, 1]])
    return replace(camera, intrinsics=intrinsics, distortion=values[4:].copy())


def changed_lens(values: FloatArray, terms: FloatArray) -> FloatArray:
    """Lens values, shape (..., 12), after small changes of the terms, shape (..., 12).

    Terms are a factor for fx and fy, one for fy alone, then additions to cx, cy and the distortion.
    """
    changed = values + terms
    changed[..., 0] = values[..., 0] * (1 + terms[..., 0])
    changed[..., 1] = values[..., 1] * (1 + terms[..., 0]) * (1 + terms[..., 1])
    return changed


def project(models: Sequence[LensModel], lenses: FloatArray, points: FloatArray) -> FloatArray:
    """Pixels, shape (n, m, 2), of m points in front of each of n cameras, shape (n, m, 3); NaN behind a camera."""
    flat, fisheye = _flat(points), _fisheye(models)
    bent = np.empty_like(flat)
    bent[~fisheye] = _bend_pinhole(flat[~fisheye], lenses[~fisheye, None, 4:])
    bent[fisheye] = _bend_fisheye(flat[fisheye], lenses[fisheye, None, 4:])
    return bent * lenses[:, None, :2] + lenses[:, None, 2:4]


def project_with_derivatives(
    models: Sequence[LensModel], lenses: FloatArray, points: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Pixels of points and how they change with the points and with the terms of the lens.

    Args:
        models: Of each of n cameras.
        lenses: fx fy cx cy and distortion, shape (n, 12).
        points: In each camera's own frame, shape (n, m, 3).

    Returns:
        Pixels (n, m, 2), by point (n, m, 2, 3), by lens term (n, m, 2, 12).
    """
    pixels = project(models, lenses, points)
    focal = lenses[:, None, :2]
    bent = (pixels - lenses[:, None, 2:4]) / focal
    flat, depth, fisheye = _flat(points), points[..., 2], _fisheye(models)
    by_flat, by_distortion = np.empty((*points.shape[:2], 2, 2)), np.empty((*points.shape[:2], 2, 8))
    for which, slopes in ((fisheye, _fisheye_slopes), (~fisheye, _pinhole_slopes)):
        by_flat[which], by_distortion[which] = slopes(flat[which], lenses[which, None, 4:])
    by_point = np.empty((*points.shape[:2], 2, 3))
    by_point[..., :2] = by_flat * (focal / depth[..., None])[..., None]
    by_point[..., 2] = -(by_flat @ flat[..., None])[..., 0] * focal / depth[..., None]
    by_term = np.zeros((*points.shape[:2], 2, LENS_LENGTH))
    by_term[..., 0] = bent * focal
    by_term[..., 1, 1] = bent[..., 1] * focal[..., 1]
    by_term[..., 0, 2] = by_term[..., 1, 3] = 1
    by_term[..., 4:] = by_distortion * focal[..., None]
    return pixels, by_point, by_term


def _flat(points: FloatArray) -> FloatArray:
    """Where points lie on the plane at distance 1, shape (..., 2); NaN behind the camera."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(points[..., 2:] > 0, points[..., :2] / points[..., 2:], np.nan)


def _fisheye(models: Sequence[LensModel]) -> npt.NDArray[np.bool_]:
    return np.array([model == "fisheye4" for model in models], bool)


def _bend_pinhole(flat: FloatArray, d: FloatArray) -> FloatArray:
    """OpenCV's radial (rational) and tangential model; Source: OpenCV documentation, calib3d."""
    x, y = flat[..., 0], flat[..., 1]
    p1, p2 = d[..., 2], d[..., 3]
    r2 = x * x + y * y
    bent = flat * _radial(r2, d)[0][..., None]
    bent[..., 0] += 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    bent[..., 1] += 2 * p2 * x * y + p1 * (r2 + 2 * y * y)
    return np.asarray(bent)


def _radial(r2: FloatArray, d: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The radial factor, and what it is divided by."""
    k1, k2, _, _, k3, k4, k5, k6 = np.moveaxis(d, -1, 0)
    below = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
    return (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / below, below


def _pinhole_slopes(flat: FloatArray, d: FloatArray) -> tuple[FloatArray, FloatArray]:
    """How `_bend_pinhole` changes with the position, shape (..., 2, 2), and with the distortion, (..., 2, 8)."""
    x, y = flat[..., 0], flat[..., 1]
    k1, k2, p1, p2, k3, k4, k5, k6 = np.moveaxis(d, -1, 0)
    r2 = x * x + y * y
    radial, below = _radial(r2, d)
    slope = (k1 + r2 * (2 * k2 + r2 * 3 * k3) - radial * (k4 + r2 * (2 * k5 + r2 * 3 * k6))) / below
    by_flat = np.empty((*x.shape, 2, 2))
    by_flat[..., 0, 0] = radial + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x
    by_flat[..., 1, 1] = radial + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x
    by_flat[..., 0, 1] = by_flat[..., 1, 0] = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
    by_distortion = np.empty((*x.shape, 2, 8))
    power = flat * (r2 / below)[..., None]
    for above, under in ((0, 5), (1, 6), (4, 7)):
        by_distortion[..., above] = power
        by_distortion[..., under] = -radial[..., None] * power
        power = power * r2[..., None]
    by_distortion[..., 0, 2] = by_distortion[..., 1, 3] = 2 * x * y
    by_distortion[..., 1, 2] = r2 + 2 * y * y
    by_distortion[..., 0, 3] = r2 + 2 * x * x
    return by_flat, by_distortion


def _bend_fisheye(flat: FloatArray, d: FloatArray) -> FloatArray:
    """OpenCV's fisheye model (a polynomial of the angle); Source: OpenCV documentation, calib3d fisheye."""
    return np.asarray(flat * _angular(flat, d)[2][..., None])


def _angular(flat: FloatArray, d: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Radius (1 on the axis, where nothing depends on it), angle, and the factor of the position."""
    radius = np.linalg.norm(flat, axis=-1)
    near = radius < SMALL_RADIUS
    safe = np.where(near, 1.0, radius)
    angle = np.arctan(safe)
    squared = angle**2
    turned = angle * (1 + squared * (d[..., 0] + squared * (d[..., 1] + squared * (d[..., 2] + squared * d[..., 3]))))
    return safe, angle, np.where(near, 1.0, turned / safe)


def _fisheye_slopes(flat: FloatArray, d: FloatArray) -> tuple[FloatArray, FloatArray]:
    """How `_bend_fisheye` changes with the position, shape (..., 2, 2), and with the distortion, (..., 2, 8)."""
    near = np.linalg.norm(flat, axis=-1) < SMALL_RADIUS
    safe, angle, scale = _angular(flat, d)
    k = np.moveaxis(d, -1, 0)
    squared = angle**2
    slope = 1 + squared * (3 * k[0] + squared * (5 * k[1] + squared * (7 * k[2] + squared * 9 * k[3])))
    by_radius = np.where(near, 2 * (k[0] - 1 / 3), (slope / (1 + safe**2) - scale) / safe**2)
    by_flat = flat[..., :, None] * flat[..., None, :] * by_radius[..., None, None]
    by_flat[..., 0, 0] += scale
    by_flat[..., 1, 1] += scale
    by_distortion = np.zeros((*safe.shape, 2, 8))
    powers = np.where(near, 0.0, angle / safe)[..., None] * angle[..., None] ** np.array([2, 4, 6, 8])
    by_distortion[..., :4] = flat[..., None] * powers[..., None, :]
    return by_flat, by_distortion

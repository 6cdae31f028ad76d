"""Colour between cameras without a chart: gains per channel from the person's surface, seen by several at once.

Under flat light a point of the surface gives every camera about the same light. Which points two cameras share is known
from the masks: the visual hull, and who sees which part of it first. The hull lies a little outside the body and
highlights move with the viewer, so ratios are taken by their median, and only gains are fitted: a 3x4 affine needs a
chart.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import cv2
import numpy as np
import numpy.typing as npt

from litdome.color import delta_e_2000
from litdome.errors import CalibrationError
from litdome.geometry import Camera, Rig
from litdome.stage import UInt8Array

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
COARSE_M, FINE_M = 0.16, 0.02
REACH_M = 1.5  # half side of the cube that is carved
EXPOSED = (0.02, 0.8)  # linear light of a colour that counts
MIN_SHARED = 300  # points that a pair of cameras must share to count
SAME = 0.06  # of log light: ratios this near to the most common one are of the same point
BORDER = 0.8  # voxels inside the outline: the hull's edge shows the background


def shared_colors(rig: Rig, pictures: Mapping[str, Float32Array], masks: Mapping[str, UInt8Array]) -> FloatArray:
    """What the cameras see of the same surface points at one moment under flat light.

    Args:
        rig: Calibration of the pictures.
        pictures: By camera, linear light, shape (y, x, 3); cameras may be missing.
        masks: Coverage of the person, shape (y, x), of the same cameras.

    Returns:
        Linear colours, shape (point, camera, 3); NaN where a camera does not see the point.
    """
    cameras = [camera for camera in rig.cameras if camera.id in pictures]
    points = carve(cameras, masks)
    colors = np.full((len(points), len(rig.cameras), 3), np.nan)
    if len(points) == 0:
        return colors
    for camera in cameras:
        pixels, depth = _projected(camera, points)
        voxel_px = FINE_M * camera.intrinsics[0, 0] / float(np.median(depth))
        seen = _is_first(camera, pixels, depth, voxel_px)
        margin = 2 * max(1, round(BORDER * voxel_px)) + 1
        inside = cv2.erode(masks[camera.id], np.ones((margin, margin), np.uint8)) > 250
        smooth = cv2.blur(pictures[camera.id], (max(1, round(voxel_px)),) * 2)
        column, row = np.round(pixels[seen]).astype(int).T
        found = np.where(inside[row, column, None], smooth[row, column], np.nan)
        exposed = ((found > EXPOSED[0]) & (found < EXPOSED[1])).all(axis=1)
        colors[np.flatnonzero(seen)[exposed], rig.cameras.index(camera)] = found[exposed]
    return np.asarray(colors[np.isfinite(colors[..., 0]).sum(axis=1) >= 2])


def carve(cameras: list[Camera], masks: Mapping[str, UInt8Array]) -> FloatArray:
    """Middles of voxels that every camera sees inside its mask, shape (n, 3), m: the visual hull."""
    middle = _watched(cameras)
    steps = np.arange(-REACH_M, REACH_M, COARSE_M) + COARSE_M / 2
    points, side = middle + np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3), COARSE_M
    while True:
        for camera in cameras:
            points = points[_is_inside(camera, masks[camera.id], points, 0.0 if side <= FINE_M else side)]
            if len(points) == 0:
                return points
        if side <= FINE_M:
            return points
        side /= 2
        eighths = np.stack(np.meshgrid(*[[-side / 2, side / 2]] * 3), axis=-1).reshape(-1, 3)
        points = (points[:, None] + eighths).reshape(-1, 3)


def _is_inside(camera: Camera, mask: UInt8Array, points: FloatArray, side: float) -> npt.NDArray[np.bool_]:
    """Whether voxels around ``points`` may show inside the mask, shape (n,); of no extent, whether the points do."""
    pixels, depth = _projected(camera, points)
    if side:
        reach = int(np.ceil(np.sqrt(3) / 2 * side * camera.intrinsics[0, 0] / max(float(np.median(depth)), 0.1)))
        mask = np.asarray(cv2.dilate(mask, np.ones((2 * reach + 1,) * 2, np.uint8)))
    column, row = np.round(pixels).astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < camera.width) & (row < camera.height) & (depth > 0.1)
    found = mask[np.clip(row, 0, camera.height - 1), np.clip(column, 0, camera.width - 1)]
    return np.asarray((found > 127) & inside)


def _watched(cameras: list[Camera]) -> FloatArray:
    """The point nearest to all optical axes, shape (3,)."""
    axes = np.array([camera.world_from_camera[:3, 2] for camera in cameras])
    across = np.eye(3) - axes[:, :, None] * axes[:, None]
    centres = np.array([camera.centre for camera in cameras])
    return np.asarray(np.linalg.lstsq(across.sum(axis=0), np.einsum("kij,kj->i", across, centres), rcond=None)[0])


def _projected(camera: Camera, points: FloatArray) -> tuple[FloatArray, FloatArray]:
    pose = camera.camera_from_world
    return camera.project(points), points @ pose[2, :3] + pose[2, 3]


def _is_first(camera: Camera, pixels: FloatArray, depth: FloatArray, voxel_px: float) -> npt.NDArray[np.bool_]:
    """Whether nothing of the hull lies before a voxel, shape (n,)."""
    cell = max(1.0, voxel_px)
    column, row = np.floor(pixels / cell).astype(int).T
    nearest = np.full((int(camera.height / cell) + 1, int(camera.width / cell) + 1), np.inf, np.float32)
    np.minimum.at(nearest, (row, column), depth.astype(np.float32))
    closed = cv2.erode(nearest, np.ones((3, 3), np.uint8))  # the smallest of the neighbours: gaps between voxels
    return np.asarray(depth <= closed[row, column] + 2.5 * FINE_M)


def fit_gains(shared: FloatArray, names: tuple[str, ...], reference: str | None) -> FloatArray:
    """Gain of each channel of each camera, shape (camera, 3): of ``reference`` 1, or 1 on (geometric) average.

    Args:
        shared: As `shared_colors`, of any number of moments, shape (point, camera, 3).
        names: Of the cameras.
        reference: The camera that is right; None: their average is.

    Raises:
        CalibrationError: A camera shares too little with the others.
    """
    count = len(names)
    rows, values = [], []
    for a, b in combinations(range(count), 2):
        ratio = np.log(shared[:, a]) - np.log(shared[:, b])
        ratio = ratio[np.isfinite(ratio).all(axis=1)]
        if len(ratio) >= MIN_SHARED:
            weight = np.sqrt(len(ratio))
            row = np.zeros(count)
            row[[a, b]] = -weight, weight  # gain_a * x_a = gain_b * x_b
            rows.append(row)
            values.append(weight * _most_common(ratio))
    reached = _connected(np.array(rows).reshape(-1, count), 0 if reference is None else names.index(reference))
    lost = [name for name, is_reached in zip(names, reached, strict=True) if not is_reached]
    if lost:
        raise CalibrationError(
            f"camera {', '.join(lost)}: shares fewer than {MIN_SHARED} points of the person with the others",
            hint="litdome color SESSION --charts DIR",
        )
    anchor = np.ones(count) if reference is None else np.eye(count)[names.index(reference)]
    design = np.vstack([*rows, anchor * len(shared)])
    logs = np.linalg.lstsq(design, np.vstack([*values, np.zeros(3)]), rcond=None)[0]
    return np.asarray(np.exp(logs))


def differences(shared: FloatArray, gains: FloatArray) -> FloatArray:
    """Median CIEDE2000 between a camera and those it shares points with, on average over these; shape (camera,)."""
    count = len(gains)
    colors, found = shared * gains, np.full((count, count), np.nan)
    for a, b in combinations(range(count), 2):
        both = np.isfinite(colors[:, [a, b], 0]).all(axis=1)
        if both.sum() >= MIN_SHARED:
            found[a, b] = found[b, a] = np.median(delta_e_2000(colors[both, a], colors[both, b]))
    known = np.isfinite(found)
    return np.asarray(np.where(known, found, 0).sum(axis=1) / np.where(known.any(axis=1), known.sum(axis=1), np.nan))


def _most_common(ratios: FloatArray) -> FloatArray:
    """Where log ratios, shape (n, 3), lie closest together: those of points that are not the same are all over."""
    middle = np.median(ratios, axis=0)
    for reach in np.geomspace(8 * SAME, SAME, 12):
        near = np.linalg.norm(ratios - middle, axis=1) < reach
        if near.sum() < MIN_SHARED // 10:
            break
        middle = ratios[near].mean(axis=0)
    return middle


def _connected(rows: FloatArray, start: int) -> npt.NDArray[np.bool_]:
    reached = np.zeros(rows.shape[1], bool)
    reached[start] = True
    for _ in range(len(reached)):
        touched = (rows != 0) & (rows[:, reached] != 0).any(axis=1, keepdims=True)
        reached |= touched.any(axis=0)
    return reached

"""Corners of a board to a few hundredths of a pixel: a blurred crossing of two edges is fitted to the picture.

A ChArUco marker comes near the corner but never near the whole length of its edges, so the fit looks at a cross along
the edges, clear of the markers. Source: the model is two edges blurred by a Gaussian, fitted by Levenberg-Marquardt.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy.special import erf

from litdome.calib.boards.spec import BoardSpec, FloatArray

REACH_PX = 8  # the fit looks this far along the edges: farther, distorted edges are no longer straight
REACH_SQUARES = 0.45  # and never as far as the next corner
ITERATIONS = 14
BLUR_START_PX, BLUR_RANGE_PX = 1.2, (0.3, 5.0)  # the sensor's own pixels blur by 0.29 px
CONVERGED_PX = 2e-3
MAX_STD_PX = 0.2  # of a corner that is believed
MAX_MOVE_SQUARES, MIN_MOVE_PX = 0.12, 1.5  # from where it was looked for


@dataclass(frozen=True, eq=False)
class FittedCorners:
    """Corners as fitted, n of them.

    Attributes:
        pixels: Shape (n, 2), px.
        std_px: How well each is known, by what the fit leaves over, shape (n,).
        blur_px: Standard deviation of the edges' blur, the wider of the two, shape (n,).
        contrast: Half the step from dark to light, grey levels; its sign tells which squares are dark, shape (n,).
        believed: Whether it is a sharp enough corner of the board, shape (n,), bool.
    """

    pixels: FloatArray
    std_px: FloatArray
    blur_px: FloatArray
    contrast: FloatArray
    believed: npt.NDArray[np.bool_]


def fit_corners(
    grey: npt.NDArray[np.uint8], corners: FloatArray, ids: npt.NDArray[np.int32], spec: BoardSpec
) -> FittedCorners:
    """Fit the corners of one view.

    Args:
        grey: The picture, shape (y, x).
        corners: Where they are to 1.5 px or so, shape (n, 2), px; not all on one line.
        ids: Which they are, shape (n,).
        spec: The board.
    """
    axes = _board_axes(corners, ids, spec)  # (n, 2 image, 2 board), px per square
    offsets, weights = _cross(axes, spec)
    at = (corners[:, None] + offsets).astype(np.float32)
    picture = cv2.remap(
        grey.astype(np.float32), at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    size = np.array(grey.shape[::-1]) - 1
    weights = weights * ((at >= 0) & (at <= size)).all(axis=-1)
    x, left, normal = _fit(picture.astype(np.float64), offsets, weights, axes)
    samples = np.maximum(weights.sum(axis=1) - x.shape[1], 1)
    noise = np.sqrt((weights * left**2).sum(axis=1) / samples)
    covariance = np.linalg.inv(normal)
    std = noise * np.sqrt(np.maximum(covariance[:, 0, 0], covariance[:, 1, 1]))
    spacing = np.linalg.norm(axes, axis=1).min(axis=1)
    contrast, blur = x[:, 7], x[:, 4:6].max(axis=1)
    parity = (-1.0) ** (np.add(*np.divmod(ids, spec.columns - 1)))
    sign = np.sign(np.median(np.sign(contrast * parity)))
    believed = (std < MAX_STD_PX) & (contrast * parity * sign > 0) & (blur < BLUR_RANGE_PX[1])
    believed &= np.linalg.norm(x[:, :2], axis=1) < np.maximum(MAX_MOVE_SQUARES * spacing, MIN_MOVE_PX)
    return FittedCorners(corners + x[:, :2], std, blur, contrast, believed)


def _board_axes(corners: FloatArray, ids: npt.NDArray[np.int32], spec: BoardSpec) -> FloatArray:
    """How the board's axes lie in the picture at each corner, shape (n, 2, 2), px per square."""
    board = spec.points[ids, :2] / spec.square_m
    homography = np.asarray(cv2.findHomography(board, corners, 0)[0])
    seen = np.column_stack([board, np.ones(len(board))]) @ homography.T
    depth = seen[:, 2, None, None]
    pixels = (seen[:, :2] / seen[:, 2:])[:, :, None]
    return np.asarray((homography[None, :2, :2] - pixels * homography[None, 2:, :2]) / depth)


def _cross(axes: FloatArray, spec: BoardSpec) -> tuple[FloatArray, FloatArray]:
    """Where to look around each corner: offsets, shape (n, sample, 2), px, and weights 0 or 1, shape (n, sample)."""
    length = np.linalg.norm(axes, axis=1)  # px per square along the board's x and y
    reach = np.minimum(REACH_SQUARES, REACH_PX / length)
    step = np.arange(-REACH_PX, REACH_PX + 1) / REACH_PX
    v, u = np.meshgrid(step, step, indexing="ij")
    board = np.stack([u.ravel(), v.ravel()], axis=1) * reach[:, None]  # (n, sample, 2), squares
    offsets = np.einsum("nij,nkj->nki", axes, board)
    to_marker = (1 - spec.marker_m / spec.square_m) / 2 if spec.kind == "charuco" else 1.0
    clear = np.maximum(to_marker * length - 1.5, 1.0)[:, None]  # px from an edge, less what blur spreads
    near = (np.abs(board) * length[:, None]) <= clear
    return offsets, near.any(axis=-1).astype(np.float64)


def _fit(
    picture: FloatArray, offsets: FloatArray, weights: FloatArray, axes: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Levenberg-Marquardt over all corners at once.

    Returns:
        x, shape (n, 8): where the corner is from the start (x, y), the angles of the two edges' normals, their blurs,
        middle grey, contrast; what is left over, shape (n, sample); the normal matrix, shape (n, 8, 8).
    """
    n = len(picture)
    x = np.zeros((n, 8))
    x[:, 2] = np.arctan2(-axes[:, 0, 1], axes[:, 1, 1])  # normal of the edge along the board's y
    x[:, 3] = np.arctan2(axes[:, 0, 0], -axes[:, 1, 0])
    x[:, 4:6] = BLUR_START_PX
    total = np.maximum(weights.sum(axis=1), 1)
    model, _ = _crossing(x, offsets, with_slopes=False)
    centred = model - ((weights * model).sum(axis=1) / total)[:, None]
    x[:, 7] = (weights * centred * picture).sum(axis=1) / np.maximum((weights * centred**2).sum(axis=1), 1e-9)
    x[:, 6] = ((weights * picture).sum(axis=1) - x[:, 7] * (weights * model).sum(axis=1)) / total
    damping = np.full(n, 1e-3)
    left, slopes = _left_over(picture, offsets, x)
    cost = (weights * left**2).sum(axis=1)
    for _ in range(ITERATIONS):
        weighted = slopes * weights[..., None]
        normal = np.swapaxes(weighted, 1, 2) @ slopes
        gradient = np.einsum("nki,nk->ni", weighted, left)
        diagonal = np.einsum("nii->ni", normal)
        damped = normal + np.eye(8) * (damping[:, None] * diagonal + 1e-6)[:, None]
        step = np.linalg.solve(damped, gradient[..., None])[..., 0]
        step[:, :2] = np.clip(step[:, :2], -1.5, 1.5)
        tried = x + step
        tried[:, 4:6] = np.clip(tried[:, 4:6], *BLUR_RANGE_PX)
        new_left, new_slopes = _left_over(picture, offsets, tried)
        new_cost = (weights * new_left**2).sum(axis=1)
        better = new_cost < cost
        x[better], left[better], slopes[better], cost[better] = (
            tried[better],
            new_left[better],
            new_slopes[better],
            new_cost[better],
        )
        damping = np.where(better, damping / 5, damping * 8)
        if not (better & (np.abs(step[:, :2]).max(axis=1) > CONVERGED_PX)).any():
            break
    normal = np.swapaxes(slopes * weights[..., None], 1, 2) @ slopes
    return x, left, normal + np.eye(8) * 1e-6


def _left_over(picture: FloatArray, offsets: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Picture minus model, shape (n, sample), and the model's slopes by x, shape (n, sample, 8)."""
    model, slopes = _crossing(x, offsets)
    slopes[..., :6] *= x[:, None, 7:8]
    slopes[..., 6], slopes[..., 7] = 1.0, model
    return picture - x[:, 6:7] - x[:, 7:8] * model, slopes


def _crossing(x: FloatArray, offsets: FloatArray, *, with_slopes: bool = True) -> tuple[FloatArray, FloatArray]:
    """A blurred crossing of unit contrast, shape (n, sample), and its slopes by the first six of x."""
    from_corner = offsets - x[:, None, :2]
    sides, slopes = [], np.empty((*offsets.shape[:2], 8 if with_slopes else 0))
    for angle, blur in ((x[:, 2], x[:, 4]), (x[:, 3], x[:, 5])):
        normal = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        along = np.stack([-normal[:, 1], normal[:, 0]], axis=1)
        scaled = (from_corner @ normal[..., None])[..., 0] / (np.sqrt(2) * blur[:, None])
        sides.append((erf(scaled), scaled, normal, (from_corner @ along[..., None])[..., 0], blur))
    model = sides[0][0] * sides[1][0]
    if with_slopes:
        slopes[..., :2] = 0
        for k, (_, scaled, normal, along_px, blur) in enumerate(sides):
            peak = sides[1 - k][0] * np.exp(-(scaled**2)) * (np.sqrt(2 / np.pi) / blur)[:, None]
            slopes[..., :2] -= peak[..., None] * normal[:, None]
            slopes[..., 2 + k] = peak * along_px
            slopes[..., 4 + k] = -peak * scaled * np.sqrt(2)
    return np.asarray(model), slopes

"""Finding a 24-patch colour chart in a picture, partly hidden or turned as it may be, and reading its patches.

Patches are found as quadrilaterals that lie on a lattice; where the chart lies on that lattice, and which way up, is
decided by the order of its colours alone. OpenCV's own detector (cv2.mcc) has no such check: docs/color.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from litdome.color import COLORCHECKER_24, srgb_from_linear
from litdome.errors import CalibrationError

FloatArray = npt.NDArray[np.float64]
UInt8Array = npt.NDArray[np.uint8]
COLUMNS, ROWS = 6, 4
CELLS = np.array([(x, y) for y in range(ROWS) for x in range(COLUMNS)], float)  # middles of the patches, in pitches
CORNERS = np.array([(0, 0), (5, 0), (5, 3), (0, 3)], float)  # dark skin, bluish green, black, white
CORE = 0.25  # half side of the part of a patch that is read, pitches; a patch's own is at least 0.4
WORK_PX = 1000  # long side at which patches are looked for
MIN_SIDE_PX = 6  # of a patch, at that size
PITCH = (1.08, 1.45)  # of a patch's side: charts of all makers
MIN_LATTICE = 6  # patches that must be found as quadrilaterals
SEEN = 14  # of the 24 patches, the colours that must agree
MAX_ERROR = 0.075  # of those, mean, display-referred; wrong placements have 0.11 and more
MIN_MARGIN = 1.25  # the next best placement must be this much worse
MAX_SPREAD = 0.06  # standard deviation inside one even patch, display-referred
CLIPPED = 250 / 255  # a channel that reaches this says nothing
Quads = list[FloatArray]


@dataclass(frozen=True, eq=False)
class ChartView:
    """A chart in a picture.

    Attributes:
        corners: Middles of the corner patches dark skin, bluish green, black, white; shape (4, 2), px.
        error: How far the colours are from the chart's after a gain and an offset per channel, display-referred.
    """

    corners: FloatArray
    error: float


@dataclass(frozen=True, eq=False)
class PatchReading:
    """What a picture says about the patches.

    Attributes:
        linear: Mean linear light, shape (24, 3); NaN outside the picture.
        usable: Neither clipped nor covered nor outside, shape (24,).
        clipped: A channel reaches the end of its range, shape (24,).
    """

    linear: FloatArray
    usable: npt.NDArray[np.bool_]
    clipped: npt.NDArray[np.bool_]


def find_chart(picture: UInt8Array, name: str = "picture") -> ChartView | None:
    """Where the chart is in a display-referred picture, shape (y, x, 3), RGB; None where none is found.

    Args:
        picture: RGB.
        name: What errors call it.

    Raises:
        CalibrationError: The chart is seen as in a mirror: the picture is flipped.
    """
    scale = min(1.0, WORK_PX / max(picture.shape[:2]))
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    lattice = _largest_lattice(_patch_quads(np.asarray(small)))
    if lattice is None:
        return None
    cells, centres = lattice
    to_picture, inliers = cv2.findHomography(cells, centres, cv2.RANSAC, 0.15 * _spacing(cells, centres))
    if to_picture is None or inliers.sum() < MIN_LATTICE:
        return None
    placed = sorted(_placements(np.asarray(small), to_picture, cells[inliers.ravel() > 0]), key=lambda found: found[0])
    if not placed or placed[0][0] > MAX_ERROR:
        return None
    error, corners, is_mirrored = placed[0]
    rivals = [other for other, at, _ in placed[1:] if np.abs(at - corners).max() > 1]
    if rivals and rivals[0] < MIN_MARGIN * error:
        return None
    if is_mirrored:
        raise CalibrationError(
            f"{name}: the colour chart is seen as in a mirror", hint="give a picture that is not flipped"
        )
    return ChartView((corners + 0.5) / scale - 0.5, error)


def read_patches(display: FloatArray, linear: FloatArray, corners: FloatArray) -> PatchReading:
    """The patches' colours.

    Args:
        display: Display-referred picture, shape (y, x, 3), 0..1: says what is clipped or uneven.
        linear: The same in linear light.
        corners: As `ChartView.corners`.
    """
    pixels = [_patch_pixels(display.shape[:2], square) for square in _cores(corners)]
    means, even, clipped = np.full((24, 3), np.nan), np.zeros(24, bool), np.zeros(24, bool)
    for k, (rows, columns) in enumerate(pixels):
        if len(rows) == 0:
            continue
        values = display[rows, columns]
        means[k] = linear[rows, columns].mean(axis=0)
        even[k] = values.std(axis=0).max() <= MAX_SPREAD
        clipped[k] = ((values >= CLIPPED).mean(axis=0).max() > 0.02) | ((values <= 0).mean(axis=0).max() > 0.02)
    return PatchReading(means, even & ~clipped & np.isfinite(means).all(axis=1), clipped)


def _cores(corners: FloatArray) -> FloatArray:
    """The part of each patch that is read, shape (24, 4, 2), px."""
    to_picture = cv2.getPerspectiveTransform(CORNERS.astype(np.float32), corners.astype(np.float32))
    square = np.array([(-CORE, -CORE), (CORE, -CORE), (CORE, CORE), (-CORE, CORE)])
    return _mapped(to_picture, CELLS[:, None] + square)


def _patch_pixels(size: tuple[int, ...], square: FloatArray) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows and columns of the pixels inside; none when a part of it is outside the picture."""
    if (square < 0).any() or (square > np.array(size[::-1]) - 1).any():
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    origin = np.floor(square.min(axis=0)).astype(int)
    extent = np.ceil(square.max(axis=0)).astype(int) - origin + 1
    inside = cv2.fillConvexPoly(np.zeros(extent[::-1], np.uint8), np.round(square - origin).astype(np.int32), 1)
    rows, columns = np.nonzero(inside)
    return rows + origin[1], columns + origin[0]


def _patch_quads(picture: UInt8Array) -> Quads:
    """Quadrilaterals brighter than what is around them in some channel, the outermost of those that lie in another."""
    found: Quads = []
    for channel in (*cv2.split(picture), picture.max(axis=2)):
        for block in (25, 61, 121):
            for offset in (-2, -6):
                lit = cv2.adaptiveThreshold(channel, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, block, offset)
                opened = cv2.morphologyEx(lit, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
                outlines, _ = cv2.findContours(opened, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
                found += [quad for outline in outlines if (quad := _as_quad(outline, channel.size)) is not None]
    kept: Quads = []
    for quad in sorted(found, key=lambda quad: -cv2.contourArea(quad.astype(np.float32))):
        centre, side = quad.mean(axis=0), _side(quad)
        if all(np.linalg.norm(other.mean(axis=0) - centre) > 0.25 * side for other in kept):
            kept.append(quad)
    return kept


def _as_quad(outline: npt.NDArray[Any], picture_area: int) -> FloatArray | None:
    area = cv2.contourArea(outline)
    if not MIN_SIDE_PX**2 <= area <= picture_area / 24:
        return None
    hull = cv2.convexHull(outline)
    corners = cv2.approxPolyDP(hull, 0.08 * cv2.arcLength(hull, True), True)[:, 0].astype(float)
    if len(corners) != 4 or area < 0.85 * cv2.contourArea(hull):
        return None
    edges = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
    return corners if edges.min() > 0.5 * edges.max() else None


def _side(quad: FloatArray) -> float:
    return float(np.sqrt(cv2.contourArea(quad.astype(np.float32))))


def _largest_lattice(quads: Quads) -> tuple[FloatArray, FloatArray] | None:
    """Integer places, shape (n, 2), and centres, shape (n, 2), px, of the most quads that lie on one lattice."""
    if len(quads) < MIN_LATTICE:
        return None
    centres = np.array([quad.mean(axis=0) for quad in quads])
    sides = np.array([_side(quad) for quad in quads])
    best: dict[int, tuple[int, int]] = {}
    for seed in range(len(quads)):
        alike = np.flatnonzero(np.abs(np.log(sides / sides[seed])) < 0.4)
        if len(alike) > len(best) and seed not in best:
            grown = _grown(seed, quads[seed], centres, alike)
            best = grown if len(grown) > len(best) else best
    if len(best) < MIN_LATTICE:
        return None
    return np.array(list(best.values()), float), centres[list(best)]


def _grown(seed: int, quad: FloatArray, centres: FloatArray, alike: npt.NDArray[np.intp]) -> dict[int, tuple[int, int]]:
    """Places of quads around a seed, step by step: each neighbour lies where the last step between two did."""
    right, down = (quad[1] - quad[0] + quad[2] - quad[3]) / 2, (quad[3] - quad[0] + quad[2] - quad[1]) / 2
    steps = {(1, 0): right, (0, 1): down}
    places, queue = {seed: (0, 0)}, [(seed, steps)]
    pitch = PITCH
    while queue:
        at, steps = queue.pop(0)
        for axis, sign in (((1, 0), 1), ((1, 0), -1), ((0, 1), 1), ((0, 1), -1)):
            place = (places[at][0] + sign * axis[0], places[at][1] + sign * axis[1])
            if place in places.values():
                continue
            reach = np.linalg.solve(np.stack([steps[1, 0], steps[0, 1]], axis=1), (centres[alike] - centres[at]).T).T
            along, across = reach @ np.array(axis) * sign, np.abs(reach @ np.array(axis[::-1]))
            near = alike[(along >= pitch[0]) & (along <= pitch[1]) & (across < 0.2)]
            near = near[[index not in places for index in near]] if len(near) else near
            if len(near) == 0:
                continue
            found = int(near[np.argmin(np.linalg.norm(centres[near] - centres[at], axis=1))])
            places[found] = place
            scale = np.linalg.norm(centres[found] - centres[at]) / np.linalg.norm(steps[axis])
            turned = sign * (centres[found] - centres[at]) / scale
            queue.append((found, {**steps, axis: turned}))
    return places


def _spacing(cells: FloatArray, centres: FloatArray) -> float:
    """Median distance of neighbours on the lattice, px."""
    distance = np.linalg.norm(centres[:, None] - centres, axis=2)
    return float(np.median(distance[np.abs(cells[:, None] - cells).sum(axis=2) == 1]))


def _placements(
    picture: UInt8Array, to_picture: FloatArray, cells: FloatArray
) -> Iterator[tuple[float, FloatArray, bool]]:
    """Error, corners (shape (4, 2), px) and whether mirrored, of every way to lay the chart over the lattice."""
    blurred = cv2.blur(picture, (3, 3)).astype(np.float64) / 255
    low, high = cells.min(axis=0).astype(int), cells.max(axis=0).astype(int)
    reference = np.asarray(srgb_from_linear(COLORCHECKER_24), np.float64)
    for columns, rows in ((COLUMNS, ROWS), (ROWS, COLUMNS)):
        for x in range(high[0] - columns + 1 - 1, low[0] + 2):
            for y in range(high[1] - rows + 1 - 1, low[1] + 2):
                if _share_inside(cells, (x, y), (columns, rows)) < 0.8:
                    continue
                places = np.array([[(x + i, y + j) for i in range(columns)] for j in range(rows)], float)
                colours = _sampled(blurred, _mapped(to_picture, places))
                for turned, flipped in ((t, f) for t in range(4) for f in (False, True)):
                    grid = np.rot90(colours, turned)
                    at = np.rot90(places, turned)
                    grid, at = (grid[:, ::-1], at[:, ::-1]) if flipped else (grid, at)
                    if grid.shape[:2] != (ROWS, COLUMNS):
                        continue
                    corners = _mapped(to_picture, at[[0, 0, -1, -1], [0, -1, -1, 0]])
                    yield _colour_error(grid.reshape(24, 3), reference), corners, _is_mirrored(corners)


def _share_inside(cells: FloatArray, first: tuple[int, int], size: tuple[int, int]) -> float:
    inside = (cells >= first) & (cells < np.array(first) + size)
    return float(inside.all(axis=1).mean())


def _is_mirrored(corners: FloatArray) -> bool:
    (ax, ay), (bx, by) = corners[1] - corners[0], corners[3] - corners[0]
    return bool(ax * by - ay * bx < 0)


def _sampled(picture: FloatArray, at: FloatArray) -> FloatArray:
    """Colours at positions, shape (..., 2); NaN outside."""
    column, row = np.round(at[..., 0]).astype(int), np.round(at[..., 1]).astype(int)
    inside = (column >= 0) & (row >= 0) & (column < picture.shape[1]) & (row < picture.shape[0])
    found = picture[np.clip(row, 0, picture.shape[0] - 1), np.clip(column, 0, picture.shape[1] - 1)]
    return np.where(inside[..., None], found, np.nan)


def _colour_error(measured: FloatArray, reference: FloatArray) -> float:
    """Mean absolute error of the `SEEN` best patches after a gain and an offset per channel, fitted to those."""
    seen = np.flatnonzero(np.isfinite(measured).all(axis=1))
    if len(seen) < SEEN:
        return np.inf
    kept = seen
    for count in (len(seen), (len(seen) + SEEN) // 2, SEEN, SEEN, SEEN):
        residual = np.zeros(24)
        for c in range(3):
            design = np.stack([measured[:, c], np.ones(24)], axis=1)
            fit, *_ = np.linalg.lstsq(design[kept], reference[kept, c], rcond=None)
            residual += np.abs(design @ np.array([max(fit[0], 0.2), fit[1]]) - reference[:, c]) / 3
        kept = seen[np.argsort(residual[seen])[:count]]
    return float(residual[kept].mean())


def _mapped(homography: npt.NDArray[Any], points: FloatArray) -> FloatArray:
    """Points, shape (..., 2), through a homography."""
    found = cv2.perspectiveTransform(points.reshape(-1, 1, 2).astype(np.float64), np.asarray(homography, np.float64))
    return np.asarray(found).reshape(points.shape)

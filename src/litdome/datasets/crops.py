"""Crops of face and hands at the recorded resolution: a window of constant size that follows the part in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from litdome.datasets.spec import Region
from litdome.errors import UsageError
from litdome.geometry import Camera, FloatArray, Resampler, scaled_intrinsics
from litdome.store.session import Session

UInt8Array = npt.NDArray[np.uint8]
SEARCH_LONG_SIDE_PX = 960  # where parts are looked for; a window needs no finer centre
SMALL = 0.25  # a part smaller than this share of the largest is no candidate
ROOM = 1.25  # a window shows this much around the part
SMOOTH_PAIRS = 2  # on both sides
JUMP = 0.25  # of the window: farther is another hand, not motion


@dataclass(frozen=True, eq=False)
class CropPath:
    """Where one camera's window lies.

    Attributes:
        camera: The camera that recorded.
        size: Side of the window, px.
        scale: Of the window's pixels against the recorded ones: 1, or less where the part would not fit.
        pairs: The pairs that were looked at, rising, shape (pair,).
        corner: First column and row of each window in the undistorted, scaled picture, shape (pair, 2), int.
        seen: Whether the part was found, shape (pair,).
    """

    camera: Camera
    size: int
    scale: float
    pairs: npt.NDArray[np.intp]
    corner: npt.NDArray[np.int64]
    seen: npt.NDArray[np.bool_]

    def row(self, pair: int) -> int | None:
        """Row of a pair; None where there is no crop of it."""
        row = int(np.searchsorted(self.pairs, pair))
        return row if row < len(self.pairs) and self.pairs[row] == pair and self.seen[row] else None

    def target(self, x: int, y: int, width: int, height: int) -> Camera:
        """The camera of a window of the undistorted, scaled picture."""
        intrinsics = scaled_intrinsics(self.camera.intrinsics, self.scale, self.scale)
        intrinsics[:2, 2] -= x, y
        return replace(self.camera.undistorted(), width=width, height=height, intrinsics=intrinsics)

    def intrinsics(self, pair: int) -> FloatArray:
        """K of a pair's window, shape (3, 3), px; of the picture's first corner where there is no crop."""
        x, y = (0, 0) if (row := self.row(pair)) is None else self.corner[row].tolist()
        return self.target(x, y, self.size, self.size).intrinsics

    def windows(self, pairs: Sequence[int]) -> dict[int, Resampler]:
        """The lookup of each pair's window, from one lookup around all of them; pairs without the part are left out."""
        rows = [row for pair in pairs if (row := self.row(pair)) is not None]
        if not rows:
            return {}
        low = self.corner[rows].min(axis=0)
        width, height = (self.corner[rows].max(axis=0) - low + self.size).tolist()
        around = Resampler.between(self.camera, self.target(int(low[0]), int(low[1]), width, height))
        found = {}
        for row in rows:
            x, y = (self.corner[row] - low).tolist()
            part = slice(y, y + self.size), slice(x, x + self.size)
            maps = [np.ascontiguousarray(positions[part]) for positions in (around.map_x, around.map_y)]
            own = self.target(int(self.corner[row, 0]), int(self.corner[row, 1]), self.size, self.size)
            found[int(self.pairs[row])] = replace(around, target=own, map_x=maps[0], map_y=maps[1])
        return found


def need_parts(session: Session, camera: str, regions: Sequence[Region]) -> None:
    """Refuse crops of what no network has labelled.

    Raises:
        UsageError: No part labels, or none of a region.
    """
    for region in regions:
        if not len(region_labels(session, camera, region)):
            raise UsageError(
                f"{session.url}: camera {camera} has no part labels of {region} to crop around",
                hint=f"litdome segment {session.url} --set segment.source=sapiens --set segment.weights=FILE",
            )


def region_labels(session: Session, camera: str, region: str) -> npt.NDArray[np.intp]:
    """Labels of ``parts`` that belong to a region; none without labels."""
    path = f"cameras/{camera}/flat/parts"
    regions = cast(list[str], session.array(path).attrs["regions"]) if session.has(path) else []
    return np.flatnonzero(np.array(regions, dtype=str) == region)


def follow_region(session: Session, camera: Camera, region: Region, pairs: Sequence[int], size: int) -> CropPath:
    """Where a window of ``size`` px lies in each of ``pairs``: on the part as the flat picture shows it, one hand
    followed while it is in sight, smoothed over neighbouring pairs.

    A part larger than the window is scaled down to fit, by one scale a camera; nothing is ever scaled up.
    """
    labels = region_labels(session, camera.id, region)
    centres, sides = np.full((len(pairs), 2), np.nan), np.zeros(len(pairs))
    last: tuple[int, int] | None = None
    for row, pair in enumerate(pairs):
        n = int(session.pairs.flat[pair])
        if last is not None and last[0] == n:
            centres[row], sides[row] = centres[last[1]], sides[last[1]]
            continue
        parts = session.read_at(f"cameras/{camera.id}/flat/parts", n)
        known = centres[:row][np.isfinite(centres[:row, 0])]
        found = find_part(np.isin(parts, labels), known[-1] if len(known) else None)
        if found is not None:
            centres[row], sides[row] = found
        last = (n, row)
    seen = np.isfinite(centres[:, 0])
    largest = float(np.percentile(sides[seen], 95)) if seen.any() else 0.0
    scale = min(1.0, size / max(ROOM * largest, 1.0))
    centres[seen] = (camera.undistort_pixels(centres[seen]) + 0.5) * scale - 0.5 if seen.any() else centres[seen]
    centres = smooth_centres(centres, JUMP * size)
    limits = np.maximum(np.array([camera.width, camera.height]) * scale - size, 0)
    corner = np.clip(np.round(np.nan_to_num(centres) - (size - 1) / 2), 0, np.floor(limits)).astype(np.int64)
    return CropPath(camera, size, scale, np.array(pairs, np.intp), corner, seen)


def find_part(mask: npt.NDArray[np.bool_], near: FloatArray | None) -> tuple[FloatArray, float] | None:
    """The part to follow among those that a mask shows: the one nearest to ``near``, else the largest.

    Args:
        mask: Shape (y, x).
        near: Where it was before, (x, y), px.

    Returns:
        Centre of its box, (x, y), and the longer side of the box, px; None in an empty mask.
    """
    step = max(1, -(-max(mask.shape) // SEARCH_LONG_SIDE_PX))
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask[::step, ::step].astype(np.uint8))
    if count < 2:
        return None
    stats = stats[1:].astype(np.float64)
    stats = stats[stats[:, cv2.CC_STAT_AREA] >= SMALL * stats[:, cv2.CC_STAT_AREA].max()]
    sides = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
    centres = (stats[:, [cv2.CC_STAT_LEFT, cv2.CC_STAT_TOP]] + (sides - 1) / 2) * step
    if near is None:
        best = int(stats[:, cv2.CC_STAT_AREA].argmax())
    else:
        best = int(np.linalg.norm(centres - near, axis=1).argmin())
    return centres[best], float(sides[best].max() * step)


def smooth_centres(centres: FloatArray, jump_px: float) -> FloatArray:
    """Mean over the neighbours in time that are seen and no farther than ``jump_px``; shape (n, 2), NaN stays."""
    found = centres.copy()
    for row in np.flatnonzero(np.isfinite(centres[:, 0])):
        around = centres[max(0, row - SMOOTH_PAIRS) : row + SMOOTH_PAIRS + 1]
        near = np.linalg.norm(around - centres[row], axis=1) <= jump_px  # NaN is no neighbour
        found[row] = around[near].mean(axis=0)
    return found

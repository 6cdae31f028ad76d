"""The flat picture moved to the relit frame's time, and how far to trust it, per pixel."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from litdome.geometry import REFERENCE_HEIGHT_PX
from litdome.preprocess.flow import shrink, working_size
from litdome.preprocess.motion import FIELD_LONG_SIDE_PX, MOTION_LONG_SIDE_PX, Motion, pixel_grid, warp
from litdome.preprocess.motion_edges import resize_motion, settle_edges
from litdome.preprocess.relit_motion import RelitMotion, relit_motion
from litdome.stage import UInt8Array

Float32Array = npt.NDArray[np.float32]
EDGE_LONG_SIDE_PX = 320  # of the pictures that say where motion ends: 480 and 640 gained 0.02 dB
SMOOTH_PX = 2.0  # of what speaks against a motion, standard deviation
EVEN_SHARE = 0.02  # shares of a blend that differ by less are one: below half a code where sides differ by 25
TILE_PX = 64  # of the full picture: tiles in which nothing moves need no looking up
STILL_PX = 1.0  # of the full picture: what moves less, flow or noise, is averaged where it is
# Weights of what speaks against a motion, as logarithms: astray, unsteady, pictures apart, texture; and an offset.
# Fitted to the odds of an error above 1 px of 640 on cameras c01 and c02 of the real walk (docs/benchmarks.md).
DOUBT = (0.97, 0.77, 0.98, -0.77, -2.87)
CONTINUED_DOUBT = (0.93, 1.26, 0.0, 0.12, 0.83)  # after the last flat frame, where no second picture contradicts
ERROR_AT_EVEN_ODDS_PX, ERROR_GROWTH = 1.4, 0.42  # mean error by doubt, on the same pixels


@dataclass(frozen=True, eq=False)
class Compensated:
    """A flat picture at the relit time; fields lie on the relit picture, at the motion's working size, shape (y, x).

    Attributes:
        picture: Shape (y, x, 3), uint8, full size.
        field: Where each point is in both flat pictures, at the smaller size at which that is known.
        shift_px: How far each point is from where it was in the flat picture, px of the full picture.
        reliability: Chance that the motion is right to 1 px of a picture of 640 px, 0..1.
        weight: For a loss that compares with the raw flat picture: 1 / (1 + m^2 + e^2) with the shift m and the
            expected error e of the motion, px at a picture height of 1080; half at 1 px.
        weight_compensated: For a loss that uses `picture`: 1 / (1 + e^2).
    """

    picture: UInt8Array
    field: RelitMotion
    shift_px: Float32Array
    reliability: Float32Array
    weight: Float32Array
    weight_compensated: Float32Array


def compensate(
    motion: Motion,
    flat: UInt8Array,
    next_flat: UInt8Array | None,
    lumas: tuple[UInt8Array, UInt8Array | None] | None = None,
) -> Compensated:
    """Move the flat pictures around a relit frame to its time.

    Args:
        motion: From `read_motion`.
        flat, next_flat: The pair's flat picture and the next one, shape (y, x, 3); None where the pair has none.
        lumas: Of both, shape (y, x), reduced at most to the motion's size, where somebody has them.
    """
    height, width = flat.shape[:2]
    size = working_size(width, height, EDGE_LONG_SIDE_PX)
    luma, next_luma = (
        None if source is None else shrink(source, size) for source in lumas or (_luma(flat), _luma(next_flat))
    )
    assert luma is not None
    field = relit_motion(motion, working_size(width, height, FIELD_LONG_SIDE_PX))
    field = resize_motion(field, size) if next_luma is None else settle_edges(field, luma, next_luma)
    to_flat = field.to_end if next_flat is None else field.to_start
    scale = height / to_flat.shape[0]
    shift_px = cv2.magnitude(to_flat[..., 0], to_flat[..., 1]) * np.float32(scale)
    doubt = doubt_motion(field, luma, next_luma)
    error_px = expected_error_px(doubt) * np.float32(
        REFERENCE_HEIGHT_PX / MOTION_LONG_SIDE_PX * max(flat.shape) / height
    )
    moved_px = shift_px * np.float32(REFERENCE_HEIGHT_PX / height)
    fields = shift_px, 1 / (1 + np.exp(doubt)), 1 / (1 + moved_px**2 + error_px**2), 1 / (1 + error_px**2)
    full = working_size(width, height, MOTION_LONG_SIDE_PX)
    return Compensated(blend_flats(field, flat, next_flat), field, *(_enlarged(values, full) for values in fields))


def doubt_motion(field: RelitMotion, luma: UInt8Array, next_luma: UInt8Array | None) -> Float32Array:
    """Log odds that the motion is wrong by more than 1 px of a picture of 640 px, shape (y, x)."""
    features = doubt_features(field, luma, next_luma)
    *weights, offset = CONTINUED_DOUBT if next_luma is None else DOUBT
    return np.asarray(features @ np.array(weights, np.float32) + np.float32(offset), np.float32)


def doubt_features(field: RelitMotion, luma: UInt8Array, next_luma: UInt8Array | None) -> Float32Array:
    """What speaks for and against a motion, shape (y, x, 4), as the weights in `DOUBT` take it.

    Args:
        field: Of the size of ``luma``.
        luma, next_luma: Of the flat pictures, shape (y, x).
    """
    sides = [warp(luma, field.to_end if next_luma is None else field.to_start)]
    apart = np.zeros(luma.shape, np.float32)
    if next_luma is not None:
        sides.append(warp(next_luma, field.to_end))
        apart = cv2.GaussianBlur(
            cv2.absdiff(*(cv2.blur(side, (3, 3)) for side in sides)).astype(np.float32), (0, 0), SMOOTH_PX
        )
    texture = np.sqrt(np.maximum(cv2.cornerMinEigenVal(sides[0], 5, 3), 0)) * np.float32(20)
    astray = cv2.GaussianBlur(field.astray_px, (0, 0), SMOOTH_PX)
    found = cv2.merge((astray, field.unsteady_px, apart / 3, texture))
    return np.asarray(cv2.log(found + np.float32(0.05)), np.float32)


def expected_error_px(doubt: Float32Array) -> Float32Array:
    """Expected error of a motion by its `doubt_motion`, px of a picture of 640 px, rising."""
    return np.asarray(ERROR_AT_EVEN_ODDS_PX * np.exp(ERROR_GROWTH * doubt), np.float32)


def blend_flats(field: RelitMotion, flat: UInt8Array, next_flat: UInt8Array | None) -> UInt8Array:
    """The flat pictures at the relit time as one, shape (y, x, 3); tiles that stand still are only averaged."""
    sides = [(flat, field.to_end)] if next_flat is None else [(flat, field.to_start), (next_flat, field.to_end)]
    share = float(field.near_end.mean())
    picture = flat.copy() if next_flat is None else cv2.addWeighted(flat, 1 - share, next_flat, share, 0)
    ways = [_SPACE.enlarged(i, way, flat.shape) for i, (_, way) in enumerate(sides)]
    near_end, grid = _SPACE.enlarged(2, field.near_end, flat.shape), pixel_grid(*flat.shape[:2])
    for tile in _moving_tiles([way for _, way in sides], flat.shape):
        found = [
            cv2.remap(side, cv2.add(way[tile], grid[tile]), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for (side, _), way in zip(sides, ways, strict=True)
        ]
        if next_flat is None:
            picture[tile] = found[0]
        elif max(abs(limit - share) for limit in cv2.minMaxLoc(near_end[tile])[:2]) < EVEN_SHARE:
            picture[tile] = cv2.addWeighted(found[0], 1 - share, found[1], share, 0)
        else:
            picture[tile] = cv2.blendLinear(found[0], found[1], 1 - near_end[tile], near_end[tile])
    return np.asarray(picture, np.uint8)


class _Space(threading.local):
    """Fields at full size, kept by each thread: pages new with every picture cost as much as filling them."""

    def __init__(self) -> None:
        self._kept: dict[int, Float32Array] = {}

    def enlarged(self, i: int, field: Float32Array, shape: tuple[int, ...]) -> Float32Array:
        """A field, displacements in px of the picture, at each pixel of a picture of ``shape``; until ``i`` recurs."""
        wanted = (*shape[:2], *field.shape[2:])
        if i not in self._kept or self._kept[i].shape != wanted:
            self._kept[i] = np.empty(wanted, np.float32)
        scale = np.array([shape[1] / field.shape[1], shape[0] / field.shape[0]], np.float32)
        values = field * scale if field.ndim == 3 else field
        return np.asarray(cv2.resize(values, shape[1::-1], dst=self._kept[i], interpolation=cv2.INTER_LINEAR))


_SPACE = _Space()


def _moving_tiles(ways: list[Float32Array], shape: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """Rows and columns of the tiles of a picture of ``shape`` in which any of the motions moves something."""
    moved = np.max([cv2.magnitude(way[..., 0], way[..., 1]) for way in ways], axis=0) * (shape[0] / ways[0].shape[0])
    moving = cv2.dilate(moved, np.ones((3, 3), np.uint8)) > STILL_PX  # a pixel looks one step of the field around it
    for axis in (0, 1):
        starts = np.arange(0, shape[axis], TILE_PX) * moving.shape[axis] // shape[axis]
        moving = np.logical_or.reduceat(moving, starts, axis=axis)
    return [
        (slice(top, min(top + TILE_PX, shape[0])), slice(left, min(left + TILE_PX, shape[1])))
        for top, left in TILE_PX * np.argwhere(moving)
    ]


def _luma(picture: UInt8Array | None) -> UInt8Array | None:
    return None if picture is None else np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def _enlarged(values: npt.NDArray[np.floating], size: tuple[int, int]) -> Float32Array:
    return np.asarray(cv2.resize(values.astype(np.float32), size, interpolation=cv2.INTER_LINEAR))

"""The flat picture moved to the relit frame's time, and how far to trust it, per pixel."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from litdome.geometry import REFERENCE_HEIGHT_PX
from litdome.preprocess.flow import shrink, working_size
from litdome.preprocess.motion import FIELD_LONG_SIDE_PX, MOTION_LONG_SIDE_PX, Motion, warp
from litdome.preprocess.relit_motion import RelitMotion, relit_motion
from litdome.stage import UInt8Array

Float32Array = npt.NDArray[np.float32]
TILE_PX = 64  # of the full picture: tiles in which nothing moves need no looking up
STILL_PX = 1.0  # of the full picture: what moves less, flow or noise, is averaged where it is
# Weights of what speaks against a motion, as logarithms: astray, unsteady, pictures apart, texture; and an offset.
# Fitted to the odds of an error above 1 px of 640 on cameras c01 and c02 of the real walk (docs/benchmarks.md).
DOUBT = (1.11, 0.83, 0.83, -0.84, -2.1)
CONTINUED_DOUBT = (0.93, 1.26, 0.0, 0.12, 0.83)  # after the last flat frame, where no second picture contradicts
ERROR_AT_EVEN_ODDS_PX, ERROR_GROWTH = 1.4, 0.42  # mean error by doubt, on the same pixels


@dataclass(frozen=True, eq=False)
class Compensated:
    """A flat picture at the relit time; fields lie on the relit picture, at the motion's working size, shape (y, x).

    Attributes:
        picture: Shape (y, x, 3), uint8, full size.
        shift_px: How far each point is from where it was in the flat picture, px of the full picture.
        reliability: Chance that the motion is right to 1 px of a picture of 640 px, 0..1.
        weight: For a loss that compares with the raw flat picture: 1 / (1 + m^2 + e^2) with the shift m and the
            expected error e of the motion, px at a picture height of 1080; half at 1 px.
        weight_compensated: For a loss that uses `picture`: 1 / (1 + e^2).
    """

    picture: UInt8Array
    shift_px: Float32Array
    reliability: Float32Array
    weight: Float32Array
    weight_compensated: Float32Array


def compensate(motion: Motion, flat: UInt8Array, next_flat: UInt8Array | None) -> Compensated:
    """Move the flat pictures around a relit frame to its time.

    Args:
        motion: From `read_motion`.
        flat, next_flat: The pair's flat picture and the next one, shape (y, x, 3); None where the pair has none.
    """
    height, width = flat.shape[:2]
    field = relit_motion(motion, working_size(width, height, FIELD_LONG_SIDE_PX))
    to_flat = field.to_end if next_flat is None else field.to_start
    scale = height / to_flat.shape[0]
    shift_px = np.linalg.norm(to_flat, axis=-1) * np.float32(scale)
    doubt = doubt_motion(field, flat, next_flat)
    error_px = expected_error_px(doubt) * np.float32(
        REFERENCE_HEIGHT_PX / MOTION_LONG_SIDE_PX * max(flat.shape) / height
    )
    moved_px = shift_px * np.float32(REFERENCE_HEIGHT_PX / height)
    fields = shift_px, 1 / (1 + np.exp(doubt)), 1 / (1 + moved_px**2 + error_px**2), 1 / (1 + error_px**2)
    size = working_size(width, height, MOTION_LONG_SIDE_PX)
    return Compensated(blend_flats(field, flat, next_flat), *(_enlarged(values, size) for values in fields))


def doubt_motion(field: RelitMotion, flat: UInt8Array, next_flat: UInt8Array | None) -> Float32Array:
    """Log odds that the motion is wrong by more than 1 px of a picture of 640 px, shape (y, x)."""
    features = doubt_features(field, flat, next_flat)
    *weights, offset = CONTINUED_DOUBT if next_flat is None else DOUBT
    return np.asarray(features @ np.array(weights, np.float32) + np.float32(offset), np.float32)


def doubt_features(field: RelitMotion, flat: UInt8Array, next_flat: UInt8Array | None) -> Float32Array:
    """What speaks for and against a motion, shape (y, x, 4), as the weights in `DOUBT` take it."""
    size = (field.near_end.shape[1], field.near_end.shape[0])
    sides = [warp(_luma(flat, size), field.to_end if next_flat is None else field.to_start)]
    apart = np.zeros(field.near_end.shape, np.float32)
    if next_flat is not None:
        sides.append(warp(_luma(next_flat, size), field.to_end))
        apart = cv2.GaussianBlur(
            cv2.absdiff(*(cv2.blur(side, (3, 3)) for side in sides)).astype(np.float32), (0, 0), 1.5
        )
    texture = np.sqrt(np.maximum(cv2.cornerMinEigenVal(sides[0], 5, 3), 0)) * np.float32(20)
    astray = cv2.GaussianBlur(field.astray_px, (0, 0), 1.5)
    unsteady = cv2.GaussianBlur(field.unsteady_px, (0, 0), 0.6)
    found = np.stack([astray, unsteady, apart / 3, texture], axis=-1)
    return np.asarray(np.log(found + np.float32(0.05)), np.float32)


def expected_error_px(doubt: Float32Array) -> Float32Array:
    """Expected error of a motion by its `doubt_motion`, px of a picture of 640 px, rising."""
    return np.asarray(ERROR_AT_EVEN_ODDS_PX * np.exp(ERROR_GROWTH * doubt), np.float32)


def blend_flats(field: RelitMotion, flat: UInt8Array, next_flat: UInt8Array | None) -> UInt8Array:
    """The flat pictures at the relit time as one, shape (y, x, 3); tiles that stand still are only averaged."""
    sides = [(flat, field.to_end)] if next_flat is None else [(flat, field.to_start), (next_flat, field.to_end)]
    share = float(field.near_end.mean())
    picture = flat.copy() if next_flat is None else cv2.addWeighted(flat, 1 - share, next_flat, share, 0)
    lookups = [_lookup(way, flat.shape) for _, way in sides]
    padded_share = cv2.copyMakeBorder(field.near_end, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    for tile in _moving_tiles([way for _, way in sides], flat.shape):
        found = [
            cv2.remap(side, _enlarge(lookup, flat.shape, tile), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for (side, _), lookup in zip(sides, lookups, strict=True)
        ]
        if next_flat is None:
            picture[tile] = found[0]
        else:
            near_end = _enlarge(padded_share, flat.shape, tile)
            picture[tile] = cv2.blendLinear(found[0], found[1], 1 - near_end, near_end)
    return np.asarray(picture, np.uint8)


def _moving_tiles(ways: list[Float32Array], shape: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """Rows and columns of the tiles of a picture of ``shape`` in which any of the motions moves something."""
    moved = np.max([cv2.magnitude(way[..., 0], way[..., 1]) for way in ways], axis=0) * (shape[0] / ways[0].shape[0])
    rows, columns = (-(-length // TILE_PX) for length in shape[:2])
    largest = cv2.dilate(moved, np.ones((3, 3), np.uint8))  # a pixel looks one step of the field around it
    step_y, step_x = moved.shape[0] / shape[0], moved.shape[1] / shape[1]
    tiles = []
    for row in range(rows):
        for column in range(columns):
            y, x = (
                slice(n * TILE_PX, min((n + 1) * TILE_PX, length))
                for n, length in zip((row, column), shape, strict=False)
            )
            part = largest[
                int(y.start * step_y) : int(y.stop * step_y) + 1, int(x.start * step_x) : int(x.stop * step_x) + 1
            ]
            if part.max() > STILL_PX:
                tiles.append((y, x))
    return tiles


def _lookup(way: Float32Array, shape: tuple[int, ...]) -> Float32Array:
    """Where in a picture of ``shape`` the points of a field and of one more step around it are, px of the picture."""
    step_y, step_x = shape[0] / way.shape[0], shape[1] / way.shape[1]
    padded = cv2.copyMakeBorder(way, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    x = (np.arange(padded.shape[1], dtype=np.float32) - 0.5) * np.float32(step_x) - np.float32(0.5)
    y = (np.arange(padded.shape[0], dtype=np.float32) - 0.5) * np.float32(step_y) - np.float32(0.5)
    return np.asarray(cv2.merge((padded[..., 0] * step_x + x, padded[..., 1] * step_y + y[:, None])), np.float32)


def _enlarge(padded: Float32Array, shape: tuple[int, ...], tile: tuple[slice, slice]) -> Float32Array:
    """A field with one more step around it, at the pixels of ``tile`` of a picture of ``shape``; bilinear."""
    step_y, step_x = (padded.shape[0] - 2) / shape[0], (padded.shape[1] - 2) / shape[1]
    top, left = tile[0].start, tile[1].start
    lookup = np.array([[step_x, 0, (left + 0.5) * step_x + 0.5], [0, step_y, (top + 0.5) * step_y + 0.5]])
    size = (tile[1].stop - left, tile[0].stop - top)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(padded, lookup, size, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _luma(picture: UInt8Array, size: tuple[int, int]) -> UInt8Array:
    return np.asarray(shrink(np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8), size), np.uint8)


def _enlarged(values: npt.NDArray[np.floating], size: tuple[int, int]) -> Float32Array:
    return np.asarray(cv2.resize(values.astype(np.float32), size, interpolation=cv2.INTER_LINEAR))

"""Where motion ends: a flow found in patches and stored coarsely leaves the rim of an arm behind, half way between the
arm's motion and the wall's. Both pictures of the same light say which it is."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from litdome.preprocess.motion import Float32Array, resize_flow, warp
from litdome.preprocess.relit_motion import RelitMotion
from litdome.stage import UInt8Array

REACH_STEPS = 3  # of the field: how far a flow's blur reaches over an edge; 5 gained less
WINDOW_PX = 5  # in which pictures are compared, of theirs
WORTH_CODES = 2.0  # by which the fast motion must fit better: noise makes less


def settle_edges(field: RelitMotion, luma: UInt8Array, next_luma: UInt8Array) -> RelitMotion:
    """Where the motion of the fastest point nearby makes both flat pictures agree better, that motion.

    The slowest nearby was tried as well, and no motion: plain walls then agree with everything.

    Args:
        field: From `relit_motion`, with flat frames on both sides.
        luma, next_luma: Of the flat pictures, shape (y, x), of one size, which the result has.
    """
    size = luma.shape[1], luma.shape[0]
    grown = resize_motion(field, size)
    fast = [resize_flow(way, size) for way in _fastest_nearby(field.to_start, field.to_end)]
    misfits = [
        cv2.blur(cv2.absdiff(warp(luma, to_start), warp(next_luma, to_end)).astype(np.float32), (WINDOW_PX, WINDOW_PX))
        for to_start, to_end in ((grown.to_start, grown.to_end), fast)
    ]
    better = np.asarray(misfits[1] + np.float32(WORTH_CODES) < misfits[0], np.uint8)
    ways = [cv2.copyTo(way, better, old) for way, old in zip(fast, (grown.to_start, grown.to_end), strict=True)]
    return replace(grown, to_start=np.asarray(ways[0], np.float32), to_end=np.asarray(ways[1], np.float32))


def resize_motion(field: RelitMotion, size: tuple[int, int]) -> RelitMotion:
    """The same fields for pictures of ``size`` = (width, height), in their px, not to be shared with ``field``."""
    scale = np.float32(size[0] / field.near_end.shape[1])

    def resized(values: Float32Array) -> Float32Array:
        return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_LINEAR), np.float32)

    return RelitMotion(
        resized(field.to_start * scale),
        resized(field.to_end * scale),
        resized(field.near_end),
        resized(field.astray_px * scale),
        resized(field.unsteady_px * scale),
    )


def _fastest_nearby(to_start: Float32Array, to_end: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Both displacements at the fastest of the points up to `REACH_STEPS` away along each axis, shape (y, x, 2)."""
    ways = np.concatenate([to_start, to_end], axis=-1)
    step = to_start - to_end
    speed = cv2.magnitude(step[..., 0], step[..., 1])
    for axis in (0, 1):
        beside_ways, beside_speed = ways.copy(), speed.copy()
        for here, there in (
            (slice(REACH_STEPS, None), slice(-REACH_STEPS)),
            (slice(-REACH_STEPS), slice(REACH_STEPS, None)),
        ):
            at, beside = (
                ((here, slice(None)), (there, slice(None)))
                if axis == 0
                else ((slice(None), here), (slice(None), there))
            )
            faster = np.asarray(beside_speed[beside] > speed[at], np.uint8)
            cv2.copyTo(beside_ways[beside], faster, ways[at])
            cv2.copyTo(beside_speed[beside], faster, speed[at])
    return np.ascontiguousarray(ways[..., :2]), np.ascontiguousarray(ways[..., 2:])

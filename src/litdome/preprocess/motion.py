"""Where things are between flat frames: half flow, its consistency, warping. Linear motion within one segment.

A segment spans two successive flat frames. A relit frame lies at ``alpha`` in it: 0 at its start, 1 at its end, and
above 1 when the take ends before another flat frame, so that the last known motion is continued.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from litdome.preprocess.flow import Step as Step
from litdome.preprocess.flow import dense_flow, working_size
from litdome.stage import SessionLike, UInt8Array

Float32Array = npt.NDArray[np.float32]
MOTION_LONG_SIDE_PX = 640  # what was measured there and stored coarser needs no finer field
FIELD_LONG_SIDE_PX = 240  # what the steps beside add is kept at: 1080p is stored with a point per 8 px
GRID_STEP_PX = 256  # sizes of kept grids
UNDONE_SHARE, UNDONE_PERMILLE = 0.5, 4.7
FIXED_POINT_STEPS = 2  # y + a F(y) = x: the error falls by the flow's gradient a step; two leave < 0.1 px on people


@dataclass(frozen=True, eq=False)
class Segment:
    """Motion around one relit frame.

    Attributes:
        start, end: The flat frames, index among the stored ones.
        alpha: Time of the relit frame, 0 at start, 1 at end.
        forward, backward: Motion start to end and back, shape (y, x, 2), px of their own size.
    """

    start: int
    end: int
    alpha: float
    forward: Float32Array
    backward: Float32Array


@lru_cache(maxsize=8)
def _grid(height: int, width: int) -> Float32Array:
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.stack([x, y], axis=-1)


def pixel_grid(height: int, width: int) -> Float32Array:
    """x and y of each pixel, shape (y, x, 2), not to be written to: part of one that pictures of other sizes share."""
    return _grid(*(-(-length // GRID_STEP_PX) * GRID_STEP_PX for length in (height, width)))[:height, :width]


def warp(picture: npt.NDArray[Any], displacement: Float32Array) -> npt.NDArray[Any]:
    """Look ``picture`` up at x + displacement(x); bilinear, the border repeated.

    Args:
        picture: Shape (y, x) or (y, x, channel).
        displacement: Shape (y, x, 2), px.
    """
    lookup = displacement + pixel_grid(*displacement.shape[:2])
    return np.asarray(cv2.remap(picture, lookup, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def resize_flow(flow: Float32Array, size: tuple[int, int]) -> Float32Array:
    """A flow, shape (y, x, 2), for pictures of ``size`` = (width, height), in their px."""
    if (flow.shape[1], flow.shape[0]) == size:
        return flow
    scale = np.array([size[0] / flow.shape[1], size[1] / flow.shape[0]], np.float32)
    if size[0] < flow.shape[1]:
        return np.asarray(cv2.resize(flow, size, interpolation=cv2.INTER_LINEAR) * scale)
    return np.asarray(cv2.resize(flow * scale, size, interpolation=cv2.INTER_LINEAR))


def compose(first: Float32Array, second: Float32Array) -> Float32Array:
    """Displacement of ``first`` followed by ``second``, each shape (y, x, 2)."""
    return np.asarray(first + warp(second, first), np.float32)


def consistency(there: Float32Array, back: Float32Array, tolerance_px: float = 1.0) -> Float32Array:
    """How well ``back`` undoes ``there``, shape (y, x): 1 where it does, towards 0 at occlusions and failures.

    The allowed error grows with the motion (a tenth of it), since estimates do.
    """
    error = compose(there, back)
    allowed = tolerance_px**2 + 0.01 * np.einsum("yxk,yxk->yx", there, there)
    return np.asarray(np.exp(-np.einsum("yxk,yxk->yx", error, error) / allowed), np.float32)


def undoes(there: Float32Array, back: Float32Array) -> npt.NDArray[np.bool_]:
    """Where ``back`` undoes ``there`` at least roughly, shape (y, x).

    Within half of the motion and 5/1000 of the long side: enough to tell a motion from none, not how exact it is.
    """
    allowed = UNDONE_SHARE * np.linalg.norm(there, axis=-1) + UNDONE_PERMILLE / 1000 * max(there.shape)
    return np.asarray(np.linalg.norm(compose(there, back), axis=-1) < allowed)


def step_within(segment: Segment, earlier: float, later: float) -> Step:
    """Motion between two moments of a segment, 0 at its start and 1 at its end, and back."""
    from_earlier = warp(segment.forward, inverse_part(segment.forward, earlier))
    from_later = warp(segment.backward, inverse_part(segment.backward, 1 - later))
    span = later - earlier
    return np.asarray(span * from_earlier, np.float32), np.asarray(span * from_later, np.float32)


def inverse_part(flow: Float32Array, part: float) -> Float32Array:
    """From the time ``part`` of the way along ``flow`` back to its origin: d with x + d + part flow(x + d) = x."""
    displacement = np.asarray(-part * flow, np.float32)
    for _ in range(FIXED_POINT_STEPS):
        displacement = np.asarray(-part * warp(flow, displacement), np.float32)
    return displacement


def displacements(segment: Segment) -> tuple[Float32Array, Float32Array]:
    """From the relit frame's pixels to the flat frames at the segment's start and end, each shape (y, x, 2)."""
    return inverse_part(segment.forward, segment.alpha), inverse_part(segment.backward, 1 - segment.alpha)


@dataclass(frozen=True, eq=False)
class Carry:
    """How two flat frames are carried to the relit frame between them; fields are at the motion's own size.

    Attributes:
        to_start, to_end: From `displacements`, shape (y, x, 2).
        near_end: Share of the end frame in a blend: the relit frame's time, at most 1.
    """

    to_start: Float32Array
    to_end: Float32Array
    near_end: float

    @classmethod
    def along(cls, segment: Segment) -> Carry:
        """Half flow to both ends of a segment."""
        return cls(*displacements(segment), min(segment.alpha, 1.0))

    def sides(self, start: UInt8Array, end: UInt8Array) -> tuple[UInt8Array, UInt8Array]:
        """Both flat pictures, shape (y, x) or (y, x, channel), at the relit time."""
        size = (start.shape[1], start.shape[0])
        return warp(start, resize_flow(self.to_start, size)), warp(end, resize_flow(self.to_end, size))

    def blend(self, start: UInt8Array, end: UInt8Array) -> UInt8Array:
        """Both flat pictures at the relit time as one, the nearer in time counting more.

        Leaving a side out where its flow is inconsistent was measured and lost 0.1 dB on the mask, 0.15 dB at its edge:
        such pixels are hidden in the other frame as often as in their own.
        """
        if self.near_end >= 1:
            return warp(end, resize_flow(self.to_end, (end.shape[1], end.shape[0])))
        first, second = self.sides(start, end)
        return np.asarray(cv2.addWeighted(first, 1 - self.near_end, second, self.near_end, 0), np.uint8)


@dataclass(frozen=True, eq=False)
class Motion:
    """The motion around a relit frame, and that of the segments beside its own where it was measured.

    Attributes:
        segment: The pair's own.
        before, after: Flows, forward and backward, of the segments that end where it starts and start where it ends,
            scaled to its duration, px of their own size; None where they were not measured.
    """

    segment: Segment
    before: Step | None = None
    after: Step | None = None


def read_motion(session: SessionLike, camera: str, pair: int) -> Motion | None:
    """The motion around a pair's relit frame, at 640 px, with its neighbours, at 240 px; None if unknown."""
    segment = read_segment(session, camera, pair)
    if segment is None:
        return None
    beside = (_read_step(session, camera, segment, flat) for flat in (segment.start - 1, segment.end))
    return Motion(segment, *beside)


def _read_step(session: SessionLike, camera: str, segment: Segment, flat: int) -> Step | None:
    """Flows from the flat frame ``flat`` to the next one and back, over the time of ``segment``; None if unknown."""
    pair = segment_from_flat(session, camera, flat)
    if pair is None:
        return None
    frames = session.frames("flat")
    share = float(frames[segment.end] - frames[segment.start]) / float(frames[flat + 1] - frames[flat])
    forward, backward = read_flows(session, camera, pair, FIELD_LONG_SIDE_PX)
    return forward * share, backward * share


def read_segment(session: SessionLike, camera: str, pair: int) -> Segment | None:
    """The motion around a pair's relit frame, at 640 px.

    Returns:
        The pair's own segment; the one before, continued, where the pair has no next flat frame (or the camera lost
        it); None where neither was measured.
    """
    found = segment_of_pair(session, camera, pair)
    if found is None:
        return None
    source, alpha = found
    forward, backward = read_flows(session, camera, source)
    start, end = int(session.pairs.flat[source]), int(session.pairs.next_flat[source])
    return Segment(start, end, alpha, forward, backward)


def read_flows(
    session: SessionLike, camera: str, pair: int, long_side_px: int = MOTION_LONG_SIDE_PX
) -> tuple[Float32Array, Float32Array]:
    """Flow of a pair from flat to next_flat and back, shape (y, x, 2), px of a picture of ``long_side_px``."""
    width, height = session.size(camera)
    size = working_size(width, height, long_side_px)
    found = []
    for path in (f"motion/{camera}", f"motion_backward/{camera}"):
        stride = int(session.array(path).attrs["stride"])
        found.append(dense_flow(session.read_at(path, pair), stride, height, width, size))
    return found[0], found[1]


def has_flow(session: SessionLike, camera: str, pair: int) -> bool:
    """Whether the motion from a pair's flat to its next flat frame was measured."""
    return bool(np.isfinite(session.read_at(f"motion/{camera}", pair)[0, 0, 0]))


def segment_of_pair(session: SessionLike, camera: str, pair: int) -> tuple[int, float] | None:
    """Which pair's flow describes the motion around a pair, and the relit frame's time in it."""
    pairs = session.pairs
    if has_flow(session, camera, pair):
        return pair, float(pairs.alpha[pair])
    earlier = np.flatnonzero(pairs.next_flat == pairs.flat[pair])
    if not len(earlier) or not has_flow(session, camera, int(earlier[-1])):
        return None
    source = int(earlier[-1])
    span_ms = pairs.gap_ms[source] / pairs.alpha[source]
    return source, 1.0 + float(pairs.gap_ms[pair] / span_ms)


def segment_from_flat(session: SessionLike, camera: str, flat: int) -> int | None:
    """The pair whose flow leads from the flat frame ``flat`` to the next one, or None."""
    starting = np.flatnonzero((session.pairs.flat == flat) & (session.pairs.next_flat == flat + 1))
    return int(starting[0]) if len(starting) and has_flow(session, camera, int(starting[0])) else None

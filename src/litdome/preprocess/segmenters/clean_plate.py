"""Masks from a clean plate.

Flat-lit frames are compared with the camera's plate. A relit frame cannot be (most of its pixels differ): its mask
is carried from the flat frames around it along half the flow and then corrected near its outline, against the plate
under its light: as relit frames show it, else under a gain fitted outside the person.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from litdome.preprocess.flow import shrink, working_size
from litdome.preprocess.motion import Carry, read_segment, segment_from_flat
from litdome.preprocess.plates import LitPlate, Plate, Votes, average_votes, spread_votes, still_noise
from litdome.preprocess.relit_masks import mask_relit_picture
from litdome.preprocess.segmenters.protocol import Masks
from litdome.preprocess.segmenters.settings import SegmentConfig
from litdome.preprocess.silhouettes import mask_flat_picture
from litdome.stage import Kind, SessionLike, UInt8Array

BoolArray = npt.NDArray[np.bool_]


class PlateMasks:
    """Masks of one camera against its plate, and against that of an HDRI where ``lit`` gives it; flat frames are looked
    at once."""

    def __init__(
        self,
        session: SessionLike,
        config: SegmentConfig,
        camera: str,
        plate: Plate,
        lit: Callable[[int], LitPlate] | None = None,
    ) -> None:
        self._session, self._config, self._camera, self.plate = session, config, camera, plate
        self._size = (plate.picture.shape[1], plate.picture.shape[0])
        self._lit = lit
        self.flat = lru_cache(maxsize=session.shard_frames + 2)(self._look_at_flat)
        self._pair_of_relit = {int(n): pair for pair, n in enumerate(session.pairs.relit)}

    def _look_at_flat(self, n: int) -> tuple[UInt8Array, UInt8Array]:
        """Picture and mask of the n-th flat frame; both empty where it is absent."""
        if not self._session.is_present(self._camera, "flat", n):
            blank = np.zeros((self._size[1], self._size[0], 3), np.uint8)
            return blank, blank[..., 0]
        picture = shrink(self._session.read_frame(self._camera, "flat", n), self._size)
        return picture, mask_flat_picture(picture, self.plate, threshold=self._config.threshold)

    def __call__(self, kind: Kind, numbers: range) -> Masks:
        """Masks of the pictures of a kind by their numbers; empty where one is absent."""
        masks = [self.flat(n)[1] if kind == "flat" else self._relit(n) for n in numbers]
        return Masks(np.stack([self._full_size(mask) for mask in masks]))

    def _relit(self, n: int) -> UInt8Array:
        """Mask of the n-th relit frame; empty where it is absent or before the first flat frame."""
        pair = self._pair_of_relit.get(n)
        if pair is None or not self._session.is_present(self._camera, "relit", n):
            return np.zeros((self._size[1], self._size[0]), np.uint8)
        segment = read_segment(self._session, self._camera, pair)
        if segment is None:
            as_flat, carried = self.flat(int(self._session.pairs.flat[pair]))
        else:
            carry = Carry.along(segment)
            sides = zip(self.flat(segment.start), self.flat(segment.end), strict=True)
            as_flat, carried = (carry.blend(start, end) for start, end in sides)
        picture = shrink(self._session.read_frame(self._camera, "relit", n), self._size)
        hdri = int(self._session.pairs.hdri[pair])
        lit = None if self._lit is None or hdri < 0 else self._lit(hdri)
        return mask_relit_picture(picture, carried, as_flat, self.plate, lit=lit, threshold=self._config.threshold)

    def _full_size(self, mask: UInt8Array) -> UInt8Array:
        """The mask at the size of the stored pictures."""
        size = self._session.size(self._camera)
        return mask if self._size == size else np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR))


def is_given(session: SessionLike, camera: str) -> bool:
    """Whether the plate was filmed without the person."""
    path = f"cameras/{camera}/background"
    return session.has(path) and session.array(path).attrs.get("source") != "median"


def spread_frames(session: SessionLike, camera: str, count: int) -> list[int]:
    """Up to ``count`` recorded flat frames, spread evenly."""
    recorded = [n for n in range(session.count("flat")) if session.is_present(camera, "flat", n)]
    picks = np.unique(np.linspace(0, len(recorded) - 1, min(count, len(recorded))).round().astype(int))
    return [recorded[i] for i in picks]


def _moving(session: SessionLike, camera: str, flat: int, limit_px: float) -> BoolArray:
    """Where a flat frame moves from the one before or to the one after, at the flow's grid."""
    fields = []
    for path, first in ((f"motion/{camera}", flat), (f"motion_backward/{camera}", flat - 1)):
        pair = segment_from_flat(session, camera, first)
        if pair is not None:
            fields.append(np.linalg.norm(session.read_at(path, pair).astype(np.float32), axis=0) > limit_px)
    shape = session.array(f"motion/{camera}").shape[2:]
    return np.asarray(np.logical_or.reduce(fields) if fields else np.zeros(shape, bool))


def make_plate(session: SessionLike, config: SegmentConfig, camera: str) -> tuple[Plate, Votes | None]:
    """The plate at working size, and the votes behind it where it was not given."""
    size = working_size(*session.size(camera), config.long_side_px)
    frames = spread_frames(session, camera, config.plate_frames)

    def read(i: int) -> UInt8Array:
        return session.read_frame(camera, "flat", frames[i])

    if is_given(session, camera):
        given = shrink(session.read(f"cameras/{camera}/background"), size)
        noise = still_noise([shrink(read(i), size) for i in range(0, len(frames), 4)], given)
        return Plate.given(given, noise), None
    if not frames:
        return Plate.given(np.zeros((size[1], size[0], 3), np.uint8), 1.0), None
    limit_px = config.moving_permille / 1000 * max(session.size(camera))
    votes = spread_votes(read, [_moving(session, camera, flat, limit_px) for flat in frames])
    picture = average_votes(read, votes, size)
    noise = still_noise([shrink(read(i), size) for i in range(0, len(frames), 4)], picture)
    confidence = cv2.resize(votes.confidence, size, interpolation=cv2.INTER_LINEAR)
    return Plate(picture, confidence, votes.person_odds, noise), votes

"""The clean plate under the light of an HDRI: what a camera sees without the person, of the relit frames it lights.

Where the person is in a relit frame is taken from the flat frames on both sides, so no mask of the relit frame itself
is needed, and its mask can be made against the plate of its light.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from litdome.preprocess.flow import shrink
from litdome.preprocess.plates import SAME_CODES, ReadPicture, Votes, average_votes, weighted_median
from litdome.preprocess.segmenters.clean_plate import PlateMasks
from litdome.stage import SessionLike, UInt8Array

BoolArray = npt.NDArray[np.bool_]
MIN_FRAMES = 3  # of one or two frames nobody can tell the background from a person who was missed
MAX_FRAMES = 12
LONG_SIDE_PX = 480
MARGIN_PERMILLE = 12.5  # of the long side: as far as a limb may be from both places it has in the flat frames
UNSURE = 0.5  # confidence of a flat plate below which its masks say nothing


def hdri_frames(session: SessionLike, camera: str, hdri: int) -> list[int]:
    """Up to `MAX_FRAMES` pairs lit by an entry, spread evenly, whose relit and both flat frames were recorded."""
    pairs = session.pairs
    found = [
        int(pair)
        for pair in np.flatnonzero((pairs.hdri == hdri) & (pairs.next_flat >= 0))
        if session.is_present(camera, "relit", int(pairs.relit[pair]))
        and session.is_present(camera, "flat", int(pairs.flat[pair]))
        and session.is_present(camera, "flat", int(pairs.next_flat[pair]))
    ]
    picks = np.unique(np.linspace(0, len(found) - 1, min(MAX_FRAMES, len(found))).round().astype(int))
    return [found[i] for i in picks]


def vote_under_hdri(pictures: UInt8Array, hidden: BoolArray) -> tuple[Votes, UInt8Array]:
    """What frames of one light say about the background: those near the masked median, where enough show it.

    Args:
        pictures: Frames under one light, shape (n, y, x, 3).
        hidden: Where the person may be in each, shape (n, y, x).

    Returns:
        Votes (their confidence is 1 where enough frames show the background, else 0), and how many frames show it,
        shape (y, x), 0 where they are fewer than `MIN_FRAMES`.
    """
    seen = ~hidden
    median = weighted_median(pictures, seen[..., None].astype(np.float32))
    distance = np.stack([cv2.absdiff(picture, median).max(-1) for picture in pictures]).astype(np.float32)
    shares = np.asarray(seen * np.exp(-((distance / SAME_CODES) ** 2)), np.float32)
    count = seen.sum(0)
    coverage = np.where(count >= MIN_FRAMES, count, 0).astype(np.uint8)
    return Votes(shares, (coverage > 0).astype(np.float32), np.zeros(0, np.float32)), coverage


def make_hdri_plate(
    read: ReadPicture, hidden: Sequence[BoolArray], size: tuple[int, int]
) -> tuple[UInt8Array, UInt8Array]:
    """The plate under one light and its coverage, at full size, of which one frame is held at a time.

    Args:
        read: Gives the i-th frame, shape (y, x, 3).
        hidden: Where the person may be in each of them, shape (y', x') of any one size.
        size: (width, height) of the frames.

    Returns:
        Picture, shape (y, x, 3), and how many frames show the background, shape (y, x); both 0 where they are fewer
        than `MIN_FRAMES`.
    """
    if len(hidden) < MIN_FRAMES:
        return np.zeros((size[1], size[0], 3), np.uint8), np.zeros((size[1], size[0]), np.uint8)
    small = (hidden[0].shape[1], hidden[0].shape[0])
    pictures = np.stack([shrink(read(i), small) for i in range(len(hidden))])
    votes, few = vote_under_hdri(pictures, np.stack(hidden))
    coverage = np.asarray(cv2.resize(few, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    picture = average_votes(read, votes)
    picture[coverage == 0] = 0
    return picture, coverage


def plate_under_hdri(session: SessionLike, camera: str, hdri: int, masks: PlateMasks) -> tuple[UInt8Array, UInt8Array]:
    """The plate of a camera under an entry and its coverage (see `make_hdri_plate`)."""
    pairs = session.pairs
    found = hdri_frames(session, camera, hdri)
    hidden = [_may_hide(masks, int(pairs.flat[pair]), int(pairs.next_flat[pair])) for pair in found]
    return make_hdri_plate(
        lambda i: session.read_frame(camera, "relit", int(pairs.relit[found[i]])), hidden, session.size(camera)
    )


def _may_hide(masks: PlateMasks, flat: int, next_flat: int) -> BoolArray:
    """Where the person may be between two flat frames, or where nobody knows, shape (y', x') of the masks."""
    person = np.maximum(masks.flat(flat)[1], masks.flat(next_flat)[1])
    reach = max(2, round(MARGIN_PERMILLE / 1000 * max(person.shape)))
    near = cv2.dilate((person > 32).astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8))
    return np.asarray((near > 0) | (masks.plate.confidence < UNSURE))

"""Masks without single-frame flicker: neighbours in time vote along the motion, and only where it can be known.

A plain median over time removes real motion together with flicker, and a vote along the motion still wears the outline
down, since motion is known to a few pixels only. Here a mask is changed only where its neighbours on both sides
contradict it over an area thicker than the motion is unsure; a pixel elsewhere stays as it was. What the picture itself
was worth says how far to go beyond: a mask that both neighbours contradict more than each other is believed nowhere,
and that of a dark picture gives its outline to the vote as well.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from litdome.errors import ConfigError
from litdome.preprocess.motion import Step, resize_flow, undoes, warp
from litdome.stage import UInt8Array

THICK_PERMILLE = 2.4  # of the long side, twice that across: an outline carried along the motion is off by less
INSIDE = 128  # the bit that says so of a coverage, 0..255
BoolArray = npt.NDArray[np.bool_]


class _Buffers(threading.local):
    """Two pictures of memory per thread: new memory each time would cost three times the vote itself."""

    shape: tuple[int, ...] = ()

    def pictures(self, shape: tuple[int, ...]) -> tuple[UInt8Array, UInt8Array]:
        """Both, of a size, with whatever they hold; whoever calls next on this thread gets the same."""
        if self.shape != shape:
            self.shape, self.held = shape, (np.empty(shape, np.uint8), np.empty(shape, np.uint8))
        return self.held


_buffers = _Buffers()


def deflicker_masks(masks: UInt8Array, flows: Sequence[Step | None]) -> UInt8Array:
    """Remove single-frame flicker from a mask sequence without blurring motion.

    Args:
        masks: Coverage of one camera, shape (n, y, x), uint8, 0 outside to 255 inside.
        flows: Motion from each frame to the next and back, n - 1 of them, each shape (y', x', 2) in px of its own
            size; None where it is not known.

    Returns:
        Filtered masks, same shape and dtype; the first and the last have one neighbour and stay as they are.

    Raises:
        ConfigError: The number of flows does not fit.

    Source: the D-Rex pipeline names the problem, not the filter; two-sided votes of more than a thickness are ours.
    """
    if len(flows) != max(len(masks) - 1, 0):
        raise ConfigError(f"deflicker: {len(flows)} flows for {len(masks)} masks, expected {len(masks) - 1}")
    return np.stack([deflicker_mask(masks.__getitem__, flows.__getitem__, n, len(masks)) for n in range(len(masks))])


def deflicker_mask(
    read: Callable[[int], UInt8Array], step: Callable[[int], Step | None], n: int, length: int, *, is_dark: bool = False
) -> UInt8Array:
    """The n-th of ``length`` masks after the votes of the one before and the one after.

    Args:
        read: Gives a mask by its number, shape (y, x), uint8.
        step: Gives the motion from a mask to the next one and back, or None.
        n, length: Which of how many.
        is_dark: Whether it is of a picture much darker than its neighbours: then its outline is voted on too.
    """
    own = read(n)
    last, following = (step(n - 1), step(n)) if 0 < n < length - 1 else (None, None)
    if last is None or following is None:
        return own
    size = (own.shape[1], own.shape[0])
    before, after = (
        warp(read(other), resize_flow(there, size)) for other, there in ((n - 1, last[1]), (n + 1, following[0]))
    )
    trusted = undoes(last[1], last[0]) & undoes(*following)
    inside = [_inside(mask, trusted.shape) for mask in (own, before, after)]
    alone, apart = disagreements(inside[0], inside[1], inside[2], trusted)
    trusted |= alone > apart
    known = cv2.resize(trusted.astype(np.uint8) * 255, size, interpolation=cv2.INTER_NEAREST)
    settled = settle_mask(own, before, after, known)
    if not is_dark:
        return settled
    return vote_on_outline(settled, before, after, known, alone**2 / max(alone**2 + apart**2, 1e-9))


def disagreements(own: BoolArray, before: BoolArray, after: BoolArray, trusted: BoolArray) -> tuple[float, float]:
    """How often a mask contradicts both neighbours, and how often they contradict each other, parts of the person.

    The first is counted where motion is trusted, the second everywhere: what cannot be followed is in it. Where less
    than half of the person is trusted, nothing is known of the mask, and the first is 0.

    Args:
        own, before, after, trusted: As of `settle_mask`, whether inside and whether believed, shape (y, x).
    """
    person = before | after
    seen, everywhere = int((person & trusted).sum()), int(person.sum())
    if 2 * seen <= everywhere:
        return 0.0, 1.0
    alone = int(((own != before) & (own != after) & trusted).sum())
    return alone / seen, int((before != after).sum()) / everywhere


def vote_on_outline(
    own: UInt8Array, before: UInt8Array, after: UInt8Array, trusted: UInt8Array, share: float
) -> UInt8Array:
    """The median of a mask and its neighbours, mixed with their mean by ``share``, where trusted.

    Args:
        own, before, after, trusted: As of `settle_mask`.
        share: Of the neighbours' mean, 0..1; by the squares of both `disagreements`, each is weighed by its variance.
    """
    low, high = cv2.min(before, after), cv2.max(before, after)
    median = cv2.max(low, cv2.min(own, high))
    mean = cv2.addWeighted(before, 0.5, after, 0.5, 0)
    out = own.copy()
    cv2.copyTo(cv2.addWeighted(median, 1 - share, mean, share, 0), trusted, out)
    return out


def _inside(mask: UInt8Array, shape: tuple[int, ...]) -> BoolArray:
    return np.asarray(cv2.resize(mask, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST) >= INSIDE)


def settle_mask(own: UInt8Array, before: UInt8Array, after: UInt8Array, trusted: UInt8Array) -> UInt8Array:
    """A mask, changed where its neighbours contradict it.

    A pixel takes the mean of its neighbours where their motion is trusted, they agree and say the opposite, and where
    such pixels form an area thicker than `THICK_PERMILLE` of the long side.

    Args:
        own: Shape (y, x), uint8, 0 outside to 255 inside.
        before, after: Its neighbours, carried to it, likewise.
        trusted: Where the motion to both is believed, 255, else 0, likewise.

    Returns:
        Same shape and dtype; ``own`` itself where nothing changes.
    """
    differs, from_after = _buffers.pictures(own.shape)
    cv2.bitwise_xor(own, before, differs)
    cv2.bitwise_xor(own, after, from_after)
    cv2.bitwise_and(differs, from_after, differs)
    cv2.bitwise_and(differs, trusted, differs)
    area = _keep_thick(differs, from_after)
    if area is None:
        return own
    out, mean = own.copy(), from_after[area]
    cv2.addWeighted(before[area], 0.5, after[area], 0.5, 0, mean)
    cv2.copyTo(mean, differs[area], out[area])
    return out


def _keep_thick(differs: UInt8Array, spare: UInt8Array) -> tuple[slice, slice] | None:
    """Leave in ``differs`` only parts thicker than an outline is unsure, with their own edges, 255, else 0.

    Args:
        differs: Changed in place, shape (y, x).
        spare: Memory to use, of the same size.

    Returns:
        The area that holds them, outside which ``differs`` means nothing; None without any.
    """
    x, y, width, height = cv2.boundingRect(differs)
    area = (slice(y, y + height), slice(x, x + width))
    side = 2 * max(1, round(THICK_PERMILLE / 1000 * max(differs.shape))) + 1
    if min(width, height) < side:
        return None
    found, part = differs[area], spare[area]
    cv2.threshold(found, INSIDE - 1, 255, cv2.THRESH_BINARY, part)
    cv2.erode(part, np.ones((side, side), np.uint8), found, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    if not found.any():
        return None
    cv2.dilate(found, np.ones((2 * side - 1, 2 * side - 1), np.uint8), found)
    cv2.bitwise_and(found, part, found)
    return area

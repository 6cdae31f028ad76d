"""The clean plate of a camera: the picture without the person, even when the take never shows all of it.

A plain temporal median keeps whoever stands still. Here frames vote per pixel with a weight: little where the picture
moves, little where its colour is one that moving things have. What nobody could see is known to be unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from litdome.preprocess.flow import shrink, working_size
from litdome.stage import UInt8Array

Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
VOTE_LONG_SIDE_PX = 480  # votes are counted small; the pictures that win are averaged at full size
COLOR_BITS = 4  # 16 levels a channel
SURE_CODES = 30  # a moving pixel that differs by this much from the plate is the person for sure
SAME_CODES = 8.0  # a frame that lies this near the vote's result belongs to the plate
ROUNDS = 2
EDGE_JITTER_PX = 0.35  # a still edge moves by this much (codec, vibration)
COLORS = 1 << 3 * COLOR_BITS
PRIOR_ODDS = np.float32(1.1)  # the person covers about a quarter of where anything moves
ReadPicture = Callable[[int], UInt8Array]


@dataclass(frozen=True, eq=False)
class Votes:
    """What a spread of frames says about the background, counted on small pictures.

    Attributes:
        shares: Each frame's vote per pixel, shape (n, y, x), float32.
        confidence: 0..1, whether the background was seen, shape (y, x), float32.
        person_odds: Log odds of person against background per colour bin, shape (4096,), float32.
    """

    shares: Float32Array
    confidence: Float32Array
    person_odds: Float32Array


@dataclass(frozen=True, eq=False)
class Plate:
    """What a camera sees without the person.

    Attributes:
        picture: Shape (y, x, 3), uint8.
        confidence: 0..1 per pixel: whether the background was seen there, shape (y, x), float32.
        person_odds: Log odds of person against background per colour bin, shape (4096,), float32.
        noise_codes: Standard deviation of a still pixel, codes.
    """

    picture: UInt8Array
    confidence: Float32Array
    person_odds: Float32Array
    noise_codes: float

    @classmethod
    def given(cls, picture: UInt8Array, noise_codes: float) -> Plate:
        """A plate that was photographed: seen everywhere, so that no colours are needed."""
        return cls(picture, np.ones(picture.shape[:2], np.float32), np.zeros(COLORS, np.float32), noise_codes)

    @cached_property
    def power(self) -> Float32Array:
        """Sum of the squared channels, shape (y, x)."""
        clean = self.picture.astype(np.float32)
        return np.asarray(np.einsum("yxc,yxc->yx", clean, clean), np.float32)

    @cached_property
    def variance(self) -> Float32Array:
        """Squared deviation that a still pixel may have, from noise and the jitter of edges, shape (y, x)."""
        luma = cv2.cvtColor(self.picture, cv2.COLOR_RGB2GRAY)
        slope = [cv2.Sobel(luma, cv2.CV_32F, x, 1 - x, scale=1 / 8) for x in (0, 1)]
        jitter = 3 * EDGE_JITTER_PX**2 * (slope[0] ** 2 + slope[1] ** 2)
        return np.asarray(4 * self.noise_codes**2 + jitter, np.float32)

    def shrunk(self, long_side_px: int) -> Plate:
        """The plate for smaller pictures; itself where it is not larger."""
        size = working_size(self.picture.shape[1], self.picture.shape[0], long_side_px)
        confidence = cv2.resize(self.confidence, size, interpolation=cv2.INTER_AREA)
        return Plate(shrink(self.picture, size), confidence, self.person_odds, self.noise_codes)

    def cropped(self, region: tuple[slice, slice], noise_codes: float) -> Plate:
        """A part of the plate, (rows, columns), under another noise."""
        return Plate(self.picture[region], self.confidence[region], self.person_odds, noise_codes)


@dataclass(frozen=True, eq=False)
class LitPlate:
    """What a camera sees without the person under an HDRI, where enough relit frames show it.

    Attributes:
        picture: Shape (y, x, 3), uint8.
        seen: Whether they do, shape (y, x).
    """

    picture: UInt8Array
    seen: BoolArray

    def shrunk(self, size: tuple[int, int]) -> LitPlate:
        """The plate for pictures of ``size`` = (width, height), seen where all of a pixel is."""
        seen = cv2.resize(self.seen.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) == 255
        return LitPlate(shrink(self.picture, size), np.asarray(seen))


def color_bins(picture: UInt8Array) -> npt.NDArray[np.int32]:
    """Bin of each pixel's colour, shape (...,), 0..4095, of RGB in the last axis."""
    high = (picture >> (8 - COLOR_BITS)).astype(np.int32)
    return (high[..., 0] << 2 * COLOR_BITS) | (high[..., 1] << COLOR_BITS) | high[..., 2]


def weighted_median(values: UInt8Array, weights: Float32Array) -> UInt8Array:
    """Weighted median along axis 0: the value at which the weight below first exceeds half.

    Args:
        values: Shape (n, ...), uint8.
        weights: Shape (n, ...), broadcast against ``values``; not all 0.
    """
    half = np.broadcast_to(weights, values.shape).sum(0) / 2
    found = np.zeros(values.shape[1:], np.uint8)
    for bit in (128, 64, 32, 16, 8, 4, 2, 1):
        trial = found + np.uint8(bit)
        below = np.where(values < trial, weights, np.float32(0)).sum(0)
        found = np.where(below <= half, trial, found)
    return found


def person_color_odds(pictures: UInt8Array, person: BoolArray, background: BoolArray) -> Float32Array:
    """Log odds per colour bin from labelled pixels, within -4..4; 0 (nothing known) where nothing was labelled.

    Args:
        pictures: Shape (n, y, x, 3).
        person, background: Labels, shape (n, y, x).
    """
    if not person.any() or not background.any():
        return np.zeros(COLORS, np.float32)
    bins = color_bins(pictures)
    densities = []
    for labels in (person, background):
        counts = np.bincount(bins[labels], minlength=COLORS).astype(np.float32)
        cube = counts.reshape((1 << COLOR_BITS,) * 3)
        for axis in range(3):
            cube = _blur_axis(cube, axis)
        densities.append(cube.ravel() / labels.sum() + 1e-5)
    return np.asarray(np.clip(np.log(densities[0] / densities[1]), -4, 4), np.float32)


def _blur_axis(cube: Float32Array, axis: int) -> Float32Array:
    padded = np.pad(np.moveaxis(cube, axis, 0), ((1, 1), (0, 0), (0, 0)), mode="edge")
    blurred = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / np.float32(4)
    return np.asarray(np.moveaxis(blurred, 0, axis), np.float32)


def vote_background(pictures: UInt8Array, moving: BoolArray) -> Votes:
    """Let frames vote for what is behind the person: the still ones, not coloured like what moves.

    Args:
        pictures: Frames under one light, shape (n, y, x, 3).
        moving: Where each frame moves, shape (n, y, x).
    """
    hidden = moving | np.stack([_silhouette(mask) for mask in moving])
    core = np.stack([cv2.erode(mask.astype(np.uint8), _disc(3)) for mask in moving]).astype(bool)  # flow bleeds outward
    nearby = cv2.dilate(hidden.any(0).astype(np.uint8), _disc(max(moving.shape) // 32)).astype(bool)
    still = np.where(hidden, np.float32(0.02), np.float32(1))
    votes, odds, bins = still, np.zeros(COLORS, np.float32), color_bins(pictures)
    plate = weighted_median(pictures, votes[..., None])
    for _ in range(ROUNDS):
        difference = np.stack([cv2.absdiff(picture, plate).max(-1) for picture in pictures])
        odds = person_color_odds(
            pictures, core & (difference > SURE_CODES), ~hidden & nearby & (difference < SURE_CODES)
        )
        likely = 1 / (1 + np.exp(PRIOR_ODDS - odds))
        votes = still * (1 - likely[bins]) ** 2 + np.float32(1e-4)
        plate = weighted_median(pictures, votes[..., None])
    distance = np.stack([cv2.absdiff(picture, plate).max(-1) for picture in pictures]).astype(np.float32)
    shares = votes * np.exp(-((distance / SAME_CODES) ** 2))
    never_moved = 1 - cv2.blur(moving.any(0).astype(np.float32), (5, 5))
    seen = np.minimum(shares.sum(0), 1) * (1 - likely[color_bins(plate)])
    confidence = np.maximum(seen, never_moved)
    return Votes(shares.astype(np.float32), confidence.astype(np.float32), odds)


def _silhouette(moving: BoolArray) -> BoolArray:
    """Roughly where the person is: large moving parts, closed, so that a resting part between them is in."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(moving.astype(np.uint8))
    keep = stats[:, cv2.CC_STAT_AREA] > moving.size // 1000
    keep[0] = False
    reach = max(moving.shape) // 24
    return np.asarray(cv2.morphologyEx(keep[labels].astype(np.uint8), cv2.MORPH_CLOSE, _disc(reach)), bool)


def _disc(radius_px: int) -> UInt8Array:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1,) * 2), np.uint8)


def average_votes(read: ReadPicture, votes: Votes, size: tuple[int, int] | None = None) -> UInt8Array:
    """The frames averaged by their votes, shape (y, x, 3), uint8, at ``size`` = (width, height) or their own."""
    total: Any = 0.0
    weight: Any = 0.0
    for i, votes_of_frame in enumerate(votes.shares):
        picture = read(i) if size is None else shrink(read(i), size)
        share = cv2.resize(votes_of_frame, (picture.shape[1], picture.shape[0]))[..., None] + np.float32(1e-7)
        total, weight = total + share * picture, weight + share
    return np.asarray(total / weight + 0.5, np.uint8)


def spread_votes(read: ReadPicture, moving: Sequence[BoolArray]) -> Votes:
    """`vote_background` over frames read one by one.

    Args:
        read: Gives the i-th frame of the spread, shape (y, x, 3).
        moving: Where each of them moves, shape (y', x') of any one size.
    """
    first = read(0)
    size = working_size(first.shape[1], first.shape[0], VOTE_LONG_SIDE_PX)
    pictures = np.stack([shrink(read(i), size) for i in range(len(moving))])
    masks = [cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) for mask in moving]
    grown = np.stack([cv2.dilate(mask, np.ones((3, 3), np.uint8)) for mask in masks])
    return vote_background(pictures, grown.astype(bool))


def still_noise(pictures: Sequence[UInt8Array], plate: UInt8Array) -> float:
    """Standard deviation of a still pixel against the plate, codes; from the median, so that the person is no noise."""
    if not pictures:
        return 1.0
    deviations = [float(np.median(cv2.absdiff(picture, plate))) for picture in pictures]
    return max(1.4826 * float(np.median(deviations)), 1.0)

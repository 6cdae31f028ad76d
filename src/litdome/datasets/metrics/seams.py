"""Do long videos made in chunks show where the chunks meet? Each against the truth, whose own changes do not count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from litdome.color import LUMINANCE_WEIGHTS
from litdome.datasets.metrics.consistency import excess_warped_error
from litdome.datasets.metrics.registration import displacement, warp

FloatArray = npt.NDArray[np.floating[Any]]
BoolArray = npt.NDArray[np.bool_]
PairMeasure = Callable[[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray], float]


@dataclass(frozen=True)
class SeamScores:
    """How a video fares where its chunks meet and elsewhere; NaN where there is nothing to compare.

    Attributes:
        warped_seam, warped_inside: Mean excess warped error of steps across a seam, and of all others.
        error_seam, error_inside: The same of `error_change`.
        shift_px: Mean `induced_shift` of steps across a seam; ``shift_inside_px`` of the others.
        detail: Mean gradient energy of pictures at seams over that of the others, each over its truth's.
    """

    warped_seam: float
    warped_inside: float
    error_seam: float
    error_inside: float
    shift_px: float
    shift_inside_px: float
    detail: float


def score_seams(
    video: FloatArray, truth: FloatArray, flow: FloatArray, mask: FloatArray, starts: Sequence[int], overlap: int
) -> SeamScores:
    """Score a video made in chunks.

    Args:
        video, truth: Shape (t, y, x, 3), 0..1.
        flow: Where each pixel of t was at t-1, relative to it, shape (t, y, x, 2), px; exact, not estimated. That of
            picture 0 is not read.
        mask: Weights, shape (t, y, x), 0..1, 0 where something was hidden at t-1; that of picture 0 counts for its
            gradients alone.
        starts: First picture of each chunk but the first.
        overlap: Pictures that neighbouring chunks share: a seam reaches from the first picture of a chunk to the one
            after what it shares.
    """
    frames = len(video)
    across = seam_steps(frames, starts, overlap)
    at, elsewhere = ([t for t in range(1, frames) if across[t] == there] for there in (True, False))

    def mean(measure: PairMeasure, chosen: list[int]) -> float:
        found = [measure(video[t], video[t - 1], truth[t], truth[t - 1], flow[t], mask[t]) for t in chosen]
        return float(np.nanmean(found)) if found else float("nan")

    energy = np.array([_energy_ratio(video[t], truth[t], mask[t]) for t in range(frames)])
    return SeamScores(
        mean(excess_warped_error, at),
        mean(excess_warped_error, elsewhere),
        mean(error_change, at),
        mean(error_change, elsewhere),
        mean(induced_shift, at),
        mean(induced_shift, elsewhere),
        float(np.nanmean(energy[across]) / np.nanmean(energy[~across])) if across.any() else float("nan"),
    )


def seam_steps(frames: int, starts: Sequence[int], overlap: int) -> BoolArray:
    """Whether the step to each picture from the one before belongs to a seam, shape (frames,)."""
    across = np.zeros(frames, bool)
    for start in starts:
        across[start : start + overlap + 1] = True
    return across


def error_change(
    picture: FloatArray,
    previous: FloatArray,
    truth: FloatArray,
    previous_truth: FloatArray,
    flow: FloatArray,
    mask: FloatArray,
) -> float:
    """How much a method's error changes along the motion: mean |E_t - W E_(t-1)|, E = picture - truth.

    Args, Returns:
        As `excess_warped_error`; 0 for an error that moves with the surface, and never negative.
    """
    moved, inside = warp(previous - previous_truth, flow)
    weight = mask * inside
    total = float(weight.sum())
    changed = np.abs(picture - truth - moved).mean(axis=-1)
    return float((changed * weight).sum() / total) if total else float("nan")


def induced_shift(
    picture: FloatArray,
    previous: FloatArray,
    truth: FloatArray,
    previous_truth: FloatArray,
    flow: FloatArray,
    mask: FloatArray,
) -> float:
    """How far a picture is displaced against the one before, beyond the true motion, px.

    The earlier picture is brought along by the exact flow and registered with the later one (`displacement`); so are
    the true ones, for what a change of shading alone displaces. The mean length of the difference counts.

    Args, Returns:
        As `excess_warped_error`; 0 where the method moves as the truth does.
    """
    found = []
    inside: FloatArray = np.ones(mask.shape)
    for now, before in ((picture, previous), (truth, previous_truth)):
        moved, inside = warp(before, flow)
        found.append(displacement(moved, now, mask))
    weight = mask * inside
    total = float(weight.sum())
    length = np.linalg.norm(found[0] - found[1], axis=-1)
    return float((length * weight).sum() / total) if total else float("nan")


def gradient_energy(picture: FloatArray, mask: FloatArray) -> float:
    """Mean squared gradient of the luma over the mask, central differences, per px; NaN for an empty mask."""
    total = float(mask.sum())
    if total == 0:
        return float("nan")
    luma = picture.astype(np.float64) @ LUMINANCE_WEIGHTS.astype(np.float64)
    across, down = (cv2.Sobel(luma, cv2.CV_64F, *axis, ksize=1, scale=0.5) for axis in ((1, 0), (0, 1)))
    return float(((across**2 + down**2) * mask).sum() / total)


def color_drift(
    first: tuple[FloatArray, FloatArray, FloatArray], last: tuple[FloatArray, FloatArray, FloatArray]
) -> float:
    """How far the mean colour has wandered from the truth's between two parts of a video, its first and its last chunk.

    A method that is wrong by how things look wanders with them: compare parts that show the same.

    Args:
        first, last: A part's pictures, (t, y, x, 3), its truth, and its mask, (t, y, x).

    Returns:
        Of the channel that wandered furthest, as a share of the range 0..1; NaN for an empty mask.
    """
    biases = []
    for video, truth, mask in (first, last):
        total = float(mask.sum())
        if total == 0:
            return float("nan")
        biases.append(((video - truth) * mask[..., None]).sum(axis=(0, 1, 2)) / total)
    return float(np.abs(biases[1] - biases[0]).max())


def _energy_ratio(picture: FloatArray, truth: FloatArray, mask: FloatArray) -> float:
    energy = gradient_energy(truth, mask)
    return gradient_energy(picture, mask) / energy if energy > 0 else float("nan")

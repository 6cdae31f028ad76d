"""Where a person's face, hands and body are, from the part labels of a network."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from litdome.stage import UInt8Array

BoolArray = npt.NDArray[np.bool_]
REGIONS = ("face", "hands", "body")
FEWEST_PX = 16  # of a region, at the motion's size: a hand seen end on is no more, a few strayed labels are fewer


def region_masks(parts: UInt8Array, regions: Sequence[str], inside: BoolArray) -> BoolArray:
    """Masks of `REGIONS`: face, hands, and as body whatever else is person, clothes among it.

    Args:
        parts: Labels, shape (y, x).
        regions: Region of each label, as ``segment`` stores it; empty for the background.
        inside: The person, shape (y, x).

    Returns:
        Shape (region, y, x); each point of the person is in one.
    """
    of_label = np.full(256, REGIONS.index("body"), np.uint8)
    for label, region in enumerate(regions):
        if region in REGIONS:
            of_label[label] = REGIONS.index(region)
    found = cv2.LUT(parts, of_label)
    return np.stack([(found == n) & inside for n in range(len(REGIONS))])


def region_means(values: npt.NDArray[np.float32], masks: BoolArray) -> tuple[float, ...]:
    """Mean of ``values``, shape (y, x), in each of `REGIONS`; NaN where it is hardly seen."""
    return tuple(float(values[mask].mean()) if mask.sum() >= FEWEST_PX else float("nan") for mask in masks)

"""What is measured on one pair of one camera, with the flat picture moved to the relit time on the way."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields, replace
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from litdome.preprocess.compensation import Compensated, compensate
from litdome.preprocess.flow import shrink, working_size
from litdome.preprocess.motion import MOTION_LONG_SIDE_PX, Carry, Motion, resize_flow, warp
from litdome.preprocess.regions import REGIONS, region_masks, region_means
from litdome.stage import UInt8Array

Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
MARGIN_PART = 16  # of the long side: 40 px of 640, four times what is kept


@dataclass(frozen=True)
class PairMeasures:
    """What was measured on a pair; NaN where it cannot be.

    Attributes:
        shift_px, shift_p95_px: Motion from the flat to the relit picture on the mask: mean, 95th percentile, px.
        reliability: Mean chance on the mask that the motion is right.
        sharpness: Variance of the Laplacian of the flat picture in the mask over its mean squared.
        clipped: Part of the relit mask at a limit of the codes.
        flicker: Part by which the relit mask differs from the flat masks carried to its time.
        mask_part: Part of the picture that the flat mask covers.
        flat_level: Mean luma of the flat picture outside the mask, codes.
        light_change: Mean difference of the relit picture and the flat one at its time on the mask, codes.
        face_shift_px, hands_shift_px, body_shift_px: As ``shift_px`` in a region; NaN where it is not labelled or seen.
    """

    shift_px: float = np.nan
    shift_p95_px: float = np.nan
    reliability: float = np.nan
    sharpness: float = np.nan
    clipped: float = np.nan
    flicker: float = np.nan
    mask_part: float = np.nan
    flat_level: float = np.nan
    light_change: float = np.nan
    face_shift_px: float = np.nan
    hands_shift_px: float = np.nan
    body_shift_px: float = np.nan

    @property
    def row(self) -> Float32Array:
        """As stored, shape (field,)."""
        return np.array(astuple(self), np.float32)


FIELDS = tuple(field.name for field in fields(PairMeasures))
REGION_FIELDS = tuple(f"{region}_shift_px" for region in REGIONS)


@dataclass(frozen=True, eq=False)
class View:
    """A picture, shape (y, x, 3), with its mask, shape (y, x), and maybe its part labels.

    Attributes:
        regions: Which region each label of ``parts`` belongs to.
    """

    picture: UInt8Array
    mask: UInt8Array
    parts: UInt8Array | None = None
    regions: tuple[str, ...] = ()

    @cached_property
    def luma(self) -> UInt8Array:
        """Shape (y, x)."""
        return np.asarray(cv2.cvtColor(self.picture, cv2.COLOR_RGB2GRAY), np.uint8)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.picture.shape[1], self.picture.shape[0]

    @property
    def inside(self) -> BoolArray:
        """The person, shape (y, x)."""
        return self.mask > 127

    @cached_property
    def small(self) -> View:
        """At the motion's size, without labels; kept, as a flat picture is seen by the pairs before and after it."""
        return View(_small(self.picture), _small(self.mask))

    def within(self, box: tuple[slice, slice]) -> View:
        """Part of the picture, without labels."""
        return View(self.picture[box], self.mask[box])


def measure_pair(
    motion: Motion | None, flat: View, next_flat: View | None, relit: View
) -> tuple[PairMeasures, Compensated | None]:
    """Measure a pair, and move its flat picture to the relit time.

    Args:
        motion: None where nobody knows it.
        flat, next_flat, relit: Full size; no next flat one where the motion is that of the segment before.

    Returns:
        What was measured, and what the motion says of every pixel; None without a motion.
    """
    small, small_relit = flat.small, relit.small
    if motion is None:
        return _measure_light(small, small, small_relit), None
    after = None if next_flat is None else next_flat.small
    pictures = flat.picture, None if next_flat is None else next_flat.picture
    found = compensate(motion, *pictures, (small.luma, None if after is None else after.luma))
    box = _around(small.mask, small_relit.mask)
    to_start, to_end = (resize_flow(way, small.size)[box] for way in (found.field.to_start, found.field.to_end))
    carry = Carry(to_start, to_end, min(motion.segment.alpha, 1.0))
    here, there = small.within(box), (after or small).within(box)
    picture = warp(here.picture, to_end if after is None else to_start)
    carried = View(picture, carry.blend(here.mask, there.mask))
    measured = _measure_light(small, carried, small_relit.within(box))
    if measured.mask_part == 0:
        return measured, found
    inside = small_relit.inside
    shift = found.shift_px[inside]
    return replace(
        measured,
        shift_px=float(shift.mean()),
        shift_p95_px=float(np.percentile(shift, 95)),
        reliability=float(found.reliability[inside].mean()),
        **_measure_regions(relit, inside, found.shift_px),
    ), found


def _measure_light(flat: View, carried: View, relit: View) -> PairMeasures:
    """What needs no motion, all small: from the flat picture, and from it at the relit time and the relit one, of which
    only the part around the person may be given."""
    inside, inside_relit, luma = flat.inside, relit.inside, flat.luma
    if not inside.any() or not inside_relit.any():
        return PairMeasures(mask_part=0.0)
    brightest = relit.picture[inside_relit].max(-1)
    change = cv2.norm(relit.mask, carried.mask, cv2.NORM_L1) / cv2.norm(relit.mask, cv2.NORM_L1)
    outside = np.asarray(cv2.dilate(flat.mask, np.ones((9, 9), np.uint8)) == 0, np.uint8)
    return PairMeasures(
        sharpness=measure_sharpness(luma, inside),
        clipped=float(((brightest >= 254) | (brightest <= 1)).mean()),
        flicker=change,
        mask_part=float(inside.mean()),
        flat_level=cv2.mean(luma, outside)[0] if outside.any() else float("nan"),
        light_change=float(cv2.absdiff(relit.picture, carried.picture)[inside_relit].mean()),
    )


def _around(mask: UInt8Array, other: UInt8Array) -> tuple[slice, slice]:
    """Rows and columns of what either mask covers, shape (y, x), and of as much beside it as people move in a step."""
    left, top, width, height = cv2.boundingRect(cv2.max(mask, other))
    margin = max(mask.shape) // MARGIN_PART
    rows = slice(max(top - margin, 0), min(top + height + margin, mask.shape[0]))
    return rows, slice(max(left - margin, 0), min(left + width + margin, mask.shape[1]))


def measure_sharpness(luma: UInt8Array, mask: BoolArray) -> float:
    """Variance of the Laplacian over the mean squared, on the mask; blur by motion or focus lowers it."""
    mean = float(luma[mask].mean())
    return float(cv2.Laplacian(luma, cv2.CV_32F)[mask].var()) / max(mean, 1.0) ** 2


def _measure_regions(relit: View, inside: BoolArray, shift_px: Float32Array) -> dict[str, float]:
    """Mean shift of each region by field; none where nothing is labelled."""
    if relit.parts is None:
        return {}
    parts = cv2.resize(relit.parts, (inside.shape[1], inside.shape[0]), interpolation=cv2.INTER_NEAREST)
    means = region_means(shift_px, region_masks(np.asarray(parts, np.uint8), relit.regions, inside))
    return dict(zip(REGION_FIELDS, means, strict=True))


def _small(picture: UInt8Array) -> UInt8Array:
    return shrink(picture, working_size(picture.shape[1], picture.shape[0], MOTION_LONG_SIDE_PX))

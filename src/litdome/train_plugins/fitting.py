"""Bring pictures of any size into the frame that a model takes, and what it makes back out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from litdome.errors import UsageError

FloatArray = npt.NDArray[np.float32]
UNIT_PX = 16  # 8 of the autoencoder, 2 of a patch
WIDE = 1280 / 704  # the frame that DiffusionRenderer was trained in; upright frames distort (NVIDIA/cosmos#26)
Scalar = TypeVar("Scalar", bound=np.generic)
Size = tuple[int, int]  # height, width, px


@dataclass(frozen=True)
class Fit:
    """Where a clip's pictures lie in the model's frame.

    Attributes:
        size: Of the clip, (height, width), px.
        shown: What becomes of it in the frame: never larger, the same aspect, never turned.
        frame: Of the model; whole multiples of `UNIT_PX`.
        top, left: Where the picture lies in the frame, px.
    """

    size: Size
    shown: Size
    frame: Size
    top: int
    left: int

    def place(self, picture: npt.NDArray[Any], fill: float) -> FloatArray:
        """A picture of the clip, shape (c, h, w), in the frame; around it ``fill``."""
        planes = np.asarray(picture, np.float32)
        if self.shown != self.size:
            planes = np.stack([cv2.resize(plane, self.shown[::-1], interpolation=cv2.INTER_AREA) for plane in planes])
        placed = np.full((len(planes), *self.frame), fill, np.float32)
        placed[:, self.top : self.top + self.shown[0], self.left : self.left + self.shown[1]] = planes
        return placed

    def cut(self, pictures: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """What the model made of the picture itself, shape (..., H, W) to (..., h, w)."""
        rows, columns = slice(self.top, self.top + self.shown[0]), slice(self.left, self.left + self.shown[1])
        return pictures[..., rows, columns]


def fit_into(size: Size, frame: Size | None = None) -> Fit:
    """How a clip of one size goes into a model's frame.

    Args:
        size: Of the clip, (height, width), px.
        frame: Of the model. Without one the clip keeps its size and is padded to whole multiples of `UNIT_PX`, an
            upright one to as wide a frame as DiffusionRenderer's.

    Raises:
        UsageError: A frame that is not whole multiples of `UNIT_PX`.
    """
    height, width = size
    if frame is None:
        frame = (_whole(height), _whole(max(width, round(height * WIDE)) if height > width else width))
    elif any(side <= 0 or side % UNIT_PX for side in frame):
        near = "x".join(str(max(UNIT_PX, _whole(side))) for side in frame)
        raise UsageError(
            f"a frame of {frame[0]}x{frame[1]} px: not whole multiples of {UNIT_PX}", hint=f"--size {near}"
        )
    scale = min(1.0, frame[0] / height, frame[1] / width)
    shown = size if scale == 1 else (_even(height * scale, frame[0]), _even(width * scale, frame[1]))
    return Fit(size, shown, frame, (frame[0] - shown[0]) // 2, (frame[1] - shown[1]) // 2)


def _whole(px: int) -> int:
    return -(-px // UNIT_PX) * UNIT_PX


def _even(px: float, most: int) -> int:
    return min(most, max(2, 2 * round(px / 2)))

"""Stored pictures, masks and light maps as the tensors of a sample, each converted in one pass.

Measured at 704x1280 in docs/loading.md: decoding takes longer than all of this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[Any]


def unit_picture(codes: npt.NDArray[np.uint8]) -> Tensor:
    """A picture, shape (y, x, 3), 0..255, as float32 of shape (3, y, x), 0..1."""
    return _as_float(_planes(codes)).div_(255)


def unit_coverage(codes: npt.NDArray[np.uint8]) -> Tensor:
    """A mask or weight map, shape (y, x), 0..255, as float32 of shape (1, y, x), 0..1."""
    return _as_float(codes[None]).div_(255)


def signed_light(view: Array, size: tuple[int, int] | None = None) -> Tensor:
    """A map of the light as stored, shape (v, u, 3), float16 0..1, as the model takes it.

    Args:
        view: The whole sphere around the camera.
        size: Rows and columns wanted, resampled by area where that is another size (a crop of the picture is lit by the
            same whole sphere); as stored by default.

    Returns:
        Shape (3, v, u), float32, -1..1.
    """
    if size is not None and view.shape[:2] != size:
        view = cv2.resize(view.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    return _as_float(_planes(view)).mul_(2).sub_(1)


def directions(view: Array) -> Tensor:
    """Directions of a light map, shape (v, u, 3), as float32 of shape (3, v, u)."""
    return _as_float(_planes(view))


def _planes(picture: Array) -> Array:
    """(y, x, 3) as (3, y, x), contiguous: cv2.split is three times as fast as a transposed copy."""
    codes = np.ascontiguousarray(picture)
    kind = codes.view(np.uint16) if codes.dtype == np.float16 else codes  # cv2 has no float16 of numpy's
    planes = np.empty((3, *codes.shape[:2]), kind.dtype)
    cv2.split(kind, list(planes))
    return planes.view(codes.dtype)


def _as_float(values: Array) -> Tensor:
    import torch

    return torch.from_numpy(values).to(torch.float32, copy=True)

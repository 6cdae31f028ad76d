"""Stored pictures, masks and light maps as tensors: compact as stored, then as float32 in the ranges of a sample.

Workers hand over compact samples: filling shared memory costs more than decoding (docs/loading.md), and float32 is
three times as large.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[Any]
LIGHT_KEYS = ("env_ldr", "env_log")


def planes(picture: Array) -> Tensor:
    """A picture or map, shape (y, x, 3), as (3, y, x); a mask, shape (y, x), as (1, y, x). The dtype stays."""
    import torch

    if picture.ndim == 2:
        return torch.from_numpy(picture[None])
    codes = np.ascontiguousarray(picture)
    plain = codes.view(np.uint16) if codes.dtype == np.float16 else codes  # cv2 has no float16 of numpy's
    split = np.empty((3, *codes.shape[:2]), plain.dtype)
    cv2.split(plain, list(split))  # three times as fast as a transposed copy
    return torch.from_numpy(split.view(codes.dtype))


def resampled(view: Array, size: tuple[int, int]) -> Array:
    """A light map, shape (v, u, 3), at another size, by area: a crop of the picture is lit by the same whole sphere."""
    return np.asarray(cv2.resize(view.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA))


def as_floats(sample: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A compact sample in the ranges of the contract, on the device where it lies.

    Args:
        sample: Codes 0..255 as uint8; maps of light as stored, 0..1, and of directions, as float16 or float32.

    Returns:
        Pictures and masks 0..1, maps -1..1, as float32; what else there is unchanged.
    """
    return {key: _as_float(key, value) for key, value in sample.items()}


def _as_float(key: str, value: Tensor) -> Tensor:
    import torch

    if value.dtype == torch.uint8:
        return value.to(torch.float32).div_(255)
    if key in LIGHT_KEYS:
        return value.to(torch.float32, copy=True).mul_(2).sub_(1)
    return value.to(torch.float32) if value.dtype == torch.float16 else value

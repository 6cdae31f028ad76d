"""Stored pictures as RGB: only the tiles that a region touches are read, decoded and converted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from litdome.color import ColorCorrection, display_from_codes, linear_from_srgb, srgb_from_linear
from litdome.errors import UsageError
from litdome.geometry import Camera, view_maps
from litdome.media.planes import CHROMA_STEPS, rgb_from_planes
from litdome.stage import Array
from litdome.store.arrays import ArrayStore

Region = tuple[int, int, int, int]  # x0, y0, x1, y1, px, half-open


@dataclass(frozen=True)
class PictureGroup:
    """The pictures of one camera and kind in a store.

    Attributes:
        store: Where.
        path: ``cameras/<id>/<kind>``.
        transfer, exposure_ev: How codes become display-referred values.
        correction: Colour calibration that is applied; None: none.
        linear: Whether corrected pictures are given as linear light (``float32`` only).
    """

    store: ArrayStore
    path: str
    transfer: str = "srgb"
    exposure_ev: float = 0.0
    correction: ColorCorrection | None = None
    linear: bool = False

    def read(self, n: int, dtype: str, region: Region | None = None) -> Array:
        """The n-th picture, or a region of it, RGB, shape (y, x, 3): display-referred unless `linear`.

        Raises:
            StoreError: Damaged or missing.
        """
        if self.correction is None:
            return self._read_display(n, dtype, region)
        codes = self._read_display(n, dtype, region)
        x0, y0 = (region or (0, 0))[:2]
        place = (x0, y0, x0 + codes.shape[1], y0 + codes.shape[0])
        return colour_corrected(codes, self.correction, place, linear=self.linear)

    def _read_display(self, n: int, dtype: str, region: Region | None) -> Array:
        plain = self.transfer in ("srgb", "bt709") and self.exposure_ev == 0
        inner = dtype if plain else "float32"
        if self.store.has(f"{self.path}/luma"):
            rgb = self._from_planes(n, inner, region)
        else:
            box = None if region is None else (*box_of(region), (0, 3))
            codes = self.store.read_at(f"{self.path}/rgb", n, box, required=True)
            rgb = codes if codes.dtype == np.dtype(inner) else as_dtype(_as_float(codes), inner)
        return rgb if plain else as_dtype(display_from_codes(rgb, self.transfer, self.exposure_ev), dtype)

    def read_luma(self, n: int) -> npt.NDArray[np.uint8]:
        """Luma of the n-th picture, shape (y, x), uint8, codes as recorded (the upper 8 bits)."""
        if not self.store.has(f"{self.path}/luma"):
            return np.asarray(cv2.cvtColor(self.read(n, "uint8"), cv2.COLOR_RGB2GRAY), np.uint8)
        codes = self.store.read_at(f"{self.path}/luma", n, required=True)
        bits = int(cast(int, self.store.array(f"{self.path}/luma").attrs["bits"]))
        return codes if codes.dtype == np.uint8 else (codes >> (bits - 8)).astype(np.uint8)

    def _from_planes(self, n: int, dtype: str, region: Region | None) -> Array:
        luma = self.store.array(f"{self.path}/luma")
        attrs: Any = luma.attrs
        height, width = luma.shape[1:]
        rows, columns = CHROMA_STEPS[str(attrs["subsampling"])]
        x0, y0, x1, y1 = region or (0, 0, width, height)
        left, above = x0 // columns * columns, y0 // rows * rows
        right, below = min(width, -(-x1 // columns) * columns), min(height, -(-y1 // rows) * rows)
        small = (left // columns, above // rows, -(-right // columns), -(-below // rows))
        rgb = rgb_from_planes(
            self.store.read_at(f"{self.path}/luma", n, box_of((left, above, right, below)), required=True),
            self.store.read_at(f"{self.path}/chroma", n, ((0, 2), *box_of(small)), required=True),
            subsampling=str(attrs["subsampling"]),
            matrix=str(attrs["matrix"]),
            range=str(attrs["range"]),
            bits=int(attrs["bits"]),
            dtype=dtype,
        )
        return rgb[y0 - above : y1 - above, x0 - left : x1 - left]


def read_undistorted(group: PictureGroup, n: int, dtype: str, camera: Camera, region: Region | None) -> Array:
    """The n-th picture, or a region of it, without lens distortion; 0 where the lens saw nothing.

    Args:
        group, n, dtype: As `PictureGroup.read`.
        camera: Calibration of the stored picture.
        region: Of the undistorted picture.
    """
    x0, y0, x1, y1 = region or (0, 0, camera.width, camera.height)
    shift = np.array([[1.0, 0, -x0], [0, 1, -y0], [0, 0, 1]])
    target = replace(camera.undistorted(), width=x1 - x0, height=y1 - y0, intrinsics=shift @ camera.intrinsics)
    map_x, map_y = view_maps(camera, target)
    left, right = _reach(map_x, camera.width)
    above, below = _reach(map_y, camera.height)
    if left >= right or above >= below:
        return np.zeros((y1 - y0, x1 - x0, 3), dtype)
    picture = group.read(n, dtype, (left, above, right, below))
    moved = map_x - np.float32(left), map_y - np.float32(above)
    return np.asarray(cv2.remap(picture, *moved, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT))


def check_region(region: Region, size: tuple[int, int], where: str) -> None:
    """Refuse a region that is empty or reaches beyond a picture of ``size`` (width, height).

    Raises:
        UsageError: It does.
    """
    x0, y0, x1, y1 = region
    if not (0 <= x0 < x1 <= size[0] and 0 <= y0 < y1 <= size[1]):
        raise UsageError(f"{where}: region {region} is not inside 0,0,{size[0]},{size[1]}", hint="x0, y0, x1, y1 in px")


def resized(picture: Array, size: tuple[int, int]) -> Array:
    """``picture`` at ``size`` (width, height): area average when it shrinks, linear when it grows."""
    shrinks = size[0] < picture.shape[1]
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))


def colour_corrected(codes: Array, correction: ColorCorrection, region: Region, *, linear: bool) -> Array:
    """Apply a colour calibration in linear light: one look-up, one matrix, one look-up back.

    Args:
        codes: Display-referred RGB, shape (y, x, 3), uint8 or uint16 codes or float32 in 0..1.
        correction: What to apply.
        region: Where ``codes`` lie in the stored picture: the fall-off depends on it.
        linear: Give linear light, float32, not clipped.

    Returns:
        Same shape; display-referred values of the same dtype, clipped to their range, unless ``linear``.
    """
    is_short = codes.dtype == np.uint8
    light = cv2.LUT(codes, _linear_codes()) if is_short else linear_from_srgb(as_dtype(codes, "float32"))
    share = correction.falloff(region)
    matrix = correction.matrix
    if share is None:
        light = cv2.transform(light, matrix)
    else:  # M (L - k) / share + b
        offset = correction.gain * correction.affine[:, 3]
        light = cv2.transform(light, np.column_stack([matrix[:, :3], matrix[:, 3] - offset]))
        light /= share[..., None]
        light += offset.astype(np.float32)
    if linear:
        return np.asarray(light)
    if is_short:
        np.clip(light, 0, 1, out=light)
        light *= 65535
        light += 0.5
        return np.asarray(cv2.LUT(light.astype(np.uint16), _display_codes()))
    return as_dtype(np.clip(srgb_from_linear(light), 0, 1), codes.dtype.name)


@lru_cache(maxsize=1)
def _linear_codes() -> npt.NDArray[np.float32]:
    """Linear light of each 8-bit code, shape (256,)."""
    return linear_from_srgb(np.arange(256, dtype=np.float32) / np.float32(255))


@lru_cache(maxsize=1)
def _display_codes() -> npt.NDArray[np.uint8]:
    """8-bit codes of linear light in steps of 1/65535: the curve's steepest part moves by a twentieth of a code."""
    return as_dtype(srgb_from_linear(np.linspace(0, 1, 65536)), "uint8")


def as_dtype(picture: Array, dtype: str) -> Array:
    """Codes or values in 0..1 as ``uint8``, ``uint16`` (full scale) or ``float32`` (0..1)."""
    if picture.dtype == np.dtype(dtype):
        return picture
    if dtype == "float32":
        return _as_float(picture)
    if np.issubdtype(picture.dtype, np.floating):
        top = np.iinfo(np.dtype(dtype)).max
        return np.asarray(np.clip(picture, 0, 1) * top + 0.5).astype(dtype)
    return (picture >> 8).astype(np.uint8) if dtype == "uint8" else picture.astype(np.uint16) * 257


def _as_float(codes: Array) -> npt.NDArray[np.float32]:
    if np.issubdtype(codes.dtype, np.floating):
        return codes.astype(np.float32)
    return codes.astype(np.float32) / np.float32(np.iinfo(codes.dtype).max)


def box_of(region: Region) -> tuple[tuple[int, int], tuple[int, int]]:
    """A region as ranges of rows and of columns."""
    x0, y0, x1, y1 = region
    return (y0, y1), (x0, x1)


def _reach(positions: npt.NDArray[np.float32], length: int) -> tuple[int, int]:
    """The pixels that linear interpolation at ``positions`` reads, half-open, inside a picture of ``length``."""
    return max(0, int(np.floor(positions.min())) - 1), min(length, int(np.ceil(positions.max())) + 2)

"""Native picture codes (YCbCr planes or RGB) and their exact conversion to and from RGB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import cv2
import numpy as np
import numpy.typing as npt

from litdome.errors import ConfigError

Codes = npt.NDArray[Any]
Matrix = Literal["bt601", "bt709", "bt2020"]
ColorRange = Literal["limited", "full"]
Subsampling = Literal["420", "422", "444"]
ChromaFilter = Literal["nearest", "linear"]
Region = tuple[int, int, int, int]  # x0, y0, x1, y1, px, half-open
LUMA_WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}  # Kr, Kb
CHROMA_STEPS = {"420": (2, 2), "422": (1, 2), "444": (1, 1)}  # (rows, columns) of luma per chroma sample


@dataclass(frozen=True, eq=False)
class PictureCodes:
    """One picture as decoded, nothing converted: luma and chroma, or rgb.

    Attributes:
        luma: Shape (y, x), uint8 or uint16 codes of ``bits`` bits; None for an RGB source.
        chroma: Cb and Cr, shape (2, y', x'), as luma; None for an RGB source.
        rgb: Shape (y, x, 3), uint8, uint16 (scaled to 16 bits) or float16 (scene-linear); None for a YCbCr source.
        alpha: Coverage, shape (y, x), uint8 or uint16 (full scale), of a video that has it; `cropped` and `scaled`
            leave it out.
    """

    luma: Codes | None = None
    chroma: Codes | None = None
    rgb: Codes | None = None
    alpha: Codes | None = None

    @property
    def picture(self) -> Codes:
        """Luma of a YCbCr source, rgb of an RGB source."""
        return cast(Codes, self.rgb if self.luma is None else self.luma)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), px."""
        return self.picture.shape[1], self.picture.shape[0]


def chroma_shape(height: int, width: int, subsampling: str) -> tuple[int, int]:
    """(rows, columns) of a chroma plane; odd sizes round up."""
    rows, columns = CHROMA_STEPS[subsampling]
    return -(-height // rows), -(-width // columns)


def need_region(region: Region, size: tuple[int, int], subsampling: str) -> None:
    """Refuse a part of a picture that cannot be cut out.

    Args:
        region: (x0, y0, x1, y1), px, half-open.
        size: (width, height) of the picture, px.
        subsampling: ``420``, ``422``, ``444``; ``rgb``.

    Raises:
        ConfigError: The region is empty, reaches beyond the picture, or cuts through a chroma sample.
    """
    x0, y0, x1, y1 = region
    width, height = size
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise ConfigError(f"crop {x0},{y0},{x1},{y1} px is not inside {width}x{height} px")
    rows, columns = CHROMA_STEPS.get(subsampling, (1, 1))
    if x0 % columns or y0 % rows or (x1 % columns and x1 < width) or (y1 % rows and y1 < height):
        hint = f"columns in steps of {columns}, rows in steps of {rows}"
        raise ConfigError(f"crop {x0},{y0},{x1},{y1} px cuts through chroma samples of {subsampling}", hint=hint)


def cropped(codes: PictureCodes, region: Region, subsampling: str) -> PictureCodes:
    """The part of a picture inside ``region`` (x0, y0, x1, y1), px, half-open; views, code for code.

    Raises:
        ConfigError: As `need_region`.
    """
    need_region(region, codes.size, subsampling)
    x0, y0, x1, y1 = region
    if codes.luma is None or codes.chroma is None:
        return PictureCodes(rgb=codes.picture[y0:y1, x0:x1])
    rows, columns = CHROMA_STEPS[subsampling]
    chroma = codes.chroma[:, y0 // rows : -(-y1 // rows), x0 // columns : -(-x1 // columns)]
    return PictureCodes(luma=codes.luma[y0:y1, x0:x1], chroma=chroma)


def scaled(codes: PictureCodes, size: tuple[int, int], subsampling: str) -> PictureCodes:
    """A picture averaged down to ``size`` (width, height), px, in its own bit depth."""
    if codes.size == size:
        return codes
    if codes.luma is None or codes.chroma is None:
        return PictureCodes(rgb=resized(codes.picture, size))
    rows, columns = chroma_shape(size[1], size[0], subsampling)
    chroma = np.stack([resized(plane, (columns, rows)) for plane in codes.chroma])
    return PictureCodes(luma=resized(codes.luma, size), chroma=chroma)


def resized(plane: Codes, size: tuple[int, int]) -> Codes:
    """Codes of shape (y, x) or (y, x, channel) averaged to ``size`` (width, height), px, in their own dtype."""
    if (plane.shape[1], plane.shape[0]) == size:
        return plane
    wide = plane.astype(np.float32) if plane.dtype == np.float16 else plane  # OpenCV has no half floats
    return np.asarray(cv2.resize(wide, size, interpolation=cv2.INTER_AREA)).astype(plane.dtype, copy=False)


def rgb_from_planes(
    luma: Codes,
    chroma: Codes,
    *,
    subsampling: str = "420",
    matrix: str = "bt601",
    range: str = "limited",
    bits: int = 8,
    dtype: str = "uint8",
    region: tuple[int, int, int, int] | None = None,
    chroma_filter: ChromaFilter = "nearest",
) -> Codes:
    """Convert YCbCr codes to RGB.

    Args:
        luma: Shape (y, x), uint8 or uint16.
        chroma: Cb and Cr, shape (2, y', x').
        subsampling: ``420``, ``422`` or ``444``.
        matrix: ``bt601``, ``bt709`` or ``bt2020`` (non-constant luminance).
        range: ``limited`` or ``full``.
        bits: Bits of a code, 8 to 16.
        dtype: ``uint8``, ``uint16`` (full scale) or ``float32`` (0..1).
        region: (x0, y0, x1, y1), px, half-open; the whole picture by default.
        chroma_filter: How chroma is brought to luma's size.

    Returns:
        Shape (y, x, 3), clipped to the dtype's range. 8-bit bt601 limited 4:2:0 goes through OpenCV's fixed point and
        may differ from the formula by 1 code, and luma below black counts as black.

    Raises:
        ConfigError: Unknown subsampling, matrix, range or dtype.

    Source: ITU-R BT.601-7, BT.709-6, BT.2020-2.
    """
    _check_names(subsampling, matrix, range, dtype)
    if region is not None:
        return _convert_region(luma, chroma, region, subsampling, matrix, range, bits, dtype, chroma_filter)
    height, width = luma.shape
    even = height % 2 == 0 and width % 2 == 0
    common = (subsampling, matrix, range, dtype, chroma_filter) == ("420", "bt601", "limited", "uint8", "nearest")
    if common and bits == 8 and even:
        planar = np.concatenate([luma.reshape(-1), chroma.reshape(-1)]).reshape(height * 3 // 2, width)
        return np.asarray(cv2.cvtColor(planar, cv2.COLOR_YUV2RGB_I420))
    ycc = np.empty((height, width, 3), np.uint8 if bits == 8 and dtype == "uint8" else np.float32)
    ycc[..., 0] = luma
    for channel in (0, 1):
        ycc[..., channel + 1] = _enlarge(chroma[channel], height, width, subsampling, chroma_filter)
    top = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}[dtype]
    transform = _rgb_from_ycc(matrix, range, bits) * top
    if ycc.dtype == np.uint8:
        return np.asarray(cv2.transform(ycc, transform))
    rgb = np.clip(cv2.transform(ycc, transform), 0, top)
    return np.asarray(rgb if dtype == "float32" else (rgb + 0.5).astype(dtype))


def planes_from_rgb(
    rgb: Codes, *, matrix: Matrix = "bt709", range: ColorRange = "limited", bits: int = 8
) -> tuple[Codes, Codes]:
    """Convert RGB, shape (y, x, 3), uint8 or uint16 (full scale), even sizes only, to 4:2:0 codes of 8 to 16 bits.

    Returns:
        Luma (y, x) and chroma (2, y', x'), uint8, above 8 bits uint16.
    """
    forward = np.linalg.inv(_with_row(_rgb_from_ycc(matrix, range, bits) * float(np.iinfo(rgb.dtype).max)))[:3]
    ycc = cv2.transform(rgb.astype(np.float32), forward)
    height, width = rgb.shape[:2]
    small = cv2.resize(ycc[..., 1:], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    top, dtype = 2**bits - 1, np.uint8 if bits == 8 else np.uint16
    luma = np.clip(ycc[..., 0] + 0.5, 0, top).astype(dtype)
    return luma, np.clip(small.transpose(2, 0, 1) + 0.5, 0, top).astype(dtype)


def _check_names(subsampling: str, matrix: str, range: str, dtype: str) -> None:
    known = (
        ("subsampling", subsampling, get_args(Subsampling)),
        ("matrix", matrix, get_args(Matrix)),
        ("range", range, get_args(ColorRange)),
        ("dtype", dtype, ("uint8", "uint16", "float32")),
    )
    for what, value, allowed in known:
        if value not in allowed:
            raise ConfigError(f"{what} {value!r} of a picture is not one of {', '.join(allowed)}")


def _rgb_from_ycc(matrix: str, range: str, bits: int) -> npt.NDArray[np.float64]:
    """Affine map, shape (3, 4), from YCbCr codes to RGB in 0..1."""
    kr, kb = LUMA_WEIGHTS[matrix]
    kg = 1 - kr - kb
    to_rgb = np.array(
        [[1, 0, 2 * (1 - kr)], [1, -2 * kb * (1 - kb) / kg, -2 * kr * (1 - kr) / kg], [1, 2 * (1 - kb), 0]]
    )
    step, top = 2.0 ** (bits - 8), 2.0**bits - 1
    luma_scale, chroma_scale, black = (219 * step, 224 * step, 16 * step) if range == "limited" else (top, top, 0.0)
    to_rgb = to_rgb @ np.diag([1 / luma_scale, 1 / chroma_scale, 1 / chroma_scale])
    return np.column_stack([to_rgb, -to_rgb @ [black, 128 * step, 128 * step]])


def _with_row(affine: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.vstack([affine, [0, 0, 0, 1]])


def _enlarge(plane: Codes, height: int, width: int, subsampling: str, chroma_filter: ChromaFilter) -> Codes:
    rows, columns = CHROMA_STEPS[subsampling]
    if (rows, columns) == (1, 1):
        return plane
    mode = cv2.INTER_NEAREST if chroma_filter == "nearest" else cv2.INTER_LINEAR
    full = cv2.resize(plane, (plane.shape[1] * columns, plane.shape[0] * rows), interpolation=mode)
    return np.asarray(full)[:height, :width]


def _convert_region(
    luma: Codes,
    chroma: Codes,
    region: tuple[int, int, int, int],
    subsampling: str,
    matrix: str,
    range: str,
    bits: int,
    dtype: str,
    chroma_filter: ChromaFilter,
) -> Codes:
    x0, y0, x1, y1 = region
    rows, columns = CHROMA_STEPS[subsampling]
    margin = 2 if chroma_filter == "linear" else 0  # luma pixels that linear chroma reads beyond the region
    left = max(0, x0 - margin) // columns * columns
    above = max(0, y0 - margin) // rows * rows
    right = min(luma.shape[1], -(-(x1 + margin) // columns) * columns)
    below = min(luma.shape[0], -(-(y1 + margin) // rows) * rows)
    rgb = rgb_from_planes(
        luma[above:below, left:right],
        np.ascontiguousarray(chroma[:, above // rows : -(-below // rows), left // columns : -(-right // columns)]),
        subsampling=subsampling,
        matrix=matrix,
        range=range,
        bits=bits,
        dtype=dtype,
        chroma_filter=chroma_filter,
    )
    return rgb[y0 - above : y1 - above, x0 - left : x1 - left]

"""What a picture looks like in two hundred numbers: enough to tell light, focus and noise without the picture."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.color import srgb_from_linear
from litdome.media.planes import LUMA_WEIGHTS, Codes, PictureCodes
from litdome.media.video import VideoProbe

FloatArray = npt.NDArray[np.floating[Any]]
GRID = (24, 8)  # rows tell the banding of a rolling shutter, columns the side that the light comes from
SAMPLES_PER_BLOCK = 12  # rows and columns of samples in a block of the grid
PATCHES = (4, 6)  # over the inner three quarters of the picture
PATCH_PX = 40
MIN_PATCH_PX = 3
MIN_CONTRAST = 0.02  # of white; below, there is nothing to be sharp
NOISE_GAIN = 6.0  # norm of the noise mask
LAPLACIAN_ABS = np.sqrt(np.pi / 2) / NOISE_GAIN  # standard deviation from the mean absolute response
CLIPPED, BLACK = 0.985, 0.015  # of white: sensors and encoders clip a little inside the range
LOOK_ARRAYS = {  # looks/NAME in a session: (camera, frame, ...)
    "grid": "mean luma of blocks, 0 black to 1 white",
    "clipped": "share of pixels at white",
    "black": "share of pixels at black",
    "sharpness": "share of the contrast that the steepest edges cross in one pixel",
    "noise": "standard deviation in flat areas, 8-bit codes",
    "fingerprint": "32 bits of a luma subsample; 0 where absent",
}


@dataclass(frozen=True, eq=False)
class PictureLook:
    """Light, exposure, focus and noise of one picture.

    Attributes:
        grid: Mean luma of blocks, shape (24, 8), float32, 0 black to 1 white; a little beyond in limited range.
        clipped, black: Share of pixels at white and at black, 0..1.
        sharpness: Share of the picture's contrast that its steepest edges cross in one pixel; NaN without contrast.
        noise: Standard deviation in flat areas, 8-bit codes; NaN where the picture is too small.
        fingerprint: 32 bits of a luma subsample, above 0; equal only for the same codes.
    """

    grid: npt.NDArray[np.float32]
    clipped: float
    black: float
    sharpness: float
    noise: float
    fingerprint: int


@dataclass(frozen=True, eq=False)
class Looks:
    """The looks of many cameras; NaN (fingerprint: 0) where a camera has no picture.

    Attributes:
        cameras: Ids, in the order of the rows.
        grid: Shape (camera, frame, 24, 8), float16.
        clipped, black, sharpness, noise: Shape (camera, frame), float32.
        fingerprint: Shape (camera, frame), uint32.
    """

    cameras: tuple[str, ...]
    grid: npt.NDArray[np.float16]
    clipped: npt.NDArray[np.float32]
    black: npt.NDArray[np.float32]
    sharpness: npt.NDArray[np.float32]
    noise: npt.NDArray[np.float32]
    fingerprint: npt.NDArray[np.uint32]

    @property
    def frames(self) -> int:
        """Frames that the arrays hold."""
        return int(self.grid.shape[1])

    def put(self, row: int, frame: int, look: PictureLook) -> None:
        """Note the picture of a camera at a frame."""
        self.grid[row, frame] = look.grid
        self.fingerprint[row, frame] = look.fingerprint
        for name in ("clipped", "black", "sharpness", "noise"):
            getattr(self, name)[row, frame] = getattr(look, name)


def empty_looks(cameras: tuple[str, ...], frames: int) -> Looks:
    """Looks of pictures that are not there yet."""
    shape = (len(cameras), frames)
    clipped, black, sharpness, noise = (np.full(shape, np.nan, np.float32) for _ in range(4))
    grid, fingerprint = np.full((*shape, *GRID), np.nan, np.float16), np.zeros(shape, np.uint32)
    return Looks(cameras, grid, clipped, black, sharpness, noise, fingerprint)


def measure_picture(codes: PictureCodes, probe: VideoProbe) -> PictureLook:
    """Measure a picture from some 30,000 of its pixels, whatever its size.

    Args:
        codes: As decoded.
        probe: Says what the codes mean (bits, range, matrix). Scene-linear codes are measured after the sRGB curve.

    Returns:
        The look. Sharpness is the 99th percentile of the gradient less what noise adds, over the spread (1st to 99th
        percentile) of luma. Noise is the lower quartile over patches.

    Source: noise mask and factor: J. Immerkaer, Fast Noise Variance Estimation, 1996; the lower quartile over patches,
        which leaves texture out, and the sharpness are ours.
    """
    picture = codes.picture
    samples = picture[_picked(picture.shape[0], GRID[0])][:, _picked(picture.shape[1], GRID[1])]
    luma = display_luma(samples, probe)
    blocks = luma.reshape(GRID[0], luma.shape[0] // GRID[0], GRID[1], luma.shape[1] // GRID[1])
    sharpness, noise = _focus(display_luma(_patches(picture), probe))
    limited = codes.luma is not None and probe.range == "limited"
    return PictureLook(
        grid=blocks.mean(axis=(1, 3), dtype=np.float32),
        clipped=float((luma >= CLIPPED).mean()),
        black=float((luma <= BLACK).mean()),
        sharpness=sharpness,
        noise=noise * (219.0 if limited else 255.0),
        fingerprint=zlib.crc32(np.ascontiguousarray(samples).tobytes()) or 1,
    )


def _picked(length: int, blocks: int) -> npt.NDArray[np.intp]:
    """Rows (or columns) of a picture to sample, the same number in each block, evenly spread."""
    count = blocks * max(1, min(SAMPLES_PER_BLOCK, length // blocks))
    return ((np.arange(count) + 0.5) * length / count).astype(np.intp)


def display_luma(codes: Codes, probe: VideoProbe) -> npt.NDArray[np.float32]:
    """Luma of picked codes, 0 black to 1 white, display-referred; shape (..., y, x), of rgb (..., y, x, 3)."""
    if probe.subsampling != "rgb":
        step, top = 2.0 ** (probe.bits - 8), 2.0**probe.bits - 1
        black, white = (16 * step, 235 * step) if probe.range == "limited" else (0.0, top)
        return np.asarray((codes.astype(np.float32) - np.float32(black)) / np.float32(white - black))
    if codes.dtype.kind == "f":
        rgb = srgb_from_linear(np.clip(np.nan_to_num(codes.astype(np.float32)), 0, None))
    else:
        rgb = codes.astype(np.float32) / np.float32(np.iinfo(codes.dtype).max)
    red, blue = LUMA_WEIGHTS["bt709"]
    return np.asarray(rgb @ np.array([red, 1 - red - blue, blue], np.float32))


def _patches(picture: Codes) -> Codes:
    """Small pieces at full resolution, shape (patch, y, x) or (patch, y, x, 3); a small picture is one."""
    height, width = picture.shape[:2]
    rows, columns = PATCHES
    size = min(PATCH_PX, 3 * height // (4 * rows), 3 * width // (4 * columns))
    if size < MIN_PATCH_PX:
        return picture[None]
    tops = np.linspace(height / 8, height * 7 / 8 - size, rows).astype(int)
    lefts = np.linspace(width / 8, width * 7 / 8 - size, columns).astype(int)
    return np.stack([picture[y : y + size, x : x + size] for y in tops for x in lefts])


def _focus(luma: npt.NDArray[np.float32]) -> tuple[float, float]:
    """(sharpness, noise as a share of white) of patches, shape (patch, y, x)."""
    if min(luma.shape[1:]) < MIN_PATCH_PX:
        return np.nan, np.nan
    across = np.diff(luma, axis=2)
    twice = np.diff(across, axis=2)
    mask = np.diff(np.diff(twice, axis=1), axis=1)
    noise = float(np.quantile(np.abs(mask).mean(axis=(1, 2)), 0.25) * LAPLACIAN_ABS)
    low, high = np.quantile(luma[:, ::2, ::2], [0.01, 0.99])
    contrast = high - low
    if contrast < max(MIN_CONTRAST, 6 * noise):  # noise alone spreads over 4.7 of its standard deviations
        return np.nan, noise
    down = np.diff(luma, axis=1)
    energy = across[:, 1:] ** 2 + down[:, :, 1:] ** 2
    steep = float(np.quantile(energy, 0.99))
    from_noise = 2 * noise**2 * 2 * np.log(100)  # the 99th percentile of the energy of noise alone
    return float(np.sqrt(max(steep - from_noise, 0.0)) / contrast), noise

"""Chart readings from photographs of a 24-patch chart, one under each LED channel: what `read_mix_chart` reads."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.calib.color.charts import find_chart, read_patches
from litdome.calib.color.sources import check_corners
from litdome.calib.leds.drive_files import check_new_file
from litdome.calib.leds.mixing import COLUMNS, NEUTRAL, TARGET
from litdome.color import linear_from_srgb, srgb_from_linear
from litdome.errors import CalibrationError
from litdome.media.hdr import HDR_SUFFIXES, read_hdr
from litdome.media.images import read_picture

FloatArray = npt.NDArray[np.float64]
WHITE_PATCH = 18
PATCH_NAMES = tuple(NEUTRAL if n == WHITE_PATCH else f"p{n + 1:02d}" for n in range(24))
FEWEST_PATCHES = 8


def read_chart_photos(photos: Mapping[str, Path], corners: FloatArray | None = None) -> dict[str, FloatArray]:
    """Linear patch colours of photographs by one camera that nothing moved between, at one exposure.

    Args:
        photos: By light: LED channels, and optionally ``target``. Linear (.exr, .hdr) or sRGB.
        corners: Middles of dark skin, bluish green, black and white, shape (4, 2), px. Otherwise the chart is looked
            for in all photographs, those in white light first: under one colour it has no order that could be checked.

    Returns:
        Shape (24, 3) by light; NaN for patches that any photograph shows clipped, covered or not at all.

    Raises:
        CalibrationError: No chart found or it is mirrored, corners that are none, other picture sizes, the white patch
            or most patches cannot be read.
    """
    linear = {light: _linear(path) for light, path in photos.items()}
    sizes = {picture.shape[:2] for picture in linear.values()}
    if len(sizes) > 1:
        raise CalibrationError(f"chart photographs of {len(sizes)} sizes", hint="one camera, one place, one exposure")
    display = _as_displayed(linear, {light: path.suffix.lower() in HDR_SUFFIXES for light, path in photos.items()})
    if corners is None:
        corners = _found_corners(display)
    else:
        height, width = next(iter(sizes))
        check_corners(corners, (width, height), "--corners")
    readings = {light: read_patches(display[light], linear[light], corners) for light in photos}
    usable = np.all([reading.usable for reading in readings.values()], axis=0)
    if not usable[WHITE_PATCH] or usable.sum() < FEWEST_PATCHES:
        clipped = [light for light, reading in readings.items() if reading.clipped[WHITE_PATCH]]
        why = f"the white patch is clipped under {', '.join(clipped)}" if clipped else "most of it is covered"
        raise CalibrationError(
            f"{int(usable.sum())} of 24 patches can be read in all photographs: {why}",
            hint="one exposure for all, so that the brightest does not clip",
        )
    return {light: np.where(usable[:, None], reading.linear, np.nan) for light, reading in readings.items()}


def write_readings(path: Path, readings: Mapping[str, FloatArray]) -> None:
    """Write readings as the table that `read_mix_chart` reads; patches that are NaN are left out.

    Raises:
        UsageError: No such folder, or the file exists.
    """
    check_new_file(path)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for light, values in readings.items():
            for name, rgb in zip(PATCH_NAMES, values, strict=True):
                if np.isfinite(rgb).all():
                    writer.writerow([name, light, *(f"{value:.7g}" for value in rgb)])


def _linear(path: Path) -> FloatArray:
    if path.suffix.lower() in HDR_SUFFIXES:
        return read_hdr(path).astype(np.float64)
    picture = read_picture(path)
    return np.asarray(linear_from_srgb(picture.astype(np.float64) / np.iinfo(picture.dtype).max), np.float64)


def _as_displayed(linear: Mapping[str, FloatArray], is_hdr: Mapping[str, bool]) -> dict[str, FloatArray]:
    """Display-referred pictures, 0..1, shape (y, x, 3): HDR ones with the brightest of them well below 1, where nothing
    counts as clipped."""
    peak = max((float(linear[light].max()) for light in linear if is_hdr[light]), default=1.0)
    scales = {light: 1.1 * max(peak, 1e-12) if is_hdr[light] else 1.0 for light in linear}
    return {
        light: np.asarray(srgb_from_linear(np.clip(picture / scales[light], 0, 1)), np.float64)
        for light, picture in linear.items()
    }


def _found_corners(display: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
    for light in sorted(display, key=lambda light: (light != TARGET, light != "white", light)):
        found = find_chart(np.round(255 * display[light]).astype(np.uint8), f"{light} photograph")
        if found is not None:
            return found.corners
    raise CalibrationError(
        "no chart found in the photographs", hint="--corners X,Y,X,Y,X,Y,X,Y: dark skin, bluish green, black, white"
    )

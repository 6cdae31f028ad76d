"""Where a camera's colour comes from: its picture of a chart, corners given by hand, dark frames, a flat field."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.calib.charts import PatchReading, find_chart, read_patches
from litdome.calib.vignetting import Falloff, fit_falloff
from litdome.color import display_from_codes, falloff_at, linear_from_srgb
from litdome.errors import CalibrationError
from litdome.media.folders import IMAGE_SUFFIXES, read_picture
from litdome.stage import SessionLike

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
DARK_PICTURES = 5
NO_FALLOFF = np.zeros(3)


@dataclass(frozen=True, eq=False)
class CameraEvidence:
    """What is known of one camera before its colour is fitted.

    Attributes:
        reading: Its chart's patches, without black level and fall-off; None: no chart.
        why_not: Why there is no chart, in words; empty otherwise.
        black_level: From dark frames, linear, shape (3,); None: there are none.
        falloff: From a flat field; None: there is none.
        recorded: (width, height) of the recorded pictures, px.
    """

    reading: PatchReading | None
    why_not: str
    black_level: FloatArray | None
    falloff: Falloff | None
    recorded: tuple[int, int]

    @property
    def coefficients(self) -> FloatArray:
        """Of the fall-off, shape (3,); 0 where it is not known."""
        return NO_FALLOFF if self.falloff is None else self.falloff.coefficients


def picture_of(folder: Path, camera: str) -> Path | None:
    """A camera's picture in a folder, named by its id."""
    return next((path for suffix in IMAGE_SUFFIXES if (path := folder / f"{camera}{suffix}").is_file()), None)


def read_evidence(session: SessionLike, camera: str, folder: Path, corners: FloatArray | None) -> CameraEvidence:
    """What ``folder/<camera>`` (chart) and ``folder/flat/<camera>`` (flat field) and the session's dark frames show.

    Args:
        session: Says how codes become light, and holds dark frames.
        camera: Camera id.
        folder: As config's ``charts_dir``.
        corners: Of the chart, given by hand, shape (4, 2), px; None: look for it.

    Raises:
        CalibrationError: A mirrored chart, corners outside the picture, a picture of another size than recorded, or a
            flat field that is none.
        InputError: A picture cannot be read.
    """
    index = session.cameras.index(camera)
    recorded = session.array("rig/size").attrs["recorded_sizes"][index] or session.size(camera)
    width, height = int(recorded[0]), int(recorded[1])
    black = dark_level(session, camera)
    floor = np.zeros(3) if black is None else black
    flat = picture_of(folder / "flat", camera)
    falloff = None
    if flat is not None:
        _, light = _light_of(session, camera, flat, (width, height))
        falloff = fit_falloff((light - floor).astype(np.float32), str(flat))
    chart = picture_of(folder, camera)
    if chart is None:
        return CameraEvidence(None, f"no picture {folder / camera}.png", black, falloff, (width, height))
    display, light = _light_of(session, camera, chart, (width, height))
    if corners is None:
        found = find_chart(np.asarray(np.clip(display, 0, 1) * 255 + 0.5).astype(np.uint8))
        corners = None if found is None else found.corners
    else:
        _check_corners(corners, (width, height), f"camera {camera}")
    if corners is None:
        return CameraEvidence(None, f"no chart found in {chart}", black, falloff, (width, height))
    clean = light - floor
    if falloff is not None:
        clean = clean / _shares((width, height), falloff.coefficients)[..., None]
    reading = read_patches(display.astype(np.float64), clean, corners)
    return CameraEvidence(reading, "", black, falloff, (width, height))


def dark_level(session: SessionLike, camera: str) -> FloatArray | None:
    """Mean linear light of a camera's dark frames, shape (3,); None where none was recorded."""
    present = [n for n in range(session.count("dark")) if session.is_present(camera, "dark", n)][:DARK_PICTURES]
    if not present:
        return None
    table = linear_from_srgb(np.arange(256) / 255)
    levels = [table[session.read_frame(camera, "dark", n)].reshape(-1, 3).mean(axis=0) for n in present]
    return np.asarray(np.mean(levels, axis=0), np.float64)


def read_corners(file: Path) -> dict[str, FloatArray]:
    """Corners by camera, shape (4, 2), px, of a TOML file: ``c00 = [[x, y], [x, y], [x, y], [x, y]]``.

    They are the middles of the patches dark skin, bluish green, black and white, in this order.

    Raises:
        CalibrationError: Unreadable, or not four points a camera.
    """
    hint = "c00 = [[120, 80], [420, 80], [420, 260], [120, 260]]: middles of dark skin, bluish green, black, white"
    try:
        table: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
        found = {camera: np.array(points, np.float64) for camera, points in table.items()}
    except (OSError, ValueError, TypeError) as error:
        raise CalibrationError(f"{file}: {error}", hint=hint) from error
    for camera, points in found.items():
        if points.shape != (4, 2) or not np.isfinite(points).all():
            raise CalibrationError(f"{file}: {camera} has not four points [x, y]", hint=hint)
    return found


def stored_vignetting(session: SessionLike, camera: str, evidence: CameraEvidence) -> FloatArray:
    """Coefficients, middle and reach of the fall-off in px of the stored picture, shape (6,)."""
    (width, height), (stored_width, _) = evidence.recorded, session.size(camera)
    crops = session.array("rig/size").attrs.get("crops")
    crop = crops[session.cameras.index(camera)] if crops else None
    x0, y0, x1, _ = crop or (0, 0, width, height)
    scale = stored_width / (x1 - x0)
    middle = (np.array([(width - 1) / 2 - x0, (height - 1) / 2 - y0]) + 0.5) * scale - 0.5
    return np.array([*evidence.coefficients, *middle, np.hypot(width, height) / 2 * scale])


def _light_of(
    session: SessionLike, camera: str, path: Path, recorded: tuple[int, int]
) -> tuple[Float32Array, Float32Array]:
    """A picture as the camera's own: display-referred and linear, shape (y, x, 3)."""
    codes = read_picture(path)
    if codes.shape[1::-1] != recorded:
        raise CalibrationError(
            f"{path}: {codes.shape[1]}x{codes.shape[0]} px, camera {camera} recorded {recorded[0]}x{recorded[1]}",
            hint="take it with the camera as it records",
        )
    if np.issubdtype(codes.dtype, np.floating):
        values, transfer = codes.astype(np.float32), "linear"
    else:
        values, transfer = codes.astype(np.float32) / np.float32(np.iinfo(codes.dtype).max), session.transfer(camera)
    display = display_from_codes(values, transfer, float(session.attrs.get("exposure_ev", 0.0)))
    return display, linear_from_srgb(display)


def _shares(size: tuple[int, int], coefficients: FloatArray) -> Float32Array:
    width, height = size
    x, y = np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2
    return falloff_at((x**2 + (y**2)[:, None]) / ((width**2 + height**2) / 4), coefficients)


def _check_corners(corners: FloatArray, size: tuple[int, int], name: str) -> None:
    if (corners < 0).any() or (corners > np.array(size) - 1).any():
        raise CalibrationError(f"{name}: chart corners outside its {size[0]}x{size[1]} px", hint="px, x before y")
    edges = np.roll(corners, -1, axis=0) - corners
    turns = edges[:, 0] * np.roll(edges, -1, axis=0)[:, 1] - edges[:, 1] * np.roll(edges, -1, axis=0)[:, 0]
    if not (turns > 0).all():
        raise CalibrationError(
            f"{name}: chart corners do not go round the chart clockwise",
            hint="middles of dark skin, bluish green, black, white, in this order",
        )

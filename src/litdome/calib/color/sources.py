"""Where a camera's colour comes from: its picture of a chart, corners given by hand, dark frames, a flat field."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.calib.color.charts import PatchReading, find_chart, read_patches
from litdome.calib.color.vignetting import Falloff, fit_falloff
from litdome.color import display_from_codes, falloff_at, linear_from_srgb
from litdome.errors import CalibrationError
from litdome.media.folders import IMAGE_SUFFIXES, read_picture
from litdome.stage import SessionLike

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
DARK_PICTURES = 5


@dataclass(frozen=True, eq=False)
class SensorEvidence:
    """What is known of one camera's sensor and lens without a chart.

    Attributes:
        black_level: From dark frames, linear, shape (3,); None: there are none.
        falloff: From a flat field; None: there is none.
        recorded: (width, height) of the recorded pictures, px.
        vignetting: As `litdome.color.ColorCorrection`'s, in px of the stored picture.
    """

    black_level: FloatArray | None
    falloff: Falloff | None
    recorded: tuple[int, int]
    vignetting: FloatArray

    @property
    def floor(self) -> FloatArray:
        """The black level, 0 where it is not known."""
        return np.zeros(3) if self.black_level is None else self.black_level


def picture_of(folder: Path, camera: str) -> Path | None:
    """A camera's picture in a folder, named by its id."""
    return next((path for suffix in IMAGE_SUFFIXES if (path := folder / f"{camera}{suffix}").is_file()), None)


def read_sensor(session: SessionLike, camera: str, folder: Path) -> SensorEvidence:
    """What the session's dark frames and ``folder/flat/<camera>`` (a flat field) show.

    Raises:
        CalibrationError: The flat field is none, or of another size than recorded.
        InputError: It cannot be read.
    """
    index = session.cameras.index(camera)
    attrs = session.array("rig/size").attrs
    width, height = attrs["recorded_sizes"][index] or session.size(camera)
    black, path, falloff = dark_level(session, camera), picture_of(folder / "flat", camera), None
    if path is not None:
        _, light = _light_of(session, camera, path, (width, height))
        falloff = fit_falloff(light - (np.zeros(3) if black is None else black), str(path))
    x0, y0, x1, _ = (attrs.get("crops") or [None] * len(session.cameras))[index] or (0, 0, width, height)
    scale = session.size(camera)[0] / (x1 - x0)
    middle = (np.array([(width - 1) / 2 - x0, (height - 1) / 2 - y0]) + 0.5) * scale - 0.5
    coefficients = np.zeros(3) if falloff is None else falloff.coefficients
    vignetting = np.array([*coefficients, *middle, np.hypot(width, height) / 2 * scale])
    return SensorEvidence(black, falloff, (width, height), vignetting)


def read_chart(
    session: SessionLike, camera: str, folder: Path, sensor: SensorEvidence, corners: FloatArray | None
) -> PatchReading | str:
    """The patches of ``folder/<camera>``, without black level and fall-off; in words why there are none.

    Args:
        session: Says how codes become light.
        camera: Camera id.
        folder: Of the chart pictures.
        sensor: What is known of the camera.
        corners: Of the chart, given by hand, shape (4, 2), px; None: look for it.

    Raises:
        CalibrationError: A mirrored chart, corners outside the picture, or a picture of another size than recorded.
        InputError: The picture cannot be read.
    """
    path = picture_of(folder, camera)
    if path is None:
        return f"no picture {folder / camera}.png"
    display, light = _light_of(session, camera, path, sensor.recorded)
    if corners is None:
        found = find_chart(np.asarray(np.clip(display, 0, 1) * 255 + 0.5).astype(np.uint8), str(path))
        if found is None:
            return f"no chart found in {path}"
        corners = found.corners
    else:
        check_corners(corners, sensor.recorded, f"camera {camera}")
    clean = light - sensor.floor
    if sensor.falloff is not None:
        clean = clean / _shares(sensor.recorded, sensor.falloff.coefficients)[..., None]
    return read_patches(display.astype(np.float64), clean, corners)


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
    except OSError as error:
        raise CalibrationError(f"{file}: cannot be read ({error.strerror})", hint=hint) from error
    except (ValueError, TypeError) as error:
        raise CalibrationError(f"{file}: {error}", hint=hint) from error
    for camera, points in found.items():
        if points.shape != (4, 2) or not np.isfinite(points).all():
            raise CalibrationError(f"{file}: {camera} has not four points [x, y]", hint=hint)
    return found


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


def check_corners(corners: FloatArray, size: tuple[int, int], name: str) -> None:
    """Refuse corners by hand that cannot be a chart's.

    Args:
        corners: Shape (4, 2), px.
        size: (width, height) of the picture, px.
        name: What errors call it.

    Raises:
        CalibrationError: Outside the picture, or not clockwise: in another order, or on one line.
    """
    if (corners < 0).any() or (corners > np.array(size) - 1).any():
        raise CalibrationError(f"{name}: chart corners outside its {size[0]}x{size[1]} px", hint="px, x before y")
    edges = np.roll(corners, -1, axis=0) - corners
    turns = edges[:, 0] * np.roll(edges, -1, axis=0)[:, 1] - edges[:, 1] * np.roll(edges, -1, axis=0)[:, 0]
    if not (turns > 0).all():
        raise CalibrationError(
            f"{name}: chart corners do not go round the chart clockwise",
            hint="middles of dark skin, bluish green, black, white, in this order",
        )

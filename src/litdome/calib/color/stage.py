"""Colour: every camera's own colours brought to the chart's (or to one camera's), in linear light."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from litdome.calib.color.arrays import MEASURED, CameraColor, not_found, write_corrections, write_patches
from litdome.calib.color.charts import PatchReading
from litdome.calib.color.like import take_over
from litdome.calib.color.match import ColorFit, fit_affine, white_balance
from litdome.calib.color.person import person_colors
from litdome.calib.color.sources import SensorEvidence, picture_of, read_chart, read_corners, read_sensor
from litdome.color import COLORCHECKER_24, ColorCorrection, delta_e_2000, srgb_from_linear
from litdome.errors import CalibrationError
from litdome.stage import SessionLike, StageConfig, Summary, Unit

FloatArray = npt.NDArray[np.float64]
NAMED = 3  # cameras in an error


class ColorConfig(StageConfig):
    """Settings of color."""

    source: Literal["charts", "person"] = Field(
        "charts", description="charts: a 3x4 affine each; person: gains, from the surface that cameras share"
    )
    charts_dir: str | None = Field(
        None, description="folder with a chart picture by camera, and flat/ with flat fields; default the recording's"
    )
    corners_file: str | None = Field(None, description="TOML with the chart's corners by camera, where it is not found")
    reference: str | None = Field(None, description="camera whose colours all others get; default the chart's own")
    like: str | None = Field(None, description="session whose colour calibration is taken over, with its light level")
    max_delta_e: float = Field(5.0, gt=0, description="largest mean CIEDE2000 of a camera's fit that is believed")

    @property
    def also_needs(self) -> tuple[str, ...]:
        """Stages whose results these settings read, beside `Color.needs`."""
        return ("calibrate", "deflicker") if self.source == "person" and self.like is None else ()


class Color:
    """Writes each camera's colour calibration; a camera whose chart was not found gets none."""

    name: ClassVar[str] = "color"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "colour of all cameras brought to one reference"
    needs: ClassVar[tuple[str, ...]] = ("ingest",)
    Config: ClassVar[type[StageConfig]] = ColorConfig

    def prepare(self, session: SessionLike, config: ColorConfig) -> list[Unit]:
        """One unit: cameras may be matched to each other."""
        return [Unit(None, 0, 1)]

    def run(self, session: SessionLike, config: ColorConfig, unit: Unit) -> None:
        """Find, fit and write."""
        if config.like is not None:
            take_over(session, config.like)
            return
        folder = charts_folder(session, config)
        if not folder.is_dir() and (config.source == "charts" or config.charts_dir is not None):
            raise CalibrationError(f"{folder}: no such folder of charts", hint="--charts DIR; without charts: --person")
        by_hand = {} if config.corners_file is None else read_corners(Path(config.corners_file))
        _check_names(session, [*by_hand, *([config.reference] if config.reference else [])])
        sensors = {id: read_sensor(session, id, folder) for id in session.cameras}
        if config.source == "person":
            reference = np.full((24, 3), np.nan)
            colors, how = person_colors(session, sensors, config.reference)
        else:
            readings = {id: read_chart(session, id, folder, sensors[id], by_hand.get(id)) for id in session.cameras}
            reference = _reference(readings, config.reference)
            colors = [_fitted(id, readings[id], sensors[id], reference, config.max_delta_e) for id in session.cameras]
            how = f"colour charts, brought to {config.reference or 'their published colours'}"
        if all(color.correction is None for color in colors):
            words = [color.words for color in colors]
            more = f"; and {len(words) - NAMED} more" if len(words) > NAMED else ""
            raise CalibrationError(
                f"{folder}: no camera's colour was found: {'; '.join(words[:NAMED])}{more}",
                hint="litdome color SESSION --charts DIR, or --corners FILE with the chart's corners",
            )
        _write(session, colors, reference, sensors, how)

    def input_files(self, session: SessionLike, config: ColorConfig) -> list[Path]:
        """Charts, flat fields and corners; of another session its colour calibration."""
        if config.like is not None:
            folder = Path(config.like) / "rig" / "color_affine"
            return sorted(path for path in folder.rglob("*") if path.is_file())
        folder = charts_folder(session, config)
        pictures = [picture_of(at, id) for id in session.cameras for at in (folder, folder / "flat")]
        return [path for path in pictures if path] + ([Path(config.corners_file)] if config.corners_file else [])

    def finish(self, session: SessionLike, config: ColorConfig) -> Summary:
        """Colour differences by camera, and what was not found."""
        attrs = session.array("rig/color_affine").attrs
        keys = ("cameras", "source", "light_gain", "warnings", *MEASURED)
        return {key: attrs[key] for key in keys if attrs[key] is not None}


def charts_folder(session: SessionLike, config: ColorConfig) -> Path:
    """Where the chart pictures are."""
    return Path(config.charts_dir or Path(str(session.attrs.get("recording", ""))) / "charts")


def _check_names(session: SessionLike, names: Sequence[str]) -> None:
    for name in names:
        if name not in session.cameras:
            raise CalibrationError(f"no camera {name}", hint=f"cameras: {', '.join(session.cameras)}")


def _reference(readings: Mapping[str, PatchReading | str], camera: str | None) -> FloatArray:
    """Linear light that the patches are to get, shape (24, 3); NaN where the reference camera does not know it."""
    if camera is None:
        return COLORCHECKER_24
    reading = readings[camera]
    if isinstance(reading, str):
        raise CalibrationError(f"reference camera {camera}: {reading}", hint="--reference another")
    return np.where(reading.usable[:, None], reading.linear, np.nan)


def _fitted(
    id: str, reading: PatchReading | str, sensor: SensorEvidence, reference: FloatArray, max_delta_e: float
) -> CameraColor:
    if isinstance(reading, str):
        return not_found(f"camera {id}: {reading}")
    try:
        fit = fit_affine(reading.linear, reference, reading.usable, f"camera {id}")
    except CalibrationError as error:
        return not_found(error.message)
    before = np.where(fit.used[:, None], reading.linear, np.nan)
    after = fit.apply(before)
    was, now = (float(delta_e_2000(colors[fit.used], reference[fit.used]).mean()) for colors in (before, after))
    if now > max_delta_e:
        return not_found(f"camera {id}: CIEDE2000 {now:.1f} > {max_delta_e:.1f} after the fit")
    balance = white_balance(reading.linear, reference, fit.used)
    words = f"{fit.used.sum()} of 24 patches, {reading.clipped.sum()} clipped"
    return CameraColor(_correction(fit, sensor), before, after, was, now, balance, words)


def _correction(fit: ColorFit, sensor: SensorEvidence) -> ColorCorrection:
    """The fit; without dark frames its offset is the black level: the light at which the corrected picture is black."""
    if sensor.black_level is not None:
        return ColorCorrection(fit.affine, sensor.black_level, sensor.vignetting)
    black = np.asarray(-np.linalg.solve(fit.affine[:, :3], fit.affine[:, 3]), np.float64)
    return ColorCorrection(np.column_stack([fit.affine[:, :3], np.zeros(3)]), black, sensor.vignetting)


def _write(
    session: SessionLike,
    colors: Sequence[CameraColor],
    reference: FloatArray,
    sensors: Mapping[str, SensorEvidence],
    source: str,
) -> None:
    found = [color.correction for color in colors]
    corners = {id: round(s.falloff.corner, 4) for id, s in sensors.items() if s.falloff is not None}
    dark, without = [id for id, s in sensors.items() if s.black_level is not None], sensors.keys() - corners.keys()
    warnings = [f"{color.words}: its pictures cannot be corrected" for color in colors if color.correction is None]
    if without:
        warnings.append(f"no flat field of {', '.join(sorted(without))}: light lost in the corners is not given back")
    measured = {
        "found": [correction is not None for correction in found],
        "delta_e_before": [_rounded(color.delta_e_before) for color in colors],
        "delta_e_after": [_rounded(color.delta_e_after) for color in colors],
        "white_balance": [[_rounded(gain) for gain in color.white_balance] for color in colors],
        "patches": [color.words for color in colors],
    }
    about = {
        "cameras": list(session.cameras),
        "source": source,
        **measured,
        "black_level": f"dark frames of {', '.join(dark)}" if dark else "no dark frames: the chart's offset, if any",
        "vignetting": corners,
        "light_gain": 1.0,
        "warnings": warnings,
    }
    for name, rows in (("before", [c.before for c in colors]), ("after", [c.after for c in colors])):
        display = np.clip(srgb_from_linear(np.stack(rows)), 0, 1)
        write_patches(session, name, display, {**measured, "source": source})
    write_patches(session, "reference", np.clip(srgb_from_linear(reference), 0, 1), {"source": source})
    write_corrections(session, found, about)


def _rounded(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None

"""Colour: every camera's own colours brought to the chart's (or to one camera's), in linear light."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from litdome.calib.color_arrays import MEASURED, write_corrections, write_patches
from litdome.calib.color_like import take_over
from litdome.calib.color_match import ColorFit, delta_e_2000, fit_affine, white_balance
from litdome.calib.color_sources import CameraEvidence, picture_of, read_corners, read_evidence, stored_vignetting
from litdome.color import COLORCHECKER_24, ColorCorrection, srgb_from_linear
from litdome.errors import CalibrationError
from litdome.stage import SessionLike, StageConfig, Summary, Unit

FloatArray = npt.NDArray[np.float64]


class ColorConfig(StageConfig):
    """Settings of color."""

    charts_dir: str | None = Field(
        None, description="folder with a chart picture by camera, and flat/ with flat fields; default the recording's"
    )
    corners_file: str | None = Field(None, description="TOML with the chart's corners by camera, where it is not found")
    reference: str | None = Field(None, description="camera whose colours all others get; default the chart's own")
    like: str | None = Field(None, description="session whose colour calibration is taken over, with its light level")
    max_delta_e: float = Field(5.0, gt=0, description="largest mean CIEDE2000 of a camera's fit that is believed")


@dataclass(frozen=True, eq=False)
class CameraColor:
    """What was found for one camera.

    Attributes:
        correction: None: not found.
        before, after: The patches as the camera gives them and corrected, linear, shape (24, 3); NaN where not used.
        delta_e_before, delta_e_after: Mean CIEDE2000 to the reference over the patches that were used; NaN: not found.
        white_balance: Gains of red, green and blue that make grey grey, shape (3,).
        words: How it was found, or why not.
    """

    correction: ColorCorrection | None
    before: FloatArray
    after: FloatArray
    delta_e_before: float
    delta_e_after: float
    white_balance: FloatArray
    words: str


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
        by_hand = {} if config.corners_file is None else read_corners(Path(config.corners_file))
        _check_names(session, [*by_hand, *([config.reference] if config.reference else [])])
        evidence = {id: read_evidence(session, id, folder, by_hand.get(id)) for id in session.cameras}
        reference = _reference(evidence, config.reference)
        found = {id: _fitted(session, id, evidence[id], reference, config) for id in session.cameras}
        if all(color.correction is None for color in found.values()):
            raise CalibrationError(
                f"{folder}: no camera's colour was found: {'; '.join(color.words for color in found.values())}",
                hint="litdome color SESSION --charts DIR, or --corners FILE with the chart's corners",
            )
        _write(session, list(found.values()), reference, _source(evidence, config))

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


def _reference(evidence: Mapping[str, CameraEvidence], camera: str | None) -> FloatArray:
    """Linear light that the patches are to get, shape (24, 3); NaN where the reference camera does not know it."""
    if camera is None:
        return COLORCHECKER_24
    reading = evidence[camera].reading
    if reading is None:
        raise CalibrationError(f"reference camera {camera}: {evidence[camera].why_not}", hint="--reference another")
    return np.where(reading.usable[:, None], reading.linear, np.nan)


def _fitted(
    session: SessionLike, id: str, evidence: CameraEvidence, reference: FloatArray, config: ColorConfig
) -> CameraColor:
    if evidence.reading is None:
        return _not_found(f"camera {id}: {evidence.why_not}")
    reading = evidence.reading
    try:
        fit = fit_affine(reading.linear, reference, reading.usable, f"camera {id}")
    except CalibrationError as error:
        return _not_found(error.message)
    before = np.where(fit.used[:, None], reading.linear, np.nan)
    after = fit.apply(before)
    was, now = (float(delta_e_2000(colors[fit.used], reference[fit.used]).mean()) for colors in (before, after))
    if now > config.max_delta_e:
        return _not_found(f"camera {id}: CIEDE2000 {now:.1f} > {config.max_delta_e:.1f} after the fit")
    balance = white_balance(reading.linear, reference, fit.used)
    words = f"{fit.used.sum()} of 24 patches, {reading.clipped.sum()} clipped"
    return CameraColor(_correction(session, id, evidence, fit), before, after, was, now, balance, words)


def _correction(session: SessionLike, id: str, evidence: CameraEvidence, fit: ColorFit) -> ColorCorrection:
    """The fit; without dark frames its offset is the black level: the light at which the corrected picture is black."""
    vignetting = stored_vignetting(session, id, evidence)
    if evidence.black_level is not None:
        return ColorCorrection(fit.affine, evidence.black_level, vignetting)
    black = np.asarray(-np.linalg.solve(fit.affine[:, :3], fit.affine[:, 3]), np.float64)
    return ColorCorrection(np.column_stack([fit.affine[:, :3], np.zeros(3)]), black, vignetting)


def _not_found(words: str) -> CameraColor:
    nothing = np.full((24, 3), np.nan)
    return CameraColor(None, nothing, nothing, np.nan, np.nan, np.full(3, np.nan), words)


def _source(evidence: Mapping[str, CameraEvidence], config: ColorConfig) -> dict[str, Any]:
    dark = [id for id, seen in evidence.items() if seen.black_level is not None]
    corners = {id: round(seen.falloff.corner, 4) for id, seen in evidence.items() if seen.falloff is not None}
    how = "the chart's published colours" if config.reference is None else f"camera {config.reference}"
    return {
        "source": f"colour charts, brought to {how}",
        "black_level": f"dark frames of {len(dark)} cameras" if dark else "the chart's offset (no dark frames)",
        "vignetting": corners,
    }


def _write(
    session: SessionLike, colors: Sequence[CameraColor], reference: FloatArray, source: Mapping[str, Any]
) -> None:
    found = [color.correction for color in colors]
    lost = [color.words for color in colors if color.correction is None]
    without = [id for id in session.cameras if id not in source["vignetting"]]
    warnings = [f"{words}: its pictures cannot be corrected" for words in lost]
    if without:
        warnings.append(f"no flat field of {', '.join(without)}: fall-off towards the corners is not corrected")
    measured = {
        "found": [correction is not None for correction in found],
        "delta_e_before": [_rounded(color.delta_e_before) for color in colors],
        "delta_e_after": [_rounded(color.delta_e_after) for color in colors],
        "white_balance": [[_rounded(gain) for gain in color.white_balance] for color in colors],
        "patches": [color.words for color in colors],
    }
    about = {"cameras": list(session.cameras), **source, **measured, "light_gain": 1.0, "warnings": warnings}
    for name, rows in (("before", [c.before for c in colors]), ("after", [c.after for c in colors])):
        display = np.clip(srgb_from_linear(np.stack(rows)), 0, 1)
        write_patches(session, name, display, {**measured, "source": source["source"]})
    write_patches(session, "reference", np.clip(srgb_from_linear(reference), 0, 1), {"source": source["source"]})
    write_corrections(session, found, about)


def _rounded(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None

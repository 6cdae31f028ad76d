"""Lights: what the LEDs gave for each HDRI entry of a take, and the environment map that this makes."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from litdome.calib.leds.drive import DriveErrors, drive_hdri, judge_drive, measure_light
from litdome.calib.leds.drive_files import pattern_of, read_drives
from litdome.errors import CalibrationError, UsageError
from litdome.lighting.effective_map import effective_map
from litdome.lighting.led_set import Axes, read_leds
from litdome.stage import SessionLike, StageConfig, Summary, Unit

FloatArray = npt.NDArray[np.float64]
MEASURES = tuple(field.name for field in fields(DriveErrors))


class LightsConfig(StageConfig):
    """Settings of lights."""

    leds_file: str | None = Field(None, description="lights json: the LEDs, whose drive is solved from each HDRI")
    drive_file: str | None = Field(None, description="json of `litdome lights drive`: what the LEDs were driven with")
    axes: Axes | None = Field(None, description="y-up, y-down or z-up, where the file does not say its axes")


class Lights:
    """Writes each entry's effective environment map: what the LEDs could do of it."""

    name: ClassVar[str] = "lights"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "the light that the LEDs gave for each HDRI"
    needs: ClassVar[tuple[str, ...]] = ("ingest",)
    Config: ClassVar[type[StageConfig]] = LightsConfig

    def prepare(self, session: SessionLike, config: LightsConfig) -> list[Unit]:
        """One unit per HDRI entry."""
        leds, entries = read_leds(_file(config), axes=config.axes), session.hdri_names
        if not entries:
            raise CalibrationError("lights: the take has no HDRIs", hint="lights.csv names them, hdris/ holds them")
        if config.drive_file is not None:
            table = read_drives(_file(config))
            for entry in entries:
                pattern_of(table, entry, _file(config))
        rows, count = len(entries), len(leds)
        session.write_small("lights/directions", leds.directions, ("light", "axis"), description="world, unit")
        session.write_small("lights/valid", leds.valid, ("light",), description="False: dark on purpose, or dead")
        session.create(
            "lights/intensity",
            (rows, count, 3),
            "f4",
            ("hdri", "light", "channel"),
            shard=None,
            chunk=(1, count, 3),
            description="irradiance of a LED on a surface that faces it, in units of the map's radiance times sr",
        )
        session.create(
            "lights/errors",
            (rows, len(MEASURES)),
            "f4",
            ("hdri", "measure"),
            shard=None,
            chunk=(1, len(MEASURES)),
            description="of the LEDs' light against the requested map; shares (docs/led-lights.md)",
            attrs={"measures": list(MEASURES)},
        )
        for index, entry in enumerate(entries):
            session.create(
                f"hdris_effective/{entry}",
                session.read_hdri(index).shape,
                "f4",
                ("v", "u", "channel"),
                shard=None,
                unit="1",
                description="scene-linear radiance that the LEDs gave",
            )
        session.set_attrs("hdris_effective", names=list(entries))
        return [Unit(None, index, index + 1) for index in range(rows)]

    def run(self, session: SessionLike, config: LightsConfig, unit: Unit) -> None:
        """One entry: its intensities, how far they are from it, and the map they make."""
        entry, hdr = session.hdri_names[unit.start], session.read_hdri(unit.start)
        leds = read_leds(_file(config), axes=config.axes)
        light = measure_light(hdr, session.hdri_convention, f"HDRI {entry}")
        if config.drive_file is None:
            found = drive_hdri(light, leds)
            intensity, errors = found.intensity, found.errors
        else:
            table = read_drives(_file(config))
            intensity = table.intensity(pattern_of(table, entry, _file(config)))
            errors = judge_drive(light, leds, intensity)
        session.array("lights/intensity")[unit.start] = intensity.astype(np.float32)
        session.array("lights/errors")[unit.start] = np.array([*asdict(errors).values()], np.float32)
        effective = effective_map(leds, intensity, len(hdr), session.hdri_convention)
        session.array(f"hdris_effective/{entry}")[:] = effective

    def input_files(self, session: SessionLike, config: LightsConfig) -> list[Path]:
        """The lights json or the drive file."""
        return [_file(config)]

    def finish(self, session: SessionLike, config: LightsConfig) -> Summary:
        """Errors by entry, percent; None where the LEDs cover no normal."""
        errors = 100 * session.read("lights/errors").astype(float)
        by_measure = {
            name: [round(float(value), 3) if np.isfinite(value) else None for value in errors[:, n]]
            for n, name in enumerate(MEASURES)
        }
        source = "as driven" if config.drive_file is not None else "solved"
        return {"source": source, "entries": list(session.hdri_names), "percent": by_measure, "leds": _count(session)}


def _count(session: SessionLike) -> int:
    return int(session.read("lights/valid").sum())


def _file(config: LightsConfig) -> Path:
    given = [path for path in (config.leds_file, config.drive_file) if path is not None]
    if len(given) != 1:
        raise UsageError("lights: give the LEDs or what they were driven with", hint="--leds FILE, or --drive FILE")
    return Path(given[0])

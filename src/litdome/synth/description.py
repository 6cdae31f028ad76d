"""What a simulated stage writes beside its pictures: recording.toml, lights.csv, timestamps.csv."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import tomli_w

from litdome.lighting import KIND_CODES
from litdome.synth.boards import BoardDesign
from litdome.synth.light_files import write_light_truth, write_lights_json
from litdome.synth.light_setup import LightPlan
from litdome.synth.sensors import Sensor
from litdome.synth.spoil import UNDEREXPOSED_STOPS, skewed_ns
from litdome.synth.truth import RecordingTruth, made

CLOCK_START_NS = 1_700_000_000_000_000_000
CLOCK_JITTER_NS = 100_000
EXPOSURE_MS = 8.0
Row = tuple[object, ...]


def write_description(
    folder: Path, truth: RecordingTruth, light: LightPlan, design: BoardDesign | None, sensors: Sequence[Sensor] = ()
) -> None:
    """recording.toml, lights.csv, lights.json of LEDs that have a place, and timestamps.csv as the faults of the take
    leave them."""
    taking = sensors or [Sensor()] * len(truth.rig.ids)
    text = tomli_w.dumps(_recording_table(truth, light.gain, design, taking))
    made(folder / "recording.toml").write_text(text, encoding="utf-8")
    if not truth.has_fault("no-lights"):
        # one frame early: the row of a frame says what the next one shows
        shift = int(truth.has_fault("swap-phase"))
        _write_lights(folder / "lights.csv", light, shift=shift)
        if light.lit[0].positions is not None:
            write_lights_json(folder / "lights.json", light, shift=shift)
    _write_lights(folder / "truth" / "lights.csv", light, shift=0)
    write_light_truth(folder / "truth", light)
    if not truth.has_fault("no-timestamps"):
        _write_csv(folder / "timestamps.csv", ("camera", "frame", "time_ns"), _timestamps(truth, taking))


def _recording_table(
    truth: RecordingTruth, light_gain: float, design: BoardDesign | None, sensors: Sequence[Sensor]
) -> dict[str, object]:
    schedule = {} if truth.has_fault("no-lights") else {"schedule": "lights.csv"}
    said_gain = {} if light_gain == 1 else {"light_gain": light_gain}
    return {
        "name": truth.folder.name,
        "subject": truth.body.subject,
        "fps": truth.fps,
        "transfer": "srgb",
        "consent": {"version": "synthetic-1", "uses": ["research", "train", "publish", "likeness-synthesis"]},
        "lights": {**schedule, "hdri_convention": "physical", **said_gain},
        **({"board": {"kind": "charuco", **asdict(design)}} if design else {}),
        "cameras": {id: _camera_table(truth, k, sensors[k]) for k, id in enumerate(truth.rig.ids)},
    }


def _camera_table(truth: RecordingTruth, k: int, sensor: Sensor) -> dict[str, object]:
    camera, late = truth.rig.cameras[k], truth.first_frame[k]
    says_offset = late and truth.has_fault("no-timestamps")
    dark = any(fault.name == "underexposed" for fault in truth.faults_of(camera.id))
    exposure_ms = sensor.shutter_s * 1000 or EXPOSURE_MS
    return {
        "source": f"cameras/{camera.id}.mp4",
        "role": camera.role,
        **({"frame_offset": late} if says_offset else {}),
        "exposure_ms": exposure_ms / 2**UNDEREXPOSED_STOPS if dark else exposure_ms,
        "gain_db": sensor.gain_db,
        "white_balance_k": 5600,
    }


def _write_lights(path: Path, light: LightPlan, *, shift: int) -> None:
    schedule = light.schedule
    names = {code: kind for kind, code in KIND_CODES.items()}
    has_gains = any(entry.gain != 1 for entry in schedule.entries)
    rows: list[Row] = []
    for frame in range(len(schedule.kind)):
        said = (frame + shift) % len(schedule.kind)
        entry = schedule.entries[schedule.hdri[said]] if schedule.hdri[said] >= 0 else None
        is_pattern = schedule.kind[said] == KIND_CODES["pattern"]
        name = entry.name if entry else str(light.pattern[said]) if is_pattern else ""
        turn_and_gain = ((entry.rotation_deg, entry.gain) if entry else ("", "")) if has_gains else ()
        rows.append((frame, names[int(schedule.kind[said])], name, *turn_and_gain))
    header = ("frame", "kind", "hdri", *(("rotation_deg", "gain") if has_gains else ()))
    _write_csv(path, header, rows)


def _timestamps(truth: RecordingTruth, sensors: Sequence[Sensor]) -> list[Row]:
    """Exposure starts of all stored pictures, on one clock, with the jitter of real ones."""
    rng = np.random.default_rng([len(truth.schedule.kind), 9])
    rows: list[Row] = []
    for k, id in enumerate(truth.rig.ids):
        is_skewed = any(fault.name == "clock-skew" for fault in truth.faults_of(id))
        opens_ns = round(sensors[k].open_s * 1e9 / 2)  # before the frame's time
        for index, frame in enumerate(truth.stored(k)):
            jitter = int(rng.integers(-CLOCK_JITTER_NS, CLOCK_JITTER_NS))
            time_ns = CLOCK_START_NS + round(frame * 1e9 / truth.fps) - opens_ns + jitter
            rows.append((id, index, skewed_ns(time_ns, CLOCK_START_NS) if is_skewed else time_ns))
    return rows


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Row]) -> None:
    with made(path).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)

"""Takes with cameras that are set: what the files say and hold, and motion blur against many instant pictures."""

from __future__ import annotations

import csv
import json
import tomllib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from litdome.color import linear_from_srgb
from litdome.errors import UsageError
from litdome.media.images import probe_source
from litdome.synth import RecordingTruth, make_recording
from litdome.synth.camera_setup import CORNERS_LOSE, CameraSetup
from litdome.synth.dome import wall_depth, wall_picture
from litdome.synth.film import shoot
from litdome.synth.optics import confusion_px, spread
from litdome.synth.recording import Take, plan_take
from litdome.synth.sensors import Sensor, make_sensors, noise_variance
from litdome.synth.shading import flat_lights

SMALL = {"pairs": 1, "hdris": 1, "lights": 16, "width": 90, "height": 160, "seed": 4}


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> RecordingTruth:
    """A body camera and a face camera of 10 bits with open lenses and shutters, three stops apart."""
    setup = CameraSetup(
        face_cameras=1, bits=10, gain_db=6, aperture_mm=30, shutter_ms=6, rolling_shutter_ms=4, exposure_spread_ev=0.5
    )
    folder = tmp_path_factory.mktemp("set") / "take"
    faults = ("underexposed",)  # of the second camera
    return make_recording(folder, cameras=1, camera=setup, boards=False, faults=faults, **SMALL)  # type: ignore[arg-type]


def test_the_recording_says_how_its_cameras_were_set(deep: RecordingTruth) -> None:
    cameras = tomllib.loads((deep.folder / "recording.toml").read_text())["cameras"]
    assert {id: (c["role"], c["exposure_ms"], c["gain_db"]) for id, c in cameras.items()} == {
        "c00": ("body", 6.0, 6.0),
        "f00": ("face", 0.75, 6.0),
    }
    told = json.loads((deep.folder / "truth/cameras.json").read_text())
    assert [(told[id]["aperture_m"], told[id]["rolling_s"]) for id in deep.rig.ids] == [(0.03, 0.004)] * 2
    assert told["c00"]["exposure_ev"] != told["f00"]["exposure_ev"]
    with (deep.folder / "timestamps.csv").open() as stream:
        first = int(next(csv.DictReader(stream))["time_ns"])
    # exposure starts half of 6 + 4 ms before the frame's time, a round number; the clock jitters by 0.1 ms
    assert first % 1_000_000_000 == pytest.approx(995_000_000, abs=100_000)


def test_ten_bits_reach_the_file_and_a_fault_keeps_them(deep: RecordingTruth) -> None:
    for id in deep.rig.ids:
        probe = probe_source(deep.folder / "cameras" / f"{id}.mp4")
        assert (probe.bits, probe.frames, probe.width, probe.height) == (10, 3, 90, 160)


def test_the_plate_is_as_blurred_as_its_lens_makes_the_wall(deep: RecordingTruth) -> None:
    camera, flat = deep.rig["f00"], flat_lights(16)
    told = json.loads((deep.folder / "truth/cameras.json").read_text())["f00"]
    sensor = Sensor(exposure_ev=told["exposure_ev"], aperture_m=told["aperture_m"], focus_m=told["focus_m"])
    wall = wall_picture(camera, flat)
    width_px = float(confusion_px(wall_depth(camera, flat), sensor, camera.intrinsics[0, 0]))
    assert width_px > 3
    plate = linear_from_srgb(cv2.imread(str(deep.folder / "background/f00.png"), cv2.IMREAD_UNCHANGED) / 65535.0)
    as_blurred, sharp = (
        np.abs(plate[..., ::-1] - sensor.see(picture)).max(axis=-1) for picture in (spread(wall, width_px), wall)
    )
    noise = 5 * float(noise_variance(sensor.see(wall), 6.0).max()) ** 0.5  # 5 sigma of the brightest
    assert as_blurred.max() < noise + 0.002 < 0.5 * sharp.max()  # and a step of ten bits


def moved(setup: CameraSetup) -> Take:
    """A take of someone who moves six times as fast, its camera almost without noise."""
    take = plan_take(Path("take"), cameras=1, camera=replace(setup, gain_db=-6, face_cameras=0), **SMALL)  # type: ignore[arg-type]
    film = replace(take.film, body=replace(take.film.body, speed=6.0), lights=[take.film.flat])
    return replace(take, film=film)


def linear(take: Take, offset_s: float = 0.0) -> np.ndarray:
    film = replace(take.film, start_s=take.film.start_s + offset_s)
    return linear_from_srgb(next(shoot(film, 1))[0].rgb / 255.0)


def test_a_moving_person_blurs_into_the_mean_of_what_was_seen_meanwhile() -> None:
    open_s = 0.036
    blurred = linear(moved(CameraSetup(shutter_ms=open_s * 1000)))
    instant = moved(CameraSetup())
    mean = np.mean([linear(instant, ((k + 0.5) / 8 - 0.5) * open_s) for k in range(8)], axis=0)
    middle = linear(instant)
    moving = np.abs(middle - mean).max(axis=-1) > 0.02
    assert moving.sum() > 50
    error, difference = (np.sqrt(((blurred - other)[moving] ** 2).mean()) for other in (mean, middle))
    # light is taken from the middle of the exposure, and moments are 0.7 px apart, here and there not the same ones
    assert error < 0.25 * difference


def test_a_shutter_that_meets_the_next_light_is_refused() -> None:
    with pytest.raises(UsageError, match="light changes after 40 ms"):
        plan_take(Path("take"), cameras=1, camera=CameraSetup(shutter_ms=45), **SMALL)  # type: ignore[arg-type]


def test_lenses_that_might_take_all_light_from_the_corners_are_refused() -> None:
    with pytest.raises(UsageError, match=r"vignetting 0.9 and color_spread 0.2 take up to 150% of") as refused:
        plan_take(Path("take"), cameras=1, camera=CameraSetup(vignetting=0.9), color_spread=0.2, **SMALL)  # type: ignore[arg-type]
    assert refused.value.hint == "--camera vignetting=0.3"
    most = plan_take(Path("take"), cameras=1, camera=CameraSetup(vignetting=0.3), color_spread=0.2, **SMALL)  # type: ignore[arg-type]
    corners = [sensor.see(np.ones((9, 9, 3), np.float32))[0, 0] for sensor in most.film.sensors]
    assert len(corners) == 1 and np.min(corners) > 0
    assert CORNERS_LOSE * 0.2 >= max(-sensor.falloff.sum() for sensor in make_sensors(200, 0.2, 0)) > 0.5

"""What cameras make of light: exposure, vignetting, noise, codes; drawn per camera and written down."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from litdome.color import linear_from_srgb
from litdome.errors import UsageError
from litdome.synth.camera_setup import CAMERA_SETTINGS, CameraSetup, parse_camera_setup
from litdome.synth.rig import make_rig
from litdome.synth.sensors import (
    READ_NOISE,
    SHOT_NOISE,
    Sensor,
    expose,
    noise_variance,
    set_cameras,
    write_camera_truth,
)

RIG = make_rig(4, width=48, height=80, seed=3)


def field(light: float, size: int = 200) -> np.ndarray:
    return np.full((size, size, 3), light, np.float32)


@pytest.mark.parametrize("gain_db", [0.0, 6.0, 24.0])
@pytest.mark.parametrize("light", [0.15, 0.5])
def test_noise_has_the_variance_of_photons_and_of_reading(gain_db: float, light: float) -> None:
    sensor = Sensor(gain_db=gain_db, bits=10)
    codes = expose(field(light), np.random.default_rng(1), sensor)
    seen = linear_from_srgb(codes / 65535.0)
    gain = 10 ** (gain_db / 20)
    # electrons n of a full well N at gain 1: light / gain of them, and their count varies by n; then amplified
    model = gain**2 * (SHOT_NOISE * light / gain + READ_NOISE**2)
    slope = 2.4 / 1.055 * (codes.mean() / 65535 + 0.055) / 1.055  # of the curve in log log: linear per code
    rounding = (light * slope / (codes.mean() / 65535) / 1023) ** 2 / 12
    # 120,000 samples: 0.8 % of the variance (2 sigma), and the curve's bend
    assert seen.var() == pytest.approx(model, rel=0.02, abs=2 * rounding)
    assert noise_variance(np.float32(light), gain_db) == pytest.approx(model, rel=1e-6)
    assert seen.mean() == pytest.approx(light, rel=2e-3)


def test_without_a_sensor_as_with_an_exact_one() -> None:
    light = np.random.default_rng(0).random((30, 20, 3), np.float32)
    plain, exact = (expose(light, np.random.default_rng(5), sensor) for sensor in (None, Sensor()))
    np.testing.assert_array_equal(plain, exact)
    assert plain.dtype == np.uint8
    brighter = expose(light, np.random.default_rng(5), Sensor(exposure_ev=0.2))
    assert (brighter != plain).mean() > 0.8


def test_exposure_doubles_light_by_the_stop_and_black_stays_black() -> None:
    seen = Sensor(exposure_ev=1.5, black_level=np.full(3, 0.01)).see(field(0.2, 8))
    np.testing.assert_allclose(seen, 0.2 * 2**1.5 + 0.01, rtol=1e-6)


@pytest.mark.parametrize("vignetting", [0.0, 0.4])
def test_vignetting_takes_the_share_it_says_from_the_corners(vignetting: float) -> None:
    sensors = set_cameras(RIG, CameraSetup(vignetting=vignetting, gain_db=1.0), 0.0, 0)
    for sensor in sensors:
        seen = sensor.see(np.ones((81, 49, 3), np.float32))[..., 0]
        y, x = np.mgrid[:81, :49] - np.array([40, 24])[:, None, None]
        np.testing.assert_allclose(seen, 1 - vignetting * (x**2 + y**2) / ((81**2 + 49**2) / 4), rtol=1e-5)


def test_ten_bits_store_a_shade_in_a_quarter_of_the_step() -> None:
    ramp = np.repeat(np.linspace(0.2, 0.6, 4000, dtype=np.float32)[:, None, None], 3, 2)
    steps = {}
    for bits in (8, 10):
        codes = expose(ramp, np.random.default_rng(0), Sensor(bits=bits))
        assert codes.dtype == (np.uint8 if bits == 8 else np.uint16)
        shades = np.unique(codes).astype(float) / (255 if bits == 8 else 65535)
        np.testing.assert_allclose(shades * (2**bits - 1), np.round(shades * (2**bits - 1)), atol=0.01)
        steps[bits] = np.median(np.diff(shades))
    assert steps[8] / steps[10] == pytest.approx(1023 / 255, rel=1e-3)


def test_spreads_draw_each_cameras_own_and_a_seed_draws_them_again() -> None:
    setup = CameraSetup(exposure_spread_ev=0.5, aperture_mm=20, focus_error_m=0.2, shutter_ms=8, rolling_shutter_ms=5)
    sensors = set_cameras(RIG, setup, 0.0, 7)
    stops = [sensor.exposure_ev for sensor in sensors]
    assert len(set(stops)) == 4 and max(map(abs, stops)) <= 0.5
    for camera, sensor in zip(RIG.cameras, sensors, strict=True):
        assert abs(sensor.focus_m - (np.linalg.norm(camera.centre[[0, 2]]) - 0.1)) < 0.2 + 0.2  # up or down: longer
        assert (sensor.aperture_m, sensor.shutter_s, sensor.rolling_s) == pytest.approx((0.02, 0.008, 0.005))
    assert stops == [sensor.exposure_ev for sensor in set_cameras(RIG, setup, 0.0, 7)]
    assert stops != [sensor.exposure_ev for sensor in set_cameras(RIG, setup, 0.0, 8)]
    assert set_cameras(RIG, CameraSetup(distance_m=2.5), 0.0, 7) == ()


def test_the_truth_tells_every_cameras_settings(tmp_path: Path) -> None:
    sensors = set_cameras(RIG, CameraSetup(exposure_spread_ev=1, bits=10), 0.1, 2)
    write_camera_truth(tmp_path / "truth" / "cameras.json", RIG.ids, sensors)
    told = json.loads((tmp_path / "truth" / "cameras.json").read_text())
    assert list(told) == list(RIG.ids)
    for id, sensor in zip(RIG.ids, sensors, strict=True):
        assert told[id]["exposure_ev"] == sensor.exposure_ev and told[id]["bits"] == 10
        np.testing.assert_array_equal(told[id]["matrix"], sensor.matrix)
        np.testing.assert_array_equal(told[id]["falloff"], sensor.falloff)
    write_camera_truth(tmp_path / "exact.json", RIG.ids, ())
    assert json.loads((tmp_path / "exact.json").read_text())["c02"]["shutter_s"] == 0


def test_settings_come_from_texts() -> None:
    setup = parse_camera_setup(("shutter_ms=8", "bits = 10", "shutter_ms=4"), 3)
    assert setup == CameraSetup(face_cameras=3, shutter_ms=4.0, bits=10)
    assert parse_camera_setup(()) == CameraSetup()
    for name in CAMERA_SETTINGS:
        assert getattr(parse_camera_setup((f"{name}=8" if name == "bits" else f"{name}=0.5",)), name) in (0.5, 8)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("shuter_ms=8", "no camera setting 'shuter_ms' among exposure_spread_ev", "litdome synth --help"),
        ("zoom=8", "bits, distance_m", "litdome synth --help"),
        ("shutter_ms", "expected NAME=VALUE", "shutter_ms=8"),
        ("shutter_ms=fast", "'fast' is not a number", "--help"),
        ("shutter_ms=nan", "within 0..1000", ""),
        ("bits=9", "must be 8 or 10", ""),
        ("vignetting=-0.1", "within 0..0.9", ""),
    ],
)
def test_settings_that_cannot_be_are_named_with_what_can(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_camera_setup((text,))
    assert message in str(caught.value) and hint in (caught.value.hint or "")


def test_a_shutter_may_not_stay_open_into_the_next_light() -> None:
    CameraSetup(shutter_ms=30, rolling_shutter_ms=10).need_time(40.0)
    with pytest.raises(UsageError, match="make 41 ms, but the light changes after 40 ms"):
        CameraSetup(shutter_ms=31, rolling_shutter_ms=10).need_time(40.0)

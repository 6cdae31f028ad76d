"""Domes of LEDs: what they are driven with, and what their light adds up to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from litdome.errors import CalibrationError, UsageError
from litdome.lighting import latlong_directions, latlong_solid_angles
from litdome.synth.hdris import make_hdri
from litdome.synth.led_dome import far_dome, import_dome, make_dome, ring_dome
from litdome.synth.rig import TARGET


@pytest.mark.parametrize("spectral", [False, True])
def test_flat_light_is_white_alike_from_all_working_leds_and_radiance_one_together(spectral: bool) -> None:
    dome = make_dome(331, spectral=spectral)
    dome = replace(dome, leds=dome.leds.without([3, 17]))
    drive = dome.flat_drive()
    assert not drive[[3, 17]].any()
    assert np.ptp(drive[dome.leds.valid], axis=0).max() == 0
    # five channels of fixed spectra show a white surface white to 2 %
    np.testing.assert_allclose(dome.lights(drive).rgb.sum(axis=0), 4 * np.pi, rtol=0.02 if spectral else 1e-5)


@pytest.mark.parametrize("spectral", [False, True])
def test_leds_give_all_light_of_a_map_from_where_it_comes(spectral: bool) -> None:
    hdr = make_hdri("room", 4, height=64)
    dome = make_dome(331, spectral=spectral)
    dome = replace(dome, leds=dome.leds.without([0, 100]))
    lights = dome.lights(dome.drive_hdri(hdr))
    energy = hdr * latlong_solid_angles(64, 128)[..., None]
    total = energy.sum(axis=(0, 1))
    np.testing.assert_allclose(lights.rgb.sum(axis=0), total, rtol=0.05 if spectral else 1e-5)
    wanted = (energy[..., None] * latlong_directions(64, 128)[:, :, None]).sum(axis=(0, 1)) / total[:, None]
    found = lights.rgb.T @ lights.directions / lights.rgb.sum(axis=0)[:, None]
    assert np.abs(found - wanted).max() < 0.02 < np.abs(-found - wanted).max()
    assert not lights.intensity[[0, 100]].any()


def test_one_led_shows_a_white_surface_that_faces_it_as_one() -> None:
    dome = make_dome(24)
    rgb = dome.lights(dome.one_led_drive(5)).rgb / np.pi
    np.testing.assert_allclose(rgb[5], 1, rtol=1e-6)
    assert np.count_nonzero(rgb) == 3


def test_leds_of_a_file_stand_around_the_person(tmp_path: Path) -> None:
    file = tmp_path / "lights.json"
    around = ring_dome(40, radius_m=2.0) * 1e3 + [100.0, 50.0, -300.0]
    valid = [n != 7 for n in range(40)]
    file.write_text(json.dumps({"light_axes": "y-up", "light_positions": around.tolist(), "light_valid": valid}))
    dome = import_dome(file)
    away = dome.leds.positions_m - TARGET
    np.testing.assert_allclose(away, ring_dome(40, radius_m=2.0), atol=1e-9)
    assert not dome.flat_drive()[7].any() and dome.flat_drive()[8].all()
    file.write_text(json.dumps({"light_positions": around.tolist()}))
    with pytest.raises(CalibrationError, match="which axis points up"):
        import_dome(file)


@pytest.mark.parametrize("count", [0, -3, 11, 5000])
def test_too_few_or_too_many_leds_are_refused(count: int) -> None:
    with pytest.raises(UsageError, match=rf"leds = {count}.*12\.\.4096"):
        make_dome(count)
    with pytest.raises(UsageError, match=rf"lights = {count}"):
        far_dome(count)

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litdome.errors import CalibrationError
from litdome.lighting import latlong_uv
from litdome.lighting.led_set import WORLD_FROM_AXES, led_set, leds_as_json, read_leds
from litdome.synth.led_dome import ring_dome


def lights_file(folder: Path, **content: Any) -> Path:
    path = folder / "lights.json"
    path.write_text(json.dumps(content))
    return path


def test_the_dome_is_laid_out_as_the_real_one() -> None:
    dome = ring_dome()
    unit = dome / np.linalg.norm(dome, axis=1, keepdims=True)
    cosine = unit @ unit.T - 2 * np.eye(331)
    nearest = np.degrees(np.arccos(cosine.max(axis=1)))
    assert len(dome) == 331
    assert nearest.min() > 10.1 and nearest.max() < 12.4 and abs(nearest.mean() - 10.94) < 0.1
    assert np.degrees(np.arcsin(unit[:, 1].min())) == pytest.approx(-66)


def test_a_file_that_was_written_is_read_back(tmp_path: Path) -> None:
    centre = np.array([0.1, 1.2, -0.05])
    leds = led_set(ring_dome(60) + centre, arcs=(20, 40)).without([3, 17])
    found = read_leds(lights_file(tmp_path, **leds_as_json(leds)))
    np.testing.assert_allclose(found.positions_m, leds.positions_m, atol=1e-6)  # written to the micrometre
    np.testing.assert_allclose(found.centre_m, centre, atol=1e-6)
    assert found.arcs == (20, 40) and np.flatnonzero(~found.valid).tolist() == [3, 17]


@pytest.mark.parametrize(
    ("axes", "up"), [("y-up", [0, 1, 0]), ("y-down", [0, -1, 0]), ("z-up", [0, 0, 1]), ("y-up", [0, -1, 0])]
)
def test_the_axis_that_points_up_is_turned_to_y(tmp_path: Path, axes: Any, up: list[int]) -> None:
    from_world = {(0, 1, 0): np.eye(3), (0, -1, 0): np.diag([1, -1, -1]), (0, 0, 1): [[1, 0, 0], [0, 0, -1], [0, 1, 0]]}
    written = ring_dome(60) @ np.transpose(from_world[tuple(up)]) * 1e3  # type: ignore[index]
    found = read_leds(lights_file(tmp_path, light_positions=written.tolist()), axes=axes)
    right = axes != "y-up" or up == [0, 1, 0]
    assert np.allclose(found.positions_m, ring_dome(60), atol=1e-9) == right
    assert np.linalg.det(np.linalg.lstsq(written, found.positions_m, rcond=None)[0]) > 0  # no mirror


@pytest.mark.parametrize(("axes", "led"), [("y-up", [1, 1, -2]), ("y-down", [1, -1, 2]), ("z-up", [1, 2, 1])])
def test_a_led_to_the_right_above_and_ahead_is_there_in_the_world(tmp_path: Path, axes: Any, led: list[int]) -> None:
    """In each axes' own terms (docs/led-lights.md); ahead is world -z, where a physical map's middle lies."""
    rest = ring_dome(40) * 3
    positions = 1e3 * np.concatenate([[led], rest @ WORLD_FROM_AXES[axes]])
    found = read_leds(lights_file(tmp_path, light_positions=positions.tolist(), light_centre=[0, 0, 0]), axes=axes)
    np.testing.assert_allclose(found.positions_m[0], [1, 1, -2], atol=1e-9)
    u, v = latlong_uv(found.directions[:1])[0]
    assert 0.5 < u < 0.75 and v < 0.5  # right of the map's middle, in its upper half


def test_a_file_that_does_not_say_its_axes_is_refused(tmp_path: Path) -> None:
    path = lights_file(tmp_path, light_positions=ring_dome(60).tolist())
    with pytest.raises(CalibrationError, match="which axis points up") as caught:
        read_leds(path)
    assert "--axes" in str(caught.value.hint)


def test_axes_that_contradict_the_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="says y-up, not z-up"):
        read_leds(lights_file(tmp_path, **leds_as_json(led_set(ring_dome(60)))), axes="z-up")


def test_the_centre_is_that_of_the_sphere() -> None:
    centre = np.array([0.3, 1.1, -0.2])
    leds = led_set(ring_dome(100) + centre)
    np.testing.assert_allclose(leds.centre_m, centre, atol=1e-9)
    np.testing.assert_allclose(leds.directions, ring_dome(100) / 1.8, atol=1e-9)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "no light_positions"),
        ({"light_positions": [[1, 2]]}, "3 finite numbers"),
        ({"light_positions": [[1, 2, "x"]]}, "3 numbers"),
        ({"light_positions": ring_dome(8).tolist()}, "8 working LEDs, at least 12"),
        ({"light_positions": [[n, 1, 2] for n in range(5000)]}, "5,000 LEDs, at most 4,096"),
        ({"light_positions": (ring_dome(40) * [1, 0, 1]).tolist()}, "plane|centre"),
        ({"light_positions": [[1.0, 2, 3]] * 20, "light_centre": [0, 0, 0]}, "one direction"),
        ({"light_positions": ring_dome(40).tolist(), "light_arcs": [3, 4]}, "arcs of 7 LEDs"),
        ({"light_positions": ring_dome(40).tolist(), "light_valid": [True]}, "40 times"),
        ({"light_positions": ring_dome(40).tolist(), "light_axes": "left"}, "light_axes"),
        ({"light_positions": ring_dome(40).tolist(), "light_axes": ["y-up"]}, "light_axes"),
        ({"light_positions": (ring_dome(40) * 1e200).tolist()}, "beyond 1 km"),
        ({"light_positions": ring_dome(40).tolist(), "light_centre": [1e200, 0, 0]}, "beyond 1 km"),
    ],
)
def test_bad_files_get_one_clear_line(tmp_path: Path, content: dict[str, Any], said: str) -> None:
    path = lights_file(tmp_path, **{"light_axes": "y-up", **content})
    with pytest.raises(CalibrationError, match=said) as caught:
        read_leds(path)
    assert str(path) in caught.value.message and "\n" not in caught.value.message


def test_no_led_is_darkened_that_is_not_there() -> None:
    with pytest.raises(CalibrationError, match="LED 60: the stage has LEDs 0 to 59"):
        led_set(ring_dome(60)).without([60])

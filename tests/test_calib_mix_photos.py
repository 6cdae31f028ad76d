from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from litdome.calib.leds.mix_photos import read_chart_photos, write_readings
from litdome.calib.leds.mixing import mix_lights, read_mix_chart
from litdome.color import COLORCHECKER_24, srgb_from_linear
from litdome.errors import CalibrationError, UsageError
from litdome.media.hdr import write_hdr
from litdome.synth.charts import chart_texture

LIGHTS = {
    "red": [0.9, 0.08, 0.02],
    "green": [0.1, 0.8, 0.1],
    "blue": [0.02, 0.1, 0.9],
    "amber": [0.5, 0.3, 0.01],
    "white": [0.6, 0.8, 0.5],
    "target": [1.0, 1.0, 1.0],
}
CORNERS = np.array([[60.0, 60], [180, 60], [180, 132], [60, 132]])  # of patches 24 texels apart, the first at 19 + 41


def photographs(folder: Path, scale: float = 1.0, **more: list[float]) -> dict[str, Path]:
    chart = np.pad(np.maximum(chart_texture(), 0), ((41, 41), (41, 41), (0, 0)), constant_values=0.02)
    found = {}
    for light, colour in {**LIGHTS, **more}.items():
        found[light] = folder / f"{light}.exr"
        write_hdr(found[light], (chart * np.array(colour, np.float32) * np.float32(scale)))
    return found


def test_patches_are_read_under_every_light_where_the_white_one_shows_the_chart(tmp_path: Path) -> None:
    found = read_chart_photos(photographs(tmp_path, scale=7.0))
    for light, colour in LIGHTS.items():
        wanted = 7.0 * np.maximum(COLORCHECKER_24, 0) * colour
        usable = np.isfinite(found[light]).all(axis=1)
        assert usable.sum() >= 18 and usable[18]
        np.testing.assert_allclose(found[light][usable], wanted[usable], rtol=1e-3, atol=1e-4)


def test_readings_written_are_a_chart_to_mix_with(tmp_path: Path) -> None:
    readings = read_chart_photos(photographs(tmp_path), CORNERS)
    write_readings(tmp_path / "chart.csv", readings)
    chart = read_mix_chart(tmp_path / "chart.csv")
    assert chart.channels == ("red", "green", "blue", "amber", "white")
    np.testing.assert_allclose(
        chart.channel_rgb[0] / chart.channel_rgb[4], np.divide([0.9, 0.08, 0.02], [0.6, 0.8, 0.5])
    )
    white = mix_lights(np.ones(3), chart)
    assert white.residual < 1e-3 and not white.out_of_gamut
    with pytest.raises(UsageError, match="exists already"):
        write_readings(tmp_path / "chart.csv", readings)


def test_a_clipped_white_patch_is_refused(tmp_path: Path) -> None:
    photos = photographs(tmp_path)
    chart = np.pad(np.maximum(chart_texture(), 0), ((41, 41), (41, 41), (0, 0)), constant_values=0.02)
    bright = np.round(255 * srgb_from_linear(np.clip(2 * chart, 0, 1))).astype(np.uint8)
    photos = {light: tmp_path / f"{light}.png" for light in photos}
    for light, path in photos.items():
        level = np.round(255 * srgb_from_linear(chart * np.array(LIGHTS[light]))).astype(np.uint8)
        cv2.imwrite(str(path), (bright if light == "white" else level)[..., ::-1])
    with pytest.raises(CalibrationError, match="clipped under white") as caught:
        read_chart_photos(photos, CORNERS)
    assert "exposure" in str(caught.value.hint)


def test_photographs_without_a_chart_are_refused(tmp_path: Path) -> None:
    for light in ("red", "green", "blue"):
        write_hdr(tmp_path / f"{light}.exr", np.full((120, 160, 3), 0.3, np.float32))
    with pytest.raises(CalibrationError, match="no chart found") as caught:
        read_chart_photos({light: tmp_path / f"{light}.exr" for light in ("red", "green", "blue")})
    assert "--corners" in str(caught.value.hint)


@pytest.mark.parametrize("corners", [[1, 2, 3, 4, 5, 6, 7, 8], [55, 55, 55, 135, 155, 135, 155, 55]])
def test_corners_that_are_no_chart_are_refused(tmp_path: Path, corners: list[int]) -> None:
    with pytest.raises(CalibrationError, match="do not go round the chart clockwise"):
        read_chart_photos(photographs(tmp_path), np.array(corners, float).reshape(4, 2))


def test_photographs_of_two_sizes_are_refused(tmp_path: Path) -> None:
    photos = photographs(tmp_path)
    write_hdr(photos["red"], np.full((120, 160, 3), 0.3, np.float32))
    with pytest.raises(CalibrationError, match="2 sizes"):
        read_chart_photos(photos, CORNERS)

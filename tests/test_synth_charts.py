"""Simulated charts and sensors: exact where they say so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from litdome.color import COLORCHECKER_24
from litdome.errors import UsageError
from litdome.synth.charts import chart_corners, chart_pose, film_chart, write_charts
from litdome.synth.recording import plan_take
from litdome.synth.rig import make_rig
from litdome.synth.sensors import Sensor, make_sensors


def test_chart_shows_its_patches_where_it_says() -> None:
    camera = make_rig(1, width=180, height=320).cameras[0]
    pose = chart_pose(camera, np.random.default_rng(0))
    picture = film_chart(camera, pose, np.zeros((320, 180, 3), np.float32))
    at = chart_corners(camera, pose).round().astype(int)
    np.testing.assert_allclose(picture[at[:, 1], at[:, 0]], COLORCHECKER_24[[0, 5, 23, 18]], atol=1e-5)


def test_sensor_sees_matrix_falloff_and_black_level() -> None:
    matrix, black = np.diag([0.5, 1.0, 2.0]), np.array([0.01, 0.0, 0.02])
    seen = Sensor(matrix, black, np.array([-0.4, 0.0, 0.0])).see(np.ones((101, 201, 3), np.float32))
    np.testing.assert_allclose(seen[50, 100], [0.51, 1.0, 2.02], rtol=1e-6)
    share = 1 - 0.4 * (100**2 + 50**2) / ((201**2 + 101**2) / 4)  # the middle of the corner's pixel
    np.testing.assert_allclose(seen[0, 0], np.array([0.5, 1.0, 2.0]) * share + black, rtol=1e-5)


def test_sensors_differ_and_are_drawn_by_seed() -> None:
    first, again, other = make_sensors(3, 0.1, 0), make_sensors(3, 0.1, 0), make_sensors(3, 0.1, 1)
    np.testing.assert_array_equal(first[1].matrix, again[1].matrix)
    assert not np.allclose(first[0].matrix, first[1].matrix) and not np.allclose(first[1].matrix, other[1].matrix)


def test_take_has_sensors_and_charts_only_where_cameras_differ(tmp_path: Path) -> None:
    size = {"cameras": 1, "pairs": 1, "width": 64, "height": 96}
    assert plan_take(tmp_path, **size).film.sensors == ()
    write_charts(tmp_path, plan_take(tmp_path, color_spread=0.1, **size).film)
    assert (tmp_path / "charts" / "c00.png").is_file() and (tmp_path / "charts" / "flat" / "c00.png").is_file()
    truth = np.load(tmp_path / "truth" / "color.npz")
    np.testing.assert_array_equal(truth["matrix"][0], make_sensors(1, 0.1, 0)[0].matrix)
    with pytest.raises(UsageError, match="color_spread"):
        plan_take(tmp_path, color_spread=2.0, **size)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import nnls

from litdome.calib.leds.mixing import MixChart, mix_chart, mix_lights, nonnegative_least_squares, read_mix_chart
from litdome.errors import CalibrationError

NM = np.arange(400.0, 701.0, 5)
RGBAW = ("red", "green", "blue", "amber", "white")


def bump(centre: float, width: float) -> np.ndarray:
    return np.exp(-(((NM - centre) / width) ** 2) / 2)


SENSORS = np.stack([bump(600, 35), bump(540, 35), bump(455, 25)])
LEDS = np.stack([bump(632, 9), bump(525, 15), bump(460, 10), bump(592, 20), 0.5 * bump(455, 10) + bump(570, 55)])
DAYLIGHT = 1 + 0.3 * np.cos((NM - 450) / 80)
REFLECTANCES = np.stack(
    [
        np.full(len(NM), 0.9),
        *(
            np.clip(0.35 + 0.3 * np.sin((NM - 400) / width + phase), 0.03, 0.95)
            for width in (60, 35)
            for phase in range(6)
        ),
        *(0.08 + 0.75 / (1 + np.exp(-(NM - edge) / slope)) for edge, slope in ((500, 12), (580, 8), (610, 25))),
        *(0.05 + 0.6 * bump(centre, 30) for centre in (450, 500, 550, 600)),
    ]
)
PATCHES = ("white", *(f"p{n}" for n in range(len(REFLECTANCES) - 1)))


def photograph(spectrum: np.ndarray) -> np.ndarray:
    """Linear camera RGB of each patch, shape (patch, 3)."""
    return (REFLECTANCES * spectrum) @ SENSORS.T


def chart(channels: int = 5, *, target: bool = True) -> MixChart:
    response = np.stack([photograph(led) for led in LEDS[:channels]], axis=-1)
    return mix_chart(RGBAW[:channels], PATCHES, response, photograph(DAYLIGHT) if target else None)


def test_every_set_of_channels_is_tried_as_the_slow_solver_would() -> None:
    rng = np.random.default_rng(1)
    columns = rng.normal(size=(30, 5))
    wanted = rng.normal(size=(40, 30))
    found = nonnegative_least_squares(columns.T @ columns, wanted @ columns)
    slow = np.array([nnls(columns, row)[0] for row in wanted])
    np.testing.assert_allclose(found, slow, atol=1e-9)
    assert (found == 0).any() and (found > 0).any()


def test_the_light_of_one_channel_is_made_by_that_channel() -> None:
    full = chart(3)
    for n, rgb in enumerate(full.channel_rgb):
        found = mix_lights(rgb, mix_chart(full.channels, full.patches, full.response, None))
        np.testing.assert_allclose(found.weights, np.eye(3)[n], atol=1e-6)
        assert not found.out_of_gamut


def test_a_mixture_of_the_channels_is_found_again_exactly() -> None:
    truth = np.array([0.3, 0.2, 0.0, 0.5, 0.7])
    full = chart()
    lit = full.response @ truth  # the chart as it looks in a light that the LEDs can make
    white = lit[full.neutral]
    again = mix_lights(white, mix_chart(RGBAW, PATCHES, full.response, lit))
    np.testing.assert_allclose(again.weights, truth, atol=1e-4)
    assert again.residual < 1e-6 and not again.out_of_gamut


def test_amber_and_white_show_the_chart_better_than_three_colours() -> None:
    three, five = (mix_lights(np.ones(3), chart(count)) for count in (3, 5))
    assert five.residual < three.residual / 2
    assert five.residual < 0.05


def test_a_neutral_patch_alone_is_matched_exactly() -> None:
    rgb = np.array([[1.0, 0.9, 0.8], [0.2, 0.21, 0.25]])
    alone = chart(target=False)
    found = mix_lights(rgb, alone)
    np.testing.assert_allclose(found.weights @ alone.channel_rgb, rgb, rtol=1e-6)
    assert (found.residual < 1e-6).all() and (found.weights >= 0).all()


def test_colours_beyond_the_leds_are_told() -> None:
    deep = np.array([[1.0, 1, 1], [0.0, 1.0, 0.0], [0, 0, 0]])  # the camera's green sees red LEDs, too
    found = mix_lights(deep, chart())
    assert found.out_of_gamut.tolist() == [False, True, False]
    assert found.residual[1] > 0.1 and not found.weights[2].any()


def test_many_lights_are_mixed_as_each_alone() -> None:
    rgb = np.random.default_rng(2).uniform(0, 1, (4, 7, 3))
    found = mix_lights(rgb, chart())
    assert found.weights.shape == (4, 7, 5) and found.residual.shape == (4, 7)
    np.testing.assert_allclose(found.weights[2, 3], mix_lights(rgb[2, 3], chart()).weights, atol=1e-12)


def csv_file(folder: Path, text: str) -> Path:
    path = folder / "chart.csv"
    path.write_text(text)
    return path


def readings(*lights: str) -> str:
    rows = [f"{patch},{light},{0.1 * n + 0.1},0.2,0.3" for n, light in enumerate(lights) for patch in ("white", "skin")]
    return "patch,light,r,g,b\n" + "\n".join(rows) + "\n"


def test_a_table_of_readings_is_read(tmp_path: Path) -> None:
    found = read_mix_chart(csv_file(tmp_path, readings(*RGBAW, "target")))
    assert found.channels == RGBAW and found.patches == ("white", "skin")
    assert found.target is not None and found.target[0].tolist() == [1, 1, 1]
    np.testing.assert_allclose(found.channel_rgb.sum(axis=0).mean(), 1)
    np.testing.assert_allclose(found.channel_rgb[4] / found.channel_rgb[0], [5, 1, 1])
    assert read_mix_chart(csv_file(tmp_path, readings(*RGBAW))).target is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("patch,r\n", "columns patch,r"),
        (readings("red", "green"), "2 LED channels, 3 to 8"),
        (readings(*RGBAW) + "white,red,1,1,1\n", "line 12: white under red a second time"),
        (readings(*RGBAW) + "leaf,red,1,1,1\n", "green lacks leaf"),
        (readings(*RGBAW).replace("0.2", "x"), "line 2: r, g and b must be numbers"),
        (readings(*RGBAW).replace("white,", "whit,"), "no patch white"),
        (readings(*RGBAW).replace("0.5,0.2,0.3", "0,0,0"), "patch white is dark under white"),
        (readings(*RGBAW).replace("0.5,0.2,0.3", "nan,0,0"), "not finite"),
        (readings("target"), "no LED channels"),
    ],
)
def test_bad_tables_get_one_clear_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(CalibrationError, match=said) as caught:
        read_mix_chart(csv_file(tmp_path, text))
    assert "chart.csv" in caught.value.message

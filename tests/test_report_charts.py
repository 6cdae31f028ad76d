from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ElementTree

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from litdome.report.charts import RAMP, Line, heat_map, line_chart, nice_ticks, ramp_colors

SHIFT = np.array([[0.0, 1.0, 4.0], [np.nan, 2.0, 9.0]])
KEEP = np.array([[True, True, False], [False, True, False]])


def heat() -> str:
    return heat_map(SHIFT, KEEP, ["c00", "<c01>"], top=4.0, label="shift, px", what='worst "9" px')


def test_heat_map_colours_every_cell_and_leaves_unknown_ones_open() -> None:
    first = re.search(r'href="data:image/png;base64,([^"]+)"', heat())
    assert first is not None
    cells = cv2.imdecode(np.frombuffer(base64.b64decode(first[1]), np.uint8), cv2.IMREAD_UNCHANGED)
    assert cells.shape == (2, 3, 4)
    assert cells[..., 3].tolist() == [[255, 255, 255], [0, 255, 255]]
    blue, cream, red = (RAMP[n][::-1].tolist() for n in (0, 2, 4))
    assert [cells[0, 0, :3].tolist(), cells[1, 1, :3].tolist(), cells[1, 2, :3].tolist()] == [blue, cream, red]


def test_heat_map_crosses_the_dropped_cells_that_were_measured() -> None:
    crosses = re.findall(r'<path d="([^"]+)" class="cross"', heat())
    assert crosses[0].count("M") == 2  # (0, 2) and (1, 2); the other stands in the legend
    kept = heat_map(SHIFT, np.ones_like(KEEP), ["c00", "c01"], top=4.0, label="", what="")
    assert 'class="cross"' not in kept and "dropped" not in kept


def test_the_legend_says_when_values_lie_beyond_it() -> None:
    assert ">4 and more<" in heat()
    assert "and more" not in heat_map(SHIFT, KEEP, ["c00", "c01"], top=10.0, label="", what="")


def test_charts_are_well_formed_and_escape_names() -> None:
    lines = [Line("<loss>", np.arange(5.0), np.array([5.0, 4, np.nan, 2, 1]), faint=True)]
    for chart in (heat(), line_chart(lines, x_label="step & more", y_label="loss", what="a < b")):
        root = ElementTree.fromstring(chart)
        assert root.get("role") == "img" and root.get("aria-label")


def test_line_chart_is_logarithmic_where_values_span_much() -> None:
    x = np.arange(1.0, 4.0)
    wide = line_chart([Line("loss", x, np.array([10.0, 1.0, 0.1]))], x_label="step", y_label="loss", what="")
    heights = [float(point.split(",")[1]) for point in re.findall(r'points="([^"]+)"', wide)[0].split()]
    assert abs((heights[1] - heights[0]) - (heights[2] - heights[1])) < 0.11  # px: equal factors, equal steps
    narrow = line_chart([Line("loss", x, np.array([3.0, 2.0, 1.0]))], x_label="step", y_label="loss", what="")
    assert ">0<" in narrow and ">0<" not in wide


def test_a_long_line_is_thinned_and_a_constant_one_is_drawn() -> None:
    long = line_chart([Line("", np.arange(9999.0), np.ones(9999))], x_label="", y_label="", what="")
    points = re.findall(r'points="([^"]+)"', long)[0].split()
    assert 600 < len(points) <= 700 and "nan" not in long


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_even_and_inside(low: float, span: float) -> None:
    ticks = nice_ticks(low, low + span)
    assert 2 <= len(ticks) <= 7
    assert all(low - 1e-6 * span <= tick <= low + span * (1 + 1e-6) for tick in ticks)
    steps = np.diff(ticks)
    assert np.allclose(steps, steps[0])


def test_ramp_runs_from_blue_over_cream_to_red() -> None:
    colors = ramp_colors(np.array([-1.0, 0.0, 0.5, 1.0, 7.0])).astype(int)
    assert colors[0].tolist() == colors[1].tolist() and colors[3].tolist() == colors[4].tolist()
    assert colors[0, 2] > colors[0, 0] and colors[3, 0] > colors[3, 2] and colors[2].min() > 180

"""Blur by focus and motion, and rolling shutters: widths, times and amounts against formulas."""

from __future__ import annotations

import numpy as np
import pytest

from litdome.synth.optics import (
    MOMENT_PX,
    View,
    confusion_px,
    focused,
    moment_count,
    moment_offsets,
    photograph,
    row_weights,
    spread,
)
from litdome.synth.render import Float32Array
from litdome.synth.sensors import Sensor

HEIGHT, WIDTH = 40, 64
FOCAL_PX, FOCUS_M = 900.0, 3.0


def view(front: Float32Array, coverage: Float32Array, depth_m: Float32Array | float, behind: float = 0.0) -> View:
    full = np.full((HEIGHT, WIDTH, 3), behind, np.float32)
    depth = np.broadcast_to(np.float32(depth_m), coverage.shape)
    return View(front * coverage[..., None], coverage, depth, full, 7.0)


def moving_edge(speed_px_s: float, at_px: float = 30.0):
    """A view of an upright edge, bright to its left, that moves to the right."""

    def view_at(offset_s: float) -> View:
        edge = at_px + speed_px_s * offset_s
        coverage = np.clip(edge - np.arange(WIDTH) + 0.5, 0, 1).astype(np.float32)  # x = edge is half covered
        return view(np.ones(3, np.float32), np.broadcast_to(coverage, (HEIGHT, WIDTH)), 3.0)

    return view_at


def edges_px(picture: Float32Array) -> np.ndarray:
    """Where the edge lies in each row: the length of the bright part."""
    return picture[..., 0].sum(axis=1) - 0.5


@pytest.mark.parametrize("depth_m", [1.5, 2.0, 2.4, 6.0])
def test_a_point_out_of_focus_spreads_over_the_circle_of_a_thin_lens(depth_m: float) -> None:
    sensor = Sensor(aperture_m=0.03, focus_m=FOCUS_M)
    point = np.zeros((HEIGHT, WIDTH), np.float32)
    point[20, 32] = 1
    seen = focused(view(np.ones(3, np.float32), point, depth_m), sensor, FOCAL_PX)[..., 0].astype(np.float64)
    # rays through both rims of the pupil: where they cross the plane in focus, seen from the middle of the pupil
    rim = np.array([-0.015, 0.015])
    width_px = np.ptp(FOCAL_PX * (rim - rim * FOCUS_M / depth_m) / FOCUS_M)
    assert seen.sum() == pytest.approx(1, abs=1e-5)
    across = ((np.arange(WIDTH) - 32) ** 2 * seen.sum(axis=0)).sum()
    # variance of an even circle: width^2 / 16; rounding of the width (0.25 px) and of positions to pixels (1/12)
    assert (width_px - 0.25) ** 2 / 16 <= across <= (width_px + 0.25) ** 2 / 16 + 1 / 12
    assert confusion_px(depth_m, sensor, FOCAL_PX) == pytest.approx(width_px)


def test_what_is_in_focus_and_what_a_pinhole_sees_stays_sharp() -> None:
    rng = np.random.default_rng(0)
    front, coverage = rng.random((HEIGHT, WIDTH, 3), np.float32), rng.random((HEIGHT, WIDTH), np.float32)
    for sensor, depth_m in ((Sensor(aperture_m=0.05, focus_m=FOCUS_M), FOCUS_M), (Sensor(), 1.0)):
        seen = focused(view(front, coverage, depth_m), sensor, FOCAL_PX)
        np.testing.assert_allclose(seen, front * coverage[..., None], atol=1e-6)


def test_a_slanted_surface_of_one_colour_stays_of_that_colour() -> None:
    """Parts of different blur meet without a seam; the wall behind does not shine through."""
    depth = np.broadcast_to(np.linspace(2.0, 4.0, WIDTH, dtype=np.float32), (HEIGHT, WIDTH))
    everywhere = np.ones((HEIGHT, WIDTH), np.float32)
    shown = view(np.full(3, 0.4, np.float32), everywhere, depth, behind=1.0)
    sensor = Sensor(aperture_m=0.05, focus_m=FOCUS_M)
    assert confusion_px(2.0, sensor, FOCAL_PX) > 7
    seen = focused(shown, sensor, FOCAL_PX)
    np.testing.assert_allclose(seen, 0.4, atol=1e-5)  # float32; the picture's rim goes on in itself, not in black


def test_the_wall_blurs_by_its_own_depth_while_the_person_is_sharp() -> None:
    sensor = Sensor(aperture_m=0.03, focus_m=FOCUS_M)
    behind = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    behind[20, 40] = 1
    coverage = np.zeros((HEIGHT, WIDTH), np.float32)
    coverage[:, :20] = 1
    depth = np.full((HEIGHT, WIDTH), FOCUS_M, np.float32)
    seen = focused(View(coverage[..., None].repeat(3, 2), coverage, depth, behind, 7.0), sensor, FOCAL_PX)
    np.testing.assert_array_equal(seen[:, :20], 1)
    np.testing.assert_allclose(seen[:, 20:], spread(behind, float(confusion_px(7.0, sensor, FOCAL_PX)))[:, 20:])
    assert seen[20, 40, 0] < 0.1 and seen[:, 20:, 0].sum() == pytest.approx(1, abs=1e-5)


def test_an_exposed_edge_is_a_ramp_as_wide_as_its_way_around_the_frames_time() -> None:
    sensor, speed = Sensor(shutter_s=0.01), 800.0  # 8 px while the shutter is open
    seen = photograph(moving_edge(speed), sensor, FOCAL_PX, moments=64)[..., 0]
    x = np.arange(WIDTH)
    ramp = np.clip((34 - x) / 8, 0, 1)
    inside = (x < 26) | (x > 34) | ((x > 27) & (x < 33))
    np.testing.assert_allclose(seen[:, inside], np.broadcast_to(ramp[inside], (HEIGHT, inside.sum())), atol=1e-3)
    np.testing.assert_allclose(edges_px(seen[..., None]), 30, atol=1e-3)
    sharp = photograph(moving_edge(speed), Sensor(), FOCAL_PX, moments=1)[..., 0]
    assert np.abs(sharp - ramp).max() > 0.3


def test_rows_of_a_rolling_shutter_show_their_own_times() -> None:
    rolling_s, speed = 0.02, 500.0
    sensor = Sensor(rolling_s=rolling_s)
    when = ((np.arange(HEIGHT) + 0.5) / HEIGHT - 0.5) * rolling_s
    exact = photograph(moving_edge(speed), sensor, FOCAL_PX, moments=HEIGHT)
    np.testing.assert_allclose(edges_px(exact), 30 + speed * when, atol=1e-3)
    coarse = edges_px(photograph(moving_edge(speed), sensor, FOCAL_PX, moments=moment_count(speed * rolling_s)))
    assert 0.1 < np.abs(coarse - (30 + speed * when)).max() < MOMENT_PX / 2
    assert np.abs(edges_px(photograph(moving_edge(speed), Sensor(), FOCAL_PX, moments=1)) - 30).max() < 1e-5


@pytest.mark.parametrize(("shutter_s", "rolling_s"), [(0.008, 0.0), (0.0, 0.02), (0.008, 0.02), (0.03, 0.004)])
def test_every_row_is_exposed_once_around_its_own_time(shutter_s: float, rolling_s: float) -> None:
    count = 200
    weights = row_weights(HEIGHT, count, shutter_s, rolling_s).astype(np.float64)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    offsets = moment_offsets(shutter_s + rolling_s, count)
    step = (shutter_s + rolling_s) / count
    middles = ((np.arange(HEIGHT) + 0.5) / HEIGHT - 0.5) * rolling_s
    np.testing.assert_allclose(weights @ offsets, middles, atol=step / 2 + 1e-9)
    spans = (weights > 1e-6).sum(axis=1) * step
    assert (np.abs(spans - shutter_s) <= 2 * step).all()

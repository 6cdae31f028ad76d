from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from litdome.calib.leds.drive import (
    MapLight,
    cell_light,
    covered_normals,
    drive_hdri,
    harmonics,
    icosphere,
    judge_drive,
    measure_light,
    probe_normals,
)
from litdome.calib.leds.drive_files import drive_table
from litdome.errors import CalibrationError, InputError
from litdome.geometry import look_at
from litdome.lighting import (
    HdriConvention,
    latlong_directions,
    project_hdri,
    rotate_hdri,
    sh_basis,
    view_directions,
)
from litdome.lighting.effective_map import effective_map
from litdome.lighting.led_set import LedSet, led_set
from litdome.media.hdr import read_hdr
from litdome.synth.led_dome import ring_dome


@cache
def dome(count: int = 331) -> LedSet:
    return led_set(ring_dome(count))


def sky_with_sun(height: int = 64, sun: tuple[int, int] = (20, 40)) -> np.ndarray:
    """A blue gradient, brown below, and one texel of 20,000."""
    up = latlong_directions(height, 2 * height)[..., 1:2]
    hdr = np.where(up > 0, [0.3, 0.5, 0.9], [0.25, 0.2, 0.1]) * (1 + np.abs(up))
    hdr[sun] = [22000, 20000, 17000]
    return hdr.astype(np.float32)


def irradiance_at(directions: np.ndarray, intensity: np.ndarray, normals: np.ndarray) -> np.ndarray:
    return np.maximum(normals @ directions.T, 0) @ intensity


def test_the_probe_normals_are_an_even_sphere() -> None:
    normals = probe_normals()
    assert normals.shape == (642, 3)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)
    np.testing.assert_allclose(normals.T @ normals / 642, np.eye(3) / 3, atol=1e-3)
    np.testing.assert_allclose(irradiance_at(icosphere(4), np.ones((2562, 1)), normals), 2562 / 4, rtol=2e-3)


def test_harmonics_are_orthonormal_and_agree_with_the_second_order_ones() -> None:
    directions = latlong_directions(64, 128).reshape(-1, 3)
    weight = np.repeat(np.sin((np.arange(64) + 0.5) / 64 * np.pi), 128)
    basis = harmonics(directions)
    gram = (basis * weight[:, None]).T @ basis / weight.sum() * 4 * np.pi
    np.testing.assert_allclose(gram, np.eye(25), atol=2e-3)  # midpoint rule over 64 rows
    low = sh_basis(directions)
    inside = basis[:, :9] @ np.linalg.lstsq(basis[:, :9], low, rcond=None)[0]
    np.testing.assert_allclose(inside, low, atol=1e-6)  # the same space; sh_basis's constants have six digits


def test_light_from_everywhere_gives_pi_everywhere() -> None:
    light = measure_light(np.ones((64, 128, 3), np.float32), "physical")
    np.testing.assert_allclose(light.irradiance, np.pi, rtol=1e-3)  # texels of 2.8 degrees
    np.testing.assert_allclose(light.glossy, 1, rtol=5e-3)  # midpoint rule at the poles
    np.testing.assert_allclose(light.harmonics[1:], 0, atol=2e-3)


def test_one_led_per_cell_keeps_all_light_and_where_it_comes_from() -> None:
    light = measure_light(sky_with_sun(), "physical")
    cells = cell_light(light, dome().directions)
    np.testing.assert_allclose(cells.sum(axis=0), light.energy.sum(axis=0, dtype=np.float64), rtol=1e-6)
    brightest = dome().directions[cells[:, 1].argmax()]
    sun = latlong_directions(64, 128)[20, 40]
    assert np.degrees(np.arccos(brightest @ sun)) < 8  # half the diagonal of a cell


def test_a_turned_drive_is_the_drive_of_the_turned_map() -> None:
    hdr = sky_with_sun()
    turned = rotate_hdri(hdr, 45.0)  # 16 texels: exact
    asked = drive_hdri(measure_light(hdr, "physical"), dome(), rotation_deg=45.0)
    given = drive_hdri(measure_light(turned, "physical"), dome())
    scale = given.start.max()
    np.testing.assert_allclose(asked.start, given.start, atol=1e-4 * scale)
    wrong = drive_hdri(measure_light(hdr, "physical"), dome(), rotation_deg=-45.0)
    assert np.abs(wrong.start - given.start).max() > 0.1 * scale


def test_cosmos_maps_are_driven_mirrored() -> None:
    hdr = sky_with_sun()
    for convention, sign in (("physical", 1), ("cosmos", -1)):
        start = drive_hdri(measure_light(hdr, convention), dome()).start  # type: ignore[arg-type]
        towards = dome().directions[start[:, 0].argmax()]
        sun = latlong_directions(64, 128)[20, 40] * [1, 1, sign]
        assert towards @ sun > np.cos(np.radians(8))


def test_a_fitted_drive_beats_the_cells_on_irradiance_and_on_narrow_lobes() -> None:
    found = drive_hdri(measure_light(sky_with_sun(), "physical"), dome())
    assert (found.intensity >= 0).all()
    assert found.errors.p95 < 0.01 and found.errors.worst < 0.03
    assert found.start_errors.p95 > 0.03 and found.start_errors.worst > 0.03  # the cells alone do not do it
    assert found.errors.specular < found.start_errors.specular


def test_the_fit_holds_at_normals_that_it_was_not_made_at() -> None:
    light = measure_light(sky_with_sun(), "physical")
    others = icosphere(4)[642:][::7]
    truth = np.maximum(others.astype(np.float32) @ light.directions.T, 0) @ light.energy
    found = drive_hdri(light, dome()).intensity
    off = np.abs(irradiance_at(dome().directions, found, others) - truth) / truth.max(axis=0)
    assert np.quantile(off, 0.95) < 0.01 and off.max() < 0.035


def test_dead_leds_stay_dark_and_their_light_comes_from_their_neighbours() -> None:
    light = measure_light(sky_with_sun(), "physical")
    brightest = int(drive_hdri(light, dome()).start[:, 1].argmax())
    leds = dome().without([brightest, 5, 100, 200])
    found = drive_hdri(light, leds)
    assert not found.intensity[[brightest, 5, 100, 200]].any() and not found.start[brightest].any()
    np.testing.assert_allclose(found.intensity.sum(axis=0), light.energy.sum(axis=0), rtol=0.02)
    assert found.errors.worst < found.start_errors.worst / 1.5
    beside = drive_hdri(light, dome().without([(brightest + 150) % 331, 5, 100]))
    assert beside.errors.worst < 0.03 < found.errors.worst  # a hole counts where the sun is


def test_normals_below_a_dome_are_told_apart() -> None:
    covered = covered_normals(dome().directions, dome().spacing)
    assert covered[probe_normals()[:, 1] > -0.95].all() and not covered[probe_normals()[:, 1] < -0.99].any()
    half = led_set(ring_dome(200, lowest_deg=0.0))
    below = covered_normals(half.directions, half.spacing)
    assert not below[probe_normals()[:, 1] < 0.5].any()  # half of what lights them comes from below
    ground = measure_light(sky_with_sun()[::-1].copy(), "physical")
    found = drive_hdri(ground, half)
    assert found.errors.unreached > 0.5 and found.errors.uncovered > 0.3


def test_errors_are_those_of_the_light_that_is_missing() -> None:
    light = measure_light(np.ones((64, 128, 3), np.float32), "physical")
    start = cell_light(light, dome().directions)
    half = judge_drive(light, dome(), start / 2)
    assert half.worst == pytest.approx(0.5, abs=0.01) and half.specular == pytest.approx(0.5, abs=0.02)
    one_channel = judge_drive(light, dome(), start * [1, 1, 0.8])
    assert one_channel.p95 == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize(
    ("hdr", "said"),
    [
        (np.zeros((64, 128, 3)), "all black"),
        (np.full((64, 128, 3), np.nan), "NaN, infinite or negative radiance in 8192 texels"),
        (np.where(np.arange(64 * 128 * 3).reshape(64, 128, 3) < 6, -1, 1), "negative radiance in 2 texels"),
        (np.ones((8, 16, 3)), "16x8"),
        (np.ones((64, 64, 3)), "twice as wide"),
        (np.full((64, 128, 3), np.inf), "infinite or negative radiance in 8192 texels"),
    ],
)
def test_maps_that_cannot_be_driven_are_refused(hdr: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=said):
        measure_light(hdr.astype(np.float32), "physical", "some.exr")


def test_even_light_stays_even() -> None:
    """The furnace: a constant map gives a constant irradiance of pi, through the 16-bit codes too."""
    light = measure_light(np.ones((64, 128, 3), np.float32), "physical")
    sphere = led_set(1.5 * icosphere(2))
    found = drive_hdri(light, sphere).intensity
    given = drive_table({"even": found}, sphere)[0].intensity(1)
    for intensity in (found, given):
        irradiance = irradiance_at(sphere.directions, intensity, probe_normals())
        np.testing.assert_allclose(irradiance, np.pi, rtol=0.01)  # 162 LEDs: their own pattern is 0.8 %
    np.testing.assert_allclose(given, found, atol=found.max() / 65535)  # half a code
    np.testing.assert_allclose(found.sum(axis=0), 4 * np.pi, rtol=0.002)
    lopsided = irradiance_at(sphere.directions, found * (sphere.directions[:, :1] > 0), probe_normals())
    assert lopsided.min() < 0.5 * np.pi


@pytest.mark.parametrize("convention", ["physical", "cosmos"])
def test_a_bright_texel_is_at_one_place_from_the_map_to_the_view_of_the_leds(convention: HdriConvention) -> None:
    hdr = np.full((64, 128, 3), 0.01, np.float32)
    hdr[20, 100] = 5000
    drive = drive_hdri(measure_light(hdr, convention), dome())
    given = drive_table({"sun": drive.intensity}, dome())[0].intensity(1)
    made = effective_map(dome(), given, 64, convention)
    pose = look_at([2, 1.5, -1.2], [0, 1, 0])
    wanted, seen = (brightest_seen(hdri, pose, convention) for hdri in (hdr, made))
    assert wanted @ seen > np.cos(np.radians(5.5))  # half a spacing of the LEDs
    mirrored = [brightest_seen(made[:, ::-1], pose, convention), seen * [-1, 1, 1], seen * [1, 1, -1]]
    assert all(wanted @ other < np.cos(np.radians(20)) for other in mirrored)


def brightest_seen(hdr: np.ndarray, pose: np.ndarray, convention: HdriConvention) -> np.ndarray:
    """Middle of the brightest spot of a view's map, in the camera's frame, unit, shape (3,)."""
    view, directions = project_hdri(hdr, pose, 90, 160, convention=convention)[..., 0], view_directions(90, 160)
    bright = np.where(view > 0.5 * view.max(), view, 0) * np.sqrt(1 - directions[..., 1] ** 2)
    middle = (directions * bright[..., None]).sum(axis=(0, 1))
    return np.asarray(middle / np.linalg.norm(middle))


def test_the_effective_map_gives_what_the_leds_give() -> None:
    leds = dome().without([40])
    found = drive_hdri(measure_light(sky_with_sun(), "physical"), leds)
    effective = effective_map(leds, found.intensity, 128, "physical")
    light = measure_light(effective, "physical")
    np.testing.assert_allclose(light.energy.sum(axis=0, dtype=np.float64), found.intensity.sum(axis=0), rtol=1e-5)
    driven = irradiance_at(leds.directions, found.intensity, probe_normals())
    off = np.abs(light.irradiance - driven) / driven.max(axis=0)
    assert np.quantile(off, 0.95) < 0.01 and off.max() < 0.03  # a cell is 11 degrees wide, a LED a point
    assert not effective[-6:].any() and effective[0].any()  # no LED lies below -77 degrees


def test_an_effective_map_shows_one_led_where_it_is() -> None:
    intensity = np.zeros((331, 3))
    intensity[123] = 1
    for convention in ("physical", "cosmos"):
        found = effective_map(dome(), intensity, 128, convention)  # type: ignore[arg-type]
        middle = latlong_directions(128, 256, convention)[found[..., 0] > 0].mean(axis=0)  # type: ignore[arg-type]
        assert middle @ dome().directions[123] > 0.99
    with pytest.raises(CalibrationError, match="no texel"):
        effective_map(dome(), intensity, 8, "physical")


@pytest.mark.parametrize(
    "name", ["autumn_field_puresky_1k.hdr", "cobblestone_street_night_1k.hdr", "venice_sunset_1k.exr"]
)
def test_real_maps_are_within_one_percent_and_three_at_worst(real_walk: Path, name: str) -> None:
    light: MapLight = measure_light(read_hdr(real_walk / "hdris" / name), "physical", name)
    found = drive_hdri(light, dome())
    assert found.errors.p95 < 0.01 and found.errors.worst < 0.03
    assert found.errors.specular < found.start_errors.specular and found.errors.p95 < found.start_errors.p95

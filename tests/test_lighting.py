from __future__ import annotations

import runpy
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from safetensors.numpy import load_file

from litdome import lighting
from litdome.cli.light_maps import CONVENTIONS
from litdome.geometry import look_at, rotation_about_y

OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
ROOT = Path(__file__).parents[1]
ALL = get_args(lighting.HdriConvention)
DIRECTIONS = {"+x": (1, 0, 0), "-x": (-1, 0, 0), "+z": (0, 0, 1), "-z": (0, 0, -1)}
PLACES = {  # u of each direction on the horizon, as each program's own formula gives it
    "physical": {"-z": 0.5, "+x": 0.75, "-x": 0.25, "+z": 0.0},
    "skylibs": {"-z": 0.5, "+x": 0.75, "-x": 0.25, "+z": 0.0},
    "openexr": {"+z": 0.5, "+x": 0.25, "-x": 0.75, "-z": 0.0},
    "cosmos": {"+z": 0.5, "+x": 0.75, "-x": 0.25, "-z": 0.0},
    "goliath": {"+z": 0.5, "+x": 0.75, "-x": 0.25, "-z": 0.0},
}


def lit_at(u: float, v: float, height: int = 64) -> np.ndarray:
    """A black map, the four texels around (u, v) at 1."""
    hdr, width = np.zeros((height, 2 * height, 3), np.float32), 2 * height
    row, column = round(v * height), round(u * width)
    for y in (row - 1, row):
        for x in (column - 1, column):
            hdr[y, x % width] = 1
    return hdr


@pytest.mark.parametrize("pose", ["eye", "yaw30", "pitch20", "mix"])
@pytest.mark.parametrize("convention", ["default", "physical"])
def test_projection_equals_the_original(relighter_fixture: Path, pose: str, convention: str) -> None:
    fixture = load_file(relighter_fixture / "env_proj.safetensors")
    case = f"{pose}_{convention}"
    c2w = fixture[f"{case}.c2w"].astype(np.float64) @ OPENGL
    view = lighting.project_hdri(
        fixture["hdr"], c2w, 44, 80, convention="cosmos" if convention == "default" else "physical"
    )
    # the original resamples through a 512-texel cube map: 1e-4 on average, texels beside a strong light differ more
    for name, tone_map in (("env_ldr", lighting.tone_map_ldr), ("env_log", lighting.tone_map_log)):
        difference = np.abs(tone_map(view) - fixture[f"{case}.{name}"])
        assert difference.mean() < 1e-4 and difference.max() < 1e-3
    np.testing.assert_allclose(lighting.view_directions(44, 80), fixture["env_nrm"], atol=1e-6)


@pytest.mark.parametrize("convention", ALL)
def test_each_world_direction_is_where_its_program_puts_it(convention: lighting.HdriConvention) -> None:
    for name, u in PLACES[convention].items():
        found = lighting.latlong_uv(np.array(DIRECTIONS[name], float), convention)
        assert (found[0] - u) % 1 == pytest.approx(0) and found[1] == 0.5
        shown = lighting.sample_latlong(lit_at(u, 0.5), np.array(list(DIRECTIONS.values()), float), convention)
        assert shown[:, 0].tolist() == [float(other == name) for other in DIRECTIONS]
    assert lighting.latlong_uv(np.array([0.0, 1, 0]), convention)[1] == 0  # up is the first row


@pytest.mark.parametrize("convention", ALL)
def test_every_texel_goes_out_and_comes_back(convention: lighting.HdriConvention) -> None:
    uv = lighting.latlong_uv(lighting.latlong_directions(16, 32, convention), convention)
    y, x = np.mgrid[:16, :32]
    np.testing.assert_allclose(uv, np.stack([(x + 0.5) / 32, (y + 0.5) / 16], axis=-1), atol=1e-12)


@pytest.mark.parametrize("target", ALL)
@pytest.mark.parametrize("source", ALL)
def test_a_converted_map_is_the_same_light_and_no_texel_is_resampled(
    source: lighting.HdriConvention, target: lighting.HdriConvention
) -> None:
    rng = np.random.default_rng(0)
    hdr = rng.random((16, 32, 3)).astype(np.float32)
    directions = rng.normal(size=(200, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    found = lighting.convert_hdri(hdr, source, target)
    wanted = lighting.sample_latlong(hdr, directions, source)
    np.testing.assert_allclose(lighting.sample_latlong(found, directions, target), wanted, atol=1e-5)  # f4 weights
    np.testing.assert_array_equal(lighting.convert_hdri(found, target, source), hdr)
    if PLACES[source] != PLACES[target]:
        assert np.abs(lighting.sample_latlong(hdr, directions, target) - wanted).mean() > 0.05
    one = np.zeros((16, 32, 3), np.float32)
    one[5, 9] = 7
    assert np.count_nonzero(lighting.convert_hdri(one, source, target)) == 3


def test_half_a_turn_of_an_odd_width_lies_between_texels() -> None:
    hdr = np.zeros((8, 17, 3), np.float32)
    hdr[3, 5] = 1
    turned = lighting.convert_hdri(hdr, "physical", "openexr")
    assert turned.sum() == pytest.approx(3) and np.count_nonzero(turned[3, :, 0]) == 2
    mirrored = lighting.convert_hdri(hdr, "openexr", "cosmos")
    np.testing.assert_array_equal(mirrored, hdr[:, ::-1])


def test_a_turn_by_part_of_a_texel_is_that_part_of_the_way() -> None:
    """Read between texels in a straight line: no turn, however small, is lost or makes the map jump."""
    height, width = 32, 64
    hdr = np.random.default_rng(2).random((height, width, 3)).astype(np.float32)
    level = look_at(np.array([0.0, 1.0, 3.0]), np.array([0.0, 1.0, 0.0]))

    def turned(texels: float) -> np.ndarray:
        shown = lighting.project_hdri(hdr, level, height, width, rotation_deg=360 / width * texels)
        return shown[4:-4]  # at the poles a map is read as through a cube

    whole = [turned(k) for k in range(3)]
    assert np.allclose(np.roll(whole[0], 1, axis=1), whole[1], atol=1e-5)  # to the right of a camera on +z
    for texels in (0.01, 0.25, 0.5, 0.99):
        for k in range(2):
            expected = (1 - texels) * whole[k] + texels * whole[k + 1]
            np.testing.assert_allclose(turned(k + texels), expected, atol=1e-4)
    assert np.abs(turned(0.5) - whole[0]).max() > 0.1  # negative control: half way is somewhere else


@pytest.mark.parametrize("convention", ALL)
def test_a_light_turns_from_z_to_x(convention: lighting.HdriConvention) -> None:
    turned = lighting.rotate_hdri(lit_at(PLACES[convention]["+z"], 0.5), 90, convention)
    shown = lighting.sample_latlong(turned, np.array(list(DIRECTIONS.values()), float), convention)
    np.testing.assert_allclose(shown[:, 0], [1, 0, 0, 0], atol=1e-5)


@pytest.mark.parametrize("convention", ALL)
def test_a_camera_sees_light_from_its_own_side_in_the_middle_and_from_its_right_to_the_right(
    convention: lighting.HdriConvention,
) -> None:
    camera = look_at((0.0, 1.0, 3.0), (0.0, 1.0, 0.0))  # at +z, world +x to its right
    for name, u in {"+z": 0.5, "+x": 0.75, "-x": 0.25, "-z": 0.0}.items():
        hdr = lit_at(PLACES[convention][name], 0.5)
        view = lighting.project_hdri(hdr, camera, 64, 128, convention=convention)[..., 0]
        columns = np.exp(2j * np.pi * (np.arange(128) + 0.5) / 128)
        middle = np.angle((view * columns).sum()) / (2 * np.pi)
        assert (middle - u + 0.5) % 1 - 0.5 == pytest.approx(0, abs=1e-3)
        assert np.average(np.arange(64), weights=view.sum(axis=1)) == pytest.approx(31.5, abs=0.1)
        mirrored = lighting.project_hdri(hdr[:, ::-1], camera, 64, 128, convention=convention)[..., 0]
        assert (np.abs(mirrored - view).max() > 0.5) == (name in ("+x", "-x"))


def test_the_command_line_knows_all_conventions() -> None:
    assert CONVENTIONS == ALL


@pytest.mark.parametrize("convention", ALL)
def test_the_docs_draw_each_convention_as_the_code_has_it(convention: str) -> None:
    drawings = runpy.run_path(str(ROOT / "tools" / "draw_conventions.py"))
    page = (ROOT / "docs" / "conventions.md").read_text(encoding="utf-8")
    drawn = next(name for name, title in drawings["LAYOUTS"].items() if convention in title)
    assert f"| `{convention}` |" in page and f"](hdri-{drawn}.svg)" in page
    assert (ROOT / "docs" / f"hdri-{drawn}.svg").read_text(encoding="utf-8") == drawings["draw"](drawn)
    assert PLACES[drawn] == PLACES[convention]


@pytest.mark.parametrize("convention", ALL)
def test_one_bright_texel_comes_from_its_direction(convention: lighting.HdriConvention) -> None:
    hdr = np.zeros((64, 128, 3), np.float32)
    hdr[20, 90] = 100
    direction = lighting.latlong_directions(64, 128, convention)[20, 90]
    assert lighting.sample_latlong(hdr, direction, convention)[0] == pytest.approx(100, rel=1e-4)
    turned = rotation_about_y(37) @ direction
    assert lighting.sample_latlong(lighting.rotate_hdri(hdr, 37, convention), turned, convention)[0] > 20
    camera = look_at((3.0, 1.0, 2.0), (0.0, 1.0, 0.0))
    for degrees in (0, 37):
        view = lighting.project_hdri(hdr, camera, 128, 256, convention=convention, rotation_deg=degrees)
        y, x = np.unravel_index(view[..., 0].argmax(), view.shape[:2])
        seen = camera[:3, :3] @ np.diag([1, -1, -1]) @ lighting.view_directions(128, 256)[y, x]
        assert seen @ rotation_about_y(degrees) @ direction > np.cos(np.radians(3))


def test_physical_convention_has_world_x_to_the_right_of_minus_z() -> None:
    directions = lighting.latlong_directions(32, 64, "physical")
    np.testing.assert_allclose(directions[15:17, 31:33].mean((0, 1)), [0, 0, -1], atol=0.01)
    np.testing.assert_allclose(directions[15:17, 47:49].mean((0, 1)), [1, 0, 0], atol=0.01)


def test_uniform_light_shows_albedo_one_as_one() -> None:
    sh = lighting.irradiance_sh(np.ones((64, 128, 3), np.float32))
    normals = lighting.latlong_directions(8, 16)
    np.testing.assert_allclose(lighting.sh_basis(normals) @ sh, 1.0, atol=2e-3)


def test_light_from_above_lights_up_facing_surfaces() -> None:
    hdr = np.zeros((64, 128, 3), np.float32)
    hdr[:4] = 1
    sh = lighting.irradiance_sh(hdr)
    up, down = lighting.sh_basis(np.array([[0.0, 1, 0], [0, -1, 0]])) @ sh
    assert up[0] > 0.01 > abs(down[0])


def test_session_gain_moves_conditions_and_pictures_together() -> None:
    hdr = np.random.default_rng(0).random((32, 64, 3)).astype(np.float32)
    camera = look_at((3.0, 1.0, 2.0), (0.0, 1.0, 0.0))
    normals = lighting.latlong_directions(8, 16)
    shown = lighting.sh_basis(normals) @ lighting.irradiance_sh(hdr)  # linear light of the pictures, gain 1
    ldr, log = lighting.environment_maps(hdr, camera, 32, 64)
    for gain in (0.5, 2.0):
        exposed = lighting.sh_basis(normals) @ lighting.irradiance_sh(gain * hdr)
        np.testing.assert_allclose(exposed, gain * shown, rtol=1e-5)
        found = lighting.environment_maps(hdr, camera, 32, 64, gain=gain)
        for maps, wanted in zip(found, lighting.environment_maps(gain * hdr, camera, 32, 64), strict=True):
            np.testing.assert_array_equal(maps, wanted)
        for maps, before in zip(found, (ldr, log), strict=True):
            assert (np.sign(maps - before) == np.sign(gain - 1)).all()

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from litdome import lighting
from litdome.geometry import look_at, rotation_about_y

OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


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


@pytest.mark.parametrize(
    ("radiance", "ldr", "log"),
    [(0.18, 0.4271, 0.1427), (1, 0.7366, 0.3040), (4, 0.9126, 0.4550), (16, 1.0, 0.5905), (1000, 1.0, 0.8809)],
)
def test_tone_maps_give_published_values(radiance: float, ldr: float, log: float) -> None:
    x = np.float32([radiance])
    assert lighting.tone_map_ldr(x)[0] == pytest.approx(ldr, abs=6e-5)
    assert lighting.tone_map_log(x)[0] == pytest.approx(log, abs=6e-5)


@pytest.mark.parametrize("convention", ["physical", "cosmos"])
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

"""Lenses of one camera: exact boards give every model back, bad views go, what is hardly seen stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from exact_boards import DISTORTION, SIZE, SPEC, exact_rig, lens_views

from litdome.calib.solve.lenses import calibrate_lens
from litdome.errors import CalibrationError
from litdome.geometry import LensModel

MODELS: tuple[LensModel, ...] = ("pinhole5", "pinhole8", "fisheye4")


@pytest.mark.parametrize("model", MODELS)
def test_exact_boards_give_the_lens_back(model: LensModel) -> None:
    camera = exact_rig(1, (model,)).cameras[0]
    found = calibrate_lens(lens_views(camera, 14, 0.9), SPEC, SIZE, model=model)
    np.testing.assert_allclose(found.intrinsics, camera.intrinsics, rtol=1e-5, atol=0.02)  # px
    assert found.rms_px < 0.02 and found.rejected == () and found.model == model
    pixels = np.stack(np.meshgrid(np.linspace(100, 980, 8), np.linspace(100, 1340, 8)), axis=-1).reshape(-1, 2)
    ours = replace(camera, intrinsics=found.intrinsics, distortion=found.distortion)
    rays = [lens.ray_directions(pixels) for lens in (camera, ours)]
    turned = np.linalg.lstsq(rays[1], rays[0], rcond=None)[0]  # a lens is known up to where it points
    assert np.abs(rays[1] @ turned - rays[0]).max() * camera.intrinsics[0, 0] < 0.1  # px
    straight = replace(camera, distortion=np.zeros(8))  # the negative control
    assert np.abs(straight.ray_directions(pixels) - rays[0]).max() * camera.intrinsics[0, 0] > 1


def test_a_rational_lens_is_fitted_in_full_though_its_terms_do_nearly_the_same() -> None:
    camera = exact_rig(1, ("pinhole8",)).cameras[0]
    k = camera.intrinsics.copy()
    k[[0, 1], [0, 1]] = 700
    views = lens_views(replace(camera, intrinsics=k), 15, 0.8, noise_px=0.1, nearest_m=0.35)
    found = calibrate_lens(views, SPEC, SIZE, model="pinhole8")
    assert found.weak == () and np.isfinite(found.std).all()
    assert found.rms_px == pytest.approx(0.1 * np.sqrt(2), rel=0.1)  # 0.20 px without k3 and above


@pytest.mark.parametrize("focal", [600.0, 9000.0])
def test_wide_and_long_lenses_are_found_without_a_guess(focal: float) -> None:
    camera = exact_rig(1).cameras[0]
    k = camera.intrinsics.copy()
    k[[0, 1], [0, 1]] = focal
    camera = replace(camera, intrinsics=k, distortion=np.zeros(8))
    found = calibrate_lens(lens_views(camera, 12, 0.6, nearest_m=0.8 * focal / 1600), SPEC, SIZE)
    assert found.intrinsics[0, 0] == pytest.approx(focal, rel=2e-3)


@pytest.mark.parametrize("noise_px", [0.3, 0.02])
def test_the_deviations_are_those_of_many_tries(noise_px: float) -> None:
    camera = exact_rig(1).cameras[0]
    true = np.concatenate([camera.intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]], camera.distortion])
    off, said = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        views = {
            n: replace(view, pixels=view.pixels + rng.normal(0, noise_px, view.pixels.shape))
            for n, view in lens_views(camera, 10, 0.8).items()
        }
        lens = calibrate_lens(views, SPEC, SIZE)
        found = np.concatenate([lens.intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]], lens.distortion])
        off.append((found[:8] - true[:8]) / lens.std[:8])
        said.append(np.isnan(lens.std[8]) == (lens.distortion[4] == 0))
    # 6 tries of values that go together in pairs: a root mean square of 1 +- 0.3, here within 2 of those
    for pair in ([0, 1], [2, 7], [3, 6], [4, 5]):
        assert 0.4 < np.sqrt(np.mean(np.square(off)[:, pair])) < 1.65
    assert all(said)


def test_a_bad_view_and_a_bad_corner_are_left_out() -> None:
    camera = exact_rig(1).cameras[0]
    views = lens_views(camera, 12, 0.8, noise_px=0.05)
    rng = np.random.default_rng(5)
    views[3] = replace(views[3], pixels=views[3].pixels + rng.normal(0, 6, views[3].pixels.shape))
    views[5].pixels[7] += 25
    found = calibrate_lens(views, SPEC, SIZE)
    assert found.rejected == (3,) and sorted(found.view_rms_px) == [n for n in range(12) if n != 3]
    assert found.rms_px < 0.1
    assert found.intrinsics[0, 0] == pytest.approx(camera.intrinsics[0, 0], rel=2e-3)


def test_k3_stays_zero_where_the_board_never_reached_the_edge() -> None:
    camera = exact_rig(1).cameras[0]
    assert DISTORTION["pinhole5"][4] == 0
    found = calibrate_lens(lens_views(camera, 6, 0.1, noise_px=0.3), SPEC, SIZE)
    assert "k3" in found.weak and found.distortion[4] == 0 and np.isnan(found.std[8])


def test_too_few_views_and_the_wrong_board_are_refused() -> None:
    camera = exact_rig(1).cameras[0]
    views = lens_views(camera, 8, 0.6)
    with pytest.raises(CalibrationError, match="c05: 2 usable board views of 2 < 3"):
        calibrate_lens({n: views[n] for n in (0, 1)}, SPEC, SIZE, name="c05")
    with pytest.raises(CalibrationError, match="c05: "):
        calibrate_lens(views, replace(SPEC, columns=9), SIZE, name="c05")

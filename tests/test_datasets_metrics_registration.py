from __future__ import annotations

import cv2
import numpy as np
import pytest

from litdome.datasets.metrics import displacement, masked_psnr, register, warp

HEIGHT, WIDTH = 160, 120
RNG = np.random.default_rng(1)


def texture(dx: float = 0.0, dy: float = 0.0) -> np.ndarray:
    """A smooth picture of waves, moved right by ``dx`` and down by ``dy`` px; exact at any shift."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    x, y = x - dx, y - dy
    rng = np.random.default_rng(7)
    waves = np.zeros((HEIGHT, WIDTH, 3))
    for _ in range(24):
        fx, fy, phase = rng.uniform(-0.45, 0.45), rng.uniform(-0.45, 0.45), rng.uniform(0, 2 * np.pi, 3)
        waves += np.cos(fx * x + fy * y)[..., None] * np.cos(phase) + np.sin(fx * x + fy * y)[..., None] * np.sin(phase)
    return 0.5 + 0.04 * waves


MASK = np.zeros((HEIGHT, WIDTH))
MASK[30:130, 25:95] = 1


@pytest.mark.parametrize(("dx", "dy"), [(3.0, 0.0), (-1.5, 2.25), (0.3, 0.0)])
def test_a_known_shift_is_found_and_put_right(dx: float, dy: float) -> None:
    truth, picture = texture(), texture(dx, dy)
    found = register(picture, truth, MASK)
    assert found.shift_px == pytest.approx(np.hypot(dx, dy), abs=0.1)  # px: what DIS resolves
    assert found.shift_p95_px == pytest.approx(np.hypot(dx, dy), abs=0.2)
    assert found.psnr > 38 and found.psnr > masked_psnr(picture, truth, MASK) + 4


def test_direction_points_from_the_truth_into_the_picture() -> None:
    flow = displacement(texture(2.0, -1.0), texture(), MASK)
    np.testing.assert_allclose(np.median(flow[MASK > 0], axis=0), [2.0, -1.0], atol=0.1)


def test_only_a_part_that_lags_is_shifted() -> None:
    truth, picture = texture(), texture()
    picture[30:80] = texture(3.0, 0.0)[30:80]
    upper, lower = MASK.copy(), MASK.copy()
    upper[70:], lower[:90] = 0, 0
    assert register(picture, truth, upper).shift_px == pytest.approx(3, abs=0.3)
    assert register(picture, truth, lower).shift_px < 0.3


def test_what_is_not_motion_is_not_explained_as_motion() -> None:
    """Negative control: noise, blur and a wrong light gain next to nothing (a blur of 3 px shows 0.33 px of shift)."""
    truth = texture()
    wrong = {
        "noise": truth + RNG.normal(0, 0.05, truth.shape),
        "blur": cv2.GaussianBlur(truth, (0, 0), 1.5),
        "light": truth * 0.8,
    }
    for name, picture in wrong.items():
        found, raw = register(picture, truth, MASK), masked_psnr(picture, truth, MASK)
        assert found.psnr < raw + 0.7 and found.shift_px < 0.3, name


def test_equal_pictures_are_not_shifted_and_an_empty_mask_says_nothing() -> None:
    found = register(texture(), texture(), MASK)
    assert found.shift_px < 1e-3 and found.psnr > 60
    assert np.isnan([found.psnr for found in [register(texture(), texture(), MASK * 0)]]).all()


def test_pixels_from_outside_of_the_picture_are_known() -> None:
    flow = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    flow[..., 0] = 10
    moved, inside = warp(texture(), flow)
    assert inside[:, : WIDTH - 10].all() and not inside[:, WIDTH - 10 :].any()
    np.testing.assert_allclose(moved[:, : WIDTH - 12], texture()[:, 10 : WIDTH - 2], atol=1e-6)

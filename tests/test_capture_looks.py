"""What a picture looks like: levels in any code, focus, noise, and a fingerprint of the codes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from litdome.capture.looks import GRID, empty_looks, measure_picture
from litdome.color import linear_from_srgb
from litdome.media.planes import PictureCodes
from litdome.media.video import VideoProbe


def probe(subsampling: str = "420", bits: int = 8, range: str = "limited", dtype: str = "uint8") -> VideoProbe:
    return VideoProbe(320, 240, None, 25.0, "any", subsampling, "bt709", range, None, bits, dtype)


def edges(blur: float = 1.0, size: tuple[int, int] = (480, 640)) -> np.ndarray:
    """Blobs with sharp edges, 0.25 and 0.65 of white, then blurred."""
    field = cv2.GaussianBlur(np.random.default_rng(0).random(size).astype(np.float32), (0, 0), 6)
    return cv2.GaussianBlur(np.where(field > field.mean(), np.float32(0.65), np.float32(0.25)), (0, 0), blur)


def look_at(level: np.ndarray, noise: float = 0.0, bits: int = 8):
    step = 2 ** (bits - 8)
    codes = (16 + 219 * level + np.random.default_rng(1).normal(0, noise, level.shape)) * step
    dtype = "uint8" if bits == 8 else "uint16"
    luma = np.clip(np.round(codes), 0, 2**bits - 1).astype(dtype)
    return measure_picture(PictureCodes(luma=luma), probe(bits=bits, dtype=dtype))


@pytest.mark.parametrize(
    ("subsampling", "bits", "range", "code"),
    [
        ("420", 8, "limited", 16 + 219 * 0.5),
        ("422", 10, "limited", 4 * (16 + 219 * 0.5)),
        ("444", 12, "full", 4095 * 0.5),
        ("rgb", 8, "full", 255 * 0.5),
        ("rgb", 16, "full", 65535 * 0.5),
    ],
)
def test_half_of_white_is_half_in_any_code(subsampling: str, bits: int, range: str, code: float) -> None:
    dtype = "uint8" if bits == 8 else "uint16"
    shape = (240, 320, 3) if subsampling == "rgb" else (240, 320)
    plane = np.full(shape, round(code), dtype)
    codes = PictureCodes(rgb=plane) if subsampling == "rgb" else PictureCodes(luma=plane)
    look = measure_picture(codes, probe(subsampling, bits, range, dtype))
    assert look.grid.shape == GRID and look.grid.dtype == np.float32
    assert np.allclose(look.grid, 0.5, atol=0.5 / 219)  # half a code
    assert (look.clipped, look.black) == (0, 0) and np.isnan(look.sharpness)


def test_linear_light_is_measured_as_it_will_be_shown() -> None:
    rgb = np.full((48, 64, 3), linear_from_srgb(np.float32(0.5)), np.float16)
    rgb[:, 32:] = 4.0
    look = measure_picture(PictureCodes(rgb=rgb), probe("rgb", 16, "full", "float16"))
    assert np.allclose(look.grid[:, :4], 0.5, atol=1e-3) and look.clipped == 0.5


def test_the_grid_tells_where_the_light_is() -> None:
    level = np.zeros((240, 320))
    level[120:, 160:] = 1.0
    look = look_at(level)
    assert np.allclose(look.grid[12:, 4:], 1, atol=1e-6) and np.allclose(look.grid[:12], 0, atol=1e-6)
    assert look.clipped == 0.25 and look.black == 0.75


def test_sharpness_follows_the_lens_and_not_the_light() -> None:
    sharp = look_at(edges(1)).sharpness
    assert sharp == pytest.approx(0.4, abs=0.05)  # the slope of a Gaussian edge of 1 px: 1 / sqrt(2 pi)
    assert look_at(edges(3)).sharpness == pytest.approx(sharp / 3, rel=0.15)
    assert look_at(0.25 * edges(1)).sharpness == pytest.approx(sharp, rel=0.1)
    assert look_at(edges(1), noise=4).sharpness == pytest.approx(sharp, rel=0.2)


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("sigma", [1.0, 4.0])
def test_noise_is_told_in_8_bit_codes(bits: int, sigma: float) -> None:
    assert look_at(edges(2), sigma, bits).noise == pytest.approx(sigma, rel=0.15, abs=0.1)


def test_noise_alone_is_not_sharp() -> None:
    assert np.isnan(look_at(np.full((480, 640), 0.3), noise=5).sharpness)


def test_fingerprints_differ_by_one_code() -> None:
    level = edges()
    assert look_at(level).fingerprint == look_at(level).fingerprint > 0
    assert look_at(level).fingerprint != look_at(level, noise=0.4).fingerprint


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 5), (25, 9), (96, 160)])
def test_small_pictures_are_measured_too(size: tuple[int, int]) -> None:
    look = look_at(np.full(size, 0.4))
    assert np.allclose(look.grid, 0.4, atol=0.5 / 219)


def test_looks_hold_nothing_until_something_is_put() -> None:
    looks = empty_looks(("c00", "c01"), 3)
    look = look_at(edges())
    looks.put(1, 2, look)
    assert np.isfinite(looks.grid).all(axis=(2, 3)).tolist() == [[False] * 3, [False, False, True]]
    assert looks.fingerprint[1, 2] == look.fingerprint and not looks.fingerprint[0].any()
    assert looks.noise[1, 2] == np.float32(look.noise) and np.isnan(looks.sharpness[0]).all()

"""Maps that are no light: mended and said where little is wrong, else refused in one line."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest

from litdome.color import linear_from_srgb
from litdome.errors import InputError
from litdome.media.hdr import read_hdr, write_hdr
from litdome.media.latlong import has_eight_bit_steps, mend_latlong, read_latlong


def sky(height: int = 32) -> np.ndarray:
    """Smooth noise with a sun."""
    hdr = np.random.default_rng(0).random((height, 2 * height, 3)).astype(np.float32)
    hdr[height // 4, height] = 4000
    return hdr


def with_texels(value: float, count: int, channel: int | None = None) -> np.ndarray:
    hdr = sky()
    hdr.reshape(-1, 3)[:count, slice(None) if channel is None else channel] = value
    return hdr


def test_a_sound_map_comes_back_as_it_is() -> None:
    hdr = sky()
    mended, said = mend_latlong(hdr, "sky")
    assert mended is hdr and said == ()


@pytest.mark.parametrize(
    ("hdr", "value", "said"),
    [
        (with_texels(np.nan, 3, 1), 0, "sky.exr: 3 NaN texels set to 0"),
        (with_texels(-np.inf, 3), 0, "sky.exr: 3 NaN texels set to 0"),
        (with_texels(-0.01, 3), 0, "sky.exr: 3 negative texels set to 0"),
        (with_texels(np.inf, 2), 65504, "sky.exr: 2 infinite texels set to 65504"),
    ],
)
def test_few_broken_texels_are_mended_and_counted(hdr: np.ndarray, value: float, said: str) -> None:
    mended, sentences = mend_latlong(hdr, "sky.exr")
    assert sentences == (said,)
    broken = ~(hdr >= 0) | np.isinf(hdr)
    assert (mended[broken] == value).all()
    np.testing.assert_array_equal(mended[~broken], hdr[~broken])


def test_an_infinite_sun_is_no_dimmer_than_the_rest() -> None:
    hdr = with_texels(np.inf, 1)
    hdr[20, 20] = 120_000
    assert mend_latlong(hdr, "sky")[0].max() == 120_000


@pytest.mark.parametrize(
    ("hdr", "said"),
    [
        (with_texels(np.nan, 30), "1.5 % of its texels are NaN or infinite, at most 1 % is mended"),
        (with_texels(np.inf, 30), "1.5 % of its texels are NaN or infinite"),
        (with_texels(-50.0, 10), "of its light is negative, at most 1 %"),
        (np.zeros((32, 64, 3), np.float32), "all black"),
        (-np.ones((32, 64, 3), np.float32), "100.0 % of its light is negative"),
        (np.ones((32, 96, 3), np.float32), "96x32, but a lat-long map is twice as wide as high"),
        (np.ones((31, 62, 3), np.float32), "62x31, at least 64x32"),
    ],
)
def test_maps_with_much_wrong_are_refused(hdr: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        mend_latlong(hdr, "bad.exr")
    assert caught.value.message.startswith("bad.exr: ") and caught.value.hint and caught.value.exit_code == 4


def picture_codes() -> np.ndarray:
    """An 8-bit picture."""
    y, x = np.mgrid[:32, :64]
    return np.stack([4 * x, 8 * y, 2 * x + 4 * y], axis=-1).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", ["linear", "srgb", "half"])
def test_an_eight_bit_picture_saved_as_exr_is_refused(kind: str, tmp_path: Path) -> None:
    values = picture_codes().astype(np.float32) / 255
    if kind == "srgb":
        values = linear_from_srgb(values)
    if kind == "half":
        values = values.astype(np.float16).astype(np.float32)
    write_hdr(tmp_path / "photo.exr", values)
    with pytest.raises(InputError, match=r"photo\.exr: 8-bit steps"):
        read_latlong(tmp_path / "photo.exr")


def test_an_eight_bit_picture_saved_as_radiance_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "photo.hdr"), picture_codes().astype(np.float32) / 255)
    with pytest.raises(InputError, match=r"photo\.hdr: 8-bit steps"):
        read_latlong(tmp_path / "photo.hdr")
    dim = np.random.default_rng(0).random((32, 64, 3)).astype(np.float32) ** 3 * 0.9
    cv2.imwrite(str(tmp_path / "dim.hdr"), dim)
    assert read_latlong(tmp_path / "dim.hdr")[1] == ()  # a dim map of real light has finer steps in its shadows


def test_few_levels_and_values_above_one_are_no_picture() -> None:
    softbox = np.zeros((32, 64, 3), np.float32)
    softbox[4:10, 20:40] = 1
    assert not has_eight_bit_steps(softbox) and mend_latlong(softbox, "softbox")[1] == ()
    codes = picture_codes().astype(np.float32) / 255
    assert has_eight_bit_steps(codes) and not has_eight_bit_steps(4 * codes) and not has_eight_bit_steps(codes**1.3)


def test_a_map_that_is_clipped_at_one_is_doubted() -> None:
    clipped = np.minimum(sky() * 3, 1).astype(np.float32)
    said = mend_latlong(clipped, "sky")[1]
    assert len(said) == 1 and "at its brightest value, 1: was it clipped?" in said[0]
    assert mend_latlong(sky() / 4000, "sky")[1] == ()


@pytest.mark.parametrize("envmap", ["ENVMAP_LATLONG", "ENVMAP_CUBE"])
def test_a_header_that_marks_an_environment_map_is_told_of(envmap: str, tmp_path: Path) -> None:
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "envmap": getattr(OpenEXR.Envmap, envmap),
    }
    with OpenEXR.File(header, {"RGB": sky()}) as file:
        file.write(str(tmp_path / "sky.exr"))
    if envmap == "ENVMAP_CUBE":
        with pytest.raises(InputError, match="a cube map"):
            read_latlong(tmp_path / "sky.exr")
        return
    hdr, said = read_latlong(tmp_path / "sky.exr", "physical")
    np.testing.assert_array_equal(hdr, sky())
    assert len(said) == 1 and "marks OpenEXR's convention, it is read as physical" in said[0]
    assert read_latlong(tmp_path / "sky.exr", "openexr")[1] == ()


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.exr").write_bytes(b"nothing")
    (tmp_path / "bad.hdr").write_bytes(b"nothing")
    (tmp_path / "photo.png").write_bytes(b"nothing")
    for name in ("bad.exr", "bad.hdr", "missing.exr", "missing.hdr", "photo.png"):
        with pytest.raises(InputError, match=name) as caught:
            read_latlong(tmp_path / name)
        assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "name", ["autumn_field_puresky_1k.hdr", "cobblestone_street_night_1k.hdr", "venice_sunset_1k.exr"]
)
def test_real_maps_pass_untouched(name: str, real_walk: Path) -> None:
    hdr, said = read_latlong(real_walk / "hdris" / name)
    np.testing.assert_array_equal(hdr, read_hdr(real_walk / "hdris" / name))
    assert said == ()

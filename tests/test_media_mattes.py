"""Coverage beside colours: read from pictures and videos, written with what a file says of itself."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from litdome.media.folders import read_matte
from litdome.media.hdr import read_exr_tags, read_hdr, write_half_exr
from litdome.media.images import iter_source
from litdome.media.png import read_png_tags, write_png

RAMP = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (32, 1))
RGB = np.dstack([RAMP, RAMP[:, ::-1], np.full_like(RAMP, 90)])


def test_a_png_gives_back_colours_matte_and_what_it_says(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", np.dstack([RGB, RAMP]), {"litdome": '{"synthetic": true}', "Software": "litdome"})
    back = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(back, np.dstack([RGB[..., ::-1], RAMP]))
    assert read_png_tags(tmp_path / "a.png") == {"litdome": '{"synthetic": true}', "Software": "litdome"}
    np.testing.assert_array_equal(read_matte(tmp_path / "a.png"), RAMP)
    write_png(tmp_path / "b.png", RGB, {})
    assert read_matte(tmp_path / "b.png") is None and read_png_tags(tmp_path / "b.png") == {}


def test_a_half_exr_keeps_radiance_matte_and_header(tmp_path: Path) -> None:
    light = np.linspace(0, 80000, 32 * 64 * 4, dtype=np.float32).reshape(32, 64, 4)
    light[..., 3] = RAMP / np.float32(255)
    write_half_exr(tmp_path / "a.exr", light, {"litdome": "said"})
    half = np.clip(light, 0, 65504).astype(np.float16)
    np.testing.assert_array_equal(read_hdr(tmp_path / "a.exr"), half[..., :3])
    np.testing.assert_array_equal(read_matte(tmp_path / "a.exr"), half[..., 3])
    assert read_exr_tags(tmp_path / "a.exr")["litdome"] == "said"
    write_half_exr(tmp_path / "b.exr", light[..., :3], {})
    assert read_matte(tmp_path / "b.exr") is None


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "top"),
    [
        ("a.mov", "prores_ks", "yuva444p10le", 65535),
        ("a.mkv", "ffv1", "yuva420p", 255),
        ("b.mov", "qtrle", "argb", 255),
        ("c.mov", "png", "rgba64be", 65535),
        ("b.mkv", "ffv1", "gbrap10le", 65535),
    ],
)
def test_the_matte_of_a_video_is_read_at_full_scale(
    tmp_path: Path, name: str, codec: str, pixels: str, top: int
) -> None:
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 64, 32, pixels
        frame = av.VideoFrame.from_ndarray(np.dstack([RGB, RAMP]), format="rgba").reformat(format=pixels)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (codes,) = iter_source(tmp_path / name)
    assert codes.alpha is not None and codes.alpha.shape == RAMP.shape
    np.testing.assert_allclose(
        codes.alpha / top, RAMP / 255, atol=1.01 / 255
    )  # swscale, which wrote it, is off by a code


def test_a_video_without_matte_has_none(tmp_path: Path) -> None:
    from litdome.media.encode import VideoWriter

    with VideoWriter(tmp_path / "a.mp4", fps=25) as video:
        video.write(RGB)
    (codes,) = iter_source(tmp_path / "a.mp4")
    assert codes.alpha is None

"""Flat-lit clips of files: what their pictures are worth, matte and all."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from litdome.color import srgb_from_linear
from litdome.errors import InputError, UsageError
from litdome.media.encode import VideoWriter
from litdome.media.hdr import write_half_exr
from litdome.media.png import write_png
from litdome.train_plugins.clips import FOLDER_FPS, file_clip

RAMP = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (32, 1))
RGB = np.dstack([RAMP, RAMP[:, ::-1], np.full_like(RAMP, 90)])


def pictures_of(source: Path, start: int = 0) -> np.ndarray:
    return np.stack(list(file_clip(source).pictures.start_at(start)))


def test_pictures_of_a_folder_are_their_codes_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (8, 9, 10, 12):
        write_png(tmp_path / f"f{number}.png", np.full((4, 6, 3), number, np.uint8), {})
    clip = file_clip(tmp_path)
    assert clip.fps == FOLDER_FPS and clip.size == (4, 6) and not clip.has_matte
    assert (pictures_of(tmp_path)[:, 0, 0, 0] * 255).round().tolist() == [8, 9, 10, 12]
    assert (pictures_of(tmp_path, 2)[:, 0, 0, 0] * 255).round().tolist() == [10, 12]
    assert clip.notes and "0, 1, 2, ... are left out" in clip.notes[0]


def test_a_half_exr_with_alpha_is_brought_to_straight_srgb(tmp_path: Path) -> None:
    linear = np.full((4, 6, 3), 0.2, np.float32)
    alpha = np.linspace(0.25, 1, 24, dtype=np.float32).reshape(4, 6)
    write_half_exr(tmp_path / "0.exr", np.dstack([linear * alpha[..., None], alpha]), {})
    (picture,) = pictures_of(tmp_path)
    np.testing.assert_allclose(picture[:3], srgb_from_linear(np.float32(0.2)), atol=1e-3)  # half floats
    np.testing.assert_allclose(picture[3], alpha, atol=1e-3)


def test_a_video_keeps_its_rate_its_colours_and_starts_anywhere(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", fps=24, crf=0) as video:
        for k in range(7):
            video.write(np.full((32, 64, 3), 30 * k, np.uint8))
    clip = file_clip(tmp_path / "a.mp4")
    assert clip.fps == 24 and len(clip.pictures) == 7
    for start in (0, 3, 6):
        found = pictures_of(tmp_path / "a.mp4", start).mean(axis=(1, 2, 3)) * 255
        np.testing.assert_allclose(found, 30 * np.arange(start, 7), atol=1.2)  # codes: 219 steps of limited range


def test_a_part_of_a_clip_holds_those_pictures(tmp_path: Path) -> None:
    for number in range(6):
        write_png(tmp_path / f"{number}.png", np.full((4, 6, 3), number, np.uint8), {})
    part = file_clip(tmp_path, part=(2, 5)).pictures
    assert len(part) == 3
    assert [round(float(one[0, 0, 0]) * 255) for one in part.start_at(0)] == [2, 3, 4]
    assert [round(float(one[0, 0, 0]) * 255) for one in part.start_at(2)] == [4]
    for wrong in ((2, 7), (3, 3), (6, 7)):
        with pytest.raises(UsageError, match="it holds 6"):
            file_clip(tmp_path, part=wrong)


def test_a_video_with_alpha_has_a_matte(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mov"), "w") as container:
        stream = container.add_stream("png", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 64, 32, "rgba"
        frame = av.VideoFrame.from_ndarray(np.dstack([RGB, RAMP]), format="rgba")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    clip = file_clip(tmp_path / "a.mov")
    (picture,) = clip.pictures.start_at(0)
    assert clip.has_matte
    np.testing.assert_allclose(picture.transpose(1, 2, 0), np.dstack([RGB, RAMP]) / 255, atol=1e-6)


def test_a_video_that_ends_early_is_refused_when_opened(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuvj420p"
        rng = np.random.default_rng(0)
        for _ in range(12):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rng.integers(0, 256, (32, 64, 3), np.uint8))))
        container.mux(stream.encode())
    whole = (tmp_path / "a.avi").read_bytes()
    assert len(file_clip(tmp_path / "a.avi").pictures) == 12
    (tmp_path / "a.avi").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="of the 12 pictures that its header promises"):
        file_clip(tmp_path / "a.avi")


def test_a_video_of_another_light_scale_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p10le"
        stream.codec_context.color_trc = 16
        frame = av.VideoFrame(64, 32, "yuv420p10le")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(InputError, match="transfer curve pq"):
        file_clip(tmp_path / "a.mkv")

"""Folders of pictures: every format code for code, every number its own picture."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import OpenEXR
import pytest
from media_clips import video_frame

from litdome.errors import InputError
from litdome.media.folders import numbered_pictures
from litdome.media.images import iter_pictures, probe_source
from litdome.media.index import index_source

RNG = np.random.default_rng(7)


def write_picture(path: Path, rgb: np.ndarray) -> None:
    if path.suffix == ".exr":
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        with OpenEXR.File(header, {"RGB": rgb}) as file:
            file.write(str(path))
    else:
        cv2.imwrite(str(path), rgb[..., ::-1])


def write_dpx(path: Path, rgb: np.ndarray, pix_fmt: str) -> None:
    planar = pix_fmt.startswith("gbr")
    layers = [rgb[..., 1], rgb[..., 2], rgb[..., 0]] if planar else [rgb.reshape(len(rgb), -1)]
    height, width = rgb.shape[:2]
    with av.open(str(path), "w", format="image2") as container:
        stream = container.add_stream("dpx", rate=1)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        if planar:
            frame = video_frame(layers, pix_fmt, 0)
        else:
            frame = av.VideoFrame.from_ndarray(rgb, format=pix_fmt)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def found(folder: Path, start: int = 0, stop: int | None = None) -> dict[int, np.ndarray]:
    return {n: codes.picture for n, codes in iter_pictures(folder, index_source(folder), start, stop)}


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_and_tif_keep_every_code(tmp_path: Path, suffix: str, dtype: type) -> None:
    given = RNG.integers(0, np.iinfo(dtype).max + 1, (3, 10, 14, 3)).astype(dtype)
    for n, rgb in enumerate(given):
        write_picture(tmp_path / f"{n:06d}{suffix}", rgb)
    np.testing.assert_array_equal(np.stack(list(found(tmp_path).values())), given)
    assert list(found(tmp_path, 1, 2)) == [1]


def test_jpg_reads_as_opencv_reads_it(tmp_path: Path) -> None:
    smooth = cv2.resize(RNG.integers(0, 256, (4, 4, 3)).astype(np.uint8), (32, 24), interpolation=cv2.INTER_CUBIC)
    write_picture(tmp_path / "000000.jpg", smooth)
    theirs = cv2.imread(str(tmp_path / "000000.jpg"))[..., ::-1]
    np.testing.assert_array_equal(found(tmp_path)[0], theirs)
    assert np.abs(theirs.astype(int) - smooth).mean() < 6  # a wrong order of channels is tens away


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_exr_is_scene_linear_half_float(tmp_path: Path, dtype: type) -> None:
    given = (RNG.random((2, 10, 14, 3)) * 40 - 1).astype(dtype)
    given[0, 0, 0] = [1e6 if dtype is np.float32 else 65504, 0, -2]
    for n, rgb in enumerate(given):
        write_picture(tmp_path / f"{n:06d}.exr", rgb)
    probe = probe_source(tmp_path)
    assert (probe.dtype, probe.transfer, probe.subsampling) == ("float16", "linear", "rgb")
    for n, rgb in found(tmp_path).items():
        np.testing.assert_array_equal(rgb, np.clip(given[n], -65504, 65504).astype(np.float16))


def test_an_exr_header_gives_the_cameras_tags_and_timecode(tmp_path: Path) -> None:
    flags = [0] * 14
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "isoSpeed": 800.0,
        "expTime": 0.02,
        "timeCode": OpenEXR.TimeCode(10, 0, 7, 12, *flags),
    }
    with OpenEXR.File(header, {"RGB": np.zeros((4, 4, 3), np.float16)}) as file:
        file.write(str(tmp_path / "000000.exr"))
    probe = probe_source(tmp_path)
    assert (probe.metadata["isoSpeed"], probe.metadata["expTime"], probe.timecode) == ("800", "0.02", "10:00:07:12")
    assert index_source(tmp_path).timecode == "10:00:07:12"


@pytest.mark.parametrize(("pix_fmt", "bits"), [("rgb24", 8), ("gbrp10le", 10), ("gbrp12le", 12), ("rgb48le", 16)])
def test_dpx_of_every_depth_fills_its_codes(tmp_path: Path, pix_fmt: str, bits: int) -> None:
    codes = RNG.integers(0, 1 << bits, (2, 16, 16, 3)).astype(np.uint8 if bits == 8 else np.uint16)
    codes[0, 0, :2] = [[0] * 3, [(1 << bits) - 1] * 3]
    for n, rgb in enumerate(codes):
        write_dpx(tmp_path / f"{n:06d}.dpx", rgb, pix_fmt)
    pictures = found(tmp_path)
    full = 255 if bits == 8 else 65535
    assert pictures[0].dtype == codes.dtype and pictures[0][0, :2].tolist() == [[0] * 3, [full] * 3]
    for n, rgb in pictures.items():
        np.testing.assert_array_equal(rgb >> (codes.dtype.itemsize * 8 - bits), codes[n])


def test_a_dpx_header_with_garbled_text_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "000000.dpx"
    write_dpx(path, np.zeros((16, 16, 3), np.uint8), "rgb24")
    assert probe_source(tmp_path).metadata["Creator"].startswith("Lavc")
    raw = bytearray(path.read_bytes())
    creator = raw.index(b"Lavc")
    raw[creator : creator + 2] = b"\xf2\x80"
    path.write_bytes(raw)
    assert probe_source(tmp_path).metadata == {} and list(found(tmp_path)) == [0]


def test_a_missing_number_is_an_absent_picture_and_no_shift(tmp_path: Path) -> None:
    given = {n: np.full((8, 8, 3), 10 * n, np.uint8) for n in (0, 1, 3, 12)}
    for n, rgb in given.items():
        write_picture(tmp_path / f"cam_{n:04d}.png", rgb)
    (tmp_path / "notes.txt").write_text("not a picture")
    assert len(index_source(tmp_path)) == 13
    assert {n: int(rgb[0, 0, 0]) for n, rgb in found(tmp_path).items()} == {0: 0, 1: 10, 3: 30, 12: 120}
    assert list(found(tmp_path, 2, 12)) == [3]


def test_unpadded_numbers_count_and_other_names_go_by_their_order(tmp_path: Path) -> None:
    plain, named = tmp_path / "plain", tmp_path / "named"
    for folder, names in ((plain, ["9", "10", "8"]), (named, ["b", "a-2", "c7"])):
        folder.mkdir()
        for name in names:
            write_picture(folder / f"{name}.png", np.zeros((4, 4, 3), np.uint8))
    assert [path.stem for path in numbered_pictures(plain).values()] == ["8", "9", "10"]
    assert {n: path.stem for n, path in numbered_pictures(named).items()} == {0: "a-2", 1: "b", 2: "c7"}


def test_bad_and_odd_pictures_are_left_out(tmp_path: Path) -> None:
    for n in range(5):
        write_picture(tmp_path / f"{n:06d}.png", np.full((8, 8, 3), n, np.uint8))
    (tmp_path / "000000.png").write_bytes(b"not a picture")
    write_picture(tmp_path / "000002.png", np.zeros((8, 10, 3), np.uint8))
    write_picture(tmp_path / "000003.png", np.zeros((8, 8, 3), np.uint16))
    assert list(found(tmp_path)) == [1, 4] and probe_source(tmp_path).width == 8
    for n in range(5):
        (tmp_path / f"{n:06d}.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"\.png"):
        found(tmp_path)


def test_two_of_one_number_and_dates_for_numbers_are_refused(tmp_path: Path) -> None:
    for name in ("1.png", "01.png"):
        write_picture(tmp_path / name, np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(InputError, match=r"both picture 1"):
        index_source(tmp_path)
    (tmp_path / "01.png").rename(tmp_path / "20261121153042.png")
    with pytest.raises(InputError, match="20261121153042"):
        index_source(tmp_path)

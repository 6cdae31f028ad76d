"""A file that was cut is refused in one sentence, before OpenEXR or OpenCV fill stderr."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest

from litdome.errors import InputError
from litdome.media.exr_check import MAGIC, ROWS_OF_A_BLOCK, whole_blocks
from litdome.media.hdr import read_hdr

ROWS, COLUMNS = 70, 140
COMPRESSIONS = (
    *(OpenEXR.NO_COMPRESSION, OpenEXR.RLE_COMPRESSION, OpenEXR.ZIPS_COMPRESSION, OpenEXR.ZIP_COMPRESSION),
    *(OpenEXR.PIZ_COMPRESSION, OpenEXR.PXR24_COMPRESSION, OpenEXR.B44_COMPRESSION, OpenEXR.DWAA_COMPRESSION),
)


def written(path: Path, compression: OpenEXR.Compression) -> Path:
    pixels = np.random.default_rng(0).uniform(0, 9, (ROWS, COLUMNS, 3)).astype(np.float32)
    header = {"compression": compression, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, {"RGB": pixels}) as file:
        file.write(str(path))
    return path


@pytest.mark.parametrize("compression", COMPRESSIONS, ids=str)
def test_a_cut_file_is_one_sentence(
    compression: OpenEXR.Compression, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = written(tmp_path / "whole.exr", compression)
    blocks = -(-ROWS // ROWS_OF_A_BLOCK[int(compression)])
    assert whole_blocks(whole) == (blocks, blocks) and read_hdr(whole).shape == (ROWS, COLUMNS, 3)
    said, cut = whole.read_bytes(), tmp_path / "cut.exr"
    for length in (0, 5, 100, 300, 600, len(said) // 2, len(said) - 1):
        cut.write_bytes(said[:length])
        with pytest.raises(InputError, match="not a readable EXR") as refused:
            read_hdr(cut)
        assert refused.value.hint == "copy the file again" and "\n" not in refused.value.message
    assert f"{blocks - 1} of its {blocks} blocks of rows are whole" in refused.value.message
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dataWindow", b""),
        ("dataWindow", b"\x00" * 12),
        ("dataWindow", struct.pack("<iiii", 0, 0, 9, -20)),  # upside down
        ("dataWindow", struct.pack("<iiii", 0, -(2**31), 9, 2**31 - 1)),  # 2 GB of blocks
        ("compression", b""),
    ],
)
def test_a_header_of_nonsense_is_one_sentence(name: str, value: bytes, tmp_path: Path) -> None:
    path = tmp_path / "odd.exr"
    attributes = {"compression": ("compression", b"\x03"), "dataWindow": ("box2i", struct.pack("<iiii", 0, 0, 9, 9))}
    attributes[name] = attributes[name][0], value
    said = b"".join(
        f"{key}\0{kind}\0".encode() + struct.pack("<i", len(v)) + v for key, (kind, v) in attributes.items()
    )
    path.write_bytes(struct.pack("<ii", MAGIC, 2) + said + b"\0" * 100)
    with pytest.raises(InputError, match="not a readable EXR"):
        read_hdr(path)


def test_a_cut_radiance_file_is_one_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cut.hdr"
    cv2.imwrite(str(path), np.random.default_rng(0).uniform(0, 9, (64, 128, 3)).astype(np.float32))
    path.write_bytes(path.read_bytes()[:5000])
    before = cv2.utils.logging.getLogLevel()
    with pytest.raises(InputError, match="not a readable Radiance HDR"):
        read_hdr(path)
    assert capfd.readouterr() == ("", "") and cv2.utils.logging.getLogLevel() == before


def test_what_is_not_checked_is_left_to_openexr(tmp_path: Path) -> None:
    pixels = np.ones((32, 64, 3), np.float32)
    header = {"type": OpenEXR.tiledimage, "tiles": OpenEXR.TileDescription()}
    with OpenEXR.File(header, {"RGB": pixels}) as file:
        file.write(str(tmp_path / "tiled.exr"))
    assert whole_blocks(tmp_path / "tiled.exr") is None and read_hdr(tmp_path / "tiled.exr").max() == 1

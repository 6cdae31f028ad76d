"""Whether an .exr is there to its end; OpenEXR itself says so in many lines on stderr, past every log."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

MAGIC = 20000630
TILED, DEEP, MULTIPART = 0x200, 0x800, 0x1000
ROWS_OF_A_BLOCK = {0: 1, 1: 1, 2: 1, 3: 16, 4: 32, 5: 16, 6: 32, 7: 32, 8: 32, 9: 256}  # by compression
LONGEST_NAME = 256


def whole_blocks(path: Path) -> tuple[int, int] | None:
    """How many of a file's blocks of rows are there to their last byte, and how many there should be.

    Returns:
        None for what is not checked: tiles, deep pictures, several parts, compressions of later versions.

    Raises:
        EOFError: The file ends within its header.
        ValueError: It is no .exr.

    Source: openexr.com/en/latest/OpenEXRFileLayout.html.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        magic, version = struct.unpack("<ii", _exactly(file, 8))
        if magic != MAGIC:
            raise ValueError("it does not begin as one")
        if version & (TILED | DEEP | MULTIPART):
            return None
        header = _read_attributes(file)
        if not {"compression", "dataWindow"} <= header.keys():
            return None
        if len(header["compression"]) != 1 or len(header["dataWindow"]) != 16:
            raise ValueError("its header holds no compression or no size")
        rows = ROWS_OF_A_BLOCK.get(header["compression"][0])
        if rows is None:
            return None
        _, top, _, bottom = struct.unpack("<iiii", header["dataWindow"])
        count = -(-(bottom - top + 1) // rows)
        if not 0 < 8 * count <= size:
            raise ValueError(f"it has {size} bytes for {bottom - top + 1} rows")
        starts = struct.unpack(f"<{count}Q", _exactly(file, 8 * count))
        return sum(_is_whole(file, start, size) for start in starts), count


def _is_whole(file: BinaryIO, start: int, size: int) -> bool:
    if not 0 < start <= size - 8:
        return False
    file.seek(start)
    _, length = struct.unpack("<ii", _exactly(file, 8))
    return bool(0 <= length <= size - start - 8)


def _read_attributes(file: BinaryIO) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    while name := _word(file):
        _word(file)
        (length,) = struct.unpack("<i", _exactly(file, 4))
        if length < 0:
            raise ValueError(f"its {name} has {length} bytes")
        found[name] = _exactly(file, length)
    return found


def _word(file: BinaryIO) -> str:
    word = b""
    while (byte := _exactly(file, 1)) != b"\0":
        word += byte
        if len(word) > LONGEST_NAME:
            raise ValueError("a name in its header does not end")
    return word.decode("latin-1")


def _exactly(file: BinaryIO, count: int) -> bytes:
    got = file.read(count)
    if len(got) < count:
        raise EOFError("it ends within its header")
    return got

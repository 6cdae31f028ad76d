"""Write 8-bit .png pictures that say in their header what they are."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

SIGNATURE_AND_HEADER = 8 + 25  # bytes before the first chunk that may hold text
FAST = [cv2.IMWRITE_PNG_COMPRESSION, 1]


def write_png(path: Path, picture: npt.NDArray[np.uint8], tags: Mapping[str, str]) -> None:
    """Write RGB or RGBA, shape (y, x, 3 or 4), uint8, with ``tags`` (Latin keyword: ASCII text) as tEXt chunks.

    Source: PNG specification (third edition), 11.3.3.2.
    """
    code = cv2.COLOR_RGBA2BGRA if picture.shape[2] == 4 else cv2.COLOR_RGB2BGR
    encoded = cv2.imencode(".png", cv2.cvtColor(picture, code), FAST)[1].tobytes()
    texts = b"".join(_chunk(b"tEXt", f"{key}\0{text}".encode("latin-1")) for key, text in tags.items())
    path.write_bytes(encoded[:SIGNATURE_AND_HEADER] + texts + encoded[SIGNATURE_AND_HEADER:])


def read_png_tags(path: Path) -> dict[str, str]:
    """The tEXt chunks of a .png; empty for what is none."""
    content, place, found = path.read_bytes(), 8, {}
    while place + 8 <= len(content):
        length, kind = struct.unpack(">I4s", content[place : place + 8])
        if kind == b"tEXt":
            key, _, text = content[place + 8 : place + 8 + length].partition(b"\0")
            found[key.decode("latin-1")] = text.decode("latin-1")
        place += 12 + length
    return found


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

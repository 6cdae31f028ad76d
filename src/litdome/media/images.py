"""Folders of numbered pictures as the same iterator as videos, and the one door to both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from litdome.errors import InputError
from litdome.media.hdr import read_hdr
from litdome.media.planes import Codes, PictureCodes
from litdome.media.video import VideoProbe, iter_planes, probe_video

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".exr", ".dpx")
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".m4v", ".mxf", ".webm", ".ts", ".mts", ".r3d")


def read_picture(path: Path) -> Codes:
    """One picture file as RGB codes.

    Returns:
        Shape (y, x, 3): uint8 or uint16 (full scale), or float32 scene-linear for .exr; alpha is left out.

    Raises:
        InputError: Missing or unreadable.
    """
    suffix = path.suffix.lower()
    if suffix == ".exr":
        return read_hdr(path)
    if suffix == ".dpx":
        for codes in iter_planes(path):
            if codes.rgb is not None:
                return codes.rgb
        raise InputError(f"{path}: not an RGB DPX", hint="export RGB DPX, or EXR")
    picture = cv2.imread(str(path), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR) if path.is_file() else None
    if picture is None:
        raise InputError(f"{path}: not a readable picture", hint="copy the file again")
    return np.ascontiguousarray(picture[..., ::-1])


def picture_files(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of their names; other files do not count."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())


def probe_source(source: Path) -> VideoProbe:
    """What a video file or a folder of pictures holds, from its first picture.

    Raises:
        InputError: Missing, empty or undecodable.
    """
    if not source.is_dir():
        return probe_video(source)
    files = _need_files(source)
    first = _as_codes(files[0]).picture
    bits = first.dtype.itemsize * 8
    transfer = "linear" if first.dtype == np.float16 else None
    height, width = first.shape[:2]
    fmt = files[0].suffix.lower().lstrip(".")
    return VideoProbe(width, height, len(files), None, fmt, "rgb", "bt601", "full", transfer, bits, first.dtype.name)


def iter_source(source: Path, *, threads: int = 1) -> Iterator[PictureCodes]:
    """The pictures of a video file or of a folder, one by one, as native codes.

    Raises:
        InputError: As `iter_planes`; or a picture of the folder is unreadable.
    """
    if not source.is_dir():
        yield from iter_planes(source, threads=threads)
        return
    for path in _need_files(source):
        yield _as_codes(path)


def _need_files(folder: Path) -> list[Path]:
    files = picture_files(folder)
    if not files:
        raise InputError(f"{folder}: no pictures in it", hint=f"it may hold {', '.join(IMAGE_SUFFIXES)}")
    return files


def _as_codes(path: Path) -> PictureCodes:
    picture = read_picture(path)
    if picture.dtype == np.float32:
        limit = np.finfo(np.float16).max
        picture = np.clip(picture, -limit, limit).astype(np.float16)
    return PictureCodes(rgb=picture)

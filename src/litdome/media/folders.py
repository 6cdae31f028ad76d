"""Folders of pictures: which file is which picture, and one file as codes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import av
import cv2
import numpy as np

from litdome.errors import InputError
from litdome.media.hdr import read_exr_alpha, read_exr_tags, read_hdr
from litdome.media.planes import Codes, PictureCodes
from litdome.media.video import iter_planes, probe_video

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".exr", ".dpx", ".avif")
MATTE_SUFFIXES = (".png", ".tif", ".tiff")
NUMBERED = re.compile(r"(.*?)(\d+)", re.ASCII)
HIGHEST_NUMBER = 10_000_000  # 46 hours at 60 pictures per second; beyond it the names hold dates or clocks


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
    if suffix == ".avif" and picture.dtype == np.uint16:
        picture = _full_scale(picture, _bits_of(path))
    return np.ascontiguousarray(picture[..., ::-1])


def read_matte(path: Path) -> Codes | None:
    """Coverage of one picture file, shape (y, x): uint8 or uint16 (full scale), float32 for .exr; None: it has none.

    Raises:
        InputError: Missing or unreadable.
    """
    if path.suffix.lower() == ".exr":
        return read_exr_alpha(path)
    if path.suffix.lower() not in MATTE_SUFFIXES:
        return None
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if picture is None:
        raise InputError(f"{path}: not a readable picture", hint="copy the file again")
    has_alpha = picture.ndim == 3 and picture.shape[2] == 4
    return np.ascontiguousarray(picture[..., 3]) if has_alpha else None


def _bits_of(path: Path) -> int:
    """Bits of a channel of an .avif file."""
    with av.open(str(path)) as container:
        return int(container.streams.video[0].format.components[0].bits)


def _full_scale(codes: Codes, bits: int) -> Codes:
    """Codes of ``bits`` bits as uint16 of full scale."""
    return np.asarray(np.rint(codes * (65535 / (2**bits - 1))), np.uint16)


def picture_codes(path: Path) -> PictureCodes:
    """`read_picture` as a source gives it: scene-linear values as float16, clipped to its range."""
    picture = read_picture(path)
    if picture.dtype == np.float32:
        limit = np.finfo(np.float16).max
        picture = np.clip(picture, -limit, limit).astype(np.float16)
    return PictureCodes(rgb=picture)


def picture_tags(path: Path) -> Mapping[str, str]:
    """What the header of an .exr or .dpx says in words, ``timecode`` among it; empty for other pictures.

    Raises:
        InputError: Unreadable.
    """
    suffix = path.suffix.lower()
    if suffix == ".exr":
        return read_exr_tags(path)
    return probe_video(path).metadata if suffix == ".dpx" else {}


def picture_files(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of their names; other files do not count.

    Raises:
        InputError: The folder cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})", hint="check its permissions") from error


def numbered_pictures(folder: Path) -> dict[int, Path]:
    """The pictures of a folder by their number, rising.

    Where all names are one prefix (or none) and a number, that number counts: 000000, 000001, 000003 are pictures 0,
    1 and 3, and picture 2 is absent. Otherwise they are counted in the order of their names.

    Raises:
        InputError: No pictures, two of one number, or numbers beyond `HIGHEST_NUMBER`.
    """
    files = picture_files(folder)
    if not files:
        raise InputError(f"{folder}: no pictures in it", hint=f"it may hold {', '.join(IMAGE_SUFFIXES)}")
    matches = [NUMBERED.fullmatch(path.stem) for path in files]
    if len({match and match[1] for match in matches}) > 1 or None in matches:
        return dict(enumerate(files))
    numbered: dict[int, Path] = {}
    for match, path in zip(matches, files, strict=True):
        number = int(match[2]) if match else 0
        if number in numbered:
            raise InputError(f"{folder}: {numbered[number].name} and {path.name} are both picture {number}")
        numbered[number] = path
    if max(numbered) > HIGHEST_NUMBER:
        hint = "name the pictures from 000000 on; a missing number is a lost picture"
        raise InputError(f"{folder}: picture number {max(numbered)} > {HIGHEST_NUMBER}", hint=hint)
    return dict(sorted(numbered.items()))

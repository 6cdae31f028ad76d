"""High-dynamic-range pictures: Radiance .hdr through OpenCV, .exr through the OpenEXR package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from litdome.errors import InputError, UsageError
from litdome.media.exr_check import whole_blocks

Float32Array = npt.NDArray[np.float32]
HDR_SUFFIXES = (".hdr", ".exr")


def read_hdr(path: Path) -> Float32Array:
    """Scene-linear RGB of an .hdr or .exr file.

    Returns:
        Shape (v, u, 3), float32 (a sun exceeds float16); values as in the file, NaN and infinity included.

    Raises:
        InputError: Missing, unreadable, or without R, G and B.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    picture = _read_exr(path) if path.suffix.lower() == ".exr" else _read_radiance(path)
    return np.ascontiguousarray(picture, np.float32)


def write_hdr(path: Path, picture: npt.NDArray[np.floating]) -> None:
    """Write scene-linear RGB, shape (v, u, 3), as a float32 .exr.

    Raises:
        UsageError: The name does not end in .exr.
    """
    import OpenEXR

    if path.suffix.lower() != ".exr":
        raise UsageError(f"{path}: HDRIs are written as .exr only", hint=f"write to {path.with_suffix('.exr').name}")
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    pixels = np.ascontiguousarray(picture, np.float32)
    with OpenEXR.File(header, {"RGB": pixels}) as file:
        file.write(str(path))


def read_exr_alpha(path: Path) -> Float32Array | None:
    """Coverage of an .exr file, shape (v, u), float32, in 0..1; None: it has none. Its colours are premultiplied by it.

    Raises:
        InputError: Missing or unreadable.
    """
    if "A" not in {channel.name for channel in _read_exr_header(path)["channels"]}:
        return None
    return np.clip(np.asarray(_read_exr_channels(path)["A"], np.float32), 0, 1)


def write_half_exr(path: Path, picture: npt.NDArray[np.floating], tags: Mapping[str, str]) -> None:
    """Write scene-linear RGB, or RGBA with premultiplied colours, shape (y, x, 3 or 4), as a half float .exr.

    Args:
        path: The file.
        picture: Values beyond half floats are clipped to them.
        tags: Attributes of the header, in words.
    """
    import OpenEXR

    limit = float(np.finfo(np.float16).max)
    pixels = np.ascontiguousarray(np.clip(picture, -limit, limit), np.float16)
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **tags}
    with OpenEXR.File(header, {"RGBA" if pixels.shape[2] == 4 else "RGB": pixels}) as file:
        file.write(str(path))


def read_exr_envmap(path: Path) -> str | None:
    """What an .exr's header says of an environment map in it: ``latlong``, ``cube``, or None.

    Raises:
        InputError: Unreadable.
    """
    envmap = _read_exr_header(path).get("envmap")
    return None if envmap is None else str(envmap.name).removeprefix("ENVMAP_").lower()


def read_exr_tags(path: Path) -> dict[str, str]:
    """What an .exr's header says in words and numbers (``isoSpeed``, ``expTime``, ...), and its ``timecode``.

    Raises:
        InputError: Unreadable.
    """
    header = _read_exr_header(path)
    tags = {name: f"{value}" for name, value in header.items() if isinstance(value, str | int)}
    tags |= {name: f"{value:.6g}" for name, value in header.items() if isinstance(value, float)}
    code = header.get("timeCode")
    if code is not None:
        mark = ";" if code.dropFrame else ":"
        tags["timecode"] = f"{code.hours:02}:{code.minutes:02}:{code.seconds:02}{mark}{code.frame:02}"
    return tags


def _read_exr_header(path: Path) -> dict[str, Any]:
    import OpenEXR

    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with OpenEXR.File(str(path), header_only=True) as file:
            return dict(file.header())
    except Exception as error:  # OpenEXR raises RuntimeError, ValueError and TypeError for broken files
        raise InputError(f"{path}: not a readable EXR ({error})", hint="copy the file again") from error


def _need_whole_exr(path: Path) -> None:
    try:
        blocks = whole_blocks(path)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path}: not a readable EXR ({error})", hint="copy the file again") from error
    if blocks is not None and blocks[0] < blocks[1]:
        there = f"{blocks[0]} of its {blocks[1]} blocks of rows are whole"
        raise InputError(f"{path}: not a readable EXR (cut short: {there})", hint="copy the file again")


def _read_exr_channels(path: Path) -> dict[str, npt.NDArray[np.floating]]:
    import OpenEXR

    _need_whole_exr(path)
    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            return {name: np.array(channel.pixels) for name, channel in file.channels().items()}
    except Exception as error:  # OpenEXR raises RuntimeError, ValueError and TypeError for broken files
        raise InputError(f"{path}: not a readable EXR ({error})", hint="copy the file again") from error


def _read_exr(path: Path) -> npt.NDArray[np.floating]:
    found = _read_exr_channels(path)
    names = ("R", "G", "B") if "R" in found else ("Y", "Y", "Y")
    if not set(names) <= set(found):
        raise InputError(f"{path}: channels {', '.join(sorted(found))}, but R, G and B are needed")
    return np.stack([found[name] for name in names], axis=-1)


def _read_radiance(path: Path) -> Float32Array:
    before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # it logs what we raise
    try:
        picture = cv2.imread(str(path), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
    finally:
        cv2.utils.logging.setLogLevel(before)
    if picture is None or picture.dtype != np.float32:
        raise InputError(f"{path}: not a readable Radiance HDR", hint="copy the file again, or give an .exr")
    return np.asarray(picture[..., ::-1])

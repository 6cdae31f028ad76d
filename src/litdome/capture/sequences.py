"""pylightstage sequences: what every fixture of the stage was driven with, frame by frame (CBOR, or CBOR + zstd)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from litdome.capture.csv_rows import need_size, shown
from litdome.errors import InputError, MissingPackageError
from litdome.lighting import KIND_CODES

SEQUENCE_SUFFIXES = (".cbor", ".cbor.zst")
LARGEST_BYTES = 128 * 2**20  # packed or not: 30,000 frames of 336 fixtures
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
DRIVE_MAX = 65535
CHANNELS = 3
DrivesArray = npt.NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class Sequence:
    """A sequence as the stage played it.

    Attributes:
        fps: Frames per second.
        kind: Shape (frame,), uint8: 0 dark, 1 flat, 3 pattern.
        pattern: Shape (frame,), int32: number of the distinct drive, in the order of their first frames; -1 where the
            frame is dark or flat.
        drive: Shape (frame, fixture, channel), uint16: white fixtures, then coloured ones, arc by arc.
    """

    fps: float
    kind: npt.NDArray[np.uint8]
    pattern: npt.NDArray[np.int32]
    drive: DrivesArray


def read_sequence(file: Path) -> Sequence:
    """Read a sequence: ``{name, capture_hz, frames: [{white_fixtures, rgb_fixtures}]}``, 16-bit triples by arc.

    A frame is flat where all white fixtures show the same and coloured ones none, or all coloured ones the same white
    and white ones none; fixtures that no frame lights are broken and do not count. Of several such drives (say, of two
    polarisations) it is the one that most frames have, the brightest if they are as many: another look of the stage is
    a pattern.

    Raises:
        InputError: Unreadable, too large, not such a sequence, or frames of unequal shape (names the frame).
        MissingPackageError: cbor2 is not installed.
    """
    content = _decoded(file)
    frames, rate = content.get("frames"), content.get("capture_hz")
    if not isinstance(frames, list) or not frames:
        raise InputError(f"{file}: no frames in it")
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate < 1e5:
        raise InputError(f"{file}: capture_hz is {shown(str(rate))}", hint="frames per second, above 0")
    first = [_grid(file, 0, frames[0], name) for name in ("white_fixtures", "rgb_fixtures")]
    white = len(first[0])
    drive = np.zeros((len(frames), white + len(first[1]), CHANNELS), np.uint16)
    for n, frame in enumerate(frames):
        both = [_grid(file, n, frame, name) for name in ("white_fixtures", "rgb_fixtures")]
        if [len(grid) for grid in both] != [len(grid) for grid in first]:
            raise InputError(f"{file}: frame {n} drives other fixtures than frame 0")
        drive[n] = np.concatenate(both)
    kind, pattern = _kinds(drive, white)
    return Sequence(float(rate), kind, pattern, drive)


def _decoded(file: Path) -> dict[object, object]:
    need_size(file, LARGEST_BYTES)
    try:
        import cbor2
    except ImportError as error:
        raise MissingPackageError(
            f"{file}: reading it needs cbor2", hint="pip install 'litdome[interchange]'"
        ) from error
    try:
        packed = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from error
    payload = _unpacked(file, packed) if packed.startswith(ZSTD_MAGIC) else packed
    load: Callable[[bytes], object] = cbor2.loads
    try:
        content = load(payload)
    except (cbor2.CBORDecodeError, ValueError, TypeError, RecursionError, MemoryError, OverflowError) as error:
        raise InputError(f"{file}: not CBOR ({shown(str(error))})", hint="copy the file again") from error
    if not isinstance(content, dict):
        raise InputError(f"{file}: not a pylightstage sequence", hint="name, capture_hz, frames")
    return content


def _unpacked(file: Path, packed: bytes) -> bytes:
    from numcodecs.zstd import decompress

    size = _content_size(packed)
    if size is None or size > LARGEST_BYTES:
        what = "of unknown size" if size is None else f"{size / 2**20:.0f} MB"
        raise InputError(f"{file}: {what} unpacked, at most {LARGEST_BYTES / 2**20:.0f} MB are read")
    try:
        return bytes(decompress(packed))
    except RuntimeError as error:
        raise InputError(f"{file}: not zstd ({shown(str(error))})", hint="copy the file again") from error


def _content_size(packed: bytes) -> int | None:
    """Bytes that a zstd frame holds, as its header says (RFC 8878, 3.1.1.1); None where it does not."""
    if len(packed) < 18:
        return None if len(packed) < 6 else _size_field(packed.ljust(18, b"\0"))
    return _size_field(packed)


def _size_field(packed: bytes) -> int | None:
    flags = packed[4]
    single, width = bool(flags & 0x20), (0, 2, 4, 8)[flags >> 6]
    if not width and not single:
        return None
    width = width or 1
    start = 5 + (not single) + (0, 1, 2, 4)[flags & 3]
    size = int.from_bytes(packed[start : start + width], "little")
    return size + 256 if width == 2 else size


def _grid(file: Path, n: int, frame: object, name: str) -> DrivesArray:
    """Drives of one kind of fixture, shape (fixture, 3); a frame without that kind has none."""
    arcs = frame.get(name) if isinstance(frame, dict) else None
    if arcs is None and isinstance(frame, dict):
        arcs = []
    if not isinstance(arcs, list) or not all(isinstance(arc, (list, tuple)) for arc in arcs):
        raise InputError(f"{file}: frame {n}: {name} is not a list of arcs")
    fixtures = [fixture for arc in arcs for fixture in arc]
    for fixture in fixtures:
        whole = isinstance(fixture, (list, tuple)) and len(fixture) == CHANNELS
        if not whole or not all(type(value) is int and 0 <= value <= DRIVE_MAX for value in fixture):
            hint = f"three whole numbers, 0 to {DRIVE_MAX}"
            raise InputError(f"{file}: frame {n}: {name} holds {shown(str(fixture))}", hint=hint)
    return np.array(fixtures, np.uint16).reshape(-1, CHANNELS)


def _kinds(drive: DrivesArray, white: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """(kind, pattern) of frames, from their drives of shape (frame, fixture, channel)."""
    flattened = drive.reshape(len(drive), -1)
    distinct, number = np.unique(flattened, axis=0, return_inverse=True)
    number = number.reshape(-1)
    working = np.asarray(drive.any(axis=(0, 2)))
    white = int(working[:white].sum())
    even = np.array([_is_even(row.reshape(-1, CHANNELS)[working], white) for row in distinct], bool)
    counts, light = np.bincount(number, minlength=len(distinct)), distinct.sum(axis=1, dtype=np.int64)
    flat = max(np.flatnonzero(even), key=lambda n: (counts[n], light[n]), default=-1)
    dark = np.asarray(light == 0)
    kind = np.full(len(drive), KIND_CODES["pattern"], np.uint8)
    kind[number == flat] = KIND_CODES["flat"]
    kind[dark[number]] = KIND_CODES["dark"]
    is_pattern = kind == KIND_CODES["pattern"]
    order = list(dict.fromkeys(number[is_pattern].tolist()))
    place = {found: n for n, found in enumerate(order)}
    pattern = np.array([place.get(found, -1) for found in number.tolist()], np.int32)
    return kind, np.where(is_pattern, pattern, -1).astype(np.int32)


def _is_even(drive: DrivesArray, white: int) -> bool:
    """Whether all white fixtures, or all coloured ones in white, show the same and nothing else is lit."""
    whites, colours = drive[:white], drive[white:]
    all_white = len(whites) > 0 and whites.any() and (whites == whites[0]).all() and not colours.any()
    neutral = len(colours) > 0 and colours.any() and (colours == colours[0, 0]).all() and not whites.any()
    both = len(whites) > 0 and len(colours) > 0 and whites.any() and colours.any()
    together = both and (whites == whites[0]).all() and (colours == colours[0, 0]).all()
    return bool(all_white or neutral or together)

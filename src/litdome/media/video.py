"""Video files as native planes, through PyAV; never through swscale where it would change a code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np

from litdome.errors import InputError
from litdome.media.planes import Codes, PictureCodes
from litdome.media.timecode import find_timecode

MATRICES = {1: "bt709", 5: "bt601", 6: "bt601", 9: "bt2020"}  # AVColorSpace
TRANSFERS = {
    1: "bt709",
    6: "bt709",
    8: "linear",
    13: "srgb",
    14: "bt709",
    15: "bt709",
    16: "pq",
    18: "hlg",
}  # AVColorTransfer..
UNTAGGED = (2, 3)  # unspecified, reserved
FULL_RANGE = 2
SUBSAMPLINGS = {(2, 2): "420", (1, 2): "422", (1, 1): "444"}
PLANAR_TWINS = {"nv12": "yuv420p", "nv21": "yuv420p", "nv16": "yuv422p", "yuyv422": "yuv422p", "uyvy422": "yuv422p"}
PLANAR_TWINS |= {"p010le": "yuv420p10le", "p210le": "yuv422p10le", "p016le": "yuv420p16le", "nv24": "yuv444p"}
LOCAL_FILES = {"protocol_whitelist": "file"}  # a playlist that poses as a video opens nothing over the network
READ_FAILURES = 100  # damaged places that a file may be read past


@dataclass(frozen=True)
class VideoProbe:
    """What the first picture and the stream say about a source.

    Attributes:
        width, height: Upright picture size, px.
        frames: As the container claims; None if it does not.
        fps: Frames per second; None for image folders.
        pix_fmt: Format of the decoder, or of the image files.
        subsampling: ``420``, ``422``, ``444``; ``rgb`` for an RGB source.
        matrix, range: Of YCbCr codes; untagged reads as bt601 limited.
        transfer: ``srgb``, ``bt709`` or ``linear``; ``pq`` or ``hlg``, which no session can hold; None: not tagged.
        bits: Bits of a code.
        dtype: Of the codes.
        metadata: Tags of container and stream as the camera wrote them (exposure, lens, reel, ...).
        timecode: SMPTE timecode of the first picture, "10:00:00:00" (";" before the frames: drop-frame).
    """

    width: int
    height: int
    frames: int | None
    fps: float | None
    pix_fmt: str
    subsampling: str
    matrix: str
    range: str
    transfer: str | None
    bits: int
    dtype: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    timecode: str | None = None


def probe_video(path: Path) -> VideoProbe:
    """Decode the first frame of a video and say what it is; damaged ones before it are passed over.

    Raises:
        InputError: Missing, not a video, without a decodable frame, or in a colour matrix that litdome does not know.
    """
    with open_video(path) as (container, stream):
        for packet in iter_packets(container, stream):
            for frame in decoded_frames(stream, packet) or ():
                if not frame.is_corrupt:
                    return _describe(path, container, stream, frame, codes_of_frame(frame, path))
    raise InputError(f"{path}: not one frame can be decoded", hint="is the copy complete? play the file to check")


@contextmanager
def open_video(path: Path, *, threads: int = 1) -> Iterator[tuple[Any, Any]]:
    """Open a video for reading: (container, its video stream).

    Raises:
        InputError: Missing, not allowed to be read, not a video, or it breaks off inside the block.
    """
    if path.suffix.lower() == ".r3d" and path.is_file():
        raise InputError(f"{path}: R3D needs RED's own SDK", hint="export EXR, DPX or ProRes with RED's tools")
    try:
        if not path.is_file():
            raise InputError(f"{path}: no such file", hint="check the camera's source in recording.toml")
        with av.open(str(path.absolute()), options=LOCAL_FILES, metadata_errors="replace") as container:
            if not container.streams.video:
                raise InputError(f"{path}: no video stream in it")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise InputError(f"{path}: its codec is not known", hint="copy the file again")
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = threads
            yield container, stream
    except (av.FFmpegError, OSError, EOFError) as error:
        reason = str(getattr(error, "strerror", None) or error)
        raise InputError(f"{path}: cannot be read ({reason})", hint="copy the file again") from error


def iter_packets(container: Any, stream: Any) -> Iterator[Any | None]:
    """The packets of a stream in file order, past damaged places of the file; then None, which empties the decoder."""
    for _ in range(READ_FAILURES):
        try:
            for packet in container.demux(stream):
                if packet.size:
                    yield packet
            break
        except av.InvalidDataError:
            continue
    yield None


def decoded_frames(stream: Any, packet: Any | None) -> list[Any] | None:
    """What the decoder gives out for a packet; None: it refuses the packet as damaged."""
    try:
        return list(stream.codec_context.decode(packet))
    except (av.FFmpegError, EOFError):
        return None


def iter_planes(path: Path, *, threads: int = 1) -> Iterator[PictureCodes]:
    """Decode a video frame by frame.

    Args:
        path: Anything that FFmpeg decodes.
        threads: Decoder threads; 1 suits many cameras at a time.

    Yields:
        Native codes, upright; valid as long as they are kept.

    Raises:
        InputError: The file cannot be opened, or breaks off in the middle (names the frame).
    """
    for frame in _decode(path, threads=threads):
        yield codes_of_frame(frame, path)


def codes_of_frame(frame: Any, path: Path) -> PictureCodes:
    """Native codes of a decoded PyAV frame, turned upright."""
    if frame.format.name in PLANAR_TWINS:
        frame = frame.reformat(format=PLANAR_TWINS[frame.format.name])
    turns = round(frame.rotation / 90) % 4
    planes = [_plane(frame, n) for n in range(len(frame.planes))]
    alpha = _alpha(frame, planes, turns)
    if frame.format.name.startswith("gbr"):
        rgb = np.stack([planes[2], planes[0], planes[1]], axis=-1)
        return PictureCodes(rgb=_upright(_to_full_scale(rgb, frame.format.components[0].bits), turns), alpha=alpha)
    if frame.format.name.startswith("gray"):
        rgb = np.repeat(planes[0][..., None], 3, axis=2)
        return PictureCodes(rgb=_upright(_to_full_scale(rgb, frame.format.components[0].bits), turns))
    if frame.format.is_rgb or len(planes) < 3:
        rgb = frame.to_ndarray(format="rgb48le" if _is_deep(frame) else "rgb24", threads=1)
        return PictureCodes(rgb=_upright(rgb, turns), alpha=alpha)
    if turns % 2 and _subsampling(frame, path) == "422":
        raise InputError(f"{path}: 4:2:2 video that is to be shown turned by 90 degrees", hint="export it upright")
    chroma = np.stack([_upright(plane, turns) for plane in planes[1:3]])
    return PictureCodes(luma=_upright(planes[0], turns), chroma=chroma, alpha=alpha)


def _alpha(frame: Any, planes: list[Codes], turns: int) -> Codes | None:
    """Coverage of a decoded frame, full scale and range whatever the range of its colours is."""
    own = next((component for component in frame.format.components if component.is_alpha), None)
    if own is None:
        return None
    if len(planes) == 4:
        return _upright(_to_full_scale(planes[3], own.bits), turns)
    packed = frame.to_ndarray(format="rgba64le" if _is_deep(frame) else "rgba", threads=1)
    return _upright(np.ascontiguousarray(packed[..., 3]), turns)


def _is_deep(frame: Any) -> bool:
    return bool(max(component.bits for component in frame.format.components) > 8)


def _decode(path: Path, *, threads: int) -> Iterator[Any]:
    count = 0
    with open_video(path, threads=threads) as (container, stream):
        try:
            for frame in container.decode(stream):
                count += 1
                yield frame
        except (av.FFmpegError, EOFError) as error:
            reason = str(getattr(error, "strerror", None) or error)
            where = f"breaks off after {count} frames" if count else "cannot be decoded"
            raise InputError(f"{path}: {where} ({reason})", hint="copy the file again") from error


def _describe(path: Path, container: Any, stream: Any, frame: Any, codes: PictureCodes) -> VideoProbe:
    width, height = codes.size
    plane = codes.picture
    full = int(frame.color_range) == FULL_RANGE or frame.format.name.startswith("yuvj")
    bits = frame.format.components[0].bits if codes.luma is not None else plane.dtype.itemsize * 8
    return VideoProbe(
        width=width,
        height=height,
        frames=stream.frames or None,
        fps=float(stream.average_rate) if stream.average_rate else None,
        pix_fmt=frame.format.name,
        subsampling="rgb" if codes.luma is None else _subsampling(frame, path),
        matrix="bt601" if codes.luma is None else _matrix(int(frame.colorspace), path),
        range="full" if full else "limited",
        transfer=TRANSFERS.get(int(frame.color_trc)),
        bits=bits,
        dtype=plane.dtype.name,
        metadata={**container.metadata, **stream.metadata, **_told(frame)},
        timecode=find_timecode(container, stream),
    )


def _told(frame: Any) -> dict[str, str]:
    """What a picture's own header says (DPX), without fields left empty; nothing where it is not text."""
    try:
        return {name: text for name, text in frame.metadata.items() if text.strip()}
    except UnicodeDecodeError:
        return {}


def _matrix(tag: int, path: Path) -> str:
    if tag in UNTAGGED:
        return "bt601"
    if tag not in MATRICES:
        raise InputError(
            f"{path}: colour matrix {tag} (AVColorSpace) is none of bt601, bt709, bt2020", hint="re-tag or convert it"
        )
    return MATRICES[tag]


def _subsampling(frame: Any, path: Path) -> str:
    luma, chroma = frame.format.components[:2]
    steps = (-(-luma.height // chroma.height), -(-luma.width // chroma.width))
    if steps not in SUBSAMPLINGS:
        raise InputError(f"{path}: pixel format {frame.format.name} is not supported", hint="convert it to yuv420p")
    return SUBSAMPLINGS[steps]


def _plane(frame: Any, index: int) -> Codes:
    plane, component = frame.planes[index], frame.format.components[min(index, len(frame.format.components) - 1)]
    dtype = np.dtype(np.uint8 if component.bits <= 8 else ">u2" if frame.format.name.endswith("be") else "<u2")
    columns = plane.line_size // dtype.itemsize
    rows = np.frombuffer(plane, dtype)[: columns * plane.height].reshape(plane.height, columns)
    return rows[:, : plane.width].astype(dtype.newbyteorder("="), copy=False)


def _to_full_scale(codes: Codes, bits: int) -> Codes:
    """Codes of 9 to 15 bits repeated into 16, so that white stays white."""
    if bits in (8, 16):
        return codes
    return (codes << (16 - bits)) | (codes >> (2 * bits - 16))


def _upright(plane: Codes, turns: int) -> Codes:
    return np.ascontiguousarray(np.rot90(plane, turns)) if turns else plane

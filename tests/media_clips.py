"""Small videos of every kind whose pictures are known code for code."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

PICTURES, WIDTH, HEIGHT = 20, 64, 48


@dataclass(frozen=True)
class Clip:
    """How a test video is written: name, codec, pixel format and what the codec is told."""

    name: str
    codec: str
    pix_fmt: str
    options: dict[str, str] = field(default_factory=dict)
    lossless: bool = True


X264 = {
    "qp": "4",
    "preset": "superfast",
    "g": "6",
    "bf": "3",
    "sc_threshold": "0",
    "b_strategy": "0",
}  # lossless, x264 writes no B-frames
X265 = {"preset": "ultrafast"}
X265_PARAMS = "log-level=none:lossless=1:keyint=6:min-keyint=6:bframes=3:pools=1:frame-threads=1"
VP9 = {"lossless": "1", "g": "6", "auto-alt-ref": "1", "lag-in-frames": "8", "cpu-used": "8"}
CLIPS = (
    Clip("h264-closed.mp4", "libx264", "yuv420p", X264, lossless=False),
    Clip("h264-open.mkv", "libx264", "yuv420p10le", {**X264, "x264-params": "open-gop=1"}, lossless=False),
    Clip("h264.ts", "libx264", "yuv444p", X264, lossless=False),
    Clip("h264-422.mov", "libx264", "yuv422p10le", X264, lossless=False),
    Clip(
        "h264-refresh.mp4", "libx264", "yuv420p", {**X264, "bf": "0", "x264-params": "intra-refresh=1"}, lossless=False
    ),
    Clip("h264.avi", "libx264", "yuv420p", X264, lossless=False),
    Clip("h264.mxf", "libx264", "yuv422p10le", X264, lossless=False),
    Clip("hevc-open.mp4", "libx265", "yuv420p10le", {**X265, "x265-params": f"{X265_PARAMS}:open-gop=1"}),
    Clip("hevc-closed.mkv", "libx265", "yuv422p12le", {**X265, "x265-params": f"{X265_PARAMS}:open-gop=0"}),
    Clip("hevc-444.ts", "libx265", "yuv444p12le", {**X265, "x265-params": f"{X265_PARAMS}:open-gop=1"}),
    Clip("vp9.webm", "libvpx-vp9", "yuv420p", VP9),
    Clip("vp9-444.mkv", "libvpx-vp9", "yuv444p", {**VP9, "profile": "1"}),
    Clip("prores.mov", "prores_ks", "yuv422p10le", lossless=False),
    Clip("prores-4444.mov", "prores_ks", "yuv444p10le", {"profile": "4444"}, lossless=False),
    Clip("ffv1.mkv", "ffv1", "yuv420p12le"),
)


def scrolled_planes(pix_fmt: str, pictures: int = PICTURES, seed: int = 0) -> list[list[np.ndarray]]:
    """The planes of each picture: noise over the whole range of codes that scrolls, so that prediction pays."""
    rng = np.random.default_rng(seed)
    layout = av.VideoFormat(pix_fmt, WIDTH, HEIGHT)
    bits = layout.components[0].bits
    dtype = np.uint8 if bits == 8 else np.uint16
    still = [rng.integers(0, 1 << bits, (part.height, part.width)).astype(dtype) for part in layout.components]
    return [[np.roll(plane, 2 * n * plane.shape[1] // WIDTH, axis=1) for plane in still] for n in range(pictures)]


def video_frame(planes: list[np.ndarray], pix_fmt: str, pts: int) -> av.VideoFrame:
    """A PyAV frame that holds ``planes`` code for code."""
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, pix_fmt)
    for plane, codes in zip(frame.planes, planes, strict=True):
        rows = np.zeros((plane.height, plane.line_size), np.uint8)
        raw = np.ascontiguousarray(codes).view(np.uint8).reshape(codes.shape[0], -1)
        rows[:, : raw.shape[1]] = raw
        plane.update(rows.tobytes())
    frame.pts, frame.time_base = pts, Fraction(1, 25)
    return frame


def write_clip(
    path: Path,
    clip: Clip,
    pictures: list[list[np.ndarray]],
    *,
    times: list[int] | None = None,
    options: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write ``pictures`` at ``times`` (in 25ths of a second; 0, 1, 2, ... by default)."""
    with av.open(str(path), "w", options=options or {}) as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream(clip.codec, rate=25, options=clip.options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, clip.pix_fmt
        stream.codec_context.time_base = Fraction(1, 25)
        stream.codec_context.thread_count = 1
        for n, planes in enumerate(pictures):
            frame = video_frame(planes, clip.pix_fmt, times[n] if times else n)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def plain_decode(path: Path) -> dict[int, list[np.ndarray]]:
    """The planes that PyAV's decoder shows, by their place on a grid of 25 a second, past packets that it refuses."""
    found: dict[int, list[np.ndarray]] = {}
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for packet in container.demux(stream):
            try:
                frames = stream.codec_context.decode(packet if packet.size else None)
            except av.FFmpegError:
                continue
            for frame in frames:
                layers = zip(frame.planes, frame.format.components, strict=True)
                place = round((frame.pts - (stream.start_time or 0)) * stream.time_base * 25)
                found[place] = [copied(plane, part.bits) for plane, part in layers]
    return found


def copied(plane: av.video.plane.VideoPlane, bits: int) -> np.ndarray:
    dtype = np.dtype(np.uint8 if bits == 8 else "<u2")
    return np.frombuffer(bytes(plane), dtype).reshape(plane.height, -1)[:, : plane.width].copy()

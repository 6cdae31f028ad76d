"""CPU time of numbered pictures in native codes against bare decoding of the same file: 4K, one decoder thread.

Run: python benchmarks/decode.py [--frames 24] [--rounds 5]
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import av
import numpy as np

from litdome.media.images import iter_pictures
from litdome.media.index import SourceIndex, index_source

WIDTH, HEIGHT = 3840, 2160
CODECS = (
    ("h264 8 bit", "libx264", "yuv420p", {"preset": "veryfast", "crf": "20", "g": "25", "bf": "2"}),
    ("hevc 10 bit", "libx265", "yuv420p10le", {"preset": "ultrafast", "crf": "20", "x265-params": "log-level=none"}),
)


def write_clip(path: Path, codec: str, pix_fmt: str, options: dict[str, str], frames: int) -> None:
    """A scrolling texture with fresh noise in every picture; one slice, as cameras write."""
    rng = np.random.default_rng(0)
    deep = pix_fmt.endswith("10le")
    texture = np.clip(rng.normal(128, 30, (HEIGHT // 8, WIDTH // 8)), 16, 235).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
        stream.codec_context.thread_count = 1
        for n in range(frames):
            frame = av.VideoFrame(WIDTH, HEIGHT, pix_fmt)
            for plane in frame.planes:
                codes = np.roll(texture, 4 * n, 1)[: plane.height, : plane.width] + rng.normal(0, 3, (1, plane.width))
                codes = (codes * 4).astype(np.uint16) if deep else codes.astype(np.uint8)
                rows = np.zeros((plane.height, plane.line_size), np.uint8)
                raw = codes.view(np.uint8).reshape(plane.height, -1)
                rows[:, : raw.shape[1]] = raw
                plane.update(rows.tobytes())
            frame.pts = n
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def cpu_seconds(work: Callable[[], None]) -> float:
    """CPU time, user and system, that ``work`` takes in this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def decode_bare(path: Path) -> None:
    """Decode every picture with one thread and drop it."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "AUTO", 1
        for _ in container.decode(stream):
            pass


def decode_numbered(path: Path, index: SourceIndex) -> None:
    """Every picture with its number, in native codes."""
    for _ in iter_pictures(path, index):
        pass


def main() -> None:
    """Make the clips, measure by turns, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        for name, codec, pix_fmt, options in CODECS:
            path = Path(folder) / f"{codec}.mp4"
            write_clip(path, codec, pix_fmt, options, given.frames)
            index = index_source(path)
            rows = [
                (
                    cpu_seconds(lambda path=path: decode_bare(path)),
                    cpu_seconds(lambda path=path, index=index: decode_numbered(path, index)),
                    cpu_seconds(lambda path=path: index_source(path) and None),
                )
                for _ in range(given.rounds)
            ]
            bare, numbered, indexing = (median(column) / given.frames * 1e3 for column in zip(*rows, strict=True))
            ratio = median(row[1] / row[0] for row in rows)
            print(f"{name}: bare {bare:.1f} ms, numbered {numbered:.1f} ms a picture: {ratio:.3f}x", end="; ")
            print(f"index {indexing:.2f} ms a picture ({path.stat().st_size / given.frames / 1e6:.2f} MB each)")


if __name__ == "__main__":
    main()

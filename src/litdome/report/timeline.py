"""A strip per camera over the time of a take: where frames are absent, under two lights, or repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from litdome.report.charts import WIDTH, nice_ticks
from litdome.report.losses import clock_time
from litdome.report.sheets import png_uri

BoolArray = npt.NDArray[np.bool_]
COLORS = {"absent": (178, 43, 40), "mixed light": (217, 136, 30), "repeated": (120, 84, 160)}
GOOD = (205, 217, 208)
CELLS = 1000  # of a strip; a single frame is drawn MARK_CELLS wide, or nobody would see it
MARK_CELLS = 3


def timeline(
    cameras: Sequence[str], marks: Mapping[str, BoolArray], time_ns: npt.NDArray[np.int64], *, what: str
) -> str:
    """The strips as SVG.

    Args:
        cameras: Name of each row.
        marks: By name in `COLORS`, which rig frames of each camera have it, shape (camera, frame).
        time_ns: Of every rig frame, shape (frame,), rising.
        what: One sentence for people who cannot see it.
    """
    row = min(22.0, max(9.0, 360 / len(cameras)))
    left, upper = 24 + 7.5 * max(map(len, cameras)), 6.0
    width, height = WIDTH - left - 10, row * len(cameras)
    gap = max(1.0, row / 8)
    parts = []
    for n, name in enumerate(cameras):
        pixels = strip_pixels({mark: flags[n] for mark, flags in marks.items()})
        parts.append(
            f'<image x="{left:.1f}" y="{upper + n * row:.1f}" width="{width:.1f}" height="{row - gap:.1f}" '
            f'preserveAspectRatio="none" style="image-rendering:pixelated" href="{png_uri(pixels)}"/>'
        )
        if row >= 11 or n % 2 == 0:
            parts.append(_text(left - 8, upper + row * (n + 0.5) + 4, name, "end"))
    length_s = float(time_ns[-1] - time_ns[0]) / 1e9
    for tick in nice_ticks(0, length_s, 8):
        x = left + width * tick / max(length_s, 1e-9)
        parts.append(_text(x, upper + height + 17, clock_time(round(tick * 1e9)).removesuffix(".000"), "middle"))
    x = left
    for name in marks:
        color = ",".join(map(str, COLORS[name]))
        parts.append(f'<rect x="{x:.1f}" y="{upper + height + 30:.1f}" width="14" height="14" fill="rgb({color})"/>')
        parts.append(_text(x + 20, upper + height + 42, name, "start"))
        x += 40 + 8 * len(name)
    view = f'viewBox="0 0 {WIDTH} {upper + height + 52:.0f}"'
    return f'<svg class="chart" {view} role="img" aria-label="{escape(what)}">{"".join(parts)}</svg>'


def strip_pixels(marks: Mapping[str, BoolArray]) -> npt.NDArray[np.uint8]:
    """One camera's strip, shape (1, cell, 3): the earlier a name stands in `COLORS`, the more it covers."""
    frames = len(next(iter(marks.values())))
    cells = min(frames, CELLS)
    edges = np.linspace(0, frames, cells + 1).astype(int)[:-1]
    pixels = np.tile(np.array(GOOD, np.uint8), (1, cells, 1))
    for name in reversed(COLORS):
        if name in marks and marks[name].any():
            seen = np.logical_or.reduceat(marks[name], edges)
            if frames > CELLS:
                seen = np.convolve(seen, np.ones(MARK_CELLS), mode="same") > 0
            pixels[0, seen] = COLORS[name]
    return pixels


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="tick">{escape(text)}</text>'

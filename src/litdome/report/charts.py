"""Charts as inline SVG: a heat map of cameras by pairs, a line chart. Colours of text and axes come from the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.report.sheets import png_uri

FloatArray = npt.NDArray[np.floating[Any]]
RAMP = np.array([(43, 101, 152), (131, 175, 197), (240, 230, 190), (232, 152, 85), (178, 43, 40)], np.float64)
WIDTH = 1100
HATCH = (
    '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<path d="M0 0v6" class="hatch"/></pattern></defs>'
)
COLORS = 6  # of lines, in the page's style
POINTS = 700  # of a line: more cannot be seen


@dataclass(frozen=True, eq=False)
class Line:
    """One line of a chart; ``faint`` ones lie behind, those without a name are in no legend."""

    name: str
    x: FloatArray
    y: FloatArray
    faint: bool = False


def ramp_colors(share: FloatArray) -> npt.NDArray[np.uint8]:
    """Blue (0) over cream to red (1), shape (...) to (..., 3); told apart with red-green blindness too."""
    place = np.clip(share, 0, 1) * (len(RAMP) - 1)
    at = np.arange(len(RAMP))
    return np.stack([np.interp(place, at, RAMP[:, c]) for c in range(3)], axis=-1).round().astype(np.uint8)


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About ``count`` round numbers from ``low`` to ``high``, which are included only if round."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    return [round(n * step, 12) for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def heat_map(
    values: FloatArray, keep: npt.NDArray[np.bool_], rows: Sequence[str], *, top: float, label: str, what: str
) -> str:
    """Cameras by pairs as coloured cells; cells that were not measured are hatched, dropped ones crossed.

    Args:
        values: Shape (camera, pair); NaN where not measured.
        keep: Same shape.
        rows: Name of each row.
        top: Value of the last colour.
        label: Name and unit for the legend.
        what: One sentence for people who cannot see it.
    """
    cameras, pairs = values.shape
    cell = min(26.0, max(9.0, 260 / cameras))
    left, upper = 24 + 7.5 * max(map(len, rows)), 8.0
    width, height = WIDTH - left - 10, cell * cameras
    known = np.isfinite(values)
    beyond = bool((values[known] > top).any())
    colors = ramp_colors(np.where(known, values, 0) / top)
    pixels = np.concatenate([colors, np.where(known, 255, 0).astype(np.uint8)[..., None]], axis=-1)
    parts = [
        HATCH,
        f'<rect x="{left:.1f}" y="{upper}" width="{width:.1f}" height="{height:.1f}" fill="url(#hatch)"/>',
        f'<image x="{left:.1f}" y="{upper}" width="{width:.1f}" height="{height:.1f}" preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="{png_uri(pixels)}"/>',
        _crosses(known & ~keep, left, upper, width / pairs, cell),
    ]
    for row, name in enumerate(rows):
        if cell >= 11 or row % 2 == 0:
            parts.append(_text(left - 8, upper + cell * (row + 0.5) + 4, name, "end"))
    for pair in nice_ticks(0, pairs - 1, 10):
        if pair == int(pair):
            parts.append(_text(left + (pair + 0.5) * width / pairs, upper + height + 17, f"{pair:g}", "middle"))
    parts.append(_text(left + width / 2, upper + height + 36, "pair", "middle", "label"))
    parts.append(
        _legend(left, upper + height + 50, top, label, beyond, bool((known & ~keep).any()), bool((~known).any()))
    )
    return _svg(parts, upper + height + 84, what)


def _crosses(where: npt.NDArray[np.bool_], left: float, upper: float, width: float, height: float) -> str:
    size = min(width, height) * 0.28
    arm = f"{2 * size:.1f}"
    strokes = []
    for row, column in np.argwhere(where):
        x, y = left + (column + 0.5) * width - size, upper + (row + 0.5) * height - size
        strokes.append(f"M{x:.1f} {y:.1f}l{arm} {arm}m0 -{arm}l-{arm} {arm}")
    return f'<path d="{"".join(strokes)}" class="cross"/>' if strokes else ""


def _legend(left: float, y: float, top: float, label: str, beyond: bool, dropped: bool, missing: bool) -> str:
    bar = png_uri(ramp_colors(np.linspace(0, 1, 64))[None])
    parts = [f'<image x="{left:.1f}" y="{y:.1f}" width="220" height="12" preserveAspectRatio="none" href="{bar}"/>']
    for tick in nice_ticks(0, top, 4):
        text = f"{tick:g}" + (" and more" if beyond and tick == top else "")
        parts.append(_text(left + 220 * tick / top, y + 28, text, "start" if tick == top else "middle"))
    parts.append(_text(left + 232, y + 11, label, "start", "label"))
    x = left + 232 + 8 * len(label) + 20
    if dropped:
        parts.append(f'<rect x="{x:.1f}" y="{y - 1:.1f}" width="14" height="14" fill="rgb(131,175,197)"/>')
        parts.append(_crosses(np.ones((1, 1), bool), x, y - 1, 14, 14) + _text(x + 20, y + 11, "dropped", "start"))
        x += 100
    if missing:
        parts.append(f'<rect x="{x:.1f}" y="{y - 1:.1f}" width="14" height="14" fill="url(#hatch)"/>')
        parts.append(_text(x + 20, y + 11, "not measured", "start"))
    return "".join(parts)


def line_chart(
    lines: Sequence[Line], *, x_label: str, y_label: str, what: str, width: float = WIDTH, reach: float = 0.0
) -> str:
    """Lines over a common x axis; the y axis is logarithmic where the values span more than a factor of 20.

    Args:
        lines: At least one, with at least one finite value.
        x_label, y_label: Names and units of the axes.
        what: One sentence for people who cannot see it.
        width: Of the drawing, px; the page scales it to the room that it has.
        reach: Value that the y axis reaches at least, so that nothing looks like much.
    """
    values = np.concatenate([line.y[np.isfinite(line.y)] for line in lines])
    low, high = float(values.min()), float(values.max())
    logarithmic = low > 0 and high / low > 20
    if not logarithmic:
        low, high = min(0.0, low), max(high * 1.04, reach) or 1.0
    start, stop = min(float(line.x.min()) for line in lines), max(float(line.x.max()) for line in lines)
    left, upper, height, across = 70.0, 30.0, 260.0, width - 90
    bend = np.log10 if logarithmic else np.asarray

    def place_x(x: Any) -> Any:
        return left + (np.asarray(x) - start) / max(stop - start, 1e-9) * across

    def place_y(y: Any) -> Any:
        return upper + height * (1 - (bend(y) - bend(low)) / max(float(bend(high) - bend(low)), 1e-9))

    parts = []
    for tick in _log_ticks(low, high) if logarithmic else nice_ticks(low, high):
        y = float(place_y(tick))
        parts.append(f'<path d="M{left} {y:.1f}h{across}" class="grid"/>' + _text(left - 8, y + 4, f"{tick:g}", "end"))
    for tick in nice_ticks(start, stop, 8 if width >= WIDTH else 5):
        parts.append(_text(float(place_x(tick)), upper + height + 18, f"{tick:g}", "middle"))
    named, strong = [line for line in lines if line.name], [line for line in lines if not line.faint]
    step = min(150.0, across / max(len(named), 1))
    for line in sorted(lines, key=lambda line: not line.faint):
        at = np.unique(np.linspace(0, len(line.x) - 1, min(POINTS, len(line.x))).round().astype(int))
        at = at[np.isfinite(line.y[at])]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(place_x(line.x[at]), place_y(line.y[at]), strict=True))
        css = "faint" if line.faint else f"line-{strong.index(line) % COLORS}"
        parts.append(f'<polyline points="{points}" class="line {css}"/>')
        if line.name:
            x = left + across - step * (len(named) - named.index(line)) + min(30, step / 5)
            parts.append(f'<path d="M{x} {upper - 18}h22" class="line {css}"/>')
            parts.append(_text(x + 28, upper - 14, line.name, "start"))
    parts.append(_text(left + across / 2, upper + height + 40, x_label, "middle", "label"))
    middle = upper + height / 2
    parts.append(f'<g transform="rotate(-90 16 {middle})">{_text(16, middle, y_label, "middle", "label")}</g>')
    return _svg(parts, upper + height + 52, what, width)


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if high / low < 1000 else (1,)
    return [f * 10.0**p for p in powers for f in factors if low <= f * 10.0**p <= high]


def _text(x: float, y: float, text: str, anchor: str, css: str = "tick") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{css}">{escape(text)}</text>'


def _svg(parts: Sequence[str], height: float, what: str, width: float = WIDTH) -> str:
    view = f'viewBox="0 0 {width:.0f} {height:.0f}"'
    return f'<svg class="chart" {view} role="img" aria-label="{escape(what)}">{"".join(parts)}</svg>'

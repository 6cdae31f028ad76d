"""Charts of one camera's calibration as inline SVG: residual arrows, their histogram, where boards were seen."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.report.sheets import png_uri

FloatArray = npt.NDArray[np.floating[Any]]
LONG_SIDE = 360.0  # of a picture as drawn
ARROWS = 300  # of a camera: more cannot be told apart
ARROW_SHARE = 0.05  # of the long side: how long the arrow of the 90th percentile is
LONGEST = 0.3  # of the long side: longer arrows are cut there
CELLS = 16  # of the coverage picture along the long side
BINS = 41
COVERED = (62, 128, 176)  # stands on white and on black paper
THIRDS = (
    ("upper left", "upper middle", "upper right"),
    ("left", "middle", "right"),
    ("lower left", "lower middle", "lower right"),
)


def arrow_factor(lengths_px: FloatArray, long_side_px: float) -> float:
    """How many times residuals are drawn larger than the picture: 1, 2 or 5 times a power of ten.

    Args:
        lengths_px: Of the residuals of the corners in use, at least one.
        long_side_px: Of the pictures.
    """
    wanted = ARROW_SHARE * long_side_px / max(float(np.quantile(lengths_px, 0.9)), 1e-6)
    power = 10.0 ** np.floor(np.log10(max(wanted, 1.0)))
    return float(power * max(factor for factor in (1, 2, 5) if power * factor <= max(wanted, 1.0)))


def spread_out(pixels: FloatArray, size: tuple[int, int], count: int = ARROWS) -> npt.NDArray[np.intp]:
    """At most ``count`` rows of ``pixels``, shape (n, 2), from all over the picture: first the first of every cell."""
    if len(pixels) <= count:
        return np.arange(len(pixels))
    cell = cell_of(pixels, size)
    order = np.argsort(cell, kind="stable")
    starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
    rank = np.empty(len(pixels), np.intp)
    rank[order] = np.arange(len(pixels)) - np.repeat(starts, np.diff(starts, append=len(pixels)))
    return np.sort(np.argsort(rank, kind="stable")[:count])


def quiver(
    size: tuple[int, int],
    pixels: FloatArray,
    residuals: FloatArray,
    used: npt.NDArray[np.bool_],
    *,
    factor: float,
    what: str,
) -> str:
    """Residuals as arrows over the picture, those of corners left out in another colour.

    Args:
        size: (width, height) of the picture, px.
        pixels: Corners, shape (corner, 2).
        residuals: Where each arrow points, shape (corner, 2), px.
        used: Corners that the calibration rests on, shape (corner,).
        factor: How many times larger than the picture arrows are drawn.
        what: One sentence for people who cannot see it.
    """
    scale = LONG_SIDE / max(size)
    parts = []
    for css, which in (("left-out", np.flatnonzero(~used)), ("arrow", np.flatnonzero(used))):
        rows = which[spread_out(pixels[which], size)]
        if len(rows):
            parts.append(
                f'<path d="{_arrows((pixels[rows] + 0.5) * scale, residuals[rows] * scale * factor)}" class="{css}"/>'
            )
    return _picture(size, parts, what)


def _arrows(starts: FloatArray, vectors: FloatArray) -> str:
    """Thin triangles from their base to their tip."""
    length = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    tips = vectors * np.minimum(1.0, LONGEST * LONG_SIDE / length)
    sides = np.column_stack([-vectors[:, 1], vectors[:, 0]]) / length * 1.1
    corners = np.column_stack([starts + sides, tips - sides, -tips - sides])
    return "".join("M{:.1f} {:.1f}l{:.1f} {:.1f} {:.1f} {:.1f}z".format(*row) for row in corners)


def histogram_reach(residuals: FloatArray) -> float:
    """Where the histograms of a rig end, px: a round number that 99 % of all parts of ``residuals`` lie within."""
    reach = max(float(np.quantile(np.abs(residuals), 0.99)), 1e-3)
    power = 10.0 ** np.floor(np.log10(reach))
    return float(power * min(factor for factor in (1, 2, 5, 10) if power * factor >= reach))


def residual_histogram(residuals: FloatArray, *, reach: float, what: str) -> str:
    """How often which residual: dx filled, dy as a line; what lies beyond ``reach`` counts at the ends.

    Args:
        residuals: Shape (corner, 2), px.
        reach: Of the x axis, px.
        what: One sentence for people who cannot see it.
    """
    left, upper, width, height = 6.0, 18.0, 228.0, 92.0
    edges = np.linspace(-reach, reach, BINS + 1)
    inside = np.clip(residuals, -reach, reach)
    counts = [np.histogram(inside[:, axis], edges)[0] for axis in (0, 1)]
    top = max(1, *(int(found.max()) for found in counts))
    parts = []
    for css, found in zip(("bars", "outline"), counts, strict=True):
        steps = "".join(f"V{upper + height * (1 - n / top):.1f}h{width / BINS:.2f}" for n in found)
        parts.append(f'<path d="M{left} {upper + height}{steps}V{upper + height}" class="{css}"/>')
    parts.append(f'<path d="M{left} {upper + height}h{width}M{left + width / 2} {upper}v{height + 4}" class="grid"/>')
    for tick, anchor in ((-reach, "start"), (0.0, "middle"), (reach, "end")):
        x = left + width * (tick + reach) / (2 * reach)
        text = f"{tick:g} px" if tick == reach else f"{tick:g}"
        parts.append(_label(x, upper + height + 16, text, anchor))
    spread = residuals.std(axis=0) if len(residuals) else np.zeros(2)
    parts.append(f'<path d="M{left} 8h12" class="bars key"/>' + _label(left + 17, 12, f"dx ± {spread[0]:.2f}", "start"))
    parts.append(
        f'<path d="M{left + 118} 8h12" class="outline"/>' + _label(left + 135, 12, f"dy ± {spread[1]:.2f}", "start")
    )
    view = f'viewBox="0 0 240 {upper + height + 20:.0f}"'
    return f'<svg class="small" {view} role="img" aria-label="{escape(what)}">{"".join(parts)}</svg>'


def coverage(size: tuple[int, int], pixels: FloatArray, *, what: str) -> str:
    """Where in the picture corners fell: the more, the darker; thirds without one are hatched.

    Args:
        size: (width, height) of the picture, px.
        pixels: Corners in use, shape (corner, 2).
        what: One sentence for people who cannot see it.
    """
    columns, rows = _cells(size)
    count = np.bincount(cell_of(pixels, size), minlength=columns * rows).reshape(rows, columns)
    share = np.where(count > 0, 0.25 + 0.75 * np.log1p(count) / np.log1p(max(count.max(), 1)), 0)
    picture = np.empty((rows, columns, 4), np.uint8)
    picture[...] = (*COVERED, 0)
    picture[..., 3] = (share * 255).round()
    scale = LONG_SIDE / max(size)
    width, height = size[0] * scale, size[1] * scale
    parts = [
        f'<image width="{width:.1f}" height="{height:.1f}" preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="{png_uri(picture)}"/>'
    ]
    for row, column in np.argwhere(~seen_thirds(size, pixels)):
        box = (
            f'x="{column * width / 3:.1f}" y="{row * height / 3:.1f}" width="{width / 3:.1f}" height="{height / 3:.1f}"'
        )
        parts.append(f'<rect {box} fill="url(#empty)"/>')
    across = "".join(f"M{width * n / 3:.1f} 0v{height:.1f}M0 {height * n / 3:.1f}h{width:.1f}" for n in (1, 2))
    parts.append(f'<path d="{across}" class="grid"/>')
    return _picture(size, parts, what)


def seen_thirds(size: tuple[int, int], pixels: FloatArray) -> npt.NDArray[np.bool_]:
    """Whether any corner fell into each ninth of the picture, shape (3, 3), rows from above."""
    seen = np.zeros((3, 3), bool)
    at = np.clip((pixels + 0.5) * 3 / np.array(size), 0, 2).astype(int)
    seen[at[:, 1], at[:, 0]] = True
    return seen


def empty_thirds(size: tuple[int, int], pixels: FloatArray) -> tuple[str, ...]:
    """Names of the parts of the picture where no corner fell."""
    return tuple(THIRDS[row][column] for row, column in np.argwhere(~seen_thirds(size, pixels)))


def cell_of(pixels: FloatArray, size: tuple[int, int]) -> npt.NDArray[np.intp]:
    """The coverage cell of each corner, shape (corner,), row by row; corners outside count at the border."""
    grid = np.array(_cells(size))
    at = np.clip(((pixels + 0.5) * grid / np.array(size)).astype(int), 0, grid - 1)
    return np.asarray(at[:, 1] * grid[0] + at[:, 0], np.intp)


def _cells(size: tuple[int, int]) -> tuple[int, int]:
    columns, rows = (max(3, round(CELLS * side / max(size))) for side in size)
    return columns, rows


def _picture(size: tuple[int, int], parts: Sequence[str], what: str) -> str:
    scale = LONG_SIDE / max(size)
    view = f'viewBox="0 0 {size[0] * scale:.0f} {size[1] * scale:.0f}"'
    return f'<svg class="small frame" {view} role="img" aria-label="{escape(what)}">{"".join(parts)}</svg>'


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'

"""The drawings of docs/conventions.md, from the code's own formulas: python tools/draw_conventions.py docs

Left: where the world's axes lie in a lat-long map. Middle: the stage from above, and which way the map's columns run.
Right: the same axes in the environment map of a camera that stands at +z.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from litdome.geometry import OPENCV_FROM_OPENGL, look_at
from litdome.lighting import HdriConvention, latlong_uv

FloatArray = npt.NDArray[np.float64]
LAYOUTS: dict[HdriConvention, str] = {
    "physical": "physical, skylibs",
    "openexr": "openexr",
    "cosmos": "cosmos, goliath: a mirrored world",
}
AXES = {"x": "#c0392b", "y": "#1e8449", "z": "#2456a6"}
UNIT = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 260" font-family="sans-serif" font-size="14">'
    '<rect width="1000" height="260" fill="#fff"/>'
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>'
)


def directions() -> dict[str, FloatArray]:
    """The six axes of the world by name."""
    return {f"{sign}{axis}": np.array(UNIT[axis]) * (1 if sign == "+" else -1) for sign in "+-" for axis in "xyz"}


def text(x: float, y: float, words: str, colour: str = "#333", anchor: str = "middle", size: int = 14) -> str:
    """A line of words."""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}" font-size="{size}">{words}</text>'


def mark(x: float, y: float, name: str, drop: float = 22) -> str:
    """A dot for an axis, full for +, empty for -, with its name below."""
    colour = AXES[name[1]]
    fill = colour if name[0] == "+" else "#fff"
    dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{fill}" stroke="{colour}" stroke-width="2"/>'
    return dot + text(x, y + drop, name.replace("-", "\u2212"), colour)


def panel(x: float, y: float, width: float, height: float, title: str, places: dict[str, FloatArray]) -> str:
    """A map with its middle lines; ``places`` are (u, v) of axes, drawn twice at an edge, a pole along its row."""
    box = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="#f4f6f8" stroke="#555"/>'
    lines = "".join(
        f'<path d="M{x + width * k / 4:.1f} {y}V{y + height}" stroke="#ccc" stroke-dasharray="3 3"/>' for k in (1, 2, 3)
    )
    lines += f'<path d="M{x} {y + height / 2}H{x + width}" stroke="#ccc" stroke-dasharray="3 3"/>'
    marks = ""
    for name, (u, v) in places.items():
        if name[1] == "y":
            row = y + height * v
            marks += f'<path d="M{x} {row}H{x + width}" stroke="{AXES["y"]}" stroke-width="4"/>'
            inside = 18 if v < 0.5 else -8
            marks += text(x + 10, row + inside, name.replace("-", "\u2212") + ", the whole row", AXES["y"], "start")
            continue
        at_edge = min(u % 1, 1 - u % 1) < 1e-6
        for place in (0.0, 1.0) if at_edge else (u,):
            marks += mark(x + width * place, y + height * v, name)
    return text(x + width / 2, y - 12, title) + box + lines + marks


def from_above(x: float, y: float, radius: float, convention: HdriConvention) -> str:
    """The stage from above: axes, a camera towards -z, a ring at the map's middle, and the way in which u grows."""
    shown = f'<circle cx="{x}" cy="{y}" r="{radius}" fill="#f4f6f8" stroke="#555"/>'
    found = directions()
    middle = next(
        name for name, d in found.items() if abs(latlong_uv(d, convention)[0] - 0.5) < 1e-6 and name[1] != "y"
    )
    later = next(name for name, d in found.items() if abs(latlong_uv(d, convention)[0] - 0.75) < 1e-6)
    start, stop = (np.array([found[name][0], found[name][2]]) for name in (middle, later))
    outer = radius + 16
    clockwise = start[0] * stop[1] - start[1] * stop[0] > 0  # y of the picture runs down, as z does
    bow = f"M{x + outer * start[0]:.1f} {y + outer * start[1]:.1f}A{outer} {outer} 0 0 {int(clockwise)} "
    bow += f"{x + outer * stop[0]:.1f} {y + outer * stop[1]:.1f}"
    shown += f'<path d="{bow}" fill="none" stroke="#555" stroke-width="2" marker-end="url(#tip)"/>'
    between = (start + stop) / np.linalg.norm(start + stop) * (outer + 12)
    shown += text(x + between[0], y + between[1] + 5, "u")
    ring = (x + radius * start[0], y + radius * start[1])
    shown += f'<circle cx="{ring[0]}" cy="{ring[1]}" r="11" fill="#fff" stroke="#555" stroke-width="2"/>'
    for name in ("+x", "-x", "+z", "-z"):
        d = found[name]
        shown += mark(x + radius * d[0], y + radius * d[2], name, -16 if name == "+z" else 26)
    camera = y + radius - 48
    return shown + f'<path d="M{x - 9} {camera}h18v12h-18zM{x - 5} {camera}l-4 -9h18l-4 9z" fill="#555"/>'


def seen_by_camera(pose: FloatArray) -> dict[str, FloatArray]:
    """(u, v) of the axes in the environment map of a camera, shape (4, 4)."""
    places = {}
    for name, d in directions().items():
        right, up, back = OPENCV_FROM_OPENGL @ pose[:3, :3].T @ d
        places[name] = np.array([np.arctan2(right, back) / (2 * np.pi) + 0.5, np.arccos(np.clip(up, -1, 1)) / np.pi])
    return places


def draw(convention: HdriConvention) -> str:
    """The drawing of one layout, SVG."""
    places = {name: latlong_uv(d, convention) for name, d in directions().items()}
    pose = np.asarray(look_at([0.0, 0.0, 3.0], [0.0, 0.0, 0.0]), np.float64)
    return "\n".join(
        (
            HEAD,
            panel(30, 44, 380, 190, f"map: {LAYOUTS[convention]}", places),
            from_above(550, 139, 88, convention),
            text(550, 14, "stage from above; ring: the map\u2019s middle"),
            panel(690, 57, 284, 160, "environment of the camera at +z", seen_by_camera(pose)),
            "</svg>\n",
        )
    )


if __name__ == "__main__":
    for layout in LAYOUTS:
        (Path(sys.argv[1]) / f"hdri-{layout}.svg").write_text(draw(layout), encoding="utf-8")

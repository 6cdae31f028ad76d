"""The cameras of a rig in space: a picture in perspective as SVG, and the scene for the script that turns it.

World +y is up and right-handed: seen from +z, +x is to the right. frusta.js.j2 projects as `View` does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.geometry import Camera
from litdome.report.charts import nice_ticks

FloatArray = npt.NDArray[np.float64]
Lines = list[FloatArray]  # each shape (point, 3), metres
WIDTH, HEIGHT, MARGIN = 1100, 560, 40
YAW, PITCH = np.radians(28.0), np.radians(22.0)  # where the first picture is seen from
EYE_RADII = 3.2  # the eye's distance from the middle, in radii of the scene: nothing comes behind it
NEAR_ORIGIN = 4.0  # radii within which the world's origin is shown
WIDEST = np.radians(75.0)  # of a fisheye's rays as drawn
LETTER_PX, LINE_PX = 7.4, 15.0  # of a label


@dataclass(frozen=True)
class View:
    """Where the scene is seen from: turned about its middle, zoomed and moved on the paper.

    Attributes:
        centre: Point of the world that is turned about, m.
        radius: Of the scene, m.
        yaw: Of the eye about +y from +z towards +x, rad.
        pitch: Of the eye above the horizon, rad.
        zoom: 1 shows a sphere of ``radius`` as high as the picture.
        x, y: Move on the paper, px.
    """

    centre: tuple[float, float, float]
    radius: float
    yaw: float = float(YAW)
    pitch: float = float(PITCH)
    zoom: float = 1.0
    x: float = 0.0
    y: float = 0.0

    def project(self, points: FloatArray) -> FloatArray:
        """World points, shape (n, 3), to the paper: x and y, px, and the distance along the line of sight, m."""
        sin_yaw, cos_yaw, sin_pitch, cos_pitch = (f(a) for a in (self.yaw, self.pitch) for f in (np.sin, np.cos))
        right = np.array([cos_yaw, 0.0, -sin_yaw])
        up = np.array([-sin_pitch * sin_yaw, cos_pitch, -sin_pitch * cos_yaw])
        back = np.array([cos_pitch * sin_yaw, sin_pitch, cos_pitch * cos_yaw])
        around = points - np.array(self.centre)
        depth = EYE_RADII * self.radius - around @ back
        scale = self.zoom * HEIGHT / 2 * np.sqrt(EYE_RADII**2 - 1) / depth
        x, y = WIDTH / 2 + self.x + around @ right * scale, HEIGHT / 2 + self.y - around @ up * scale
        return np.column_stack([x, y, depth])


@dataclass(frozen=True, eq=False)
class SceneCamera:
    """A camera as drawn: its id, its lines, what is said of it, the rows of the boards it saw, how it is marked."""

    id: str
    lines: Lines
    words: str
    boards: tuple[int, ...]
    css: str

    @property
    def place(self) -> FloatArray:
        """Its optical centre: where its label is and where a click finds it."""
        return np.asarray(self.lines[0][0])


@dataclass(frozen=True, eq=False)
class Scene:
    """What is drawn: lines by class, cameras, names at points, the view of the first picture."""

    lines: Mapping[str, Lines]
    cameras: tuple[SceneCamera, ...]
    names: tuple[tuple[str, FloatArray], ...]
    step_m: float
    view: View


def make_scene(
    cameras: Sequence[Camera],
    boards: Sequence[FloatArray],
    lights: FloatArray,
    about: Sequence[tuple[str, tuple[int, ...], str]],
) -> Scene:
    """Lay out cameras, boards and lights.

    Args:
        cameras: At least one, calibrated.
        boards: Outlines in the world, each shape (corner, 3), m.
        lights: Places of LEDs, shape (led, 3), m; may be empty.
        about: For each camera words, rows of the boards it saw, and a class.
    """
    centres = np.array([camera.centre for camera in cameras])
    reach = _reach(centres)
    frusta = [_frustum(camera, reach) for camera in cameras]
    shown = np.concatenate([centres, *boards, lights.reshape(-1, 3)])
    extent = float(np.ptp(shown, axis=0).max()) + reach
    near = float(np.abs(shown).max(axis=1).min()) < NEAR_ORIGIN * extent
    step = _step(extent)
    lines: dict[str, Lines] = {"floor": [], "x": [], "y": [], "z": []}
    names: list[tuple[str, FloatArray]] = []
    if near:
        shown = np.concatenate([shown, np.zeros((1, 3))])
        lines["floor"] = _floor(shown, step)
        for name, tip in zip("xyz", np.eye(3) * step, strict=True):
            lines[name] = [np.array([np.zeros(3), tip])]
            names.append((name, tip * 1.12))
    lines["boards"] = [np.concatenate([board, board[:1]]).round(4) for board in boards]
    lines["seen"] = []
    lines["lights"] = [np.array([light, light]).round(4) for light in lights]
    drawn = tuple(
        SceneCamera(camera.id, frustum, words, rows, css)
        for camera, frustum, (words, rows, css) in zip(cameras, frusta, about, strict=True)
    )
    tips = [tip[None] for _, tip in names]
    points = np.concatenate([shown, *tips, *(line for frustum in frusta for line in frustum)])
    return Scene(lines, drawn, tuple(names), step, _fitted(points))


def _reach(centres: FloatArray) -> float:
    """How long a frustum is drawn, m: cameras beside each other stay apart."""
    if len(centres) == 1:
        return 0.3
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    size = float(np.linalg.norm(np.ptp(centres, axis=0)))
    return max(min(0.1 * size, 0.8 * float(np.median(apart.min(axis=1)))), 0.02 * size, 0.01)


def _frustum(camera: Camera, reach: float) -> Lines:
    """The pyramid of a camera's sight, with a tick over the picture's upper edge; the lens' distortion is not drawn."""
    (fx, fy), (cx, cy) = np.diag(camera.intrinsics)[:2], camera.intrinsics[:2, 2]
    across = (np.array([0, camera.width, camera.width / 2, camera.width, 0]) - 0.5 - cx) / fx
    down = (np.array([0, 0, 0, camera.height, camera.height]) - 0.5 - cy) / fy
    if camera.model == "fisheye4":
        angle = np.hypot(across, down)
        stretch = np.tan(np.minimum(angle, WIDEST)) / np.maximum(angle, 1e-9)
        across, down = across * stretch, down * stretch
    rays = np.column_stack([across, down, np.ones(5)])
    rays *= reach / np.linalg.norm(rays[[0, 1, 3, 4]], axis=1).max()
    rays[2, 1] -= 0.3 * abs(rays[3, 1] - rays[1, 1])
    upper_left, upper_right, tick, lower_right, lower_left = (
        rays @ camera.world_from_camera[:3, :3].T + camera.centre
    ).round(4)
    apex = camera.centre.round(4)
    return [
        np.array([apex, upper_left, upper_right, apex, lower_right, lower_left, apex]),
        np.array([upper_right, lower_right]),
        np.array([lower_left, upper_left, tick, upper_right]),
    ]


def _step(extent: float) -> float:
    """A round grid step, m."""
    ticks = nice_ticks(0, extent, 9)
    return ticks[1] - ticks[0]


def _floor(shown: FloatArray, step: float) -> Lines:
    """Lines of the plane y = 0 under everything that is shown."""
    low = np.floor(shown[:, [0, 2]].min(axis=0) / step) * step
    high = np.ceil(shown[:, [0, 2]].max(axis=0) / step) * step
    xs, zs = (np.arange(start, stop + step / 2, step) for start, stop in zip(low, high, strict=True))
    lines = [np.array([[x, 0, low[1]], [x, 0, high[1]]]) for x in xs]
    return [line.round(4) for line in [*lines, *(np.array([[low[0], 0, z], [high[0], 0, z]]) for z in zs)]]


def _fitted(points: FloatArray) -> View:
    """The first view, with ``points`` filling the picture."""
    low, high = points.min(axis=0), points.max(axis=0)
    x, y, z = ((low + high) / 2).round(4).tolist()
    radius = round(float(np.linalg.norm(points - (x, y, z), axis=1).max()), 4) or 1.0
    view = View((x, y, z), radius)
    seen = view.project(points)[:, :2] - (WIDTH / 2, HEIGHT / 2)
    low, high = seen.min(axis=0), seen.max(axis=0)
    zoom = float(((np.array([WIDTH, HEIGHT]) - 2 * MARGIN) / np.maximum(high - low, 1e-6)).min())
    move = -(low + high) / 2 * zoom
    return replace(view, zoom=round(zoom, 4), x=round(float(move[0]), 2), y=round(float(move[1]), 2))


def shown_labels(places: FloatArray, names: Sequence[str]) -> list[bool]:
    """Which labels are written: of two that would cover each other, the nearer one.

    Args:
        places: On the paper, shape (camera, 3), as `View.project` gives them.
        names: Of the cameras.
    """
    taken: list[tuple[float, float, float]] = []
    shown = [False] * len(names)
    for row in np.argsort(places[:, 2], kind="stable"):
        left, y, right = places[row, 0], places[row, 1], places[row, 0] + LETTER_PX * len(names[row])
        if all(right < other[0] or left > other[2] or abs(y - other[1]) > LINE_PX for other in taken):
            shown[row] = True
            taken.append((left, y, right))
    return shown


def scene_svg(scene: Scene, what: str) -> str:
    """The first picture; the script draws into its elements."""
    view = scene.view
    parts = [f'<path class="{name}" d="{_path(view, lines)}"/>' for name, lines in scene.lines.items()]
    for name, point in scene.names:
        x, y, _ = view.project(point[None])[0]
        parts.append(f'<text class="axis {name}" x="{x:.1f}" y="{y:.1f}">{name}</text>')
    places = view.project(np.array([camera.place for camera in scene.cameras]))
    depth = places[:, 2]
    faint = 0.55 * (depth - depth.min()) / max(float(np.ptp(depth)), 1e-9)
    labels = shown_labels(places, [camera.id for camera in scene.cameras])
    for camera, (x, y, _), written, fade in zip(scene.cameras, places, labels, faint, strict=True):
        name = escape(camera.id, quote=True)
        off = "" if written else ' class="off"'
        label = f'<text x="{x + 8:.1f}" y="{y - 8:.1f}"{off}>{name}</text>'
        path = f'<path d="{_path(view, camera.lines)}"/>'
        css = f"camera {camera.css}".strip()
        parts.append(f'<g class="{css}" data-camera="{name}" opacity="{1 - fade:.2f}">{path}{label}</g>')
    about = f'role="img" aria-label="{escape(what, quote=True)}"'
    return f'<svg id="space" viewBox="0 0 {WIDTH} {HEIGHT}" {about}>{"".join(parts)}</svg>'


def _path(view: View, lines: Lines) -> str:
    return "".join("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in view.project(line)) for line in lines)


def scene_json(scene: Scene) -> str:
    """The scene for the script, to stand inside a script element."""
    found: dict[str, Any] = {
        "width": WIDTH,
        "height": HEIGHT,
        "margin": MARGIN,
        "eye": EYE_RADII,
        "letter": LETTER_PX,
        "line": LINE_PX,
        "view": asdict(scene.view),
        "lines": {name: [line.tolist() for line in lines] for name, lines in scene.lines.items()},
        "names": [[name, point.tolist()] for name, point in scene.names],
        "cameras": [
            {
                "id": camera.id,
                "lines": [line.tolist() for line in camera.lines],
                "place": camera.place.round(4).tolist(),
                "words": camera.words,
                "boards": camera.boards,
            }
            for camera in scene.cameras
        ],
    }
    return json.dumps(found, separators=(",", ":")).replace("<", "\\u003c")

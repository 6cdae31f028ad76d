"""Points whose places in the world are marked: a rig is brought to them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from litdome.calib.world import Placement, rigid
from litdome.errors import CalibrationError
from litdome.geometry import Rig

FloatArray = npt.NDArray[np.float64]
MAX_POINT_PX = 5.0  # root mean square between where cameras see a point and where it is
MAX_POINT_M = 0.05  # root mean square between marked and seen places
MIN_POINTS, MIN_TRIANGLE = 3, 0.05  # second singular value of the points' spread, of the first
SCALE_TOLERANCE = 0.005  # beyond it the rig's scale and the marks' contradict each other


@dataclass(frozen=True, eq=False)
class MarkedPoint:
    """A point of the world that can be seen: a cross of tape on the floor, the tip of a stand.

    Attributes:
        name: As in the file.
        world_m: Its place, shape (3,), metres.
        pixels: Where cameras see it, (x, y) px of the stored picture by camera id.
    """

    name: str
    world_m: FloatArray
    pixels: Mapping[str, FloatArray]


def place_by_points(rig: Rig, points: Sequence[MarkedPoint], *, free_scale: bool = False) -> Placement:
    """The world of marked points: similarity that brings what cameras see to where the marks are.

    Args:
        rig: Cameras at the stored size.
        points: At least three, not on one line, each seen by two cameras or more.
        free_scale: Take the scale from the marks; else the rig keeps its own (a board's) and a contradiction is told.

    Raises:
        CalibrationError: Too few points, on one line, a camera that the rig lacks, or marks that contradict the rig.
    """
    places = np.array([_triangulated(rig, point) for point in points])
    marks = np.array([point.world_m for point in points])
    if len(points) < MIN_POINTS:
        raise CalibrationError(f"{len(points)} marked points < {MIN_POINTS}", hint="mark three or more on the floor")
    spread = np.linalg.svd(marks - marks.mean(axis=0), compute_uv=False)
    if spread[1] < MIN_TRIANGLE * spread[0]:
        raise CalibrationError("the marked points lie on one line: up is unknown", hint="mark one beside it")
    rotation, own_scale = _similarity(places, marks)
    scale = own_scale if free_scale else 1.0
    shift = marks.mean(axis=0) - scale * rotation @ places.mean(axis=0)
    error = np.linalg.norm(scale * places @ rotation.T + shift - marks, axis=1)
    rms = float(np.sqrt((error**2).mean()))
    if rms > MAX_POINT_M:
        worst = points[int(np.argmax(error))].name
        raise CalibrationError(
            f"marked points: {1000 * rms:.0f} mm > {1000 * MAX_POINT_M:.0f} mm, worst {worst}; the cameras see lengths "
            f"{own_scale:.4f} of the marks'",
            hint="check names and world_m; --set calibrate.free_scale=true where the rig has no scale",
        )
    warnings: tuple[str, ...] = ()
    if not free_scale and abs(own_scale - 1) > SCALE_TOLERANCE:
        warnings = (f"marks say that lengths are {100 * (own_scale - 1):+.2f} % of the rig's; the rig's are kept",)
    words = f"floor, up, front and origin from {len(points)} marked points, {1000 * rms:.1f} mm"
    return Placement(rigid(rotation, shift), words + (f", scale {scale:.5f}" if free_scale else ""), scale, warnings)


def read_points(path: Path) -> tuple[MarkedPoint, ...]:
    """Marked points of a TOML file: ``[points.NAME]`` with ``world_m = [x, y, z]`` and ``CAMERA = [x, y]`` px each.

    Raises:
        CalibrationError: Unreadable, or not such a file (names the point).
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("points")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CalibrationError(f"{path}: cannot be read ({reason})", hint="docs/calibration.md shows one") from error
    if not isinstance(tables, dict) or not tables:
        raise CalibrationError(f"{path}: no [points.NAME] in it", hint="docs/calibration.md shows one")
    found = []
    for name, table in tables.items():
        if not isinstance(table, dict) or "world_m" not in table:
            raise CalibrationError(f"{path}: point {name} has no world_m", hint="world_m = [0, 0, 0], metres")
        pixels = {id: _numbers(path, name, id, table[id], 2) for id in table if id != "world_m"}
        found.append(MarkedPoint(name, _numbers(path, name, "world_m", table["world_m"], 3), pixels))
    return tuple(found)


def _numbers(path: Path, point: str, key: str, values: Any, count: int) -> FloatArray:
    good = isinstance(values, list) and len(values) == count
    if not good or not all(type(v) in (int, float) and np.isfinite(v) for v in values):
        raise CalibrationError(f"{path}: point {point}: {key} = {values}, expected {count} numbers")
    return np.array(values, np.float64)


def _triangulated(rig: Rig, point: MarkedPoint) -> FloatArray:
    """Where cameras see a marked point, in the rig's frame, shape (3,)."""
    unknown = [id for id in point.pixels if id not in rig.ids]
    if unknown or len(point.pixels) < 2:
        problem = f"no camera {unknown[0]} in the rig" if unknown else f"seen by {len(point.pixels)} cameras < 2"
        raise CalibrationError(f"marked point {point.name}: {problem}", hint=f"the rig has {', '.join(rig.ids)}")
    cameras = [rig[id] for id in point.pixels]
    rays = np.concatenate([c.ray_directions(p[None]) for c, p in zip(cameras, point.pixels.values(), strict=True)])
    across = np.eye(3) - rays[:, :, None] * rays[:, None, :]
    place = np.linalg.solve(across.sum(axis=0), np.einsum("nij,nj->i", across, np.stack([c.centre for c in cameras])))
    pixels = np.stack(list(point.pixels.values()))

    def residual(at: FloatArray) -> FloatArray:
        return np.concatenate([camera.project(at[None]) for camera in cameras]) - pixels

    place = least_squares(lambda at: residual(at).ravel(), place).x
    rms = float(np.sqrt((residual(place) ** 2).sum(axis=1).mean()))
    if rms > MAX_POINT_PX:
        raise CalibrationError(
            f"marked point {point.name}: {rms:.1f} px > {MAX_POINT_PX:.1f} px over {', '.join(point.pixels)}",
            hint="is it the same point in all pictures, in px of the stored ones?",
        )
    return np.asarray(place)


def _similarity(points: FloatArray, marks: FloatArray) -> tuple[FloatArray, float]:
    """Rotation and scale that bring centred ``points`` to ``marks``, both (n, 3). Source: Umeyama 1991."""
    seen, meant = points - points.mean(axis=0), marks - marks.mean(axis=0)
    u, singular, vt = np.linalg.svd(meant.T @ seen)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    return np.asarray(u * sign @ vt), float((singular * sign).sum() / (seen**2).sum())

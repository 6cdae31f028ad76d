"""Tables of a rig: every lens parameter and every pose with its standard deviation."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.geometry import Camera, Rig

FloatArray = npt.NDArray[np.floating[Any]]
LENS_NAMES = ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
FISHEYE_NAMES = ("fx", "fy", "cx", "cy", "k1", "k2", "k3", "k4")
SHARED = {"f": ("fx", "fy"), "aspect": ("fy",)}  # what calibrate frees under one name
UNKNOWN = "–"


@dataclass(frozen=True)
class Cell:
    """A number, its standard deviation, and how it was found: ``refined`` with the poses, ``weak``, or empty."""

    value: str
    std: str
    css: str = ""


@dataclass(frozen=True)
class LensRow:
    """The lens of a camera; one cell for each column, None where its model has no such parameter."""

    id: str
    about: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class PlaceRow:
    """Where a camera is and where it looks."""

    id: str
    place: Cell
    turn: Cell
    neighbour: str
    views: str
    rms: str


def with_std(value: float, std: float) -> Cell:
    """A number to the digits that its standard deviation leaves: 1834.23 ± 0.42."""
    if not np.isfinite(std) or std <= 0:
        return Cell(f"{value:.5g}" if abs(value) < 100 else f"{value:.2f}", "held" if std == 0 else UNKNOWN)
    digits = int(max(0, min(7, 1 - np.floor(np.log10(std)))))
    return Cell(f"{value:.{digits}f}", f"± {std:.{digits}f}" if std < 10 else f"± {std:.0f}")


def lens_table(
    rig: Rig, std: FloatArray, freed: Mapping[str, Collection[str]], weak: Mapping[str, Collection[str]]
) -> tuple[tuple[str, ...], tuple[LensRow, ...]]:
    """Columns and rows of the lens parameters that any camera of the rig has.

    Args:
        rig: The cameras.
        std: Standard deviations in the order of `LENS_NAMES` (fisheye4: `FISHEYE_NAMES`), shape (camera, 12).
        freed: By camera, parameters that were found together with the poses.
        weak: By camera, parameters that the boards hardly show.
    """
    names = [FISHEYE_NAMES if camera.model == "fisheye4" else LENS_NAMES for camera in rig.cameras]
    values = [_lens_values(camera) for camera in rig.cameras]
    has = {
        name
        for camera, own, row in zip(rig.cameras, names, values, strict=True)
        for name, value in zip(own, row, strict=False)
        if value or name in ("fx", "fy", "cx", "cy", "k1", "k2")
    }
    columns = tuple(name for name in LENS_NAMES if name in has)
    rows = []
    for row, (camera, own) in enumerate(zip(rig.cameras, names, strict=True)):
        marks = {name: "refined" for name in _spelled(freed.get(camera.id, ()))}
        marks |= {name: "weak" for name in _spelled(weak.get(camera.id, ()))}
        cells = []
        for name in columns:
            at = own.index(name) if name in own else None
            found = None if at is None else with_std(values[row][at], float(std[row, at]))
            cells.append(None if found is None else Cell(found.value, found.std, marks.get(name, "")))
        rows.append(LensRow(camera.id, f"{camera.model}, {camera.width} × {camera.height}", tuple(cells)))
    return columns, tuple(rows)


def _lens_values(camera: Camera) -> list[float]:
    k = camera.intrinsics
    return [float(value) for value in (k[0, 0], k[1, 1], k[0, 2], k[1, 2], *camera.distortion)]


def _spelled(names: Collection[str]) -> list[str]:
    return [one for name in names for one in SHARED.get(name, (name,))]


def place_table(rig: Rig, std: FloatArray, views: Sequence[str], rms: FloatArray) -> tuple[PlaceRow, ...]:
    """Where the cameras are.

    Args:
        rig: The cameras.
        std: Of rotation (rad) and translation (m), shape (camera, 6).
        views: What is said of each camera's board views.
        rms: Residual by camera, px, shape (camera,); NaN where not known.
    """
    centres = np.array([camera.centre for camera in rig.cameras])
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    rows = []
    for row, camera in enumerate(rig.cameras):
        turn_std, place_std = (float(np.linalg.norm(std[row, part])) for part in (slice(0, 3), slice(3, 6)))
        nearest = int(apart[row].argmin())
        rows.append(
            PlaceRow(
                id=camera.id,
                place=Cell(_listed(camera.centre, 3, ""), _size(1000 * place_std, " mm")),
                turn=Cell(_listed(turn_degrees(camera), 1, "°"), _size(np.degrees(turn_std), "°")),
                neighbour=f"{rig.cameras[nearest].id}, {apart[row, nearest]:.3f} m"
                if len(rig.cameras) > 1
                else UNKNOWN,
                views=views[row],
                rms=f"{rms[row]:.2f}" if np.isfinite(rms[row]) else UNKNOWN,
            )
        )
    return tuple(rows)


def turn_degrees(camera: Camera) -> tuple[float, float, float]:
    """Where a camera looks, degrees: heading about +y from world +z towards +x, above the horizon, right side up."""
    right, up, forward = (
        camera.world_from_camera[:3, 0],
        -camera.world_from_camera[:3, 1],
        camera.world_from_camera[:3, 2],
    )
    heading, roll = np.degrees(np.arctan2(forward[0], forward[2])), np.degrees(np.arctan2(right[1], up[1]))
    above = np.degrees(np.arcsin(np.clip(forward[1], -1, 1)))
    return float(heading), float(above), float(roll)


def _listed(values: Iterable[float], digits: int, unit: str) -> str:
    return ", ".join(f"{round(float(value), digits) + 0.0:.{digits}f}{unit}" for value in values)  # no -0.0


def _size(std: float, unit: str) -> str:
    if not np.isfinite(std):
        return UNKNOWN
    return f"± {std:.2g}{unit}" if std > 0 else "held"

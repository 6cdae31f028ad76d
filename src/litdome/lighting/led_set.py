"""The stage's LEDs: where they are, which of them work, and the Goliath-style json that says so."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from litdome.errors import CalibrationError

FloatArray = npt.NDArray[np.float64]
Axes = Literal["y-up", "y-down", "z-up"]
WORLD_FROM_AXES: dict[str, FloatArray] = {
    "y-up": np.eye(3),
    "y-down": np.diag([1.0, -1.0, -1.0]),
    "z-up": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
}
FEWEST_LEDS = 12  # an icosahedron: 63 degrees apart; fewer tell nothing of where light comes from
MOST_LEDS = 4096  # a drive takes time by the cube of their number: 5 s at 1,024
ROUND = 0.1  # of the radius: LEDs farther off their sphere have no centre that could be found
FARTHEST_MM = 1e6
LARGEST_BYTES = 64 * 2**20


@dataclass(frozen=True, eq=False)
class LedSet:
    """The LEDs of a stage, in the world (+y up, metres).

    Attributes:
        positions_m: Shape (light, 3).
        centre_m: Where the subject stands, shape (3,): directions and reach are seen from there.
        valid: Shape (light,), bool: False for dead LEDs and those that must stay dark.
        arcs: How many LEDs each arc of the stage holds, in order; their sum is the number of LEDs.
    """

    positions_m: FloatArray
    centre_m: FloatArray
    valid: npt.NDArray[np.bool_]
    arcs: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.positions_m)

    @property
    def directions(self) -> FloatArray:
        """Towards each LED from the centre, shape (light, 3), unit."""
        away = self.positions_m - self.centre_m
        return cast(FloatArray, away / np.linalg.norm(away, axis=1, keepdims=True))

    @property
    def spacing(self) -> float:
        """Median angle from a working LED to the nearest other one, rad."""
        lit = self.directions[self.valid]
        chords = cKDTree(lit).query(lit, k=2)[0][:, 1]
        return float(np.median(2 * np.arcsin(chords / 2)))

    def without(self, lights: Iterable[int]) -> LedSet:
        """The same stage with some LEDs dark.

        Raises:
            CalibrationError: A number that no LED has, or too few LEDs left.
        """
        valid = self.valid.copy()
        for light in lights:
            if not 0 <= light < len(self):
                raise CalibrationError(f"LED {light}: the stage has LEDs 0 to {len(self) - 1}")
            valid[light] = False
        _need_enough("the stage", valid)
        return replace(self, valid=valid)


def led_set(
    positions_m: FloatArray,
    *,
    centre_m: FloatArray | None = None,
    valid: npt.NDArray[np.bool_] | None = None,
    arcs: tuple[int, ...] | None = None,
    name: str = "LEDs",
) -> LedSet:
    """LEDs at ``positions_m``, shape (light, 3), world.

    Args:
        positions_m: Shape (light, 3).
        centre_m: Where the subject stands; by default the centre of the sphere that the LEDs lie on.
        valid: Shape (light,); all work by default.
        arcs: LEDs by arc; by default one arc.
        name: What errors call them.

    Raises:
        CalibrationError: Too few or too many, two at one place, not on a sphere (and no centre given), arcs that do not
            add up.
    """
    count = len(positions_m)
    if count > MOST_LEDS:
        raise CalibrationError(
            f"{name}: {count:,} LEDs, at most {MOST_LEDS:,}", hint="one position for each group of LEDs"
        )
    valid = np.ones(count, bool) if valid is None else valid
    _need_enough(name, valid)
    arcs = (count,) if arcs is None else arcs
    if sum(arcs) != count:
        raise CalibrationError(f"{name}: arcs of {sum(arcs)} LEDs, but {count} positions", hint="correct light_arcs")
    leds = LedSet(positions_m, _sphere_centre(name, positions_m) if centre_m is None else centre_m, valid, arcs)
    if not np.linalg.norm(positions_m - leds.centre_m, axis=1).all():
        raise CalibrationError(f"{name}: an LED at the centre of the stage", hint="correct its position or the centre")
    twice = sorted(cKDTree(leds.directions).query_pairs(1e-6))
    if twice:
        raise CalibrationError(f"{name}: LEDs {twice[0][0]} and {twice[0][1]} lie in one direction")
    return leds


def read_leds(file: Path, *, axes: Axes | None = None, centre_mm: FloatArray | None = None) -> LedSet:
    """Read the LEDs of a Goliath-style lights json.

    Args:
        file: ``light_positions`` [[x, y, z] mm], and optionally ``light_axes`` (y-up, y-down, z-up), ``light_centre``
            [x, y, z] mm, ``light_valid`` [true, ...] and ``light_arcs`` [14, ...].
        axes: Of the file's positions, where it does not say them itself.
        centre_mm: Where the subject stands, in the file's axes, before what the file says.

    Raises:
        CalibrationError: Unreadable, without positions, with too few, or nobody says which axis points up.
    """
    content = read_json(file)
    positions = _rows(file, "light_positions", content.get("light_positions"), 3)
    said = content.get("light_axes")
    if said is not None and (not isinstance(said, str) or said not in WORLD_FROM_AXES):
        raise CalibrationError(f"{file}: light_axes is {str(said)[:40]!r}", hint=f"one of {', '.join(WORLD_FROM_AXES)}")
    if said is not None and axes is not None and axes != said:
        raise CalibrationError(f"{file}: says {said}, not {axes}", hint=f"--axes {said}, or leave it out")
    known = axes or said
    if known is None:
        raise CalibrationError(
            f"{file}: does not say which axis points up (light_axes)", hint="--axes y-up, y-down or z-up"
        )
    turn = WORLD_FROM_AXES[known]
    centre = centre_mm
    if centre is None and content.get("light_centre") is not None:
        centre = _rows(file, "light_centre", [content["light_centre"]], 3)[0]
    return led_set(
        positions @ turn.T / 1e3,
        centre_m=None if centre is None else turn @ centre / 1e3,
        valid=_valid_flags(file, content.get("light_valid"), len(positions)),
        arcs=_arcs(file, content.get("light_arcs")),
        name=str(file),
    )


def leds_as_json(leds: LedSet) -> dict[str, Any]:
    """What `read_leds` reads back, to the micrometre."""
    return {
        "light_axes": "y-up",
        "light_positions": np.round(leds.positions_m * 1e3, 3).tolist(),
        "light_centre": np.round(leds.centre_m * 1e3, 3).tolist(),
        "light_valid": leds.valid.tolist(),
        "light_arcs": list(leds.arcs),
    }


def _need_enough(name: str, valid: npt.NDArray[np.bool_]) -> None:
    if valid.sum() < FEWEST_LEDS:
        raise CalibrationError(f"{name}: {int(valid.sum())} working LEDs, at least {FEWEST_LEDS} are needed")


def _sphere_centre(name: str, positions: FloatArray) -> FloatArray:
    """Centre of the sphere nearest to ``positions``, shape (3,): 2 p . c + (r^2 - c^2) = p^2 in least squares."""
    columns = np.concatenate([2 * positions, np.ones((len(positions), 1))], axis=1)
    solution, _, rank, _ = np.linalg.lstsq(columns, (positions**2).sum(axis=1), rcond=1e-9)
    radius = np.linalg.norm(positions - solution[:3], axis=1)
    spread = float(np.abs(radius / radius.mean() - 1).max()) if rank == 4 else np.inf
    if not spread <= ROUND:
        off = "lie in a plane" if rank < 4 else f"are up to {100 * spread:.0f} % off their sphere"
        raise CalibrationError(
            f"{name}: its LEDs {off}, so the centre of the stage is not known", hint="--centre X,Y,Z (mm)"
        )
    return cast(FloatArray, solution[:3])


def read_json(file: Path) -> dict[str, Any]:
    """The content of a lights json.

    Raises:
        CalibrationError: Unreadable, too large, not JSON, or without ``light_positions``.
    """
    try:
        size = file.stat().st_size
        content = json.loads(file.read_text(encoding="utf-8-sig")) if size <= LARGEST_BYTES else None
    except OSError as error:
        raise CalibrationError(f"{file}: cannot be read ({error.strerror})", hint="is the path right?") from error
    except (ValueError, RecursionError) as error:
        raise CalibrationError(f"{file}: not JSON ({str(error)[:80]})", hint="a Goliath-style lights json") from error
    if not isinstance(content, dict) or "light_positions" not in content:
        raise CalibrationError(f"{file}: no light_positions in it", hint="[[x, y, z] in mm, ...], one per LED")
    return content


def _rows(file: Path, key: str, listed: object, width: int) -> FloatArray:
    try:
        rows = np.array(listed, np.float64)
    except (ValueError, TypeError) as error:
        raise CalibrationError(f"{file}: {key} is not a list of {width} numbers each") from error
    if rows.ndim != 2 or rows.shape[1] != width or not np.isfinite(rows).all():
        raise CalibrationError(f"{file}: {key} is not a list of {width} finite numbers each")
    if np.abs(rows).max(initial=0) > FARTHEST_MM:
        raise CalibrationError(f"{file}: {key} beyond {FARTHEST_MM / 1e6:g} km", hint="millimetres")
    return rows


def _valid_flags(file: Path, listed: object, count: int) -> npt.NDArray[np.bool_] | None:
    if listed is None:
        return None
    if not isinstance(listed, list) or len(listed) != count or not all(isinstance(flag, bool) for flag in listed):
        raise CalibrationError(f"{file}: light_valid is not {count} times true or false")
    return np.array(listed, bool)


def _arcs(file: Path, listed: object) -> tuple[int, ...] | None:
    if listed is None:
        return None
    if not isinstance(listed, list) or not all(type(count) is int and count > 0 for count in listed):
        raise CalibrationError(f"{file}: light_arcs is not a list of numbers of LEDs")
    return tuple(listed)

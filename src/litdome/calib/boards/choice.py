"""Which views of a board to calibrate with: those that cover the picture, from many sides, sharp ones first."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from litdome.calib.boards.spec import BoardSpec, BoardTake, BoardView, FloatArray

CELLS = (8, 8)  # rows, columns of the picture for coverage
THIRDS = ((1, ("left", "centre", "right")), (0, ("upper", "middle", "lower")))  # axis of coverage, names
FEW_IN_THIRD = 0.1  # of the cells of a third: below, the lens is not known there
TILT_STEP, SCALE_STEP = 0.25, 1.5  # steps of foreshortening and of size that count as another side and another distance
PAIR, PAIR_WORTH = "with ", 8.0  # a pair of cameras that see the board together counts as this many cells
ENOUGH = 3  # views of a cell, or of a side: more of the same tell little
SHARP_PERCENTILE = 90  # of a take's sharpness: what that camera can do, however many of its pictures are blurred
BLURRED = 0.35  # of that: such a board moved; leaving milder ones out cost real takes more than it gave
ENOUGH_SHARP = 10  # views: with these, blurred ones count only where they connect cameras


def choose_views(take: BoardTake, count: int) -> tuple[int, ...]:
    """Up to ``count`` views for one camera's lens, rising: each in turn the one that adds most to those before it.

    A view adds the picture cells that its corners fall in, and the side and distance it shows the board from; the
    sharper one of equals is taken, and a blurred one only where there are few sharp ones.

    Args:
        take: The views to choose from.
        count: How many.
    """
    marks = {number: {"": _marks(view, take.spec, take.size)} for number, view in take.views.items()}
    return _greedy(marks, _sharpness({"": take}), count)


def choose_joint_views(takes: Mapping[str, BoardTake], count: int) -> tuple[int, ...]:
    """Up to ``count`` views for the poses of all cameras, rising.

    A view adds the pairs of cameras that see the board in it, then what it adds to the coverage of each camera. One
    that is blurred is left out where there are enough sharp ones, unless it connects cameras that those do not.

    Args:
        takes: By camera; equal numbers are one instant.
        count: How many.
    """
    marks: dict[int, dict[str, frozenset[str]]] = {}
    for id, take in takes.items():
        for number, view in take.views.items():
            marks.setdefault(number, {})[id] = _marks(view, take.spec, take.size)
    for of_view in marks.values():
        ids = sorted(of_view)
        for id in ids:
            of_view[id] = of_view[id] | {f"{PAIR}{other}" for other in ids if other != id}
    shared = {number: of_view for number, of_view in marks.items() if len(of_view) > 1}
    return _greedy(shared or marks, _sharpness(takes), count)


def coverage(take: BoardTake, cells: tuple[int, int] = CELLS) -> npt.NDArray[np.int64]:
    """How many corners of a take fell in each cell of the picture, shape (rows, columns)."""
    pixels = [view.pixels for view in take.views.values()]
    return cell_counts(np.concatenate(pixels) if pixels else np.zeros((0, 2)), take.size, cells)


def cell_counts(pixels: FloatArray, size: tuple[int, int], cells: tuple[int, int] = CELLS) -> npt.NDArray[np.int64]:
    """How many points, shape (n, 2), px, fall in each cell of a picture of (width, height), shape (rows, columns)."""
    row, column = _cells(pixels, size, cells)
    counts = np.zeros(cells, np.int64)
    np.add.at(counts, (row, column), 1)
    return counts


def coverage_words(counts: npt.NDArray[np.int64]) -> str:
    """What part of the picture was not covered, in words: "the left third was never covered"; empty if all was.

    Args:
        counts: Corners by cell, shape (rows, columns), from `coverage`.
    """
    if not counts.any():
        return "no part of the picture was covered"
    said = []
    for axis, names in THIRDS:
        for name, part in zip(names, np.array_split(counts, 3, axis=axis), strict=True):
            if np.mean(part > 0) < FEW_IN_THIRD:
                said.append(f"the {name} third was {'hardly' if part.any() else 'never'} covered")
    return ", ".join(said)


def empty_thirds(counts: npt.NDArray[np.int64]) -> tuple[str, ...]:
    """Thirds of the picture, ``left`` to ``lower``, in which no corner fell; counts from `coverage`."""
    parts = [part for axis, names in THIRDS for part in zip(names, np.array_split(counts, 3, axis=axis), strict=True)]
    return tuple(name for name, part in parts if not part.any())


def _cells(
    pixels: FloatArray, size: tuple[int, int], cells: tuple[int, int]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Row and column of the cell that each point falls in, each of shape (n,)."""
    place = (pixels + 0.5) / size * (cells[1], cells[0])
    column, row = np.clip(np.floor(place).astype(np.int64), 0, (cells[1] - 1, cells[0] - 1)).T
    return row, column


def _marks(view: BoardView, spec: BoardSpec, size: tuple[int, int]) -> frozenset[str]:
    """What a view shows: cells of the picture, and from which side and distance the board is seen."""
    row, column = _cells(view.pixels, size, CELLS)
    board = spec.points[view.ids, :2] / spec.square_m
    affine, *_ = np.linalg.lstsq(np.column_stack([board, np.ones(len(board))]), view.pixels, rcond=None)
    turn, (long, short), _ = np.linalg.svd(affine[:2].T)
    side = int((1 - short / long) / TILT_STEP)
    angle = int(np.degrees(np.arctan2(turn[1, 1], turn[0, 1])) % 180 // 45) if side else 0
    distance = int(np.log(max(long, 1e-9)) / np.log(SCALE_STEP))
    cells = {f"cell {r} {c}" for r, c in zip(row, column, strict=True)}
    return frozenset(cells | {f"side {side} {angle}", f"distance {distance}", f"board {side} {angle} {distance}"})


def _sharpness(takes: Mapping[str, BoardTake]) -> dict[int, float]:
    """By view, of the camera that sees it worst, against the sharpest pictures of that camera."""
    worst: dict[int, float] = {}
    for take in takes.values():
        usual = float(np.percentile(list(take.sharpness.values()), SHARP_PERCENTILE)) if take.sharpness else 1.0
        for number in take.views:
            worst[number] = min(worst.get(number, np.inf), take.sharpness.get(number, usual) / usual)
    return worst


def _greedy(
    marks: Mapping[int, Mapping[str, frozenset[str]]], sharpness: Mapping[int, float], count: int
) -> tuple[int, ...]:
    """The views, one after the other, whose marks have been seen least; marks by view and camera."""
    numbers = sorted(marks)
    flat = [{(id, mark) for id, of_camera in marks[n].items() for mark in of_camera} for n in numbers]
    columns = {key: k for k, key in enumerate(sorted(set().union(*flat)))}
    shows = np.zeros((len(numbers), len(columns)))
    for row, keys in zip(shows, flat, strict=True):
        row[[columns[key] for key in keys]] = 1
    connects = np.array([mark.startswith(PAIR) for _, mark in columns])
    worth = np.where(connects, PAIR_WORTH, 1.0)
    sharp = np.array([sharpness[n] for n in numbers])
    blurred = sharp < BLURRED
    seen, left = np.zeros(len(columns)), np.ones(len(numbers), bool)
    for chosen in range(min(count, len(numbers))):
        lacking = np.maximum(0, 1 - seen / ENOUGH)
        adds = shows @ (worth * (lacking + 1e-3 / (1 + seen)))
        if chosen >= ENOUGH_SHARP:
            adds[blurred] = shows[blurred] @ (worth * lacking * connects)
        best = int(np.argmax(np.where(left, adds * sharp, -1)))
        if adds[best] <= 0:
            break
        left[best] = False
        seen += shows[best]
    return tuple(n for n, is_left in zip(numbers, left, strict=True) if not is_left)

"""The board in a take: which pictures show it, and where its corners are. What a board is: `board_spec`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from litdome.calib.boards.choice import choose_joint_views as choose_joint_views
from litdome.calib.boards.choice import choose_views as choose_views
from litdome.calib.boards.choice import coverage as coverage
from litdome.calib.boards.choice import coverage_words as coverage_words
from litdome.calib.boards.choice import empty_thirds as empty_thirds
from litdome.calib.boards.detect import VARIANTS as VARIANTS
from litdome.calib.boards.detect import detect_board as detect_board
from litdome.calib.boards.detect import find_board
from litdome.calib.boards.pictures import BoardPictures
from litdome.calib.boards.search import FAMILIES, fitting_chessboard, recognise
from litdome.calib.boards.spec import BoardSpec as BoardSpec
from litdome.calib.boards.spec import BoardTake as BoardTake
from litdome.calib.boards.spec import BoardView as BoardView
from litdome.calib.boards.spec import board_spec as board_spec
from litdome.calib.boards.spec import parse_board as parse_board
from litdome.errors import CalibrationError, InputError

MANY_VIEWS = 10  # in so many, every part of a board is seen once
SAMPLE = 8  # pictures that are looked at together for how the board is printed


def detect_take(
    source: Path,
    spec: BoardSpec,
    *,
    pictures: Sequence[int] | None = None,
    max_pictures: int = 100,
    variant: str | None = None,
) -> BoardTake:
    """Search a video or a folder for the board.

    How the board is printed and filmed is found on a few pictures spread over the take, then believed for all.

    Args:
        source: One camera's pictures; a folder's count as their names say.
        spec: The board; without a dictionary, all are tried.
        pictures: Numbers of the pictures to search, those that are there; None: all, evenly thinned.
        max_pictures: How many to search where none are named.
        variant: How another camera of the rig saw it: tried first, and nothing else if it is so.

    Raises:
        CalibrationError: No board in any picture (says what was tried), a board of another size, or pictures of
            different sizes.
        InputError: The source cannot be decoded.
    """
    held = BoardPictures.of(source)
    wanted = _thinned(held.numbers, max_pictures) if pictures is None else sorted(set(pictures) & set(held.numbers))
    if variant is not None and (spec.dictionary or spec.kind == "chessboard"):
        take = _search(held, wanted, spec, variant)
        if take.views:
            return take
    recognised = (spec, VARIANTS[0]) if spec.kind == "chessboard" else _recognised(held, wanted, spec)
    found = _search(held, wanted, *recognised) if recognised else None
    if found is None or not found.views:
        raise _not_found(held, wanted, spec)
    if found.spec == spec:
        return found
    return replace(found, said=f"{spec.dictionary or 'no dictionary'} given, {found.spec.dictionary} found")


def check_mirrored(takes: Mapping[str, BoardTake]) -> tuple[str, ...]:
    """Refuse a rig of which only some cameras mirror their pictures; warn where all do.

    Args:
        takes: By camera id. A mirrored board is seen as if from behind, so one camera alone does not notice.

    Raises:
        CalibrationError: Names the cameras that mirror.
    """
    mirrored = [id for id, take in takes.items() if "mirrored" in take.variant]
    if mirrored and len(mirrored) < len(takes):
        raise CalibrationError(
            f"camera{'s' * (len(mirrored) > 1)} {', '.join(mirrored)}: mirrored pictures, the others' are not",
            hint="turn mirroring off in the camera and film the boards again, or flip the footage",
        )
    return ("all pictures are mirrored: left and right of the stage are swapped in the rig",) if mirrored else ()


def check_size(takes: Mapping[str, BoardTake]) -> tuple[str, ...]:
    """A warning where no picture of any camera shows the last rows or columns of corners: there may be none."""
    views = [view for take in takes.values() for view in take.views.values()]
    if len(views) < MANY_VIEWS:
        return ()
    spec = next(iter(takes.values())).spec
    seen = np.zeros((spec.rows - 1, spec.columns - 1), bool)
    seen.ravel()[np.concatenate([view.ids for view in views])] = True
    rows, columns = (int(np.flatnonzero(seen.any(axis=axis))[-1]) + 2 for axis in (1, 0))
    if (columns, rows) == (spec.columns, spec.rows):
        return ()
    return (f"no picture shows a corner of {spec} beyond {columns}x{rows} squares: does the board have so few?",)


def _search(held: BoardPictures, wanted: Sequence[int], spec: BoardSpec, variant: str) -> BoardTake:
    views, sharpness, size, looked = {}, {}, (0, 0), 0
    for number, grey in held.read(wanted):
        size, looked = (grey.shape[1], grey.shape[0]), looked + 1
        found = find_board(grey, spec, variant)
        if found is not None:
            views[number], sharpness[number] = found
    if not looked:
        raise InputError(f"{held.source}: not one picture can be decoded", hint="copy it again; is the copy complete?")
    return BoardTake(size, views, looked, variant, sharpness, spec)


def _recognised(held: BoardPictures, wanted: Sequence[int], spec: BoardSpec) -> tuple[BoardSpec, str] | None:
    """The board as the pictures show it: its given markers in any sample, then any markers in the first samples."""
    samples = _samples(wanted)
    for sample, all_families in [*((s, False) for s in samples), *((s, True) for s in samples[:2] if spec.dictionary)]:
        found = recognise(
            [grey for _, grey in held.read(sample)], spec, all_families=all_families, where=str(held.source)
        )
        if found is not None:
            return found
    return None


def _samples(wanted: Sequence[int]) -> list[list[int]]:
    """The wanted pictures in samples of `SAMPLE`, each spread over the whole take."""
    count = -(-len(wanted) // SAMPLE)
    order = [int(f"{n:032b}"[::-1], 2) for n in range(count)]  # neighbouring samples come late
    return [list(wanted[k::count]) for k in np.argsort(order)] if count else []


def _thinned(numbers: Sequence[int], count: int) -> list[int]:
    if len(numbers) <= count:
        return list(numbers)
    return [numbers[k] for k in np.linspace(0, len(numbers) - 1, count).round().astype(int)]


def _not_found(held: BoardPictures, wanted: Sequence[int], spec: BoardSpec) -> CalibrationError:
    message = f"{held.source}: no {spec} in {len(wanted)} pictures"
    if spec.kind == "charuco":
        tried = f"tried as printed, inverted, mirrored, legacy pattern, {len(FAMILIES)} families of dictionaries"
        return CalibrationError(f"{message} ({tried})", hint="is the board sharp, lit and near enough? check [board]")
    sample = _samples(wanted)[0] if wanted else []
    fits = fitting_chessboard([grey for _, grey in held.read(sample)])
    if fits is None:
        return CalibrationError(message, hint="a chessboard must be wholly in the picture; check columns and rows")
    return CalibrationError(
        f"{message}; one of {fits[0]}x{fits[1]} squares seems to be there",
        hint=f"columns = {fits[0]}, rows = {fits[1]}? count squares, not inner corners",
    )

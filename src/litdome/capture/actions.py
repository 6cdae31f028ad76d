"""What the subject does when: actions.csv of a recording, and the repertoire that a plan draws from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from litdome.capture.csv_rows import LAST_FRAME, read_rows, shown, whole_number
from litdome.config import nearest
from litdome.errors import InputError

ACTION_COLUMNS = ("number", "start_frame", "end_frame", "start_s", "seconds", "action", "expression")
NEEDED_COLUMNS = ("start_frame", "end_frame", "action")
REPERTOIRE = Path(__file__).with_name("repertoire.csv")
REPERTOIRE_COLUMNS = ("kind", "name", "seconds", "pace", "cue")
KINDS = ("action", "expression", "rest")
SHORTEST_S, LONGEST_S = 0.5, 3600.0
SLOWEST, FASTEST = 0.001, 100.0


@dataclass(frozen=True)
class PlannedAction:
    """One row of actions.csv.

    Attributes:
        number: Of the row, from 1: what "repeat action 12" means.
        start_frame, end_frame: Rig frames, half-open.
        name: What to do.
        expression: With which face; empty: any.
    """

    number: int
    start_frame: int
    end_frame: int
    name: str
    expression: str = ""


@dataclass(frozen=True)
class Act:
    """Something that a subject can be asked to do.

    Attributes:
        name: In actions.csv.
        seconds: How long; 0 for an expression.
        pace: Speed in the picture against that of a walking person.
        cue: What the prompter says.
    """

    name: str
    seconds: float
    pace: float
    cue: str


@dataclass(frozen=True)
class Repertoire:
    """What a plan draws from; ``rest`` stands between actions, None: no rests."""

    actions: tuple[Act, ...]
    expressions: tuple[Act, ...]
    rest: Act | None


def read_actions(file: Path) -> tuple[PlannedAction, ...]:
    """Read actions.csv: rows in the order of time, numbered from 1.

    Raises:
        InputError: Unreadable, an unknown or missing column, a number that is not the row's, a row that ends before it
            begins or begins before the one above ends, no rows.
    """
    found: list[PlannedAction] = []
    for where, row in read_rows(file, ACTION_COLUMNS, NEEDED_COLUMNS):
        number = len(found) + 1
        said = row.get("number") or str(number)
        if whole_number(where, "number", said, LAST_FRAME) != number:
            raise InputError(f"{where}: number {said}, but it is row {number}", hint="number the rows from 1")
        start, end = (whole_number(where, name, row[name], LAST_FRAME) for name in NEEDED_COLUMNS[:2])
        if end <= start:
            raise InputError(f"{where}: frames {start} to {end}", hint="end_frame is the first frame after the action")
        if found and start < found[-1].end_frame:
            before = found[-1].end_frame
            raise InputError(f"{where}: begins at frame {start}, the action before ends at {before}", hint="correct it")
        found.append(PlannedAction(number, start, end, _text(where, row, "action"), row.get("expression", "")))
    if not found:
        raise InputError(f"{file}: no actions in it")
    return tuple(found)


def action_of_frames(actions: Sequence[PlannedAction], frames: int) -> npt.NDArray[np.int32]:
    """Number of the action of each rig frame, 0 between actions, shape (frame,)."""
    numbers = np.zeros(frames, np.int32)
    for action in actions:
        numbers[action.start_frame : action.end_frame] = action.number
    return numbers


def read_repertoire(file: Path = REPERTOIRE) -> Repertoire:
    """Read what a subject can be asked to do: rows of kind ``action``, ``expression`` or ``rest``.

    Raises:
        InputError: Unreadable, an unknown column, kind or number, a name twice, fewer than two actions, two rests.
    """
    acts: dict[str, list[Act]] = {kind: [] for kind in KINDS}
    for where, row in read_rows(file, REPERTOIRE_COLUMNS, REPERTOIRE_COLUMNS[:2]):
        kind = row["kind"]
        if kind not in KINDS:
            raise InputError(f"{where}: unknown kind {shown(kind)}", hint=nearest(kind, KINDS))
        name = _text(where, row, "name")
        if any(act.name == name for act in acts[kind]):
            raise InputError(f"{where}: {kind} {shown(name)} is there twice", hint="rename or delete one")
        seconds = 0.0 if kind == "expression" else _number(where, row, "seconds", SHORTEST_S, LONGEST_S)
        pace = _number(where, row, "pace", SLOWEST, FASTEST) if row.get("pace") else 1.0
        acts[kind].append(Act(name, seconds, pace, row.get("cue", "")))
    if len(acts["action"]) < 2 or len(acts["rest"]) > 1:
        counts = f"{len(acts['action'])} actions and {len(acts['rest'])} rests"
        raise InputError(f"{file}: {counts}", hint="at least two actions, at most one rest")
    return Repertoire(tuple(acts["action"]), tuple(acts["expression"]), next(iter(acts["rest"]), None))


def _text(where: str, row: Mapping[str, str], name: str) -> str:
    value = row[name]
    if not value or not value.isprintable():
        raise InputError(f"{where}: {name} is {shown(value)}", hint="give it a name")
    return value


def _number(where: str, row: Mapping[str, str], name: str, least: float, most: float) -> float:
    text = row.get(name, "")
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not least <= value <= most:
        raise InputError(f"{where}: {name} is {shown(text)}", hint=f"{name} is a number from {least:g} to {most:g}")
    return value

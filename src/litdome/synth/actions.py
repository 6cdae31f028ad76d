"""What the simulated person does when told: a library of movements by the names that plans use, and lists of them.

An action is a few channels (an arm goes out, a knee bends) that swing between two values; where one action follows
another the channels blend. Faces go along by name, or are drawn.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from litdome.config import nearest
from litdome.errors import InputError
from litdome.synth.face import EXPRESSIONS, codes_of
from litdome.synth.motion import blink, bone_turn
from litdome.synth.moves import ACTIONS, CHANNELS, POSTURE, SHIFTS
from litdome.template.model import FloatArray, Template
from litdome.template.skinning import Pose

COLUMNS = ("start_frame", "end_frame", "action")
BLEND_S = 0.7
DRAWN = tuple(name for name in EXPRESSIONS if name != "neutral")
LONG_TAKE_S = 8.0  # as long as a plan's action: shorter takes would show one posture of one action
ACTION_S = (4.0, 8.0)


@dataclass(frozen=True)
class PerformedAction:
    """One thing that is done.

    Attributes:
        start_s, end_s: On the body's clock.
        name: One of `ACTIONS`.
        expression: One of `EXPRESSIONS`; empty: drawn.
    """

    start_s: float
    end_s: float
    name: str
    expression: str = ""


def read_performance(file: Path, fps: float) -> tuple[PerformedAction, ...]:
    """Read an actions.csv, as a plan writes it: columns start_frame, end_frame, action and maybe expression.

    Args:
        file: Rows in the order of time.
        fps: Frames per second.

    Raises:
        InputError: Unreadable, a missing column, no rows, frames that are none or overlap, an action or an expression
            that the simulated person does not know.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            rows = list(reader)
            columns = reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file}: cannot be read: {error}", hint="give an actions.csv") from error
    if missing := [name for name in COLUMNS if name not in columns]:
        raise InputError(f"{file}: no column {', '.join(missing)}", hint=f"needed are {', '.join(COLUMNS)}")
    if not rows:
        raise InputError(f"{file}: no actions in it")
    performed: list[PerformedAction] = []
    for number, row in enumerate(rows, 1):
        where = f"{file}, row {number}"
        start, end = (_frame(where, name, row[name]) for name in COLUMNS[:2])
        if end <= start or (performed and start < round(performed[-1].end_s * fps)):
            raise InputError(f"{where}: frames {start} to {end}", hint="rows follow each other; end_frame is exclusive")
        name, expression = (row["action"] or "").strip(), (row.get("expression") or "").strip()
        _known(where, "action", name, list(ACTIONS))
        if expression:
            _known(where, "expression", expression, list(EXPRESSIONS))
        performed.append(PerformedAction(start / fps, end / fps, name, expression))
    return tuple(performed)


def draw_performance(seconds: float, seed: int) -> tuple[PerformedAction, ...]:
    """Actions all through a take, each once before any comes again; none for a take shorter than `LONG_TAKE_S`.

    Args:
        seconds: Length of the take.
        seed: Draws the order and how long each lasts; their expressions are left to `acted_motion`.
    """
    rng, performed, at = np.random.default_rng([seed, 16]), list[PerformedAction](), 0.0
    while seconds >= LONG_TAKE_S and at < seconds:
        for name in rng.permutation(list(ACTIONS)):
            if at < seconds:
                end = at + rng.uniform(*ACTION_S)
                performed.append(PerformedAction(at, end, str(name)))
                at = end
    return tuple(performed)


def write_performance(file: Path, actions: Sequence[PerformedAction], fps: float, frames: int) -> None:
    """Write what of the actions fits into a take of so many frames as actions.csv."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow((*COLUMNS, "expression"))
        for action in actions:
            start, end = round(action.start_s * fps), min(round(action.end_s * fps), frames)
            if start < end:
                writer.writerow((start, end, action.name, action.expression))


def _frame(where: str, name: str, text: str | None) -> int:
    if text is None or not text.strip().isdecimal() or len(text) > 9:
        raise InputError(f"{where}: {name} is {text!r}", hint="a rig frame is a whole number from 0")
    return int(text)


def _known(where: str, kind: str, name: str, choices: list[str]) -> None:
    if name not in choices:
        listed = f"the simulated person knows {', '.join(choices)}"
        raise InputError(f"{where}: unknown {kind} {name!r}", hint=f"{nearest(name, choices)}; {listed}")


@dataclass(frozen=True, eq=False)
class ActedMotion:
    """A list of actions, performed.

    Attributes:
        template: The person at rest.
        actions: In the order of time; between and after them the person rests.
        faces: Expression codes of each action, and of rest as the last, shape (action + 1, 52).
        directions: Bones' rotations per radian of each channel, shape (channel, bone, 3).
    """

    template: Template
    actions: tuple[PerformedAction, ...]
    faces: FloatArray
    directions: FloatArray

    def pose(self, time_s: float, speed: float) -> Pose:
        """Exact pose at a time, the feet not yet on the ground."""
        values = np.zeros(len(CHANNELS) + len(SHIFTS))
        for action, weight in self._mix(time_s):
            values += weight * self._channels(action, time_s, speed)
        turns, shift = values[: len(CHANNELS)], values[len(CHANNELS) :]
        return Pose(np.einsum("c,cbk->bk", np.radians(turns), self.directions), shift.copy())

    def expression(self, time_s: float, speed: float) -> FloatArray:
        """The face that belongs to the action, talk and blinks, shape (52,), 0..1."""
        codes, clock = np.zeros(len(self.template.expressions)), 2 * np.pi * speed * time_s
        for action, weight in self._mix(time_s):
            codes += weight * self.faces[action]
            if action < len(self.actions) and self._talks(self.actions[action]):
                talk = (0.5 + 0.5 * np.sin(2.3 * clock)) * (0.6 + 0.4 * np.sin(0.7 * clock))
                codes += weight * codes_of(self.template, {"jawOpen": 0.4 * talk, "mouthFunnel": 0.2 * (1 - talk)})
        return np.clip(np.maximum(codes, codes_of(self.template, {"eyeBlink": blink(clock)})), 0, 1)

    def _talks(self, action: PerformedAction) -> bool:
        return action.expression == "speak" or action.name in ("talk", "count")

    def _mix(self, time_s: float) -> list[tuple[int, float]]:
        """Actions of a moment and their shares, which sum to 1; rest is the one after the last."""
        shares, rest = [], 1.0
        for index, action in enumerate(self.actions):
            share = _ramp((time_s - action.start_s) / BLEND_S) - _ramp((time_s - action.end_s) / BLEND_S)
            if share > 0:
                shares.append((index, share))
                rest -= share
        return [*shares, (len(self.actions), max(rest, 0.0))]

    def _channels(self, index: int, time_s: float, speed: float) -> FloatArray:
        """Degrees of each channel and metres of each shift."""
        if index == len(self.actions):
            return _posture("rest", speed * time_s)
        action = self.actions[index]
        return _posture(action.name, speed * (time_s - action.start_s))


def _ramp(share: float) -> float:
    """0 before 0, 1 after 1, smooth in between."""
    share = min(max(share, 0.0), 1.0)
    return share**2 * (3 - 2 * share)


def _posture(name: str, clock_s: float) -> FloatArray:
    values = np.zeros(len(CHANNELS) + len(SHIFTS))
    numbers = _channel_numbers()
    for move in (*POSTURE, *ACTIONS[name]):
        for side in move.sides:
            values[numbers[move.channel + side]] += move.value(clock_s, side)
    return values


@lru_cache(maxsize=1)
def _channel_numbers() -> dict[str, int]:
    return {name: number for number, name in enumerate((*CHANNELS, *SHIFTS))}


def acted_motion(template: Template, actions: Sequence[PerformedAction], seed: int) -> ActedMotion:
    """Perform actions; ``seed`` draws the expressions that they leave open, and how strong each is."""
    rng = np.random.default_rng([seed, 15])
    done = [replace(action, expression=action.expression or str(rng.choice(DRAWN))) for action in actions]
    faces = [rng.uniform(0.7, 1) * codes_of(template, EXPRESSIONS[action.expression]) for action in done]
    faces.append(codes_of(template, EXPRESSIONS["neutral"]))
    directions = [
        channel.chains * bone_turn(template, channel.bones, channel.axis, channel.side) for channel in CHANNELS.values()
    ]
    return ActedMotion(template, tuple(done), np.stack(faces), np.stack(directions))

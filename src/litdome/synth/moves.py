"""The movement library: channels of a body, and every action of a plan's repertoire as swings of channels.

Degrees and metres from the template's stance (arms away from the body, elbows a little bent).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from litdome.synth.motion import ARM, NECK, SPINE, Axis

Shape = Literal["swing", "pulse", "hold", "hop", "circle"]


@dataclass(frozen=True)
class Channel:
    """One way that a body bends: see `litdome.synth.motion.bone_turn`; fingers and toes in parallel chains."""

    bones: tuple[str, ...]
    axis: Axis
    side: str = ""
    chains: int = 1


@dataclass(frozen=True)
class Move:
    """How a channel goes during an action.

    Attributes:
        channel: One of `CHANNELS` or `SHIFTS`, without its side.
        low, high: Between which values, degrees or metres.
        hz: How often.
        shape: ``swing`` to and fro; ``circle`` the same, a quarter later; ``pulse`` once in the first half of each
            round; ``hop`` the same, as a body thrown up; ``hold`` at ``high``.
        sides: ``LR`` both, ``L`` or ``R`` one, empty the middle.
        turns: Whether the right side does it half a round later.
    """

    channel: str
    low: float
    high: float
    hz: float = 0.25
    shape: Shape = "swing"
    sides: tuple[str, ...] = ("",)
    turns: bool = False

    def value(self, clock_s: float, side: str) -> float:
        """Degrees or metres at a time."""
        if self.shape == "hold":
            return self.high
        rounds = self.hz * clock_s + (0.5 if self.turns and side == "R" else 0.0)
        wave = np.sin(2 * np.pi * rounds)
        if self.shape == "pulse":
            share = max(wave, 0.0) ** 2
        elif self.shape == "hop":
            share = max(wave, 0.0)
        else:
            share = (1 - np.cos(2 * np.pi * rounds)) / 2 if self.shape == "swing" else (1 + wave) / 2
        return float(self.low + (self.high - self.low) * share)


def both(channel: str, low: float, high: float, hz: float = 0.25, shape: Shape = "swing", turns: bool = False) -> Move:
    """A move of both sides."""
    return Move(channel, low, high, hz, shape, ("L", "R"), turns)


def hold(channel: str, value: float, sides: str = "LR") -> Move:
    """A channel that stays."""
    return Move(channel, value, value, shape="hold", sides=tuple(sides) or ("",))


FINGERS = tuple(f"finger{finger}-{part}" for finger in range(2, 6) for part in range(1, 3))
TOES = tuple(f"toe{toe}-1" for toe in range(1, 6))
CHAINS = {"fingers": 4, "toes": 5}
SIDES: dict[str, tuple[tuple[str, ...], Axis]] = {
    "arm out": (ARM, (0.0, 0.0, 1.0)),
    "arm forward": (ARM, (-1.0, 0.0, 0.0)),
    "arm in": (ARM, (0.0, -1.0, 0.0)),
    "arm twist": (("upperarm02",), "along"),
    "elbow": (("lowerarm01",), "bend"),
    "palm": (("lowerarm02",), "along"),
    "wrist": (("wrist",), (0.0, 0.0, 1.0)),
    "wrist bend": (("wrist",), (1.0, 0.0, 0.0)),
    "fingers": (FINGERS, "bend"),
    "shrug": (("clavicle",), (0.0, 0.0, 1.0)),
    "hip": (("upperleg01",), (-1.0, 0.0, 0.0)),
    "leg out": (("upperleg01",), (0.0, 0.0, 1.0)),
    "knee": (("lowerleg01",), (1.0, 0.0, 0.0)),
    "ankle": (("foot",), (1.0, 0.0, 0.0)),
    "toes": (TOES, (-1.0, 0.0, 0.0)),
}
CENTRE: dict[str, tuple[tuple[str, ...], Axis]] = {
    "turn": (SPINE, (0.0, 1.0, 0.0)),
    "side": (SPINE, (0.0, 0.0, 1.0)),
    "bow": (SPINE, (1.0, 0.0, 0.0)),
    "hips bow": (("root",), (1.0, 0.0, 0.0)),
    "hips side": (("root",), (0.0, 0.0, 1.0)),
    "head turn": (NECK, (0.0, 1.0, 0.0)),
    "head nod": (NECK, (1.0, 0.0, 0.0)),
    "head tilt": (NECK, (0.0, 0.0, 1.0)),
    "around": (("root",), (0.0, 1.0, 0.0)),
}
CHANNELS = {
    **{name + side: Channel(*SIDES[name], f".{side}", CHAINS.get(name, 1)) for name in SIDES for side in "LR"},
    **{name: Channel(*CENTRE[name]) for name in CENTRE},
}
SHIFTS = ("shift x", "lift", "shift z")

ARMS_DOWN = (both("arm out", -24, -24, shape="hold"), both("elbow", -14, -14, shape="hold"))
POSTURE = (  # nobody stands quite still
    Move("side", -1, 1, 0.11), Move("turn", -2, 2, 0.07), Move("bow", -1, 1, 0.26), Move("head turn", -4, 4, 0.13),
    Move("head nod", -2, 3, 0.17), both("shrug", -0.5, 0.5, 0.26),
)  # fmt: skip


def knee_bend(deg: float, hz: float, shape: Shape = "swing", turns: bool = False) -> tuple[Move, ...]:
    """Hips, knees and ankles that keep the feet flat and below the hips."""
    return (
        both("hip", 0, deg, hz, shape, turns), both("knee", 0, 2 * deg, hz, shape, turns),
        both("ankle", 0, -deg, hz, shape, turns),
    )  # fmt: skip


def stride(deg: float, hz: float, arms_deg: float) -> tuple[Move, ...]:
    """Knees up in turn, each arm with the other knee."""
    return (
        both("hip", 0, deg, hz, "pulse", True), both("knee", 0, 1.5 * deg, hz, "pulse", True),
        both("ankle", 0, 0.3 * deg, hz, "pulse", True),
        Move("arm forward", -arms_deg / 2, arms_deg, hz, "pulse", ("R",)),
        Move("arm forward", arms_deg, -arms_deg / 2, hz, "pulse", ("L",)),
        both("arm out", -24, -24, shape="hold"), both("elbow", 0, 0, shape="hold"), Move("turn", -5, 5, hz, "circle"),
        Move("shift x", 0.02, -0.02, hz, "circle"),
    )  # fmt: skip


ACTIONS: dict[str, tuple[Move, ...]] = {
    "rest": ARMS_DOWN,
    "arms up and down": (both("arm out", -22, 105, 0.22), both("elbow", -25, -25, shape="hold")),
    "arms forward": (
        both("arm forward", 0, 95, 0.22), both("arm out", -24, -10, 0.22), both("elbow", -30, -30, shape="hold"),
        both("palm", 0, 50, 0.22),
    ),
    "arm circles": (
        both("arm out", -20, 85, 0.3), both("arm forward", -15, 55, 0.3, "circle"),
        both("elbow", -25, -25, shape="hold"),
    ),
    "elbows": (
        both("elbow", -30, 75, 0.4), both("palm", -40, 40, 0.1), both("arm out", -12, -12, shape="hold"),
    ),
    "wrists": (
        both("wrist", -30, 30, 0.7), both("wrist bend", -30, 30, 0.7, "circle"), both("arm out", 0, 0, shape="hold"),
    ),
    "fingers": (
        both("fingers", -20, 110, 0.6), both("arm forward", 20, 20, shape="hold"), both("elbow", 15, 15, shape="hold"),
    ),
    "shrug": (*ARMS_DOWN, both("shrug", -4, 18, 0.4), both("arm forward", -4, 6, 0.4, "circle")),
    "cross arms": (
        both("arm in", 0, 42, 0.22), both("arm forward", 5, 42, 0.22), both("elbow", -10, 45, 0.22),
        Move("arm forward", 0, 16, 0.11, "swing", ("L",)),
    ),
    "hands on hips": (
        both("arm out", 20, 20, shape="hold"), both("arm forward", -14, -2, 0.25), both("elbow", 46, 46, shape="hold"),
        both("arm twist", 48, 60, 0.25),
    ),
    "reach up": (
        both("arm out", -22, 112, 0.22, "pulse", True), both("elbow", -25, -25, shape="hold"),
        Move("side", -10, 10, 0.22, "circle"), Move("head nod", 0, -14, 0.22),
    ),
    "reach across": (
        both("arm forward", 0, 62, 0.24, "pulse", True), both("arm in", 0, 45, 0.24, "pulse", True),
        both("elbow", -10, 30, 0.24, "pulse", True), both("arm out", -18, -6, 0.24, "pulse", True),
        Move("turn", 12, -12, 0.24, "circle"),
    ),
    "hands behind back": (
        both("arm forward", -42, 25, 0.16), both("arm out", 6, 62, 0.16), both("elbow", 25, 78, 0.16),
        both("arm twist", 35, -25, 0.16),
    ),
    "head turns": (*ARMS_DOWN, Move("head turn", -48, 48, 0.25), Move("head nod", -16, 20, 0.14)),
    "head tilts": (*ARMS_DOWN, Move("head tilt", -26, 26, 0.25), Move("head nod", -10, 16, 0.25, "circle")),
    "twist": (Move("turn", -38, 38, 0.28), both("arm out", 8, 8, shape="hold")),
    "side bends": (
        Move("side", -26, 26, 0.22), Move("arm out", 105, -20, 0.22, "swing", ("L",)),
        Move("arm out", -20, 105, 0.22, "swing", ("R",)), both("elbow", -15, -15, shape="hold"),
    ),
    "bow": (
        *ARMS_DOWN, Move("hips bow", 0, 42, 0.22), Move("bow", 0, 18, 0.22), both("hip", 0, 42, 0.22),
        both("arm forward", 0, 25, 0.22), Move("shift z", 0, -0.1, 0.22), Move("head nod", 0, -12, 0.22),
    ),
    "hip circles": (
        both("arm out", 20, 20, shape="hold"), both("arm forward", -8, -8, shape="hold"),
        both("elbow", 46, 46, shape="hold"), both("arm twist", 52, 52, shape="hold"),
        Move("hips side", -9, 9, 0.35), Move("hips bow", -8, 8, 0.35, "circle"), Move("side", 9, -9, 0.35),
        Move("bow", 8, -8, 0.35, "circle"), both("hip", -8, 8, 0.35, "circle"),
        Move("leg out", -9, 9, 0.35, "swing", ("R",)), Move("leg out", 9, -9, 0.35, "swing", ("L",)),
        Move("shift x", 0.07, -0.07, 0.35), Move("shift z", 0.05, -0.05, 0.35, "circle"),
    ),
    "squat": (
        *knee_bend(58, 0.25), Move("hips bow", 0, 24, 0.25), both("hip", 0, 24, 0.25), both("arm forward", 0, 70, 0.25),
        both("arm out", -24, -12, 0.25), Move("shift z", 0, -0.12, 0.25), both("elbow", -20, -20, shape="hold"),
    ),
    "lunge": (
        *ARMS_DOWN, both("hip", 0, 58, 0.2, "pulse", True), both("knee", 0, 62, 0.2, "pulse", True),
        *(Move(channel, 0, value, -0.2, "pulse", ("L", "R"), True)
          for channel, value in (("hip", -22), ("knee", 40), ("ankle", -18), ("toes", 40))),
        Move("turn", 6, -6, 0.2, "circle"),
    ),
    "knee lifts": (
        *ARMS_DOWN, both("hip", 0, 80, 0.24, "pulse", True), both("knee", 0, 88, 0.24, "pulse", True),
        Move("shift x", 0.05, -0.05, 0.24, "circle"), Move("hips side", -3, 3, 0.24, "circle"),
    ),
    "leg swings": (
        both("hip", -12, 48, 0.26, "pulse", True), both("leg out", 0, 22, 0.26, "pulse", True),
        both("arm out", 6, 6, shape="hold"), Move("shift x", 0.05, -0.05, 0.26, "circle"),
    ),
    "heel raises": (*ARMS_DOWN, both("ankle", 0, 28, 0.33), both("toes", 0, 28, 0.33)),
    "one leg": (
        both("arm out", 36, 42, 0.4), both("elbow", -25, -25, shape="hold"), both("hip", 0, 40, 0.13, "pulse", True),
        both("knee", 0, 80, 0.13, "pulse", True), Move("shift x", 0.06, -0.06, 0.13, "circle"),
        Move("side", -3, 3, 0.5),
    ),
    "walk on the spot": stride(38, 0.8, 24),
    "march": stride(72, 0.9, 40),
    "side steps": (
        *ARMS_DOWN, Move("shift x", -0.22, 0.22, 0.2), both("leg out", 0, 13, 0.4), *knee_bend(14, 0.4),
    ),
    "turn around": (
        *stride(22, 0.9, 0), both("arm out", 12, 12, shape="hold"), Move("around", 0, 360, 0.1, "swing"),
    ),
    "jog on the spot": (*stride(48, 1.3, 45), both("elbow", 50, 50, shape="hold"), Move("lift", 0, 0.04, 2.6, "hop")),
    "jump": (
        *ARMS_DOWN, *knee_bend(22, 1.0), Move("lift", 0, 0.16, 1.0, "hop"), both("ankle", 0, 22, 1.0, "hop"),
        both("toes", 0, 22, 1.0, "hop"),
    ),
    "throw": (
        both("arm out", -24, 55, 0.24, "pulse", True), both("arm forward", -15, 85, 0.24, "swing", True),
        both("elbow", 65, -25, 0.24, "swing", True), Move("turn", -20, 20, 0.24, "circle"),
    ),
    "wave": (
        Move("arm out", 62, 62, shape="hold", sides=("R",)), Move("elbow", 35, 35, shape="hold", sides=("R",)),
        Move("palm", -30, 30, 1.1, sides=("R",)), Move("wrist", -25, 25, 1.1, sides=("R",)),
        Move("arm out", -24, 52, 0.16, "pulse", ("L",)), Move("wrist", -25, 25, 1.1, sides=("L",)),
        Move("elbow", -14, 20, 0.16, "pulse", ("L",)),
    ),
    "clap": (
        both("arm forward", 48, 48, shape="hold"), both("arm in", 26, -4, 0.8), both("elbow", 12, 12, shape="hold"),
        both("arm out", -12, 40, 0.16),
    ),
    "point": (
        Move("arm forward", 0, 80, 0.2, "swing", ("R",)), Move("arm in", -35, 30, 0.2, "circle", ("R",)),
        Move("elbow", 0, -28, 0.2, "swing", ("R",)), hold("arm out", -24, "L"), hold("fingers", 18, "R"),
        Move("turn", -16, 16, 0.2, "circle"), Move("head turn", -20, 20, 0.2, "circle"),
    ),
    "pick up": (
        *knee_bend(40, 0.2), Move("hips bow", 0, 48, 0.2), both("hip", 0, 48, 0.2), Move("shift z", 0, -0.16, 0.2),
        both("arm forward", 85, 35, 0.2), both("arm out", -12, -20, 0.2), both("elbow", -10, -25, 0.2),
    ),
    "put on a coat": (
        both("arm out", -22, 45, 0.24, "swing", True), both("arm forward", -30, 40, 0.24, "circle", True),
        both("elbow", 10, 70, 0.24, "swing", True), Move("turn", -20, 20, 0.24),
    ),
    "phone": (
        Move("elbow", 0, 72, 0.14, "swing", ("R",)), Move("arm forward", 10, 38, 0.14, "swing", ("R",)),
        Move("arm out", -20, 6, 0.14, "swing", ("R",)), hold("fingers", 40, "R"), hold("arm out", -24, "L"),
        Move("head nod", 0, 16, 0.28), Move("head turn", -12, 4, 0.14),
    ),
    "talk": (
        both("arm forward", 5, 28, 0.37, turns=True), both("elbow", 10, 55, 0.45), both("palm", -30, 35, 0.52),
        both("arm out", -20, -4, 0.31), both("fingers", -8, 25, 0.6), Move("head nod", -5, 7, 0.5),
        Move("head turn", -12, 12, 0.19),
    ),
    "count": (
        Move("elbow", 55, 65, 0.5, sides=("R",)), Move("arm forward", 25, 30, 0.5, sides=("R",)),
        Move("fingers", -10, 90, 0.5, sides=("R",)), hold("arm out", -24, "L"), Move("head nod", -3, 5, 0.5),
    ),
    "dance": (
        Move("hips side", -7, 7, 0.6), Move("side", 9, -9, 0.6), Move("turn", -18, 18, 0.3), *knee_bend(16, 1.2),
        both("arm out", -10, 52, 0.45, "swing", True), both("arm forward", 0, 45, 0.6, "circle"),
        both("elbow", 5, 55, 0.6, "swing", True), Move("shift x", 0.06, -0.06, 0.6), Move("head tilt", -8, 8, 0.6),
        Move("leg out", -7, 7, 0.6, "swing", ("R",)), Move("leg out", 7, -7, 0.6, "swing", ("L",)),
    ),
    "stretch": (
        both("arm out", -15, 92, 0.14), both("elbow", 60, -25, 0.14), Move("bow", 2, -14, 0.14),
        Move("head nod", 0, -16, 0.14),
    ),
    "hair": (
        both("arm out", 38, 70, 0.3), both("arm forward", 30, 5, 0.3), both("elbow", 82, 90, 0.3),
        both("arm twist", -20, -35, 0.3), Move("head turn", -12, 12, 0.4), Move("head nod", 4, -10, 0.3),
    ),
}  # fmt: skip

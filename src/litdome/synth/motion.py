"""How the simulated person moves when nobody tells what to do: joints that wander, a step, talk, smiles, blinks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from litdome.synth.face import codes_of
from litdome.template.model import FloatArray, Template
from litdome.template.skinning import Pose

Axis = tuple[float, float, float] | Literal["along", "bend"]
STEP_HZ, SWAY_M, KNEE_LIFT_DEG, LEG_M = 0.31, 0.035, 24.0, 0.8
BLINK_HZ, BLINK_SHARPNESS = 0.29, 40.0  # a blink lasts 0.2 s
HARMONICS = ((1.0, 0.62), (1.618, 0.26), (2.731, 0.12))  # frequency, amplitude; incommensurate: no exact period


class Motion(Protocol):
    """What a person does, as a function of time; ``speed`` scales how fast."""

    def pose(self, time_s: float, speed: float) -> Pose:
        """Bones, the translation's height being what lifts the feet off the ground."""
        ...

    def expression(self, time_s: float, speed: float) -> FloatArray:
        """Expression codes, shape (52,), 0..1."""
        ...


@dataclass(frozen=True)
class Turn:
    """A movement of a joint between two angles.

    Attributes:
        bones: The chain that shares it; without ``.L`` or ``.R`` where both sides do it.
        axis: In the world at rest, for the left side (the right side mirrors it); ``along`` the bone, or ``bend``: the
            axis about which the joint is bent already.
    """

    bones: tuple[str, ...]
    axis: Axis
    low_deg: float
    high_deg: float
    hz: float


ARM = ("clavicle", "shoulder01", "upperarm01", "upperarm01", "upperarm01")
SPINE = ("spine04", "spine03", "spine02", "spine01")
NECK = ("neck01", "neck02", "neck03", "head")
BOTH_SIDES = (
    Turn(ARM, (0.0, 0.0, 1.0), -30, 28, 0.42),  # out and up
    Turn(ARM, (-1.0, 0.0, 0.0), -10, 46, 0.34),  # forward
    Turn(("upperarm02",), "along", -12, 12, 0.41),
    Turn(("lowerarm01",), "bend", -22, 55, 0.52),
    Turn(("lowerarm02",), "along", -25, 25, 0.37),
    Turn(("wrist",), (0.0, 0.0, 1.0), -18, 18, 0.47),
    *(Turn((f"finger{finger}-{part}",), "bend", -8, 22, 0.39) for finger in range(2, 6) for part in range(1, 3)),
)
MIDDLE = (
    Turn(SPINE, (0.0, 1.0, 0.0), -28, 28, 0.19),
    Turn(SPINE, (0.0, 0.0, 1.0), -6, 6, 0.23),
    Turn(SPINE, (1.0, 0.0, 0.0), -3, 9, 0.17),
    Turn(NECK, (0.0, 1.0, 0.0), -34, 34, 0.21),
    Turn(NECK, (1.0, 0.0, 0.0), -10, 12, 0.29),
)


@dataclass(frozen=True, eq=False)
class Wave:
    """A smooth movement between two values, never quite periodic.

    Attributes:
        direction: What it adds to, per bone, shape (bone, 3): axis-angle per radian.
        low, high: Range, radians.
        hz: Of its strongest part.
        phases: Of its parts, radians.
    """

    direction: FloatArray
    low: float
    high: float
    hz: float
    phases: FloatArray

    def value(self, time_s: float) -> float:
        """Angle at a time, rad."""
        parts = zip(HARMONICS, self.phases, strict=True)
        swing = sum(share * np.sin(2 * np.pi * self.hz * rate * time_s + phase) for (rate, share), phase in parts)
        return self.low + (self.high - self.low) * (1 + float(swing)) / 2


@dataclass(frozen=True, eq=False)
class FreeMotion:
    """Wandering joints and steps on the spot.

    Attributes:
        template: The person at rest.
        waves: The joints' movements; speed 1 moves the hands at 0.5 to 1 m/s.
        phase: Start of steps and face, radians.
    """

    template: Template
    waves: tuple[Wave, ...]
    phase: float

    def pose(self, time_s: float, speed: float) -> Pose:
        """Exact pose at a time, the feet not yet on the ground."""
        clock = speed * time_s
        rotations = np.zeros((len(self.template.bones), 3))
        for wave in self.waves:
            rotations += wave.value(clock) * wave.direction
        sway = SWAY_M * np.sin(2 * np.pi * STEP_HZ * clock + self.phase)
        self._step(rotations, sway)
        return Pose(rotations, np.array([sway, 0.0, 0.0]))

    def _step(self, rotations: FloatArray, sway: float) -> None:
        """Keep the feet where they are while the hips sway, and lift the foot that carries less."""
        tilt = np.array([0.0, 0.0, -sway / LEG_M])
        for side, relief in (("L", -sway), ("R", sway)):
            lift = np.radians(KNEE_LIFT_DEG) * ((1 + relief / SWAY_M) / 2) ** 4 * np.array([1.0, 0.0, 0.0])
            rotations[self.template.bone(f"upperleg01.{side}")] += tilt - lift
            rotations[self.template.bone(f"lowerleg01.{side}")] += 2 * lift
            rotations[self.template.bone(f"foot.{side}")] -= tilt + lift

    def expression(self, time_s: float, speed: float) -> FloatArray:
        """Smiles, talk, blinks and brows, shape (52,), 0..1."""
        clock = 2 * np.pi * speed * time_s
        smile = 0.35 + 0.35 * np.sin(0.13 * clock + self.phase)
        talk = (0.5 + 0.5 * np.sin(1.1 * clock)) * (0.5 + 0.5 * np.sin(0.17 * clock + 2 * self.phase))
        codes = {
            "jawOpen": 0.55 * talk,
            "mouthSmile": smile,
            "eyeBlink": blink(clock + 3 * self.phase / BLINK_HZ),
            "browInnerUp": 0.3 + 0.3 * np.sin(0.19 * clock),
        }
        return codes_of(self.template, codes)


def blink(clock: float) -> float:
    """How far the lids are closed, 0..1; ``clock`` grows by 2 pi a second."""
    return float(np.exp(BLINK_SHARPNESS * (np.cos(BLINK_HZ * clock) - 1)))


def free_motion(template: Template, seed: int) -> FreeMotion:
    """Draw a person's way of wandering."""
    rng = np.random.default_rng([seed, 5])
    turns = [(turn, side) for turn in BOTH_SIDES for side in (".L", ".R")] + [(turn, "") for turn in MIDDLE]
    waves = tuple(_wave(template, turn, side, rng) for turn, side in turns)
    return FreeMotion(template, waves, float(rng.uniform(0, 2 * np.pi)))


def _wave(template: Template, turn: Turn, side: str, rng: np.random.Generator) -> Wave:
    direction = bone_turn(template, turn.bones, turn.axis, side)
    hz = turn.hz * rng.uniform(0.85, 1.15)
    phases = rng.uniform(0, 2 * np.pi, len(HARMONICS))
    return Wave(direction, np.radians(turn.low_deg), np.radians(turn.high_deg), hz, phases)


def bone_turn(template: Template, bones: Sequence[str], axis: Axis, side: str) -> FloatArray:
    """What one radian of a movement adds to the bones' rotations, shape (bone, 3).

    Args:
        template: The person at rest.
        bones: The chain that shares it, without ``.L`` or ``.R``.
        axis: As of `Turn`.
        side: ``.L``, ``.R`` (mirrored) or empty.
    """
    direction = np.zeros((len(template.bones), 3))
    mirror = np.array([1, -1, -1] if side == ".R" and not isinstance(axis, str) else [1, 1, 1])
    for name in bones:
        bone = template.bone(name + side)
        direction[bone] += _axis(template, axis, bone) * mirror
    return np.asarray(direction / len(bones))


def _axis(template: Template, axis: Axis, bone: int) -> FloatArray:
    """Unit axis of a turn at a bone, shape (3,)."""
    if not isinstance(axis, str):
        return np.array(axis)
    child = int(np.flatnonzero(template.parents == bone)[0])
    out = template.joints[child] - template.joints[bone]
    if axis == "bend":
        # forearms are two bones long; the bend at a joint is between the bones before and after it
        out = np.cross(template.joints[bone] - template.joints[template.parents[bone]], out)
    unit: FloatArray = out / np.linalg.norm(out)
    return unit

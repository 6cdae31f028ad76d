"""A moving, human-shaped person for the simulated light stage, with exact truth: pose, expression, surface, albedo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from litdome.errors import UsageError
from litdome.synth.outfit import Outfit, cloth_offsets, paint_texture, vertex_roughness
from litdome.synth.render import Mesh
from litdome.template.model import Float32Array, FloatArray, Template, load_template
from litdome.template.skinning import Pose, move_bones, posed_joints, skin, vertex_normals

Axis = tuple[float, float, float] | Literal["along", "bend"]
TEXTURE_SIZE = 1024
STEP_HZ, SWAY_M, KNEE_LIFT_DEG, LEG_M = 0.31, 0.035, 24.0, 0.8
BLINK_HZ, BLINK_SHARPNESS = 0.29, 40.0  # a blink lasts 0.2 s
SOFTNESS_PER_M = 300.0
HARMONICS = ((1.0, 0.62), (1.618, 0.26), (2.731, 0.12))  # frequency, amplitude; incommensurate: no exact period
OUTFITS = {
    "s1": Outfit(
        skin=(0.52, 0.32, 0.23), hair=(0.05, 0.03, 0.02), shirt=(0.07, 0.19, 0.33), accent=(0.07, 0.19, 0.33),
        trousers=(0.12, 0.12, 0.13), shoes=(0.05, 0.05, 0.05), pattern="plain",
        sleeve_m=0.17, loose_m=0.003, fold_m=0.0, seed=1,
    ),
    "s2": Outfit(
        skin=(0.36, 0.20, 0.13), hair=(0.015, 0.012, 0.01), shirt=(0.55, 0.52, 0.47), accent=(0.40, 0.04, 0.05),
        trousers=(0.05, 0.08, 0.17), shoes=(0.5, 0.5, 0.48), pattern="stripes",
        sleeve_m=0.47, loose_m=0.005, fold_m=0.002, seed=2,
    ),
    "s3": Outfit(
        skin=(0.16, 0.085, 0.055), hair=(0.01, 0.01, 0.01), shirt=(0.42, 0.30, 0.06), accent=(0.42, 0.30, 0.06),
        trousers=(0.28, 0.24, 0.18), shoes=(0.10, 0.05, 0.03), pattern="plain",
        sleeve_m=0.45, loose_m=0.017, fold_m=0.010, seed=3,
    ),
    "s4": Outfit(
        skin=(0.60, 0.40, 0.31), hair=(0.30, 0.17, 0.06), shirt=(0.08, 0.25, 0.13), accent=(0.50, 0.42, 0.08),
        trousers=(0.16, 0.10, 0.07), shoes=(0.08, 0.08, 0.09), pattern="checks",
        sleeve_m=0.36, loose_m=0.034, fold_m=0.022, seed=4,
    ),
}  # fmt: skip


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
class Body:
    """One simulated subject; everything about it is known at any time.

    Attributes:
        subject: ``s1`` tight, one colour; ``s2`` tight, striped; ``s3`` looser, one colour; ``s4`` loose, checked.
        template: The person at rest.
        texture: Linear albedo over the template's UV layout, shape (1024, 1024, 3).
        roughness: Per vertex, shape (vertex,).
        offsets: Clothes and hair over the skin at rest, shape (vertex, 3), metres.
        waves: The joints' movements.
        speed: 1 moves the hands at 0.5 to 1 m/s; 0 stands still.
        phase: Start of steps and face, radians.
    """

    subject: str
    template: Template
    texture: Float32Array
    roughness: Float32Array
    offsets: FloatArray
    waves: tuple[Wave, ...]
    speed: float
    phase: float

    def pose(self, time_s: float) -> Pose:
        """Exact pose at a time."""
        clock = self.speed * time_s
        rotations = np.zeros((len(self.template.bones), 3))
        for wave in self.waves:
            rotations += wave.value(clock) * wave.direction
        sway = SWAY_M * np.sin(2 * np.pi * STEP_HZ * clock + self.phase)
        self._step(rotations, sway)
        return self._on_the_ground(Pose(rotations, np.array([sway, 0.0, 0.0])))

    def _step(self, rotations: FloatArray, sway: float) -> None:
        """Keep the feet where they are while the hips sway, and lift the foot that carries less."""
        tilt = np.array([0.0, 0.0, -sway / LEG_M])
        for side, relief in (("L", -sway), ("R", sway)):
            lift = np.radians(KNEE_LIFT_DEG) * ((1 + relief / SWAY_M) / 2) ** 4 * np.array([1.0, 0.0, 0.0])
            rotations[self.template.bone(f"upperleg01.{side}")] += tilt - lift
            rotations[self.template.bone(f"lowerleg01.{side}")] += 2 * lift
            rotations[self.template.bone(f"foot.{side}")] -= tilt + lift

    def _on_the_ground(self, pose: Pose) -> Pose:
        """The pose lowered or raised until the lower foot stands on y = 0 (a smooth minimum: at most 2.4 mm low)."""
        shifts = move_bones(self.template, pose).shifts
        feet = np.array([shifts[self.template.bone(f"foot.{side}"), 1] for side in "LR"])
        lowest = -np.log(np.exp(-SOFTNESS_PER_M * feet).mean()) / SOFTNESS_PER_M
        return Pose(pose.rotations, pose.translation - np.array([0.0, lowest, 0.0]))

    def expression(self, time_s: float) -> FloatArray:
        """Exact expression codes at a time, shape (52,), 0..1."""
        clock = 2 * np.pi * self.speed * time_s
        smile = 0.35 + 0.35 * np.sin(0.13 * clock + self.phase)
        talk = (0.5 + 0.5 * np.sin(1.1 * clock)) * (0.5 + 0.5 * np.sin(0.17 * clock + 2 * self.phase))
        blink = np.exp(BLINK_SHARPNESS * (np.cos(BLINK_HZ * clock + 3 * self.phase) - 1))
        codes = {
            "jawOpen": 0.55 * talk,
            "mouthSmileLeft": smile,
            "mouthSmileRight": smile,
            "eyeBlinkLeft": blink,
            "eyeBlinkRight": blink,
            "browInnerUp": 0.3 + 0.3 * np.sin(0.19 * clock),
        }
        expression = np.zeros(len(self.template.expressions))
        for name, value in codes.items():
            expression[self.template.expressions.index(name)] = value
        return expression

    def vertices(self, time_s: float) -> FloatArray:
        """The template's vertices, clothed and posed, shape (vertex, 3), metres, world."""
        return skin(self.template, self.pose(time_s), self.expression(time_s), offsets=self.offsets)

    def joints(self, time_s: float) -> FloatArray:
        """The template's joints, shape (bone, 3), metres, world."""
        return posed_joints(self.template, self.pose(time_s))

    def mesh(self, time_s: float) -> Mesh:
        """The surface at a time, cut open along the UV seams; face i is the template's face i."""
        vertices = self.vertices(time_s)
        cut = self.template.uv_vertices
        return Mesh(
            vertices=vertices[cut],
            faces=self.template.face_uv,
            normals=vertex_normals(vertices, self.template.faces)[cut],
            albedo=np.ones((len(cut), 3), np.float32),
            roughness=self.roughness[cut],
            texture=self.texture,
            uv=self.template.uv,
        )


def make_body(subject: str = "s1", *, speed: float = 1.0) -> Body:
    """Make a simulated subject, about 1.7 m tall, standing at the origin and facing +z.

    Args:
        subject: ``s1`` to ``s4``.
        speed: Scales all motion; 1 moves the hands at 0.5 to 1 m/s.

    Raises:
        UsageError: No such subject.
    """
    if subject not in OUTFITS:
        raise UsageError(f"subject {subject!r} is not one of {', '.join(OUTFITS)}", hint="--subject s1")
    template, outfit = load_template(), OUTFITS[subject]
    rng = np.random.default_rng([outfit.seed, 5])
    turns = [(turn, side) for turn in BOTH_SIDES for side in (".L", ".R")] + [(turn, "") for turn in MIDDLE]
    return Body(
        subject=subject,
        template=template,
        texture=paint_texture(template, outfit, TEXTURE_SIZE),
        roughness=vertex_roughness(template, outfit),
        offsets=cloth_offsets(template, outfit),
        waves=tuple(_wave(template, turn, side, rng) for turn, side in turns),
        speed=speed,
        phase=float(rng.uniform(0, 2 * np.pi)),
    )


def _wave(template: Template, turn: Turn, side: str, rng: np.random.Generator) -> Wave:
    direction = np.zeros((len(template.bones), 3))
    for name in turn.bones:
        bone = template.bone(name + side)
        direction[bone] += _axis(template, turn.axis, bone) * ([1, -1, -1] if _mirrors(turn, side) else [1, 1, 1])
    direction /= len(turn.bones)
    hz = turn.hz * rng.uniform(0.85, 1.15)
    phases = rng.uniform(0, 2 * np.pi, len(HARMONICS))
    return Wave(direction, np.radians(turn.low_deg), np.radians(turn.high_deg), hz, phases)


def _mirrors(turn: Turn, side: str) -> bool:
    return side == ".R" and not isinstance(turn.axis, str)


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

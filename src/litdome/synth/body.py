"""A moving, human-shaped person for the simulated light stage, with exact truth: pose, expression, surface, albedo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from litdome.errors import UsageError
from litdome.synth.actions import PerformedAction, acted_motion
from litdome.synth.cloth import Cloth, Fabric, hangs, hung, make_fabric
from litdome.synth.face import CREASE_NAMES, Creases, gaze_at, make_creases
from litdome.synth.forehead import make_forehead
from litdome.synth.motion import Motion, free_motion
from litdome.synth.outfit import PART_NAMES, cloth_offsets, paint_texture, part_labels, vertex_roughness
from litdome.synth.physique import reshape
from litdome.synth.render import Mesh
from litdome.synth.subjects import SUBJECTS
from litdome.template.model import Float32Array, FloatArray, IntArray, Template, load_template
from litdome.template.skinning import Pose, move_bones, posed_joints, skin, vertex_normals

__all__ = ["PART_NAMES", "SUBJECTS", "Body", "make_body"]
TEXTURE_SIZE = 1024
SOFTNESS_PER_M = 300.0
RAISED = [CREASE_NAMES.index(f"brows up {side}") for side in ("left", "right")]
SOLES = ("foot.L", "foot.R", "toe3-1.L", "toe3-1.R")


@dataclass(frozen=True, eq=False)
class Body:
    """One simulated subject; everything about it is known at any time.

    Attributes:
        subject: One of `SUBJECTS`.
        template: The person at rest.
        texture: Linear albedo over the template's UV layout, shape (1024, 1024, 3).
        roughness: Per vertex, shape (vertex,).
        labels: Index into `PART_NAMES` of each face of the template, shape (face,).
        offsets: Clothes and hair over the skin at rest, shape (vertex, 3), metres.
        creases: Of the face.
        motion: What the person does.
        speed: Scales how fast; 0 stands still.
        fabric: Clothes and hair that swing; None: all of them only follow the skin.
        seed: Of the subject: draws where the eyes look.
    """

    subject: str
    template: Template
    texture: Float32Array
    roughness: Float32Array
    labels: IntArray
    offsets: FloatArray
    creases: Creases
    motion: Motion
    speed: float
    fabric: Fabric | None
    seed: int

    def pose(self, time_s: float) -> Pose:
        """Exact pose at a time, the eyes looking straight ahead: as far as tracking can see."""
        pose = self.motion.pose(time_s, self.speed)
        shifts = move_bones(self.template, Pose(pose.rotations, np.array([1.0, 0.0, 1.0]) * pose.translation)).shifts
        heights = np.array([shifts[self.template.bone(name), 1] for name in SOLES])
        # until the lower foot stands on y = 0: a smooth minimum, at most 4.6 mm low
        lowest = -np.log(np.exp(-SOFTNESS_PER_M * heights).mean()) / SOFTNESS_PER_M
        return Pose(pose.rotations, pose.translation - np.array([0.0, lowest, 0.0]))

    def expression(self, time_s: float) -> FloatArray:
        """Exact expression codes at a time, shape (52,), 0..1."""
        return self.motion.expression(time_s, self.speed)

    def gaze(self, time_s: float) -> FloatArray:
        """Where the eyes look against the head: to the person's left, and up, radians, shape (2,)."""
        return gaze_at(self.speed * time_s, self.seed)

    def vertices(self, time_s: float) -> FloatArray:
        """The template's vertices, clothed and posed, shape (vertex, 3), metres, world."""
        vertices = self.skinned(time_s)
        if self.fabric is not None and self._cloth is not None:
            vertices[self.fabric.vertices] += self._cloth.lag(time_s if self.speed else 0.0)
        return vertices

    @cached_property
    def _cloth(self) -> Cloth | None:
        if self.fabric is None:
            return None
        hang = hangs(self._worn, SUBJECTS[self.subject].outfit, self.fabric, self.offsets)
        return Cloth(self.fabric, lambda time_s: hang(self.pose(time_s)))

    @cached_property
    def _worn(self) -> Template:
        """The person at rest with the skin weights that their clothes have."""
        return self.template if self.fabric is None else hung(self.template, SUBJECTS[self.subject].outfit)

    def skinned(self, time_s: float) -> FloatArray:
        """As `vertices`, with clothes that only follow the skin."""
        pose, expression = self.pose(time_s), self.expression(time_s)
        left, up = self.gaze(time_s)
        rotations = pose.rotations.copy()
        rotations[[self.template.bone("eye.L"), self.template.bone("eye.R")]] += (-up, left, 0.0)
        folded = self.offsets - self._inward @ self.creases.strength(expression)
        return skin(self._worn, Pose(rotations, pose.translation), expression, offsets=folded)

    @cached_property
    def _inward(self) -> FloatArray:
        """Movement of the skin into each cause's creases at full strength, shape (vertex, 3, cause), metres."""
        out = vertex_normals(self.template.vertices, self.template.faces)
        return np.asarray(out[:, :, None] * self.creases.depth[:, None, :])

    def joints(self, time_s: float) -> FloatArray:
        """The template's joints, shape (bone, 3), metres, world."""
        return posed_joints(self.template, self.pose(time_s))

    def mesh(self, time_s: float) -> Mesh:
        """The surface at a time, cut open along the UV seams; face i is the template's face i, then come folds."""
        vertices = self.vertices(time_s)
        cut, strengths = self.template.uv_vertices, self.creases.strength(self.expression(time_s))
        mesh = Mesh(
            vertices=vertices[cut],
            faces=self.template.face_uv,
            normals=vertex_normals(vertices, self.template.faces)[cut],
            albedo=np.ones((len(cut), 3), np.float32),
            roughness=self.roughness[cut],
            texture=self.texture,
            uv=self.template.uv,
            creases=self.creases.picture,
            crease_strengths=strengths,
        )
        return make_forehead().on(mesh, strengths[RAISED])

    @cached_property
    def mesh_labels(self) -> IntArray:
        """As `labels`, of each face of `mesh`."""
        return np.append(self.labels, np.full(len(make_forehead().faces), PART_NAMES.index("face"), self.labels.dtype))


def make_body(
    subject: str = "s1", *, speed: float = 1.0, actions: Sequence[PerformedAction] = (), seed: int = 0
) -> Body:
    """Make a simulated subject, about 1.7 m tall, standing at the origin and facing +z.

    Args:
        subject: One of `SUBJECTS`.
        speed: Scales how fast things are done; 1 moves the hands at 0.5 to 1 m/s.
        actions: What is done when, on the body's clock; none: the person moves about freely.
        seed: Draws the expressions that `actions` leave open.

    Raises:
        UsageError: No such subject.
    """
    if subject not in SUBJECTS:
        raise UsageError(f"subject {subject!r} is not one of {', '.join(SUBJECTS)}", hint="--subject s1")
    who = SUBJECTS[subject]
    shipped, outfit = load_template(), who.outfit
    person = reshape(shipped, who.physique)
    offsets = cloth_offsets(person, outfit)
    return Body(
        subject=subject,
        template=person,
        texture=paint_texture(shipped, outfit, TEXTURE_SIZE),
        roughness=vertex_roughness(shipped, outfit),
        labels=part_labels(shipped, outfit),
        offsets=offsets,
        creases=make_creases(TEXTURE_SIZE),
        motion=acted_motion(person, actions, seed) if actions else free_motion(person, outfit.seed),
        speed=speed,
        fabric=make_fabric(person, outfit, who.sway_hz) if who.sway_hz else None,
        seed=outfit.seed,
    )

"""Other people from the one template: longer or shorter, thinner or stouter, with another face; joints come along.

Every bone scales what hangs on it along and across itself, blended by the skin weights, so that skin, skeleton and
skin weights still agree. Faces differ by smooth bumps.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from litdome.synth.subjects import Physique
from litdome.template.model import FloatArray, Template

TORSO = ("root", "pelvis", "spine", "clavicle")
ARM = ("shoulder", "upperarm", "lowerarm")
LEG = ("upperleg", "lowerleg")
HEAD = ("head", "eye")
HIPS = ("root", "pelvis", "spine05")
SIDEWAYS = ("pelvis", "clavicle", "shoulder")


def reshape(template: Template, physique: Physique) -> Template:
    """The template with another physique, its feet on y = 0 again; faces, weights and texture layout stay."""
    if physique == Physique():
        return template
    joints, scales = _grow(template, physique)
    arms = template.vertices[:, None].astype(np.float64) - template.joints[template.weight_bones]
    grown = joints[template.weight_bones] + np.einsum("vkij,vkj->vki", scales[template.weight_bones], arms)
    vertices = np.einsum("vk,vki->vi", template.weights, grown)
    change = _face_change(template, physique)
    vertices, joints = vertices + change[: len(vertices)], joints + change[len(vertices) :]
    down = np.array([0.0, vertices[:, 1].min() - template.vertices[:, 1].min(), 0.0])
    return replace(
        template,
        vertices=((vertices - down) * physique.height).astype(np.float32),
        joints=(joints - down) * physique.height,
        expression_offsets=template.expression_offsets * np.float32(physique.head * physique.height),
    )


def _grow(template: Template, physique: Physique) -> tuple[FloatArray, FloatArray]:
    """Joints, shape (bone, 3), and what each bone does to what hangs on it, shape (bone, 3, 3)."""
    joints, scales = template.joints.copy(), np.tile(np.eye(3), (len(template.bones), 1, 1))
    for bone, name in enumerate(template.bones):
        axis = _along(template, bone)
        across, along = girth(physique, name), length(physique, name)
        scales[bone] = across * np.eye(3) + (along - across) * np.outer(axis, axis)
        parent = template.parents[bone]
        if parent >= 0:
            joints[bone] = joints[parent] + scales[parent] @ (template.joints[bone] - template.joints[parent])
    return joints, scales


def _along(template: Template, bone: int) -> FloatArray:
    """Unit direction of a bone: straight up in the trunk, from the middle outwards in hips and shoulders."""
    name = template.bones[bone]
    if name.startswith(SIDEWAYS):
        return np.array([1.0, 0.0, 0.0])
    if name.startswith((*TORSO, "neck", *HEAD)):
        return np.array([0.0, 1.0, 0.0])
    children = np.flatnonzero(template.parents == bone)
    ends = (bone, int(children[0])) if len(children) else (int(template.parents[bone]), bone)
    out = template.joints[ends[1]] - template.joints[ends[0]]
    unit: FloatArray = out / max(float(np.linalg.norm(out)), 1e-9)
    return unit


def _face_change(template: Template, physique: Physique) -> FloatArray:
    """What the bumps do to vertices and joints of the head, shape (vertex + bone, 3), metres."""
    on_head = np.isin(template.weight_bones, [k for k, name in enumerate(template.bones) if name.startswith(HEAD)])
    share = np.concatenate([(template.weights * on_head).sum(axis=1), np.zeros(len(template.bones))])
    at = np.concatenate([template.vertices.astype(np.float64), template.joints])
    for side in "LR":  # an eye moves as one, with its joint
        bone = template.bone(f"eye.{side}")
        ball = np.flatnonzero(template.weight_bones[:, 0] == bone)
        at[ball], share[len(template.vertices) + bone] = template.joints[bone], 1.0
    change = np.zeros_like(at)
    mirrored = at * np.where(at[:, :1] < 0, [-1.0, 1.0, 1.0], 1.0)
    for bump in physique.face:
        squared = ((mirrored - bump.centre) ** 2).sum(axis=1) / bump.radius_m**2
        change += np.exp(-squared / 2)[:, None] * bump.shift
    # on the midline nothing moves sideways, so that both halves stay one
    change[:, 0] *= np.sign(at[:, 0]) * np.minimum(np.abs(at[:, 0]) / 0.01, 1)
    return np.asarray(change * share[:, None])


def girth(physique: Physique, bone: str) -> float:
    """Factor across a bone."""
    if bone.startswith(TORSO):
        return physique.belly if bone.startswith((*HIPS, "spine04", "spine03")) else physique.torso
    return _of_limb(physique, bone, physique.arms, physique.legs, physique.neck)


def length(physique: Physique, bone: str) -> float:
    """Factor along a bone."""
    if bone.startswith(SIDEWAYS):
        return physique.hips if bone.startswith("pelvis") else physique.shoulders
    return _of_limb(physique, bone, physique.arm_length, physique.leg_length, 1.0)


def _of_limb(physique: Physique, bone: str, arm: float, leg: float, neck: float) -> float:
    if bone.startswith(HEAD):
        return physique.head
    if bone.startswith("neck"):
        return neck
    return arm if bone.startswith(ARM) else leg if bone.startswith(LEG) else 1.0

"""Posing the template: forward kinematics, linear blend and dual quaternion skinning, expressions, normals.

Everything is written as a change from rest, so that the identity pose gives the rest vertices bit for bit.
Quaternions are (w, x, y, z).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from litdome.errors import ConfigError
from litdome.template.model import FloatArray, IntArray, Template

SkinningMethod = Literal["dqs", "lbs"]


@dataclass(frozen=True, eq=False)
class Pose:
    """How the template stands.

    Attributes:
        rotations: Local rotation of each bone, axis-angle, radians, shape (bone, 3), about axes that are parallel to
            the world at rest and move with the parent. The root's turns the whole person.
        translation: Moves the whole person, shape (3,), metres.
    """

    rotations: FloatArray
    translation: FloatArray


@dataclass(frozen=True, eq=False)
class BoneMotion:
    """Where the bones have gone: a point x near bone b goes to R_b (x - joint_b) + joint_b + shift_b.

    Attributes:
        quaternions: Shape (bone, 4), unit, real part first.
        shifts: Movement of each joint, shape (bone, 3), metres.
    """

    quaternions: FloatArray
    shifts: FloatArray


def rest_pose(template: Template) -> Pose:
    """No rotation, no translation."""
    return Pose(np.zeros((len(template.bones), 3)), np.zeros(3))


def move_bones(template: Template, pose: Pose) -> BoneMotion:
    """Forward kinematics.

    Raises:
        ConfigError: The pose is for another number of bones.
    """
    bones = len(template.bones)
    if pose.rotations.shape != (bones, 3):
        raise ConfigError(f"pose has rotations of shape {pose.rotations.shape}, the template needs ({bones}, 3)")
    quaternions = quaternions_from_axis_angle(pose.rotations)
    shifts = np.zeros((bones, 3))
    shifts[0] = pose.translation
    for level in _levels(template):  # whole generations at once: a loop over bones takes longer than the skinning
        parents = template.parents[level]
        arms = template.joints[level] - template.joints[parents]
        shifts[level] = shifts[parents] + _turn(quaternions[parents], arms)
        quaternions[level] = _product(quaternions[parents], quaternions[level])
    return BoneMotion(quaternions, shifts)


def _levels(template: Template) -> list[IntArray]:
    """Bones by their distance from the root, the root itself left out."""
    depths = np.zeros(len(template.bones), np.int32)
    for bone in range(1, len(depths)):
        depths[bone] = depths[template.parents[bone]] + 1
    return [np.flatnonzero(depths == depth).astype(np.int32) for depth in range(1, int(depths.max()) + 1)]


def posed_joints(template: Template, pose: Pose) -> FloatArray:
    """Joints in the world, shape (bone, 3), metres."""
    return template.joints + move_bones(template, pose).shifts


def express(template: Template, expression: npt.ArrayLike) -> FloatArray:
    """Rest vertices with an expression, shape (vertex, 3), metres.

    Raises:
        ConfigError: ``expression`` does not have shape (52,).
    """
    codes = np.asarray(expression, np.float64)
    if codes.shape != (len(template.expressions),):
        raise ConfigError(f"expression has shape {codes.shape}, the template needs ({len(template.expressions)},)")
    vertices = template.vertices.astype(np.float64)
    for code in np.flatnonzero(codes):
        rows = slice(template.expression_starts[code], template.expression_starts[code + 1])
        vertices[template.expression_vertices[rows]] += codes[code] * template.expression_offsets[rows]
    return vertices


def skin(
    template: Template,
    pose: Pose,
    expression: npt.ArrayLike | None = None,
    *,
    method: SkinningMethod = "dqs",
    offsets: FloatArray | None = None,
) -> FloatArray:
    """Vertices of the posed template.

    Args:
        template: The person at rest.
        pose: How it stands.
        expression: Expression codes, shape (52,), usually 0..1.
        method: ``dqs`` keeps volume at twisted joints; ``lbs`` is what most exchange formats mean.
        offsets: Added to the rest vertices before posing, shape (vertex, 3), metres (clothes, a fit).

    Returns:
        Shape (vertex, 3), float64, metres, world.

    Source: Kavan et al., Skinning with Dual Quaternions, I3D 2007.
    """
    rest = template.vertices.astype(np.float64) if expression is None else express(template, expression)
    if offsets is not None:
        rest = rest + offsets
    motion = move_bones(template, pose)
    return _skin_dqs(template, motion, rest) if method == "dqs" else _skin_lbs(template, motion, rest)


def _skin_lbs(template: Template, motion: BoneMotion, rest: FloatArray) -> FloatArray:
    change = np.concatenate([_matrix_change(motion.quaternions), _origin_shifts(template, motion)[..., None]], axis=2)
    blended = np.einsum("vk,vkij->vij", template.weights, change[template.weight_bones])
    moved: FloatArray = rest + np.einsum("vij,vj->vi", blended[..., :3], rest) + blended[..., 3]
    return moved


def _skin_dqs(template: Template, motion: BoneMotion, rest: FloatArray) -> FloatArray:
    real = motion.quaternions
    shift = np.column_stack([np.zeros(len(real)), _origin_shifts(template, motion)])
    dual = np.concatenate([real, 0.5 * _product(shift, real)], axis=1)[template.weight_bones]
    # q and -q are one rotation: each vertex takes the side of its own dominant bone
    side = np.where(np.einsum("vkc,vc->vk", dual[..., :4], dual[:, 0, :4]) < 0, -1.0, 1.0)
    blended = np.einsum("vk,vkc->vc", template.weights * side, dual)
    blended /= np.linalg.norm(blended[:, :4], axis=1, keepdims=True)
    turn, half = blended[:, :4], blended[:, 4:]
    conjugate = turn * np.array([1.0, -1.0, -1.0, -1.0])
    moved: FloatArray = rest + _turn(turn, rest) + 2 * _product(half, conjugate)[:, 1:]
    return moved


def vertex_normals(vertices: npt.NDArray[np.floating], faces: IntArray) -> FloatArray:
    """Outward unit normals of a mesh, weighted by the faces' areas, shape (vertex, 3)."""
    corners = vertices[faces].astype(np.float64)
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    flat = faces.ravel()
    sums = [np.bincount(flat, np.repeat(across[:, axis], 3), len(vertices)) for axis in range(3)]
    normals = np.stack(sums, axis=1)
    unit: FloatArray = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)
    return unit


def quaternions_from_axis_angle(rotations: FloatArray) -> FloatArray:
    """Unit quaternions, shape (..., 4), of axis-angle vectors, shape (..., 3), radians."""
    angle = np.linalg.norm(rotations, axis=-1, keepdims=True)
    return np.concatenate([np.cos(angle / 2), rotations * 0.5 * np.sinc(angle / (2 * np.pi))], axis=-1)


def _origin_shifts(template: Template, motion: BoneMotion) -> FloatArray:
    """Translation part t of each bone's x -> R x + t, shape (bone, 3)."""
    return motion.shifts - _turn(motion.quaternions, template.joints)


def _turn(quaternions: FloatArray, points: FloatArray) -> FloatArray:
    """How far rotation moves points: R x - x, shape (..., 3); exactly 0 for the identity."""
    real, imaginary = quaternions[..., :1], quaternions[..., 1:]
    once = np.cross(imaginary, points)
    change: FloatArray = 2 * (real * once + np.cross(imaginary, once))
    return change


def _matrix_change(quaternions: FloatArray) -> FloatArray:
    """R - I of each quaternion, shape (..., 3, 3)."""
    return np.stack([_turn(quaternions, axis) for axis in np.eye(3)], axis=-1)


def _product(left: FloatArray, right: FloatArray) -> FloatArray:
    """Hamilton product, shape (..., 4)."""
    w = left[..., :1] * right[..., :1] - (left[..., 1:] * right[..., 1:]).sum(axis=-1, keepdims=True)
    xyz = left[..., :1] * right[..., 1:] + right[..., :1] * left[..., 1:] + np.cross(left[..., 1:], right[..., 1:])
    return np.concatenate([w, xyz], axis=-1)

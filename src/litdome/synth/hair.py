"""Hair: where it grows or falls on the template, and the shell that it makes over scalp, ears and neck."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from litdome.synth.smooth import inner, smooth_noise, spread
from litdome.synth.subjects import Hair
from litdome.template.model import FloatArray, Template
from litdome.template.skinning import vertex_normals

SKULL = np.array([0.0, 1.605, 0.038])  # its middle at rest, m
SHELL = np.array([0.083, 0.1, 0.112])  # semi-axes of long hair's shell, m
RIPPLE_M = 0.006  # of hairlines


def hair_covers(hair: Hair, points: FloatArray, on_head: npt.NDArray[np.bool_], seed: int) -> npt.NDArray[np.bool_]:
    """Which points at rest, shape (n, 3), a hair style covers; ``on_head`` of them belong to the head."""
    y, z = points[:, 1], points[:, 2]
    ripple = RIPPLE_M * smooth_noise(points, 0.05, seed)
    scalp = on_head & (y + ripple > 1.53 + 0.62 * (z + 0.08)) & (y > 1.5)
    if hair.falls_to_m is None:
        return scalp
    beside = (y + ripple > hair.falls_to_m) & (z + ripple < 0.062 - 0.25 * np.maximum(1.56 - y, 0)) & (y < 1.64)
    near = np.hypot(points[:, 0], z - SKULL[2]) < 0.16  # not the shoulders
    return np.asarray(scalp | (beside & near))


def hair_offsets(
    template: Template, hair: Hair, covered: npt.NDArray[np.bool_], points: FloatArray, seed: int
) -> FloatArray:
    """How far hair stands off the skin, shape (vertex, 3), metres, 0 where none is.

    Args:
        template: The person.
        hair: The style.
        covered: Which vertices it covers, shape (vertex,).
        points: Where they are on the person that litdome ships, shape (vertex, 3).
        seed: Draws the locks.
    """
    covered = inner(covered, template.faces)  # the step at the rim is hair, not stretched skin
    thick = hair.thickness_m + hair.bumps_m * smooth_noise(points, hair.lock_m, seed)
    out = vertex_normals(template.vertices, template.faces)
    offsets = out * np.maximum(thick, 0)[:, None] * covered[:, None]
    offsets = spread(offsets, template.faces, np.zeros(len(offsets), np.int32), rounds=2)
    if hair.falls_to_m is None:
        return offsets
    # ears and neck disappear under a shell: an egg above the skull's middle, a hanging curtain below
    from_skull = points - SKULL
    from_skull[:, 1] = np.maximum(from_skull[:, 1], 0)
    reach = np.linalg.norm(from_skull / SHELL, axis=1, keepdims=True)
    to_shell = from_skull * (1 / np.maximum(reach, 0.3) - 1)
    curtain = to_shell + (from_skull / np.maximum(reach, 0.3)) * (np.maximum(thick, 0) / SHELL[0])[:, None]
    low = np.clip((1.66 - points[:, 1]) / 0.05, 0, 1)[:, None] * covered[:, None]
    return np.asarray(offsets * (1 - low) + curtain * low)

"""A world for a rig that only knows its cameras' mutual poses: up, front, floor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from litdome.errors import CalibrationError
from litdome.geometry import Rig

FloatArray = npt.NDArray[np.float64]
FLOOR_BELOW_LOOK_AT_M = 0.92  # body stages look at the middle of a standing person
MIN_LOPSIDED = 0.1  # of the mean radius: below that the ring is closed and has no front
MIN_SPREAD = 0.01  # of sideways axes (mean square): below that cameras stand side by side and their mean up decides


def level_rig(rig: Rig) -> Rig:
    """The rig in a world with +y up, for takes that say nothing about gravity.

    Up is what all cameras' sideways axes are perpendicular to: cameras are mounted upright, pitched as they like. The
    origin lies `FLOOR_BELOW_LOOK_AT_M` under the point that the cameras look at. +z points from there to the middle of
    the cameras (the open side of the ring is behind the subject), or to the first camera where the ring is closed.

    Raises:
        CalibrationError: All cameras look in one direction, so that they look at no point.
    """
    poses = np.stack([camera.world_from_camera for camera in rig.cameras])
    up = _up(poses)
    target = _look_at_point(poses)
    outward = poses[:, :3, 3] - target
    outward -= np.outer(outward @ up, up)
    front = outward.mean(axis=0)
    if np.linalg.norm(front) < MIN_LOPSIDED * np.linalg.norm(outward, axis=1).mean():
        front = outward[0]
    z = front / np.linalg.norm(front)
    new_from_old = np.eye(4)
    new_from_old[:3, :3] = np.stack([np.cross(up, z), up, z])
    new_from_old[:3, 3] = -new_from_old[:3, :3] @ (target - FLOOR_BELOW_LOOK_AT_M * up)
    return Rig(
        tuple(replace(camera, world_from_camera=new_from_old @ camera.world_from_camera) for camera in rig.cameras)
    )


def _up(poses: FloatArray) -> FloatArray:
    sideways, mean_up = poses[:, :3, 0], -poses[:, :3, 1].mean(axis=0)
    spread, axes = np.linalg.eigh(sideways.T @ sideways / len(poses))
    if spread[1] > MIN_SPREAD:
        up = axes[:, 0] * np.sign(axes[:, 0] @ mean_up)
    else:
        up = mean_up - axes[:, 2] * (axes[:, 2] @ mean_up)
    return np.asarray(up / np.linalg.norm(up))


def _look_at_point(poses: FloatArray) -> FloatArray:
    """Where the optical axes come closest together."""
    axes, centres = poses[:, :3, 2], poses[:, :3, 3]
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    normal = across.sum(axis=0)
    if np.linalg.cond(normal) > 1e6:
        raise CalibrationError("all cameras look in one direction: the stage has no centre", hint="--import FILE")
    return np.linalg.solve(normal, np.einsum("nij,nj->i", across, centres))

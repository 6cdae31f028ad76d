"""A world for a rig that only knows its cameras' mutual poses: up, front, floor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from litdome.calib.boards import BoardSpec, BoardView
from litdome.errors import CalibrationError
from litdome.geometry import Camera, Rig

FloatArray = npt.NDArray[np.float64]
FLOOR_BELOW_LOOK_AT_M = 0.92  # body stages look at the middle of a standing person
MIN_LOPSIDED = 0.1  # of the mean radius: below that the ring is closed and has no front
MIN_SPREAD = 0.01  # of sideways axes (mean square): below that cameras stand side by side and their mean up decides
MAX_TILT_DEG = 45.0  # of the cameras' own up; a world with another axis up is off by 90 or 180
MAX_FLOOR_PX = 5.0  # root mean square of what is believed
WORLD_FROM_FLOOR_BOARD = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # the board's +z points into the floor


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a rig stands in the world.

    Attributes:
        world_from_rig: Rigid transform, shape (4, 4), metres; lengths of the rig are multiplied by `scale` before it.
        scale: Metres of the world in a metre of the rig.
        words: How up, floor, front and origin were found, with the error.
        warnings: What is guessed or contradicts.
    """

    world_from_rig: FloatArray
    words: str
    scale: float = 1.0
    warnings: tuple[str, ...] = ()

    def moved(self, pose: FloatArray) -> FloatArray:
        """A pose in the rig's frame, shape (..., 4, 4), as a pose in the world."""
        scaled = pose.copy()
        scaled[..., :3, 3] *= self.scale
        return np.asarray(self.world_from_rig @ scaled)

    def placed(self, rig: Rig) -> Rig:
        """The rig in the world."""
        return Rig(tuple(replace(c, world_from_camera=self.moved(c.world_from_camera)) for c in rig.cameras))


def level_rig(rig: Rig) -> Rig:
    """The rig placed by `place_by_cameras`."""
    return place_by_cameras(rig).placed(rig)


def place_by_cameras(rig: Rig) -> Placement:
    """A world with +y up for takes that say nothing about gravity.

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
    rotation = np.stack([np.cross(up, z), up, z])
    origin = target - FLOOR_BELOW_LOOK_AT_M * up
    guess = f"front and floor are guessed: +z is the open side of the ring, the floor {FLOOR_BELOW_LOOK_AT_M} m under"
    return Placement(
        rigid(rotation, -rotation @ origin),
        "up from the cameras' own, front and floor guessed",
        warnings=(f"{guess} the point that the cameras look at; lay a board on the floor, or --align --points FILE",),
    )


def tilt_warnings(rig: Rig) -> tuple[str, ...]:
    """A warning where the cameras' own up is far from the world's +y: a file whose up axis is another."""
    up = _up(np.stack([camera.world_from_camera for camera in rig.cameras]))
    tilt_deg = float(np.degrees(np.arccos(np.clip(up[1], -1, 1))))
    if tilt_deg < MAX_TILT_DEG:
        return ()
    hint = "is the file's up another axis, or are cameras mounted turned? --align --world cameras turns it upright"
    return (f"the cameras' own up is {tilt_deg:.0f} degrees from +y: {hint}",)


def place_by_floor(rig: Rig, views: Mapping[str, BoardView], spec: BoardSpec) -> Placement:
    """A world whose floor a board lies on, face up.

    The board's middle is the origin, its +x (along the columns) the world's +x, its +y (down the rows) the world's +z:
    the lower edge of the print points to the front.

    Args:
        rig: Cameras at the size of the pictures that show the board.
        views: What the cameras see of it, by id; one is enough, all are used.
        spec: The board.

    Raises:
        CalibrationError: No camera of the rig sees it, or what they see contradicts (measured against allowed).
    """
    seen = {camera: views[camera.id] for camera in rig.cameras if camera.id in views}
    if not seen:
        raise CalibrationError("no camera sees the board on the floor", hint="film boards/floor/<camera> again")
    candidates = [
        camera.world_from_camera @ pose for camera, view in seen.items() for pose in _board_poses(camera, view, spec)
    ]

    def residual(pose: FloatArray) -> FloatArray:
        points = spec.points @ pose[:3, :3].T + pose[:3, 3]
        return np.concatenate([camera.project(points[view.ids]) - view.pixels for camera, view in seen.items()])

    best = min(candidates, key=lambda pose: float((residual(pose) ** 2).sum()))
    found = least_squares(
        lambda step: residual(_stepped(best, step)).ravel(), np.zeros(6), loss="soft_l1", x_scale="jac"
    )
    pose = _stepped(best, found.x)
    rms = float(np.sqrt((residual(pose) ** 2).sum(axis=1).mean()))
    if rms > MAX_FLOOR_PX:
        raise CalibrationError(
            f"floor board: {rms:.1f} px > {MAX_FLOOR_PX:.1f} px over {', '.join(c.id for c in seen)}",
            hint="did the board or a camera move between the takes?",
        )
    middle = pose[:3, :3] @ (np.array([spec.columns, spec.rows, 0]) * spec.square_m / 2) + pose[:3, 3]
    rotation = WORLD_FROM_FLOOR_BOARD @ pose[:3, :3].T
    words = f"floor, up, front and origin from a board on the floor, {rms:.2f} px in {len(seen)} cameras"
    return Placement(rigid(rotation, -rotation @ middle), words)


def _board_poses(camera: Camera, view: BoardView, spec: BoardSpec) -> list[FloatArray]:
    """The two poses camera_from_board that a plane allows."""
    rays = camera.undistort_pixels(view.pixels) - camera.intrinsics[:2, 2]
    normalised = np.column_stack([rays, np.ones(len(rays))])
    normalised[:, :2] = rays @ np.linalg.inv(camera.intrinsics[:2, :2]).T
    plane = (spec.points[view.ids], np.ascontiguousarray(normalised[:, :2]), np.eye(3), None)
    _, rvecs, tvecs, _ = cv2.solvePnPGeneric(*plane, flags=cv2.SOLVEPNP_IPPE)
    return [rigid(cv2.Rodrigues(r)[0], t.ravel()) for r, t in zip(rvecs, tvecs, strict=True)]


def _stepped(pose: FloatArray, step: FloatArray) -> FloatArray:
    moved = pose.copy()
    moved[:3, :3] = cv2.Rodrigues(step[:3])[0] @ pose[:3, :3]
    moved[:3, 3] += step[3:]
    return moved


def rigid(rotation: FloatArray, shift: FloatArray) -> FloatArray:
    """Transform, shape (4, 4), of a rotation and a translation."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, shift
    return pose


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

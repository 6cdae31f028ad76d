"""Cameras and rigs as frozen values. Camera axes OpenCV (+x right, +y down, +z forward), world +y up, metres."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import cv2
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
LensModel = Literal["pinhole5", "pinhole8", "fisheye4"]
REFERENCE_HEIGHT_PX = 1080  # limits in px are meant at this height of the picture
OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0])
WORLD_FROM_Z_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])  # +z up to +y up, a rotation about x


@dataclass(frozen=True, eq=False)
class Camera:
    """One calibrated camera.

    Attributes:
        id: Camera id, for example ``c00``.
        width, height: Picture size, px.
        intrinsics: K, shape (3, 3), px; pixel centres at integers.
        distortion: Shape (8,), OpenCV order k1 k2 p1 p2 k3 k4 k5 k6 (fisheye4: the first four), zero-padded.
        world_from_camera: Rigid transform, shape (4, 4), metres.
        model: Lens model.
        role: ``body`` or ``face``.
    """

    id: str
    width: int
    height: int
    intrinsics: FloatArray
    distortion: FloatArray
    world_from_camera: FloatArray
    model: LensModel = "pinhole5"
    role: str = "body"

    @property
    def camera_from_world(self) -> FloatArray:
        """Inverse of `world_from_camera`, shape (4, 4)."""
        return invert_rigid(self.world_from_camera)

    @property
    def centre(self) -> FloatArray:
        """Position of the optical centre in the world, shape (3,), metres."""
        return self.world_from_camera[:3, 3]

    def project(self, points: FloatArray) -> FloatArray:
        """Project world points, shape (n, 3), metres, to pixels, shape (n, 2), lens distortion included."""
        pose = self.camera_from_world
        seen = points @ pose[:3, :3].T + pose[:3, 3]
        zero = np.zeros(3)
        if self.model == "fisheye4":
            pixels, _ = cv2.fisheye.projectPoints(seen[:, None], zero, zero, self.intrinsics, self.distortion[:4])
        else:
            pixels, _ = cv2.projectPoints(seen[:, None], zero, zero, self.intrinsics, self.distortion)
        return np.asarray(pixels, np.float64).reshape(-1, 2)

    def undistort_pixels(self, pixels: FloatArray) -> FloatArray:
        """Where pixels, shape (n, 2), would lie without lens distortion (same K), shape (n, 2)."""
        points = np.asarray(pixels, np.float64).reshape(-1, 1, 2)
        if self.model == "fisheye4":
            out = cv2.fisheye.undistortPoints(points, self.intrinsics, self.distortion[:4], P=self.intrinsics)
        else:
            criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-9)
            lens = self.intrinsics, self.distortion
            out = cv2.undistortPoints(points, *lens, P=self.intrinsics, criteria=criteria)
        return np.asarray(out, np.float64).reshape(-1, 2)

    def ray_directions(self, pixels: FloatArray) -> FloatArray:
        """Unit directions in the world through pixels, shape (n, 2) to (n, 3)."""
        undistorted = self.undistort_pixels(pixels)
        seen = np.column_stack([undistorted, np.ones(len(undistorted))]) @ np.linalg.inv(self.intrinsics).T
        directions = seen @ self.world_from_camera[:3, :3].T
        return cast(FloatArray, directions / np.linalg.norm(directions, axis=1, keepdims=True))

    def scaled(self, width: int, height: int) -> Camera:
        """The same camera with its picture resized to ``width`` x ``height`` (half-pixel rule: (c + 0.5) s - 0.5)."""
        scale = (width / self.width, height / self.height)
        return replace(self, width=width, height=height, intrinsics=scaled_intrinsics(self.intrinsics, *scale))

    def undistorted(self) -> Camera:
        """The same camera without lens distortion."""
        return replace(self, distortion=np.zeros(8), model="pinhole5")


@dataclass(frozen=True)
class Rig:
    """The cameras of a stage, in the order of the store's camera axis."""

    cameras: tuple[Camera, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(camera.id for camera in self.cameras)

    def __getitem__(self, id: str) -> Camera:
        for camera in self.cameras:
            if camera.id == id:
                return camera
        raise KeyError(id)


def scaled_intrinsics(intrinsics: FloatArray, scale_x: float, scale_y: float) -> FloatArray:
    """K after a resize by (scale_x, scale_y), principal point by the half-pixel rule (c + 0.5) s - 0.5."""
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    back = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
    return cast(FloatArray, back @ np.diag([scale_x, scale_y, 1.0]) @ half @ intrinsics)


def invert_rigid(pose: FloatArray) -> FloatArray:
    """Inverse of a rigid transform, shape (4, 4)."""
    inverse = np.eye(4)
    inverse[:3, :3] = pose[:3, :3].T
    inverse[:3, 3] = -pose[:3, :3].T @ pose[:3, 3]
    return inverse


def look_at(centre: npt.ArrayLike, target: npt.ArrayLike, up: npt.ArrayLike = (0.0, 1.0, 0.0)) -> FloatArray:
    """world_from_camera, shape (4, 4), of a camera at ``centre`` looking at ``target`` (OpenCV axes, y up world)."""
    eye = np.asarray(centre, np.float64)
    forward = np.asarray(target, np.float64) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, np.asarray(up, np.float64))
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.column_stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = eye
    return pose


def rotation_about_y(degrees: float) -> FloatArray:
    """Rotation, shape (3, 3), that turns world +z towards +x about +y."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def pixel_grid(width: int, height: int) -> npt.NDArray[Any]:
    """Pixel centres of a picture in row-major order, shape (height * width, 2), as (x, y)."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    return np.column_stack([x.ravel(), y.ravel()])


def view_maps(source: Camera, target: Camera) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Where each pixel of ``target`` lies in ``source``'s picture: maps (x, y) for cv2.remap, each (height, width).

    Both cameras share one pose; ``target`` is a pinhole without distortion: undistortion, crop and scale in one lookup.
    """
    rays = np.column_stack([pixel_grid(target.width, target.height), np.ones(target.width * target.height)])
    rays = rays @ np.linalg.inv(target.intrinsics).T
    pixels = replace(source, world_from_camera=np.eye(4)).project(rays)
    x, y = pixels.astype(np.float32).reshape(target.height, target.width, 2).transpose(2, 0, 1)
    return np.ascontiguousarray(x), np.ascontiguousarray(y)


@dataclass(frozen=True, eq=False)
class Resampler:
    """Turns pictures of ``source`` into pictures of ``target`` (same pose, no distortion): one blur-free lookup after
    an area reduction where the target is at least twice as coarse. Build once per camera, use for every frame."""

    source: Camera
    target: Camera
    reduced: tuple[int, int]
    map_x: npt.NDArray[np.float32]
    map_y: npt.NDArray[np.float32]

    @classmethod
    def between(cls, source: Camera, target: Camera) -> Resampler:
        """Maps from ``source`` to ``target``."""
        factor = max(1, int(source.intrinsics[0, 0] / target.intrinsics[0, 0] + 1e-6))
        reduced = (max(1, round(source.width / factor)), max(1, round(source.height / factor)))
        return cls(source, target, reduced, *view_maps(source.scaled(*reduced), target))

    def __call__(self, picture: npt.NDArray[Any], *, nearest: bool = False) -> npt.NDArray[Any]:
        """``picture``, shape (y, x) or (y, x, channel), seen by the target; 0 where the source has no pixel."""
        if self.reduced != (self.source.width, self.source.height):
            picture = cv2.resize(picture, self.reduced, interpolation=cv2.INTER_NEAREST if nearest else cv2.INTER_AREA)
        mode = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
        return np.asarray(cv2.remap(picture, self.map_x, self.map_y, mode, borderMode=cv2.BORDER_CONSTANT))

    def inside(self) -> npt.NDArray[np.bool_]:
        """Which target pixels the source covers, shape (height, width)."""
        width, height = self.reduced
        return (self.map_x >= 0) & (self.map_y >= 0) & (self.map_x <= width - 1) & (self.map_y <= height - 1)

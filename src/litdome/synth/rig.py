"""The rig of a simulated stage: a ring of cameras around the person, and cameras that keep their face in view."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from litdome.errors import UsageError
from litdome.geometry import Camera, Rig, look_at
from litdome.synth.camera_setup import CameraSetup
from litdome.synth.subjects import FIRST_RING, Ring

FloatArray = npt.NDArray[np.float64]
TARGET = np.array([0.0, 0.92, 0.0])  # half the height of a standing person, m
HEAD_RADIUS_M = 0.2  # around the middle between the eyes: chin, ears and hair lie within
FACE_RADIUS_M = 2.4  # at most
FACE_CLOSER = 0.75  # than the ring, so that a small dome holds them too
FACE_SPAN_DEG = 70.0  # from the face camera on one side to that on the other
CLEARANCE_M = 0.4  # between a camera and a person's joints: skin and the loosest clothes lie within
SMALLEST_PX = 16
LARGEST_PX = 8192


def make_rig(
    count: int,
    *,
    width: int = 360,
    height: int = 640,
    radius_m: float | None = None,
    seed: int = 0,
    lens: float = 1.0,
    ring: Ring = FIRST_RING,
) -> Rig:
    """Cameras around a standing person, at a few heights; every third one behind.

    Args:
        count: Number of cameras; ids ``c00``, ``c01``, ...
        width, height: Of the pictures, px.
        radius_m: Mean distance from the person; None: the ring's.
        seed: Jitters positions, focal lengths and distortion, as hands and lenses do.
        lens: Scales the lens distortion (0: none).
        ring: How they stand.

    Raises:
        UsageError: No cameras, a picture of odd, tiny or huge size.
    """
    if count < 1:
        raise UsageError(f"cameras = {count}, at least 1 is needed", hint="--cameras 6")
    for name, value in (("width", width), ("height", height)):
        if value % 2 or not SMALLEST_PX <= value <= LARGEST_PX:
            said = f"{name} {value} px: must be even, at least {SMALLEST_PX}, at most {LARGEST_PX}"
            raise UsageError(said, hint=f"--{name} 360")
    distance_m = ring.distance_m if radius_m is None else radius_m
    rng = np.random.default_rng([seed, 1])
    cameras = []
    for index in range(count):
        azimuth = np.radians(_azimuth_deg(ring, index, count) + rng.uniform(-4, 4))
        radius = distance_m * rng.uniform(0.97, 1.03)
        level = ring.heights_m[index % len(ring.heights_m)]
        centre = [radius * np.sin(azimuth), level + rng.uniform(-0.1, 0.1), radius * np.cos(azimuth)]
        focal = height * radius / ring.sees_m * rng.uniform(0.97, 1.03)
        principal = np.array([width - 1, height - 1]) / 2 + rng.normal(0, 0.008 * width, 2)
        intrinsics = np.array([[focal, 0, principal[0]], [0, focal, principal[1]], [0, 0, 1]])
        k1, k2 = rng.uniform(-0.12, -0.06), rng.uniform(0.02, 0.05)
        distortion = np.array([k1, k2, *rng.normal(0, 3e-4, 2), 0, 0, 0, 0]) * lens * ring.barrel
        pose = look_at(centre, TARGET + rng.normal(0, 0.02, 3))
        cameras.append(Camera(f"c{index:02d}", width, height, intrinsics, distortion, pose))
    return Rig(tuple(cameras))


def make_face_cameras(
    count: int,
    faces: FloatArray,
    *,
    width: int = 360,
    height: int = 640,
    radius_m: float = FACE_RADIUS_M,
    seed: int = 0,
) -> tuple[Camera, ...]:
    """Cameras before the person with long lenses that hold the whole head all through a take.

    Args:
        count: Number of cameras; ids ``f00``, ``f01``, ... from the person's right to their left, role ``face``.
        faces: The middle between the eyes over the take, world, shape (time, 3), metres.
        width, height: Of the pictures, px.
        radius_m: Distance from the face.
        seed: Jitters positions and lenses.
    """
    rng = np.random.default_rng([seed, 2])
    middle = (faces.min(axis=0) + faces.max(axis=0)) / 2
    cameras = []
    for index in range(count):
        azimuth = np.radians(FACE_SPAN_DEG * ((index + 0.5) / count - 0.5) + rng.uniform(-3, 3))
        toward = np.array([np.sin(azimuth), rng.uniform(-0.15, 0.15), np.cos(azimuth)])
        centre = middle + radius_m * toward
        pose = look_at(centre, middle)
        seen = (faces - centre) @ pose[:3, :3]
        beside = (np.abs(seen[:, :2]) + HEAD_RADIUS_M) / (seen[:, 2:] - HEAD_RADIUS_M)
        principal = np.array([width - 1, height - 1]) / 2 + rng.normal(0, 0.004 * width, 2)
        room = np.minimum(principal, [width - 1, height - 1] - principal)
        focal = float((room / beside.max(axis=0)).min())
        intrinsics = np.array([[focal, 0, principal[0]], [0, focal, principal[1]], [0, 0, 1]])
        distortion = np.array([rng.uniform(-0.06, 0.0), *np.zeros(7)])
        cameras.append(Camera(f"f{index:02d}", width, height, intrinsics, distortion, pose, role="face"))
    return tuple(cameras)


def place_cameras(
    setup: CameraSetup,
    count: int,
    *,
    joints: FloatArray,
    faces: FloatArray,
    width: int,
    height: int,
    seed: int,
    ring: Ring = FIRST_RING,
) -> Rig:
    """The rig of a take: body cameras, then face cameras.

    Args:
        setup: Their distance (None: the ring's), and how many face cameras (None: none); those stand closer.
        count: Number of body cameras.
        joints: Of the person over the take, shape (time, joint, 3), metres.
        faces: As `make_face_cameras`.
        width, height: Of the pictures, px.
        seed: Draws what is each camera's own.
        ring: How the body cameras stand.

    Raises:
        UsageError: As `make_rig`, or a camera in the person.
    """
    around = make_rig(count, width=width, height=height, radius_m=setup.distance_m, seed=seed, ring=ring)
    distance_m = ring.distance_m if setup.distance_m is None else setup.distance_m
    radius_m = min(FACE_RADIUS_M, FACE_CLOSER * distance_m)
    close = make_face_cameras(setup.face_cameras or 0, faces, width=width, height=height, radius_m=radius_m, seed=seed)
    for camera in (*around.cameras, *close):
        nearest = float(np.linalg.norm(joints.reshape(-1, 3) - camera.centre, axis=1).min())
        if nearest < CLEARANCE_M:
            said = f"camera {camera.id} stands in the person: {nearest:.2f} m from a joint"
            raise UsageError(f"{said}, at least {CLEARANCE_M:g} m are needed", hint="--camera distance_m=3.2")
    return Rig((*around.cameras, *close))


def _azimuth_deg(ring: Ring, index: int, count: int) -> float:
    """Neighbours lie side by side in one ring; a gap closes behind the person."""
    span = min(ring.span_deg, ring.apart_deg * max(count - 1, 1))
    return -span / 2 + span * index / max(count - 1, 1)

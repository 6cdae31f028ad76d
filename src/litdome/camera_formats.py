"""How other programs write a camera: what a rig's export and a dataset's export share (docs/conventions.md)."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from litdome.geometry import OPENCV_FROM_OPENGL, WORLD_FROM_Z_UP, Camera, FloatArray

CORNER = 0.5  # where the first pixel's centre lies for programs that count from the picture's corner
MM = 1000.0
SENSOR_MM = 10.0  # of a cameras.calib: the sensor's true width is not known; only ratios to it count
CAPTURY_HEADER = "tc camera calibration v0.3"


def nerfstudio_pose(camera: Camera) -> FloatArray:
    """World from camera as nerfstudio has it: OpenGL axes, world +z up, metres, shape (4, 4)."""
    pose = np.eye(4)
    pose[:3] = WORLD_FROM_Z_UP.T @ camera.world_from_camera[:3]
    pose[:3, :3] = pose[:3, :3] @ OPENCV_FROM_OPENGL
    return pose


def colmap_pose(camera: Camera) -> tuple[float, ...]:
    """Camera from world as COLMAP has it: quaternion w x y z (w >= 0), then the translation, metres."""
    pose = camera.camera_from_world
    quaternion = Rotation.from_matrix(pose[:3, :3]).as_quat(canonical=True, scalar_first=True)
    return tuple(map(float, (*quaternion, *pose[:3, 3])))


def captury_lines(number: int, name: str, camera: Camera) -> list[str]:
    """A camera of HumanOLAT's cameras.calib (Captury's text format), after `CAPTURY_HEADER`.

    The lens in mm of the sensor, centre in mm of the world, right and up in the world; the picture's size and the
    matrices that HumanOLAT's loader reads (world from camera in mm, K in picture widths) stand in comments.

    Args:
        number: Its place in the file, from 0.
        name: What it is called there.
        camera: Any lens but fisheye.
    """
    unit = SENSOR_MM / camera.width
    k, pose = camera.intrinsics, camera.world_from_camera
    from_middle = k[:2, 2] + CORNER - np.array([camera.width, camera.height]) / 2
    bent = camera.distortion[: 8 if camera.model == "pinhole8" else 5]
    relative = k.copy()
    relative[:2, 2] += CORNER
    relative[:2] /= camera.width
    matrix = np.column_stack([pose[:3, :3], pose[:3, 3] * MM])
    return [
        f"camera\t{number}\t{name}",
        "\tframe\t0",
        f"\t\t# size\t{camera.width}\t{camera.height}",
        _line("sensorSize", np.array([SENSOR_MM, unit * camera.height])),
        _line("focalLength", k[:1, 0] * unit),
        _line("pixelAspect", k[1:2, 1] / k[0, 0]),
        _line("centerOffset", from_middle * unit),
        "\t\tdistortionModel\tOpenCV",
        _line("distortion", bent),
        _line("origin", pose[:3, 3] * MM),
        _line("up", -pose[:3, 1]),
        _line("right", pose[:3, 0]),
        "#\textrinsic",
        *(_line("#", row) for row in matrix),
        "#\tintrinsic",
        *(_line("#", row) for row in relative),
    ]


def _line(key: str, values: FloatArray) -> str:
    indent = "" if key == "#" else "\t\t"
    return indent + "\t".join([key, *(repr(float(value)) for value in values)])

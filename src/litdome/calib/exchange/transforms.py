"""nerfstudio's transforms.json: camera to world, OpenGL axes, world +z up, first pixel's centre at (0.5, 0.5)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from litdome.calib.exchange.found import (
    CORNER,
    FoundCamera,
    coefficients,
    id_of_file,
    lens,
    need_models,
    numbers,
    pose_of,
    read_text,
    told,
)
from litdome.camera_formats import nerfstudio_pose
from litdome.errors import CalibrationError
from litdome.geometry import OPENCV_FROM_OPENGL, WORLD_FROM_Z_UP, Camera, Rig

PINHOLE_KEYS = ("k1", "k2", "p1", "p2", "k3")  # OpenCV's order
FISHEYE_KEYS = ("k1", "k2", "k3", "k4")


def read(path: Path) -> list[FoundCamera]:
    """Its cameras. An id is the name of a picture's file or, where pictures are numbered, of their folder; of several
    frames of one camera the first counts.

    Raises:
        CalibrationError: Not such a file, a lens model or key that litdome does not know.
    """
    cameras: dict[str, FoundCamera] = {}
    with told(f"{path}: not a transforms.json"):
        content = json.loads(read_text(path))
        for frame in content["frames"]:
            id = id_of_file(str(frame["file_path"]))
            if id not in cameras:
                with told(f"{path}: camera {id}"):
                    cameras[id] = _camera(id, {**content, **frame})
    return [cameras[id] for id in sorted(cameras)]


def _camera(id: str, values: Mapping[str, Any]) -> FoundCamera:
    model = values.get("camera_model", "OPENCV")
    if model not in ("OPENCV", "PINHOLE", "OPENCV_FISHEYE"):
        raise ValueError(f"lens model {model} is not supported; export it as OPENCV")
    width, height = int(values["w"]), int(values["h"])
    focal_x = float(values["fl_x"]) if "fl_x" in values else width / 2 / math.tan(float(values["camera_angle_x"]) / 2)
    focal_y = float(values.get("fl_y", focal_x))
    centre_x, centre_y = float(values.get("cx", width / 2)), float(values.get("cy", height / 2))
    fisheye = model == "OPENCV_FISHEYE"
    if not fisheye and float(values.get("k4", 0)):
        raise ValueError(f"k4 = {values['k4']} of an OPENCV lens is not supported")
    bent = coefficients(*(float(values.get(key, 0)) for key in (FISHEYE_KEYS if fisheye else PINHOLE_KEYS)))
    matrix = numbers(values["transform_matrix"], (4, 4))
    pose = pose_of(matrix[:3, :3] @ OPENCV_FROM_OPENGL, matrix[:3, 3], turned=WORLD_FROM_Z_UP)
    k = lens(focal_x, focal_y, centre_x - CORNER, centre_y - CORNER)
    return FoundCamera(id, (width, height), k, bent, pose, "fisheye4" if fisheye else "pinhole5")


def write(rig: Rig) -> dict[str, bytes]:
    """The file.

    Raises:
        CalibrationError: Lens models that nerfstudio cannot hold: pinhole8, or fisheye and pinhole mixed.
    """
    need_models(rig, "nerfstudio", "pinhole5", "fisheye4")
    models = {camera.model for camera in rig.cameras}
    if len(models) > 1:
        raise CalibrationError(f"lens models {', '.join(sorted(models))}: nerfstudio takes one for all cameras")
    fisheye = models == {"fisheye4"}
    content = {
        "camera_model": "OPENCV_FISHEYE" if fisheye else "OPENCV",
        "frames": [_frame(camera, fisheye) for camera in rig.cameras],
    }
    return {"": json.dumps(content, indent=1).encode()}


def _frame(camera: Camera, fisheye: bool) -> dict[str, object]:
    keys = FISHEYE_KEYS if fisheye else PINHOLE_KEYS
    return {
        "file_path": f"images/{camera.id}.png",
        "w": camera.width,
        "h": camera.height,
        "fl_x": float(camera.intrinsics[0, 0]),
        "fl_y": float(camera.intrinsics[1, 1]),
        "cx": float(camera.intrinsics[0, 2]) + CORNER,
        "cy": float(camera.intrinsics[1, 2]) + CORNER,
        **{key: float(value) for key, value in zip(keys, camera.distortion, strict=False)},
        "transform_matrix": nerfstudio_pose(camera).tolist(),
    }

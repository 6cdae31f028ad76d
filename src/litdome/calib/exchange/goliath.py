"""Goliath's camera_calibration.json (KRT), also of ava-256: matrices transposed, camera from world in mm.

OpenCV axes, pixel centres at integers (its loader scales by (c + 0.5) / s - 0.5), distortion in OpenCV's order. Goliath
states no up: the world is taken as it is. Pictures' sizes may be missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from litdome.calib.exchange.found import (
    FloatArray,
    FoundCamera,
    coefficients,
    need_models,
    numbers,
    pose_of,
    read_text,
    told,
)
from litdome.geometry import Camera, LensModel, Rig, invert_rigid

MM = 1000.0
MODEL_KEYS = ("model", "distortionModel")
RADIAL_TANGENTIAL = "radial-tangential"


def read(path: Path) -> list[FoundCamera]:
    """Its cameras, by cameraId.

    Raises:
        CalibrationError: Not such a file, another lens model, matrices that are not transposed.
    """
    with told(f"{path}: not a KRT file"):
        entries = json.loads(read_text(path))["KRT"]
        found = []
        for entry in entries:
            with told(f"{path}: camera {entry['cameraId']}"):
                found.append(_camera(entry))
        return found


def _camera(entry: Mapping[str, Any]) -> FoundCamera:
    for key in MODEL_KEYS:
        if entry.get(key, RADIAL_TANGENTIAL) != RADIAL_TANGENTIAL:
            raise ValueError(f"{key} {entry[key]} is not supported; {RADIAL_TANGENTIAL} is")
    bent = np.array(entry.get("distortion") or [], np.float64).ravel()
    if bent.size not in (0, 4, 5, 8):
        raise ValueError(f"{bent.size} distortion values; 4, 5 or 8 can be")
    model: LensModel = "pinhole8" if bent[5:].any() else "pinhole5"
    size = (int(entry["width"]), int(entry["height"])) if "width" in entry and "height" in entry else None
    k = numbers(entry["K"], (3, 3)).T
    return FoundCamera(str(entry["cameraId"]), size, k, coefficients(*bent), _pose(entry["T"]), model)


def _pose(given: object) -> FloatArray:
    transposed = np.array(given, np.float64)
    if transposed.shape not in ((4, 3), (4, 4)) or (transposed.shape == (4, 4) and transposed[:3, 3].any()):
        raise ValueError("T is not transposed [R | t], 4x3 or 4x4")
    pose = invert_rigid(pose_of(transposed[:3, :3].T, transposed[3, :3] / MM))
    return pose_of(pose[:3, :3], pose[:3, 3])


def write(rig: Rig) -> dict[str, bytes]:
    """The file, with the pictures' sizes.

    Raises:
        CalibrationError: Fisheye lenses.
    """
    need_models(rig, "Goliath", "pinhole5", "pinhole8")
    return {"": json.dumps({"KRT": [_entry(camera) for camera in rig.cameras]}, indent=1).encode()}


def _entry(camera: Camera) -> dict[str, object]:
    pose = camera.camera_from_world
    pose[:3, 3] *= MM
    return {
        "cameraId": camera.id,
        "K": camera.intrinsics.T.tolist(),
        "T": pose.T.tolist(),
        "distortion": camera.distortion[: 8 if camera.model == "pinhole8" else 5].tolist(),
        "distortionModel": RADIAL_TANGENTIAL,
        "width": camera.width,
        "height": camera.height,
    }

"""aniposelib's calibration.toml and caliscope's camera_array.toml: camera from world, OpenCV axes and pixel centres.

caliscope: metres, world +z up, rotation a vector (since 2024) or a matrix. aniposelib: rotation a vector, the unit that
of its board and the world that of its first view; other programs write its layout in metres. Positions spread wider
than `WIDEST_STAGE` are read as mm: no stage is 50 m wide, none 50 mm.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from scipy.spatial.transform import Rotation

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
from litdome.geometry import WORLD_FROM_Z_UP, Camera, LensModel, Rig, invert_rigid

WIDEST_STAGE = 50.0
MM = 1000.0
CALISCOPE_ID = re.compile(r"cam_(\d+)")


def tables(path: Path) -> tuple[bool, dict[str, Mapping[str, Any]]]:
    """Whether caliscope wrote the file, and its cameras by id (``cam_<n>`` for caliscope's).

    Raises:
        CalibrationError: Not TOML.
    """
    with told(f"{path}: not a whole TOML file"):
        content = tomllib.loads(read_text(path))
    found: dict[str, Mapping[str, Any]]
    if isinstance(inner := content.get("cameras"), dict):
        found = {f"cam_{number}": table for number, table in inner.items() if isinstance(table, dict)}
        return True, found
    found = {name: table for name, table in content.items() if isinstance(table, dict) and "size" in table}
    caliscope = any("cam_id" in table or "port" in table for table in found.values())
    return caliscope, found if caliscope else {str(table.get("name", name)): table for name, table in found.items()}


def read(path: Path) -> list[FoundCamera]:
    """Its calibrated cameras; poses are None where the file holds none.

    Raises:
        CalibrationError: Not such a file, or values that are missing or of another shape.
    """
    caliscope, found = tables(path)
    cameras = []
    for id, table in found.items():
        if table.get("ignore") or (caliscope and "matrix" not in table):
            continue
        with told(f"{path}: camera {id}"):
            cameras.append(_camera(id, table, caliscope))
    return cameras if caliscope else _in_metres(cameras)


def _camera(id: str, table: Mapping[str, Any], caliscope: bool) -> FoundCamera:
    fisheye = bool(table.get("fisheye", False))
    bent = np.array(table["distortions"], np.float64).ravel()
    if bent.size not in ((4,) if fisheye else (4, 5, 8)):
        raise ValueError(f"{bent.size} distortion values of a {'fisheye' if fisheye else 'pinhole'} lens")
    model: LensModel = "fisheye4" if fisheye else "pinhole8" if bent[5:].any() else "pinhole5"
    width, height = (int(side) for side in table["size"])
    pose = _pose(table, caliscope) if "rotation" in table and "translation" in table else None
    return FoundCamera(id, (width, height), numbers(table["matrix"], (3, 3)), coefficients(*bent), pose, model)


def _pose(table: Mapping[str, Any], caliscope: bool) -> FloatArray:
    given = np.array(table["rotation"], np.float64)
    translation = numbers(table["translation"], (3,))
    rotation = given if given.shape == (3, 3) else Rotation.from_rotvec(numbers(given, (3,))).as_matrix()
    pose = invert_rigid(pose_of(rotation, translation))
    return pose_of(pose[:3, :3], pose[:3, 3], turned=WORLD_FROM_Z_UP) if caliscope else pose


def _in_metres(cameras: list[FoundCamera]) -> list[FoundCamera]:
    poses = [camera.world_from_camera for camera in cameras if camera.world_from_camera is not None]
    if not poses or float(np.ptp(np.stack(poses)[:, :3, 3], axis=0).max()) <= WIDEST_STAGE:
        return cameras
    return [replace(camera, world_from_camera=_from_mm(camera.world_from_camera)) for camera in cameras]


def _from_mm(pose: FloatArray | None) -> FloatArray | None:
    return None if pose is None else pose_of(pose[:3, :3], pose[:3, 3] / MM)


def write_aniposelib(rig: Rig) -> dict[str, bytes]:
    """calibration.toml, in metres.

    Raises:
        CalibrationError: pinhole8 lenses.
    """
    need_models(rig, "aniposelib", "pinhole5", "fisheye4")
    content: dict[str, object] = {}
    for number, camera in enumerate(rig.cameras):
        content[f"cam_{number}"] = {"name": camera.id, **_table(camera, camera.camera_from_world)}
    return {"": tomli_w.dumps({**content, "metadata": {"adjusted": False, "error": 0.0}}).encode()}


def write_caliscope(rig: Rig) -> dict[str, bytes]:
    """camera_array.toml. caliscope numbers its cameras: ``cam_<n>`` becomes n, others their place in the rig.

    Raises:
        CalibrationError: pinhole8 lenses.
    """
    need_models(rig, "caliscope", "pinhole5", "fisheye4")
    named = [CALISCOPE_ID.fullmatch(camera.id) for camera in rig.cameras]
    cameras: dict[str, object] = {}
    for place, (camera, match) in enumerate(zip(rig.cameras, named, strict=True)):
        number = int(match[1]) if match is not None and all(named) else place
        turned = pose_of(camera.world_from_camera[:3, :3], camera.world_from_camera[:3, 3], turned=WORLD_FROM_Z_UP.T)
        cameras[str(number)] = {"cam_id": number, "rotation_count": 0, **_table(camera, invert_rigid(turned))}
    return {"": tomli_w.dumps({"cameras": cameras}).encode()}


def _table(camera: Camera, camera_from_world: FloatArray) -> dict[str, object]:
    fisheye = camera.model == "fisheye4"
    return {
        "size": [camera.width, camera.height],
        "matrix": camera.intrinsics.tolist(),
        "distortions": camera.distortion[: 4 if fisheye else 5].tolist(),
        "rotation": Rotation.from_matrix(camera_from_world[:3, :3]).as_rotvec().tolist(),
        "translation": camera_from_world[:3, 3].tolist(),
        "fisheye": fisheye,
    }

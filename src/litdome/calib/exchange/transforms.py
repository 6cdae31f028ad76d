"""Calibrations from and to other programs: Qualisys .qca.txt, nerfstudio transforms.json."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.errors import CalibrationError
from litdome.geometry import OPENCV_FROM_OPENGL, WORLD_FROM_Z_UP, Camera, Rig

FloatArray = npt.NDArray[np.float64]
QUALISYS_SUBPIXELS = 64.0
NERFSTUDIO_PIXEL_CENTRE = 0.5  # nerfstudio puts the centre of the first pixel at (0.5, 0.5)
DISTORTION_KEYS = ("k1", "k2", "p1", "p2", "k3")  # OpenCV's order
POSE_TOLERANCE = 1e-4


def read_calibration(path: Path) -> Rig:
    """Cameras of a Qualisys .qca.txt or a nerfstudio transforms.json, at the sizes that the file states.

    Raises:
        CalibrationError: Missing, unreadable, or neither of the two.
    """
    if not path.is_file():
        raise CalibrationError(f"{path}: no such calibration file", hint="litdome calibrate SESSION --import FILE")
    if path.suffix.lower() == ".json":
        return read_transforms(path)
    if path.suffix.lower() in (".txt", ".xml", ".qca"):
        return read_qualisys(path)
    raise CalibrationError(
        f"{path}: neither a Qualisys .qca.txt nor a transforms.json", hint="convert it to one of them"
    )


def read_qualisys(path: Path) -> Rig:
    """Cameras of a Qualisys calibration.

    Pixel values are px * 64 with pixel centres at integers, translations mm, the world z-up. The rows of its rotation
    are the camera's right, up and backward in the world (OpenGL axes).

    Raises:
        CalibrationError: Not such a file, or a camera whose picture is turned (viewrotation).
    """
    try:
        root = ElementTree.fromstring(path.read_bytes())
    except ElementTree.ParseError as error:
        raise CalibrationError(f"{path}: not a Qualisys calibration ({error})") from error
    nodes = [node for node in root.iter("camera") if node.get("active", "1") == "1"]
    if not nodes:
        raise CalibrationError(f"{path}: no active camera in it")
    return Rig(tuple(_qualisys_camera(path, node) for node in nodes))


def _qualisys_camera(path: Path, node: ElementTree.Element) -> Camera:
    id = node.get("serial", "")
    if float(node.get("viewrotation", "0")) % 360:
        raise CalibrationError(f"{path}: camera {id} has viewrotation {node.get('viewrotation')}; only 0 is supported")
    view, transform, lens = (_attributes(path, id, node, tag) for tag in ("fov_video", "transform", "intrinsic"))
    left, top = view["left"], view["top"]
    size = (round(view["right"] - left) + 1, round(view["bottom"] - top) + 1)
    focal_u, focal_v = lens["focalLengthU"] / QUALISYS_SUBPIXELS, lens["focalLengthV"] / QUALISYS_SUBPIXELS
    centre_u, centre_v = lens["centerPointU"] / QUALISYS_SUBPIXELS, lens["centerPointV"] / QUALISYS_SUBPIXELS
    skew = lens.get("skew", 0.0) / QUALISYS_SUBPIXELS
    intrinsics = np.array([[focal_u, skew, centre_u - left], [0, focal_v, centre_v - top], [0, 0, 1]])
    distortion = np.zeros(8)
    names = ("radialDistortion1", "radialDistortion2", "tangentalDistortion1", "tangentalDistortion2")
    distortion[:5] = [lens[name] for name in (*names, "radialDistortion3")]
    right_up_back = np.array([[transform[f"r{row}{column}"] for column in (1, 2, 3)] for row in (1, 2, 3)])
    pose = np.eye(4)
    pose[:3, :3] = right_up_back.T @ OPENCV_FROM_OPENGL
    pose[:3, 3] = np.array([transform["x"], transform["y"], transform["z"]]) / 1000
    return Camera(
        id, *size, intrinsics, distortion, _need_rigid(_turned(WORLD_FROM_Z_UP, pose), f"{path}: camera {id}")
    )


def _attributes(path: Path, id: str, node: ElementTree.Element, tag: str) -> dict[str, float]:
    found = node.find(tag)
    try:
        return {name: float(value) for name, value in found.attrib.items()} if found is not None else {}
    except ValueError as error:
        raise CalibrationError(f"{path}: camera {id}: <{tag}>: {error}") from error


def _turned(rotation: FloatArray, pose: FloatArray) -> FloatArray:
    turned = np.eye(4)
    turned[:3] = rotation @ pose[:3]
    return turned


def _need_rigid(pose: FloatArray, where: str) -> FloatArray:
    rotation = pose[:3, :3]
    error = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    if error > POSE_TOLERANCE or np.linalg.det(rotation) < 0:
        raise CalibrationError(f"{where}: its rotation is off by {error:.1e} > {POSE_TOLERANCE:.0e}, or mirrored")
    u, _, v = np.linalg.svd(rotation)
    pose = pose.copy()
    pose[:3, :3] = u @ v
    return pose


def read_transforms(path: Path) -> Rig:
    """Cameras of a nerfstudio transforms.json (camera to world, OpenGL axes, world +z up, metres).

    A camera's id is the name of its picture's file or, where pictures are numbered, of their folder; of several
    frames of one camera the first counts.

    Raises:
        CalibrationError: Not such a file, a lens model or key that litdome does not know.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        cameras: dict[str, Camera] = {}
        for frame in content["frames"]:
            id = _id_of_file(str(frame["file_path"]))
            if id not in cameras:
                cameras[id] = _transforms_camera(path, id, {**content, **frame})
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, CalibrationError):
            raise
        raise CalibrationError(f"{path}: not a transforms.json ({error!r})") from error
    if not cameras:
        raise CalibrationError(f"{path}: no frames in it")
    return Rig(tuple(cameras[id] for id in sorted(cameras)))


def _id_of_file(file_path: str) -> str:
    path = PurePosixPath(file_path.replace("\\", "/"))
    numbered = path.stem.lstrip("frame_").isdigit() and path.parent.name not in ("", ".", "images", "cameras")
    return path.parent.name if numbered else path.stem


def _transforms_camera(path: Path, id: str, values: Mapping[str, Any]) -> Camera:
    model = values.get("camera_model", "OPENCV")
    if model not in ("OPENCV", "PINHOLE", "OPENCV_FISHEYE"):
        raise CalibrationError(f"{path}: camera {id}: lens model {model} is not supported", hint="export it as OPENCV")
    width, height = int(values["w"]), int(values["h"])
    focal_x = float(values["fl_x"]) if "fl_x" in values else width / 2 / math.tan(float(values["camera_angle_x"]) / 2)
    focal_y = float(values.get("fl_y", focal_x))
    centre = [float(values.get("cx", width / 2)), float(values.get("cy", height / 2))]
    intrinsics = np.array([[focal_x, 0, centre[0]], [0, focal_y, centre[1]], [0, 0, 1]])
    intrinsics[:2, 2] -= NERFSTUDIO_PIXEL_CENTRE
    distortion = np.zeros(8)
    fisheye = model == "OPENCV_FISHEYE"
    keys = ("k1", "k2", "k3", "k4") if fisheye else DISTORTION_KEYS
    distortion[: len(keys)] = [float(values.get(key, 0)) for key in keys]
    if not fisheye and float(values.get("k4", 0)):
        raise CalibrationError(f"{path}: camera {id}: k4 = {values['k4']} of an OPENCV lens is not supported")
    pose = np.array(values["transform_matrix"], np.float64)
    pose[:3, :3] = pose[:3, :3] @ OPENCV_FROM_OPENGL
    rigid = _need_rigid(_turned(WORLD_FROM_Z_UP, pose), f"{path}: camera {id}")
    return Camera(id, width, height, intrinsics, distortion, rigid, "fisheye4" if fisheye else "pinhole5")


def write_transforms(path: Path, rig: Rig) -> None:
    """Write a rig as a nerfstudio transforms.json.

    Raises:
        CalibrationError: Lens models that nerfstudio cannot hold: pinhole8, or fisheye and pinhole mixed.
    """
    models = {camera.model for camera in rig.cameras}
    if len(models) != 1 or "pinhole8" in models:
        raise CalibrationError(f"{path}: lens models {', '.join(sorted(models))}; nerfstudio takes one, not pinhole8")
    fisheye = models == {"fisheye4"}
    content = {
        "camera_model": "OPENCV_FISHEYE" if fisheye else "OPENCV",
        "frames": [_transforms_frame(camera, fisheye) for camera in rig.cameras],
    }
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=1), encoding="utf-8")
    partial.replace(path)


def _transforms_frame(camera: Camera, fisheye: bool) -> dict[str, object]:
    pose = _turned(WORLD_FROM_Z_UP.T, camera.world_from_camera)
    pose[:3, :3] = pose[:3, :3] @ OPENCV_FROM_OPENGL
    keys = ("k1", "k2", "k3", "k4") if fisheye else DISTORTION_KEYS
    return {
        "file_path": f"images/{camera.id}.png",
        "w": camera.width,
        "h": camera.height,
        "fl_x": float(camera.intrinsics[0, 0]),
        "fl_y": float(camera.intrinsics[1, 1]),
        "cx": float(camera.intrinsics[0, 2]) + NERFSTUDIO_PIXEL_CENTRE,
        "cy": float(camera.intrinsics[1, 2]) + NERFSTUDIO_PIXEL_CENTRE,
        **{key: float(value) for key, value in zip(keys, camera.distortion, strict=False)},
        "transform_matrix": pose.tolist(),
    }

"""Qualisys Track Manager's .qca.txt.

Pixel values are px * 64 with pixel centres at integers, counted from the sensor's corner; translations mm; world +z up.
The rows of a rotation are the camera's right, up and backward in the world (OpenGL axes). Distortion is OpenCV's, on
undistorted coordinates at distance 1 (checked against chessboards filmed with the same cameras: k1 -0.046 and -0.053).
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from litdome.calib.exchange.found import FoundCamera, coefficients, lens, need_models, pose_of, read_xml, told
from litdome.errors import CalibrationError
from litdome.geometry import OPENCV_FROM_OPENGL, WORLD_FROM_Z_UP, Camera, Rig

SUBPIXELS = 64.0
MM = 1000.0
RADIAL = ("radialDistortion1", "radialDistortion2", "tangentalDistortion1", "tangentalDistortion2", "radialDistortion3")
ENTRIES = tuple(f"r{row}{column}" for row in (1, 2, 3) for column in (1, 2, 3))


def read(path: Path) -> list[FoundCamera]:
    """The active cameras.

    Raises:
        CalibrationError: Not such a file, or a camera whose picture is turned (viewrotation).
    """
    return [_camera(path, node) for node in read_xml(path).iter("camera") if node.get("active", "1") == "1"]


def _camera(path: Path, node: ElementTree.Element) -> FoundCamera:
    id = node.get("serial", "")
    with told(f"{path}: camera {id}"):
        if float(node.get("viewrotation", "0")) % 360:
            raise CalibrationError(
                f"{path}: camera {id} has viewrotation {node.get('viewrotation')}; only 0 is supported",
                hint="export it unrotated",
            )
        view, transform, values = (_attributes(node, tag) for tag in ("fov_video", "transform", "intrinsic"))
        left, top = view["left"], view["top"]
        size = (round(view["right"] - left) + 1, round(view["bottom"] - top) + 1)
        names = ("focalLengthU", "focalLengthV", "centerPointU", "centerPointV")
        focal_u, focal_v, centre_u, centre_v = (values[name] / SUBPIXELS for name in names)
        skew = values.get("skew", 0.0) / SUBPIXELS
        right_up_back = np.array([transform[name] for name in ENTRIES]).reshape(3, 3)
        centre = np.array([transform["x"], transform["y"], transform["z"]]) / MM
        return FoundCamera(
            id,
            size,
            lens(focal_u, focal_v, centre_u - left, centre_v - top, skew),
            coefficients(*(values[name] for name in RADIAL)),
            pose_of(right_up_back.T @ OPENCV_FROM_OPENGL, centre, turned=WORLD_FROM_Z_UP),
        )


def _attributes(node: ElementTree.Element, tag: str) -> dict[str, float]:
    found = node.find(tag)
    if found is None:
        raise KeyError(f"<{tag}>")
    return {name: float(value) for name, value in found.attrib.items()}


def write(rig: Rig) -> dict[str, bytes]:
    """The file. The lens's focal length in mm is not known here and written as 0; video and marker views are alike.

    Raises:
        CalibrationError: Lenses other than pinhole5.
    """
    need_models(rig, "Qualisys", "pinhole5")
    root = ElementTree.Element("calibration", type="regular", source="litdome")
    cameras = ElementTree.SubElement(root, "cameras")
    for camera in rig.cameras:
        _write_camera(cameras, camera)
    ElementTree.indent(root)
    return {"": ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)}


def _write_camera(parent: ElementTree.Element, camera: Camera) -> None:
    node = ElementTree.SubElement(parent, "camera", active="1", serial=camera.id, model="none", viewrotation="0")
    view = {"left": "0", "top": "0", "right": str(camera.width - 1), "bottom": str(camera.height - 1)}
    for tag in ("fov_marker", "fov_marker_max", "fov_video", "fov_video_max"):
        ElementTree.SubElement(node, tag, view)
    pose = WORLD_FROM_Z_UP.T @ camera.world_from_camera[:3]
    right_up_back = (pose[:, :3] @ OPENCV_FROM_OPENGL).T
    placed = dict(zip(("x", "y", "z"), pose[:, 3] * MM, strict=True))
    ElementTree.SubElement(node, "transform", _texts(placed | dict(zip(ENTRIES, right_up_back.ravel(), strict=True))))
    k = camera.intrinsics * SUBPIXELS
    sensor = {
        "sensorMinU": 0.0,
        "sensorMaxU": SUBPIXELS * (camera.width - 1),
        "sensorMinV": 0.0,
        "sensorMaxV": SUBPIXELS * (camera.height - 1),
    }
    centre = {"focalLengthU": k[0, 0], "focalLengthV": k[1, 1], "centerPointU": k[0, 2], "centerPointV": k[1, 2]}
    bent = dict(zip(RADIAL, camera.distortion, strict=False))
    ElementTree.SubElement(node, "intrinsic", _texts({"focallength": 0.0, "skew": 0.0} | sensor | centre | bent))


def _texts(values: dict[str, float]) -> dict[str, str]:
    return {name: repr(float(value)) for name, value in values.items()}

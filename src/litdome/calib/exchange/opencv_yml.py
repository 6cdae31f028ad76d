"""EasyMocap's and EasyVolcap's intri.yml and extri.yml, as OpenCV's FileStorage writes them.

Camera from world (R is a rotation vector, Rot its matrix, T metres), OpenCV axes and pixel centres, world +z up. Read
here and not by OpenCV, whose parser takes spoilt files amiss.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
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
from litdome.errors import CalibrationError
from litdome.geometry import WORLD_FROM_Z_UP, LensModel, Rig, invert_rigid

LENSES, POSES = "intri.yml", "extri.yml"
KEY = re.compile(r"^([^\s:#%-][^:\n]*):", re.MULTILINE)
MATRIX = re.compile(r"rows:\s*(\d+)\s*cols:\s*(\d+)\s*dt:\s*\S+\s*data:\s*\[([^\]]*)\]")
QUOTED = re.compile(r'"([^"\n]*)"|(?:^\s*-\s*|[\[,]\s*)([^\s"\[\],]+)', re.MULTILINE)


def files(path: Path) -> tuple[Path, Path]:
    """Where lenses and poses are, given their folder or either file."""
    if path.is_file() and path.name not in (LENSES, POSES):
        return path, path.with_name(path.name.replace("intri", "extri"))
    folder = path if path.is_dir() else path.parent
    return folder / LENSES, folder / POSES


def read(path: Path) -> list[FoundCamera]:
    """Cameras of a folder or of either file; the other one lies beside it.

    Poses are None where there is no extri.yml.

    Raises:
        CalibrationError: No intri.yml, or a camera's K, distortion or pose is missing or has another shape.
    """
    lens_file, pose_file = files(path)
    if not lens_file.is_file():
        raise CalibrationError(f"{lens_file}: not there; lenses are in it", hint=f"put {LENSES} beside {POSES}")
    lenses = _entries(lens_file)
    poses = _entries(pose_file) if pose_file.is_file() and pose_file != lens_file else {}
    with told(f"{lens_file}"):
        names = [a or b for a, b in QUOTED.findall(lenses["names"])]
    return [_camera(lens_file, pose_file, name, lenses, poses) for name in names if name != "none"]


def _entries(path: Path) -> dict[str, str]:
    """The text of each top-level key."""
    text = read_text(path)
    starts = [*KEY.finditer(text)]
    stops = [*(match.start() for match in starts), len(text)][1:]
    return {match[1].strip(): text[match.end() : stop] for match, stop in zip(starts, stops, strict=True)}


def _camera(lens_file: Path, pose_file: Path, name: str, lenses: dict[str, str], poses: dict[str, str]) -> FoundCamera:
    with told(f"{lens_file}: camera {name}"):
        k = _matrix(lenses, f"K_{name}").reshape(3, 3)
        bent = _matrix(lenses, f"dist_{name}" if f"dist_{name}" in lenses else f"D_{name}").ravel()
        if bent.size not in (4, 5, 8):
            raise ValueError(f"{bent.size} distortion values; 4, 5 or 8 can be")
        model: LensModel = "pinhole8" if bent[5:].any() else "pinhole5"
        sides = [int(float(lenses[f"{side}_{name}"])) for side in "WH" if f"{side}_{name}" in lenses]
    with told(f"{pose_file}: camera {name}"):
        pose = _pose(poses, name) if poses else None
    size = (sides[0], sides[1]) if len(sides) == 2 and min(sides) > 0 else None
    return FoundCamera(name, size, k, coefficients(*bent), pose, model)


def _matrix(entries: dict[str, str], key: str) -> FloatArray:
    found = MATRIX.search(entries[key])
    if found is None:
        raise ValueError(f"{key} is no matrix")
    rows, columns = int(found[1]), int(found[2])
    return numbers(
        [float(v.replace(".Nan", "nan").replace(".Inf", "inf")) for v in found[3].split(",")], (rows, columns)
    )


def _pose(poses: dict[str, str], name: str) -> FloatArray:
    translation = numbers(_matrix(poses, f"T_{name}"), (3,))
    if f"R_{name}" in poses:
        rotation = Rotation.from_rotvec(numbers(_matrix(poses, f"R_{name}"), (3,))).as_matrix()
    else:
        rotation = numbers(_matrix(poses, f"Rot_{name}"), (3, 3))
    camera_from_world = pose_of(rotation, translation)
    if not np.isfinite(camera_from_world).all():
        raise ValueError("a pose that is not finite")
    pose = invert_rigid(camera_from_world)
    return pose_of(pose[:3, :3], pose[:3, 3], turned=WORLD_FROM_Z_UP)


def write(rig: Rig) -> dict[str, bytes]:
    """Both files, with the pictures' sizes (H_, W_) as EasyMocap reads them.

    Raises:
        CalibrationError: Fisheye lenses: the files cannot say that a lens is one.
    """
    need_models(rig, "EasyMocap", "pinhole5", "pinhole8")
    names = "names:\n" + "".join(f'  - "{camera.id}"\n' for camera in rig.cameras)
    lenses, poses = ["%YAML:1.0\n---\n", names], ["%YAML:1.0\n---\n", names]
    for camera in rig.cameras:
        id, bent = camera.id, camera.distortion[: 8 if camera.model == "pinhole8" else 5]
        lenses += [_block(f"K_{id}", camera.intrinsics), _block(f"dist_{id}", bent[None])]
        lenses.append(f"H_{id}: {camera.height}\nW_{id}: {camera.width}\n")
        placed = pose_of(camera.world_from_camera[:3, :3], camera.world_from_camera[:3, 3], turned=WORLD_FROM_Z_UP.T)
        pose = invert_rigid(placed)
        vector = Rotation.from_matrix(pose[:3, :3]).as_rotvec()
        poses += [_block(f"R_{id}", vector[:, None]), _block(f"Rot_{id}", pose[:3, :3])]
        poses.append(_block(f"T_{id}", pose[:3, 3:]))
    return {LENSES: "".join(lenses).encode(), POSES: "".join(poses).encode()}


def _block(key: str, values: FloatArray) -> str:
    data = ", ".join(_number(value) for value in values.ravel())
    return f"{key}: !!opencv-matrix\n  rows: {values.shape[0]}\n  cols: {values.shape[1]}\n  dt: d\n  data: [{data}]\n"


def _number(value: float) -> str:
    return repr(float(value))

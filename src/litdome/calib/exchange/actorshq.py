"""ActorsHQ's calibration.csv: focal length and principal point in picture widths and heights, camera to world.

Axis-angle rotations, OpenCV axes, metres, world +y up. Its loader casts rays through (x + 0.5, y + 0.5): the principal
point counts from the picture's corner.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from litdome.calib.exchange.found import CORNER, FoundCamera, coefficients, lens, pose_of, read_text, told
from litdome.errors import CalibrationError
from litdome.geometry import Rig

COLUMNS = ("name", "w", "h", "rx", "ry", "rz", "tx", "ty", "tz", "fx", "fy", "px", "py")
RADIAL = ("k1", "k2", "k3")  # not in ActorsHQ's own file, whose pictures are undistorted; read where they are there


def read(path: Path) -> list[FoundCamera]:
    """Its cameras.

    Raises:
        CalibrationError: A column is missing, or a value is no number.
    """
    rows = csv.DictReader(io.StringIO(read_text(path)))
    missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
    if missing:
        raise CalibrationError(f"{path}: no column {', '.join(missing)}")
    found = []
    with told(str(path)):
        for row in rows:
            with told(f"{path}: camera {row['name']}"):
                found.append(_camera(row))
    return found


def _camera(row: dict[str, str]) -> FoundCamera:
    width, height = int(row["w"]), int(row["h"])
    values = {name: float(row[name]) for name in COLUMNS[3:]}
    k1, k2, k3 = (float(row.get(name) or 0) for name in RADIAL)
    rotation = Rotation.from_rotvec([values["rx"], values["ry"], values["rz"]]).as_matrix()
    centre = np.array([values["tx"], values["ty"], values["tz"]])
    k = lens(width * values["fx"], height * values["fy"], width * values["px"] - CORNER, height * values["py"] - CORNER)
    return FoundCamera(row["name"], (width, height), k, coefficients(k1, k2, 0, 0, k3), pose_of(rotation, centre))


def write(rig: Rig) -> dict[str, bytes]:
    """The file.

    Raises:
        CalibrationError: Lenses that are not plain pinholes: the file holds no distortion.
    """
    bent = [camera.id for camera in rig.cameras if camera.distortion.any() or camera.model == "fisheye4"]
    if bent:
        raise CalibrationError(
            f"ActorsHQ holds no lens distortion; these have one: {', '.join(bent)}",
            hint="write another format, or export an undistorted dataset",
        )
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for camera in rig.cameras:
        pose, k = camera.world_from_camera, camera.intrinsics
        focal = k[0, 0] / camera.width, k[1, 1] / camera.height
        centre = (k[0, 2] + CORNER) / camera.width, (k[1, 2] + CORNER) / camera.height
        values = (*Rotation.from_matrix(pose[:3, :3]).as_rotvec(), *pose[:3, 3], *focal, *centre)
        table.writerow([camera.id, camera.width, camera.height, *(repr(float(value)) for value in values)])
    return {"": text.getvalue().encode()}

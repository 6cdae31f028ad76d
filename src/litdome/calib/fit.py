"""Calibrations brought to the stored pictures: names matched, sizes fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from litdome.errors import CalibrationError
from litdome.geometry import Camera, Rig

CalibrationFit = Literal["crop-left", "crop-centre", "scale"]


@dataclass(frozen=True)
class StoredCamera:
    """A camera of the session, as far as a calibration must fit it.

    Attributes:
        id, role: As in the session.
        stored: (width, height) of the stored pictures, px.
        recorded: (width, height) of the recorded pictures, px.
        calibration: (width, height) that the calibration saw, where it was declared.
        fit: How the calibration's picture became the recorded one.
        crop: (x0, y0, x1, y1) of the recorded picture that is stored, px, half-open; None: all of it.
    """

    id: str
    role: str
    stored: tuple[int, int]
    recorded: tuple[int, int]
    calibration: tuple[int, int] | None = None
    fit: CalibrationFit = "scale"
    crop: tuple[int, int, int, int] | None = None


def match_names(found: Sequence[str], wanted: Sequence[str], source: str) -> dict[str, str]:
    """The name in ``found`` of each camera in ``wanted``: exactly the same, or else but for case.

    Raises:
        CalibrationError: Cameras that are not in ``found``, or are there twice; names them and what there is.
    """
    matched, missing = {}, []
    for id in wanted:
        same = [name for name in found if name == id] or [name for name in found if name.lower() == id.lower()]
        if len(same) == 1:
            matched[id] = same[0]
        else:
            missing.append(id)
    if missing:
        some = f"camera{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
        raise CalibrationError(f"{source}: no {some} in it (it holds {', '.join(found)})", hint="rename them there")
    return matched


def match_rig(found: Rig, cameras: Sequence[StoredCamera], source: str) -> Rig:
    """The session's cameras out of ``found``, under the session's ids, still at the sizes that ``found`` states.

    Raises:
        CalibrationError: As `match_names`.
    """
    names = match_names(found.ids, [camera.id for camera in cameras], source)
    return Rig(tuple(replace(found[names[camera.id]], id=camera.id, role=camera.role) for camera in cameras))


def fit_rig(rig: Rig, cameras: Sequence[StoredCamera]) -> Rig:
    """Calibrated cameras, in the session's order, at the sizes of the stored pictures.

    Raises:
        CalibrationError: Another size than the recorded pictures' that nobody declared.
    """
    return Rig(tuple(fit_camera(found, camera) for found, camera in zip(rig.cameras, cameras, strict=True)))


def fit_camera(calibrated: Camera, camera: StoredCamera) -> Camera:
    """A calibrated camera at the size of the stored pictures.

    Raises:
        CalibrationError: Another size than the recorded pictures' that nobody declared.
    """
    size = (calibrated.width, calibrated.height)
    if size == camera.stored:
        return calibrated
    if size != camera.recorded:
        calibrated = _as_recorded(calibrated, camera)
    if camera.crop is not None:
        calibrated = _cropped(calibrated, camera.crop)
    return calibrated.scaled(*camera.stored)


def _cropped(camera: Camera, crop: tuple[int, int, int, int]) -> Camera:
    x0, y0, x1, y1 = crop
    intrinsics = camera.intrinsics.copy()
    intrinsics[:2, 2] -= (x0, y0)
    return replace(camera, width=x1 - x0, height=y1 - y0, intrinsics=intrinsics)


def _as_recorded(calibrated: Camera, camera: StoredCamera) -> Camera:
    size = (calibrated.width, calibrated.height)
    if size != camera.calibration:
        declared = f", {camera.calibration[0]}x{camera.calibration[1]} declared" if camera.calibration else ""
        raise CalibrationError(
            f"camera {camera.id}: calibrated at {size[0]}x{size[1]} px, recorded at "
            f"{camera.recorded[0]}x{camera.recorded[1]}{declared}",
            hint=f"write calibration_size = [{size[0]}, {size[1]}] and calibration_fit into [cameras.{camera.id}]",
        )
    if camera.fit == "scale":
        return calibrated.scaled(*camera.recorded)
    cut = np.array(size) - camera.recorded
    if (cut < 0).any():
        raise CalibrationError(f"camera {camera.id}: {camera.fit} from {size} to the larger {camera.recorded} px")
    intrinsics = calibrated.intrinsics.copy()
    if camera.fit == "crop-centre":
        intrinsics[:2, 2] -= cut / 2
    return replace(calibrated, width=camera.recorded[0], height=camera.recorded[1], intrinsics=intrinsics)

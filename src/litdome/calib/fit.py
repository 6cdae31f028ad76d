"""Calibrations brought to the stored pictures: names matched, sizes fitted, unbelievable lenses refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from litdome.errors import CalibrationError
from litdome.geometry import Camera, Rig

CalibrationFit = Literal["crop-left", "crop-centre", "scale"]
MAX_CENTRE_OFFSET = 0.3  # principal point from the picture's centre, of the picture's longer side
MAX_ASPECT = 0.1  # |fx / fy - 1|
FOCAL_RANGE = (0.2, 20.0)  # focal length, of the picture's longer side
MAX_TANGENTIAL = 0.2


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


def match_rig(found: Rig, cameras: Sequence[StoredCamera], source: str) -> Rig:
    """The cameras of ``found`` by the session's ids, at the stored sizes.

    Names match exactly, or else but for case.

    Raises:
        CalibrationError: A camera is missing from ``found``, has another size that nobody declared, or an
            unbelievable lens.
    """
    fitted = []
    for camera in cameras:
        same = [c for c in found.cameras if c.id == camera.id]
        same = same or [c for c in found.cameras if c.id.lower() == camera.id.lower()]
        if len(same) != 1:
            held = ", ".join(found.ids)
            raise CalibrationError(f"{source}: no camera {camera.id} in it (it holds {held})", hint="rename them there")
        fitted.append(fit_camera(replace(same[0], id=camera.id, role=camera.role), camera))
    return Rig(tuple(fitted))


def fit_camera(calibrated: Camera, camera: StoredCamera) -> Camera:
    """A calibrated camera at the size of the stored pictures.

    Raises:
        CalibrationError: Another size than the recorded pictures' that nobody declared, or an unbelievable lens.
    """
    check_believable(calibrated)
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


def check_believable(camera: Camera) -> None:
    """Refuse a lens that cannot be.

    Raises:
        CalibrationError: Focal length, aspect, principal point or tangential distortion out of bounds; says measured
            and allowed.
    """
    longer = max(camera.width, camera.height)
    focal_x, focal_y = camera.intrinsics[0, 0], camera.intrinsics[1, 1]
    middle = np.array([camera.width - 1, camera.height - 1]) / 2
    offset = float(np.linalg.norm(camera.intrinsics[:2, 2] - middle)) / longer
    tangential = float(np.abs(camera.distortion[2:4]).max()) if camera.model != "fisheye4" else 0.0
    numbers = np.concatenate([camera.intrinsics.ravel(), camera.distortion, camera.world_from_camera.ravel()])
    problems = (
        (not np.isfinite(numbers).all(), "its values are not finite"),
        (
            not FOCAL_RANGE[0] <= focal_x / longer <= FOCAL_RANGE[1],
            f"focal length {focal_x:.0f} px, allowed {FOCAL_RANGE[0] * longer:.0f} to {FOCAL_RANGE[1] * longer:.0f}",
        ),
        (abs(focal_x / focal_y - 1) > MAX_ASPECT, f"fx / fy = {focal_x / focal_y:.3f}, allowed 1 +- {MAX_ASPECT}"),
        (
            offset > MAX_CENTRE_OFFSET,
            f"principal point {offset * longer:.0f} px from the centre > {MAX_CENTRE_OFFSET * longer:.0f} px",
        ),
        (tangential > MAX_TANGENTIAL, f"tangential distortion {tangential:.3f} > {MAX_TANGENTIAL}"),
    )
    for wrong, problem in problems:
        if wrong:
            raise CalibrationError(
                f"camera {camera.id}: not to be believed: {problem}", hint="calibrate this camera again"
            )

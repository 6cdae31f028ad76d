"""A calibration as a session holds it: what was solved, and apart from it where that stands in the world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.calib.calibration import BoardCorners, Calibration
from litdome.calib.fit import StoredCamera
from litdome.calib.world import Placement
from litdome.geometry import Camera, Rig
from litdome.stage import SessionLike

FloatArray = npt.NDArray[np.float64]


def stored_cameras(session: SessionLike) -> tuple[StoredCamera, ...]:
    """The session's cameras with the sizes that a calibration must fit."""
    attrs = session.array("rig/size").attrs
    return tuple(
        StoredCamera(
            id, role, session.size(id), tuple(recorded), declared and tuple(declared), fit, crop and tuple(crop)
        )
        for id, role, recorded, declared, fit, crop in zip(
            session.cameras,
            attrs["roles"],
            attrs["recorded_sizes"],
            attrs["calibration_sizes"],
            attrs["calibration_fits"],
            attrs.get("crops", [None] * len(session.cameras)),
            strict=True,
        )
    )


def write_calibration(session: SessionLike, found: Calibration, fitted: Rig, key: tuple[str, str]) -> None:
    """Store all that does not depend on the world.

    Args:
        session: Where.
        found: The calibration.
        fitted: Its rig at the stored sizes.
        key: Names the settings and the files that it was found from; `stored_key` gives it back.
    """
    lenses = zip(fitted.cameras, found.rig.cameras, strict=True)
    scales = np.array([stored.intrinsics[0, 0] / own.intrinsics[0, 0] for stored, own in lenses])
    std = found.intrinsics_std.copy()
    std[:, :4] *= scales[:, None]
    _write_rig(session, "intrinsics", [c.intrinsics for c in fitted.cameras], ("row", "column"), "px", "K")
    _write_rig(session, "distortion", [c.distortion for c in fitted.cameras], ("coefficient",), "1", "OpenCV order")
    _write_rig(session, "intrinsics_std", std, ("parameter",), "px", "fx fy cx cy, then distortion")
    _write_rig(session, "reprojection_px", found.rms_px * scales, (), "px", "root mean square per corner")
    session.set_attrs("rig/reprojection_px", source=found.source)
    session.set_attrs("rig/size", models=[camera.model for camera in fitted.cameras])
    _write_corners(session, found)
    _write_own(session, "intrinsics", [c.intrinsics for c in found.rig.cameras], "camera", "px", "K, board pictures")
    if found.has_poses:
        _write_poses(session, found)
    known = np.isfinite(found.rms_px).all()
    rms = {"rms_px": [round(float(value), 4) for value in found.rms_px]} if known else {}
    summary = {"source": found.source, **rms, **found.summary}
    session.set_attrs("calibration/intrinsics", key=list(key), summary=summary, warnings=list(found.warnings))


def _write_poses(session: SessionLike, found: Calibration) -> None:
    _write_rig(session, "pose_std", found.pose_std, ("parameter",), "rad, m", "against the first camera")
    _write_own(session, "rig_from_camera", [c.world_from_camera for c in found.rig.cameras], "camera", "m", "as solved")
    _write_own(session, "rig_from_board", [found.boards[v] for v in sorted(found.boards)], "view", "m", "as solved")
    session.set_attrs("calibration/rig_from_board", views=sorted(found.boards))


def _write_rig(
    session: SessionLike, name: str, values: Any, dims: tuple[str, ...], unit: str, description: str
) -> None:
    session.write_small(
        f"rig/{name}", np.asarray(values, np.float64), ("camera", *dims), unit=unit, description=description
    )


def _write_own(session: SessionLike, name: str, values: Sequence[FloatArray], axis: str, unit: str, text: str) -> None:
    side = 3 if unit == "px" else 4
    stack = np.array(values, np.float64).reshape(-1, side, side)
    session.write_small(f"calibration/{name}", stack, (axis, "row", "column"), unit=unit, description=text)


def _write_corners(session: SessionLike, found: Calibration) -> None:
    corners = found.corners
    described = {
        "camera": "index on the camera axis",
        "view": "number of the view",
        "id": "corner of the board, row by row",
        "state": "0 used, 1 corner left out, 2 view left out",
    }
    for name, text in described.items():
        session.write_small(f"calibration/corner_{name}", getattr(corners, name), ("corner",), description=text)
    sizes = corners.sizes or tuple((camera.width, camera.height) for camera in found.rig.cameras)
    attrs = {"sizes": [list(size) for size in sizes], "variant": list(corners.variants)}
    dims = ("corner", "axis")
    session.write_small(
        "calibration/corner_px", corners.pixels, dims, unit="px", description="as seen, board pictures", attrs=attrs
    )
    session.write_small(
        "calibration/corner_residual_px", corners.residual_px, dims, unit="px", description="projected - seen"
    )


def write_world(session: SessionLike, found: Rig, boards: Mapping[int, FloatArray], placement: Placement) -> None:
    """Store where cameras and boards stand in the world: what ``--align`` writes anew."""
    poses = [placement.moved(camera.world_from_camera) for camera in found.cameras]
    described = "rigid, OpenCV camera axes, world +y up"
    _write_rig(session, "world_from_camera", poses, ("row", "column"), "m", described)
    views = sorted(boards)
    placed = [placement.moved(boards[view]) for view in views]
    _write_own(session, "world_from_board", placed, "view", "m", "x along the columns, y down the rows")
    session.set_attrs("calibration/world_from_board", views=views)
    session.set_attrs("rig/world_from_camera", world=placement.words, warnings=list(placement.warnings))


def stored_key(session: SessionLike) -> tuple[str, str] | None:
    """What the stored calibration was found from; None where there is none, or another version's."""
    path = "calibration/intrinsics"
    settings, files = session.array(path).attrs.get("key", (None, None)) if session.has(path) else (None, None)
    return None if settings is None else (str(settings), str(files))


def has_poses(session: SessionLike) -> bool:
    """Whether what is stored holds poses, not lenses alone."""
    return session.has("calibration/rig_from_camera")


def stored_lenses(session: SessionLike) -> Rig:
    """The lenses of a session, at the sizes of the board pictures where it knows them; no pose counts.

    Raises:
        CalibrationError: The session is not calibrated.
    """
    lenses = session.lenses
    if stored_key(session) is None:
        return lenses
    sizes = session.array("calibration/corner_px").attrs["sizes"]
    pairs = zip(lenses.cameras, sizes, session.read("calibration/intrinsics"), strict=True)
    return Rig(tuple(replace(camera, width=w, height=h, intrinsics=k) for camera, (w, h), k in pairs))


def stored_rig(session: SessionLike) -> tuple[Rig, Mapping[int, FloatArray]]:
    """Cameras, at the sizes of the board pictures, and boards by view, as they were found and not yet placed."""
    attrs = session.array("rig/size").attrs
    sizes = session.array("calibration/corner_px").attrs["sizes"]
    columns = (session.read(f"calibration/{name}") for name in ("intrinsics", "rig_from_camera"))
    lenses = session.read("rig/distortion")
    cameras = tuple(
        Camera(id, int(size[0]), int(size[1]), k, lens, pose, model, role)
        for id, size, k, pose, lens, model, role in zip(
            session.cameras, sizes, *columns, lenses, attrs["models"], attrs["roles"], strict=True
        )
    )
    views = session.array("calibration/rig_from_board").attrs["views"]
    return Rig(cameras), dict(zip(map(int, views), session.read("calibration/rig_from_board"), strict=True))


def calibration_of(session: SessionLike, source: str) -> Calibration:
    """The calibration that a session holds, in the session's world and at its stored sizes, corners and all.

    Raises:
        CalibrationError: The session is not calibrated.
    """
    found = Calibration.of_rig(session.rig, source)
    if not session.has("calibration/corner_px"):
        return found
    attrs = session.array("calibration/corner_px").attrs
    camera, view, id, state, pixels, residual_px = (
        session.read(f"calibration/corner_{name}") for name in ("camera", "view", "id", "state", "px", "residual_px")
    )
    sizes = tuple((int(width), int(height)) for width, height in attrs["sizes"])
    corners = BoardCorners(camera, view, id, state, pixels, residual_px, sizes, tuple(attrs["variant"]))
    views = session.array("calibration/world_from_board").attrs["views"]
    boards = dict(zip(map(int, views), session.read("calibration/world_from_board"), strict=True))
    rms, lens_std, pose_std = (
        session.read(f"rig/{name}") for name in ("reprojection_px", "intrinsics_std", "pose_std")
    )
    own = session.array("calibration/intrinsics").attrs
    summary = {key: value for key, value in own["summary"].items() if key not in ("source", "rms_px")}
    return replace(
        found,
        rms_px=rms,
        intrinsics_std=lens_std,
        pose_std=pose_std,
        corners=corners,
        boards=boards,
        summary=summary,
        warnings=tuple(own["warnings"]),
    )

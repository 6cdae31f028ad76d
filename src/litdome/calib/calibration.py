"""A calibration as a value, and as a session holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.calib.fit import StoredCamera
from litdome.calib.world import Placement
from litdome.geometry import Camera, Rig
from litdome.stage import SessionLike

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int32]
LENS_VALUES, POSE_VALUES = 12, 6


@dataclass(frozen=True, eq=False)
class BoardCorners:
    """Every corner that the poses rest on, and those that were left out.

    Attributes:
        camera, view, id: Index on the camera axis, view number, corner of the board, each shape (corner,).
        state: 0 used, 1 corner left out, 2 view left out, shape (corner,).
        pixels, residual_px: Where it was seen, and how far from where it should be, px of the board pictures, shape
            (corner, 2).
        sizes: (width, height) of the board pictures by camera.
        variants: How the board was found to be printed, by camera.
    """

    camera: IntArray
    view: IntArray
    id: IntArray
    state: npt.NDArray[np.uint8]
    pixels: npt.NDArray[np.float32]
    residual_px: npt.NDArray[np.float32]
    sizes: tuple[tuple[int, int], ...] = ()
    variants: tuple[str, ...] = ()

    @classmethod
    def none(cls) -> BoardCorners:
        """Of a calibration that saw no board."""
        index, pixels = np.zeros(0, np.int32), np.zeros((0, 2), np.float32)
        return cls(index, index, index, np.zeros(0, np.uint8), pixels, pixels)

    def of_cameras(self, rows: Sequence[int]) -> BoardCorners:
        """Those of some cameras, which are numbered anew in the order of ``rows``."""
        kept = np.isin(self.camera, rows)
        renumbered = np.zeros(max([*rows, 0]) + 1, np.int32)
        renumbered[list(rows)] = np.arange(len(rows), dtype=np.int32)
        return BoardCorners(
            camera=renumbered[self.camera[kept]],
            view=self.view[kept],
            id=self.id[kept],
            state=self.state[kept],
            pixels=self.pixels[kept],
            residual_px=self.residual_px[kept],
            sizes=tuple(self.sizes[row] for row in rows) if self.sizes else (),
            variants=tuple(self.variants[row] for row in rows) if self.variants else (),
        )


@dataclass(frozen=True, eq=False)
class Calibration:
    """Lenses and poses as they were found: neither placed in the world nor fitted to the stored pictures.

    Attributes:
        rig: At the sizes of the board pictures or of the file; poses in the solver's frame or in the file's world.
        source: In words.
        rms_px: Reprojection error by camera, px of the board pictures, shape (camera,); NaN where it is not known.
        intrinsics_std: Of fx fy cx cy (px), then 8 distortion values, shape (camera, 12); NaN likewise.
        pose_std: Rotation (rad) and translation (m) against the first camera, shape (camera, 6); NaN likewise.
        corners: What it rests on.
        boards: rig_from_board by view, shape (4, 4).
        summary: Further numbers of the stage's record.
        warnings: What was left out, or looks wrong.
    """

    rig: Rig
    source: str
    rms_px: FloatArray
    intrinsics_std: FloatArray
    pose_std: FloatArray
    corners: BoardCorners = field(default_factory=BoardCorners.none)
    boards: Mapping[int, FloatArray] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @classmethod
    def of_rig(cls, rig: Rig, source: str) -> Calibration:
        """Of a rig that somebody else calibrated: how well it is known is not known."""
        lens, pose = (np.full((len(rig.cameras), length), np.nan) for length in (LENS_VALUES, POSE_VALUES))
        return cls(rig, source, np.full(len(rig.cameras), np.nan), lens, pose)

    def of_cameras(self, rows: Sequence[int], rig: Rig) -> Calibration:
        """That of some cameras, in the order of ``rows``; ``rig`` holds them, as they are to be called."""
        rms, lens_std, pose_std = (values[list(rows)] for values in (self.rms_px, self.intrinsics_std, self.pose_std))
        corners = self.corners.of_cameras(rows)
        return replace(self, rig=rig, rms_px=rms, intrinsics_std=lens_std, pose_std=pose_std, corners=corners)


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
    scales = np.array([stored.width / own.width for stored, own in zip(fitted.cameras, found.rig.cameras, strict=True)])
    std = found.intrinsics_std.copy()
    std[:, :4] *= scales[:, None]
    _write_rig(session, "intrinsics", [c.intrinsics for c in fitted.cameras], ("row", "column"), "px", "K")
    _write_rig(session, "distortion", [c.distortion for c in fitted.cameras], ("coefficient",), "1", "OpenCV order")
    _write_rig(session, "intrinsics_std", std, ("parameter",), "px", "fx fy cx cy, then distortion")
    _write_rig(session, "pose_std", found.pose_std, ("parameter",), "rad, m", "against the first camera")
    _write_rig(session, "reprojection_px", found.rms_px * scales, (), "px", "root mean square per corner")
    session.set_attrs("rig/reprojection_px", source=found.source)
    session.set_attrs("rig/size", models=[camera.model for camera in fitted.cameras])
    _write_corners(session, found)
    _write_own(session, "intrinsics", [c.intrinsics for c in found.rig.cameras], "camera", "px", "K, board pictures")
    _write_own(session, "rig_from_camera", [c.world_from_camera for c in found.rig.cameras], "camera", "m", "as solved")
    _write_own(session, "rig_from_board", [found.boards[v] for v in sorted(found.boards)], "view", "m", "as solved")
    session.set_attrs("calibration/rig_from_board", views=sorted(found.boards))
    summary = {"source": found.source, **found.summary}
    session.set_attrs("calibration/rig_from_camera", key=list(key), summary=summary, warnings=list(found.warnings))


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
    """What the stored calibration was found from; None where there is none that could be placed anew."""
    path = "calibration/rig_from_camera"
    settings, files = session.array(path).attrs["key"] if session.has(path) else (None, None)
    return None if settings is None else (str(settings), str(files))


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
    own = session.array("calibration/rig_from_camera").attrs
    summary = {key: value for key, value in own["summary"].items() if key != "source"}
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

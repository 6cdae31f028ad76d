"""A calibration as a value, before it is placed in the world and fitted to stored pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.geometry import Rig

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
        has_poses: False where only lenses were found; the cameras then stand at the origin.
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
    has_poses: bool = True

    @classmethod
    def of_rig(cls, rig: Rig, source: str) -> Calibration:
        """Of a rig that somebody else calibrated: how well it is known is not known."""
        lens, pose = (np.full((len(rig.cameras), length), np.nan) for length in (LENS_VALUES, POSE_VALUES))
        return cls(rig, source, np.full(len(rig.cameras), np.nan), lens, pose)

    def of_cameras(self, rows: Sequence[int], rig: Rig) -> Calibration:
        """That of some cameras, in the order of ``rows``; ``rig`` holds them, as they are to be called."""
        rms, lens_std, pose_std = (values[list(rows)] for values in (self.rms_px, self.intrinsics_std, self.pose_std))
        names = {self.rig.ids[row]: id for row, id in zip(rows, rig.ids, strict=True)}
        by_camera = {key: value for key, value in self.summary.items() if isinstance(value, Mapping)}
        told = {key: {names[id]: item for id, item in value.items() if id in names} for key, value in by_camera.items()}
        return replace(
            self,
            rig=rig,
            rms_px=rms,
            intrinsics_std=lens_std,
            pose_std=pose_std,
            corners=self.corners.of_cameras(rows),
            summary={**self.summary, **told},
        )

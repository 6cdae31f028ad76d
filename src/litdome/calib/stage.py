"""Calibrate: lenses and poses of all cameras, from board takes or from another program's file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from litdome.calib.boards import BoardSpec, BoardTake, board_spec, detect_take
from litdome.calib.exchange import read_calibration
from litdome.calib.fit import StoredCamera, fit_camera, match_rig
from litdome.calib.lenses import Lens, calibrate_lens
from litdome.calib.poses import solve_poses
from litdome.calib.world import level_rig
from litdome.errors import CalibrationError
from litdome.geometry import Camera, Rig
from litdome.media.images import VIDEO_SUFFIXES
from litdome.stage import SessionLike, StageConfig, Summary, Unit

FloatArray = npt.NDArray[np.float64]


class CalibrateConfig(StageConfig):
    """Settings of calibrate."""

    source: Literal["boards", "import"] = Field("boards", description="board takes, or another program's file")
    import_file: str | None = Field(None, description="Qualisys .qca.txt or nerfstudio transforms.json")
    boards_dir: str | None = Field(None, description="folder with intrinsic/ and extrinsic/; default the recording's")
    refine_lenses: bool = Field(True, description="refine f, k1 and k2 together with the poses")
    max_rms_px: float = Field(2.0, gt=0, description="largest reprojection error of a camera that is believed, px")
    max_pictures: int = Field(80, ge=3, description="pictures of a board take that are searched")


@dataclass(frozen=True, eq=False)
class Calibration:
    """What calibrate found.

    Attributes:
        rig: At the stored sizes, world +y up, metres.
        rms_px: Reprojection error by camera, shape (camera,); NaN for an import.
        intrinsics_std: fx, fy, cx, cy (px), then 8 distortion values, shape (camera, 12); NaN for an import.
        pose_std: Rotation (rad) and translation (m) against the first camera, shape (camera, 6); NaN for an import.
        source: In words.
        warnings: What was left out.
    """

    rig: Rig
    rms_px: FloatArray
    intrinsics_std: FloatArray
    pose_std: FloatArray
    source: str
    warnings: tuple[str, ...] = ()


class Calibrate:
    """Writes the rig: intrinsics, distortion, poses, and how well they are known."""

    name: ClassVar[str] = "calibrate"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "lenses and poses of all cameras"
    needs: ClassVar[tuple[str, ...]] = ("ingest",)
    Config: ClassVar[type[StageConfig]] = CalibrateConfig

    def prepare(self, session: SessionLike, config: CalibrateConfig) -> list[Unit]:
        """One unit: the cameras belong together."""
        return [Unit(None, 0, 1)]

    def run(self, session: SessionLike, config: CalibrateConfig, unit: Unit) -> None:
        """Calibrate and write the rig."""
        cameras = stored_cameras(session)
        if config.source == "import":
            if config.import_file is None:
                raise CalibrationError("calibrate: source is import, but no file", hint="--import FILE")
            found = import_calibration(Path(config.import_file), cameras)
        else:
            folder = _boards_folder(session, config)
            found = calibrate_from_boards(folder, board_spec(session.attrs.get("board")), cameras, config)
        _write(session, found)

    def input_files(self, session: SessionLike, config: CalibrateConfig) -> list[Path]:
        """The imported file, or all pictures and videos of the board takes."""
        if config.source == "import":
            return [Path(config.import_file)] if config.import_file else []
        return sorted(path for path in _boards_folder(session, config).rglob("*") if path.is_file())

    def finish(self, session: SessionLike, config: CalibrateConfig) -> Summary:
        """Reprojection error by camera."""
        attrs = session.array("rig/reprojection_px").attrs
        rms = session.read("rig/reprojection_px")
        summary: Summary = {"cameras": list(session.cameras), "source": attrs["source"], "warnings": attrs["warnings"]}
        if np.isfinite(rms).all():
            summary["rms_px"] = [round(float(value), 4) for value in rms]
        return summary


def _boards_folder(session: SessionLike, config: CalibrateConfig) -> Path:
    return Path(config.boards_dir or Path(str(session.attrs.get("recording", ""))) / "boards")


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


def import_calibration(file: Path, cameras: Sequence[StoredCamera]) -> Calibration:
    """The rig of another program's file.

    Raises:
        CalibrationError: Unreadable, a camera missing, another size that nobody declared, an unbelievable lens.
    """
    rig = match_rig(read_calibration(file), cameras, file.name)
    count = len(cameras)
    rms, lens_std, pose_std = (np.full(shape, np.nan) for shape in ((count,), (count, 12), (count, 6)))
    return Calibration(rig, rms, lens_std, pose_std, f"import {file.name}")


def calibrate_from_boards(
    folder: Path, spec: BoardSpec, cameras: Sequence[StoredCamera], config: CalibrateConfig
) -> Calibration:
    """Lenses from ``intrinsic/`` (or ``extrinsic/`` where a camera has no such take), poses from ``extrinsic/``.

    Raises:
        CalibrationError: A take is missing, no board is found, or a camera's reprojection error is above the limit.
        InputError: A take cannot be decoded.
    """
    ids = [camera.id for camera in cameras]
    if spec.kind == "chessboard" and (spec.columns + spec.rows) % 2 == 0:
        raise CalibrationError(
            f"a chessboard of {spec.columns}x{spec.rows} squares looks the same upside down: poses would be ambiguous",
            hint="use a board with columns + rows odd, or a charuco",
        )
    joint = _detect({id: _take(folder / "extrinsic", id) for id in ids}, spec, config.max_pictures)
    own = {id: take for id in ids if (take := _take_or_none(folder / "intrinsic", id)) is not None}
    single = {**joint, **_detect(own, spec, config.max_pictures)}
    lenses = {id: calibrate_lens(single[id].views, spec, single[id].size, name=f"camera {id}") for id in ids}
    start = [_camera(id, lenses[id], joint[id]) for id in ids]
    views = {id: take.views for id, take in joint.items()}
    solution = solve_poses(start, views, spec, refine_lenses=config.refine_lenses)
    for id, rms in zip(ids, solution.rms_px, strict=True):
        if not rms <= config.max_rms_px:
            raise CalibrationError(
                f"camera {id}: reprojection {rms:.2f} px > {config.max_rms_px:.2f} px",
                hint="hold the board still and check that all cameras are in step",
            )
    levelled = level_rig(solution.rig)
    rig = Rig(tuple(fit_camera(found, camera) for found, camera in zip(levelled.cameras, cameras, strict=True)))
    scales = np.array([fitted.width / found.width for fitted, found in zip(rig.cameras, levelled.cameras, strict=True)])
    lens_std = np.array([np.pad(lenses[id].std, (0, 4)) for id in ids])
    lens_std[:, :4] *= scales[:, None]
    warnings = [f"camera {id}: board view {view} left out of the lens" for id in ids for view in lenses[id].rejected]
    warnings += [f"camera {id}: board view {view} left out of the poses" for id, view in solution.dropped]
    warnings.append(
        "boards do not show which way the stage faces: +z is the open side of the camera ring, floor guessed"
    )
    how = f"boards, {solution.trimmed_rms_px:.3f} px without the worst 2.5 % of corners"
    return Calibration(rig, solution.rms_px * scales, lens_std, solution.pose_std, how, tuple(warnings))


def _detect(sources: Mapping[str, Path], spec: BoardSpec, max_pictures: int) -> dict[str, BoardTake]:
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        takes = pool.map(lambda source: detect_take(source, spec, max_pictures=max_pictures), sources.values())
        return dict(zip(sources, takes, strict=True))


def _take(folder: Path, id: str) -> Path:
    found = _take_or_none(folder, id)
    if found is None:
        raise CalibrationError(
            f"{folder}: no board take of camera {id}", hint="litdome calibrate SESSION --boards DIR, or --import FILE"
        )
    return found


def _take_or_none(folder: Path, id: str) -> Path | None:
    if (folder / id).is_dir():
        return folder / id
    return next((path for suffix in VIDEO_SUFFIXES if (path := folder / f"{id}{suffix}").is_file()), None)


def _camera(id: str, lens: Lens, take: BoardTake) -> Camera:
    if lens.size != take.size:
        raise CalibrationError(f"camera {id}: lens take is {lens.size} px, pose take {take.size}", hint="film alike")
    return Camera(id, *lens.size, lens.intrinsics, lens.distortion, np.eye(4))


def _write(session: SessionLike, found: Calibration) -> None:
    cameras = found.rig.cameras

    def write(name: str, values: FloatArray, dims: tuple[str, ...], unit: str, description: str) -> None:
        session.write_small(f"rig/{name}", values, ("camera", *dims), unit=unit, description=description)

    write(
        "intrinsics", np.stack([c.intrinsics for c in cameras]), ("row", "column"), "px", "K, pixel centres at integers"
    )
    write("distortion", np.stack([c.distortion for c in cameras]), ("coefficient",), "1", "OpenCV order, zero-padded")
    write("intrinsics_std", found.intrinsics_std, ("parameter",), "px", "fx fy cx cy, then distortion")
    write("pose_std", found.pose_std, ("parameter",), "rad, m", "rotation, translation against the first camera")
    write("reprojection_px", found.rms_px, (), "px", "root mean square per corner")
    session.set_attrs("rig/reprojection_px", source=found.source, warnings=list(found.warnings))
    session.set_attrs("rig/size", models=[camera.model for camera in cameras])
    poses = np.stack([c.world_from_camera for c in cameras])
    write("world_from_camera", poses, ("row", "column"), "m", "rigid, OpenCV camera axes, world +y up")

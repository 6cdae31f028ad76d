"""Calibrate: lenses and poses of all cameras, from board takes or from another program's file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import ClassVar, Literal, cast

import numpy as np
from pydantic import Field

from litdome.calib.boards import BoardSpec, board_spec, parse_board
from litdome.calib.calibration import (
    Calibration,
    calibration_of,
    stored_cameras,
    stored_key,
    stored_rig,
    write_calibration,
    write_world,
)
from litdome.calib.exchange import read_calibration
from litdome.calib.fit import StoredCamera, fit_rig, match_names, match_rig
from litdome.calib.footage import BoardFootage, read_footage
from litdome.calib.from_boards import SolveSettings, calibrate_from_boards, floor_views
from litdome.calib.marks import place_by_points, read_points
from litdome.calib.rig_check import check_rig
from litdome.calib.world import Placement, place_by_cameras, place_by_floor
from litdome.errors import CalibrationError, LitdomeError
from litdome.geometry import LensModel, Rig
from litdome.progress import Progress, silent
from litdome.stage import SessionLike, StageConfig, Summary, Unit
from litdome.store.provenance import digest, file_fingerprint
from litdome.store.session import Session

World = Literal["auto", "floor", "points", "cameras", "file"]
WORLD_SETTINGS = {"world", "world_points", "free_scale"}
STORE_FILE = "zarr.json"
SESSION_PARTS = ("rig", "calibration", "steps/calibrate")  # of a session that is imported


class CalibrateConfig(StageConfig):
    """Settings of calibrate."""

    source: Literal["boards", "import"] = Field("boards", description="board takes, or another program's file")
    import_file: str | None = Field(None, description="another program's file, or a session that is calibrated")
    boards_dir: str | None = Field(None, description="folder with the board takes; default the recording's boards/")
    board: str | None = Field(
        None, description="the board, charuco:9x7:100:75:DICT_4X4_100; default as described there"
    )
    intrinsics_file: str | None = Field(None, description="take the lenses from this file, the poses from the boards")
    model: LensModel = Field("pinhole5", description="lens model: pinhole5, pinhole8 or fisheye4")
    models: dict[str, LensModel] = Field({}, description="lens model by camera, where it is another one")
    refine: str = Field("auto", description="lens values refined with the poses: auto, none, or a list: f,k1,k2")
    max_rms_px: float = Field(2.0, gt=0, description="largest reprojection error of a camera that is believed, px")
    max_pictures: int = Field(80, ge=3, description="pictures of a board take that are searched")
    world: World = Field("auto", description="what says where up, floor and origin are: floor, points, cameras, file")
    world_points: str | None = Field(None, description="TOML file of marked points (docs/calibration.md)")
    free_scale: bool = Field(False, description="take the scale from the marked points, not from the board or file")

    def solve_settings(self) -> SolveSettings:
        """Those that lenses and poses depend on."""
        return SolveSettings(self.refine, self.max_rms_px, self.max_pictures, self.model, self.models)


class Calibrate:
    """Writes the rig: intrinsics, distortion, poses, how well they are known, and the corners they rest on."""

    name: ClassVar[str] = "calibrate"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "lenses and poses of all cameras"
    needs: ClassVar[tuple[str, ...]] = ("ingest",)
    Config: ClassVar[type[StageConfig]] = CalibrateConfig

    def __init__(self, progress: Progress = silent) -> None:
        self.progress = progress

    def prepare(self, session: SessionLike, config: CalibrateConfig) -> list[Unit]:
        """One unit: the cameras belong together."""
        return [Unit(None, 0, 1)]

    def run(self, session: SessionLike, config: CalibrateConfig, unit: Unit) -> None:
        """Calibrate, place the rig in the world, and only then write; what differs by the world alone is not solved
        again."""
        cameras, key = stored_cameras(session), solution_key(session, config)
        if is_solved(session, key):
            rig, boards = stored_rig(session)
            placement = place(rig, fit_rig(rig, cameras), config, session)
        else:
            found = find_calibration(session, cameras, config, self.progress)
            rig, boards, fitted = found.rig, found.boards, fit_rig(found.rig, cameras)
            placement = place(rig, fitted, config, session)
            write_calibration(session, found, fitted, key)
        write_world(session, rig, boards, placement)

    def input_files(self, session: SessionLike, config: CalibrateConfig) -> list[Path]:
        """The imported file or session, the board takes, the marked points."""
        points = _files_of(config.world_points)
        return sorted({*_solved_from(session, config), *_floor_files(session, config), *points})

    def finish(self, session: SessionLike, config: CalibrateConfig) -> Summary:
        """Errors by camera and over all, what was refined, how the world was found."""
        own, world = (session.array(f"{path}_from_camera").attrs for path in ("calibration/rig", "rig/world"))
        rms = session.read("rig/reprojection_px")
        summary: Summary = {"cameras": list(session.cameras), **own["summary"], "world": world["world"]}
        if np.isfinite(rms).all():
            widths = [width for width, _ in session.array("calibration/corner_px").attrs["sizes"]]
            scales = [width / session.size(id)[0] for id, width in zip(session.cameras, widths, strict=True)]
            summary["rms_px"] = [round(float(value) * scale, 4) for value, scale in zip(rms, scales, strict=True)]
        return {**summary, "warnings": [*own["warnings"], *world["warnings"]]}


def find_calibration(
    session: SessionLike, cameras: Sequence[StoredCamera], config: CalibrateConfig, progress: Progress
) -> Calibration:
    """Lenses and poses of the session's cameras, from boards or from a file.

    Raises:
        CalibrationError: The source is missing or unreadable, or what it says cannot be.
    """
    if config.source == "import":
        if config.import_file is None:
            raise CalibrationError("calibrate: source is import, but no file", hint="--import FILE")
        return import_calibration(Path(config.import_file), cameras)
    ids = [camera.id for camera in cameras]
    footage = read_footage(boards_folder(session, config)).called(ids)
    lenses = None if config.intrinsics_file is None else _known_lenses(Path(config.intrinsics_file), cameras)
    unknown = sorted(set(config.models) - set(ids))
    if unknown:
        raise CalibrationError(f"calibrate.models: no camera {', '.join(unknown)}", hint=f"cameras: {', '.join(ids)}")
    spec = find_board(session, config, footage)
    return calibrate_from_boards(footage, spec, ids, config.solve_settings(), lenses=lenses, progress=progress)


def import_calibration(file: Path, cameras: Sequence[StoredCamera]) -> Calibration:
    """The rig of another program's file, or of another session together with what it rests on.

    Raises:
        CalibrationError: Unreadable, a camera missing, an unbelievable lens.
        StoreError: A folder that looks like a session, and is none.
    """
    source = f"import {file.name}"
    is_session = (file / STORE_FILE).is_file()
    found = (
        calibration_of(Session.open(str(file)), source) if is_session else Calibration.of_rig(read_rig(file), source)
    )
    rig = match_rig(found.rig, cameras, file.name)
    names = match_names(found.rig.ids, rig.ids, file.name)
    rows = [found.rig.ids.index(names[id]) for id in rig.ids]
    chosen = found.of_cameras(rows, rig)
    return replace(chosen, warnings=tuple(dict.fromkeys([*chosen.warnings, *check_rig(rig)])))


def read_rig(file: Path) -> Rig:
    """The cameras of another program's file, or of a session.

    Raises:
        CalibrationError: Unreadable, or the session is not calibrated.
        StoreError: A folder that looks like a session, and is none.
    """
    return Session.open(str(file)).rig if (file / STORE_FILE).is_file() else read_calibration(file)


def place(rig: Rig, fitted: Rig, config: CalibrateConfig, session: SessionLike) -> Placement:
    """Where a rig stands in the world, as the settings say.

    ``auto``: by marked points where a file of them is given; else, from boards, by the board on the floor where it was
    filmed and otherwise by the cameras' own up; an import stays where its file puts it.

    Raises:
        CalibrationError: What the settings ask for is missing, or contradicts the rig.
    """
    world = config.world
    if world == "points" or (world == "auto" and config.world_points):
        if config.world_points is None:
            raise CalibrationError("calibrate: the world is to come from points, but no file", hint="--points FILE")
        return place_by_points(fitted, read_points(Path(config.world_points)), free_scale=config.free_scale)
    is_import = config.source == "import"
    if world == "floor" or (world == "auto" and not is_import):
        footage = read_footage(boards_folder(session, config))
        if world == "floor" or any(camera.floor for camera in footage.cameras.values()):
            spec = find_board(session, config, footage)
            return place_by_floor(rig, floor_views(footage.called(rig.ids), spec, rig), spec)
    if is_import and world != "cameras":
        return _world_of_file(Path(config.import_file or ""))
    if world == "file":
        raise CalibrationError("calibrate.world = file: boards have no world of their own", hint="--world auto")
    return place_by_cameras(rig)


def _world_of_file(file: Path) -> Placement:
    """Nothing is moved; of a session, how its world was found is said on."""
    if not (file / STORE_FILE).is_file():
        return Placement(np.eye(4), f"as in {file.name}")
    attrs = Session.open(str(file)).array("rig/world_from_camera").attrs
    words, warnings = attrs.get("world"), cast(list[str], attrs.get("warnings", []))
    return Placement(np.eye(4), f"as in {file.name}" + (f": {words}" if words else ""), warnings=tuple(warnings))


def boards_folder(session: SessionLike, config: CalibrateConfig) -> Path:
    """Where the board takes lie."""
    return Path(config.boards_dir or Path(str(session.attrs.get("recording", ""))) / "boards")


def find_board(session: SessionLike, config: CalibrateConfig, footage: BoardFootage) -> BoardSpec:
    """The board: as the settings say, or else the footage, or else the recording.

    Raises:
        CalibrationError: Nobody says it, or it cannot be.
    """
    if config.board is not None:
        return parse_board(config.board)
    return footage.board or board_spec(session.attrs.get("board"))


def _known_lenses(file: Path, cameras: Sequence[StoredCamera]) -> Rig:
    lenses = match_rig(read_calibration(file), cameras, file.name)
    check_rig(lenses)
    return lenses


def solution_key(session: SessionLike, config: CalibrateConfig) -> tuple[str, str]:
    """Names what lenses and poses in the rig's own frame depend on: settings and cameras, and files ('' where those
    are not there any more)."""
    settings = {name: value for name, value in config.recorded().items() if name not in WORLD_SETTINGS}
    cameras = [asdict(camera) for camera in stored_cameras(session)]
    files = [file_fingerprint(file, file.parent) for file in _solved_from(session, config)]
    return digest([Calibrate.version, settings, cameras, session.attrs.get("board")]), digest(files) if files else ""


def is_solved(session: SessionLike, key: tuple[str, str]) -> bool:
    """Whether the stored calibration was solved from the same; files that have been moved away count as the same."""
    stored = stored_key(session)
    return stored is not None and stored[0] == key[0] and key[1] in ("", stored[1])


def _solved_from(session: SessionLike, config: CalibrateConfig) -> list[Path]:
    """The files that lenses and poses come from."""
    files = _files_of(config.intrinsics_file)
    if config.source == "import":
        return files + _files_of(config.import_file)
    footage = _footage_or_none(session, config)
    return files + (footage.files_of("intrinsic", "extrinsic") if footage else [])


def _floor_files(session: SessionLike, config: CalibrateConfig) -> list[Path]:
    uses_floor = config.world == "floor" or (config.world == "auto" and config.source == "boards")
    footage = _footage_or_none(session, config) if uses_floor else None
    return footage.files_of("floor") if footage else []


def _footage_or_none(session: SessionLike, config: CalibrateConfig) -> BoardFootage | None:
    """None where it has been moved away or is spoilt: a run says so, a status must not."""
    try:
        return read_footage(boards_folder(session, config))
    except LitdomeError:
        return None


def _files_of(name: str | None) -> list[Path]:
    """A file; all files of a folder; of a session, those of its calibration."""
    path = Path(name or "")
    if name is None or path.is_file():
        return [] if name is None else [path]
    parts = [path / part for part in SESSION_PARTS] if (path / STORE_FILE).is_file() else [path]
    return sorted(file for part in parts for file in part.rglob("*") if file.is_file())

"""Calibrate: lenses and poses of all cameras, from board takes or from another program's file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import ClassVar

from litdome.calib.boards.footage import BoardFootage, read_footage
from litdome.calib.calibration import Calibration
from litdome.calib.calibration_store import (
    calibration_of,
    has_poses,
    stored_cameras,
    stored_key,
    stored_lenses,
    stored_rig,
    write_calibration,
    write_world,
)
from litdome.calib.exchange import files_read, read_calibration
from litdome.calib.fit import StoredCamera, fit_rig, match_names, match_rig
from litdome.calib.from_boards import calibrate_from_boards
from litdome.calib.placing import STORE_FILE, boards_folder, find_board, place
from litdome.calib.rig_check import check_lenses, check_rig
from litdome.calib.settings import WORLD_SETTINGS, CalibrateConfig
from litdome.errors import CalibrationError, LitdomeError
from litdome.geometry import Rig
from litdome.progress import Progress, silent
from litdome.stage import SessionLike, StageConfig, Summary, Unit
from litdome.store.provenance import digest, file_fingerprint
from litdome.store.session import Session

NO_POSES = "no poses, only lenses: film boards/extrinsic with all cameras in step and calibrate again, or --import FILE"
SESSION_PARTS = ("rig", "calibration", "steps/calibrate")  # of a session that is imported


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
            if not has_poses(session):
                return need_no_world(config)
            rig, boards = stored_rig(session)
            return write_world(session, rig, boards, place(rig, fit_rig(rig, cameras), config, session))
        found = find_calibration(session, cameras, config, self.progress)
        fitted = fit_rig(found.rig, cameras)
        if not found.has_poses:
            return write_calibration(session, found, fitted, key)
        placement = place(found.rig, fitted, config, session)
        write_calibration(session, found, fitted, key)
        write_world(session, found.rig, found.boards, placement)

    def input_files(self, session: SessionLike, config: CalibrateConfig) -> list[Path]:
        """The imported file or session, the board takes, the marked points."""
        points = [file for file in [Path(config.world_points or "")] if file.is_file()]
        return sorted({*_solved_from(session, config), *_floor_files(session, config), *points})

    def finish(self, session: SessionLike, config: CalibrateConfig) -> Summary:
        """Errors by camera and over all, what was refined, how the world was found."""
        own = session.array("calibration/intrinsics").attrs
        summary = {"cameras": list(session.cameras), **own["summary"]}
        if not has_poses(session):
            return {**summary, "lenses_only": True, "warnings": [NO_POSES, *own["warnings"]]}
        world = session.array("rig/world_from_camera").attrs
        return {**summary, "world": world["world"], "warnings": [*own["warnings"], *world["warnings"]]}


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
        return import_calibration(_local(config.import_file), cameras)
    ids = [camera.id for camera in cameras]
    footage = read_footage(boards_folder(session, config)).called(ids)
    lenses = None if config.intrinsics_file is None else _known_lenses(_local(config.intrinsics_file), cameras)
    if lenses is None and not footage.shows_poses(ids):
        _need_no_poses(session, boards_folder(session, config))
        need_no_world(config)
    unknown = sorted(set(config.models) - set(ids))
    if unknown:
        raise CalibrationError(f"calibrate.models: no camera {', '.join(unknown)}", hint=f"cameras: {', '.join(ids)}")
    spec = find_board(session, config, footage)
    found = calibrate_from_boards(footage, spec, ids, config.solve_settings(), lenses=lenses, progress=progress)
    known = f", lenses from {Path(config.intrinsics_file).name}" if config.intrinsics_file else ""
    return replace(found, source=f"boards{known}" if found.has_poses else found.source)


def import_calibration(file: Path, cameras: Sequence[StoredCamera]) -> Calibration:
    """The rig of another program's file, or of another session together with what it rests on.

    Raises:
        CalibrationError: Unreadable, a camera missing, an unbelievable lens.
        StoreError: A folder that looks like a session, and is none.
    """
    source = f"import {file.name}"
    found = (
        calibration_of(_posed(file), source)
        if (file / STORE_FILE).is_file()
        else Calibration.of_rig(read_rig(file, cameras), source)
    )
    rig = match_rig(found.rig, cameras, file.name)
    names = match_names(found.rig.ids, rig.ids, file.name)
    rows = [found.rig.ids.index(names[id]) for id in rig.ids]
    chosen = found.of_cameras(rows, rig)
    return replace(chosen, warnings=tuple(dict.fromkeys([*chosen.warnings, *check_rig(rig)])))


def read_rig(file: Path, cameras: Sequence[StoredCamera] = ()) -> Rig:
    """The cameras of another program's file, or of a session; ``cameras`` have the sizes that a file may not state.

    Raises:
        CalibrationError: Unreadable, or the session is not calibrated.
        StoreError: A folder that looks like a session, and is none.
    """
    is_session = (file / STORE_FILE).is_file()
    return _posed(file).rig if is_session else read_calibration(file, sizes=_sizes(cameras))


def _sizes(cameras: Sequence[StoredCamera]) -> dict[str, tuple[int, int]]:
    """Of the pictures that a calibration saw."""
    return {camera.id: camera.calibration or camera.recorded for camera in cameras}


def _known_lenses(file: Path, cameras: Sequence[StoredCamera]) -> Rig:
    is_session = (file / STORE_FILE).is_file()
    found = (
        stored_lenses(Session.open(str(file)))
        if is_session
        else read_calibration(file, sizes=_sizes(cameras), need_poses=False)
    )
    lenses = match_rig(found, cameras, file.name)
    check_lenses(lenses)
    return lenses


def _posed(file: Path) -> Session:
    """A session that is not known to lack poses."""
    session = Session.open(str(file))
    if session.has("rig/intrinsics") and not session.has("rig/world_from_camera"):
        raise CalibrationError(
            f"{file}: holds lenses and no poses", hint=f"--boards DIR --intrinsics {file}, DIR with extrinsic/ takes"
        )
    return session


def _local(name: str) -> Path:
    if "://" in name:
        raise CalibrationError(
            f"{name}: a rig is read from this machine's disk", hint=f"litdome session copy {name} rig.zarr"
        )
    return Path(name)


def _need_no_poses(session: SessionLike, boards: Path) -> None:
    """Refuse to put lenses alone over a calibration that holds poses."""
    if session.has("rig/world_from_camera"):
        raise CalibrationError(
            f"{boards}: only lens takes, and the cameras have poses already, which new lenses would spoil",
            hint="film boards/extrinsic too, or calibrate the lenses into a session of their own: litdome calibrate "
            f"lenses.zarr --boards {boards}",
        )


def need_no_world(config: CalibrateConfig) -> None:
    """Refuse to place a rig that has no poses.

    Raises:
        CalibrationError: A world was asked for.
    """
    if config.world != "auto" or config.world_points is not None:
        raise CalibrationError(
            "only lenses are known: without poses there is nothing to place in the world",
            hint="film boards/extrinsic/<camera> with all cameras in step",
        )


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
    """Those that a calibration is read from; of a session, those of its own."""
    path = Path(name or "")
    if name is None or not path.exists():
        return []
    if not (path / STORE_FILE).is_file():
        return files_read(path)
    return sorted(file for part in SESSION_PARTS for file in (path / part).rglob("*") if file.is_file())

"""Where a calibrated rig stands in the world, as the settings of calibrate say."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np

from litdome.calib.boards import BoardSpec, board_spec, parse_board
from litdome.calib.boards.footage import BoardFootage, read_footage
from litdome.calib.from_boards import floor_views
from litdome.calib.marks import place_by_points, read_points
from litdome.calib.settings import CalibrateConfig
from litdome.calib.world import Placement, place_by_cameras, place_by_floor, tilt_warnings
from litdome.errors import CalibrationError
from litdome.geometry import Rig
from litdome.stage import SessionLike
from litdome.store.session import Session

STORE_FILE = "zarr.json"


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
        return _world_of_file(Path(config.import_file or ""), rig)
    if world == "file":
        raise CalibrationError("calibrate.world = file: boards have no world of their own", hint="--world auto")
    return place_by_cameras(rig)


def _world_of_file(file: Path, rig: Rig) -> Placement:
    """Nothing is moved; of a session, how its world was found is said on."""
    if not (file / STORE_FILE).is_file():
        return Placement(np.eye(4), f"as in {file.name}", warnings=tilt_warnings(rig))
    attrs = Session.open(str(file)).array("rig/world_from_camera").attrs
    words, warnings = attrs.get("world"), cast(list[str], attrs.get("warnings", []))
    return Placement(np.eye(4), f"as in {file.name}" + (f": {words}" if words else ""), warnings=tuple(warnings))


def boards_folder(session: SessionLike, config: CalibrateConfig) -> Path:
    """Where the board takes lie.

    Raises:
        CalibrationError: Nobody says it, and the session was not recorded.
    """
    recording = session.attrs.get("recording")
    if config.boards_dir is None and recording is None:
        raise CalibrationError("this session holds no take, and so no boards of its own", hint="--boards DIR")
    return Path(config.boards_dir or Path(str(recording)) / "boards")


def find_board(session: SessionLike, config: CalibrateConfig, footage: BoardFootage) -> BoardSpec:
    """The board: as the settings say, or else the footage, or else the recording.

    Raises:
        CalibrationError: Nobody says it, or it cannot be.
    """
    if config.board is not None:
        return parse_board(config.board)
    return footage.board or board_spec(session.attrs.get("board"))

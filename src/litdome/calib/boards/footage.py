"""Board footage as it lies on disk: which file shows which camera, and which picture shows which instant."""

from __future__ import annotations

import csv
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from litdome.calib.boards import BoardSpec, board_spec
from litdome.errors import CalibrationError
from litdome.media.folders import IMAGE_SUFFIXES
from litdome.media.images import VIDEO_SUFFIXES, probe_source

IntArray = npt.NDArray[np.int64]
Kind = Literal["intrinsic", "extrinsic", "floor"]
KINDS: tuple[Kind, ...] = ("intrinsic", "extrinsic", "floor")
CALISCOPE_NAME = re.compile(r"(?:cam|port)_(\d+)")
CENTIMETRES = {"inch": 2.54, "cm": 1.0}
TABLE, BOARD, DESCRIPTION = "timestamps.csv", "charuco.toml", "recording.toml"


@dataclass(frozen=True, eq=False)
class CameraFootage:
    """The board takes of one camera: videos or folders of pictures.

    Attributes:
        intrinsic: For the lens; None where there is none, and the pose take serves.
        extrinsic: For the pose, all cameras in step.
        floor: The board lying on the floor.
        view_of: View (instant) that each picture of ``extrinsic`` shows, -1 none, shape (picture,); None: its number.
    """

    intrinsic: Path | None = None
    extrinsic: Path | None = None
    floor: Path | None = None
    view_of: IntArray | None = field(default=None)

    def picture_of(self, views: Sequence[int]) -> dict[int, int]:
        """View by picture number, of those of ``views`` that the camera has."""
        if self.view_of is None:
            return {view: view for view in views}
        wanted = set(views)
        return {n: int(view) for n, view in enumerate(self.view_of) if int(view) in wanted}


@dataclass(frozen=True)
class BoardFootage:
    """Board takes of a rig.

    Attributes:
        cameras: By camera id.
        board: The board, where the footage says it.
        variant: How the board is printed, where the footage says it.
        files: Tables that were read, next to the takes themselves.
    """

    cameras: Mapping[str, CameraFootage]
    board: BoardSpec | None = None
    variant: str | None = None
    files: tuple[Path, ...] = ()

    def files_of(self, *kinds: Kind) -> list[Path]:
        """Every file that takes of these kinds rest on, sorted."""
        takes = [take for camera in self.cameras.values() for kind in kinds if (take := getattr(camera, kind))]
        inside = [file for take in takes if take.is_dir() for file in take.iterdir() if file.is_file()]
        return sorted({*(take for take in takes if take.is_file()), *inside, *(self.files if takes else ())})

    def shows_poses(self, ids: Sequence[str]) -> bool:
        """Whether any of these cameras has an extrinsic take: else lenses are all that there is to find."""
        return any(id in ids and camera.extrinsic is not None for id, camera in self.cameras.items())

    def called(self, ids: Sequence[str]) -> BoardFootage:
        """The same footage, its cameras called as ``ids`` are where the names differ but for case."""
        known = {id.lower(): id for id in ids}
        cameras = {known.get(name.lower(), name): camera for name, camera in self.cameras.items()}
        return replace(self, cameras=cameras) if len(cameras) == len(self.cameras) else self


def read_footage(folder: Path) -> BoardFootage:
    """Find the board takes below a folder.

    Three layouts are known: ours (``intrinsic/``, ``extrinsic/`` and ``floor/`` with a video or a folder of pictures
    by camera, in ``folder`` or its ``boards/``), a caliscope project (or its ``calibration/`` or ``extrinsic/``
    folder), and a folder that holds one video or one folder of pictures by camera, all in step.

    Raises:
        CalibrationError: None of these, no camera, two takes of one camera, or an unreadable table.
    """
    if not folder.is_dir():
        raise CalibrationError(f"{folder}: no such folder of board takes", hint="--boards DIR, or --import FILE")
    project = _caliscope_project(folder)
    if project is not None:
        return _read_caliscope(project)
    root = folder / "boards" if (folder / "boards").is_dir() else folder
    takes: dict[Kind, dict[str, Path]] = {kind: _takes(root / kind) for kind in KINDS}
    if not any(takes.values()) and not (root / DESCRIPTION).is_file():  # a recording without boards is none
        takes["extrinsic"] = _takes(root)
    ids = sorted(set().union(*takes.values()))
    if not ids:
        hint = "put boards/extrinsic/c00.mp4 ... or boards/extrinsic/c00/000000.png ... there"
        raise CalibrationError(f"{folder}: no board takes in it", hint=hint)
    cameras = {
        id: CameraFootage(takes["intrinsic"].get(id), takes["extrinsic"].get(id), takes["floor"].get(id)) for id in ids
    }
    description, board = _our_board(folder)
    return BoardFootage(cameras, board, files=description)


def _takes(folder: Path) -> dict[str, Path]:
    """Videos and folders of pictures by camera; single pictures serve where a camera has no more (``c00.png``)."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        is_video = path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()
        if not (is_video or _is_picture(path) or (path.is_dir() and any(map(_is_picture, path.iterdir())))):
            continue
        id = path.name if path.is_dir() else path.stem
        if id in found:
            raise CalibrationError(
                f"{folder}: {found[id].name} and {path.name} are both takes of {id}", hint="keep one"
            )
        found[id] = path
    return found


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()


def _our_board(folder: Path) -> tuple[tuple[Path, ...], BoardSpec | None]:
    """``[board]`` of the recording that the footage belongs to."""
    for place in (folder, *folder.absolute().parents[:2]):
        description = place / DESCRIPTION
        if description.is_file():
            attrs = _read_toml(description).get("board")
            return ((description,), board_spec(attrs)) if attrs else ((), None)
    return (), None


def _caliscope_project(folder: Path) -> Path | None:
    places = (folder, *folder.absolute().parents[:2])
    return next((place for place in places if (place / BOARD).is_file()), None)


def _read_caliscope(project: Path) -> BoardFootage:
    board, variant = _caliscope_board(project / BOARD)
    root = project / "calibration"
    takes = {kind: _caliscope_takes(root / kind) for kind in ("intrinsic", "extrinsic")}
    ids = sorted(set().union(*takes.values()), key=lambda id: int(id.removeprefix("cam_")))
    if not ids:
        raise CalibrationError(f"{root}: no cam_N.mp4 or port_N.mp4 in intrinsic/ or extrinsic/", hint="--boards DIR")
    table = root / "extrinsic" / TABLE
    rows = _read_timestamps(table) if table.is_file() else None
    lost = sorted(set(rows or ()) - set(takes["extrinsic"]))
    if lost:
        raise CalibrationError(
            f"{table}: lists {', '.join(lost)}, but {root / 'extrinsic'} holds no such video",
            hint="copy it again, or take its rows out of the table to go on without it",
        )
    cameras = {}
    for id in ids:
        extrinsic = takes["extrinsic"].get(id)
        view_of = None
        if rows is not None and extrinsic is not None:
            view_of = _views_of(table, id, rows.get(id, []), probe_source(extrinsic).frames)
        cameras[id] = CameraFootage(takes["intrinsic"].get(id), extrinsic, None, view_of)
    files = (project / BOARD, *([table] if rows is not None else []))
    return BoardFootage(cameras, board, variant, files)


def _caliscope_takes(folder: Path) -> dict[str, Path]:
    found = {}
    for stem, path in _takes(folder).items():
        match = CALISCOPE_NAME.fullmatch(stem)
        if match is not None:
            found[f"cam_{int(match[1])}"] = path
    return found


def _caliscope_board(file: Path) -> tuple[BoardSpec, str]:
    """The board of a charuco.toml, and how it is printed.

    The edge is ``square_size_override_cm``, or else what fits the sheet (``board_width`` x ``board_height``).
    """
    content = _read_toml(file)
    try:
        columns, rows = int(content["columns"]), int(content["rows"])
        edge_cm = float(content.get("square_size_override_cm") or 0)
        if not edge_cm:
            unit_cm = CENTIMETRES[str(content.get("units", "cm"))]
            edge_cm = unit_cm * min(float(content["board_width"]) / columns, float(content["board_height"]) / rows)
        marker = float(content["aruco_scale"])
        is_sound = min(columns, rows) >= 2 and all(map(math.isfinite, (edge_cm, marker))) and edge_cm > 0
        if not is_sound:
            raise ValueError(f"{columns}x{rows} squares of {edge_cm} cm, markers of {marker} of a square")
        attrs = {"kind": "charuco", "columns": columns, "rows": rows, "dictionary": str(content["dictionary"])}
        board = board_spec({**attrs, "square_mm": 10 * edge_cm, "marker_mm": 10 * edge_cm * marker})
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise CalibrationError(
            f"{file}: not a caliscope board ({error!r})", hint="--board charuco:4x5:54:40.5"
        ) from error
    words = ["legacy pattern"] if content.get("legacy_pattern") else []
    words += ["inverted"] if content.get("inverted") else []
    return board, ", ".join(words) or "as printed"


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise CalibrationError(f"{file}: cannot be read: {error}", hint="copy it again") from error


def _read_timestamps(table: Path) -> dict[str, list[tuple[int, int | None]]]:
    """(sync index, frame index or None) of each row of a caliscope timestamps.csv, by camera id."""
    rows: dict[str, list[tuple[int, int | None]]] = {}
    line = 1
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            names = set(reader.fieldnames or ())
            camera = next((name for name in ("cam_id", "port") if name in names), None)
            if camera is None or "sync_index" not in names:
                raise ValueError(f"columns {', '.join(sorted(names))}; sync_index and cam_id are needed")
            for row in reader:
                line = reader.line_num
                frame = row.get("frame_index")
                index = int(float(frame)) if frame else None
                rows.setdefault(f"cam_{int(row[camera])}", []).append((int(row["sync_index"]), index))
    except (OSError, UnicodeDecodeError, csv.Error, ValueError, TypeError, OverflowError) as error:
        raise CalibrationError(f"{table} line {line}: {error}", hint="copy the table again, or take it away") from error
    return rows


def _views_of(table: Path, id: str, rows: Sequence[tuple[int, int | None]], frames: int | None) -> IntArray:
    """The sync index of each picture of a video.

    The n-th row of a camera is its n-th picture where there are as many; frame_index counts from the start of the
    recording, which is not always the start of the file.
    """
    ordered = sorted(rows)
    syncs, indices = [sync for sync, _ in ordered], [index for _, index in ordered]
    if len(set(syncs)) != len(syncs):
        raise CalibrationError(f"{table}: {id} has two pictures of one sync_index", hint="copy the table again")
    if frames is None or len(rows) == frames:
        return np.array(syncs, np.int64)
    if any(index is None or not 0 <= index < frames for index in indices):
        raise CalibrationError(
            f"{table}: {len(rows)} pictures of {id}, its video holds {frames}",
            hint="copy the video and the table again",
        )
    views = np.full(frames, -1, np.int64)
    views[np.array(indices, np.int64)] = syncs
    return views

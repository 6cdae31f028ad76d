"""The recording folder: recording.toml, or what can be found without one. Reads names only, no pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from litdome.config import nearest, read_toml
from litdome.errors import ConfigError, InputError
from litdome.lighting import HdriConvention
from litdome.media.hdr import HDR_SUFFIXES
from litdome.media.images import VIDEO_SUFFIXES, picture_files
from litdome.media.planes import ColorRange, Matrix

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
Role = Literal["body", "face"]
CalibrationFit = Literal["crop-left", "crop-centre", "scale"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Consent(_Table):
    """What the subject agreed to; travels to every dataset, run and output."""

    version: str = Field(description="version of the consent form")
    uses: tuple[Literal["research", "train", "publish", "likeness-synthesis"], ...] = Field(description="allowed uses")
    expires: date | None = Field(None, description="last day of the consent")


class Lights(_Table):
    """Where the lighting schedule lies and how HDRIs are turned."""

    schedule: str | None = Field(None, description="lights.csv, or a Goliath-style lights json")
    hdri_convention: HdriConvention = Field("physical", description="where the centre of an HDRI lies in the world")


class Board(_Table):
    """The calibration board."""

    kind: Literal["charuco", "chessboard"] = Field(description="kind of board")
    columns: int = Field(gt=2, description="squares, not inner corners")
    rows: int = Field(gt=2, description="squares, not inner corners")
    square_mm: float = Field(gt=0, description="edge of a square, mm")
    marker_mm: float | None = Field(None, gt=0, description="edge of a marker, mm (charuco)")
    dictionary: str | None = Field(None, description="ArUco dictionary, for example DICT_4X4_100 (charuco)")


class CameraTable(_Table):
    """One [cameras.ID] table."""

    source: str = Field(description="video file or folder of pictures, relative to the recording")
    role: Role = Field("body", description="body or face")
    frame_offset: int | None = Field(None, description="rig frame of this file's frame 0")
    calibration_size: tuple[int, int] | None = Field(None, description="width, height that the calibration saw, px")
    calibration_fit: CalibrationFit = Field("scale", description="how the calibration's picture became this one")


class RecordingTable(_Table):
    """recording.toml."""

    name: str | None = Field(None, description="name of the take")
    subject: str = Field("unknown", description="a pseudonym")
    fps: float | None = Field(None, gt=0, description="rig frames per second")
    transfer: Literal["srgb", "bt709", "linear", "log3g10"] | None = Field(None, description="transfer curve")
    matrix: Matrix | None = Field(None, description="overrides the stream's YCbCr matrix")
    range: ColorRange | None = Field(None, description="overrides the stream's range")
    exposure_ev: float = Field(0.0, description="exposure of linear and log3g10 footage, stops")
    consent: Consent | None = Field(None, description="what the subject agreed to")
    lights: Lights = Field(default_factory=Lights, description="lighting schedule")
    board: Board | None = Field(None, description="calibration board")
    cameras: dict[str, CameraTable] = Field(default_factory=dict, description="cameras by id")


@dataclass(frozen=True)
class CameraSource:
    """One camera of a recording.

    Attributes:
        id: Name of the camera in the session.
        source: Video file or folder of pictures; it need not exist.
        role: ``body`` or ``face``.
        frame_offset: Rig frame of the file's frame 0; None when nobody said.
        calibration_size: (width, height) that the calibration saw, px; None: as recorded.
        calibration_fit: How the calibration's picture became the recorded one.
    """

    id: str
    source: Path
    role: Role = "body"
    frame_offset: int | None = None
    calibration_size: tuple[int, int] | None = None
    calibration_fit: CalibrationFit = "scale"


@dataclass(frozen=True)
class Recording:
    """What a recording folder says about itself.

    Attributes:
        folder: The folder.
        name, subject: Take and pseudonym.
        fps: Rig frames per second; None: as the first video says.
        transfer, matrix, range, exposure_ev: Colour of the footage; matrix and range None: as each stream says.
        consent, board: As in recording.toml.
        hdri_convention: Where the centre of an HDRI lies.
        schedule: Lighting schedule file; None: the light is found by looking.
        timestamps: timestamps.csv, if there is one.
        cameras: Sorted by id.
        hdris: HDRI files by name.
    """

    folder: Path
    name: str
    subject: str
    fps: float | None
    transfer: str
    matrix: Matrix | None
    range: ColorRange | None
    exposure_ev: float
    consent: Consent | None
    board: Board | None
    hdri_convention: HdriConvention
    schedule: Path | None
    timestamps: Path | None
    cameras: tuple[CameraSource, ...]
    hdris: Mapping[str, Path]

    def background(self, camera: str) -> Path | None:
        """The clean plate of a camera, if there is one."""
        found = (self.folder / "background" / f"{camera}{suffix}" for suffix in (".png", ".jpg", ".tif"))
        return next((path for path in found if path.is_file()), None)


def read_recording(folder: Path) -> Recording:
    """Read a recording folder, with or without recording.toml.

    Raises:
        InputError: No such folder, no cameras, a name that cannot be, two files of one HDRI, a missing schedule.
        ConfigError: An unknown key (with the nearest name) or an impossible value in recording.toml.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such recording folder", hint="litdome ingest RECORDING SESSION")
    file = folder / "recording.toml"
    table = _parse(file) if file.is_file() else RecordingTable()
    cameras = _listed_cameras(folder, table) if table.cameras else _found_cameras(folder)
    if not cameras:
        raise InputError(f"{folder}: no cameras", hint="put videos or picture folders into cameras/")
    timestamps = folder / "timestamps.csv"
    return Recording(
        folder=folder,
        name=table.name or folder.name,
        subject=table.subject,
        fps=table.fps,
        transfer=table.transfer or _default_transfer(cameras),
        matrix=table.matrix,
        range=table.range,
        exposure_ev=table.exposure_ev,
        consent=table.consent,
        board=table.board,
        hdri_convention=table.lights.hdri_convention,
        schedule=_schedule_file(folder, table.lights.schedule),
        timestamps=timestamps if timestamps.is_file() else None,
        cameras=cameras,
        hdris=_hdri_files(folder / "hdris"),
    )


def session_attrs(recording: Recording) -> dict[str, Any]:
    """What the session says about its take: the root attributes, plain JSON values."""
    consent, board = recording.consent, recording.board
    return {
        "name": recording.name,
        "subject": recording.subject,
        "fps": recording.fps,
        "transfer": recording.transfer,
        "exposure_ev": recording.exposure_ev,
        "hdri_convention": recording.hdri_convention,
        "consent": consent.model_dump(mode="json") if consent else None,
        "board": board.model_dump(mode="json") if board else None,
        "recording": str(recording.folder.resolve()),
    }


def _parse(file: Path) -> RecordingTable:
    try:
        return RecordingTable.model_validate(read_toml(file))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            hint = nearest(str(first["loc"][-1]), _keys_of(first["loc"][:-1]))
            raise ConfigError(f"{file}: unknown key {where}", hint=hint) from error
        if first["type"] == "missing":
            raise ConfigError(f"{file}: {where} is missing", hint=f"add it to {file.name}") from error
        raise ConfigError(f"{file}: {where} = {first['input']!r}: {first['msg'].lower()}") from error


def _keys_of(table: tuple[int | str, ...]) -> list[str]:
    models: dict[str, type[BaseModel]] = {"consent": Consent, "lights": Lights, "board": Board, "cameras": CameraTable}
    model = models[str(table[0])] if table else RecordingTable
    return list(model.model_fields)


def _listed_cameras(folder: Path, table: RecordingTable) -> tuple[CameraSource, ...]:
    return tuple(
        CameraSource(_checked_name(id, "camera"), folder / camera.source, **camera.model_dump(exclude={"source"}))
        for id, camera in sorted(table.cameras.items())
    )


def _found_cameras(folder: Path) -> tuple[CameraSource, ...]:
    found: dict[str, Path] = {}
    root = folder / "cameras"
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        if path.is_dir() and picture_files(path):
            id = path.name
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            id = path.stem
        else:
            continue
        if id in found:
            raise InputError(f"{root}: {found[id].name} and {path.name} are both camera {id}", hint="rename one")
        found[_checked_name(id, "camera")] = path
    return tuple(CameraSource(id, found[id]) for id in sorted(found))


def _checked_name(name: str, what: str) -> str:
    if not NAME.fullmatch(name):
        raise InputError(f"{what} name {name!r}: only letters, digits, _ - and . (not first)", hint="rename it")
    return name


def _hdri_files(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.suffix.lower() not in HDR_SUFFIXES:
            continue
        name = _checked_name(path.stem, "HDRI")
        if name in found:
            raise InputError(f"{folder}: {found[name].name} and {path.name} are both HDRI {name}", hint="remove one")
        found[name] = path
    return found


def _schedule_file(folder: Path, given: str | None) -> Path | None:
    path = folder / (given or "lights.csv")
    if path.is_file():
        return path
    if given:
        raise InputError(f"{path}: no such lighting schedule", hint="correct lights.schedule in recording.toml")
    return None


def _default_transfer(cameras: tuple[CameraSource, ...]) -> str:
    def is_exr(source: Path) -> bool:
        files = picture_files(source) if source.is_dir() else []
        return bool(files) and files[0].suffix.lower() == ".exr"

    return "linear" if all(is_exr(camera.source) for camera in cameras) else "srgb"

"""The recording folder: recording.toml, or what can be found without one. Reads names only, no pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from litdome.capture.folder import need_file, need_inside, need_links_inside, need_names
from litdome.capture.tables import (
    MOST_CAMERAS,
    Board,
    CalibrationFit,
    CameraTable,
    CaptureSettings,
    Consent,
    RecordingTable,
    Role,
    read_recording_table,
)
from litdome.errors import InputError
from litdome.lighting import HdriConvention
from litdome.media.hdr import HDR_SUFFIXES
from litdome.media.images import VIDEO_SUFFIXES, picture_files
from litdome.media.planes import ColorRange, Matrix

PLATE_SUFFIXES = (".png", ".jpg", ".tif")


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
        capture: Exposure, gain, white balance and lens where recording.toml says them.
    """

    id: str
    source: Path
    role: Role = "body"
    frame_offset: int | None = None
    calibration_size: tuple[int, int] | None = None
    calibration_fit: CalibrationFit = "scale"
    capture: CaptureSettings = field(default_factory=CaptureSettings)


@dataclass(frozen=True)
class Recording:
    """What a recording folder says about itself.

    Attributes:
        folder: The folder.
        name, subject: Take and pseudonym.
        fps: Rig frames per second; None: as the first video says.
        transfer, matrix, range, exposure_ev: Colour of the footage; None: as each stream says.
        consent, board: As in recording.toml.
        hdri_convention: Where the centre of an HDRI lies.
        light_gain: Session gain: linear light in the pictures over radiance of the HDRIs.
        schedule: Lighting schedule file; None: the light is found by looking.
        timestamps: timestamps.csv, if there is one.
        cameras: Sorted by id.
        hdris: HDRI files by name.
        unlisted: Videos in cameras/ that recording.toml leaves out, relative to the folder.
        actions: actions.csv, if there is one.
    """

    folder: Path
    name: str
    subject: str
    fps: float | None
    transfer: str | None
    matrix: Matrix | None
    range: ColorRange | None
    exposure_ev: float
    consent: Consent | None
    board: Board | None
    hdri_convention: HdriConvention
    light_gain: float
    schedule: Path | None
    timestamps: Path | None
    cameras: tuple[CameraSource, ...]
    hdris: Mapping[str, Path]
    unlisted: tuple[str, ...] = ()
    actions: Path | None = None

    def background(self, camera: str) -> Path | None:
        """The clean plate of a camera, if there is one."""
        found = (self.folder / "background" / f"{camera}{suffix}" for suffix in PLATE_SUFFIXES)
        return next((path for path in found if path.is_file()), None)


def read_recording(folder: Path) -> Recording:
    """Read a recording folder, with or without recording.toml.

    Raises:
        InputError: No such folder, no cameras, a name that cannot be, a path or link that leads out of the folder, two
            files of one camera, HDRI or plate, a missing schedule.
        ConfigError: An unknown key (with the nearest name) or an impossible value in recording.toml.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such recording folder", hint="litdome ingest RECORDING SESSION")
    need_inside(folder, "recording.toml", "link")
    file = need_file(folder / "recording.toml")
    table = read_recording_table(file) if file else RecordingTable()
    need_links_inside(folder, _given_paths(folder, table))
    cameras = _listed_cameras(folder, table) if table.cameras else _found_cameras(folder)
    if not cameras:
        raise InputError(f"{folder}: no cameras", hint="put videos or picture folders into cameras/")
    _need_one_plate_each(folder, cameras)
    return Recording(
        folder=folder,
        name=table.name or _folder_name(folder),
        subject=table.subject,
        fps=table.fps,
        transfer=table.transfer,
        matrix=table.matrix,
        range=table.range,
        exposure_ev=table.exposure_ev,
        consent=table.consent,
        board=table.board,
        hdri_convention=table.lights.hdri_convention,
        light_gain=table.lights.light_gain,
        schedule=_schedule_file(folder, table.lights.schedule),
        timestamps=need_file(folder / "timestamps.csv"),
        cameras=cameras,
        hdris=hdri_files(folder / "hdris"),
        unlisted=_unlisted_videos(folder, cameras),
        actions=need_file(folder / "actions.csv"),
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
        "light_gain": recording.light_gain,
        "consent": consent.model_dump(mode="json") if consent else None,
        "board": board.model_dump(mode="json") if board else None,
        "recording": str(recording.folder.resolve()),
    }


def _folder_name(folder: Path) -> str:
    name = folder.name if folder.name not in ("", "..") else folder.resolve().name
    if not name.isprintable():
        raise InputError(f"{folder}: its name cannot be printed", hint="rename it, or write name into recording.toml")
    return name


def _given_paths(folder: Path, table: RecordingTable) -> list[Path]:
    """What recording.toml names, each inside the folder."""
    need_names(sorted(table.cameras), "camera")
    sources = [(camera.source, f"source of camera {id}") for id, camera in sorted(table.cameras.items())]
    schedule = [(table.lights.schedule, "lighting schedule")] if table.lights.schedule else []
    return [need_inside(folder, given, what) for given, what in [*sources, *schedule]]


def _listed_cameras(folder: Path, table: RecordingTable) -> tuple[CameraSource, ...]:
    cameras = tuple(_camera_source(folder, id, table.cameras[id]) for id in sorted(table.cameras))
    taken: dict[Path, str] = {}
    for camera in cameras:
        other = taken.setdefault(camera.source.resolve(), camera.id)
        if other != camera.id:
            raise InputError(f"{folder}: cameras {other} and {camera.id} are both {camera.source}", hint="correct one")
    return cameras


def _camera_source(folder: Path, id: str, table: CameraTable) -> CameraSource:
    settings = {key: getattr(table, key) for key in CaptureSettings.model_fields}
    rest = {key: getattr(table, key) for key in ("role", "frame_offset", "calibration_size", "calibration_fit")}
    return CameraSource(id, folder / table.source, **rest, capture=CaptureSettings(**settings))


def _found_cameras(folder: Path) -> tuple[CameraSource, ...]:
    found: dict[str, Path] = {}
    root = folder / "cameras"
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        if path.is_dir():
            id = path.name
            if not picture_files(path):
                raise InputError(f"{path}: no pictures in it", hint="copy them again, or delete the folder")
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            id = path.stem
        else:
            continue
        need_names([id], "camera")
        if id in found:
            raise InputError(f"{root}: {found[id].name} and {path.name} are both camera {id}", hint="rename one")
        found[id] = path
    need_names(found, "camera")
    if len(found) > MOST_CAMERAS:
        raise InputError(f"{root}: {len(found)} cameras, at most {MOST_CAMERAS}", hint="is this the right folder?")
    return tuple(CameraSource(id, found[id]) for id in sorted(found))


def hdri_files(folder: Path) -> dict[str, Path]:
    """The HDRIs in a folder by name; empty where there is no such folder.

    Raises:
        InputError: A name that cannot be, or two files of one name.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.suffix.lower() not in HDR_SUFFIXES:
            continue
        need_names([path.stem], "HDRI")
        if path.stem in found:
            both = f"{found[path.stem].name} and {path.name}"
            raise InputError(f"{folder}: {both} are both HDRI {path.stem}", hint="remove one")
        found[path.stem] = path
    need_names(found, "HDRI")
    return found


def _unlisted_videos(folder: Path, cameras: tuple[CameraSource, ...]) -> tuple[str, ...]:
    root, listed = folder / "cameras", {camera.source.resolve() for camera in cameras}
    videos = (path for path in root.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES) if root.is_dir() else ()
    return tuple(sorted(f"cameras/{path.name}" for path in videos if path.resolve() not in listed))


def _need_one_plate_each(folder: Path, cameras: tuple[CameraSource, ...]) -> None:
    for camera in cameras:
        paths = [folder / "background" / f"{camera.id}{suffix}" for suffix in PLATE_SUFFIXES]
        names = [path.name for path in paths if path.is_file()]
        if len(names) > 1:
            raise InputError(f"{folder / 'background'}: {' and '.join(names)} are both the plate of {camera.id}")


def _schedule_file(folder: Path, given: str | None) -> Path | None:
    path = need_file(folder / (given or "lights.csv"))
    if given and path is None:
        raise InputError(
            f"{folder / given}: no such lighting schedule", hint="correct lights.schedule in recording.toml"
        )
    return path

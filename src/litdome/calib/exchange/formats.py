"""The formats, told apart by what is in a file; one way to read any of them, one to write."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from litdome.calib.exchange import (
    actorshq,
    captury,
    colmap,
    goliath,
    metashape,
    opencv_yml,
    qualisys,
    toml_rigs,
    transforms,
)
from litdome.calib.exchange.found import FoundCamera, Sizes, known_size, read_bytes, read_xml, told
from litdome.errors import CalibrationError
from litdome.geometry import Rig


@dataclass(frozen=True)
class Format:
    """A program's calibration files.

    Attributes:
        program: Whose they are, in words.
        names: Patterns of the names that its files have; the first one that fits decides what a rig is written as.
        read: Cameras of a file or folder.
        write: A rig as file contents by name; the name is empty where it is one file that may be called anything.
    """

    program: str
    names: tuple[str, ...]
    read: Callable[[Path], list[FoundCamera]]
    write: Callable[[Rig], dict[str, bytes]]


FORMATS: Mapping[str, Format] = {
    "qualisys": Format("Qualisys Track Manager", ("*.qca.txt", "*.qca", "*.txt"), qualisys.read, qualisys.write),
    "opencv": Format(
        "EasyMocap and EasyVolcap", (opencv_yml.LENSES, opencv_yml.POSES), opencv_yml.read, opencv_yml.write
    ),
    "colmap": Format("COLMAP (text)", ("cameras.txt", "images.txt"), colmap.read, colmap.write_text),
    "colmap-binary": Format("COLMAP (binary)", ("cameras.bin", "images.bin"), colmap.read, colmap.write_binary),
    "metashape": Format("Agisoft Metashape", ("*.xml",), metashape.read, metashape.write),
    "nerfstudio": Format("nerfstudio", ("*.json",), transforms.read, transforms.write),
    "aniposelib": Format("aniposelib and Anipose", ("*.toml",), toml_rigs.read, toml_rigs.write_aniposelib),
    "caliscope": Format("caliscope", ("camera_array.toml",), toml_rigs.read, toml_rigs.write_caliscope),
    "actorshq": Format("ActorsHQ", ("*.csv",), actorshq.read, actorshq.write),
    "humanolat": Format("HumanOLAT and Captury", ("*.calib",), captury.read, captury.write),
    "goliath": Format("Goliath and ava-256", ("camera_calibration.json",), goliath.read, goliath.write),
}


def read_calibration(path: Path, *, sizes: Sizes | None = None, need_poses: bool = True) -> Rig:
    """The cameras of another program's file or folder, at the sizes that it states; the format is told by its content.

    Args:
        path: A file, or a folder that holds a COLMAP model or intri.yml.
        sizes: (width, height) by camera id for formats that do not state them (EasyMocap, HumanOLAT, Goliath); cameras
            that neither states are then left out.
        need_poses: False where only lenses are wanted: cameras without a pose are kept, at the origin.

    Raises:
        CalibrationError: Missing, of no known format, spoilt, or holding what litdome cannot; names file and camera.
    """
    with np.errstate(all="ignore"), told(str(path)):
        return _read(path, sizes or {}, need_poses)


def _read(path: Path, sizes: Sizes, need_poses: bool) -> Rig:
    found = FORMATS[recognise(path)].read(path)
    ids = [camera.id for camera in found]
    twice = sorted({id for id in ids if ids.count(id) > 1 or not id})
    if twice:
        raise CalibrationError(f"{path}: cameras called alike or not at all: {', '.join(map(repr, twice))}")
    posed = [camera for camera in found if camera.world_from_camera is not None or not need_poses]
    if not posed:
        what = "no cameras" if not found else f"no poses in it, only the lenses of {', '.join(ids)}"
        raise CalibrationError(f"{path}: {what}", hint="litdome calibrate SESSION --boards DIR --intrinsics FILE")
    sized = [camera for camera in posed if not sizes or known_size(camera, sizes) is not None]
    return Rig(tuple(camera.completed(f"{path}: camera {camera.id}", sizes) for camera in sized or posed))


def files_read(path: Path) -> list[Path]:
    """The files that `read_calibration` reads, given a file or folder.

    Raises:
        CalibrationError: As `recognise`.
    """
    several = {"opencv": opencv_yml.files, "colmap": colmap.files}.get(recognise(path))
    return [path] if several is None else [file for file in several(path) if file.is_file()]


def recognise(path: Path) -> str:
    """The name of the format of a file or folder.

    Raises:
        CalibrationError: Missing, or none of `FORMATS`.
    """
    if not path.exists():
        raise CalibrationError(f"{path}: no such calibration file", hint="litdome calibrate SESSION --import FILE")
    if path.is_dir():
        if (path / opencv_yml.LENSES).is_file() or (path / opencv_yml.POSES).is_file():
            return "opencv"
        if colmap.model_folder(path) is not None:
            return "colmap"
        raise CalibrationError(f"{path}: a folder without intri.yml and without a COLMAP model", hint="name a file")
    if path.name in colmap.FILES:
        return "colmap"
    name = _of_text(path, read_bytes(path).decode("utf-8-sig", "replace").lstrip())
    if name is None:
        known = ", ".join(format.program for format in FORMATS.values())
        raise CalibrationError(f"{path}: of no format that litdome knows", hint=f"convert it to one of: {known}")
    return name


def _of_text(path: Path, text: str) -> str | None:
    first = text.partition("\n")[0]
    if text.startswith("%YAML") or text.startswith("names:"):
        return "opencv"
    if first.startswith("tc camera calibration"):
        return "humanolat"
    if text.startswith("<"):
        root = read_xml(path)
        if root.tag in ("document", "chunk"):
            return "metashape"
        return "qualisys" if next(root.iter("camera"), None) is not None else None
    if text.startswith("{"):
        with told(f"{path}: not a whole JSON file"):
            keys = json.loads(text)
        return "goliath" if "KRT" in keys else "nerfstudio" if "frames" in keys else None
    if {"rx", "fx", "px"} <= {word.strip() for word in first.split(",")}:
        return "actorshq"
    if "=" in text and "[" in text:
        caliscope, tables = toml_rigs.tables(path)
        return None if not tables else "caliscope" if caliscope else "aniposelib"
    return None


def format_of_name(path: Path) -> str | None:
    """The format in which a rig is written under a name, or None where the name says nothing."""
    exact = [name for name, format in FORMATS.items() if path.name in format.names]
    fitting = [name for name, format in FORMATS.items() if any(fnmatch(path.name.lower(), p) for p in format.names)]
    return next(iter(exact + fitting), None)


def calibration_files(path: Path, rig: Rig, format: str) -> dict[Path, bytes]:
    """The files, with their contents, that a rig is in one of `FORMATS`: ``path`` itself, or files in a folder.

    Raises:
        CalibrationError: A lens that the format cannot hold, or, for a format of several files, a name that is neither
            a folder's nor one of theirs.
    """
    contents = FORMATS[format].write(rig)
    if list(contents) == [""]:
        return {path: contents[""]}
    if path.name not in contents and path.suffix:
        raise CalibrationError(
            f"{path}: {FORMATS[format].program}: files called {', '.join(contents)} belong into a folder",
            hint=f"name the folder: {path.with_suffix('')}",
        )
    folder = path.parent if path.name in contents else path
    return {folder / name: content for name, content in contents.items()}


def write_calibration(path: Path, rig: Rig, format: str) -> tuple[Path, ...]:
    """Write a rig as one of `FORMATS`; each file appears when it is whole, and replaces what was there.

    Returns:
        The files.

    Raises:
        CalibrationError: As `calibration_files`.
    """
    files = calibration_files(path, rig, format)
    partials = {file.with_name(file.name + ".partial"): file for file in files}
    for partial, file in partials.items():
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(files[file])
    for partial, file in partials.items():
        partial.replace(file)
    return tuple(files)

"""Goliath and ava-256: zips of AVIF by camera, a lights json by frame, masks and backgrounds.

image/camID.zip holds camID/FRAME.avif; lights/light_pattern_per_frame.json says what was lit (body captures have none:
every frame is fully lit); segmentation_fgbg/camID.zip holds masks; per_view_background/per_view_background.zip plates.

Source: facebookresearch/goliath ca_code/utils/dataloader.py (BodyDataset), DATASHEET.md.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from litdome.capture.imports.recording_folder import Imported, LightRow, counted, place, write_description
from litdome.capture.schedule import read_patterns
from litdome.errors import InputError
from litdome.progress import Progress, ShouldStop

ZIP_NAME = re.compile(r"cam([A-Za-z0-9_-]+)\.zip")
MEMBER = re.compile(r"(?:.*/)?(\d{1,9})\.(avif|png|jpg)", re.ASCII)
LARGEST_MEMBER = 2**28
UNREADABLE = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError)
PATTERNS, METADATA = "light_pattern_per_frame.json", "light_pattern_metadata.json"
FPS = 30.0
NOTES = (
    "codes are linear; black level and white balance are not applied: litdome color",
    "nothing was lit by an HDRI, so there are no pairs",
)


def is_goliath(capture: Path) -> bool:
    """Whether a folder is a capture of Goliath."""
    return (capture / "image").is_dir() and (capture / "camera_calibration.json").is_file()


def import_goliath(
    capture: Path,
    folder: Path,
    *,
    cameras: Sequence[str] | None,
    progress: Progress,
    should_stop: ShouldStop,
) -> Imported | None:
    """Lay out a capture as a recording in ``folder``, which exists and is empty.

    Frame numbers of the capture become rig frames in their order; frames.csv holds both.

    Args:
        capture: The folder with image/ and camera_calibration.json.
        folder: Where the recording goes.
        cameras: Ids to take; all by default.
        progress, should_stop: Callbacks, per camera.

    Returns:
        What was made; None when ``should_stop`` ended it.

    Raises:
        InputError: No pictures, an unknown camera, a damaged zip, frames that the lights json does not list.
    """
    zips = _zips(capture / "image", cameras)
    members = {id: _members(path) for id, path in zips.items()}
    numbers = sorted({number for found in members.values() for number in found})
    if not numbers:
        raise InputError(f"{capture / 'image'}: no pictures in its zips", hint="download it again")
    lights = _lights(capture / "lights", numbers)
    rig_frame = {number: frame for frame, number in enumerate(numbers)}
    progress("import", 0, len(zips))
    for n, (id, path) in enumerate(zips.items()):
        if should_stop():
            return None
        _extract(path, members[id], rig_frame, folder / "cameras" / id)
        progress("import", n + 1, len(zips))
    masks = _masks(capture / "segmentation_fgbg", zips, rig_frame, folder / "masks")
    _plates(capture / "per_view_background" / "per_view_background.zip", zips, folder / "background")
    place(capture / "camera_calibration.json", folder / "calibration" / "camera_calibration.json")
    if (capture / "lights" / METADATA).is_file():
        place(capture / "lights" / METADATA, folder / "lights" / METADATA)
    table = {
        "name": re.sub(r"[^\w.-]+", "_", capture.resolve().name),
        "subject": _subject(capture.resolve().name),
        "fps": FPS,
        "transfer": "linear",
        "consent": {"version": "Goliath, CC-BY-NC 4.0", "uses": ["research", "train"]},
        "lights": {"schedule": "lights.csv"},
    }
    write_description(folder, table, lights)
    rows = "".join(f"{frame},{number}\n" for number, frame in rig_frame.items())
    (folder / "frames.csv").write_text("frame,capture_frame\n" + rows, encoding="utf-8")
    calibration = folder / "calibration" / "camera_calibration.json"
    return Imported(tuple(zips), len(numbers), counted(lights), calibration, masks, NOTES)


def _zips(folder: Path, cameras: Sequence[str] | None) -> dict[str, Path]:
    found = {match[1]: path for path in sorted(folder.iterdir()) if (match := ZIP_NAME.fullmatch(path.name))}
    unknown = sorted(set(cameras or ()) - set(found))
    if unknown or not found:
        there = ", ".join(list(found)[:8]) or "none"
        what = f"no camera {unknown[0]}" if unknown else "no camID.zip in it"
        raise InputError(f"{folder}: {what}", hint=f"cameras: {there}")
    return {id: path for id, path in found.items() if cameras is None or id in cameras}


def _members(path: Path) -> dict[int, zipfile.ZipInfo]:
    """Pictures of a zip by the number in their name."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = ((MEMBER.fullmatch(info.filename), info) for info in archive.infolist() if not info.is_dir())
            members = {int(match[1]): info for match, info in found if match}
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{path}: cannot be read: {error}", hint="download it again") from error
    large = next((info for info in members.values() if info.file_size > LARGEST_MEMBER), None)
    if large is not None:
        raise InputError(
            f"{path}: {large.filename} unpacks to {large.file_size:,} bytes, at most {LARGEST_MEMBER:,} are read",
            hint="is it a picture?",
        )
    return dict(sorted(members.items()))


def _extract(path: Path, members: Mapping[int, zipfile.ZipInfo], rig_frame: Mapping[int, int], folder: Path) -> None:
    """Members under the numbers of their rig frames; names inside the zip are never used as paths."""
    folder.mkdir(parents=True)
    try:
        with zipfile.ZipFile(path) as archive:
            for number, info in members.items():
                if number in rig_frame:
                    suffix = Path(info.filename).suffix.lower()
                    (folder / f"{rig_frame[number]:06d}{suffix}").write_bytes(archive.read(info))
    except UNREADABLE as error:
        raise InputError(f"{path}: cannot be read: {error}", hint="download it again") from error


def _lights(folder: Path, numbers: Sequence[int]) -> tuple[LightRow, ...]:
    """Rows for the captured frames; without a lights json every frame is fully lit, as in body captures."""
    file = folder / PATTERNS
    if not file.is_file():
        return (LightRow("flat"),) * len(numbers)
    metadata = folder / METADATA
    pattern, is_flat = read_patterns(file, metadata if metadata.is_file() else None)
    unknown = next((number for number in numbers if number not in pattern), None)
    if unknown is not None:
        raise InputError(
            f"{file}: frame {unknown} is not listed, and there are pictures of it", hint="download it again"
        )
    return tuple(
        LightRow("flat") if pattern[number] in is_flat else LightRow("pattern", str(pattern[number]))
        for number in numbers
    )


def _masks(source: Path, cameras: Mapping[str, Path], rig_frame: Mapping[int, int], target: Path) -> Path | None:
    there = {id: path for id in cameras if (path := source / f"cam{id}.zip").is_file()}
    for id, path in there.items():
        _extract(path, _members(path), rig_frame, target / id)
    return target if there else None


def _plates(path: Path, cameras: Mapping[str, Path], target: Path) -> None:
    """Backgrounds named by camera."""
    if not path.is_file():
        return
    target.mkdir()
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                id = Path(info.filename).stem
                if id in cameras and info.filename.endswith(".png") and info.file_size <= LARGEST_MEMBER:
                    (target / f"{id}.png").write_bytes(archive.read(info))
    except UNREADABLE as error:
        raise InputError(f"{path}: cannot be read: {error}", hint="download it again") from error


def _subject(name: str) -> str:
    """The subject's code in a capture's name, ``m--20230306--0707--AXE977--pilot--...``; else the whole name."""
    parts = name.split("--")
    return parts[3] if len(parts) > 3 else re.sub(r"[^\w.-]+", "_", name)

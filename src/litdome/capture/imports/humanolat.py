"""HumanOLAT: one pose of one subject under white light, two gradients, eleven HDRIs, and one light at a time.

SUBJECT_X/POSE_Y/images_processed/CamNN/<capture>.<number>.avif, segmentations/masks/000/CamNN.png, and beside the
poses shared/cameras.calib and shared/LSX3_light_z_spiral.txt.

Source: TMT22/HumanOLAT DATASHEET.md, code/utils/metadata_readers.py, issue 1 (maps in the order of their names).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from litdome.capture.imports.recording_folder import Imported, LightRow, counted, place, write_description
from litdome.errors import InputError
from litdome.media.folders import numbered_pictures
from litdome.media.hdr import HDR_SUFFIXES
from litdome.progress import Progress, ShouldStop

IMAGES = ("images_processed", "images_raw")
OLAT_START = 14  # a white frame, then one light at a time
WHITE_EVERY = 21  # rig frames 34, 55, ... are white again
FPS = 30.0


def is_humanolat(capture: Path) -> bool:
    """Whether a folder is a pose of HumanOLAT."""
    return any((capture / name).is_dir() for name in IMAGES)


def import_humanolat(
    capture: Path,
    folder: Path,
    *,
    hdris: Path | None,
    first_hdri: int,
    progress: Progress,
    should_stop: ShouldStop,
) -> Imported | None:
    """Lay out a pose as a recording in ``folder``, which exists and is empty.

    Args:
        capture: SUBJECT_X/POSE_Y.
        folder: Where the recording goes.
        hdris: Folder with the maps shown from frame ``first_hdri`` on, in the order of their names; without it those
            frames are patterns.
        first_hdri: Rig frame of the first map. The datasheet lists white, two gradients, then maps, which makes 3; no
            document says it of the frames.
        progress, should_stop: Callbacks, per camera.

    Returns:
        What was made; None when ``should_stop`` ended it.

    Raises:
        InputError: No pictures, more maps than frames for them, or two maps of one name.
    """
    images = next(capture / name for name in IMAGES if (capture / name).is_dir())
    cameras = sorted(path for path in images.iterdir() if path.is_dir())
    if not cameras:
        raise InputError(f"{images}: no camera folders (Cam00, ...) in it", hint="extract the whole archive")
    pictures = {camera.name: numbered_pictures(camera) for camera in cameras}
    frames = max(max(found) for found in pictures.values()) + 1
    maps = _maps(hdris, first_hdri, frames)
    lights = light_rows(frames, maps, first_hdri, _led_order(capture.parent / "shared"))
    progress("import", 0, len(cameras))
    for n, (camera, found) in enumerate(pictures.items()):
        if should_stop():
            return None
        for number, path in found.items():
            place(path, folder / "cameras" / camera / f"{number:06d}{path.suffix.lower()}")
        progress("import", n + 1, len(cameras))
    for name, path in maps.items():
        place(path, folder / "hdris" / f"{name}{path.suffix.lower()}")
    write_description(folder, _description(capture), lights)
    calibration = _calibration(capture.parent / "shared", folder)
    masks = _masks(capture / "segmentations" / "masks" / "000", folder / "masks", lights, pictures)
    return Imported(tuple(pictures), frames, counted(lights), calibration, masks, _notes(images, maps, first_hdri))


def light_rows(
    frames: int, maps: Mapping[str, Path], first_hdri: int, led_order: Sequence[int]
) -> tuple[LightRow, ...]:
    """What was lit at each of ``frames`` rig frames: white at 0, 14, 34, 55, ...; pattern k is LED k alone."""
    rows = [LightRow("pattern")] * frames
    for frame, name in enumerate(sorted(maps), start=first_hdri):
        rows[frame] = LightRow("hdri", name)
    lit = 0
    for frame in range(OLAT_START, frames):
        step = frame - OLAT_START
        if step == 0 or step % WHITE_EVERY == WHITE_EVERY - 1:
            rows[frame] = LightRow("flat")
        elif lit < len(led_order):
            rows[frame] = LightRow("pattern", str(led_order[lit]))
            lit += 1
        else:
            rows[frame] = LightRow("flat")  # all lights once more at the end
    rows[0] = LightRow("flat")
    return tuple(rows[:frames])


def _maps(hdris: Path | None, first_hdri: int, frames: int) -> dict[str, Path]:
    if hdris is None:
        return {}
    found = sorted(path for path in hdris.iterdir() if path.suffix.lower() in HDR_SUFFIXES) if hdris.is_dir() else []
    if not found:
        raise InputError(f"{hdris}: no HDRIs in it", hint="code/olat_relight/example_envmaps of HumanOLAT holds them")
    maps = {path.stem: path for path in found}
    if len(maps) < len(found):
        twice = next(path.name for path in found if maps[path.stem] != path)
        raise InputError(f"{hdris}: {twice} and {maps[Path(twice).stem].name}: which?", hint="keep one of them")
    if not 0 < first_hdri <= min(OLAT_START, frames) - len(found):
        raise InputError(
            f"{hdris}: {len(found)} maps from frame {first_hdri} on, of {frames}; frame 0 is white, and one light at a "
            f"time begins at frame {OLAT_START}",
            hint="keep only the maps that were shown, or set --first-hdri",
        )
    return maps


def _led_order(shared: Path) -> list[int]:
    """Numbers of the LEDs in the order of their frames, counted from 1; as they come where the file is missing."""
    file = shared / "LSX3_light_z_spiral.txt"
    if not file.is_file():
        return list(range(1, 332))
    try:
        return [int(line) for line in file.read_text(encoding="utf-8").split()]
    except ValueError as error:
        raise InputError(f"{file}: not one LED number a line: {error}", hint="copy it again") from error


def _description(capture: Path) -> dict[str, object]:
    subject = capture.parent.name.removeprefix("SUBJECT_")
    return {
        "name": f"{subject}_{capture.name}",
        "subject": subject,
        "fps": FPS,
        "transfer": "srgb",
        "consent": {"version": "HumanOLAT, non-commercial research", "uses": ["research", "train"]},
        "lights": {"schedule": "lights.csv"},
    }


def _calibration(shared: Path, folder: Path) -> Path | None:
    source = shared / "cameras.calib"
    if not source.is_file():
        return None
    place(source, folder / "calibration" / source.name)
    return folder / "calibration" / source.name


def _masks(
    source: Path, target: Path, lights: Sequence[LightRow], pictures: Mapping[str, Mapping[int, Path]]
) -> Path | None:
    """The subject holds still and the pictures are corrected towards frame 0, whose mask serves every pair's frame."""
    if not source.is_dir():
        return None
    for camera, found in pictures.items():
        mask = source / f"{camera}.png"
        for frame in found:
            if mask.is_file() and lights[frame].kind != "pattern":
                place(mask, target / camera / f"{frame:06d}.png")
    return target


def _notes(images: Path, maps: Mapping[str, Path], first_hdri: int) -> tuple[str, ...]:
    notes = []
    if images.name == IMAGES[0]:
        notes.append("the background is black: the masks are already in the pictures")
    else:
        notes.append("raw pictures are not corrected for motion, and the masks are those of frame 0")
    if maps:
        notes.append(f"maps from frame {first_hdri} on, in the order of their names: compare a picture with its map")
    else:
        notes.append("no HDRIs were named, so there are no pairs: --hdris code/olat_relight/example_envmaps")
    return tuple(notes)

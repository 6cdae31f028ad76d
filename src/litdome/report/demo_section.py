"""What the page says and shows about a demo folder: how it was made, its videos, and where its parts lie."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litdome.errors import InputError, StoreError
from litdome.report.session_section import duration
from litdome.report.sheets import Picture, tile_grid, video_frames

FRAMES, FRAME_WIDTH_PX = 6, 560
CAPTIONS = {
    "relit.mp4": "Left: frames as a camera saw them under flat light. Right: the same frames as the trained relighter "
    "lights them, under a light that it never saw in training.",
    "turning-light.mp4": "The same frames while that light turns once around the person: shading and colour have to "
    "follow it.",
}


@dataclass(frozen=True)
class Video:
    """A video beside the page, with a few of its frames embedded."""

    name: str
    link: str
    caption: str
    frames: Picture


@dataclass(frozen=True)
class DemoSection:
    """A demo for the page's template; ``missing`` says what demo.json names and the folder lacks."""

    name: str
    videos: tuple[Video, ...]
    timings: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    missing: tuple[str, ...]
    parts: Mapping[str, Path]
    splits: tuple[tuple[str, int], ...]


def demo_section(folder: Path, output: Path) -> DemoSection:
    """Collect what the page shows of a demo folder, whatever step it has reached.

    Args:
        folder: Holds demo.json.
        output: The page: links to videos are relative to its folder.

    Raises:
        StoreError: demo.json is damaged.
    """
    about = _read_demo(folder / "demo.json")
    named = {key: folder / str(about[key]) for key in ("recording", "session", "dataset", "run") if about.get(key)}
    parts = {key: path for key, path in named.items() if path.exists()}
    videos, missing = [], [f"{key} ({path.name})" for key, path in named.items() if not path.exists()]
    missing += [key for key in ("session", "run") if key not in named]
    for entry in about.get("videos", ()):
        path, caption = _video(folder, entry)
        try:
            videos.append(_open_video(path, caption, output))
        except InputError as error:
            missing.append(f"video {path.name} ({error.message})")
    timings = about.get("timings", {})
    return DemoSection(
        name=folder.resolve().name,
        videos=tuple(videos),
        timings=tuple((str(step), duration(float(seconds))) for step, seconds in timings.items()),
        notes=tuple(map(str, about.get("notes", ()))),
        missing=tuple(missing),
        parts=parts,
        splits=_splits(parts["dataset"]) if "dataset" in parts else (),
    )


def _read_demo(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{file}: damaged: {error}", hint=f"litdome demo {file.parent}") from error
    if not isinstance(found, dict):
        raise StoreError(f"{file}: not a table", hint=f"litdome demo {file.parent}")
    return found


def _video(folder: Path, entry: Any) -> tuple[Path, str]:
    if isinstance(entry, Mapping):
        return folder / str(entry.get("path", entry.get("file", ""))), str(entry.get("caption", ""))
    return folder / str(entry), CAPTIONS.get(Path(str(entry)).name, "")


def _open_video(path: Path, caption: str, output: Path) -> Video:
    frames = video_frames(path, FRAMES, FRAME_WIDTH_PX)
    if not frames:
        raise InputError(f"{path}: holds no picture")
    sheet = tile_grid(frames, 2 if frames[0].shape[1] > frames[0].shape[0] else FRAMES)
    link = Path(os.path.relpath(path.resolve(), output.resolve().parent)).as_posix()
    return Video(path.name, link, caption, Picture.of(sheet, f"{len(frames)} frames of {path.name}, evenly spaced"))


def _splits(dataset: Path) -> tuple[tuple[str, int], ...]:
    from litdome.datasets.views import open_dataset

    view = open_dataset(dataset)
    return tuple((name, len(view.split(name))) for name in view.splits)

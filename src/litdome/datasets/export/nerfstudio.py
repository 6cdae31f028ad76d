"""nerfstudio: every moment a folder with a transforms.json, and one file over all moments of a split.

train/take01/relit_000012/transforms.json, images/c00.png, masks/c00.png    ns-train splatfacto --data that folder
train/take01/relit.json                                                     the same files as a moving scene

Camera to world, OpenGL axes, world +z up, the first pixel's centre at (0.5, 0.5); masks are black where nothing counts.
Views of held-out cameras are the file's test views.

Source: docs.nerf.studio/quickstart/data_conventions.html; the lists of files are those of its nerfstudio dataparser.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from litdome.camera_formats import CORNER, nerfstudio_pose
from litdome.datasets.export.moments import Moment, moments_of, write_views
from litdome.datasets.export.shots import LIGHTS, Selection, Shot
from litdome.geometry import WORLD_FROM_Z_UP

Z_UP_FROM_WORLD = [[float(value) for value in (*row, 0.0)] for row in WORLD_FROM_Z_UP.T]


def jobs(selection: Selection, folder: Path) -> list[Callable[[], None]]:
    """One piece of work per moment, and one per moving scene."""
    moments = moments_of(selection)
    scenes: dict[tuple[str, str, str], list[Moment]] = defaultdict(list)
    for moment in moments:
        scenes[moment.split, moment.session, moment.light].append(moment)
    static = [partial(_write_moment, selection, moment, folder / moment.folder) for moment in moments]
    moving = [partial(_write_scene, selection, scene, folder) for scene in scenes.values()]
    return [*static, *moving]


def transforms(frames: Iterable[tuple[dict[str, Any], Shot]]) -> dict[str, Any]:
    """A transforms.json. Where both are there, views of held-out cameras are its test and val views, the rest train.

    ``orientation_override`` keeps nerfstudio from turning a world whose up is known; ``applied_transform`` leads from
    litdome's world to the file's.
    """
    listed = list(frames)
    held = [frame["file_path"] for frame, shot in listed if shot.is_held_out_camera]
    kept = [frame["file_path"] for frame, shot in listed if not shot.is_held_out_camera]
    lists = {"train_filenames": kept, "val_filenames": held, "test_filenames": held} if held and kept else {}
    head = {"camera_model": "OPENCV", "orientation_override": "none", "applied_transform": Z_UP_FROM_WORLD}
    return {**head, **lists, "frames": [frame for frame, _ in listed]}


def frame_of(selection: Selection, shot: Shot, folder: str = "") -> dict[str, Any]:
    """A frame of a transforms.json; its files lie in ``folder`` (with a slash at its end) of the file's."""
    camera = selection.camera(shot)
    k = camera.intrinsics
    return {
        "file_path": f"{folder}images/{shot.camera}.png",
        "mask_path": f"{folder}masks/{shot.camera}.png",
        "w": camera.width,
        "h": camera.height,
        "fl_x": float(k[0, 0]),
        "fl_y": float(k[1, 1]),
        "cx": float(k[0, 2]) + CORNER,
        "cy": float(k[1, 2]) + CORNER,
        "transform_matrix": nerfstudio_pose(camera).tolist(),
        "camera": shot.camera,
        "split": shot.split,
        "hdri": shot.hdri,
    }


def _write_moment(selection: Selection, moment: Moment, folder: Path) -> None:
    write_views(selection, moment, folder, "{camera}.png")
    content = transforms((frame_of(selection, shot), shot) for shot in moment.shots)
    (folder / "transforms.json").write_text(json.dumps(content, indent=1))


def _write_scene(selection: Selection, scene: list[Moment], folder: Path) -> None:
    """All moments of a split under one light; ``time`` is 0 at the session's first picture and 1 at its last."""
    first = scene[0]
    taken = [shot.times[light] for shot in selection.shots if shot.session == first.session for light in LIGHTS]
    start, length = min(taken), max(max(taken) - min(taken), 1e-9)
    frames = [
        (frame_of(selection, s, f"{m.name}/") | {"time": (s.times[m.light] - start) / length, "pair": m.pair}, s)
        for m in scene
        for s in m.shots
    ]
    path = folder / first.split / first.session / f"{first.light}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(transforms(frames), indent=1))

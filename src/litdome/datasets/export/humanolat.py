"""HumanOLAT-like folders: what its tools and litdome's own imports find by its names.

SUBJECT_take01/POSE_00/images_processed/Cam01/take01.000.png      one picture per recorded frame
SUBJECT_take01/POSE_00/segmentations/masks/000/Cam01.png          frame, then camera
SUBJECT_take01/POSE_00/recording.toml, lights.csv                 with them POSE_00 is a recording; frame,kind,hdri
SUBJECT_take01/POSE_00/transforms_train.json                      one per split, in the form of its train_tools
SUBJECT_take01/shared/cameras.calib

Frames are numbered as the rig took them, from the first that is shown; lights.csv has to name every frame and says
``dark`` of those that are not shown, so that pairs of a new ingest keep their times. Cameras are numbered from 1 in the
order of the rig. Not theirs: pictures are PNG and unmasked, cameras stand as in litdome's world (metres, +y up; mm in
cameras.calib), lights are maps instead of lamps, and a session is a subject, since K of its crops is its own.

Source: github.com/TMT22/HumanOLAT, DATASHEET.md (folders) and code/train_tools (json).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from litdome.camera_formats import CAPTURY_HEADER, CORNER, captury_lines
from litdome.datasets.export.shots import LIGHTS, MASKS, Light, Selection, Shot, binary_mask, write_png
from litdome.errors import StoreError

Frame = tuple[Shot, Light]
KINDS = {"flat": "flat", "relit": "hdri"}


def jobs(selection: Selection, folder: Path) -> list[Callable[[], None]]:
    """One piece of work per recorded frame of a camera; the small files are written at once."""
    found: list[Callable[[], None]] = []
    for session in selection.sessions:
        shots = [shot for shot in selection.shots if shot.session == session]
        numbers = frame_numbers(shots, selection.sessions[session].get("fps"))
        subject = folder / f"SUBJECT_{session}"
        pose = subject / "POSE_00"
        _write_texts(selection, shots, numbers, subject)
        frames: dict[tuple[str, str], Frame] = {}
        for shot in shots:
            for light in LIGHTS:
                frames.setdefault((shot.camera, numbers[shot.times[light]]), (shot, light))
        found += [partial(_write_frame, selection, frame, number, pose) for (_, number), frame in frames.items()]
    return found


def frame_numbers(shots: list[Shot], fps: float | None) -> dict[float, str]:
    """Number of each recorded frame, by its time: those of the rig from 000 on, with gaps where frames are not shown.

    Args:
        shots: Samples of one session.
        fps: Rig frames a second; None: as dense as the densest shown.
    """
    times = np.array(sorted({shot.times[light] for shot in shots for light in LIGHTS}))
    rate = fps or 1 / np.diff(times).min()
    numbers = np.rint((times - times[0]) * rate).astype(int)
    if len(np.unique(numbers)) < len(numbers):
        raise StoreError(f"{shots[0].session}: two frames less than 1/{rate:g} s apart", hint="litdome dataset check")
    digits = max(3, len(str(numbers[-1])))
    return {float(time): f"{number:0{digits}d}" for time, number in zip(times, numbers, strict=True)}


def camera_name(selection: Selection, session: str, camera: str) -> str:
    """``Cam01`` for the first camera of the rig."""
    return f"Cam{selection.sessions[session]['cameras'].index(camera) + 1:02d}"


def picture_path(selection: Selection, shot: Shot, number: str) -> Path:
    """Where a frame's picture lies below POSE_00."""
    name = camera_name(selection, shot.session, shot.camera)
    return Path("images_processed", name, f"{shot.session}.{number}.png")


def transforms(selection: Selection, shots: list[Shot], numbers: dict[float, str]) -> dict[str, Any]:
    """A NeRF-style json as HumanOLAT's tools write it: camera to world, OpenGL axes, cx cy fx fy from the corner."""
    frames = []
    for shot in shots:
        camera = selection.camera(shot)
        pose = camera.world_from_camera @ np.diag([1.0, -1.0, -1.0, 1.0])
        k = camera.intrinsics
        for light in LIGHTS:
            frames.append(
                {
                    "file_ext": ".png",
                    "file_path": str(picture_path(selection, shot, numbers[shot.times[light]])),
                    "cam_idx": selection.sessions[shot.session]["cameras"].index(shot.camera),
                    "light": shot.hdri if light == "relit" else "flat",
                    "transform_matrix": pose.tolist(),
                    "camera_intrinsics": [float(v) for v in (k[0, 2] + CORNER, k[1, 2] + CORNER, k[0, 0], k[1, 1])],
                }
            )
    return {"frames": frames}


def recording_table(selection: Selection, session: str) -> dict[str, Any]:
    """recording.toml, so that litdome reads the folder again: cameras that are shown, schedule, consent."""
    about = selection.sessions[session]
    shown = sorted(
        {camera_name(selection, session, shot.camera) for shot in selection.shots if shot.session == session}
    )
    told = {key: about[key] for key in ("subject", "fps") if about.get(key) is not None}
    if about.get("consent") is not None:
        known = {key: value for key, value in about["consent"].items() if value is not None}
        told["consent"] = {k: date.fromisoformat(v) if k in ("expires", "withdrawn") else v for k, v in known.items()}
    return {
        "name": session,
        "transfer": "srgb",
        **told,
        "lights": {"schedule": "lights.csv", "hdri_convention": about.get("hdri_convention") or "physical"},
        "cameras": {name: {"source": f"images_processed/{name}"} for name in shown},
    }


def _write_texts(selection: Selection, shots: list[Shot], numbers: dict[float, str], subject: Path) -> None:
    session = shots[0].session
    (subject / "shared").mkdir(parents=True)
    (subject / "POSE_00").mkdir()
    lines = [CAPTURY_HEADER]
    for number, id in enumerate(selection.sessions[session]["cameras"]):
        lines += captury_lines(number, camera_name(selection, session, id), selection.cameras[session, id])
    (subject / "shared" / "cameras.calib").write_text("".join(f"{line}\n" for line in lines))
    lit = {int(numbers[shot.times[light]]): (KINDS[light], shot.hdri) for shot in shots for light in LIGHTS}
    shown = [lit.get(number, ("dark", "")) for number in range(max(lit) + 1)]
    rows = [f"{n},{kind},{hdri if kind == 'hdri' else ''}" for n, (kind, hdri) in enumerate(shown)]
    (subject / "POSE_00" / "lights.csv").write_text("".join(f"{row}\n" for row in ("frame,kind,hdri", *rows)))
    (subject / "POSE_00" / "recording.toml").write_text(tomli_w.dumps(recording_table(selection, session)))
    splits: dict[str, list[Shot]] = defaultdict(list)
    for shot in shots:
        splits[shot.split].append(shot)
    for split, held in splits.items():
        text = json.dumps(transforms(selection, held, numbers), indent=1)
        (subject / "POSE_00" / f"transforms_{split}.json").write_text(text)


def _write_frame(selection: Selection, frame: Frame, number: str, pose: Path) -> None:
    shot, light = frame
    write_png(pose / picture_path(selection, shot, number), selection.picture(shot, light))
    mask = binary_mask(selection.picture(shot, MASKS[light]))
    name = camera_name(selection, shot.session, shot.camera)
    write_png(pose / "segmentations" / "masks" / number / f"{name}.png", mask)

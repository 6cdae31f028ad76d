"""mp4 clips: every run of successive pairs of a camera and split as three videos, flat, relit and mask, in step.

train/take01/c00_000012-000019/flat.mp4, relit.mp4, mask.mp4
train/clips.jsonl                                    a line per clip: pairs, lights, times, camera

H.264, yuv420p, bt709, limited range, sRGB transfer, as tagged; half the pictures' size in colour. The n-th frame of the
three is the n-th pair of the line.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from litdome.datasets.export.shots import Selection, Shot
from litdome.media.encode import VideoWriter

CRF = 12  # 18, the writer's own, is for looking at; a trainer reads these
VIDEOS = ("flat", "relit", "mask")


def jobs(selection: Selection, folder: Path) -> list[Callable[[], None]]:
    """One piece of work per clip; clips.jsonl is written at once."""
    found: list[Callable[[], None]] = []
    lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in runs_of(selection.shots):
        words = clip_words(selection, run)
        lines[run[0].split].append(words)
        found.append(partial(_write_clip, selection, run, folder / run[0].split / words["clip"], words["fps"]))
    for split, clips in lines.items():
        (folder / split).mkdir(parents=True)
        (folder / split / "clips.jsonl").write_text("".join(json.dumps(words) + "\n" for words in clips))
    return found


def runs_of(shots: Sequence[Shot]) -> list[list[Shot]]:
    """Runs of successive pairs of one camera and split."""
    runs: list[list[Shot]] = []
    for shot in sorted(shots, key=lambda s: (s.split, s.session, s.camera, s.pair)):
        last = runs[-1][-1] if runs else None
        if last is not None and _place(last) == _place(shot) and shot.pair == last.pair + 1:
            runs[-1].append(shot)
        else:
            runs.append([shot])
    return runs


def clip_words(selection: Selection, run: Sequence[Shot]) -> dict[str, Any]:
    """A line of clips.jsonl; what pairs have their own of is a list over the frames."""
    first, last = run[0], run[-1]
    same = selection.words(first)
    about = {key: same[key] for key in ("session", "subject", "camera", "split", "intrinsics", "world_from_camera")}
    each = {
        "pairs": [shot.pair for shot in run],
        "hdris": [shot.hdri for shot in run],
        "times_flat": [shot.times["flat"] for shot in run],
        "times_relit": [shot.times["relit"] for shot in run],
    }
    clip = f"{first.session}/{first.camera}_{first.pair:06d}-{last.pair:06d}"
    return {"clip": clip, "fps": clip_fps(selection, first.session), **about, **each}


def clip_fps(selection: Selection, session: str) -> float:
    """Pairs per second of a session: the median step between its relit pictures; its own rate where there is one."""
    times = sorted({shot.times["relit"] for shot in selection.shots if shot.session == session})
    steps = np.diff(times)
    return float(1 / np.median(steps)) if len(steps) else float(selection.sessions[session].get("fps") or 25.0)


def _place(shot: Shot) -> tuple[str, str, str]:
    return shot.split, shot.session, shot.camera


def _write_clip(selection: Selection, run: Sequence[Shot], folder: Path, fps: float) -> None:
    about = selection.sessions[run[0].session]
    whose = {"run": selection.view.path.name, "subjects": [about.get("subject")], "consent": [about.get("consent")]}
    for name in VIDEOS:
        path = folder / f"{name}.mp4"
        with VideoWriter(path, fps=fps, crf=CRF, comment=json.dumps({"litdome": whose}, default=str)) as video:
            for shot in run:
                picture = selection.picture(shot, name)
                video.write(picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2))

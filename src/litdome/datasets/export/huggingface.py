"""Hugging Face datasets: an image folder with metadata.jsonl per split, and a dataset card.

train/metadata.jsonl, train/flat/0000042.png, train/relit/..., train/mask/..., train/env_ldr/take01-c00-park.png

    datasets.load_dataset("OUT")["train"][0]["relit"]

Every ``X_file_name`` of metadata.jsonl becomes an image column X. Samples of one camera under one light share the
picture of their light.

Source: huggingface.co/docs/datasets/image_dataset (ImageFolder); splits as the card's ``configs`` state them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from litdome.datasets.export.shots import Selection, Shot, write_png

TONES = ("ldr", "log")


def jobs(selection: Selection, folder: Path) -> list[Callable[[], None]]:
    """One piece of work per sample, and one per light of a camera; metadata.jsonl is written at once."""
    found: list[Callable[[], None]] = []
    lights: dict[tuple[str, str], Shot] = {}
    splits: dict[str, list[Shot]] = defaultdict(list)
    for shot in selection.shots:
        splits[shot.split].append(shot)
        found.append(partial(_write_sample, selection, shot, folder / shot.split))
        if shot.hdri:
            lights.setdefault((shot.split, light_name(shot)), shot)
    for split, shots in splits.items():
        (folder / split).mkdir(parents=True)
        rows = rows_of(selection, shots)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / split / "metadata.jsonl").write_text(text)
    found += [partial(_write_light, selection, shot, folder / shot.split) for shot in lights.values()]
    return found


def rows_of(selection: Selection, shots: list[Shot]) -> list[dict[str, Any]]:
    """Lines of metadata.jsonl. Columns are those that every sample of the selection has: all splits must agree."""
    scores = set.intersection(*(set(shot.scores) for shot in selection.shots))
    all_scores = set.union(*(set(shot.scores) for shot in selection.shots))
    is_lit = all(shot.hdri for shot in selection.shots)
    rows = []
    for shot in shots:
        files = {f"{key}_file_name": f"{key}/{shot.sample:07d}.png" for key in selection.keys}
        if is_lit:
            files |= {f"env_{tone}_file_name": f"env_{tone}/{light_name(shot)}.png" for tone in TONES}
        words = selection.words(shot)
        rows.append({**files, **{key: words[key] for key in words if key not in all_scores - scores}})
    return rows


def light_name(shot: Shot) -> str:
    """``take01-c00-park``: a light in a camera's view."""
    return f"{shot.session}-{shot.camera}-{shot.hdri}"


def card_head(selection: Selection) -> str:
    """What the Hub reads at the top of README.md."""
    lines = ["---", "license: other", "configs:", "- config_name: default", "  data_files:"]
    for split in selection.splits:
        lines += [f"  - split: {split}", f'    path: "{split}/**"']
    return "\n".join([*lines, "---", ""])


def _write_sample(selection: Selection, shot: Shot, folder: Path) -> None:
    for key in selection.keys:
        write_png(folder / key / f"{shot.sample:07d}.png", selection.picture(shot, key))


def _write_light(selection: Selection, shot: Shot, folder: Path) -> None:
    write_png(folder / "env_ldr" / f"{light_name(shot)}.png", selection.environment(shot, "ldr"))
    write_png(folder / "env_log" / f"{light_name(shot)}.png", selection.environment(shot, "log"))

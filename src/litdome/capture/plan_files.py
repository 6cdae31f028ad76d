"""The files of a plan: actions.csv, lights.csv, splits.toml, plan.toml and the prompter's page."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tomli_w

from litdome.capture.actions import ACTION_COLUMNS
from litdome.capture.forecast import Shift, Storage
from litdome.capture.plan import TakePlan
from litdome.capture.schedule import COLUMNS as LIGHT_COLUMNS
from litdome.lighting import KIND_CODES
from litdome.store.files import size_in_words


def plan_files(plan: TakePlan, storage: Storage, shifts: Sequence[Shift], speed_px_s: float) -> dict[str, str]:
    """Contents of the plan's files by name; lights.csv only where HDRIs were given, splits.toml where some are held
    out."""
    slow = {shift.action for shift in shifts if shift.words != "fine"}
    files = {
        "actions.csv": actions_csv(plan),
        "plan.toml": plan_toml(plan, storage, shifts, speed_px_s),
        "prompter.html": prompter_page(plan, slow),
    }
    if plan.schedule.entries:
        files["lights.csv"] = lights_csv(plan)
    if plan.held_out:
        files["splits.toml"] = tomli_w.dumps({"splits": {"lights": list(plan.held_out)}})
    return files


def actions_csv(plan: TakePlan) -> str:
    """actions.csv: every action with its rig frames."""
    fps = plan.settings.fps
    rows = (
        (
            action.number,
            action.start_frame,
            action.end_frame,
            f"{action.start_frame / fps:.3f}",
            f"{(action.end_frame - action.start_frame) / fps:.3f}",
            action.name,
            action.expression,
        )
        for action in plan.actions
    )
    return _csv(ACTION_COLUMNS, rows)


def lights_csv(plan: TakePlan) -> str:
    """lights.csv: what shines on each rig frame."""
    words = {code: word for word, code in KIND_CODES.items()}
    lit = [plan.schedule.entries[n] if n >= 0 else None for n in plan.schedule.hdri]
    rows = (
        (frame, words[int(kind)], *((entry.name, f"{entry.rotation_deg:g}", f"{entry.gain:g}") if entry else ("",) * 3))
        for frame, (kind, entry) in enumerate(zip(plan.schedule.kind, lit, strict=True))
    )
    return _csv(LIGHT_COLUMNS, rows)


def plan_toml(plan: TakePlan, storage: Storage, shifts: Sequence[Shift], speed_px_s: float) -> str:
    """plan.toml: the settings, what is held out, room, and the misalignment to expect."""
    settings, entries = plan.settings, plan.schedule.entries
    shown = np.bincount(plan.schedule.hdri[plan.schedule.hdri >= 0], minlength=len(entries))
    times = {name: sum(int(shown[n]) for n, entry in enumerate(entries) if entry.name == name) for name in plan.groups}
    relit = int((plan.schedule.kind != KIND_CODES["flat"]).sum())
    table: dict[str, Any] = {
        "plan": {
            "subject": settings.subject,
            "seed": settings.seed,
            "cameras": settings.cameras,
            "size": list(settings.size),
            "fps": settings.fps,
            "minutes": settings.minutes,
            "interleave": settings.interleave,
            "rotations": settings.rotations,
            "held_out": settings.held_out,
            "frames": settings.frames,
            "relit_frames": relit,
            "actions": len(plan.actions),
        },
        "lights": {"held_out": list(plan.held_out), "entries": len(entries), "times_lit": times},
        "storage": {name: size_in_words(size) for name, size in vars(storage).items()},
        "misalignment": {
            "speed_px_s": round(speed_px_s, 1),
            "most_px_s": shifts[0].px_per_s,
            "actions": [{"action": shift.action, "mean_px": shift.mean_px, "means": shift.words} for shift in shifts],
        },
    }
    return str(tomli_w.dumps(table))


def prompter_page(plan: TakePlan, slow: Iterable[str]) -> str:
    """The prompter: one page that needs nothing else, for a browser on the stage."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    fps, slowly = plan.settings.fps, set(slow)
    rows = [
        {
            "number": action.number,
            "start_s": round(action.start_frame / fps, 3),
            "end_s": round(action.end_frame / fps, 3),
            "name": action.name,
            "cue": plan.cues[action.name],
            "expression": action.expression,
            "face": plan.cues.get(action.expression, ""),
            "slowly": action.name in slowly,
        }
        for action in plan.actions
    ]
    environment = Environment(
        loader=PackageLoader("litdome.capture", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("prompter.html.j2").render(subject=plan.settings.subject, rows=rows)
    return str(page)


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()

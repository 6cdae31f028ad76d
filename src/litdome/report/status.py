"""Where a session stands: the verdict, its cameras, its stages with the next command to type."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from litdome.lighting import KIND_CODES
from litdome.pipeline import (
    ORDER,
    TYPED,
    State,
    config_models,
    config_of_last_run,
    needed_stages,
    processing_stages,
    side_stages,
    stage_status,
)
from litdome.report.evidence import Evidence, gather
from litdome.report.losses import Loss, clock_time
from litdome.report.verdict import Verdict, judge_take
from litdome.store.decisions import read_decisions, strays
from litdome.store.session import Session

LIGHT_FAULTS = {"mixed_light": "mixed", "duplicates": "repeated"}  # what ingest calls them, in the words of a table
SHOWN = (
    "ingest",
    "calibrate",
    "lights",
    *ORDER[2:],
    "color",
)  # in the order to type them; two only where they were run
SOURCES = {  # settings of a stage's last run that its command is typed with again, by the stage and its source
    ("calibrate", "boards"): {"boards_dir": "--boards", "intrinsics_file": "--intrinsics"},
    ("calibrate", "import"): {"import_file": "--import"},
    ("color", "charts"): {
        "like": "--like",
        "charts_dir": "--charts",
        "corners_file": "--corners",
        "reference": "--reference",
    },
    ("color", "person"): {"charts_dir": "--charts", "reference": "--reference"},
    ("lights", ""): {"leds_file": "--leds", "drive_file": "--drive", "axes": "--axes"},
}


@dataclass(frozen=True)
class StageLine:
    """One stage: missing, partial, stale or done; units done of all; what to type (None when done).

    The commands of all lines, typed from first to last, finish the session.
    """

    name: str
    state: State
    done: int
    total: int
    next_command: str | None


@dataclass(frozen=True)
class CameraLine:
    """One camera: rig frames of the take, those it lacks, and what its pictures are like (None: not measured).

    Attributes:
        exposure_stops: Against the median camera.
        clipped: Share of pixels at white in flat-lit pictures.
        focus: Sharpness against its first frames.
        noise: 8-bit codes.
        light: What is wrong with its lighting, in words; empty where nothing is.
    """

    id: str
    frames: int
    absent: tuple[int, ...]
    exposure_stops: float | None
    clipped: float | None
    focus: float | None
    noise: float | None
    light: str


@dataclass(frozen=True)
class SessionStatus:
    """Where a session stands.

    Attributes:
        headline: The take in one line.
        verdict: Whether it is good.
        stages: In running order.
        cameras: In the order of the rig.
        losses: Every gap of every camera.
        strays: Decisions about cameras or pairs that are not there, in words.
    """

    headline: str
    verdict: Verdict
    stages: tuple[StageLine, ...]
    cameras: tuple[CameraLine, ...]
    losses: tuple[Loss, ...]
    strays: tuple[str, ...] = ()

    @property
    def absent(self) -> dict[str, tuple[int, ...]]:
        """Rig frames that each camera did not record, by camera."""
        return {camera.id: camera.absent for camera in self.cameras}

    @property
    def complete(self) -> bool:
        """Whether every stage is done."""
        return all(line.state == "done" for line in self.stages)

    @property
    def next_command(self) -> str | None:
        """What to type now."""
        return next((line.next_command for line in self.stages if line.next_command), None)

    def as_json(self) -> dict[str, Any]:
        """What ``litdome status --json`` prints."""
        return {
            "schema": 1,
            "headline": self.headline,
            "verdict": {"word": self.verdict.word, "headline": self.verdict.headline, **asdict(self.verdict)},
            "stages": [asdict(line) for line in self.stages],
            "cameras": [{"id": camera.id, "absent": list(camera.absent)} for camera in self.cameras],
            "pictures": [{**asdict(camera), "absent": len(camera.absent)} for camera in self.cameras],
            "losses": [{**asdict(loss), "time": clock_time(loss.time_ns), "text": str(loss)} for loss in self.losses],
            "strays": list(self.strays),
        }


def session_status(session: Session, evidence: Evidence | None = None) -> SessionStatus:
    """Measure a session against the settings that its stages ran with; ``evidence`` saves gathering it again."""
    evidence = gather(session) if evidence is None else evidence
    return SessionStatus(
        headline=_headline(session),
        verdict=judge_take(evidence),
        stages=_stage_lines(session),
        cameras=_camera_lines(evidence),
        losses=evidence.losses,
        strays=_strays(session),
    )


def _strays(session: Session) -> tuple[str, ...]:
    if session.is_rig_only or not session.has("pairs/alpha"):
        return ()
    return tuple(strays(read_decisions(session.url), session.cameras, len(session.pairs)))


def _camera_lines(evidence: Evidence) -> tuple[CameraLine, ...]:
    measured = {name: evidence.measured(name) for name in ("exposure_stops", "clipped", "focus", "noise")}
    return tuple(
        CameraLine(
            id=id,
            frames=evidence.lost.shape[1],
            absent=tuple(np.flatnonzero(lost).tolist()),
            **{name: values.get(id) for name, values in measured.items()},
            light=_light_words(evidence, id),
        )
        for id, lost in zip(evidence.cameras, evidence.lost, strict=False)  # none before ingest has begun
    )


def _light_words(evidence: Evidence, id: str) -> str:
    """``2 frames ahead, 3 mixed, 1 repeated``."""
    light = evidence.summary.get("light") or {}
    offset = (light.get("offsets") or {}).get(id, 0)
    way = f"{plural(abs(offset), 'frame')} {'ahead' if offset > 0 else 'behind'}" if offset else ""
    counts = {word: len((light.get(key) or {}).get(id, ())) for key, word in LIGHT_FAULTS.items()}
    return ", ".join(filter(None, [way, *(f"{count} {word}" for word, count in counts.items() if count)]))


def _stage_lines(session: Session) -> tuple[StageLine, ...]:
    lines = {} if session.is_rig_only else {"ingest": _ingest_line(session)}
    stages, by_hand = processing_stages(), side_stages()
    for name in SHOWN[1:]:
        always = name in stages and (name == "calibrate" or not session.is_rig_only)  # most stages need pictures
        if not always and session.record(name) is None:
            continue
        stage = stages.get(name) or by_hand[name]
        found = stage_status(session, stage)
        needs = needed_stages(session, stage, config_of_last_run(session, stage))
        ready = all(need in lines and lines[need].state == "done" for need in needs)
        # pipeline compares with the inputs' records; a stale input makes everything after it stale too
        state: State = "stale" if found.state in ("partial", "done") and not ready else found.state
        command = None if state == "done" else _command(session, name)
        lines[name] = StageLine(name, state, found.done, found.total, command)
    return tuple(lines.values())


def _command(session: Session, stage: str) -> str:
    record = session.record(stage)
    config = {} if record is None else dict(record.config)
    source = config.get("source", "")
    options = SOURCES.get((stage, source), {})
    words = [word for key, option in options.items() if (given := config.get(key)) for word in (option, given)]
    person = ["--person"] if (stage, source) == ("color", "person") else []
    return shlex.join(["litdome", *TYPED.get(stage, stage).split(), session.url, *person, *words])


def _ingest_line(session: Session) -> StageLine:
    record, done = session.record("ingest"), session.done("ingest")
    state: State = "missing" if record is None else "done" if record.finished else "partial"
    settings = _settings_to_type("ingest", record.config) if record is not None and state == "partial" else []
    command = shlex.join(["litdome", "ingest", session.attrs.get("recording", "RECORDING"), session.url, *settings])
    return StageLine("ingest", state, int(done.sum()), len(done), None if state == "done" else command)


def _settings_to_type(stage: str, config: Mapping[str, Any]) -> list[str]:
    """``--set`` for each setting that is not the default: an unfinished ingest goes on only with its own settings."""
    usual = config_models()[stage]().recorded()
    other = {key: value for key, value in config.items() if value is not None and value != usual.get(key)}
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in other.items()}
    return [word for key, text in texts.items() for word in ("--set", f"{stage}.{key}={text}")]


def _headline(session: Session) -> str:
    name, subject = session.attrs.get("name", session.url), session.attrs.get("subject")
    who = f"{name} (subject {subject})" if subject else str(name)
    if session.is_rig_only:
        cameras = plural(len(session.cameras), "camera")
        if not session.has("rig/world_from_camera"):
            return f"{who}: lenses of {cameras}, no poses, no take; calibrate one with --intrinsics"
        return f"{who}: a rig of {cameras}, no take; import it into one"
    if not session.has("pairs/alpha"):
        return f"{who}: ingest has written no pairs yet"
    counts = (
        (len(session.cameras), "camera"),
        (len(session.pairs), "pair"),
        (len(session.hdri_names), "light"),
    )
    text = f"{who}: " + ", ".join(plural(count, noun) for count, noun in counts)
    alone = relit_without_pair(session)
    return text + (f"; {plural(alone, 'relit frame')} before the first flat one, without a pair" if alone else "")


def plural(count: int, noun: str) -> str:
    """``1 pair``, ``3 pairs``."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def relit_without_pair(session: Session) -> int:
    """Relit rig frames before the first flat one: they make no pair."""
    return int((session.schedule.kind == KIND_CODES["hdri"]).sum()) - len(session.pairs)

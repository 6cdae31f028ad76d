"""Follow a recording that is still being written: a camera is ingested as soon as its file has come to rest."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from litdome.capture.check import IngestConfig
from litdome.capture.ingest import Ingest
from litdome.capture.recording import Recording, read_recording, session_attrs
from litdome.capture.space import check_space, needed_bytes
from litdome.capture.tables import read_recording_table
from litdome.capture.watch import State, Watch, file_states
from litdome.compute import ALL_CORES, Executor
from litdome.config import build_config
from litdome.errors import LitdomeError
from litdome.pipeline import (
    Selection,
    forget_done,
    ingest_recording,
    recording_inputs,
    run_stage,
    session_exists,
)
from litdome.progress import Progress, ShouldStop, never, silent
from litdome.stage import StageConfig
from litdome.store.lock import hold_session
from litdome.store.provenance import StageRecord, stage_fingerprint
from litdome.store.session import Session

REST_S, PATIENCE_S, POLL_S = 5.0, 60.0, 0.5
INPUTS = {"recording": "still being written"}
Seen = Mapping[str, tuple[dict[Path, State], bytes]]  # of each camera: its files, and where its pictures belong


def follow_recording(
    folder: Path,
    url: str,
    tables: Mapping[str, Any],
    *,
    executor: Executor = ALL_CORES,
    rest_s: float = REST_S,
    patience_s: float = PATIENCE_S,
    progress: Progress = silent,
    should_stop: ShouldStop = never,
) -> StageRecord | None:
    """Ingest a recording while it is being copied or filmed, camera by camera, until nothing in it changes any more.

    Cameras start early where there is a lighting schedule and recording.toml lists them; else all is ingested at the
    end. What was ingested and then changed is ingested again.

    Args:
        folder: The recording; it need not be there yet.
        url: The session.
        tables: Settings tables; ``ingest`` counts.
        executor: Where units run.
        rest_s: A file that has not changed for so long is whole, s.
        patience_s: A camera that recording.toml lists and that is not there is waited for while something changed in
            so long, s.
        progress, should_stop: Callbacks.

    Returns:
        The record; None when ``should_stop`` said so first.

    Raises:
        LitdomeError: As `ingest_recording`, once nothing changes any more.
    """
    config = build_config(Ingest.Config, Ingest.name, tables)
    watch, patient = Watch(rest_s), Watch(max(rest_s, patience_s))
    seen: Seen = {}
    while not should_stop():
        is_over = patient.is_at_rest(folder)
        if watch.is_at_rest(folder) and (is_over or not _lacks_cameras(folder, config)):
            return _finish(folder, url, tables, config, seen, executor, progress, should_stop)
        ready = _ready(folder, watch)
        if ready is not None:
            recording, waiting = ready
            progress("cameras here", len(recording.cameras) - len(waiting), len(recording.cameras))
            stage = Ingest(recording, waiting)
            if waiting and set(seen) != {camera.id for camera in recording.cameras} - waiting:
                seen = _ingest_ready(stage, url, config, seen, executor, progress, should_stop)
        time.sleep(POLL_S)
    return None


def _lacks_cameras(folder: Path, config: StageConfig) -> bool:
    """Whether a camera that is listed, and not to be skipped, has no file yet: cards are changed in between."""
    try:
        cameras = read_recording(folder).cameras
    except LitdomeError:  # raised at the end
        return False
    return any(
        not camera.source.exists() and camera.id not in cast(IngestConfig, config).skip_cameras for camera in cameras
    )


def _ready(folder: Path, watch: Watch) -> tuple[Recording, frozenset[str]] | None:
    """The recording and the cameras that are not whole yet; None while nothing can begin."""
    beside = [path for path in folder.glob("*") if path.name not in ("cameras", "boards", "charts", "truth")]
    if not all([watch.is_at_rest(path) for path in beside]):  # a list: each is looked at, every time
        return None
    try:
        recording = read_recording(folder)
        listed = read_recording_table(folder / "recording.toml").cameras
    except LitdomeError:  # half of it is missing; what is wrong at the end is raised there
        return None
    waiting = frozenset(camera.id for camera in recording.cameras if not watch.is_at_rest(camera.source))
    can_begin = bool(listed) and recording.schedule is not None and len(waiting) < len(recording.cameras)
    return (recording, waiting) if can_begin else None


def _ingest_ready(
    stage: Ingest,
    url: str,
    config: StageConfig,
    seen: Seen,
    executor: Executor,
    progress: Progress,
    should_stop: ShouldStop,
) -> Seen:
    """Ingest the cameras that are whole; what was seen of them."""
    try:
        now = _look(stage, config)
    except LitdomeError:  # not whole after all, or a contradiction that the rest may lift; raised at the end if not
        return seen
    with hold_session(url):
        if not session_exists(url):
            check_space(url, needed_bytes(stage.plan(config), stage.recording))
            Session.new(url, session_attrs(stage.recording))
        session = Session.open(url, writable=True)
        record = session.record(stage.name)
        if record is not None and record.inputs != INPUTS:
            return seen  # a session of something finished: nothing is touched before all is there
        if not _is_unchanged(seen, now):
            forget_done(session, stage.name)
        select = Selection(cameras=tuple(now))
        run_stage(
            session,
            stage,
            config,
            inputs=INPUTS,
            select=select,
            executor=executor,
            progress=progress,
            should_stop=should_stop,
        )
    return now


def _finish(
    folder: Path,
    url: str,
    tables: Mapping[str, Any],
    config: StageConfig,
    seen: Seen,
    executor: Executor,
    progress: Progress,
    should_stop: ShouldStop,
) -> StageRecord:
    """All is there: what was ingested meanwhile counts if it has not changed since."""
    with hold_session(url):
        if seen:
            stage = Ingest(read_recording(folder))
            now, inputs = _look(stage, config), recording_inputs(folder)
            session = Session.open(url, writable=True)
            record = session.record(stage.name)
            if not _is_unchanged(seen, now):
                forget_done(session, stage.name)
            if record is not None:
                wanted = stage_fingerprint(stage.name, stage.version, config.recorded(), inputs)
                session.write_record(replace(record, fingerprint=wanted, inputs=inputs))
        return ingest_recording(folder, url, tables, executor=executor, progress=progress, should_stop=should_stop)


def _look(stage: Ingest, config: StageConfig) -> Seen:
    """What the plan rests on, camera by camera.

    Raises:
        InputError: As `litdome.capture.check.check_recording`.
    """
    plan = stage.plan(config)
    kinds = plan.lighting.schedule.kind.tobytes()
    return {
        camera.id: (file_states(camera.source), plan.rig_frames[camera.id].tobytes() + kinds)
        for camera in plan.cameras
        if camera.id in plan.rig_frames
    }


def _is_unchanged(before: Seen, now: Seen) -> bool:
    """Whether there was something before, and all of it is as it was."""
    return bool(before) and all(now.get(id) == found for id, found in before.items())

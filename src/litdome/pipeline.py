"""The order of stages, and how one is run: fingerprint, resume, units, record."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from litdome.compute import ALL_CORES, Executor, Threads
from litdome.config import build_config
from litdome.errors import InputError, LitdomeError, StoreError, UsageError
from litdome.progress import Progress, ShouldStop, never, silent
from litdome.stage import Stage, StageConfig, Unit
from litdome.store.copy import copy_session
from litdome.store.files import open_files
from litdome.store.lock import absolute_url, hold_session
from litdome.store.provenance import (
    StageRecord,
    digest,
    file_fingerprint,
    folder_fingerprint,
    now,
    stage_fingerprint,
)
from litdome.store.session import Session

State = Literal["missing", "partial", "stale", "done"]
DONE = "which units are done"
TYPED = {"lights": "lights effective"}  # what to type, where it is not the stage's name
ORDER = ("ingest", "calibrate", "flow", "segment", "deflicker", "hdri", "align")


@dataclass(frozen=True)
class StageStatus:
    """Where a session stands with one stage."""

    name: str
    state: State
    done: int
    total: int


@dataclass(frozen=True)
class Selection:
    """The part of a stage's work to do now: cameras (None: all) and a half-open range on its axis (None: all)."""

    cameras: tuple[str, ...] | None = None
    range: tuple[int, int] | None = None

    def holds(self, unit: Unit) -> bool:
        """Whether a unit belongs to the selection."""
        if self.cameras is not None and unit.camera is not None and unit.camera not in self.cameras:
            return False
        return self.range is None or (unit.start < self.range[1] and unit.stop > self.range[0])


def processing_stages() -> dict[str, Stage]:
    """The stages after ingest, by name, in running order."""
    from litdome.calib.stage import Calibrate
    from litdome.preprocess.align import Align
    from litdome.preprocess.deflicker import Deflicker
    from litdome.preprocess.flow import Flow
    from litdome.preprocess.hdri import Hdri
    from litdome.preprocess.segment import Segment

    stages: list[Stage] = [Calibrate(), Flow(), Segment(), Deflicker(), Hdri(), Align()]
    return {stage.name: stage for stage in stages}


def side_stages() -> dict[str, Stage]:
    """The stages that run by their own command only: they need pictures or files that not every take has."""
    from litdome.calib.color.stage import Color
    from litdome.calib.leds.stage import Lights

    stages: list[Stage] = [Color(), Lights()]
    return {stage.name: stage for stage in stages}


def config_models() -> dict[str, type[StageConfig]]:
    """The settings model of each stage, ingest included."""
    from litdome.capture.ingest import Ingest

    stages = {**processing_stages(), **side_stages()}
    return {"ingest": Ingest.Config, **{name: stage.Config for name, stage in stages.items()}}


def needed_stages(session: Session, stage: Stage, config: StageConfig | None = None) -> tuple[str, ...]:
    """The stages that ``stage`` needs in a session, and that its settings add (``config.also_needs``); one that holds
    only a rig was never ingested."""
    needs = (*stage.needs, *getattr(config, "also_needs", ()))
    return tuple(name for name in needs if not (session.is_rig_only and name == "ingest"))


def wanted_fingerprint(session: Session, stage: Stage, config: StageConfig) -> str | None:
    """The fingerprint that a finished run of ``stage`` would have now; None while an input is missing."""
    inputs = {name: session.record(name) for name in needed_stages(session, stage, config)}
    if any(record is None or not record.finished for record in inputs.values()):
        return None
    found = {name: record.fingerprint for name, record in inputs.items() if record is not None}
    found.update(_file_fingerprints(session, stage, config))
    return stage_fingerprint(stage.name, stage.version, config.recorded(), found)


def stage_status(session: Session, stage: Stage, config: StageConfig | None = None) -> StageStatus:
    """Where ``session`` stands with ``stage``; with ``config`` None, measured against the settings it ran with."""
    record = session.record(stage.name)
    if record is None:
        return StageStatus(stage.name, "missing", 0, 0)
    done = session.done(stage.name)
    used = config if config is not None else config_of_last_run(session, stage)  # None: of another version
    wanted = None if used is None else wanted_fingerprint(session, stage, used)
    if stage.needs and record.fingerprint != wanted:
        state: State = "stale"
    else:
        state = "done" if record.finished else "partial"
    return StageStatus(stage.name, state, int(done.sum()), len(done))


def run_stage(
    session: Session,
    stage: Stage,
    config: StageConfig,
    *,
    inputs: Mapping[str, str] | None = None,
    select: Selection = Selection(),
    executor: Executor = ALL_CORES,
    progress: Progress = silent,
    should_stop: ShouldStop = never,
) -> StageRecord:
    """Run what is missing of a stage; a finished run with the same fingerprint is left as it is.

    Args:
        session: Opened writable.
        stage: What to run.
        config: Its settings.
        inputs: Fingerprints of the inputs; by default those of the records of ``stage.needs``.
        select: The part to do now; the record stays unfinished while units remain.
        executor: Where units run; threads of this process by default.
        progress, should_stop: Callbacks.

    Returns:
        The record; ``finished`` is empty when work remains.

    Raises:
        UsageError: A needed stage has not been run.
        StoreError: Another process is writing the session.
    """
    with hold_session(session.url):
        found = dict(inputs) if inputs is not None else _input_fingerprints(session, stage, config)
        settings = config.recorded()
        fingerprint = stage_fingerprint(stage.name, stage.version, settings, found)
        before, done_before = session.record(stage.name), session.done(stage.name)
        record = before
        same = record is not None and record.fingerprint == fingerprint
        if record is not None and same and record.finished:
            return record
        if record is None or not same:
            forget_done(session, stage.name)  # first: who is killed here leaves no old flags under the new record
            record = StageRecord(stage.name, stage.version, fingerprint, found, settings, started=now())
            session.write_record(record)
        done = np.zeros(0, bool)
        try:
            units = stage.prepare(session, config)
            done = _done_flags(session, stage.name, len(units))
            pending = [i for i, unit in enumerate(units) if not done[i] and select.holds(unit)]
            _run_pending(
                session, StageWork(session, stage, config, units), pending, done, executor, progress, should_stop
            )
        except LitdomeError:
            if before is not None and not same and not done.any():  # refused input: what was finished stays so
                session.write_small(f"steps/{stage.name}/done", done_before, ("unit",), description=DONE)
                session.write_record(before)
            raise
        if done.all():
            summary = stage.finish(session, config)
            warnings = tuple(summary.pop("warnings", ()))
            record = replace(record, finished=now(), summary=summary, warnings=warnings)
            session.write_record(record)
        return record


def ingest_recording(
    folder: Path,
    url: str,
    tables: Mapping[str, Any],
    *,
    executor: Executor = ALL_CORES,
    progress: Progress = silent,
    should_stop: ShouldStop = never,
) -> StageRecord:
    """Read a recording into a session: a new one, or the unfinished or finished one that is there from the same input.

    Args:
        folder: The recording folder.
        url: The session.
        tables: Settings tables; ``ingest`` counts.
        executor: Where units run; threads of this process by default.
        progress, should_stop: Callbacks.

    Raises:
        InputError: The recording cannot be read or contradicts itself; no new session is left behind, but what was
            stored before that came to light is kept.
        StoreError: It will not fit on the disk.
        UsageError: ``url`` exists and was made from something else.
    """
    from litdome.capture.ingest import Ingest
    from litdome.capture.recording import read_recording, session_attrs
    from litdome.capture.space import check_space, needed_bytes

    recording = read_recording(folder)
    stage = Ingest(recording)
    config = build_config(stage.Config, stage.name, tables)
    plan = stage.plan(config)
    inputs = recording_inputs(folder)
    attrs = session_attrs(recording)
    with hold_session(url):
        is_new = not session_exists(url)
        if is_new:
            check_space(url, needed_bytes(plan, recording))
        session = Session.new(url, attrs) if is_new else _same_session(url, stage, config, inputs, attrs)
        try:
            return run_stage(
                session,
                stage,
                config,
                inputs=inputs,
                executor=executor,
                progress=progress,
                should_stop=should_stop,
            )
        except InputError:
            if is_new and not session.done(stage.name).any():  # nothing that resuming could use
                files, path = open_files(url)
                files.rm(path, recursive=True)
            raise


def calibrate_new_rig(url: str, tables: Mapping[str, Any], *, progress: Progress = silent) -> StageRecord:
    """Calibrate a rig that nothing was recorded with yet, into a new session that holds only that rig.

    It is made elsewhere and copied when it is whole: what fails or is interrupted leaves nothing at ``url``.

    Args:
        url: The session.
        tables: Settings tables; ``calibrate`` counts.
        progress: Callback.

    Raises:
        CalibrationError: As the stage; no session is left behind.
        UsageError: Something is at ``url`` already.
    """
    from litdome.calib.rig_session import new_rig_session
    from litdome.calib.settings import CalibrateConfig
    from litdome.calib.stage import Calibrate

    stage = Calibrate(progress)
    config = build_config(CalibrateConfig, stage.name, tables)
    name = PurePosixPath(url.rstrip("/")).name
    with hold_session(url), TemporaryDirectory(prefix="litdome-rig-") as scratch:
        if session_exists(url):
            raise UsageError(f"{url}: exists already, and is no session", hint="give another name, or remove it")
        made = new_rig_session(str(Path(scratch) / name), config)
        record = run_stage(made, stage, config)
        copy_session(made.url, url)
    return record


def recording_inputs(folder: Path) -> dict[str, str]:
    """The fingerprint of a recording folder, as the record of ingest holds it."""
    return {"recording": folder_fingerprint(folder, without=("truth", "boards", "charts"))}


def _same_session(
    url: str, stage: Stage, config: StageConfig, inputs: Mapping[str, str], attrs: Mapping[str, Any]
) -> Session:
    """The session at ``url`` if it was begun from the same input."""
    wanted = stage_fingerprint(stage.name, stage.version, config.recorded(), inputs)
    hint = "give another name, or remove it"
    try:
        session = Session.open(url, writable=True)
    except StoreError as error:
        raise UsageError(f"{url}: exists already, and is no session", hint=hint) from error
    record = session.record(stage.name)
    just_begun = record is None and all(session.attrs.get(key) == value for key, value in attrs.items())
    if not just_begun and (record is None or record.fingerprint != wanted):
        raise UsageError(f"{url}: exists already, from another recording or settings", hint=hint)
    return session


def session_exists(url: str) -> bool:
    """Whether anything is at ``url``; an empty folder is nothing."""
    files, path = open_files(url)
    return bool(files.isfile(path) or (files.exists(path) and files.ls(path)))


class StageWork:
    """The units of one run of a stage, by number; in another process it opens the session by its URL."""

    def __init__(self, session: Session, stage: Stage, config: StageConfig, units: Sequence[Unit]) -> None:
        self.session, self.stage, self.config, self.units = session, stage, config, units

    def __call__(self, index: int) -> None:
        self.stage.run(self.session, self.config, self.units[index])

    def name(self, index: int) -> str:
        """What an error calls a unit."""
        unit = self.units[index]
        return " ".join((self.stage.name, *([unit.camera] if unit.camera else []), f"{unit.start}:{unit.stop}"))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "session": absolute_url(self.session.url)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        url = state["session"]
        if not session_exists(url):
            raise StoreError(
                f"the worker on {platform.node()} cannot see {url}",
                hint="put the session (and the recording) on a disk that all workers share, or on s3://",
            )
        self.__dict__.update(state, session=Session.open(url, writable=True))


def _run_pending(
    session: Session,
    work: StageWork,
    pending: Sequence[int],
    done: npt.NDArray[np.bool_],
    executor: Executor,
    progress: Progress,
    should_stop: ShouldStop,
) -> None:
    finished, stage = 0, work.stage.name
    progress(stage, 0, len(pending))

    def mark(index: int) -> None:
        nonlocal finished
        finished += 1
        done[index] = True
        session.write(f"steps/{stage}/done", 0, done)
        progress(stage, finished, len(pending))

    alone = len(work.units) == 1  # nothing to share out
    where: Executor = Threads(1) if alone else executor
    where.run(work, pending, on_done=mark, name=work.name, should_stop=should_stop)
    session.refresh()


def _input_fingerprints(session: Session, stage: Stage, config: StageConfig) -> dict[str, str]:
    found = {}
    for name in needed_stages(session, stage, config):
        record = session.record(name)
        if record is None or not record.finished:
            verb = "has not been run" if record is None else "is unfinished"
            raise UsageError(
                f"{session.url}: {stage.name} needs {name}, which {verb}",
                hint=f"litdome {TYPED.get(name, name)} {session.url}",
            )
        found[name] = record.fingerprint
    return {**found, **_file_fingerprints(session, stage, config)}


def _file_fingerprints(session: Session, stage: Stage, config: StageConfig) -> dict[str, str]:
    """Of the files that a stage reads outside the session; those it read last where they have been moved away."""
    input_files = getattr(stage, "input_files", None)
    if input_files is None:
        return {}
    files = [path.absolute() for path in input_files(session, config) if path.is_file()]
    record = session.record(stage.name)
    if not files:
        return {"files": record.inputs["files"]} if record is not None and "files" in record.inputs else {}
    root = Path(os.path.commonpath([path.parent for path in files]))
    return {"files": digest([file_fingerprint(path, root) for path in files])}


def forget_done(session: Session, stage: str) -> None:
    """Take all units of a stage for not done."""
    if session.has(f"steps/{stage}/done"):
        session.write(f"steps/{stage}/done", 0, np.zeros_like(session.done(stage)))


def _done_flags(session: Session, stage: str, length: int) -> npt.NDArray[np.bool_]:
    path = f"steps/{stage}/done"
    if not session.has(path) or session.array(path).shape != (length,):
        session.write_small(path, np.zeros(length, bool), ("unit",), description=DONE)
    return session.read(path)


def config_of_last_run(session: Session, stage: Stage) -> StageConfig | None:
    """The settings that a stage was last run with; None when it was not, or they fit this version no more."""
    record = session.record(stage.name)
    if record is None or record.version != stage.version:
        return None
    return stage.Config.model_validate(record.config)


def config_for(stage: Stage, tables: Mapping[str, Any]) -> StageConfig:
    """The settings of a stage from the settings tables."""
    return build_config(stage.Config, stage.name, tables)

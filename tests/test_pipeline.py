from __future__ import annotations

import pickle
import threading
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from litdome.compute import Threads, run_units
from litdome.errors import StoreError, UsageError
from litdome.pipeline import Selection, StageWork, run_stage, stage_status
from litdome.stage import SessionLike, StageConfig, Summary, Unit
from litdome.store.session import Session


class AddConfig(StageConfig):
    amount: int = 1


class Add:
    """Adds to nothing: the smallest stage, which can be told to fail once."""

    name: ClassVar[str] = "add"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "add"
    needs: ClassVar[tuple[str, ...]] = ()
    Config: ClassVar[type[StageConfig]] = AddConfig

    def __init__(self, fail_at: int = -1) -> None:
        self.fail_at = fail_at
        self.ran: list[int] = []

    def prepare(self, session: SessionLike, config: AddConfig) -> list[Unit]:
        session.create("sums", (40, 4), np.int32, ("pair", "x"))
        return [Unit("c00", start, stop) for start, stop in session.shards(40)]

    def run(self, session: SessionLike, config: AddConfig, unit: Unit) -> None:
        if unit.start == self.fail_at:
            raise ValueError("broken unit")
        self.ran.append(unit.start)
        session.write("sums", unit.start, np.full((unit.stop - unit.start, 4), config.amount + unit.start, np.int32))

    def finish(self, session: SessionLike, config: AddConfig) -> Summary:
        return {"total": int(session.read("sums").sum())}


class After(Add):
    name: ClassVar[str] = "after"
    needs: ClassVar[tuple[str, ...]] = ("add",)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session.new(str(tmp_path / "take.zarr"), {"name": "take"})


def files(session: Session) -> dict[str, bytes]:
    root = Path(session.url)
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file() and "c" in p.parts}


def test_a_failed_run_resumes_with_only_what_is_missing_and_equal_bytes(session: Session, tmp_path: Path) -> None:
    broken = Add(fail_at=16)
    with pytest.raises(ValueError, match="broken unit"):
        run_stage(session, broken, AddConfig(), executor=Threads(1))
    assert stage_status(session, broken).state == "partial"
    again = Add()
    record = run_stage(session, again, AddConfig(), executor=Threads(1))
    assert again.ran == [16, 32] and record.finished and record.summary["total"] > 0
    whole = Session.new(str(tmp_path / "whole.zarr"), {"name": "take"})
    run_stage(whole, Add(), AddConfig(), executor=Threads(2))
    assert files(session) == files(whole)


def test_a_finished_stage_is_not_run_again_until_its_settings_change(session: Session) -> None:
    run_stage(session, Add(), AddConfig())
    same, changed = Add(), Add()
    run_stage(session, same, AddConfig())
    assert same.ran == []
    run_stage(session, changed, AddConfig(amount=5))
    assert changed.ran == [0, 16, 32] and session.read("sums")[0, 0] == 5


def test_a_stage_waits_for_its_needs_and_turns_stale_with_them(session: Session) -> None:
    with pytest.raises(UsageError, match="after needs add, which has not been run"):
        run_stage(session, After(), AddConfig())
    run_stage(session, Add(), AddConfig())
    run_stage(session, After(), AddConfig())
    assert stage_status(session, After()).state == "done"
    run_stage(session, Add(), AddConfig(amount=3))
    assert stage_status(session, After()).state == "stale"


def test_a_selection_leaves_the_record_unfinished(session: Session) -> None:
    record = run_stage(session, Add(), AddConfig(), select=Selection(range=(0, 10)))
    assert not record.finished and session.done("add").tolist() == [True, False, False]
    assert run_stage(session, Add(), AddConfig()).finished


def test_stopping_ends_the_running_units_and_keeps_them(session: Session) -> None:
    stage = Add()
    record = run_stage(session, stage, AddConfig(), executor=Threads(1), should_stop=lambda: len(stage.ran) >= 1)
    assert not record.finished and session.done("add").tolist() == [True, False, False]


def test_only_the_callers_thread_hears_of_finished_units() -> None:
    heard: list[tuple[int, int]] = []
    whole = run_units(
        lambda index: None, range(20), workers=4, on_done=lambda index: heard.append((index, threading.get_ident()))
    )
    assert whole and sorted(index for index, _ in heard) == list(range(20))
    assert {thread for _, thread in heard} == {threading.get_ident()}


class Reading(Add):
    """A stage that reads a file outside the session."""

    name: ClassVar[str] = "reading"
    file = Path()

    def input_files(self, session: SessionLike, config: AddConfig) -> list[Path]:
        return [self.file]


def test_a_changed_input_file_is_read_again_and_a_moved_one_is_not_missed(session: Session, tmp_path: Path) -> None:
    stage = Reading()
    stage.file = tmp_path / "rig.txt"
    stage.file.write_text("one")
    run_stage(session, stage, AddConfig())
    assert stage_status(session, stage).state == "done"
    stage.file.write_text("two")
    stage.ran.clear()
    run_stage(session, stage, AddConfig())
    assert stage.ran == [0, 16, 32]
    stage.file.unlink()
    stage.ran.clear()
    run_stage(session, stage, AddConfig())
    assert stage.ran == [] and stage_status(session, stage).state == "done"


class Refusing(Add):
    """A stage that refuses an amount, as a calibration refuses a bad file."""

    def run(self, session: SessionLike, config: AddConfig, unit: Unit) -> None:
        if config.amount > 1:
            raise UsageError("refused")
        super().run(session, config, unit)


def test_a_refused_input_leaves_the_finished_run_as_it_was(session: Session) -> None:
    first = run_stage(session, Refusing(), AddConfig())
    with pytest.raises(UsageError, match="refused"):
        run_stage(session, Refusing(), AddConfig(amount=2))
    assert session.record("add") == first and session.done("add").all()
    assert stage_status(session, Refusing()).state == "done" and session.read("sums")[0, 0] == 1


def test_work_travels_by_the_sessions_url_and_says_where_it_cannot_be_seen(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, config = Add(), AddConfig()
    units = stage.prepare(session, config)
    monkeypatch.chdir(tmp_path)  # a worker's working folder is another one
    near = Session.open("take.zarr", writable=True)
    text = pickle.dumps(StageWork(near, stage, config, units))
    monkeypatch.chdir("/")
    work = pickle.loads(text)
    work(1)
    assert session.read("sums")[16, 0] == 17 and work.name(1) == "add c00 16:32"
    Path(session.url).rename(tmp_path / "elsewhere.zarr")
    with pytest.raises(StoreError, match=r"the worker on .* cannot see .*take\.zarr"):
        pickle.loads(text)


def test_a_record_is_never_half_a_record(session: Session) -> None:
    """A process killed after any one of its writes leaves a record that can be read, or none."""
    run_stage(session, Add(), AddConfig())
    group = Path(session.url) / "steps" / "add" / "zarr.json"
    whole = group.read_text()
    group.write_text(whole[: whole.index('"attributes"')] + '"attributes": {}, "zarr_format": 3, "node_type": "group"}')
    assert Session.open(session.url).record("add") is None
    assert stage_status(Session.open(session.url), Add()).state == "missing"
    again = Add()
    run_stage(Session.open(session.url, writable=True), again, AddConfig())
    assert again.ran == [0, 16, 32]


def test_a_session_opened_again_writes_the_same_files(session: Session) -> None:
    """Zarr leaves out chunks that hold only the fill value, unless told otherwise each time an array is opened."""
    session.write_small("quality/reason", np.zeros(4, np.uint16), ("pair",))
    chunk = Path(session.url) / "quality" / "reason" / "c" / "0"
    written = chunk.read_bytes()
    for write in (
        lambda again: again.write_small("quality/reason", np.zeros(4, np.uint16), ("pair",)),
        lambda again: again.write("quality/reason", 0, np.zeros(4, np.uint16)),
    ):
        chunk.unlink()
        write(Session.open(session.url, writable=True))
        assert chunk.read_bytes() == written

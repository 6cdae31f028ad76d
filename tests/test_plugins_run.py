"""A run's folder survives what can happen to it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import BaseModel

from litdome.errors import StoreError, UsageError
from litdome.train_plugins.run import RunFolder


class Settings(BaseModel):
    """Settings of a trainer that does nothing."""

    steps: int = 3
    seed: int = 5
    note: str | None = None


def new_run(path: Path) -> RunFolder:
    return RunFolder.create(path, plugin="nothing", config=Settings(), dataset="d", dataset_fingerprint="f")


def test_an_opened_run_knows_what_it_was_started_with(tmp_path: Path) -> None:
    new_run(tmp_path / "run")
    run = RunFolder.open(tmp_path / "run")
    assert (run.seed, run.record.plugin, run.record.dataset_fingerprint, run.record.steps) == (5, "nothing", "f", 3)
    assert run.config(Settings) == Settings()


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    new_run(tmp_path / "run")
    with pytest.raises(UsageError):
        new_run(tmp_path / "run")


def test_a_checkpoint_counts_only_when_it_is_whole(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    with run.checkpoint(100) as folder:
        (folder / "weights").write_text("1")
        assert run.latest_checkpoint() is None
    with pytest.raises(RuntimeError), run.checkpoint(200):
        raise RuntimeError
    found = run.latest_checkpoint()
    assert found is not None and found.name == "step-000100" and (found / "weights").exists()
    assert [path.name for path in found.parent.iterdir()] == ["step-000100"]


def test_the_latest_checkpoint_is_that_of_the_highest_step(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    for step in (1_000_000, 999_999):
        with run.checkpoint(step):
            pass
    found = run.latest_checkpoint()
    assert found is not None and found.name == "step-1000000"


def test_steps_done_twice_are_reported_once(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    run = new_run(tmp_path / "run")
    run.progress = lambda what, done, total: seen.append((what, done, total))
    for step, loss in ((1, 0.5), (2, 0.4), (3, 0.2)):
        run.log(step, loss=loss)
    resumed = RunFolder.open(run.path)
    resumed.log(2, loss=0.3)
    assert [line["loss"] for line in resumed.metrics()] == [0.5, 0.3]
    assert seen[-1] == ("nothing", 3, 3)


def test_a_line_cut_off_by_a_kill_is_left_out(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    run.log(1, loss=0.5)
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    again = RunFolder.open(run.path)
    again.log(2, loss=0.25)
    assert [line["loss"] for line in again.metrics()] == [0.5, 0.25]


def test_previews_keep_their_colours(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    run.preview("red", np.full((4, 6, 3), (255, 0, 0), np.uint8))
    assert cv2.imread(str(run.path / "previews" / "red.png"))[0, 0].tolist() == [0, 0, 255]


def test_the_first_ctrl_c_asks_and_the_second_stops(tmp_path: Path) -> None:
    with new_run(tmp_path / "run") as run:
        assert not run.should_stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert run.should_stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_who_watches_for_ctrl_c_around_a_run_is_told_too(tmp_path: Path) -> None:
    told: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: told.append(number))
    try:
        with new_run(tmp_path / "run") as run:
            os.kill(os.getpid(), signal.SIGINT)
            assert run.should_stop() and told == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("text", ["", "{}", '{"schema": 99}', '{"schema": 1, "colour": 2}'])
def test_a_damaged_or_newer_run_is_refused(tmp_path: Path, text: str) -> None:
    new_run(tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text(text)
    with pytest.raises(StoreError):
        RunFolder.open(tmp_path / "run")

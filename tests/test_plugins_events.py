"""TensorBoard reads what a run logged, each step once, also after a kill and a resume."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from litdome.train_plugins.run import RunFolder


class Settings(BaseModel):
    """Settings of a trainer that does nothing."""

    steps: int = 4
    tensorboard: bool = True


def start(path: Path, settings: Settings) -> RunFolder:
    return RunFolder.create(path, plugin="nothing", config=settings, dataset="d", dataset_fingerprint="f")


def test_a_resumed_run_shows_each_step_once(tmp_path: Path) -> None:
    run = start(tmp_path / "run", Settings())
    for step in (1, 2, 3):
        run.log(step, loss=float(step), **{"test_light/psnr": 20.0 + step})
    with run.checkpoint(2):
        pass
    resumed = RunFolder.open(tmp_path / "run")
    for step in (3, 4):
        resumed.log(step, loss=10.0 * step)
    with resumed.checkpoint(4):
        pass
    found = EventAccumulator(str(tmp_path / "run/tensorboard"))
    found.Reload()
    assert [(event.step, event.value) for event in found.Scalars("loss")] == [(1, 1), (2, 2), (3, 30), (4, 40)]
    assert [event.step for event in found.Scalars("test_light/psnr")] == [1, 2]


def test_who_does_not_ask_for_it_gets_none(tmp_path: Path) -> None:
    run = start(tmp_path / "run", Settings(tensorboard=False))
    run.log(1, loss=1.0)
    assert not (tmp_path / "run/tensorboard").exists()

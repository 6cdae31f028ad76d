"""The conformance kit passes our trainer and bites wrong ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from pydantic import BaseModel, ConfigDict, Field

from litdome.train_plugins.checks import _import_findings, check_trainer
from litdome.train_plugins.protocol import DatasetView, Problem, Rendered, Run
from litdome.train_plugins.relighter import RelighterTrainer
from litdome.train_plugins.relighter.config import NetworkConfig, RelighterConfig


class Settings(BaseModel):
    """Settings of the trainers below."""

    model_config = ConfigDict(extra="forbid")
    steps: int = Field(2, description="Training steps.")


class Gain:
    """A right and small trainer: one gain, learned exactly resumably."""

    name: ClassVar[str] = "gain"
    summary: ClassVar[str] = "One factor for all pictures."
    contract: ClassVar[int] = 1
    needs: ClassVar[tuple[str, ...]] = ("flat", "relit")
    packages: ClassVar[tuple[str, ...]] = ("torch",)
    Config: ClassVar[type[BaseModel]] = Settings
    reads: tuple[str, ...] = ("flat",)

    def check(self, data: DatasetView, config: BaseModel) -> list[Problem]:
        return []

    def fit(self, data: DatasetView, config: Any, run: Run) -> None:
        step, gain = self.start(run)
        while step < config.steps and not run.should_stop():
            sample = data[step % len(data)]
            error = sample["flat"] * gain - sample["relit"]
            gain -= float((error * sample["flat"]).mean())
            step += 1
            run.log(step, loss=float((error**2).mean()))
            with run.checkpoint(step) as folder:
                (folder / "gain").write_text(f"{step} {gain!r}")

    def start(self, run: Run) -> tuple[int, float]:
        latest = run.latest_checkpoint()
        step, gain = ("0", "1.0") if latest is None else (latest / "gain").read_text().split()
        return int(step), float(gain)

    def load(self, run: Run, device: str) -> Any:
        return self

    def render(self, inputs: Mapping[str, torch.Tensor], *, seed: int) -> Rendered:
        return Rendered(inputs["flat"].clamp(0, 1), None)


class ForgetsItsGain(Gain):
    def start(self, run: Run) -> tuple[int, float]:
        return super().start(run)[0], 1.0


class NeverStops(Gain):
    def fit(self, data: DatasetView, config: Any, run: Any) -> None:
        run.should_stop = lambda: False
        super().fit(data, config, run)


class TooBright(Gain):
    def render(self, inputs: Mapping[str, torch.Tensor], *, seed: int) -> Rendered:
        return Rendered(inputs["flat"] + 2, None)


class ReadsTheMask(Gain):
    def fit(self, data: DatasetView, config: Any, run: Run) -> None:
        data[0]["mask"]
        super().fit(data, config, run)


class Undescribed(Gain):
    class Config(BaseModel):  # type: ignore[assignment]
        steps: int = 2


def test_a_right_trainer_has_no_findings() -> None:
    assert check_trainer(Gain()) == []


@pytest.mark.parametrize(
    ("trainer", "finding"),
    [
        (ForgetsItsGain(), "resume: losses"),
        (NeverStops(), "went on for 2 steps"),
        (TooBright(), "not in 0..1"),
        (ReadsTheMask(), "reads mask"),
        (Undescribed(), "steps has no description"),
    ],
)
def test_a_wrong_trainer_is_found_out(trainer: Gain, finding: str) -> None:
    found = check_trainer(trainer)
    assert len(found) == 1 and finding in found[0]


def test_the_relighter_conforms() -> None:
    network = NetworkConfig(heads=2, head_dim=12, blocks=1, adaln_dim=4)
    settings = RelighterConfig(base="random", mode="full", network=network, steps=2, batch=2)
    assert check_trainer(RelighterTrainer(), settings) == []


def test_importing_the_relighter_imports_nothing_heavy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(_import_findings(RelighterTrainer())) == []
    (tmp_path / "heavy_plugin.py").write_text("import torch\nclass Trainer: pass\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    import heavy_plugin  # type: ignore[import-not-found]

    assert "imports torch" in next(iter(_import_findings(heavy_plugin.Trainer())))

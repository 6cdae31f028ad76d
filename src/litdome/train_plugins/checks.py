"""The conformance kit: what every training plugin has to do, tried on a small dataset in memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tomli_w
from pydantic import BaseModel

from litdome.errors import LitdomeError
from litdome.lighting import tone_map_ldr, tone_map_log, view_directions
from litdome.train_plugins.protocol import Trainer
from litdome.train_plugins.registry import load_trainer
from litdome.train_plugins.run import RunFolder

if TYPE_CHECKING:
    from torch import Tensor

HEAVY_PACKAGES = ("torch", "diffusers", "transformers", "peft", "open3d", "mediapipe")
HEIGHT, WIDTH, SAMPLES = 32, 48, 4
LOSS_TOLERANCE = 1e-6  # relative; a resumed run repeats the same float32 arithmetic


@dataclass
class SyntheticView:
    """Four lit ellipses as a dataset, recording which sample keys are read.

    Attributes:
        keys: All keys; more than most trainers need.
        read: Keys that were taken from samples so far.
    """

    seed: int = 0
    keys: tuple[str, ...] = (
        *("flat", "flat_compensated", "relit", "mask", "weight", "weight_compensated"),
        *("env_ldr", "env_log", "env_direction"),
    )
    read: set[str] = field(default_factory=set)

    @property
    def fingerprint(self) -> str:
        """Identity of the data."""
        return f"synthetic-{self.seed}"

    def split(self, name: str) -> SyntheticView:
        """Every split is the whole."""
        return self

    def clips(self, length: int, stride: int) -> Sequence[dict[str, Tensor]]:
        """The samples, each repeated to ``length`` pictures."""
        return [_Recorded({k: v.expand(length, -1, -1, -1) for k, v in self[i].items()}, self.read) for i in range(4)]

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if not 0 <= index < SAMPLES:
            raise IndexError(index)
        return _Recorded(_synthetic_sample(self.seed * SAMPLES + index), self.read)


class _Recorded(dict[str, "Tensor"]):
    """A sample that notes which of its keys are looked up."""

    def __init__(self, values: dict[str, Tensor], read: set[str]) -> None:
        super().__init__(values)
        self._read = read

    def __getitem__(self, key: str) -> Tensor:
        self._read.add(key)
        return super().__getitem__(key)


def check_plugin(name: str) -> list[str]:
    """Try an installed plugin.

    Returns:
        What it fails, one line each; empty where it conforms.

    Raises:
        UsageError: No plugin of that name.
        PluginError: It cannot even be loaded.
    """
    trainer = load_trainer(name)
    return [*_import_findings(trainer), *check_trainer(trainer)]


def check_trainer(trainer: Trainer, config: BaseModel | None = None) -> list[str]:
    """Try a trainer: configuration round trip, two steps, kill and resume, render, keys.

    Args:
        trainer: The plugin.
        config: Settings for the trial; the defaults with ``steps = 2`` (where it has steps) otherwise.
    """
    checks: list[Callable[[_Trial], Iterator[str]]] = [_config_findings, _training_findings, _render_findings]
    findings: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        trial = _Trial(trainer, config or _two_steps(trainer.Config), Path(folder), SyntheticView())
        for check in checks:
            try:
                findings += check(trial)
            except LitdomeError as error:
                findings.append(f"{check.__name__[1:].replace('_findings', '')}: {error.message}")
        extra = sorted(trial.data.read - set(trainer.needs))
    return findings + [f"keys: reads {', '.join(extra)}, which `needs` does not name" for _ in extra[:1]]


@dataclass(frozen=True)
class _Trial:
    trainer: Trainer
    config: BaseModel
    folder: Path
    data: SyntheticView

    def run(self, name: str) -> RunFolder:
        """The run of a name, new or as it was left."""
        path = self.folder / name
        if path.exists():
            return RunFolder.open(path)
        return RunFolder.create(
            path, plugin=self.trainer.name, config=self.config, dataset="", dataset_fingerprint=self.data.fingerprint
        )


class _StoppedAfterOne(RunFolder):
    """A run whose user presses Ctrl-C during the first step."""

    def should_stop(self) -> bool:
        return bool(self.metrics())


def _config_findings(trial: _Trial) -> Iterator[str]:
    written = tomli_w.dumps(trial.config.model_dump(mode="json", exclude_none=True))
    if type(trial.config).model_validate(tomllib.loads(written)) != trial.config:
        yield "config: does not come back the same from TOML"
    for name, about in type(trial.config).model_fields.items():
        if about.is_required():
            yield f"config: {name} has no default"
        if not about.description and not isinstance(about.annotation, type(BaseModel)):
            yield f"config: {name} has no description"


def _training_findings(trial: _Trial) -> Iterator[str]:
    problems = [found for found in trial.trainer.check(trial.data, trial.config) if found.severity == "error"]
    yield from (f"check: {found.message}" for found in problems)
    if problems:
        return
    whole, halved = trial.run("whole"), trial.run("halved")
    trial.trainer.fit(trial.data, trial.config, whole)
    trial.trainer.fit(trial.data, trial.config, _StoppedAfterOne(halved.path, halved.record, "cpu"))
    before = len(halved.metrics())
    trial.trainer.fit(trial.data, trial.config, trial.run("halved"))
    expected, found = [[float(line["loss"]) for line in run.metrics() if "loss" in line] for run in (whole, halved)]
    if not expected or not all(np.isfinite(expected)):
        yield f"fit: logged no finite loss ({expected})"
    if whole.latest_checkpoint() is None:
        yield "fit: left no checkpoint"
    if before != 1:
        yield f"fit: went on for {before} steps after should_stop()"
    if len(found) != len(expected) or not np.allclose(found, expected, rtol=LOSS_TOLERANCE, atol=0):
        yield f"resume: losses {found}, without the interruption {expected}"


def _render_findings(trial: _Trial) -> Iterator[str]:
    renderer = trial.trainer.load(trial.run("whole"), "cpu")
    sample = trial.data[0]
    inputs = {key: sample[key] for key in renderer.reads if key in sample}
    first, again = (renderer.render(inputs, seed=3).rgb for _ in range(2))
    if tuple(first.shape) != (1, 3, HEIGHT, WIDTH):
        yield f"render: rgb has shape {tuple(first.shape)}, not {(1, 3, HEIGHT, WIDTH)}"
    if not bool(((first >= 0) & (first <= 1)).all()):
        yield f"render: rgb lies in {float(first.min()):.3g}..{float(first.max()):.3g}, not in 0..1"
    if not bool((first == again).all()):
        yield "render: the same seed gives other pictures"


def _import_findings(trainer: Trainer) -> Iterator[str]:
    """Import the plugin's module in a new interpreter and see which heavy packages came with it."""
    module = type(trainer).__module__
    code = f"import sys, json, {module}; print(json.dumps([p for p in {HEAVY_PACKAGES!r} if p in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        yield f"import: {done.stderr.strip().splitlines()[-1]}"
    elif json.loads(done.stdout):
        yield f"import: {module} imports {', '.join(json.loads(done.stdout))} before anything is computed"


def _two_steps(model: type[BaseModel]) -> BaseModel:
    return model.model_validate({"steps": 2} if "steps" in model.model_fields else {})


def _synthetic_sample(seed: int) -> dict[str, Tensor]:
    """A lit ellipse before a dark wall, one picture."""
    import torch

    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    inside = (((x - WIDTH / 2) / rng.uniform(8, 16)) ** 2 + ((y - HEIGHT / 2) / rng.uniform(8, 14)) ** 2 < 1).astype(
        "f4"
    )
    directions = view_directions(HEIGHT, WIDTH)
    radiance = np.exp(directions @ rng.normal(size=(3, 3))).astype(np.float32)
    albedo = rng.uniform(0.2, 0.8, 3).astype(np.float32)
    flat = inside[..., None] * albedo
    pictures = {
        **{"flat": flat, "flat_compensated": flat, "mask": inside[..., None]},
        **{"weight": 1 - 0.75 * inside[..., None], "weight_compensated": np.ones_like(inside)[..., None]},
        "relit": np.clip(flat * radiance.mean(axis=(0, 1)) * rng.uniform(0.5, 1.5), 0, 1),
        **{"env_ldr": tone_map_ldr(radiance) * 2 - 1, "env_log": tone_map_log(radiance) * 2 - 1},
        "env_direction": directions,
    }
    return {k: torch.from_numpy(np.ascontiguousarray(v.transpose(2, 0, 1)[None], "f4")) for k, v in pictures.items()}

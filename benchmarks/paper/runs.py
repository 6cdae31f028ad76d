"""Trainings of the plan through the plugin's own door; what is trained is not trained again."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from oracle_drivers import write_oracle

from litdome.datasets.views import DatasetView, open_dataset
from litdome.train_plugins.protocol import Renderer
from litdome.train_plugins.registry import load_trainer
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.model import open_trainable, trainable
from litdome.train_plugins.relighter.renderer import AutoencoderCeiling, RelighterRenderer
from litdome.train_plugins.relighter.weights import find_base, open_base
from litdome.train_plugins.run import RunFolder
from litdome.weights import sha256_of
from paper.arms import ROUND_TRIP, ZERO_SHOT, Plan, Training, lora
from paper.takes import Stage
from paper.truth import TakeTruth

TENSORS = "transformer/diffusion_pytorch_model.safetensors"


@dataclass(frozen=True, eq=False)
class Runs:
    """Trainings in a folder.

    Attributes:
        stage, plan: Where, and of what.
        base: What they start from.
        ic_light: Folder of IC-Light's weights, where there are any.
    """

    stage: Stage
    plan: Plan
    base: str
    ic_light: Path | None = None

    @property
    def base_mark(self) -> str:
        """The beginning of the base's sha256, read every time: runs from another base are others."""
        return sha256_of(find_base(self.base) / TENSORS)[:8]

    @lru_cache(maxsize=4)  # noqa: B019
    def data(self, name: str) -> DatasetView:
        """A dataset, filmed, processed and baked where it is missing."""
        return self.stage.dataset(name, self.plan.takes[name])

    @lru_cache(maxsize=8)  # noqa: B019
    def truth(self, name: str, person: str) -> TakeTruth:
        """What is true of a subject's take in a dataset."""
        number = self.number(name, person)
        take = self.plan.takes[name][number]
        return TakeTruth(
            open_dataset(self.data(name).path), number, self.stage.recording(take), self.stage.session(take)
        )

    def number(self, name: str, person: str) -> int:
        """Of the session that shows a subject."""
        return [take.subject for take in self.plan.takes[name]].index(person)

    def folder(self, training: Training, seed: int) -> Path:
        return self.stage.folder / "runs" / f"{training.key}-{self.base_mark}-seed{seed}"

    def trained(self, training: Training, seed: int) -> RunFolder:
        """The run, trained to its end."""
        folder, view = self.folder(training, seed), self.view(training)
        if (folder / "cost.json").exists():
            return RunFolder.open(folder)
        trainer, config = load_trainer("relighter"), self.config(training, seed, view)
        if (folder / "run.json").exists():
            run = RunFolder.open(folder)
        else:
            mark = view.fingerprint
            run = RunFolder.create(
                folder, plugin="relighter", config=config, dataset=str(view.path), dataset_fingerprint=mark
            )
        cpu, wall = time.process_time(), time.monotonic()
        with run:
            trainer.fit(view, config, run)
        if run.should_stop():
            raise KeyboardInterrupt
        numbers = sum(value.numel() for value in trainable(open_trainable(config, seed).network).values())
        cost = {"cpu_s": time.process_time() - cpu, "wall_s": time.monotonic() - wall, "parameters": numbers}
        (folder / "cost.json").write_text(json.dumps({**cost, "steps": config.steps, "samples": len(view)}))
        return run

    def cost(self, training: Training, seed: int) -> dict[str, float] | None:
        """CPU seconds, trainable parameters, steps and samples of a run that is there."""
        path = self.folder(training, seed) / "cost.json"
        return cast(dict[str, float], json.loads(path.read_text())) if path.exists() else None

    def renderer(self, training: Training, seed: int) -> Renderer:
        """What a training made, trained now if need be."""
        return load_trainer("relighter").load(self.trained(training, seed), "cpu")

    def references(self, name: str) -> dict[str, Renderer]:
        """The base as it is, and the autoencoder's ceiling."""
        config = self.config(lora(name, ()), 0, self.data(name))
        base = open_base(self.base, config.network, 0)
        return {
            ZERO_SHOT: RelighterRenderer(base.network, base.autoencoder, config, "cpu"),
            ROUND_TRIP: AutoencoderCeiling(base.autoencoder, "cpu"),
        }

    def config(self, training: Training, seed: int, view: DatasetView) -> RelighterConfig:
        scale = self.stage.scale
        settings: dict[str, Any] = {"base": self.base, "batch": scale.batch, **training.settings}
        if training.filtered:
            settings["max_shift_px"] = float(np.nanmedian(view.column("shift_px")))
        if training.oracle:
            settings["drivers"] = str(self._oracle(training))
        steps = round(scale.steps * training.effort)
        quiet = {"validation": {"samples": 0}, "tensorboard": False, "keep": 1, "preview_every": 10**6}
        return RelighterConfig.model_validate(
            {**settings, **quiet, "steps": steps, "checkpoint_every": max(steps // 4, 20), "seed": seed}
        )

    def view(self, training: Training) -> DatasetView:
        """The samples that it trains on."""
        data = self.data(training.data).split("train")
        numbers = [self.number(training.data, person) for person in training.people]
        view = data.at(np.flatnonzero(np.isin(data.column("session"), numbers)))
        return (
            view if training.lights is None else few_lights(view, training.lights, min(self.stage.scale.light_counts))
        )

    def _oracle(self, training: Training) -> Path:
        folder = self.stage.folder / "oracle" / training.data
        if not (folder / "drivers.json").exists():
            truth = self.truth(training.data, training.people[0])
            with self.stage.timed(f"oracle {training.data}"):
                write_oracle(truth.recording, truth.session, truth.view, folder)
        return folder


def few_lights(view: DatasetView, count: int, fewest: int) -> DatasetView:
    """Samples of ``count`` lights, as many as ``fewest`` lights have, evenly of each light."""
    lights = np.random.default_rng(0).permutation(np.unique(view.column("hdri")))
    if len(lights) < count:
        raise ValueError(f"{view.path}: {len(lights)} training lights, {count} are needed")
    at = [np.flatnonzero(view.column("hdri") == light) for light in lights]
    number = sum(len(one) for one in at[:fewest])
    turns = [int(one[turn]) for turn in range(max(map(len, at))) for one in at[:count] if turn < len(one)]
    return view.at(np.sort(turns[:number]))

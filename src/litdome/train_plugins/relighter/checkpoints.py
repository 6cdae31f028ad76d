"""What a checkpoint holds, how a training goes on from one, and which of them stay."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from litdome.errors import StoreError
from litdome.train_plugins.protocol import Run
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.model import (
    AVERAGE_FILE,
    AVERAGE_FOLDER,
    FULL_FILE,
    WeightAverage,
    read_weights,
    save_weights,
)
from litdome.train_plugins.relighter.network import RelighterNetwork
from litdome.train_plugins.relighter.optimizers import optimizer_tensors, restore_optimizers
from litdome.train_plugins.relighter.parallel import Processes, like, read_shares_anew, whole
from litdome.train_plugins.run import checkpoints_of

OPTIMIZER_FILE, STATE_FILE = "optimizer.safetensors", "state.json"
CHOOSING = ("held_back/psnr", "validation/psnr")  # scores on training data; test splits choose nothing


@dataclass(frozen=True)
class Standing:
    """Where a training stands; the order of samples and all randomness follow from seed and step.

    Attributes:
        step: Steps done.
        seed: Of the run.
        seconds: Time spent.
        best_step, best_score: Of the best checkpoint by `CHOOSING`, dB; None where nothing is held back.
    """

    step: int
    seed: int
    seconds: float
    best_step: int | None = None
    best_score: float | None = None


@dataclass(frozen=True)
class Trained:
    """All that changes in a training.

    Attributes:
        network: With its adapter, if it has one; not the wrapper that exchanges gradients.
        weights: Those that train, by name.
        average: Of these.
        optimizers: Of these.
    """

    network: RelighterNetwork
    weights: Mapping[str, nn.Parameter]
    average: WeightAverage
    optimizers: Sequence[Optimizer]

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The network with its averaged weights for a while."""
        own = {name: value.detach().clone() for name, value in self.weights.items()}
        self._put(self.average.average)
        try:
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, value in self.weights.items():
            value.copy_(values[name])
        read_shares_anew(self.network)


def save_checkpoint(
    run: Run, trained: Trained, standing: Standing, config: RelighterConfig, processes: Processes
) -> None:
    """Write a checkpoint, and remove those that need not stay. All processes call it, the first one writes.

    Raises:
        StoreError: The disk does not take it; the checkpoints before stay as they are.
    """
    own = {name: whole(value) for name, value in trained.weights.items()} if config.mode == "full" else {}
    average = {name: whole(value) for name, value in trained.average.average.items()} if config.mode == "full" else {}
    moments = {name: whole(value) for name, value in optimizer_tensors(trained.optimizers, trained.weights).items()}
    if processes.rank == 0:
        try:
            with run.checkpoint(standing.step) as folder:
                if config.mode == "full":
                    save_file(own, folder / FULL_FILE)
                    save_file(average, folder / AVERAGE_FILE)
                else:
                    save_weights(folder, trained.network, config)
                    with trained.averaged():
                        save_weights(folder / AVERAGE_FOLDER, trained.network, config)
                save_file(moments, folder / OPTIMIZER_FILE)
                (folder / STATE_FILE).write_text(json.dumps(asdict(standing)), encoding="utf-8")
        except (OSError, SafetensorError) as error:
            raise StoreError(
                f"{run.path}: checkpoint of step {standing.step} cannot be written: {error}",
                hint=f"free some room, then litdome train ... --resume {run.path}",
            ) from error
        _remove_old(run.path, config.keep, standing.best_step)
    processes.wait()


def load_checkpoint(checkpoint: Path, trained: Trained, config: RelighterConfig) -> Standing:
    """Average, optimizers and standing from a checkpoint; `load_weights` reads the weights themselves.

    Raises:
        StoreError: It is damaged.
    """
    average = read_weights(checkpoint, trained.network, config, average=True)
    try:
        standing = Standing(**json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8")))
        restore_optimizers(trained.optimizers, trained.weights, load_file(checkpoint / OPTIMIZER_FILE))
        trained.average.average = {name: like(average[name], value) for name, value in trained.weights.items()}
    except (OSError, KeyError, ValueError, TypeError, SafetensorError) as error:
        raise StoreError(f"{checkpoint}: damaged checkpoint: {error}", hint="delete it to resume before") from error
    return standing


def choosing_score(scores: Mapping[str, float]) -> float | None:
    """The score that the best checkpoint is kept by; None where no training data is held back."""
    return next((scores[name] for name in CHOOSING if name in scores), None)


def _remove_old(run: Path, keep: int, best_step: int | None) -> None:
    for folder in checkpoints_of(run)[:-keep]:
        if folder.name != f"step-{best_step or 0:06d}":
            shutil.rmtree(folder)

"""Trainings for several processes: ``python two_processes.py FOLDER`` with RANK and WORLD_SIZE set, or called."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from litdome.train_plugins.checks import SyntheticView
from litdome.train_plugins.relighter import RelighterTrainer
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.run import RunFolder

TINY = {"heads": 2, "head_dim": 12, "blocks": 2, "adaln_dim": 4}
WHOLE = {"base": "random", "mode": "full", "network": TINY, "steps": 3, "batch": 4, "warmup_steps": 0}
WHOLE |= {"checkpoint_every": 2, "dropout": {"each": 0.3}, "learning_rate": 0.01, "tensorboard": False}
SHARED = {"copies": WHOLE, "parts": {**WHOLE, "accumulate": 2}, "shards": {**WHOLE, "sharded": True}}


def train_all(folder: Path, rank: int, names: tuple[str, ...] = tuple(SHARED)) -> None:
    """Every training of `SHARED`; the shards are stopped after step 2 and resumed."""
    for name in names:
        config = RelighterConfig.model_validate(SHARED[name])
        run = RunFolder.open(folder / name, device="cpu", writes=rank == 0)
        if name == "shards":
            RelighterTrainer().fit(SyntheticView(), config.model_copy(update={"steps": 2, "decay": "constant"}), run)
        RelighterTrainer().fit(SyntheticView(), config.model_copy(update={"decay": "constant"}), run)


def prepare(folder: Path) -> None:
    """The runs' folders."""
    for name, settings in SHARED.items():
        config = RelighterConfig.model_validate(settings)
        RunFolder.create(folder / name, plugin="relighter", config=config, dataset="", dataset_fingerprint="0")


if __name__ == "__main__":
    torch.set_num_threads(1)
    train_all(Path(sys.argv[1]), int(os.environ["RANK"]))

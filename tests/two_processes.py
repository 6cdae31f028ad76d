"""Trainings for two processes, or for one."""

from __future__ import annotations

import os
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


def take_part(folder: Path, rank: int, port: str) -> None:
    """What one of two processes does."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": port}
    os.environ |= {"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank)}
    train_all(folder, rank)

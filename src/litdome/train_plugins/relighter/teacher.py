"""A trained run as the teacher of another one: whether it can be, how the student starts as it, how it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from litdome.datasets.views import DatasetView as BakedView
from litdome.datasets.withdrawal import subjects_of
from litdome.errors import ConfigError, PluginError
from litdome.train_plugins.protocol import DatasetView
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.model import load_weights, open_trainable
from litdome.train_plugins.relighter.network import RelighterNetwork
from litdome.train_plugins.relighter.sampler import noise_schedule, sample_euler
from litdome.train_plugins.relighter.weights import find_base
from litdome.train_plugins.run import RunFolder
from litdome.weights import BASE_RECORD

SAME = ("base", "network", "buffers", "env", "masks", "use_compensated")  # in both; what they read and are made of


@dataclass(frozen=True)
class TeacherRun:
    """A run that others can learn from.

    Attributes:
        checkpoint: Its latest one.
        config: Its settings.
        seed: Of the run, which a random base was made with.
    """

    checkpoint: Path
    config: RelighterConfig
    seed: int

    @property
    def identity(self) -> str:
        """Changes with its weights and with those that it started from."""
        digest = sha256(self.config.model_dump_json().encode())
        base = None if self.config.base == "random" else find_base(self.config.base) / BASE_RECORD
        for file in sorted(self.checkpoint.rglob("*.safetensors")) + ([base] if base and base.is_file() else []):
            digest.update(sha256(file.read_bytes()).digest())
        return digest.hexdigest()

    def open(self) -> RelighterNetwork:
        """Its network with averaged weights, on the CPU; nothing of it trains."""
        network = open_trainable(self.config, self.seed).network
        load_weights(self.checkpoint, network, self.config, average=True)
        nn.Module.requires_grad_(network, False)
        network.eval()
        return network


def find_teacher(data: DatasetView, config: RelighterConfig) -> TeacherRun:
    """The run that ``distill.teacher`` names.

    Raises:
        StoreError: No run there.
        ConfigError: One that this student cannot start from, or that it would read other pictures than.
        PluginError: One without a checkpoint, or that learned from somebody whom this dataset does not show.
    """
    path = Path(config.distill.teacher or "").expanduser()
    run = RunFolder.open(path)
    if run.record.plugin != "relighter":
        raise ConfigError(f"distill.teacher {path}: a run of {run.record.plugin}", hint="the folder of a relighter run")
    theirs = cast(RelighterConfig, run.config(RelighterConfig))
    checkpoint = run.latest_checkpoint()
    if checkpoint is None:
        raise PluginError(f"distill.teacher {path}: no checkpoint yet", hint=f"litdome train --resume {path}")
    _need_same(path, theirs, config)
    if isinstance(data, BakedView):
        others = sorted({name for name in run.record.subjects if name} - set(subjects_of(data.attrs["sessions"])))
        if others:
            raise PluginError(
                f"distill.teacher {path}: it learned from {', '.join(others)}, whom this dataset does not show; "
                "the student could not be found if they withdrew",
                hint=f"the dataset that it was trained on: {run.record.dataset}",
            )
    return TeacherRun(checkpoint, theirs, run.seed)


def start_as(network: RelighterNetwork, config: RelighterConfig, teacher: TeacherRun) -> None:
    """Give a fresh student the teacher's weights: adapter for adapter, or an adapter merged into all of them."""
    if config.mode == teacher.config.mode:
        load_weights(teacher.checkpoint, network, config, average=True)
        return
    merged = teacher.open()
    merged.fuse_lora()
    merged.unload_lora()
    network.load_state_dict(merged.state_dict())


@dataclass(frozen=True)
class Teacher:
    """A network with its sampler.

    Attributes:
        network: F of noisy latents, noise level and conditions.
        sigmas: From `noise_schedule`.
        half: Whether it computes in bfloat16.
    """

    network: nn.Module
    sigmas: Tensor
    half: bool = False

    @torch.no_grad()
    def sample(self, noise: Tensor, conditions: Tensor) -> Tensor:
        """What its sampler makes of this unit normal noise, shape (b, c, t, h, w)."""

        def denoise(noisy: Tensor, level: Tensor) -> Tensor:
            with torch.autocast(noise.device.type, torch.bfloat16, enabled=self.half):
                said: Tensor = self.network(noisy, level, conditions)
            return said.float()

        return sample_euler(denoise, noise, self.sigmas)


def open_teacher(run: TeacherRun, student: RelighterNetwork, config: RelighterConfig, device: str) -> Teacher:
    """A teacher's network on a device.

    Args:
        run: The teacher's.
        student: On the device; where both train adapters of one base, the frozen weights are used by both.
        config: Of the student.
    """
    network = run.open()
    if run.config.mode == "lora" and config.mode == "lora":
        shared = {name: value for name, value in student.named_parameters() if not value.requires_grad}
        for name, value in network.named_parameters():
            if name in shared:
                value.data = shared[name].data
    sigmas = noise_schedule(config.distill.steps, run.config.noise.sigma_max)
    return Teacher(network.to(device), sigmas, config.precision == "bfloat16")


def _need_same(path: Path, theirs: RelighterConfig, ours: RelighterConfig) -> None:
    fields = [*SAME, *(["lora"] if ours.mode == "lora" else [])]
    if theirs.mode == "full" and ours.mode == "lora":
        raise ConfigError(f"distill.teacher {path}: all of its weights were trained", hint="--set mode=full")
    for name in fields:
        was, asked = getattr(theirs, name), getattr(ours, name)
        if was != asked:
            raise ConfigError(
                f"distill.teacher {path}: {name} is {_shown(was)} there, {_shown(asked)} here",
                hint=f"the same settings as in {path / 'config.toml'}",
            )
    if theirs.noise.sigma_max != ours.noise.sigma_max:
        raise ConfigError(
            f"distill.teacher {path}: it starts from noise {theirs.noise.sigma_max:g}, this from "
            f"{ours.noise.sigma_max:g}",
            hint=f"--set noise.sigma_max={theirs.noise.sigma_max:g}",
        )


def _shown(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)

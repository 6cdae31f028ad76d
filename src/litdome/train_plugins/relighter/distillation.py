"""Learning to make in few steps what a teacher's sampler makes in many, from the same noise.

The student's whole sampler is trained, all its steps at once, against what the teacher's made of the same noise and
the same conditions (direct distillation); with an optional loss on how strong edges and texture of the pictures are.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool3d, interpolate, pad

from litdome.train_plugins.relighter.autoencoder import Autoencoder
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.latent_files import LatentFiles
from litdome.train_plugins.relighter.objective import Batch, weighted_mean
from litdome.train_plugins.relighter.sampler import SIGMA_DATA, noise_schedule, sample_euler, still_noise
from litdome.train_plugins.relighter.teacher import Teacher

DETAIL_PX = 8  # side of the neighbourhoods that detail is compared in
_MADE = "made"


class Targets:
    """What the teacher makes of each sample and noise, made once.

    Args:
        teacher: Who makes it.
        config: Of the student; ``latent_cache_mb`` limits what is kept in memory.
        seed: Of the noises.
        folder: Where to keep it on disk too, or None.
        identity: Changes whenever any sample or the teacher does.
    """

    def __init__(
        self, teacher: Teacher, config: RelighterConfig, seed: int, *, folder: Path | None, identity: str
    ) -> None:
        self._teacher, self._seed = teacher, seed
        self._kept: dict[tuple[int, int], Tensor] = {}
        self._room = config.latent_cache_mb * 2**20
        self._files: LatentFiles | None = None
        if folder is not None:
            made_of = f"{identity} {config.distill.steps} {config.precision} {seed}"
            name = sha256(made_of.encode()).hexdigest()[:32]
            self._files = LatentFiles(folder / name, name)

    def noise(self, shape: torch.Size, indices: Sequence[int], variant: Sequence[int]) -> Tensor:
        """The noise of each sample, as rendering has it: one picture for all frames, shape ``shape``, on the CPU."""
        seeds = [_seed(self._seed, *each) for each in zip(indices, variant, strict=True)]
        return torch.cat([still_noise((1, *shape[1:]), seed) for seed in seeds])

    def get(self, noise: Tensor, conditions: Tensor, indices: Sequence[int], variant: Sequence[int]) -> Tensor:
        """Latents that the teacher makes of samples, shape of ``noise``.

        Args:
            noise: From `noise`, on the device.
            conditions: Of the samples.
            indices, variant: Numbers of the samples and of their noises.
        """
        keys = list(zip(indices, variant, strict=True))
        found = {key: self._stored(key) for key in keys}
        missing = [place for place, key in enumerate(keys) if found[key] is None]
        if missing:
            made = self._teacher.sample(noise[missing], conditions[missing]).half().cpu()
            for place, latents in zip(missing, torch.split(made, 1), strict=True):
                found[keys[place]] = latents
                if self._files is not None:
                    self._files.write(_name(keys[place]), {_MADE: latents}, {})
        for key, value in found.items():
            if value is not None and key not in self._kept and value.nbytes <= self._room:
                self._room -= value.nbytes
                self._kept[key] = value.clone()
        return torch.cat([value for key in keys if (value := found[key]) is not None]).to(noise)

    def _stored(self, key: tuple[int, int]) -> Tensor | None:
        if key in self._kept or self._files is None:
            return self._kept.get(key)
        read = self._files.read(_name(key))
        return None if read is None else read[0][_MADE]


class Distillation:
    """The student's loss.

    Args:
        targets: What the teacher makes.
        config: Of the student.
        autoencoder: On the device.
        channel_weight: Shape (c,), mean 1.
        samples: How many there are.
    """

    def __init__(
        self,
        targets: Targets,
        config: RelighterConfig,
        autoencoder: Autoencoder,
        channel_weight: Tensor,
        samples: int,
    ) -> None:
        self._targets, self._autoencoder, self._channel_weight = targets, autoencoder, channel_weight
        self._noises, self._detail, self._samples = config.distill.noises, config.distill.detail, samples
        self._sigmas = noise_schedule(config.sampling.steps, config.noise.sigma_max)

    def losses(
        self, model: nn.Module, batch: Batch, indices: Sequence[int], draws: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Loss of every sample and the noise level that it started from, shape (b,) each.

        Args:
            model: The student.
            batch: Its samples; what was recorded (``clean``) only gives the size.
            indices, draws: Numbers of the samples, and of their draws since training began: each time that all were
                seen, the next noise is taken.
        """
        variant = [draw // self._samples % self._noises for draw in draws]
        noise = self._targets.noise(batch.clean.shape, indices, variant).to(batch.clean)
        target = self._targets.get(noise, batch.conditions, indices, variant)
        made = sample_euler(lambda noisy, level: model(noisy, level, batch.conditions).float(), noise, self._sigmas)
        # as the loss of F is at high noise, where F is the clean latents over sigma_data
        error = ((made - target) / SIGMA_DATA) ** 2 * self._channel_weight[:, None, None, None]
        losses = weighted_mean(error, batch.weight)
        if self._detail > 0:
            shown, wanted = (self._autoencoder.decode(latents).float() for latents in (made, target))
            losses = losses + self._detail * detail_losses(shown, wanted, batch.weight)
        return losses, self._sigmas[:1].expand(len(draws))


def detail_losses(made: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """How much weaker or stronger edges and texture are in each neighbourhood, wherever exactly they lie, shape (b,).

    Args:
        made, target: Pictures in -1..1, shape (b, 3, t, y, x); what is beyond is cut off.
        weight: Of each place, shape (b, 1, ...), or None.

    Returns:
        Squared difference of the root mean square gradients as a share of the target's mean squared gradient: 0 is
        the same, 1 is what a picture without detail has.
    """
    ours, theirs = (_energy(pictures.clamp(-1, 1)) for pictures in (made, target))
    tiny = 1e-6  # of the gradient's square, half of an 8-bit code in -1..1 is 1.5e-5
    apart = ((ours + tiny).sqrt() - (theirs + tiny).sqrt()) ** 2
    small = None if weight is None else interpolate(weight, size=theirs.shape[2:], mode="nearest")
    return weighted_mean(apart, small) / (weighted_mean(theirs, small) + tiny)


def _energy(pictures: Tensor) -> Tensor:
    """Mean squared gradient in neighbourhoods, shape (b, 1, t, y / 8, x / 8), rounded up."""
    across, down = pad(pictures.diff(dim=-1), (0, 1)), pad(pictures.diff(dim=-2), (0, 0, 0, 1))
    squared = (across**2 + down**2).mean(dim=1, keepdim=True)
    return avg_pool3d(squared, (1, DETAIL_PX, DETAIL_PX), ceil_mode=True)


def _seed(seed: int, index: int, variant: int) -> int:
    return int(np.random.SeedSequence((seed, index, variant)).generate_state(1)[0])


def _name(key: tuple[int, int]) -> str:
    return f"made-{key[0]:06d}-{key[1]}.safetensors"

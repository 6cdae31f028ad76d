"""From dataset samples to latents: which sample keys are which condition, the cache, the order of the samples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from litdome.errors import InputError
from litdome.train_plugins.relighter.autoencoder import Autoencoder
from litdome.train_plugins.relighter.conditions import Condition, assemble_conditions
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.network import SPATIAL_PATCH
from litdome.train_plugins.relighter.objective import Batch

LIGHT: dict[str, Condition] = {"env_ldr": "env_ldr", "env_log": "env_log", "env_direction": "env_nrm"}
SIGNED = ("normal", *LIGHT)  # sample keys in -1..1; the others are 0..1
_BUFFERS: dict[str, Condition] = {
    **{"flat": "basecolor", "basecolor": "basecolor", "normal": "normal"},
    **{"metallic": "metallic", "roughness": "roughness", "depth": "depth"},
}


def condition_keys(config: RelighterConfig) -> dict[str, Condition]:
    """The sample keys that become conditions: buffers, then the light."""
    flat = "flat_compensated" if config.use_compensated else "flat"
    return {(flat if key == "flat" else key): _BUFFERS[key] for key in config.buffers} | LIGHT


def sample_keys(config: RelighterConfig) -> tuple[str, ...]:
    """All sample keys that training reads."""
    weights = (("mask",) if config.background_weight < 1 else ()) + (
        (weight_key(config),) if config.motion_weights else ()
    )
    return (*condition_keys(config), "relit", *weights)


def weight_key(config: RelighterConfig) -> str:
    """The sample key that says how far each pixel of the flat picture that is read agrees with the relit one."""
    return "weight_compensated" if config.use_compensated else "weight"


def encode_conditions(
    pictures: Mapping[str, Tensor], keys: Mapping[str, Condition], autoencoder: Autoencoder
) -> dict[Condition, Tensor]:
    """Latents (1, c, t, h, w) of a sample's conditions, pictures of shape (t, 1 or 3, h, w).

    Raises:
        InputError: A size that is not whole in latents and patches.
    """
    return {name: autoencoder.encode(as_video(pictures[key], key, autoencoder)) for key, name in keys.items()}


def as_video(pictures: Tensor, key: str, autoencoder: Autoencoder) -> Tensor:
    """A sample's pictures as the autoencoder takes them, shape (1, 3, t, h, w), -1..1."""
    unit = autoencoder.spatial * SPATIAL_PATCH
    height, width = pictures.shape[-2:]
    if height % unit or width % unit:
        raise InputError(f"{key}: {height}x{width} px, not whole multiples of {unit}", hint="--set size.height=...")
    video = pictures.expand(-1, 3, -1, -1).transpose(0, 1)[None].float()
    return video if key in SIGNED else video * 2 - 1


@dataclass(frozen=True)
class _Latents:
    clean: Tensor
    conditions: dict[Condition, Tensor]
    weight: Tensor | None

    @property
    def nbytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (self.clean, *self.conditions.values()))


class Samples(Protocol):
    """What training reads: a `DatasetView`, or its clips."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Mapping[str, Tensor]: ...


class LatentCache:
    """Encoded samples, kept in memory up to a limit."""

    def __init__(self, data: Samples, config: RelighterConfig, autoencoder: Autoencoder, device: str) -> None:
        self._data, self._config, self._autoencoder, self._device = data, config, autoencoder, device
        self._keys = condition_keys(config)
        self._kept: dict[int, _Latents] = {}
        self._room = config.latent_cache_mb * 2**20

    def batches(self, indices: Sequence[int]) -> list[Batch]:
        """The samples as batches, one for each size and length among them."""
        groups: dict[torch.Size, list[_Latents]] = defaultdict(list)
        for index in indices:
            latents = self._get(index)
            groups[latents.clean.shape].append(latents)
        return [self._collate(group) for group in groups.values()]

    def _collate(self, group: list[_Latents]) -> Batch:
        def gather(parts: list[Tensor]) -> Tensor:
            return torch.cat(parts).to(self._device).float()

        clean = gather([one.clean for one in group])
        names = group[0].conditions
        conditions = {name: gather([one.conditions[name] for one in group]) for name in names}
        weights = [one.weight for one in group if one.weight is not None]
        return Batch(clean, assemble_conditions(conditions, clean), gather(weights) if weights else None)

    def _get(self, index: int) -> _Latents:
        found = self._kept.get(index)
        if found is None:
            found = self._encode(self._data[index])
            if found.nbytes <= self._room:
                self._room -= found.nbytes
                self._kept[index] = found
        return found

    @torch.no_grad()
    def _encode(self, sample: Mapping[str, Tensor]) -> _Latents:
        pictures = {key: sample[key].to(self._device) for key in self._keys}
        clean = self._autoencoder.encode(as_video(sample["relit"].to(self._device), "relit", self._autoencoder))
        conditions = encode_conditions(pictures, self._keys, self._autoencoder)
        # f2: a latent's spread is 0.5, so half precision costs 2e-4 of it
        halves = {name: latents.half().cpu() for name, latents in conditions.items()}
        return _Latents(clean.half().cpu(), halves, self._weight(sample, clean.shape))

    def _weight(self, sample: Mapping[str, Tensor], shape: torch.Size) -> Tensor | None:
        config = self._config
        parts = []
        if config.background_weight < 1:
            parts.append(config.background_weight + (1 - config.background_weight) * sample["mask"].float())
        if config.motion_weights:
            parts.append(sample[weight_key(config)].float())
        if not parts:
            return None
        weight = parts[0] * parts[1] if len(parts) == 2 else parts[0]
        return interpolate(weight.transpose(0, 1)[None], tuple(shape[2:]), mode="area")


def sample_order(step: int, batch: int, count: int, seed: int) -> list[int]:
    """Indices of one step's samples: every epoch is its own permutation, known from the step alone."""
    indices = []
    for position in range(step * batch, (step + 1) * batch):
        epoch, place = divmod(position, count)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
        indices.append(int(order[place]))
    return indices

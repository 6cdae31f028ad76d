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

SIGNED = ("normal", "env_ldr", "env_log", "env_direction")  # sample keys in -1..1; the others are 0..1
LOSS_WEIGHT = "loss_weight"
_LIGHT: dict[str, Condition] = {"env_ldr": "env_ldr", "env_log": "env_log", "env_direction": "env_nrm"}
_BUFFERS: dict[str, Condition] = {
    **{"flat": "basecolor", "basecolor": "basecolor", "normal": "normal"},
    **{"metallic": "metallic", "roughness": "roughness", "depth": "depth"},
}


def flat_key(config: RelighterConfig) -> str:
    """The sample key of the flat picture that is read."""
    return "flat_compensated" if config.use_compensated else "flat"


def weight_key(config: RelighterConfig) -> str:
    """The sample key that says how far each pixel of the flat picture that is read agrees with the relit one."""
    return "weight_compensated" if config.use_compensated else "weight"


def condition_keys(config: RelighterConfig) -> dict[str, Condition]:
    """The sample keys that become conditions: buffers, then the light."""
    buffers = {(flat_key(config) if key == "flat" else key): _BUFFERS[key] for key in config.buffers}
    return buffers | {key: _LIGHT[key] for key in config.env}


def input_keys(config: RelighterConfig) -> tuple[str, ...]:
    """The sample keys that a trained relighter reads: conditions, and the mask that puts flat before black."""
    return (*condition_keys(config), *(("mask_flat",) if config.masks == "black" else ()))


def sample_keys(config: RelighterConfig) -> tuple[str, ...]:
    """All keys of a dataset's samples that training reads."""
    wanted = {
        "relit": True,
        "mask": config.background_weight < 1 or config.masks == "black",
        "mask_flat": config.masks != "off" and config.drivers is None,
        weight_key(config): config.motion_weights,
        "env_ldr": config.light_variants > 1,
        "env_log": config.light_variants > 1,
        **{key: config.drivers is not None for key in ("session", "camera", "pair")},
    }
    return tuple(dict.fromkeys((*condition_keys(config), *(key for key, is_read in wanted.items() if is_read))))


def before_black(inputs: Mapping[str, Tensor], config: RelighterConfig) -> dict[str, Tensor]:
    """Inputs of a trained relighter with flat before black where it was trained so, by ``mask_flat``."""
    if config.masks != "black":
        return dict(inputs)
    flat = flat_key(config)
    return {**inputs, flat: inputs[flat] * inputs["mask_flat"]}


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


def encode_sample(
    sample: Mapping[str, Tensor], config: RelighterConfig, autoencoder: Autoencoder, device: str
) -> Batch:
    """One prepared sample as a batch of one on the device, float32."""
    keys = condition_keys(config)
    pictures = {key: sample[key].to(device) for key in keys}
    clean = autoencoder.encode(as_video(sample["relit"].to(device), "relit", autoencoder))
    conditions = assemble_conditions(encode_conditions(pictures, keys, autoencoder), clean)
    weight = latent_weight(sample, clean)
    return Batch(clean, conditions, None if weight is None else weight.to(device))


def latent_weight(sample: Mapping[str, Tensor], clean: Tensor) -> Tensor | None:
    """A prepared sample's ``loss_weight`` at the places of its latents, shape (1, 1, t, h, w); None: it has none."""
    if LOSS_WEIGHT not in sample:
        return None
    return interpolate(sample[LOSS_WEIGHT].float().transpose(0, 1)[None], tuple(clean.shape[2:]), mode="area")


def channel_weight(autoencoder: Autoencoder, config: RelighterConfig) -> Tensor:
    """How much each latent channel counts in the loss, shape (c,), mean 1, on the CPU."""
    scale = autoencoder.channel_scale().cpu() ** config.picture_weighting
    return scale / scale.mean()


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
        return _Latents(clean.half().cpu(), halves, latent_weight(sample, clean))

"""Encoded samples, so that the autoencoder runs once: in memory, and on disk where a training shall not do it again.

What is on disk and cannot be believed (`latent_files`) is encoded anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from litdome.datasets.withdrawal import LATENTS
from litdome.train_plugins.protocol import DatasetView, Run
from litdome.train_plugins.relighter.autoencoder import Autoencoder
from litdome.train_plugins.relighter.batches import Samples, as_video, condition_keys, latent_weight
from litdome.train_plugins.relighter.conditions import Condition, assemble_conditions
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.latent_files import LatentFiles, bytes_of, digest, raw_bytes
from litdome.train_plugins.relighter.objective import Batch
from litdome.train_plugins.relighter.selection import need_baked

CLEAN, WEIGHT = "clean", "weight"
SHARED: tuple[Condition, ...] = ("env_ldr", "env_log", "env_nrm")  # many samples have the same


@dataclass(frozen=True)
class _Latents:
    """One sample.

    Attributes:
        tensors: clean, weight where there is one, and the conditions that are its own, float16 on the CPU.
        lights: Conditions that it shares with others, each by its content.
    """

    tensors: dict[str, Tensor]
    lights: dict[str, str]


class LatentCache:
    """Encoded samples; a light that many of them share is encoded and kept once.

    Args:
        data: What is encoded.
        config: Of the training; ``latent_cache_mb`` limits what is kept in memory.
        autoencoder: On ``device``.
        device: Where encoding runs and batches go.
        folder: Where to keep them on disk too, or None.
        identity: Changes whenever any sample of ``data`` does.
    """

    def __init__(
        self,
        data: Samples,
        config: RelighterConfig,
        autoencoder: Autoencoder,
        device: str,
        *,
        folder: Path | None = None,
        identity: str = "",
    ) -> None:
        self._data, self._autoencoder, self._device = data, autoencoder, device
        self._keys = condition_keys(config)
        self._kept: dict[int, _Latents] = {}
        self._lights: dict[str, Tensor] = {}
        self._room = config.latent_cache_mb * 2**20
        self._files: LatentFiles | None = None
        if folder is not None:
            made_of = digest([identity.encode(), *bytes_of(vars(autoencoder)), repr(self._keys).encode()])
            self._files = LatentFiles(folder / made_of, made_of)

    def batches(self, indices: Sequence[int]) -> list[tuple[list[int], Batch]]:
        """The samples as batches, one for each size and length among them, with their places among ``indices``."""
        groups: dict[torch.Size, list[int]] = defaultdict(list)
        found = [self._get(index) for index in indices]
        for place, (latents, _) in enumerate(found):
            groups[latents.tensors[CLEAN].shape].append(place)
        return [(places, self._collate([found[place] for place in places])) for places in groups.values()]

    def _collate(self, group: Sequence[tuple[_Latents, Mapping[str, Tensor]]]) -> Batch:
        def gather(parts: Iterable[Tensor]) -> Tensor:
            return torch.cat(list(parts)).to(self._device).float()

        clean = gather(latents.tensors[CLEAN] for latents, _ in group)
        conditions: dict[Condition, Tensor] = {
            name: gather({**latents.tensors, **lights}[name] for latents, lights in group)
            for name in self._keys.values()
        }
        weighted = WEIGHT in group[0][0].tensors
        weight = gather(latents.tensors[WEIGHT] for latents, _ in group) if weighted else None
        return Batch(clean, assemble_conditions(conditions, clean), weight)

    def _get(self, index: int) -> tuple[_Latents, dict[str, Tensor]]:
        """A sample's latents, and those of its light: from memory, from disk, or encoded."""
        if index in self._kept:
            latents = self._kept[index]
            return latents, {name: self._lights[light] for name, light in latents.lights.items()}
        latents, lights = self._stored(index) or self._encode(index)
        new = {light: lights[name] for name, light in latents.lights.items() if light not in self._lights}
        size = sum(tensor.nbytes for tensor in (*latents.tensors.values(), *new.values()))
        if size <= self._room:
            self._room -= size
            self._kept[index] = latents
            self._lights |= new
        return latents, lights

    def _stored(self, index: int) -> tuple[_Latents, dict[str, Tensor]] | None:
        if self._files is None:
            return None
        found = self._files.read(_sample_name(index))
        if found is None:
            return None
        tensors, lights = found
        shown = {name: self._light(light) for name, light in lights.items()}
        whole = {name: light for name, light in shown.items() if light is not None}
        return (_Latents(tensors, lights), whole) if len(whole) == len(shown) else None

    def _light(self, light: str) -> Tensor | None:
        if light in self._lights:
            return self._lights[light]
        found = None if self._files is None else self._files.read(_light_name(light))
        return None if found is None else found[0]["latents"]

    def _encode(self, index: int) -> tuple[_Latents, dict[str, Tensor]]:
        sample = self._data[index]
        tensors = {CLEAN: self._latents_of(sample["relit"], "relit")}
        lights: dict[str, str] = {}
        shown: dict[str, Tensor] = {}
        for key, name in self._keys.items():
            if name not in SHARED:
                tensors[name] = self._latents_of(sample[key], key)
                continue
            lights[name] = light = digest([key.encode(), repr(sample[key].shape).encode(), raw_bytes(sample[key])])
            found = self._light(light)
            shown[name] = self._latents_of(sample[key], key) if found is None else found
            if found is None and self._files is not None:
                self._files.write(_light_name(light), {"latents": shown[name]}, {})
        weight = latent_weight(sample, tensors[CLEAN])
        if weight is not None:
            tensors[WEIGHT] = weight
        if self._files is not None:
            self._files.write(_sample_name(index), tensors, lights)
        return _Latents(tensors, lights), shown

    @torch.no_grad()
    def _latents_of(self, pictures: Tensor, key: str) -> Tensor:
        video = as_video(pictures.to(self._device), key, self._autoencoder)
        # f2: a latent's spread is 0.5, so half precision costs 2e-4 of it
        return self._autoencoder.encode(video).half().cpu()


def cache_folder(data: DatasetView, config: RelighterConfig, run: Run) -> Path | None:
    """Where a training keeps encoded samples on disk; None where it does not.

    Raises:
        PluginError: Beside a dataset that is not on disk.
    """
    if config.latent_cache == "memory":
        return None
    if config.latent_cache == "run":
        return run.path / "latents"
    path = need_baked(data, "latent_cache = dataset").path
    return path.with_name(path.name + LATENTS)


def _sample_name(index: int) -> str:
    return f"sample-{index:06d}.safetensors"


def _light_name(light: str) -> str:
    return f"light-{light}.safetensors"

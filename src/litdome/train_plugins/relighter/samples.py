"""What one training reads of a dataset: single pairs, clips or both, prepared as asked, and how often each is drawn."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from litdome.datasets.loading import Clips, RandomPairs
from litdome.datasets.order import ResumableSampler
from litdome.datasets.views import DatasetView as BakedView
from litdome.errors import PluginError
from litdome.train_plugins.drivers import Drivers, UInt8Array
from litdome.train_plugins.protocol import DatasetView
from litdome.train_plugins.relighter.augment import LightVariants
from litdome.train_plugins.relighter.batches import Samples, sample_keys
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.masking import masked
from litdome.train_plugins.relighter.selection import Weights, need_baked, sampling_weights, selected

# settings that decide what a prepared sample holds, beside the dataset and the seed
PREPARED_BY = {
    *("buffers", "env", "masks", "drivers", "use_compensated", "background_weight", "motion_weights", "max_shift_px"),
    *("light_variants", "clip_frames", "clip_share", "validation"),
}


@dataclass(frozen=True)
class TrainingSamples:
    """Prepared samples in a fixed order.

    Attributes:
        raw: As recorded or as an avatar shows them, with their variants.
        config: How they are masked.
        seed: Of random backgrounds and of the order.
        weights: How often each is drawn, shape (sample,); None: equally often.
        identity: Changes whenever any sample does.
    """

    raw: Samples
    config: RelighterConfig
    seed: int
    weights: Weights | None
    identity: str

    def __len__(self) -> int:
        return len(self.raw)

    def __getitem__(self, index: int) -> Mapping[str, Tensor]:
        """The keys of the conditions, ``relit``, and ``loss_weight`` (t, 1, h, w) where places count differently."""
        return masked(self.raw[index], self.config, seed=(self.seed, index))

    def order(self) -> ResumableSampler:
        """In which order they are drawn: ``order().pick(n)`` is the n-th since training began."""
        return ResumableSampler(self, self.seed, self.weights)


def training_samples(data: DatasetView, config: RelighterConfig, seed: int) -> TrainingSamples:
    """Select and prepare what a training reads.

    Raises:
        PluginError: Nothing is left, or the settings ask for what this dataset does not have.
        InputError: Drivers of another dataset, or in-fold.
    """
    data = selected(data, config)
    parts = [read_samples(data, config, length) for length in _lengths(config)]
    for part, length in zip(parts, _lengths(config), strict=True):
        if len(part) == 0:
            what = "sample" if length == 1 else f"clip of {length} pictures"
            raise PluginError(f"relighter: no {what} in this split", hint="--set clip_frames=1, or a larger dataset")
    raw: Samples = Joined(tuple(parts))
    weights = _weights(parts, sampling_weights(data, config), config)
    if config.light_variants > 1:
        raw = LightVariants(raw, config.light_variants, seed)
        weights = None if weights is None else np.tile(weights, config.light_variants)
    return TrainingSamples(raw, config, seed, weights, _identity(data, config, seed))


def read_samples(data: DatasetView, config: RelighterConfig, length: int = 1, extra: Sequence[str] = ()) -> Samples:
    """Single samples of a view, or its clips of ``length``; only what training reads and ``extra``, and drivers in
    place of flat pictures where the configuration names them."""
    keys = tuple(dict.fromkeys((*sample_keys(config), *extra)))
    stride = max(1, length // 2)
    found: Samples
    if isinstance(data, BakedView):
        found = RandomPairs(data, keys) if length == 1 else Clips(data, length, stride, keys)
    else:
        found = data if length == 1 else data.clips(length, stride)
    if config.drivers is None:
        return found
    baked, drivers = need_baked(data, "drivers"), Drivers.open(Path(config.drivers))
    drivers.need_for(baked)
    return Driven(found, drivers, baked.attrs["sessions"])


@dataclass(frozen=True)
class Joined:
    """Several lists of samples one after the other."""

    parts: tuple[Samples, ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, index: int) -> Mapping[str, Tensor]:
        ends = list(accumulate(map(len, self.parts)))
        part = bisect_right(ends, index)
        return self.parts[part][index - (ends[part - 1] if part else 0)]


@dataclass(frozen=True)
class Driven:
    """Samples whose flat pictures are an avatar's, before black, and whose flat masks are their coverage."""

    samples: Samples
    drivers: Drivers
    sessions: Sequence[Mapping[str, Any]]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Mapping[str, Tensor]:
        sample = dict(self.samples[index])
        ids = (sample[key].tolist() for key in ("session", "camera", "pair"))
        shown = [self._picture(*each) for each in zip(*ids, strict=True)]
        picture = torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2).float() / 255
        sample["mask_flat"] = picture[:, 3:]
        sample["flat"] = picture[:, :3] * picture[:, 3:]
        return sample

    def _picture(self, session: int, camera: int, pair: int) -> UInt8Array:
        about = self.sessions[session]
        return self.drivers.read(str(about["name"]), about["cameras"][camera], pair)


def _lengths(config: RelighterConfig) -> tuple[int, ...]:
    if config.clip_frames == 1:
        return (1,)
    return (config.clip_frames,) if config.clip_share == 1 else (1, config.clip_frames)


def _weights(parts: Sequence[Samples], single: Weights | None, config: RelighterConfig) -> Weights | None:
    """Weights of all parts: of a clip, those of its least wanted pair; of clips together, ``clip_share``."""
    if len(parts) == 1 and single is None:
        return None
    found = []
    for part, length in zip(parts, _lengths(config), strict=True):
        weights = np.ones(len(part))
        if single is not None:
            clips = part.samples if isinstance(part, Driven) else part
            weights = _of_clips(clips, single) if isinstance(clips, Clips) else single
        share = 1.0 if len(parts) == 1 else config.clip_share if length > 1 else 1 - config.clip_share
        if not weights.any():
            raise PluginError("relighter: no clip is reliable as a whole", hint="--set reliability_sampling=false")
        found.append(weights * (share / weights.sum()))
    return np.concatenate(found)


def _of_clips(clips: Clips, single: Weights) -> Weights:
    return np.asarray(single[clips.starts[:, None] + np.arange(clips.length)].min(axis=1))


def _identity(data: DatasetView, config: RelighterConfig, seed: int) -> str:
    drivers = "" if config.drivers is None else Drivers.open(Path(config.drivers)).fingerprint
    rows = data.rows if isinstance(data, BakedView) else None
    prepared = config.model_dump_json(include=PREPARED_BY)
    return sha256(f"{data.fingerprint} {rows} {prepared} {seed} {drivers}".encode()).hexdigest()

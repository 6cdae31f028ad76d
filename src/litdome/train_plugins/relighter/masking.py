"""What stands behind the person in training: what was recorded, black, or anything; and what the loss counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from litdome.train_plugins.relighter.batches import LOSS_WEIGHT, before_black, flat_key, weight_key
from litdome.train_plugins.relighter.config import RelighterConfig

RANDOM_CELLS = (1, 8)  # of a random background, a side: from one colour to a coarse pattern


def masked(sample: Mapping[str, Tensor], config: RelighterConfig, seed: Sequence[int]) -> dict[str, Tensor]:
    """A sample as training takes it.

    Args:
        sample: The keys of `sample_keys`.
        config: ``masks = black`` puts flat and relit before black, each by its own mask. ``random`` puts flat before a
            random background and leaves relit as recorded: what stood behind the person cannot be known from the
            input, so the loss counts the person of the flat mask only, and no relit mask is read.
        seed: Of the random background.

    Returns:
        The same, and ``loss_weight`` (t, 1, h, w), 0..1, where places count differently.
    """
    found, flat = dict(sample), flat_key(config)
    weights = []
    if config.masks == "black":
        found = before_black(found, config)
        found["relit"] = sample["relit"] * sample["mask"]
    elif config.masks == "random":
        height, width = sample[flat].shape[-2:]
        behind = random_background(height, width, seed)
        found[flat] = sample[flat] * sample["mask_flat"] + behind * (1 - sample["mask_flat"])
        weights.append(sample["mask_flat"])
    if config.background_weight < 1:
        weights.append(config.background_weight + (1 - config.background_weight) * sample["mask"])
    if config.motion_weights:
        weights.append(sample[weight_key(config)])
    if weights:
        found[LOSS_WEIGHT] = torch.stack([weight.float() for weight in weights]).prod(dim=0)
    return found


def random_background(height: int, width: int, seed: Sequence[int]) -> Tensor:
    """A picture of random colours, shape (3, height, width), 0..1: a coarse grid of them, smoothly enlarged."""
    rng = np.random.default_rng(tuple(seed))
    cells = int(rng.integers(*RANDOM_CELLS, endpoint=True))
    grid = rng.random((cells, cells, 3), np.float32)
    enlarged = cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR)
    return torch.from_numpy(np.ascontiguousarray(enlarged.transpose(2, 0, 1)))

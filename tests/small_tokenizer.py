"""The small tokenizer of the parity numbers: 8 pictures a latent frame, statistics that differ by frame."""

from __future__ import annotations

import torch
from conftest import FIXTURES, need
from safetensors.torch import load_file

from litdome.train_plugins.relighter.autoencoder import CosmosAutoencoder
from litdome.train_plugins.relighter.convert_tokenizer import build_tokenizer


def small_tokenizer() -> CosmosAutoencoder:
    """Random weights in the original's layout."""
    folder = need(FIXTURES / "relighter")
    stats = [torch.load(folder / name, weights_only=True) for name in ("vae_mean_std.pt", "vae_image_mean_std.pt")]
    return CosmosAutoencoder(build_tokenizer(load_file(folder / "vae_state.safetensors")), stats[0], stats[1])

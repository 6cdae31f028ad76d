"""Tiles make the picture that the whole makes, where the autoencoder looks no further than a tile."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from litdome.train_plugins.relighter.autoencoder import HaarAutoencoder
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.latent_files import bytes_of, digest
from litdome.train_plugins.relighter.model import open_trainable
from litdome.train_plugins.relighter.tiling import TiledAutoencoder

VIDEO = torch.rand(1, 3, 2, 104, 148, generator=torch.Generator().manual_seed(0)) * 2 - 1


class Counting(HaarAutoencoder):
    """Remembers the largest picture that it saw, and can be made to shift each tile's brightness."""

    largest = 0
    shift = 0.0

    def decode(self, latents: Tensor) -> Tensor:
        self.largest = max(self.largest, latents.shape[-1], latents.shape[-2])
        self.shift += 0.1
        return super().decode(latents) + self.shift


@pytest.mark.parametrize("tile_px", [32, 60, 1000])
def test_tiles_of_a_local_autoencoder_are_exact(tile_px: int) -> None:
    whole = HaarAutoencoder()
    tiled = TiledAutoencoder(HaarAutoencoder(), tile_px)
    latents = tiled.encode(VIDEO)
    assert torch.allclose(latents, whole.encode(VIDEO), atol=1e-5)
    assert torch.allclose(tiled.decode(latents), VIDEO, atol=1e-5)


def test_no_tile_is_larger_than_asked_for() -> None:
    inner = Counting()
    TiledAutoencoder(inner, 40).decode(HaarAutoencoder().encode(VIDEO))
    assert inner.largest == 10


def test_tiles_that_disagree_fade_into_each_other() -> None:
    made = TiledAutoencoder(Counting(), 64).decode(HaarAutoencoder().encode(VIDEO))
    added = (made - VIDEO)[0, 0, 0]
    steps = torch.maximum(added.diff(dim=0).abs().max(), added.diff(dim=1).abs().max())
    assert added.max() - added.min() > 0.3  # they do disagree
    assert steps < 0.1 * (added.max() - added.min())  # but there is no edge


def test_a_training_uses_tiles_where_they_are_asked_for() -> None:
    opened = open_trainable(RelighterConfig(tile_px=64), 0).autoencoder
    assert isinstance(opened, TiledAutoencoder)
    assert not isinstance(open_trainable(RelighterConfig(), 0).autoencoder, TiledAutoencoder)
    # what latents are kept by knows the tiles, and is the same for the same
    same, other = open_trainable(RelighterConfig(tile_px=64), 0).autoencoder, TiledAutoencoder(HaarAutoencoder(), 80)
    digests = {name: digest(bytes_of(vars(one))) for name, one in (("a", opened), ("b", same), ("c", other))}
    assert digests["a"] == digests["b"] != digests["c"]

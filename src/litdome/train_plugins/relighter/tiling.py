"""An autoencoder that works on one tile of the picture at a time, for GPUs that cannot hold all of it.

diffusers' ``AutoencoderKLCosmos.enable_tiling`` sets a flag that nothing reads (0.42.1), so this is ours. Tiles are not
exact for Cosmos and Wan, whose norms and attention see the whole picture (docs/weights.md has numbers); in time nothing
is cut: clips come in chunks already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from litdome.train_plugins.relighter.autoencoder import Autoencoder


class TiledAutoencoder:
    """Another autoencoder by tiles that overlap by a quarter and fade into each other, see `Autoencoder`.

    Args:
        inner: The autoencoder.
        tile_px: Largest side of a tile, in pixels; rounded down to whole latents, at least 8 of them.
    """

    def __init__(self, inner: Autoencoder, tile_px: int) -> None:
        self.inner = inner
        self.channels, self.spatial, self.temporal = inner.channels, inner.spatial, inner.temporal
        self._tile = max(8, tile_px // inner.spatial)

    def encode(self, video: Tensor) -> Tensor:
        """See `Autoencoder.encode`."""
        side = self.spatial
        height, width = video.shape[-2] // side, video.shape[-1] // side

        def encode(rows: slice, columns: slice) -> Tensor:
            return self.inner.encode(video[..., _scaled(rows, side), _scaled(columns, side)])

        return self._blend(encode, height, width, 1)

    def decode(self, latents: Tensor) -> Tensor:
        """See `Autoencoder.decode`."""

        def decode(rows: slice, columns: slice) -> Tensor:
            return self.inner.decode(latents[..., rows, columns])

        return self._blend(decode, latents.shape[-2], latents.shape[-1], self.spatial)

    def restandardise(self, latents: Tensor, at: int, to: int) -> Tensor:
        """See `Autoencoder.restandardise`."""
        return self.inner.restandardise(latents, at, to)

    def channel_scale(self) -> Tensor:
        """See `Autoencoder.channel_scale`."""
        return self.inner.channel_scale()

    def to(self, device: str) -> TiledAutoencoder:
        """See `Autoencoder.to`."""
        self.inner = self.inner.to(device)
        return self

    def _blend(self, make: Callable[[slice, slice], Tensor], height: int, width: int, scale: int) -> Tensor:
        """Tiles of a picture of that many latents, each ``scale`` times as large when made, faded into each other."""
        total, weights = torch.empty(0), torch.empty(0)
        for rows in _tiles(height, self._tile):
            for columns in _tiles(width, self._tile):
                made = make(rows, columns)
                if not total.numel():
                    total = made.new_zeros(*made.shape[:-2], height * scale, width * scale)
                    weights = made.new_zeros(height * scale, width * scale)
                weight = torch.outer(_fade(rows, height, scale), _fade(columns, width, scale)).to(made)
                down, across = _scaled(rows, scale), _scaled(columns, scale)
                total[..., down, across] += made * weight
                weights[down, across] += weight
        return total / weights


def _tiles(length: int, tile: int) -> Iterator[slice]:
    """Tiles that cover a side, neighbours sharing a quarter or more."""
    if length <= tile:
        yield slice(0, length)
        return
    step = tile - tile // 4
    for start in (*range(0, length - tile, step), length - tile):
        yield slice(start, start + tile)


def _scaled(place: slice, scale: int) -> slice:
    return slice(place.start * scale, place.stop * scale)


def _fade(place: slice, length: int, scale: int) -> Tensor:
    """Weight of a tile along one side: rising over a quarter where it has a neighbour, else 1; never 0."""
    size = (place.stop - place.start) * scale
    ramp = max(1, size // 4)
    rise = ((torch.arange(size) + 0.5) / ramp).clamp(max=1)
    before = rise if place.start > 0 else torch.ones(size)
    after = rise.flip(0) if place.stop < length else torch.ones(size)
    return before * after

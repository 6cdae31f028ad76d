"""From pictures to latents and back: the original's tokenizer, and a fixed Haar transform for small networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from litdome.errors import InputError
from litdome.train_plugins.relighter.sampler import SIGMA_DATA

if TYPE_CHECKING:
    from diffusers import AutoencoderKLCosmos


class Autoencoder(Protocol):
    """What the relighter needs of an autoencoder.

    Attributes:
        channels: Latent channels.
        spatial, temporal: Pixels and frames per latent; t frames give (t - 1) / temporal + 1 latents.
    """

    channels: int
    spatial: int
    temporal: int

    def encode(self, video: Tensor) -> Tensor:
        """Latents with a standard deviation near 0.5 of pictures in -1..1, shape (b, 3, t, y, x)."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures near -1..1 (not clamped) of latents, shape (b, c, t, h, w)."""
        ...

    def restandardise(self, latents: Tensor, at: int, to: int) -> Tensor:
        """Latent frames ``at``, ``at + 1``, ... of a video as they would be numbers ``to``, ``to + 1``, ... of one."""
        ...

    def channel_scale(self) -> Tensor:
        """How much a unit of each latent channel changes the picture, shape (c,), float32, mean 1."""
        ...

    def to(self, device: str) -> Autoencoder:
        """The same autoencoder on a device."""
        ...


# Of the 16 bands of a two-level Haar transform of pictures in -1..1, measured on lit procedural objects: level 2's
# average and differences (across, down, both), and within each level 1's; the average band also has a mean.
HAAR_MEAN = -0.5
HAAR_STD = (1.9, 0.14, 0.14, 0.055, 0.28, 0.12, 0.08, 0.06, 0.28, 0.08, 0.12, 0.06, 0.13, 0.09, 0.09, 0.07)


class HaarAutoencoder:
    """A fixed, exactly invertible two-level Haar transform: 4x4 pixels become 48 channels, each standardised.

    Args:
        mean, std: Of each of the 16 bands, the same for the three colours.
    """

    channels = 48
    spatial = 4
    temporal = 1

    def __init__(self, mean: Sequence[float] = (HAAR_MEAN, *[0.0] * 15), std: Sequence[float] = HAAR_STD) -> None:
        self._mean = torch.tensor(mean).repeat_interleave(3)[None, :, None, None, None]
        self._std = torch.tensor(std).repeat_interleave(3)[None, :, None, None, None]

    def encode(self, video: Tensor) -> Tensor:
        """See `Autoencoder.encode`; height and width are multiples of 4."""
        bands = _haar_bands(_haar_bands(video))
        return (bands - self._mean) / self._std * SIGMA_DATA

    def decode(self, latents: Tensor) -> Tensor:
        """See `Autoencoder.decode`."""
        bands = latents / SIGMA_DATA * self._std + self._mean
        return _haar_pictures(_haar_pictures(bands))

    def restandardise(self, latents: Tensor, at: int, to: int) -> Tensor:
        """See `Autoencoder.restandardise`: all frames are standardised alike."""
        return latents

    def channel_scale(self) -> Tensor:
        """See `Autoencoder.channel_scale`: the bands' standard deviations, as the transform is orthonormal."""
        return self._std.flatten() / self._std.mean()

    def to(self, device: str) -> HaarAutoencoder:
        """See `Autoencoder.to`."""
        self._mean, self._std = self._mean.to(device), self._std.to(device)
        return self


def _haar_bands(video: Tensor) -> Tensor:
    """One orthonormal Haar step on all channels: (b, c, t, y, x) to (b, 4c, t, y/2, x/2), low band's channels first."""
    a, b = video[..., 0::2, 0::2], video[..., 0::2, 1::2]
    c, d = video[..., 1::2, 0::2], video[..., 1::2, 1::2]
    return torch.cat([a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d], dim=1) / 2


def _haar_pictures(bands: Tensor) -> Tensor:
    """Inverse of `_haar_bands`."""
    s, h, v, d = bands.chunk(4, dim=1)
    top = torch.stack([s + h + v + d, s - h + v - d], dim=-1).flatten(-2)
    bottom = torch.stack([s + h - v - d, s - h - v + d], dim=-1).flatten(-2)
    return torch.stack([top, bottom], dim=-2).flatten(-3, -2) / 2


class CosmosAutoencoder:
    """The original's tokenizer in diffusers, with its latent statistics.

    Args:
        model: The tokenizer, float32.
        video_stats: Mean and standard deviation, shape (channels * latent frames,): per channel and latent frame.
        image_stats: Mean and standard deviation, shape (channels,), for single pictures.
        dtype: Its precision on a GPU; on a CPU, where torch cannot pool bfloat16, it stays float32.
    """

    def __init__(
        self,
        model: AutoencoderKLCosmos,
        video_stats: tuple[Tensor, Tensor],
        image_stats: tuple[Tensor, Tensor],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.model, self._dtype = model, dtype
        config = self.model.config
        self.channels: int = config.latent_channels
        self.spatial: int = config.spatial_compression_ratio
        self.temporal: int = config.temporal_compression_ratio
        self._video = tuple(value.float().reshape(1, self.channels, -1, 1, 1) for value in video_stats)
        self._image = tuple(value.float().reshape(1, self.channels, 1, 1, 1) for value in image_stats)

    def encode(self, video: Tensor) -> Tensor:
        """See `Autoencoder.encode`."""
        latents: Tensor = self.model.encode(video.to(self.model.dtype)).latent_dist.mode()
        mean, std = self._stats(latents.shape[2])
        return (latents.to(video.dtype) - mean) / std * SIGMA_DATA

    def decode(self, latents: Tensor) -> Tensor:
        """See `Autoencoder.decode`."""
        mean, std = self._stats(latents.shape[2])
        pictures: Tensor = self.model.decode((latents / SIGMA_DATA * std + mean).to(self.model.dtype)).sample
        return pictures.to(latents.dtype)

    def restandardise(self, latents: Tensor, at: int, to: int) -> Tensor:
        """See `Autoencoder.restandardise`."""
        count = latents.shape[2]
        mean, std = self._stats(max(at, to) + count)
        raw = latents * std[:, :, at : at + count] + mean[:, :, at : at + count] * SIGMA_DATA
        return (raw - mean[:, :, to : to + count] * SIGMA_DATA) / std[:, :, to : to + count]

    def channel_scale(self) -> Tensor:
        """See `Autoencoder.channel_scale`: every channel counts the same."""
        return torch.ones(self.channels)

    def to(self, device: str) -> CosmosAutoencoder:
        """See `Autoencoder.to`."""
        # diffusers' own .to warns of casts even when there is nothing to keep in float32
        nn.Module.to(self.model, device, torch.float32 if device == "cpu" else self._dtype)
        self._video = tuple(value.to(device) for value in self._video)
        self._image = tuple(value.to(device) for value in self._image)
        return self

    def _stats(self, frames: int) -> tuple[Tensor, Tensor]:
        if frames == 1:
            return self._image[0], self._image[1]
        known = self._video[0].shape[2]
        if frames > known:
            raise InputError(
                f"a clip of {frames} latent frames, the tokenizer knows {known}", hint="use shorter chunks"
            )
        return self._video[0][:, :, :frames], self._video[1][:, :, :frames]

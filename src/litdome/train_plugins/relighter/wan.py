"""Wan 2.1 as a base: diffusers' own folder of a text-to-video model, taught to hear conditions.

It is a flow-matching model: at the share s of noise it sees (1 - s) x + s n of latents x with unit deviation, and gives
the velocity n - x. With s = sigma / (sigma + 1/2) that is the network which `network.RelighterNetwork` is: the same
noisy latents in another scale and the same guess of the clean ones, so training, sampling and rendering do not differ.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor, nn

from litdome.errors import InputError
from litdome.train_plugins.relighter.base_folder import TRANSFORMER, VAE
from litdome.train_plugins.relighter.network import CONDITION_COUNT, SPATIAL_PATCH
from litdome.train_plugins.relighter.sampler import SIGMA_DATA, precondition

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan

TIMESTEPS = 1000.0  # Wan counts the share of noise in these
_LAYERS = r".*blocks\.\d+\.(attn1\.(to_q|to_k|to_v|to_out\.0)|ffn\.net\.(0\.proj|2))|.*patch_embedding"


class WanRelighter(WanTransformer3DModel):  # type: ignore[misc]  # diffusers is untyped
    """Wan's transformer with the inputs and the output of `RelighterNetwork`; `load_wan` opens it.

    Attributes:
        lora_targets: Layers that take an adapter; the widened input layer always does, as conditions enter there.
    """

    lora_targets: ClassVar[dict[str, str]] = {
        "attention": _LAYERS,
        "all": _LAYERS + r"|.*condition_embedder\.time_(proj|embedder\.linear_[12])|.*proj_out",
    }

    @property
    def input_weight(self) -> Tensor:
        """Of the first layer: its device and precision are the network's."""
        weight: Tensor = self.patch_embedding.weight
        return weight

    @property
    def condition_channels(self) -> int:
        """Channels of all conditions."""
        return int(self.config.in_channels - self.config.out_channels)

    @property
    def transformer_blocks(self) -> nn.ModuleList:
        """The blocks, by the name that Cosmos gives them."""
        blocks: nn.ModuleList = self.blocks
        return blocks

    def forward(self, latents: Tensor, noise_level: Tensor, conditions: Tensor) -> Tensor:
        """The output F of EDM's preconditioning, see `RelighterNetwork.forward`.

        Args:
            latents: Noisy latents times c_in, shape (b, c, t, h, w).
            noise_level: c_noise = ln(sigma) / 4, shape (b,), or (b, 1, t, 1, 1) by frame.
            conditions: From `assemble_conditions`, shape (b, 8 * (c + 1), t, h, w).

        Returns:
            Shape of ``latents``, float32.
        """
        sigma = (noise_level.float() * 4).exp().reshape(len(latents), 1, -1, 1, 1)
        scale, share = precondition(sigma), sigma / (sigma + SIGMA_DATA)
        noisy = latents.float() / scale.c_in
        seen = noisy * (1 - share) / SIGMA_DATA
        timestep = share.flatten(1) * TIMESTEPS
        if timestep.shape[1] == 1:
            timestep = timestep[:, 0]
        else:
            timestep = timestep.repeat_interleave(latents.shape[3] * latents.shape[4] // SPATIAL_PATCH**2, dim=1)
        dtype = self.input_weight.dtype
        hidden = torch.cat([seen, conditions.float()], dim=1).to(dtype)
        # one zero token says what 512 of them say: no prompt
        context = hidden.new_zeros(len(latents), 1, self.config.text_dim)
        velocity: Tensor = super().forward(hidden, timestep, context, return_dict=False)[0]
        clean_share = 1 - share - scale.c_skip
        output: Tensor = (clean_share * noisy - SIGMA_DATA * share * velocity.float()) / scale.c_out
        return output


class WanAutoencoder:
    """Wan's autoencoder, see `autoencoder.Autoencoder`; statistics are per channel, for pictures and clips alike.

    Args:
        model: The autoencoder, float32.
        dtype: Its precision on a GPU.
    """

    def __init__(self, model: AutoencoderKLWan, dtype: torch.dtype = torch.float32) -> None:
        self.model, self._dtype = model, dtype
        self.channels: int = model.config.z_dim
        self.spatial: int = model.config.scale_factor_spatial
        self.temporal: int = model.config.scale_factor_temporal
        self._mean = torch.tensor(model.config.latents_mean).reshape(1, -1, 1, 1, 1)
        self._std = torch.tensor(model.config.latents_std).reshape(1, -1, 1, 1, 1)

    def encode(self, video: Tensor) -> Tensor:
        """See `Autoencoder.encode`."""
        latents: Tensor = self.model.encode(video.to(self.model.dtype)).latent_dist.mode()
        return (latents.to(video.dtype) - self._mean) / self._std * SIGMA_DATA

    def decode(self, latents: Tensor) -> Tensor:
        """See `Autoencoder.decode`."""
        pictures: Tensor = self.model.decode(
            (latents / SIGMA_DATA * self._std + self._mean).to(self.model.dtype)
        ).sample
        return pictures.to(latents.dtype)

    def restandardise(self, latents: Tensor, at: int, to: int) -> Tensor:
        """See `Autoencoder.restandardise`: nothing changes."""
        return latents

    def channel_scale(self) -> Tensor:
        """See `Autoencoder.channel_scale`: every channel counts the same."""
        return torch.ones(self.channels)

    def to(self, device: str) -> WanAutoencoder:
        """See `Autoencoder.to`."""
        # diffusers' own .to warns of casts even when there is nothing to keep in float32
        nn.Module.to(self.model, device, torch.float32 if device == "cpu" else self._dtype)
        self._mean, self._std = self._mean.to(device), self._std.to(device)
        return self


def load_wan(folder: Path, dtype: torch.dtype, autoencoder_dtype: torch.dtype) -> tuple[WanRelighter, WanAutoencoder]:
    """Open a folder of Wan 2.1 as diffusers publishes it; what conditions will enter by starts at zero.

    Args:
        folder: With transformer/ and vae/.
        dtype: Precision of the network's weights.
        autoencoder_dtype: Precision of the autoencoder on a GPU.

    Raises:
        InputError: Weights that cannot be read, or of a variant that already hears other conditions.
    """
    from diffusers import AutoencoderKLWan

    try:
        network = WanRelighter.from_pretrained(folder / TRANSFORMER, torch_dtype=dtype)
        model = AutoencoderKLWan.from_pretrained(folder / VAE, torch_dtype=torch.float32)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise InputError(f"{folder}: no Wan that can be read ({str(error).splitlines()[0]})") from error
    channels, config = int(network.config.in_channels), network.config
    if channels != config.out_channels or channels != model.config.z_dim or config.patch_size[1] != SPATIAL_PATCH:
        raise InputError(
            f"{folder}: {channels} channels in, {config.out_channels} out, latents of {model.config.z_dim}",
            hint="take the text-to-video variant, Wan2.1-T2V-1.3B-Diffusers",
        )
    _widen(network, CONDITION_COUNT * (channels + 1))
    for part in (network, model):
        nn.Module.requires_grad_(part, False)
        part.eval()
    return network, WanAutoencoder(model, autoencoder_dtype)


@torch.no_grad()
def _widen(network: WanRelighter, more: int) -> None:
    """Let the first layer hear ``more`` channels, which change nothing until they are trained."""
    old = network.patch_embedding
    wide = nn.Conv3d(old.in_channels + more, old.out_channels, old.kernel_size, old.stride).to(old.weight.dtype)
    wide.weight.zero_()
    wide.weight[:, : old.in_channels] = old.weight
    wide.bias = old.bias
    network.patch_embedding = wide
    network.register_to_config(in_channels=wide.in_channels)

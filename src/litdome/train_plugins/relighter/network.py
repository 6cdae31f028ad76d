"""The forward renderer's network: a diffusers Cosmos transformer with fixed sine positions before every block.

Source: nv-tlabs/cosmos-transfer1-diffusion-renderer general_dit_diffusion_renderer.py, config/base/net.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from diffusers import CosmosTransformer3DModel
from torch import Tensor, nn

from litdome.errors import InputError

CONDITION_COUNT = 8
FPS = 24.0  # what the forward renderer was trained with; positions in time are seconds * 24
SPATIAL_PATCH = 2
_LAYERS = r".*transformer_blocks\.\d+\.(attn1\.(to_q|to_k|to_v|to_out\.0)|ff\.net\.(0\.proj|2)"


@dataclass(frozen=True)
class NetworkShape:
    """Everything that decides the network's tensors.

    Attributes:
        channels: Latent channels of the autoencoder.
        heads, head_dim: Attention heads and channels of each; their product is the width.
        blocks: Transformer blocks.
        adaln_dim: Rank of the modulation by the noise level.
        context_dim: Channels of the text context; 0 leaves cross-attention out, which is exact for a zero context.
        max_size: Largest latent (time, height, width).
    """

    channels: int = 16
    heads: int = 32
    head_dim: int = 128
    blocks: int = 28
    adaln_dim: int = 256
    context_dim: int = 1024
    max_size: tuple[int, int, int] = (128, 240, 240)

    @property
    def condition_channels(self) -> int:
        """Channels of all conditions: latents and one mask channel each."""
        return CONDITION_COUNT * (self.channels + 1)

    @property
    def in_channels(self) -> int:
        """Noisy latents, conditions, padding mask."""
        return self.channels + self.condition_channels + 1


class SineAxisPositions(nn.Module):
    """Positions as [t | h | w] sines and cosines, shape (1, t*h*w, width); not normalised, never trained or stored.

    Source: training/module/position_embedding.py SinCosPosEmbAxis; both spatial parts have width // 6 * 2 channels.
    """

    def __init__(self, width: int, max_size: tuple[int, int, int]) -> None:
        super().__init__()
        spatial = width // 6 * 2
        patches = (max_size[0], max_size[1] // SPATIAL_PATCH, max_size[2] // SPATIAL_PATCH)
        for axis, dim, length in zip("thw", (width - 2 * spatial, spatial, spatial), patches, strict=True):
            self.register_buffer(f"table_{axis}", _sine_table(dim, length), persistent=False)

    def forward(self, latents: Tensor) -> Tensor:
        """Positions of latents, shape (b, c, t, h, w), after 2x2 patches."""
        t, h, w = latents.shape[2], latents.shape[3] // SPATIAL_PATCH, latents.shape[4] // SPATIAL_PATCH
        in_time = self.get_buffer("table_t")[:t, None, None].expand(t, h, w, -1)
        down = self.get_buffer("table_h")[None, :h, None].expand(t, h, w, -1)
        across = self.get_buffer("table_w")[None, None, :w].expand(t, h, w, -1)
        return torch.cat([in_time, down, across], dim=-1).reshape(1, t * h * w, -1).type_as(latents)


def _sine_table(dim: int, length: int) -> Tensor:
    omega = 1.0 / 10000.0 ** (torch.arange(dim // 2, dtype=torch.float64) / (dim / 2))
    angle = torch.outer(torch.arange(length, dtype=torch.float64), omega)
    return torch.cat([angle.sin(), angle.cos()], dim=-1).float()


class _NoNorm(nn.Module):
    """Stands where norm2 was: passes the state on, with a gate of zero."""

    def forward(self, hidden: Tensor, embedded: Tensor, temb: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return hidden, hidden.new_zeros(())


class _NoAttention(nn.Module):
    """Stands where attn2 was: zero, which is what it gives for a zero context (its value projection has no bias)."""

    def forward(
        self, hidden: Tensor, encoder_hidden_states: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> Tensor:
        return hidden.new_zeros(())


class RelighterNetwork(CosmosTransformer3DModel):  # type: ignore[misc]  # diffusers is untyped
    """The forward renderer as a diffusers model; build it with `build_network`.

    Whatever gives F for these inputs can stand in its place, with these attributes (`wan` does).

    Attributes:
        lora_targets: Layers that take an adapter. attn2 never sees a gradient (its value projection meets zeros).
    """

    _keep_in_fp32_modules: list[str] | None = None
    lora_targets: ClassVar[dict[str, str]] = {
        "attention": _LAYERS + ")",
        "all": _LAYERS + r"|norm[13]\.linear_[12])|.*(patch_embed\.proj|norm_out\.linear_[12]|proj_out)",
    }

    @property
    def input_weight(self) -> Tensor:
        """Of the first layer: its device and precision are the network's."""
        weight: Tensor = self.patch_embed.proj.weight
        return weight

    @property
    def condition_channels(self) -> int:
        """Channels of all conditions."""
        return int(self.config.in_channels - self.config.out_channels - 1)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """As every module's; diffusers' own warns of casts even when there is nothing to keep in float32."""
        nn.Module.to(self, *args, **kwargs)
        return self

    def forward(
        self,
        latents: Tensor,
        noise_level: Tensor,
        conditions: Tensor,
        *,
        padding_mask: Tensor | None = None,
        context: Tensor | None = None,
        fps: float = FPS,
    ) -> Tensor:
        """The raw network output F.

        Args:
            latents: Noisy latents times c_in, shape (b, c, t, h, w).
            noise_level: c_noise = ln(sigma) / 4, shape (b,), or (b, 1, t, 1, 1) by frame.
            conditions: From `assemble_conditions`, shape (b, 8 * (c + 1), t, h, w).
            padding_mask: 1 where a picture is padding, shape (b, 1, y, x), any size; None is 0 everywhere.
            context: Text context, shape (b, n, context_dim); None is a zero context.
            fps: Frames per second of the latents' pictures.

        Returns:
            Shape of ``latents``.

        Raises:
            InputError: More latents along an axis than there are positions.
        """
        latents = latents.to(self.patch_embed.proj.weight.dtype)
        batch, _, t, h, w = latents.shape
        largest = self.config.max_size
        if t > largest[0] or h > largest[1] or w > largest[2]:
            raise InputError(
                f"latents of {t}x{h}x{w} (time, y, x), this network has positions for {'x'.join(map(str, largest))}",
                hint="smaller pictures, or a smaller sampling.chunk_frames",
            )
        if padding_mask is None:
            padding = latents.new_zeros(batch, 1, t, h, w)
        else:
            small = nn.functional.interpolate(padding_mask.to(latents.dtype), (h, w), mode="nearest")
            padding = small[:, :, None].expand(batch, 1, t, h, w)
        if context is None:
            context = latents.new_zeros(batch, 1, max(1, self.config.text_embed_dim))
        hidden = torch.cat([latents, conditions.to(latents.dtype), padding], dim=1)
        result: Tensor = super().forward(hidden, noise_level, context, fps=fps, return_dict=False)[0]
        return result

    def leave_out_cross_attention(self) -> None:
        """Drop attn2 and norm2: exact for a zero context, and a sixth of the weights less."""
        for block in self.transformer_blocks:
            block.attn2, block.norm2 = _NoAttention(), _NoNorm()


def transformer_arguments(shape: NetworkShape) -> dict[str, Any]:
    """What diffusers' `CosmosTransformer3DModel` is built with for a shape."""
    return {
        "in_channels": shape.in_channels,
        "out_channels": shape.channels,
        "num_attention_heads": shape.heads,
        "attention_head_dim": shape.head_dim,
        "num_layers": shape.blocks,
        "text_embed_dim": max(1, shape.context_dim),
        "adaln_lora_dim": shape.adaln_dim,
        "max_size": shape.max_size,
        "rope_scale": (1.0, 1.0, 1.0),
        "concat_padding_mask": False,
        "extra_pos_embed_type": "learnable",
    }


def build_network(shape: NetworkShape) -> RelighterNetwork:
    """A network of this shape with random weights, float32 on the CPU, in eval mode.

    The output layer starts at zero, so that an untrained network's first prediction is no noise of its own.
    """
    network = RelighterNetwork(**transformer_arguments(shape))
    network.learnable_pos_embed = SineAxisPositions(shape.heads * shape.head_dim, shape.max_size)
    if shape.context_dim == 0:
        network.leave_out_cross_attention()
    nn.init.zeros_(network.proj_out.weight)
    network.eval()
    return network

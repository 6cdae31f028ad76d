"""Where a small network starts from when nothing was trained before: from a copy of the base colour.

A transformer with the usual random weights spends its first thousands of steps on learning to pass a picture through,
and diffusers' modulation starts with gates near 0, so that its blocks say next to nothing. Here each latent channel
of the base colour, and the coarse ones of every other condition, has a channel of its own; the output layer reads the
base colour back; gates start at 1 or more, shifts and scales at 0.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from litdome.train_plugins.relighter.network import CONDITION_COUNT, SPATIAL_PATCH, NetworkShape, RelighterNetwork

PICTURE_GAIN = 8.0  # of conditions: well above the positions that every block adds
NOISE_GAIN = 2.0
SPREAD = 0.02  # of the inputs that have no channel of their own, times PICTURE_GAIN
COPY_GAIN = 0.8  # about 2 (F is twice the clean latents) over PICTURE_GAIN, times the stream's own spread
GATE = 3.0
CONSTANT = 4.0  # what the detector of the noise level's constant part sees
COARSE_CHANNELS = 3  # of a condition that have a channel of their own, beside the base colour's
SITES = SPATIAL_PATCH**2  # latents of a patch
ORDER = (5, 6, 7, 1, 2, 3, 4)  # conditions after the base colour (0): the light first


@torch.no_grad()
def start_from_copy(network: RelighterNetwork, shape: NetworkShape, channel_scale: Tensor) -> None:
    """Set the weights of a fresh network.

    Args:
        network: Random weights; changed in place.
        shape: Its shape.
        channel_scale: How much each latent channel shows, shape (c,): details of conditions are heard that much less.
    """
    width = shape.heads * shape.head_dim
    _open_gates(network, width)
    weight = torch.randn(width, shape.in_channels, SITES) * (SPREAD * PICTURE_GAIN)
    conditions = weight[:, shape.channels : -1].view(width, CONDITION_COUNT, shape.channels + 1, SITES)
    conditions[:, :, : shape.channels] *= (channel_scale / channel_scale.max())[:, None]
    for channel, (source, gain) in enumerate(_own_channels(shape)[:width]):
        weight[channel] = 0
        weight[channel][source] = gain
    network.patch_embed.proj.weight.copy_(weight.flatten(1))
    network.proj_out.weight.zero_()
    by_site = network.proj_out.weight.view(SITES, shape.channels, width)
    for channel in range(min(width, shape.channels * SITES)):
        by_site[channel % SITES, channel // SITES, channel] = COPY_GAIN


def _own_channels(shape: NetworkShape) -> list[tuple[tuple[int, int | slice], float]]:
    """Inputs (channel, place in the patch) that have a channel of their own, and their gains, the first ones first."""
    stride, sites = shape.channels + 1, range(SITES)

    def of_condition(condition: int, count: int) -> list[tuple[tuple[int, int | slice], float]]:
        first = shape.channels + condition * stride
        return [((first + channel, site), PICTURE_GAIN) for channel in range(count) for site in sites]

    own = of_condition(0, shape.channels)
    for condition in ORDER:
        own += of_condition(condition, min(COARSE_CHANNELS, shape.channels))
    masks = [shape.channels + condition * stride + shape.channels for condition in range(CONDITION_COUNT)]
    own += [((mask, slice(None)), 1 / SITES) for mask in masks]
    return own + [((c, site), NOISE_GAIN) for c in range(min(COARSE_CHANNELS, shape.channels)) for site in sites]


def _open_gates(network: RelighterNetwork, width: int) -> None:
    """Modulation that does not depend on the noise level yet: shift 0, scale 0, gate `GATE`."""
    embedder, cosines = network.time_embed.t_embedder, width // 2
    slow = slice(cosines // 2, cosines)  # cosines of the noise level that stay near 1
    embedder.linear_1.weight[0] = 0
    embedder.linear_1.weight[0, slow] = CONSTANT / (cosines - cosines // 2)
    embedder.linear_2.weight.zero_()
    embedder.linear_2.weight[2 * width :, 0] = GATE / nn.functional.silu(torch.tensor(CONSTANT))
    norms = [norm for block in network.transformer_blocks for norm in (block.norm1, block.norm3)]
    for norm in (*norms, network.norm_out):
        norm.linear_2.weight.zero_()

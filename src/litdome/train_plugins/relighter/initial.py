"""Where a small network starts from when nothing was trained before: from a copy of the base colour.

With the usual random weights a small one spends its first thousands of steps on passing a picture through, and
diffusers' modulation starts with gates near 0, so that its blocks say next to nothing. Here each latent channel of the
base colour, and the coarse ones of every other condition, has a channel of its own in the stream; the output layer
reads the base colour back; gates start open, shifts and scales at 0. In every block two heads look up the light where
the surface faces, and the last block has products of the base colour and what they found. Training moves all of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from litdome.train_plugins.relighter.network import CONDITION_COUNT, SPATIAL_PATCH, NetworkShape, RelighterNetwork

PICTURE_GAIN, NOISE_GAIN = 8.0, 1.0  # pictures well above the positions that every block adds
SPREAD, NOISE_SPREAD = 0.02, 0.1  # of inputs without a channel of their own, times PICTURE_GAIN; the noise's, of that
COPY_GAIN = 0.8  # about 2 (F is twice the clean latents) over PICTURE_GAIN, times the stream's own spread
GATE = 3.0
CONSTANT = 4.0  # what the detector of the noise level's constant part sees
COARSE_CHANNELS = 3  # of a condition that have a channel of their own, beside the base colour's
SITES = SPATIAL_PATCH**2  # latents of a patch
NORMAL, LIGHT, DIRECTION = 1, 5, 7  # among the conditions
ORDER = (LIGHT, LIGHT + 1, DIRECTION, NORMAL, 2, 3, 4)  # of the conditions after the base colour (0) in the stream
# What a query and a key hold beside a direction: a lobe as wide as a matt surface's, and a narrow one.
LOBES = (30.0, 0.0)
LOOKED_UP = 6 * len(LOBES)  # channels that they write: env_ldr and env_log, three colours each
QUIET, HALF = 0.05, 0.5  # of their random queries and keys; of what they read
# The product of base colour and light from differences of GELUs, whose even part is nearly a square.
PRODUCT_IN, PRODUCT_OUT = 0.4, 3.3
LIGHT_SLOPE, LIGHT_LEVEL = 0.1, 8.0  # of the light in the products; the light that gives none
SIGNS = ((1, 1), (-1, 1), (1, -1), (-1, -1))


@torch.no_grad()
def start_from_copy(network: RelighterNetwork, shape: NetworkShape, channel_scale: Tensor) -> None:
    """Set the weights of a fresh network; one that is too narrow for the light starts from the copy alone.

    Args:
        network: Random weights; changed in place.
        shape: Its shape.
        channel_scale: How much each latent channel shows, shape (c,): details of conditions are heard that much less.
    """
    width, own = shape.heads * shape.head_dim, _own_inputs(shape)
    weight = torch.randn(width, shape.in_channels, SITES) * (SPREAD * PICTURE_GAIN)
    weight[:, : shape.channels] *= NOISE_SPREAD
    conditions = weight[:, shape.channels : -1].view(width, CONDITION_COUNT, shape.channels + 1, SITES)
    conditions[:, :, : shape.channels] *= (channel_scale / channel_scale.max())[:, None]
    for channel, (place, gain) in enumerate(own[:width]):
        weight[channel] = 0
        weight[channel][place] = gain
    weight[len(own) : len(own) + LOOKED_UP] = 0
    network.patch_embed.proj.weight.copy_(weight.flatten(1))
    network.proj_out.weight.zero_()
    by_site = network.proj_out.weight.view(SITES, shape.channels, width)
    for channel in range(min(width, shape.channels * SITES)):
        by_site[channel % SITES, channel // SITES, channel] = COPY_GAIN
    _open_gates(network, width)
    if len(own) + LOOKED_UP <= width and shape.heads >= len(LOBES):
        for block in network.transformer_blocks:
            _look_up_light(block.attn1, shape)
        _multiply(network.transformer_blocks[-1].ff, shape)


def coarse_channels(shape: NetworkShape, condition: int) -> slice:
    """Channels of the stream that begin as a condition's coarse latents of a patch; not for the base colour (0)."""
    start = shape.channels * SITES + ORDER.index(condition) * COARSE_CHANNELS * SITES
    return slice(start, start + COARSE_CHANNELS * SITES)


def _own_inputs(shape: NetworkShape) -> list[tuple[tuple[int, int | slice], float]]:
    """Inputs (channel, place in the patch) that have a channel of their own in the stream, in its order, and gains."""

    def places(first: int, count: int, gain: float) -> list[tuple[tuple[int, int | slice], float]]:
        return [((first + channel, site), gain) for channel in range(count) for site in range(SITES)]

    starts = [shape.channels + condition * (shape.channels + 1) for condition in range(CONDITION_COUNT)]
    own = places(starts[0], shape.channels, PICTURE_GAIN)
    for condition in ORDER:
        own += places(starts[condition], COARSE_CHANNELS, PICTURE_GAIN)
    own += [((start + shape.channels, slice(None)), 1 / SITES) for start in starts]  # masks
    return own + places(0, COARSE_CHANNELS, NOISE_GAIN)


def _constant(shape: NetworkShape) -> int:
    """A channel of the stream that is the same everywhere where there is light: env_ldr's mask."""
    return int(coarse_channels(shape, ORDER[-1]).stop) + LIGHT


def _look_up_light(attention: nn.Module, shape: NetworkShape) -> None:
    """Queries are normals, keys the directions of the environment map, values its radiance: the map through a lobe."""
    query, key, value = (attention.get_parameter(f"{name}.weight") for name in ("to_q", "to_k", "to_v"))
    spare, written = len(_own_inputs(shape)), LOOKED_UP // len(LOBES)
    for head, constant in enumerate(LOBES):
        first, out = head * shape.head_dim, spare + written * head
        for weight, share in ((query, QUIET), (key, QUIET), (value, 0.3)):
            weight[first : first + shape.head_dim] *= share
        # places of a head that turn with time only, and hardly
        query[first + 3, _constant(shape)], key[first + 2, _constant(shape)] = constant, constant
        for axis in range(3):
            here = slice(axis * SITES, (axis + 1) * SITES)
            query[first + 4 + axis, coarse_channels(shape, NORMAL)][here] = 1.0
            key[first + 4 + axis, coarse_channels(shape, DIRECTION)][here] = 1.0
            value[first + axis, coarse_channels(shape, LIGHT)][here] = HALF
            value[first + 3 + axis, coarse_channels(shape, LIGHT + 1)][here] = HALF
        write = attention.get_parameter("to_out.0.weight")[out : out + written]
        write *= 0.1
        write[:, first : first + written] += torch.eye(written)


def _multiply(feed_forward: nn.Module, shape: NetworkShape) -> None:
    """Four hidden units for each channel of the base colour add its product with the light of its colour."""
    first, second = feed_forward.get_parameter("net.0.proj.weight"), feed_forward.get_parameter("net.2.weight")
    own, spare = shape.channels * SITES, len(_own_inputs(shape))
    first[: 4 * own] *= 0.1
    second[:, : 4 * own] *= 0.1
    for channel in range(own):
        colour = channel // SITES % 3
        for unit, (sign, side) in enumerate(SIGNS):
            row = 4 * channel + unit
            first[row, channel] += sign * PRODUCT_IN
            first[row, spare + colour] += sign * side * PRODUCT_IN * LIGHT_SLOPE
            first[row, _constant(shape)] -= sign * side * PRODUCT_IN * LIGHT_SLOPE * LIGHT_LEVEL
            second[channel, row] += side * PRODUCT_OUT


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

"""A network whose frames see the past only, so that a clip of any length is made frame by frame.

A frame's attention reaches over itself and the ``window - 1`` latent frames before it. Made one after the other, the
keys and values of those are kept (of as many frames, whatever the clip's length); that gives what one pass over the
whole clip gives. In time, frames are told apart by rotary positions alone, which only know distances: the fixed
positions, which have an end, are those of a single picture for every frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from diffusers.models.embeddings import apply_rotary_emb
from diffusers.models.transformers.transformer_cosmos import CosmosRotaryPosEmbed
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from litdome.errors import ConfigError
from litdome.train_plugins.relighter.network import FPS, SPATIAL_PATCH, RelighterNetwork

THETA = 10000.0


@dataclass
class Past:
    """What a network remembers of the frames before, at one step of the sampler.

    Attributes:
        frames: How many there were, since the beginning.
        kept: Keys and values of each block's last frames, shape (b, heads, t, tokens, channels).
    """

    frames: int = 0
    kept: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)


@dataclass
class _Clock:
    """What all parts of a causal network share: its window, frames in this pass, and the past if it is remembered."""

    window: int
    frames: int = 1
    past: Past | None = None

    @property
    def start(self) -> int:
        return 0 if self.past is None else self.past.frames


def make_causal(network: nn.Module, window: int) -> None:
    """Let every frame of a network see itself and the ``window - 1`` latent frames before it; changed in place.

    Raises:
        ConfigError: A network of another kind.
    """
    if not isinstance(network, RelighterNetwork):
        raise ConfigError("causal_frames: this base is no Cosmos network", hint="--set causal_frames=0")
    clock = _Clock(window)
    for number, block in enumerate(network.transformer_blocks):
        block.attn1.set_processor(_CausalAttention(clock, number))
    network.rope = _TimedRotary(network.rope, clock)
    network.learnable_pos_embed = _StillPositions(network.learnable_pos_embed)
    network.clock = clock


def window_of(network: nn.Module) -> int:
    """Frames that a frame sees; 0 where it sees all of a chunk."""
    clock = getattr(network, "clock", None)
    return clock.window if isinstance(clock, _Clock) else 0


@contextmanager
def remembering(network: nn.Module, past: Past) -> Iterator[None]:
    """Let one pass of a causal network go on from ``past``, and remember it there."""
    clock = cast(_Clock, network.clock)
    clock.past = past
    try:
        yield
        past.frames += clock.frames
    finally:
        clock.past = None


class _CausalAttention:
    """In the place of diffusers' processor: the same projections, norms and rotation, another reach."""

    def __init__(self, clock: _Clock, block: int) -> None:
        self._clock, self._block = clock, block

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        projected = [layer(hidden_states) for layer in (attn.to_q, attn.to_k, attn.to_v)]
        query, key, value = (each.unflatten(2, (attn.heads, -1)).transpose(1, 2) for each in projected)
        query, key = attn.norm_q(query), attn.norm_k(key)
        query, key = (
            apply_rotary_emb(each, image_rotary_emb, use_real=True, use_real_unbind_dim=-2) for each in (query, key)
        )
        query, key, value = (each.unflatten(2, (self._clock.frames, -1)) for each in (query, key.to(value), value))
        key, value = self._with_past(key, value)
        before = key.shape[2] - query.shape[2]
        seen = []
        for frame in range(query.shape[2]):
            at = before + frame
            reach = slice(max(0, at - self._clock.window + 1), at + 1)
            keys, values = (each[:, :, reach].flatten(2, 3) for each in (key, value))
            seen.append(scaled_dot_product_attention(query[:, :, frame].to(value), keys, values))
        joined = torch.cat(seen, dim=2).transpose(1, 2).flatten(2)
        made: Tensor = attn.to_out[1](attn.to_out[0](joined))
        return made

    def _with_past(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        past = self._clock.past
        if past is None:
            return key, value
        if self._block in past.kept:
            key, value = (torch.cat(pair, dim=2) for pair in zip(past.kept[self._block], (key, value), strict=True))
        first = max(0, key.shape[2] - (self._clock.window - 1))
        past.kept[self._block] = key[:, :, first:].clone(), value[:, :, first:].clone()
        return key, value


class _TimedRotary(nn.Module):
    """diffusers' rotary positions, counted from the beginning of the clip and not of this pass."""

    def __init__(self, exact: CosmosRotaryPosEmbed, clock: _Clock) -> None:
        super().__init__()
        self._clock, self._dim = clock, exact.dim_t
        self.exact = exact

    def forward(self, hidden_states: Tensor, fps: float = FPS) -> tuple[Tensor, Tensor]:
        """Cosines and sines, shape (t * h * w, channels) each."""
        frames = hidden_states.shape[2]
        self._clock.frames = frames
        tokens = (hidden_states.shape[3] // SPATIAL_PATCH) * (hidden_states.shape[4] // SPATIAL_PATCH)
        still = self.exact(hidden_states[:, :, :1], fps=fps)
        # f8: frame numbers of a long clip times frequencies
        rising = torch.arange(0, self._dim, 2, dtype=torch.float64) / self._dim
        numbers = torch.arange(self._clock.start, self._clock.start + frames, dtype=torch.float64)
        angles = torch.outer(numbers / fps * self.exact.base_fps, THETA**-rising).to(hidden_states.device)
        found = []
        for table, timed in zip(still, (angles.cos(), angles.sin()), strict=True):
            whole = table.repeat(frames, 1)
            half, count = table.shape[1] // 2, timed.shape[1]
            by_token = timed.to(table).repeat_interleave(tokens, dim=0)
            whole[:, :count] = by_token
            whole[:, half : half + count] = by_token
            found.append(whole)
        return found[0], found[1]


class _StillPositions(nn.Module):
    """The fixed positions of a single picture, for every frame."""

    def __init__(self, exact: nn.Module) -> None:
        super().__init__()
        self.exact = exact

    def forward(self, latents: Tensor) -> Tensor:
        """Shape (1, t * h * w, width)."""
        positions: Tensor = self.exact(latents[:, :, :1])
        return positions.repeat(1, latents.shape[2], 1)

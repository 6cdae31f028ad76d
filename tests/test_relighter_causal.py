"""Networks that see the past only: frame by frame with a memory is one pass over the clip, and the memory is small."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from litdome.errors import ConfigError
from litdome.train_plugins.relighter.autoencoder import HaarAutoencoder
from litdome.train_plugins.relighter.causal import Past, make_causal, remembering, window_of
from litdome.train_plugins.relighter.chunks import frame_by_frame
from litdome.train_plugins.relighter.config import NetworkConfig, RelighterConfig, SamplingConfig
from litdome.train_plugins.relighter.network import RelighterNetwork
from litdome.train_plugins.relighter.renderer import RelighterRenderer
from litdome.train_plugins.relighter.weights import random_base

torch.set_num_threads(1)
FRAMES, BLOCKS, WINDOW = 7, 2, 3
LEVEL = torch.tensor([0.3])


def network(window: int = WINDOW) -> RelighterNetwork:
    """Random weights, none of them nearly zero as in a fresh network; as it is where ``window`` is 0."""
    made = random_base(NetworkConfig(heads=2, head_dim=12, blocks=BLOCKS, adaln_dim=4), 0).network
    assert isinstance(made, RelighterNetwork)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in made.parameters():
            if weight.dim() == 2:
                weight.copy_(torch.randn(weight.shape, generator=generator) * weight.shape[1] ** -0.5)
    if window:
        make_causal(made, window)
    return made


def clip(frames: int = FRAMES) -> tuple[Tensor, Tensor]:
    """Latents and conditions."""
    generator = torch.Generator().manual_seed(2)
    return tuple(torch.randn(1, count, frames, 4, 6, generator=generator) for count in (48, 8 * 49))  # type: ignore[return-value]


@torch.no_grad()
def test_frame_by_frame_with_a_memory_is_one_pass_over_the_clip() -> None:
    causal, (latents, conditions), past = network(), clip(), Past()
    whole = causal(latents, LEVEL, conditions)
    assert whole.std() > 0.1
    parts = []
    for at in ((0, 1), (1, 2), (2, 5), (5, 6), (6, 7)):
        with remembering(causal, past):
            parts.append(causal(latents[:, :, slice(*at)], LEVEL, conditions[:, :, slice(*at)]))
    assert (torch.cat(parts, dim=2) - whole).abs().max() < 1e-5
    forgetful = torch.cat([causal(latents[:, :, n : n + 1], LEVEL, conditions[:, :, n : n + 1]) for n in range(3)], 2)
    assert (forgetful[:, :, 0] - whole[:, :, 0]).abs().max() < 1e-5 < 1e-2 < (forgetful - whole[:, :, :3]).abs().max()


@torch.no_grad()
def test_what_is_long_ago_is_forgotten_and_what_comes_is_not_known() -> None:
    latents, conditions = clip()
    other = conditions.clone()
    other[:, :, 1] += 1
    changed = (network()(latents, LEVEL, other) - network()(latents, LEVEL, conditions)).abs().amax(dim=(0, 1, 3, 4))
    reach = 1 + BLOCKS * (WINDOW - 1)
    assert changed[0] == 0 and (changed[1 + reach :] == 0).all() and (changed[1 : 1 + reach] > 1e-4).all()
    seen = (network(0)(latents, LEVEL, other) - network(0)(latents, LEVEL, conditions)).abs().amax(dim=(0, 1, 3, 4))
    assert (seen > 1e-4).all()


@torch.no_grad()
def test_a_single_picture_is_what_it_was_before_and_time_only_counts_by_distance() -> None:
    latents, conditions = clip()
    first = latents[:, :, :1], LEVEL, conditions[:, :, :1]
    assert (network()(*first) - network(0)(*first)).abs().max() < 1e-5
    causal, late = network(), Past(frames=10**8)
    with remembering(causal, late):
        made = causal(latents, LEVEL, conditions)
    assert (made - causal(latents, LEVEL, conditions)).abs().max() < 1e-5


@torch.no_grad()
def test_the_memory_is_of_a_window_whatever_the_length() -> None:
    causal, (latents, conditions), past = network(), clip(1), Past()
    sizes = []
    for _ in range(12):
        with remembering(causal, past):
            causal(latents, LEVEL, conditions)
        sizes.append(sum(kept.untyped_storage().nbytes() for pair in past.kept.values() for kept in pair))
    tokens, width, floats = 2 * 3, 24, 4
    assert sizes[WINDOW - 2 :] == [BLOCKS * 2 * (WINDOW - 1) * tokens * width * floats] * (12 - WINDOW + 2)
    assert past.frames == 12


def renderer(steps: int = 2) -> RelighterRenderer:
    config = RelighterConfig(
        base="random", mode="full", causal_frames=WINDOW, sampling=SamplingConfig(steps=steps, seams="prefix")
    )
    return RelighterRenderer(network(), HaarAutoencoder(), config, "cpu")


def pictures(frames: int = 14) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    keys = {"flat": 0.0, "env_ldr": -1.0, "env_log": -1.0, "env_direction": -1.0}
    return {k: torch.rand(frames, 3, 16, 16, generator=generator) * (1 - low) + low for k, low in keys.items()}


def test_a_clip_is_made_picture_by_picture_and_goes_on_where_it_stopped() -> None:
    inputs, asked = pictures(), []

    def one_by_one(start: int = 0) -> Iterator[dict[str, Tensor]]:
        for number in range(start, 14):
            asked.append(number)
            yield {key: value[number] for key, value in inputs.items()}

    stream = renderer().stream(one_by_one(), seed=0)
    made = [next(stream)]
    assert asked == [0, 1]
    made += list(stream)
    reach = 2 * BLOCKS * (WINDOW - 1)
    start = renderer().resume_at(12)
    assert start == 12 - reach
    again = list(renderer().stream(one_by_one(start), seed=0, before=made[start:12]))
    assert (torch.stack(again[12 - start :]) - torch.stack(made[12:])).abs().max() < 1e-5
    late = list(renderer().stream(one_by_one(11), seed=0))
    assert (torch.stack(late[1:]) - torch.stack(made[12:])).abs().max() > 1e-3


def test_it_needs_a_cosmos_network_and_an_autoencoder_of_single_pictures() -> None:
    with pytest.raises(ConfigError, match="no Cosmos network"):
        make_causal(nn.Linear(1, 1), 2)
    with pytest.raises(ConfigError, match="8 pictures into a latent frame"):
        frame_by_frame(8)
    assert (window_of(network()), window_of(network(0))) == (WINDOW, 0)

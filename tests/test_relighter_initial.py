"""Where a fresh small network starts from: a copy of the base colour, blocks that speak, no say of the noise level."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from litdome.lighting import view_directions
from litdome.train_plugins.relighter.autoencoder import HaarAutoencoder
from litdome.train_plugins.relighter.batches import encode_conditions
from litdome.train_plugins.relighter.conditions import Condition, assemble_conditions
from litdome.train_plugins.relighter.config import NetworkConfig
from litdome.train_plugins.relighter.initial import GATE
from litdome.train_plugins.relighter.network import RelighterNetwork, build_network
from litdome.train_plugins.relighter.weights import random_base

CHANNELS = HaarAutoencoder.channels
WRITTEN = 4 * (CHANNELS + 7 * 3 + 2 + 3)  # base colour, seven coarse conditions, eight masks, coarse noise


def conditions(generator: torch.Generator) -> Tensor:
    """Base colour and light as latents with their masks, shape (1, 8 * 49, 1, 8, 12)."""
    made = torch.randn(1, 8, CHANNELS + 1, 1, 8, 12, generator=generator) * 0.5
    made[:, :, CHANNELS] = 1
    made[:, 1:5] = 0
    return made.flatten(1, 2)


def answer(network: RelighterNetwork, given: Tensor, sigma: float = 20.0) -> Tensor:
    noise = torch.randn(1, CHANNELS, *given.shape[2:], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return network(noise, torch.tensor([sigma]).log() / 4, given)


@pytest.fixture(scope="module")
def fresh() -> RelighterNetwork:
    network = random_base(NetworkConfig(), 0).network
    assert isinstance(network, RelighterNetwork)
    return network


def test_an_untrained_network_gives_back_the_base_colour(fresh: RelighterNetwork) -> None:
    given = conditions(torch.Generator().manual_seed(0))
    colour, made = given[:, :CHANNELS].flatten(), answer(fresh, given).flatten()
    assert torch.corrcoef(torch.stack([colour, made]))[0, 1] > 0.85
    assert 0.5 < (colour @ made) / (colour @ colour) / 2 < 1.5  # F is twice the clean latents
    unstarted = build_network(random_base(NetworkConfig(), 0).shape)
    assert not answer(unstarted, given).any()


def test_its_blocks_speak_and_hear_the_light_from_the_start(fresh: RelighterNetwork) -> None:
    given = conditions(torch.Generator().manual_seed(0))
    other = given.clone()
    other[:, 5 * (CHANNELS + 1) : 5 * (CHANNELS + 1) + 3] += 1  # env_ldr, the coarse channels
    assert (answer(fresh, given) - answer(fresh, other)).std() > 0.05
    first = fresh.transformer_blocks[0]
    modulation, embedded = fresh.time_embed(torch.zeros(1, 1), torch.tensor([0.7]))
    _, gate = first.norm1(torch.zeros(1, 1, 320), embedded, modulation)
    torch.testing.assert_close(gate, torch.full_like(gate, GATE), rtol=0.05, atol=0)


def test_two_heads_look_the_light_up_where_surfaces_face(fresh: RelighterNetwork) -> None:
    """Patches that face anywhere, under one lamp: what the first head writes follows the cosine with the lamp."""
    height, width = 64, 96
    rng, direction = np.random.default_rng(0), torch.from_numpy(view_directions(height, width)).permute(2, 0, 1)
    facing = rng.normal(size=(3, height // 8, width // 8))
    facing /= np.linalg.norm(facing, axis=0)
    normal = torch.from_numpy(facing.repeat(8, axis=1).repeat(8, axis=2)).float()[None]
    toward = np.array([0.7, 0.3, 0.648])
    lamp = (torch.einsum("c,chw->hw", torch.from_numpy(toward).float(), direction) > 0.9).float() * 2 - 1
    light = lamp[None, None].expand(1, 3, -1, -1)
    pictures = {"basecolor": torch.full((1, 3, height, width), 0.5), "normal": normal, "env_ldr": light}
    keys: dict[str, Condition] = {"basecolor": "basecolor", "normal": "normal", "env_ldr": "env_ldr"}
    keys |= {"env_log": "env_log", "env_direction": "env_nrm"}
    pictures |= {"env_log": light, "env_direction": direction[None]}
    latents = encode_conditions(pictures, keys, HaarAutoencoder())
    written: list[Tensor] = []
    handle = fresh.transformer_blocks[0].attn1.register_forward_hook(lambda _, __, out: written.append(out[0]))
    answer(fresh, assemble_conditions(latents, latents["normal"]))
    handle.remove()
    for first in (WRITTEN, WRITTEN + 6):
        found = written[0][:, first].detach().numpy()
        cosine, mirrored = (np.einsum("c,chw->hw", toward * [sign, 1, 1], facing).ravel() for sign in (1, -1))
        straight, other = (np.corrcoef(found, np.maximum(expected, 0))[0, 1] for expected in (cosine, mirrored))
        assert straight > 0.7 and straight > other + 0.4


def test_noise_levels_make_no_difference_yet(fresh: RelighterNetwork) -> None:
    given = conditions(torch.Generator().manual_seed(0))
    torch.testing.assert_close(answer(fresh, given, 20.0), answer(fresh, given, 0.1), rtol=0, atol=0.02)


def test_the_smallest_network_starts_too() -> None:
    network = random_base(NetworkConfig(heads=1, head_dim=12, blocks=1, adaln_dim=2), 0).network
    assert torch.isfinite(answer(network, conditions(torch.Generator().manual_seed(0)))).all()  # type: ignore[arg-type]

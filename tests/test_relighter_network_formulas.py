"""Our network against the original's formulas written out once more, at sizes that no fixture has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from original_renderer import SMALL, forward, random_checkpoint
from safetensors.torch import load_file

from litdome.train_plugins.relighter.convert import convert_network_state, network_shape
from litdome.train_plugins.relighter.network import NetworkShape, build_network

SHAPES = {
    "small": SMALL,
    "other latents": replace(SMALL, channels=4, context_dim=6),
    "odd split of the width": replace(SMALL, heads=3, head_dim=22, blocks=1),
    "one head": replace(SMALL, heads=1, head_dim=48, adaln_dim=20, blocks=3),
}


def inputs(shape: NetworkShape, seed: int, batch: int, frames: int) -> dict[str, torch.Tensor | float]:
    generator = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> torch.Tensor:
        return torch.randn(size, generator=generator)

    return {
        "latents": normal(batch, shape.channels, frames, 6, 8),
        "noise_level": normal(batch),
        "conditions": normal(batch, shape.condition_channels, frames, 6, 8),
        "padding_mask": (normal(batch, 1, 24, 32) > 0).float(),
        "context": normal(batch, 5, shape.context_dim),
        "fps": 12.0 + seed,
    }


@torch.no_grad()
@pytest.mark.parametrize("name", list(SHAPES))
@pytest.mark.parametrize(("seed", "batch", "frames"), [(1, 2, 3), (12, 1, 1)])
def test_the_network_is_the_formulas(name: str, seed: int, batch: int, frames: int) -> None:
    shape = SHAPES[name]
    original = random_checkpoint(shape, seed)
    state = convert_network_state(original)
    assert network_shape(state, shape.max_size) == shape
    network = build_network(shape)
    network.load_state_dict(state)
    given = inputs(shape, seed, batch, frames)
    expected = forward(original, shape, **given)  # type: ignore[arg-type]
    made = network(given.pop("latents"), given.pop("noise_level"), given.pop("conditions"), **given)
    assert expected.std() > 0.5
    assert (made - expected).abs().max() < 2e-5 * expected.abs().max()  # float32


@torch.no_grad()
def test_the_formulas_are_those_of_the_original_program(relighter_fixture: Path) -> None:
    """The oracle itself, against the numbers that the original made."""
    state = torch.load(relighter_fixture / "model.pt", weights_only=True)
    numbers = load_file(relighter_fixture / "net_io.safetensors")
    made = forward(
        state,
        network_shape(convert_network_state(state)),
        numbers["x"],
        numbers["timesteps"],
        numbers["latent_condition"],
        padding_mask=numbers["padding_mask"],
        context=numbers["nonzero_context"],
        fps=float(numbers["fps"][0]),
    )
    assert (made - numbers["output_nonzero_context"]).abs().max() < 1e-4
    assert (made - numbers["output"]).abs().max() > 1e-2  # the context matters

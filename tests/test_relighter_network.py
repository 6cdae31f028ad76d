"""What the network must not depend on, and what it must."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from litdome.errors import InputError
from litdome.train_plugins.relighter.network import NetworkShape, RelighterNetwork, SineAxisPositions, build_network

SHAPE = NetworkShape(channels=4, heads=2, head_dim=12, blocks=2, adaln_dim=4, context_dim=6, max_size=(8, 32, 32))


def inputs(shape: NetworkShape = SHAPE) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(2, shape.channels, 2, 6, 8, generator=generator)
    conditions = torch.randn(2, shape.condition_channels, 2, 6, 8, generator=generator)
    return latents, torch.tensor([0.3, -0.5]), conditions


def network() -> RelighterNetwork:
    torch.manual_seed(0)
    made = build_network(SHAPE)
    torch.nn.init.normal_(made.proj_out.weight)
    return made


@torch.no_grad()
def test_leaving_out_cross_attention_changes_nothing_without_context() -> None:
    made = network()
    before = made(*inputs())
    made.leave_out_cross_attention()
    assert torch.allclose(made(*inputs()), before, atol=1e-5)


@torch.no_grad()
def test_a_context_that_is_not_zero_matters() -> None:
    made = network()
    assert (made(*inputs(), context=torch.ones(2, 3, 6)) - made(*inputs())).abs().max() > 1e-3


@torch.no_grad()
def test_padding_and_frame_rate_matter() -> None:
    made = network()
    usual = made(*inputs())
    assert (made(*inputs(), padding_mask=torch.ones(2, 1, 48, 64)) - usual).abs().max() > 1e-3
    assert (made(*inputs(), fps=12.0) - usual).abs().max() > 1e-4


def test_latents_beyond_the_positions_are_refused_in_words() -> None:
    made, (latents, level, conditions) = network(), inputs()
    wide = (tensor.repeat(1, 1, 1, 1, 5) for tensor in (latents, conditions))
    with pytest.raises(InputError, match=r"latents of 2x6x40 .* positions for 8x32x32"):
        made(next(wide), level, next(wide))


def test_positions_are_bounded_and_all_different() -> None:
    table = SineAxisPositions(24, (8, 32, 32))(torch.zeros(1, 1, 3, 6, 8))[0]
    assert table.shape == (3 * 3 * 4, 24)
    assert len(torch.unique(table, dim=0)) == len(table)
    assert torch.allclose((table**2).sum(dim=1), torch.full((36,), 12.0))  # one sine and cosine pair adds 1

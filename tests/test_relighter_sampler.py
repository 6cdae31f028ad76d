"""The sampler and the loss against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from litdome.errors import InputError
from litdome.train_plugins.relighter.conditions import assemble_conditions
from litdome.train_plugins.relighter.config import DropoutConfig, NoiseConfig
from litdome.train_plugins.relighter.objective import Batch, draw_sigmas, drop_conditions, edm_losses
from litdome.train_plugins.relighter.sampler import noise_schedule, precondition, sample_euler, seeded_noise

PUBLISHED = (80, 56.04, 38.51, 25.91, 17.02, 10.89, 6.754, 4.046, 2.327, 1.277, 0.6621, 0.3207, 0.1429, 0.0573, 0.02, 0)


def perfect(clean: Tensor) -> object:
    """The network that knows the answer: F = (x0 - c_skip x) / c_out."""

    def denoise(scaled: Tensor, level: Tensor) -> Tensor:
        scale = precondition((level[0] * 4).exp())
        return (clean - scale.c_skip * scaled / scale.c_in) / scale.c_out

    return denoise


def test_schedule_is_the_published_one() -> None:
    assert noise_schedule(15).tolist() == pytest.approx(PUBLISHED, rel=1e-3)  # three digits are published


@pytest.mark.parametrize("steps", [1, 2, 15])
def test_a_perfect_network_gives_the_truth(steps: int) -> None:
    clean = torch.randn(1, 2, 1, 4, 4, generator=torch.Generator().manual_seed(5))
    made = sample_euler(perfect(clean), seeded_noise(clean.shape, 0), noise_schedule(steps))  # type: ignore[arg-type]
    assert torch.allclose(made, clean, atol=1e-4)


def test_noise_depends_on_the_seed_only() -> None:
    torch.manual_seed(1)
    first = seeded_noise((2, 3), 7)
    torch.manual_seed(2)
    assert torch.equal(first, seeded_noise((2, 3), 7))
    assert not torch.equal(first, seeded_noise((2, 3), 8))


def test_loss_of_a_network_that_says_nothing_is_the_targets_power() -> None:
    generator = torch.Generator().manual_seed(0)
    batch = Batch(torch.randn(64, 4, 1, 8, 8, generator=generator) * 0.5, torch.zeros(64, 1), None)
    noise = torch.randn(batch.clean.shape, generator=generator)
    silent = lambda latents, level, conditions: torch.zeros_like(latents)  # noqa: E731
    losses = edm_losses(silent, batch, draw_sigmas(64, NoiseConfig(), generator), noise, torch.ones(4))  # type: ignore[arg-type]
    assert float(losses.mean()) == pytest.approx(1, rel=0.02)  # data of spread 0.5 make F a unit target at every sigma


def test_weight_zero_leaves_a_place_out_of_the_loss() -> None:
    clean = torch.zeros(1, 2, 1, 2, 2)
    wrong = lambda latents, level, conditions: torch.tensor([[[[[9.0, 0.0], [0.0, 0.0]]]]]).expand(1, 2, 1, 2, 2)  # noqa: E731
    weight = torch.tensor([[[[[0.0, 1.0], [1.0, 1.0]]]]])
    args = (torch.ones(1), torch.zeros_like(clean), torch.ones(2))
    assert float(edm_losses(wrong, Batch(clean, clean, weight), *args)) == 0  # type: ignore[arg-type]
    assert float(edm_losses(wrong, Batch(clean, clean, None), *args)) > 0  # type: ignore[arg-type]


def test_noise_levels_have_the_configured_median() -> None:
    sigmas = draw_sigmas(20000, NoiseConfig(), torch.Generator().manual_seed(0))
    assert float(sigmas.median()) == pytest.approx(math.exp(3.0), rel=0.05)
    assert float((sigmas > 20).float().mean()) > 0.05  # the sampler's start is trained


def test_absent_and_dropped_conditions_are_zero_with_mask_zero() -> None:
    like = torch.ones(1, 2, 1, 2, 2)
    conditions = assemble_conditions({"basecolor": like, "normal": like, "env_ldr": like}, like)
    assert conditions.shape == (1, 24, 1, 2, 2)
    assert conditions[0, :, 0, 0, 0].tolist() == [1] * 6 + [0] * 9 + [1] * 3 + [0] * 6
    dropped = drop_conditions(conditions, DropoutConfig(geometry=1), torch.Generator().manual_seed(0))
    assert dropped[0, :, 0, 0, 0].tolist() == [1] * 3 + [0] * 12 + [1] * 3 + [0] * 6
    assert not drop_conditions(conditions, DropoutConfig(each=1), torch.Generator()).any()


def test_a_condition_of_another_size_is_named() -> None:
    with pytest.raises(InputError, match="normal"):
        assemble_conditions({"normal": torch.zeros(1, 2, 1, 2, 4)}, torch.zeros(1, 2, 1, 2, 2))

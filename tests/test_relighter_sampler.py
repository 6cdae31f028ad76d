"""The sampler and the loss against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from litdome.errors import InputError
from litdome.train_plugins.relighter.conditions import assemble_conditions
from litdome.train_plugins.relighter.config import DropoutConfig, NoiseConfig, PrefixConfig
from litdome.train_plugins.relighter.objective import (
    Batch,
    draw_sigmas,
    drop_conditions,
    edm_losses,
    give_first_frames,
)
from litdome.train_plugins.relighter.sampler import Given, noise_schedule, precondition, sample_euler, seeded_noise

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
    assert float(sigmas.median()) == pytest.approx(math.exp(NoiseConfig().ln_sigma_mean), rel=0.05)
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


def batch_of(count: int, frames: int, weight: Tensor | None = None) -> Batch:
    clean = torch.randn(count, 2, frames, 2, 2, generator=torch.Generator().manual_seed(0))
    return Batch(clean, torch.zeros(count, 1, frames, 2, 2), weight)


def test_given_first_frames_have_next_to_no_noise_and_no_say_in_the_loss() -> None:
    prefix, sigmas = PrefixConfig(share=0.5, frames=2, sigma=0.02), torch.full((400,), 5.0)
    found, levels = give_first_frames(batch_of(400, 4), sigmas, prefix, torch.Generator().manual_seed(0))
    assert found.weight is not None and torch.equal(found.weight[:, 0, :, 0, 0] == 0, levels < 1)
    lengths = (levels < 1).sum(dim=1)
    assert torch.equal((levels < 1).long().cumprod(dim=1).sum(dim=1), lengths)  # they are the first ones
    share = [float((lengths == n).float().mean()) for n in range(5)]
    assert share == pytest.approx([0.5, 0.25, 0.25, 0, 0], abs=0.08)


def test_a_clip_is_never_given_whole_and_a_weight_stays_elsewhere() -> None:
    prefix = PrefixConfig(share=1.0, frames=9)
    weight = torch.full((50, 1, 3, 2, 2), 0.25)
    found, levels = give_first_frames(batch_of(50, 3, weight), torch.ones(50), prefix, torch.Generator().manual_seed(0))
    assert found.weight is not None
    assert {float(value) for value in found.weight.unique()} == {0.0, 0.25} and bool((levels[:, 2] == 1).all())


@pytest.mark.parametrize(("frames", "share"), [(1, 1.0), (4, 0.0)])
def test_without_given_frames_training_draws_what_it_drew(frames: int, share: float) -> None:
    generator, batch, sigmas = torch.Generator().manual_seed(3), batch_of(2, frames), torch.ones(2)
    before = generator.get_state()
    found, levels = give_first_frames(batch, sigmas, PrefixConfig(share=share), generator)
    assert found is batch and levels is sigmas and torch.equal(generator.get_state(), before)


def test_a_noise_level_for_every_frame_is_the_same_loss_where_they_are_alike() -> None:
    batch, noise = batch_of(3, 4), torch.randn(3, 2, 4, 2, 2, generator=torch.Generator().manual_seed(1))
    sigmas = torch.tensor([0.3, 2.0, 9.0])
    half = lambda latents, level, conditions: latents * (0.5 + 0.1 * level.reshape(3, 1, -1, 1, 1))  # noqa: E731
    by_sample = edm_losses(half, batch, sigmas, noise, torch.ones(2))  # type: ignore[arg-type]
    by_frame = edm_losses(half, batch, sigmas[:, None].expand(-1, 4), noise, torch.ones(2))  # type: ignore[arg-type]
    assert torch.allclose(by_sample, by_frame)


def test_given_frames_stay_and_are_shown_nearly_clean_at_every_step() -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    given, noise = torch.full((1, 2, 2, 4, 4), 0.7), seeded_noise((1, 2, 5, 4, 4), 0)

    def watching(scaled: Tensor, level: Tensor) -> Tensor:
        scale = precondition((level * 4).exp())
        seen.append((level[0, 0, :, 0, 0], (scaled / scale.c_in)[:, :, :2]))
        return torch.zeros_like(scaled)

    made = sample_euler(watching, noise, noise_schedule(3), Given(given, 0.02))
    assert torch.equal(made[:, :, :2], given) and len(seen) == 3
    for (levels, shown), sigma in zip(seen, noise_schedule(3).tolist(), strict=False):
        assert (levels * 4).exp().tolist() == pytest.approx([0.02] * 2 + [sigma] * 3, rel=1e-3)
        assert torch.allclose(shown, given + 0.02 * noise[:, :, :2], atol=1e-5)

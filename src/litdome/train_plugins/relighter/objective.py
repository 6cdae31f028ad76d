"""The loss: mean squared error of the network's raw output, which is EDM's weighted loss.

Source: Karras et al. 2022; the noise levels are in the configuration together with the sampler's start.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from litdome.train_plugins.relighter.config import DropoutConfig, NoiseConfig, PrefixConfig
from litdome.train_plugins.relighter.sampler import precondition

GEOMETRY = slice(1, 5)  # normal, metallic, roughness, depth among the conditions
SIGMA_BUCKETS = {"low": (0.0, 0.3), "middle": (0.3, 3.0), "high": (3.0, float("inf"))}


@dataclass(frozen=True)
class Batch:
    """Samples of one shape.

    Attributes:
        clean: Latents of the target, shape (b, c, t, h, w).
        conditions: Shape (b, 8 * (c + 1), t, h, w).
        weight: Of each place in the loss, shape (b, 1, t, h, w), or None.
    """

    clean: Tensor
    conditions: Tensor
    weight: Tensor | None


def draw_sigmas(count: int, noise: NoiseConfig, generator: torch.Generator) -> Tensor:
    """Noise levels for training, log-normal, shape (count,)."""
    return (torch.randn(count, generator=generator) * noise.ln_sigma_std + noise.ln_sigma_mean).exp()


def drop_conditions(conditions: Tensor, dropout: DropoutConfig, generator: torch.Generator) -> Tensor:
    """Set left-out conditions and their masks to 0, per sample; shape kept."""
    batch, count = len(conditions), 8
    keep = torch.rand(batch, count, generator=generator) >= dropout.each
    keep[:, GEOMETRY] &= (torch.rand(batch, 1, generator=generator) >= dropout.geometry).expand(-1, 4)
    grouped = conditions.reshape(batch, count, -1, *conditions.shape[2:])
    return (grouped * keep.to(conditions)[:, :, None, None, None, None]).reshape(conditions.shape)


def give_first_frames(
    batch: Batch, sigmas: Tensor, prefix: PrefixConfig, generator: torch.Generator
) -> tuple[Batch, Tensor]:
    """Let some clips go on from frames that are given: those have next to no noise and no say in the loss.

    Args:
        sigmas: Noise levels, shape (b,), on the CPU.
        prefix: How many clips, and of how many latent frames (1 to ``prefix.frames``, but never all).

    Returns:
        The batch and its noise levels by frame, shape (b, t). Both unchanged where no clip is to have such frames or
        there is one frame only; then nothing is drawn.
    """
    count, _, frames = batch.clean.shape[:3]
    most = min(prefix.frames, frames - 1)
    if prefix.share == 0 or most == 0:
        return batch, sigmas
    lengths = torch.randint(1, most + 1, (count,), generator=generator)
    lengths = lengths * (torch.rand(count, generator=generator) < prefix.share)
    given = torch.arange(frames) < lengths[:, None]
    counted = (~given).to(batch.clean)[:, None, :, None, None]
    weight = counted.expand(-1, 1, -1, *batch.clean.shape[3:]) if batch.weight is None else batch.weight * counted
    return replace(batch, weight=weight), torch.where(given, prefix.sigma, sigmas[:, None])


def edm_losses(network: nn.Module, batch: Batch, sigmas: Tensor, noise: Tensor, channel_weight: Tensor) -> Tensor:
    """Loss of every sample, shape (b,).

    Args:
        sigmas: Noise levels, shape (b,), or (b, t) by frame.
        noise: Unit normal, shape of ``batch.clean``.
        channel_weight: Shape (c,), mean 1.
    """
    levels = sigmas.reshape(len(sigmas), 1, -1, 1, 1)
    scale = precondition(levels)
    noisy = batch.clean + levels * noise
    target = (batch.clean - scale.c_skip * noisy) / scale.c_out
    level = scale.c_noise.flatten() if sigmas.dim() == 1 else scale.c_noise
    output: Tensor = network(scale.c_in * noisy, level, batch.conditions)
    error: Tensor = (output.float() - target) ** 2 * channel_weight[:, None, None, None]
    return weighted_mean(error, batch.weight)


def weighted_mean(error: Tensor, weight: Tensor | None) -> Tensor:
    """Mean of every sample, shape (b,), of errors (b, c, t, h, w) with weights of places (b, 1, t, h, w) or None."""
    if weight is None:
        return error.mean(dim=(1, 2, 3, 4))
    weighted = error.mean(dim=1, keepdim=True) * weight
    # a sample in which nothing counts has no loss
    return weighted.sum(dim=(1, 2, 3, 4)) / weight.sum(dim=(1, 2, 3, 4)).clamp_min(1e-6)


def losses_by_sigma(losses: Tensor, sigmas: Tensor) -> dict[str, float]:
    """Mean loss at low, middle and high noise, for the levels that occur."""
    inside = {name: (sigmas >= low) & (sigmas < high) for name, (low, high) in SIGMA_BUCKETS.items()}
    return {f"loss_{name}_sigma": float(losses[at].mean()) for name, at in inside.items() if at.any()}

"""EDM preconditioning, the noise schedule, and the Euler sampler.

Source: Karras et al. 2022; diffusers EDMEulerScheduler; denoiser_scaling.py of the original.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

SIGMA_DATA = 0.5
SIGMA_MIN = 0.02
RHO = 7.0
Denoiser = Callable[[Tensor, Tensor], Tensor]  # (scaled latents, c_noise of shape (b,)) -> F


@dataclass(frozen=True)
class Preconditioning:
    """EDM's four coefficients at one noise level or at several; all have sigma's shape."""

    c_in: Tensor
    c_skip: Tensor
    c_out: Tensor
    c_noise: Tensor


def precondition(sigma: Tensor) -> Preconditioning:
    """Coefficients so that x0 = c_skip x + c_out F(c_in x, c_noise)."""
    total = sigma**2 + SIGMA_DATA**2
    return Preconditioning(
        c_in=total.rsqrt(),
        c_skip=SIGMA_DATA**2 / total,
        c_out=sigma * SIGMA_DATA * total.rsqrt(),
        c_noise=sigma.log() / 4,
    )


def noise_schedule(steps: int, sigma_max: float = 80.0, sigma_min: float = SIGMA_MIN) -> Tensor:
    """Noise levels from ``sigma_max`` down to ``sigma_min`` and then 0, shape (steps + 1,), float32.

    One step goes straight from ``sigma_max`` to 0.
    """
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    high, low = sigma_max ** (1 / RHO), sigma_min ** (1 / RHO)
    sigmas = (high + ramp * (low - high)) ** RHO
    return torch.cat([sigmas, torch.zeros(1, dtype=torch.float64)]).float()


def seeded_noise(shape: tuple[int, ...], seed: int) -> Tensor:
    """Unit normal noise that depends on the seed and the shape only, float32 on the CPU."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def sample_euler(denoise: Denoiser, noise: Tensor, sigmas: Tensor) -> Tensor:
    """Integrate from noise to clean latents with one network call per step.

    Args:
        denoise: The network with its conditions bound.
        noise: Unit normal, shape (b, c, t, h, w); scaled here by sqrt(sigma_max^2 + 1).
        sigmas: From `noise_schedule`, the last one 0.

    Returns:
        Latents, shape and dtype of ``noise``.
    """
    latents: Tensor = noise * (sigmas[0].item() ** 2 + 1) ** 0.5
    for here, after in pairwise(sigmas.to(noise.device)):
        scale = precondition(here)
        level = scale.c_noise.expand(latents.shape[0])
        clean = scale.c_skip * latents + scale.c_out * denoise(scale.c_in * latents, level)
        latents = latents + (latents - clean) / here * (after - here)
    return latents

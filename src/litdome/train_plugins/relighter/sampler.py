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
Denoiser = Callable[[Tensor, Tensor], Tensor]  # (scaled latents, c_noise of shape (b,) or (b, 1, t, 1, 1)) -> F


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


def still_noise(shape: tuple[int, ...], seed: int) -> Tensor:
    """One picture of noise for every frame, shape (b, c, t, h, w): what is random stays put over time."""
    return seeded_noise((*shape[:2], 1, *shape[3:]), seed).expand(shape)


@dataclass(frozen=True)
class Given:
    """Latent frames that a clip begins with, because they are known.

    Attributes:
        frames: Shape (b, c, k, h, w).
        sigma: The noise that they are shown to the network with.
    """

    frames: Tensor
    sigma: float


def sample_euler(denoise: Denoiser, noise: Tensor, sigmas: Tensor, given: Given | None = None) -> Tensor:
    """Integrate from noise to clean latents with one network call per step.

    Args:
        denoise: The network with its conditions bound.
        noise: Unit normal, shape (b, c, t, h, w); scaled here by sqrt(sigma_max^2 + 1).
        sigmas: From `noise_schedule`, the last one 0.
        given: First frames that are known; the others are made to go on from them.

    Returns:
        Latents, shape and dtype of ``noise``, the given frames as they were.
    """
    latents = start_latents(noise, sigmas)
    for here, after in pairwise(sigmas.to(noise.device)):
        levels = here if given is None else here.repeat(noise.shape[2])
        if given is not None:
            count = given.frames.shape[2]
            shown = given.frames + given.sigma * noise[:, :, :count]
            latents = torch.cat([shown, latents[:, :, count:]], dim=2)
            levels[:count] = given.sigma
        latents = step_euler(latents, predict_clean(denoise, latents, levels), here, after)
    return latents if given is None else torch.cat([given.frames, latents[:, :, given.frames.shape[2] :]], dim=2)


def start_latents(noise: Tensor, sigmas: Tensor) -> Tensor:
    """What sampling starts from: unit normal noise times sqrt(sigma_max^2 + 1)."""
    scaled: Tensor = noise * (sigmas[0].item() ** 2 + 1) ** 0.5
    return scaled


def predict_clean(denoise: Denoiser, latents: Tensor, sigma: Tensor) -> Tensor:
    """The network's guess of the clean latents.

    Args:
        denoise: The network with its conditions bound.
        latents: Noisy, shape (b, c, t, h, w).
        sigma: Noise level, shape (), or (t,) by frame.
    """
    levels = sigma.reshape(1, 1, -1, 1, 1)
    scale = precondition(levels)
    level = scale.c_noise.flatten() if sigma.dim() == 0 else scale.c_noise
    said = denoise(scale.c_in * latents, level.expand(latents.shape[0], *level.shape[1:]))
    return scale.c_skip * latents + scale.c_out * said


def step_euler(latents: Tensor, clean: Tensor, here: Tensor, after: Tensor) -> Tensor:
    """One step of the sampler from noise level ``here`` to ``after``, given the guess at ``here``."""
    return clean + (latents - clean) * (after / here)

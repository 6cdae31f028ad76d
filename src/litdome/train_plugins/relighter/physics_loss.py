"""What light itself demands, as a loss: pictures add up where lights do, and follow the light's gain.

No take holds one flat picture under two lights and under both. The network is asked instead: from the pure noise that
sampling starts from, where light and colour are decided, it guesses the picture under lights that are made out of a
sample's own, and the guesses are compared in linear light. The errors are those of `litdome.datasets.metrics.physics`:
relative, and only where nothing is clipped. Black pictures would be right too: the loss on recorded pictures goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from litdome.color import linear_from_srgb
from litdome.datasets.metrics.light import CLIPPED
from litdome.lighting import FloatArray, tone_map_ldr, tone_map_log, view_directions
from litdome.train_plugins.relighter.autoencoder import Autoencoder
from litdome.train_plugins.relighter.conditions import CONDITIONS, Condition
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.objective import Batch
from litdome.train_plugins.relighter.sampler import predict_clean

MOST_RADIANCE = np.float32(10000)  # where env_log ends
TINT_LOG_STD = 0.35  # of the gain per channel of the second light
LN_GAIN = 1.0  # gains are drawn from exp(-1) to exp(1)
LN_SHARPNESS = (0.0, 3.0)  # of the border between the sides that two lights shine from
DARKEST = 1e-3  # mean linear light of a picture below which errors are no longer relative


@dataclass(frozen=True)
class PhysicsLoss:
    """Errors of superposition and gain of a network in training.

    Attributes:
        config: Of the training; `PhysicsConfig` weighs the two.
        autoencoder: On the run's device.
    """

    config: RelighterConfig
    autoencoder: Autoencoder

    def is_due(self, step: int) -> bool:
        """Whether the loss is taken in this step, the first being 0."""
        physics = self.config.physics
        return physics.superposition + physics.gain > 0 and step % physics.every == 0

    def weighed(self, errors: Tensor) -> Tensor:
        """Loss of every sample, shape (b,), of `errors`."""
        physics = self.config.physics
        return physics.superposition * errors[:, 0] + physics.gain * errors[:, 1]

    def errors(self, network: nn.Module, batch: Batch, generators: Sequence[torch.Generator]) -> Tensor:
        """Superposition and gain error of every sample, shape (b, 2); one that counts for nothing is 0.

        Args:
            network: As for `litdome.train_plugins.relighter.objective.edm_losses`.
            batch: With env_log among its conditions, no condition left out.
            generators: One for each sample, on the CPU: its lights, its gain, its noise.
        """
        physics = self.config.physics
        still = (1, batch.clean.shape[1], 1, *batch.clean.shape[3:])  # one noise for all frames, as in rendering
        noise = torch.cat([torch.randn(still, generator=generator) for generator in generators])
        gains = torch.cat([torch.empty(1).uniform_(-LN_GAIN, LN_GAIN, generator=each).exp() for each in generators])
        first, second = two_lights(self._radiance(batch.conditions), generators)
        together = first + second
        lights = [together]
        if physics.superposition > 0:
            lights += [first, second]
        if physics.gain > 0:
            lights += [together * gains.to(together).reshape(-1, 1, 1, 1, 1)]
        shown = list(self._shown(network, batch, noise.expand(batch.clean.shape).to(batch.clean), lights))
        weight = self._pixel_weight(batch, shown[0])
        nothing = torch.zeros(len(shown[0]), device=shown[0].device)
        added = relative_error([shown[0]], shown[1:3], weight) if physics.superposition > 0 else nothing
        gained = relative_error([shown[-1]], [shown[0]], weight, gains.to(noise)) if physics.gain > 0 else nothing
        return torch.stack([added, gained], dim=1)

    @torch.no_grad()
    def _radiance(self, conditions: Tensor) -> Tensor:
        """The light that each sample's latents of env_log hold, shape (b, 3, t, y, x); blurred, it is still one."""
        maps = self.autoencoder.decode(conditions[:, _latents_of("env_log", conditions)])
        encoded = ((maps.float().cpu().numpy() + 1) / 2).clip(0, 1)
        return torch.from_numpy(np.expm1(linear_from_srgb(encoded) * np.log1p(MOST_RADIANCE)))

    @torch.no_grad()
    def _lit_by(self, conditions: Tensor, radiance: Tensor) -> Tensor:
        """Conditions with another light, shape (b, 3, t, y, x), in the maps that the network is given."""
        lit = conditions.clone()
        maps_of: dict[Literal["env_ldr", "env_log"], Callable[[FloatArray], FloatArray]] = {
            "env_ldr": tone_map_ldr,
            "env_log": tone_map_log,
        }
        for key, tone_map in maps_of.items():
            if key in self.config.env:
                maps = torch.from_numpy(tone_map(radiance.numpy()) * 2 - 1).to(conditions)
                lit[:, _latents_of(key, conditions)] = self.autoencoder.encode(maps)
        return lit

    def _shown(self, network: nn.Module, batch: Batch, noise: Tensor, lights: Sequence[Tensor]) -> Sequence[Tensor]:
        """Display-referred guesses under each light, shape (b, 3, t, y, x) each, not clamped; all in one pass."""
        sigma = torch.tensor(self.config.noise.sigma_max, device=noise.device)
        start = (noise * (sigma**2 + 1).sqrt()).repeat(len(lights), 1, 1, 1, 1)
        conditions = torch.cat([self._lit_by(batch.conditions, light) for light in lights])

        def denoise(scaled: Tensor, level: Tensor) -> Tensor:
            half = self.config.precision == "bfloat16"
            with torch.autocast(noise.device.type, torch.bfloat16, enabled=half):
                output: Tensor = network(scaled, level, conditions)
            return output.float()

        pictures = self.autoencoder.decode(predict_clean(denoise, start, sigma)) * 0.5 + 0.5
        return pictures.float().chunk(len(lights))

    def _pixel_weight(self, batch: Batch, pictures: Tensor) -> Tensor:
        if batch.weight is None:
            return torch.ones_like(pictures[:, :1])
        return interpolate(batch.weight, tuple(pictures.shape[2:]))


def two_lights(radiance: Tensor, generators: Sequence[torch.Generator]) -> tuple[Tensor, Tensor]:
    """Two lights out of each: itself, and itself turned and tinted, each from its own side of a soft border.

    Args:
        radiance: Lat-long maps in a camera's frame, shape (b, 3, t, y, x).
        generators: One for each.

    Returns:
        Shapes as given; together they are about as bright as ``radiance``.
    """
    height, width = radiance.shape[-2:]
    directions = torch.from_numpy(view_directions(height, width))
    firsts, seconds = [], []
    for one, generator in zip(radiance, generators, strict=True):
        turn = int(torch.randint(width, (1,), generator=generator))
        tint = (torch.randn(3, generator=generator) * TINT_LOG_STD).exp()
        towards = torch.randn(3, generator=generator)
        sharpness = torch.empty(1).uniform_(*LN_SHARPNESS, generator=generator).exp()
        side = torch.sigmoid(sharpness * (directions @ (towards / towards.norm())))
        firsts.append(one * side)
        seconds.append(one.roll(turn, dims=-1) * tint[:, None, None, None] * (1 - side))
    return torch.stack(firsts), torch.stack(seconds)


def relative_error(
    tested: Sequence[Tensor], summed: Sequence[Tensor], weight: Tensor, gain: Tensor | None = None
) -> Tensor:
    """Mean absolute difference of sums of pictures in linear light, relative to the mean of the second, shape (b,).

    Args:
        tested, summed: Display-referred pictures, shape (b, 3, ...) each; where one is clipped, nothing counts.
        weight: Of each place, shape (b, 1, ...).
        gain: Multiplies the second sum, shape (b,).
    """
    free = torch.stack([shown.detach() < CLIPPED for shown in (*tested, *summed)]).all(dim=0)
    counted = (free * weight).flatten(1)
    a, b = (torch.stack([linear_light(shown) for shown in each]).sum(dim=0).flatten(1) for each in (tested, summed))
    scaled = b if gain is None else b * gain[:, None]
    total = counted.sum(dim=1).clamp_min(1)
    # the mean keeps its gradient: divided by a constant, the error would fall as pictures get darker
    mean = (scaled * counted).sum(dim=1) / total
    return ((a - scaled).abs() * counted).sum(dim=1) / total / mean.clamp_min(DARKEST)


def linear_light(shown: Tensor) -> Tensor:
    """Linear light of sRGB values; those below 0, which a network may guess, go on in a straight line."""
    curve = ((shown.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(shown <= 0.04045, shown / 12.92, curve)


def _latents_of(name: Condition, conditions: Tensor) -> slice:
    """Where the latents of one condition lie, its mask left out."""
    each = conditions.shape[1] // len(CONDITIONS)
    start = CONDITIONS.index(name) * each
    return slice(start, start + each - 1)

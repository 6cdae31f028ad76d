"""From flat-lit pictures and a light to relit pictures; clips of any length in overlapping chunks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from litdome.errors import InputError
from litdome.train_plugins.protocol import Rendered
from litdome.train_plugins.relighter.autoencoder import Autoencoder
from litdome.train_plugins.relighter.batches import (
    as_video,
    before_black,
    condition_keys,
    encode_conditions,
    input_keys,
)
from litdome.train_plugins.relighter.conditions import assemble_conditions
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.network import RelighterNetwork
from litdome.train_plugins.relighter.sampler import noise_schedule, sample_euler, seeded_noise


class RelighterRenderer:
    """A trained relighter.

    Attributes:
        reads: Sample keys that it needs.
    """

    def __init__(
        self, network: RelighterNetwork, autoencoder: Autoencoder, config: RelighterConfig, device: str
    ) -> None:
        self._network, self._autoencoder, self._config, self._device = network, autoencoder, config, device
        self._keys = condition_keys(config)
        self.reads: tuple[str, ...] = input_keys(config)

    @torch.no_grad()
    def render(self, inputs: Mapping[str, Tensor], *, seed: int) -> Rendered:
        """Relight a clip.

        Args:
            inputs: What `reads` names, shape (t, 3, h, w) each; maps of one picture serve the whole clip.
            seed: The same seed gives the same pictures; all chunks share one noise.

        Returns:
            Pictures of the clip's length, float32 on the CPU, no alpha.

        Raises:
            InputError: A key is missing, lengths differ, or a size does not fit the network.
        """
        clip = self._aligned(inputs)
        frames = len(clip[self.reads[0]])
        parts = []
        for start, end in chunk_ranges(
            frames, self._config.sampling.chunk_frames, self._config.sampling.overlap_frames
        ):
            parts.append((start, self._render_chunk({key: value[start:end] for key, value in clip.items()}, seed)))
        return Rendered(rgb=cross_fade(parts, frames).clamp(0, 1), alpha=None)

    def _aligned(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        missing = [key for key in self.reads if key not in inputs]
        if missing:
            raise InputError(f"relighter: {', '.join(missing)} missing among the inputs", hint=f"reads {self.reads}")
        frames = max(len(inputs[key]) for key in self.reads)
        for key in self.reads:
            if len(inputs[key]) not in (1, frames):
                raise InputError(f"relighter: {key} has {len(inputs[key])} pictures, the clip {frames}")
        return before_black({key: inputs[key].expand(frames, -1, -1, -1) for key in self.reads}, self._config)

    def _render_chunk(self, clip: Mapping[str, Tensor], seed: int) -> Tensor:
        self._network.eval()
        on_device = {key: value.to(self._device) for key, value in clip.items()}
        latents = encode_conditions(on_device, self._keys, self._autoencoder)
        like = next(iter(latents.values()))
        conditions = assemble_conditions(latents, like)
        # one noise for every frame of every chunk: what is random stays put over time
        noise = seeded_noise((1, like.shape[1], 1, *like.shape[3:]), seed).expand(like.shape).to(self._device)
        sampling, sigma_max = self._config.sampling, self._config.noise.sigma_max

        def denoise(noisy: Tensor, level: Tensor) -> Tensor:
            with torch.autocast(
                self._device.split(":")[0], torch.bfloat16, enabled=self._config.precision == "bfloat16"
            ):
                output: Tensor = self._network(noisy, level, conditions)
            return output.float()

        made = sample_euler(denoise, noise, noise_schedule(sampling.steps, sigma_max))
        pictures = self._autoencoder.decode(made)[0].transpose(0, 1)
        return (pictures * 0.5 + 0.5).float().cpu()


class AutoencoderCeiling:
    """The truth through the autoencoder and back: no relighter over this autoencoder can be better."""

    def __init__(self, autoencoder: Autoencoder, device: str) -> None:
        self._autoencoder, self._device = autoencoder, device
        self.reads: tuple[str, ...] = ("relit",)

    @torch.no_grad()
    def render(self, inputs: Mapping[str, Tensor], *, seed: int) -> Rendered:
        """The relit pictures, encoded and decoded."""
        video = as_video(inputs["relit"].to(self._device), "relit", self._autoencoder)
        pictures = self._autoencoder.decode(self._autoencoder.encode(video))[0].transpose(0, 1)
        return Rendered(rgb=(pictures * 0.5 + 0.5).clamp(0, 1).float().cpu(), alpha=None)


def chunk_ranges(frames: int, chunk: int, overlap: int) -> list[tuple[int, int]]:
    """Half-open ranges that cover a clip; neighbours share ``overlap`` frames, the last more where it must."""
    if frames <= chunk:
        return [(0, frames)]
    step = max(1, chunk - overlap)
    starts = [*range(0, frames - chunk, step), frames - chunk]
    return [(start, start + chunk) for start in starts]


def cross_fade(parts: list[tuple[int, Tensor]], frames: int) -> Tensor:
    """Lay chunks (first frame, pictures) over each other, fading linearly where they overlap, shape (frames, ...)."""
    total = parts[0][1].new_zeros(frames, *parts[0][1].shape[1:])
    done = 0
    for start, pictures in parts:
        count, shared = len(pictures), max(0, done - start)
        rise = torch.ones(count)
        rise[:shared] = (torch.arange(shared) + 1) / (shared + 1)
        share = rise[:, None, None, None]
        # what lies there fades out as the new chunk fades in
        total[start : start + count] = total[start : start + count] * (1 - share) + pictures * share
        done = start + count
    return total

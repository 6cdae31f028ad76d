"""From flat-lit pictures and a light to relit pictures, for clips of any length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import torch
from torch import Tensor

from litdome.errors import ConfigError, InputError
from litdome.train_plugins.protocol import Rendered
from litdome.train_plugins.relighter.autoencoder import Autoencoder
from litdome.train_plugins.relighter.batches import as_video, before_black, condition_keys, input_keys
from litdome.train_plugins.relighter.causal import Past, remembering, window_of
from litdome.train_plugins.relighter.chunks import (
    Layout,
    chunk_layout,
    chunked,
    denoise_together,
    faded_agreement,
    frame_by_frame,
    joined,
    restart,
)
from litdome.train_plugins.relighter.conditions import assemble_conditions
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.network import RelighterNetwork
from litdome.train_plugins.relighter.sampler import Denoiser, Given, noise_schedule, sample_euler, still_noise


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

    def render(self, inputs: Mapping[str, Tensor], *, seed: int) -> Rendered:
        """Relight a clip that is in memory.

        Args:
            inputs: What `reads` names, shape (t, 3, h, w) each; maps of one picture serve the whole clip.
            seed: The same seed gives the same pictures; all chunks share one noise.

        Returns:
            Pictures of the clip's length, float32 on the CPU, no alpha.

        Raises:
            InputError: A key is missing, lengths differ, or a size does not fit the network.
            ConfigError: See `stream`.
        """
        clip = self._aligned(inputs)
        frames = len(clip[self.reads[0]])
        pictures = self.stream(({key: value[i] for key, value in clip.items()} for i in range(frames)), seed=seed)
        return Rendered(rgb=torch.stack(list(pictures)), alpha=None)

    def stream(
        self, clip: Iterable[Mapping[str, Tensor]], *, seed: int, before: Sequence[Tensor] = ()
    ) -> Iterator[Tensor]:
        """Relight a clip picture by picture; memory does not grow with its length.

        Pictures are asked for a chunk ahead (with seams ``latent`` as many chunks as there are steps); a causal network
        asks for one.

        Args:
            clip: What `reads` names for each picture, shape (c, h, w) each, at least one picture.
            seed: As for `render`.
            before: What the clip's first pictures came out as in a stream that stopped, shape (3, h, w), uint8 codes;
                the clip begins where `resume_at` says.

        Yields:
            Pictures, shape (3, h, w), float32 on the CPU, 0..1.

        Raises:
            InputError: A size that does not fit the network.
            ConfigError: Chunks that do not fit the autoencoder, or seams that the network was not trained for.
        """
        self._network.eval()
        pictures = iter(clip)
        ahead = list(islice(pictures, 2))
        sampling = self._config.sampling
        is_causal = window_of(self._network) > 0
        layout = self._layout() if len(ahead) > 1 else Layout(1, 0, self._autoencoder.temporal)
        goes_on = not is_causal and sampling.seams == "prefix" and layout.overlap > 0
        known = max(0, (len(before) - layout.overlap) // layout.step) * layout.step if goes_on else 0
        yield from (codes / 255 for codes in before[:known])
        prepared = _Conditions(self._config, self._autoencoder, self._device)
        rest = islice(chain(ahead, pictures), known, None)
        chunks = (prepared.encode(chunk, layout) for chunk in chunked(rest, layout))
        if is_causal:
            made = self._one_by_one(chunks, seed)
        elif sampling.seams == "latent":
            made = self._together(chunks, layout, seed)
        elif goes_on:
            made = self._each_from_the_last(
                chunks, layout, seed, before[known : known + layout.overlap] if known else ()
            )
        else:
            made = (self._pictures(chunk, seed)[: chunk.count].cpu() for chunk in chunks)
        yield from joined(made, layout.overlap, fade=not goes_on)

    def resume_at(self, done: int) -> int:
        """Where `stream` must begin a clip again of which ``done`` pictures are there."""
        window = window_of(self._network)
        if window:  # what a picture can know of: through every block of every step, a window further back
            seen = self._config.sampling.steps * len(self._network.transformer_blocks) * (window - 1)
            return max(0, done - seen)
        return restart(done, self._layout(), self._config.sampling)

    def _layout(self) -> Layout:
        if window_of(self._network):
            return frame_by_frame(self._autoencoder.temporal)
        return chunk_layout(self._config.sampling, self._autoencoder.temporal)

    def _one_by_one(self, chunks: Iterator[_Chunk], seed: int) -> Iterator[Tensor]:
        """Pictures that a causal network makes frame by frame, with a past of its own at every step of the sampler."""
        pasts = [Past() for _ in range(self._config.sampling.steps)]
        for chunk in chunks:
            steps, plain = iter(pasts), self._denoiser(chunk)

            def denoise(noisy: Tensor, level: Tensor, steps: Iterator[Past] = steps, plain: Denoiser = plain) -> Tensor:
                with remembering(self._network, next(steps)):
                    return plain(noisy, level)

            with torch.no_grad():
                latents = sample_euler(denoise, self._noise(chunk, seed), self._sigmas())
                yield self._decode(latents)[: chunk.count].cpu()

    def _each_from_the_last(
        self, chunks: Iterator[_Chunk], layout: Layout, seed: int, before: Sequence[Tensor]
    ) -> Iterator[Tensor]:
        """Pictures of chunks that go on from the last pictures of the one before, the first one from ``before``."""
        if self._config.prefix.share == 0:
            raise ConfigError(
                "sampling.seams prefix: this network was not trained to go on from given pictures",
                hint="--set sampling.seams=fade, or train with --set prefix.share=0.5 --set clip_frames=8",
            )
        last = torch.stack(list(before)) if before else None
        for chunk in chunks:
            given = None if last is None else Given(self._first_latents(last, layout), self._config.prefix.sigma)
            pictures = self._pictures(chunk, seed, given).cpu()
            last = (pictures[layout.step :] * 255 + 0.5).to(torch.uint8)  # as they are kept, should this be stopped
            yield pictures[: chunk.count]

    @torch.no_grad()
    def _pictures(self, chunk: _Chunk, seed: int, given: Given | None = None) -> Tensor:
        return self._decode(sample_euler(self._denoiser(chunk), self._noise(chunk, seed), self._sigmas(), given))

    def _together(self, chunks: Iterator[_Chunk], layout: Layout, seed: int) -> Iterator[Tensor]:
        """Pictures of chunks that were denoised together."""
        counts: list[int] = []

        def started() -> Iterator[tuple[Denoiser, Tensor]]:
            for chunk in chunks:
                counts.append(chunk.count)
                yield self._denoiser(chunk), self._noise(chunk, seed)

        for latents in denoise_together(started(), self._sigmas(), faded_agreement(layout, self._autoencoder)):
            with torch.no_grad():
                pictures = self._decode(latents)
            yield pictures[: counts.pop(0)].cpu()

    def _denoiser(self, chunk: _Chunk) -> Denoiser:
        def denoise(noisy: Tensor, level: Tensor) -> Tensor:
            reduced = self._config.precision == "bfloat16"
            with torch.no_grad(), torch.autocast(self._device.split(":")[0], torch.bfloat16, enabled=reduced):
                output: Tensor = self._network(noisy, level, chunk.conditions)
            return output.float()

        return denoise

    def _sigmas(self) -> Tensor:
        return noise_schedule(self._config.sampling.steps, self._config.noise.sigma_max)

    def _noise(self, chunk: _Chunk, seed: int) -> Tensor:
        # the same for every chunk
        return still_noise(tuple(chunk.shape), seed).to(self._device)

    def _decode(self, latents: Tensor) -> Tensor:
        """Pictures of a chunk, shape (t, 3, h, w), 0..1."""
        return (self._autoencoder.decode(latents)[0].transpose(0, 1) * 0.5 + 0.5).float().clamp(0, 1)

    @torch.no_grad()
    def _first_latents(self, codes: Tensor, layout: Layout) -> Tensor:
        """Latents that a chunk begins with, of its first pictures as uint8 codes."""
        first = codes.to(self._device) / 255
        # encoded as the beginning of a video, never as a single picture, whose latents are another matter
        video = torch.cat([first, first[-1:].expand(layout.temporal, -1, -1, -1)])
        return self._autoencoder.encode(as_video(video, "relit", self._autoencoder))[:, :, : layout.shared]

    def _aligned(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        missing = [key for key in self.reads if key not in inputs]
        if missing:
            raise InputError(f"relighter: {', '.join(missing)} missing among the inputs", hint=f"reads {self.reads}")
        frames = max(len(inputs[key]) for key in self.reads)
        for key in self.reads:
            if len(inputs[key]) not in (1, frames):
                raise InputError(f"relighter: {key} has {len(inputs[key])} pictures, the clip {frames}")
        return {key: inputs[key].expand(frames, -1, -1, -1) for key in self.reads}


@dataclass(frozen=True)
class _Chunk:
    """Conditions of a chunk, shape of its latents, and how many of its pictures are the clip's."""

    conditions: Tensor
    shape: torch.Size
    count: int


class _Conditions:
    """Encodes chunks, and what stays the same from one chunk to the next (a still light) only once."""

    def __init__(self, config: RelighterConfig, autoencoder: Autoencoder, device: str) -> None:
        self._config, self._autoencoder, self._device = config, autoencoder, device
        self._last: dict[str, tuple[Tensor, Tensor]] = {}

    def encode(self, chunk: list[Mapping[str, Tensor]], layout: Layout) -> _Chunk:
        """A chunk's conditions; a last chunk that is too short repeats its last picture."""
        filled = [*chunk, *[chunk[-1]] * (layout.frames - len(chunk))]
        stacked = {key: torch.stack([one[key] for one in filled]) for key in input_keys(self._config)}
        inputs = before_black(stacked, self._config)
        latents = {name: self._latents(key, inputs[key]) for key, name in condition_keys(self._config).items()}
        like = next(iter(latents.values()))
        return _Chunk(assemble_conditions(latents, like), like.shape, len(chunk))

    def _latents(self, key: str, pictures: Tensor) -> Tensor:
        known = self._last.get(key)
        if known is None or not torch.equal(known[0], pictures):
            with torch.no_grad():
                made = self._autoencoder.encode(as_video(pictures.to(self._device), key, self._autoencoder))
            known = self._last[key] = (pictures, made)
        return known[1]


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

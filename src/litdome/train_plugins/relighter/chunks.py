"""Clips of any length in chunks of one length: what a chunk holds, and how neighbours are made to agree.

Everything here is a generator, so that memory does not grow with the clip. docs/long-video.md compares the seams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor

from litdome.errors import ConfigError
from litdome.train_plugins.relighter.autoencoder import Autoencoder
from litdome.train_plugins.relighter.config import SamplingConfig
from litdome.train_plugins.relighter.sampler import Denoiser, predict_clean, start_latents, step_euler

Picture = TypeVar("Picture")
Agreement = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Layout:
    """How a clip is cut.

    Attributes:
        frames: Pictures of a chunk.
        overlap: Pictures that it shares with the next one.
        temporal: Pictures of a latent frame, but for the first of a chunk, which is one picture.
    """

    frames: int
    overlap: int
    temporal: int

    @property
    def latents(self) -> int:
        """Latent frames of a chunk."""
        return (self.frames - 1) // self.temporal + 1

    @property
    def shared(self) -> int:
        """Latent frames that begin a chunk and belong to pictures that the one before has too."""
        return (self.overlap - 1) // self.temporal + 1 if self.overlap else 0

    @property
    def step(self) -> int:
        """Pictures from the beginning of a chunk to that of the next."""
        return self.frames - self.overlap


def restart(done: int, layout: Layout, sampling: SamplingConfig) -> int:
    """Where a clip must begin again so that its pictures from ``done`` on come out as if it had never stopped.

    Chunks start there that shape the one which makes picture ``done``: with seams ``latent`` one before it for each
    step, with ``prefix`` one (whose pictures are known), otherwise none.
    """
    earlier = {"latent": sampling.steps, "prefix": 1}.get(sampling.seams, 0)
    making = (done - max(layout.overlap, 1)) // layout.step
    return max(0, making - earlier) * layout.step


def chunk_layout(sampling: SamplingConfig, temporal: int) -> Layout:
    """The layout that the configuration asks for.

    Raises:
        ConfigError: Numbers of pictures that do not make whole latent frames, or an overlap of more than half a chunk.
    """
    frames, overlap = sampling.chunk_frames, 0 if sampling.seams == "cut" else sampling.overlap_frames
    if (frames - 1) % temporal:
        whole = (frames - 1) // temporal * temporal + temporal + 1
        raise ConfigError(
            f"sampling.chunk_frames {frames}: this autoencoder takes one picture more than a multiple of {temporal}",
            hint=f"--set sampling.chunk_frames={whole}",
        )
    most = (frames // 2 - 1) // temporal * temporal + 1 if frames > 1 else 0
    least = 1 if sampling.seams == "prefix" else 0
    if not least <= overlap <= most or (overlap and (overlap - 1) % temporal):
        allowed = f"{least}..{most}" if temporal == 1 else f"0 or 1 more than a multiple of {temporal}, at most {most}"
        raise ConfigError(
            f"sampling.overlap_frames {overlap}: allowed for chunks of {frames} with seams {sampling.seams}: {allowed}",
            hint=f"--set sampling.overlap_frames={most}",
        )
    return Layout(frames, overlap, temporal)


def frame_by_frame(temporal: int) -> Layout:
    """The layout of a causal network.

    Raises:
        ConfigError: An autoencoder that needs several pictures for a latent frame.
    """
    if temporal > 1:
        raise ConfigError(
            f"causal_frames: this autoencoder puts {temporal} pictures into a latent frame, frame by frame needs 1",
            hint="--set causal_frames=0",
        )
    return Layout(1, 0, 1)


def chunked(clip: Iterable[Picture], layout: Layout) -> Iterator[list[Picture]]:
    """Lists of ``layout.frames`` pictures, each beginning with the last ones of the list before.

    The last list is as short as it comes, but always holds something new.
    """
    held: list[Picture] = []
    for picture in clip:
        if len(held) == layout.frames:
            yield held
            held = held[layout.frames - layout.overlap :]
        held.append(picture)
    if held:
        yield held


def joined(chunks: Iterable[Tensor], overlap: int, *, fade: bool) -> Iterator[Tensor]:
    """The pictures of chunks, one after the other.

    Args:
        chunks: Shape (t, ...) each; a chunk's first ``overlap`` pictures show what the last of the one before do.
        overlap: Pictures that are there twice.
        fade: Fade from one chunk to the next where they overlap; otherwise what came first stays.
    """
    held: Tensor | None = None
    for pictures in chunks:
        if held is not None:
            rise = (torch.arange(len(held)) + 1) / (len(held) + 1) * fade
            mixed = torch.lerp(held, pictures[: len(held)], rise.reshape(-1, *[1] * (held.dim() - 1)))
            pictures = torch.cat([mixed, pictures[len(held) :]])
        done = max(0, len(pictures) - overlap)
        yield from pictures[:done]
        held = pictures[done:]
    if held is not None:
        yield from held


@dataclass(frozen=True)
class Noisy:
    """A chunk on its way from noise to pictures."""

    denoise: Denoiser
    latents: Tensor


def denoise_together(chunks: Iterable[tuple[Denoiser, Tensor]], sigmas: Tensor, agree: Agreement) -> Iterator[Tensor]:
    """Sample chunks so that neighbours agree, at every noise level, about the frames that they share.

    A chunk takes a step as soon as the next one has come as far, so one chunk more than there are steps is held at
    a time, whatever the clip's length.

    Args:
        chunks: The network with a chunk's conditions bound, and the chunk's unit normal noise.
        sigmas: From `noise_schedule`.
        agree: Makes the guesses of a chunk and of the next one equal in what they share.

    Yields:
        Clean latents of the chunks in order.

    Source: the averaging at every step is MultiDiffusion's (Bar-Tal et al. 2023), here along time.
    """
    moving: Iterator[Noisy] = (Noisy(denoise, start_latents(noise, sigmas)) for denoise, noise in chunks)
    for here, after in pairwise(sigmas):
        moving = _step(moving, here, after, agree)
    for chunk in moving:
        yield chunk.latents


def _step(chunks: Iterator[Noisy], here: Tensor, after: Tensor, agree: Agreement) -> Iterator[Noisy]:
    waiting: tuple[Noisy, Tensor] | None = None
    for chunk in chunks:
        level = here.to(chunk.latents.device)
        clean = predict_clean(chunk.denoise, chunk.latents, level)
        if waiting is not None:
            before, guess = waiting
            guess, clean = agree(guess, clean)
            yield Noisy(before.denoise, step_euler(before.latents, guess, level, after.to(level)))
        waiting = chunk, clean
    if waiting is not None:
        chunk, clean = waiting
        level = here.to(clean.device)
        yield Noisy(chunk.denoise, step_euler(chunk.latents, clean, level, after.to(level)))


def faded_agreement(layout: Layout, autoencoder: Autoencoder) -> Agreement:
    """Fade linearly from the earlier chunk's guess to the later one's over the latent frames that they share.

    A later chunk's first latent frame is left alone where latent frames hold several pictures, as it holds but one.
    """
    first = 0 if layout.temporal == 1 else 1
    count = max(0, layout.shared - first)
    at = layout.latents - count

    def agree(before: Tensor, now: Tensor) -> tuple[Tensor, Tensor]:
        if count == 0:
            return before, now
        rise = (torch.arange(first, layout.shared) + 1) / (layout.shared + 1)
        theirs = autoencoder.restandardise(before[:, :, at:], at, first)
        mixed = torch.lerp(theirs, now[:, :, first : first + count], rise.to(now)[:, None, None])
        earlier = torch.cat([before[:, :, :at], autoencoder.restandardise(mixed, first, at)], dim=2)
        return earlier, torch.cat([now[:, :, :first], mixed, now[:, :, first + count :]], dim=2)

    return agree

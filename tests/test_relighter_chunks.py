"""How long clips are cut, denoised together and joined."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from small_tokenizer import small_tokenizer
from torch import Tensor

from litdome.errors import ConfigError
from litdome.train_plugins.relighter.autoencoder import HaarAutoencoder
from litdome.train_plugins.relighter.chunks import (
    Layout,
    chunk_layout,
    chunked,
    denoise_together,
    faded_agreement,
    joined,
    restart,
)
from litdome.train_plugins.relighter.config import SamplingConfig
from litdome.train_plugins.relighter.sampler import noise_schedule, precondition, sample_euler, seeded_noise

LAYOUT = Layout(4, 2, 1)
torch.set_num_threads(1)


@pytest.mark.parametrize(("frames", "chunk", "overlap"), [(1, 4, 1), (4, 4, 1), (5, 4, 1), (23, 4, 2), (9, 9, 0)])
def test_chunks_hold_every_picture_and_share_the_overlap(frames: int, chunk: int, overlap: int) -> None:
    chunks = list(chunked(range(frames), Layout(chunk, overlap, 1)))
    assert all(len(one) == chunk for one in chunks[:-1])
    assert all(before[chunk - overlap :] == after[:overlap] for before, after in pairwise(chunks))
    assert [*chunks[0], *(n for one in chunks[1:] for n in one[overlap:])] == list(range(frames))
    assert len(chunks[-1]) > overlap or len(chunks) == 1


def test_nothing_is_read_further_ahead_than_a_chunk() -> None:
    read: list[int] = []

    def clip() -> Iterator[int]:
        for number in range(100):
            read.append(number)
            yield number

    next(chunked(clip(), LAYOUT))
    assert len(read) == LAYOUT.frames + 1


def test_chunks_that_agree_stay_as_they_are() -> None:
    video = torch.rand(11, 3, 2, 2)
    parts = [video[list(numbers)] for numbers in chunked(range(11), LAYOUT)]
    for fade in (True, False):
        assert torch.allclose(torch.stack(list(joined(parts, 2, fade=fade))), video, atol=1e-6)


def test_chunks_that_differ_fade_linearly_or_keep_what_came_first() -> None:
    parts = [torch.zeros(4, 3, 1, 1), torch.ones(4, 3, 1, 1)]
    shown = [torch.stack(list(joined(parts, 2, fade=fade)))[:, 0, 0, 0].tolist() for fade in (True, False)]
    assert shown[0] == pytest.approx([0, 0, 1 / 3, 2 / 3, 1, 1]) and shown[1] == [0, 0, 0, 0, 1, 1]


def test_a_clip_shorter_than_the_overlap_comes_out_whole() -> None:
    assert len(list(joined([torch.zeros(1, 3, 1, 1)], 2, fade=True))) == 1


def test_layout_counts_latents_of_a_causal_autoencoder() -> None:
    layout = chunk_layout(SamplingConfig(chunk_frames=57, overlap_frames=9), 8)
    assert (layout.latents, layout.shared) == (8, 2)
    assert chunk_layout(SamplingConfig(chunk_frames=57, overlap_frames=9, seams="cut"), 8).overlap == 0
    assert chunk_layout(SamplingConfig(chunk_frames=8, overlap_frames=3), 1).shared == 3


@pytest.mark.parametrize(
    ("settings", "temporal", "typed"),
    [
        ({"chunk_frames": 4}, 8, "chunk_frames=9"),
        ({"chunk_frames": 57, "overlap_frames": 8}, 8, "overlap_frames=25"),
        ({"chunk_frames": 57, "overlap_frames": 33}, 8, "overlap_frames=25"),
        ({"chunk_frames": 5, "overlap_frames": 3}, 1, "overlap_frames=2"),
        ({"chunk_frames": 6, "overlap_frames": 0, "seams": "prefix"}, 1, "overlap_frames=3"),
    ],
)
def test_a_layout_that_cannot_be_says_what_to_type(settings: dict[str, object], temporal: int, typed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        chunk_layout(SamplingConfig.model_validate(settings), temporal)
    assert caught.value.hint == f"--set sampling.{typed}"
    key, value = typed.split("=")
    chunk_layout(SamplingConfig.model_validate({**settings, key: int(value)}), temporal)  # and it works


@pytest.mark.parametrize(
    ("seams", "done", "start"), [("cut", 6, 0), ("cut", 7, 6), ("fade", 5, 0), ("fade", 6, 4), ("prefix", 10, 4)]
)
def test_a_clip_begins_again_where_the_chunk_that_was_being_made_began(seams: str, done: int, start: int) -> None:
    sampling = SamplingConfig.model_validate({"chunk_frames": 6, "overlap_frames": 2, "seams": seams})
    assert restart(done, chunk_layout(sampling, 1), sampling) == start


def towards(clean: Tensor, pull: float = 1.0) -> object:
    """A network that knows an answer, and believes a share ``1 - pull`` of what it sees."""

    def denoise(scaled: Tensor, level: Tensor) -> Tensor:
        scale = precondition((level[0] * 4).exp())
        noisy = scaled / scale.c_in
        return (pull * clean + (1 - pull) * noisy - scale.c_skip * noisy) / scale.c_out

    return denoise


def latents(value: float) -> Tensor:
    return torch.full((1, 48, 4, 2, 2), value)


@pytest.mark.parametrize("steps", [1, 3])
def test_chunks_denoised_together_agree_in_what_they_share(steps: int) -> None:
    noise, sigmas = seeded_noise((1, 48, 4, 2, 2), 0), noise_schedule(steps)
    chunks = [(towards(latents(value)), noise) for value in (0.0, 0.3, 0.9)]
    made = list(denoise_together(chunks, sigmas, faded_agreement(LAYOUT, HaarAutoencoder())))  # type: ignore[arg-type]
    assert len(made) == 3
    for before, after in pairwise(made):
        assert torch.allclose(before[:, :, 2:], after[:, :, :2], atol=1e-5)
    shown = made[1][0, 0, :, 0, 0].tolist()
    assert shown == pytest.approx([0.1, 0.2, 0.5, 0.7], abs=1e-4)


def test_agreement_at_every_level_is_more_than_a_fade_at_the_end() -> None:
    """Where a guess depends on what is seen in a way that is not linear."""
    noise, sigmas = seeded_noise((1, 48, 4, 2, 2), 0), noise_schedule(3)

    def bent(value: float) -> object:
        def denoise(scaled: Tensor, level: Tensor) -> Tensor:
            scale = precondition((level[0] * 4).exp())
            noisy = scaled / scale.c_in
            return (torch.tanh(noisy) + value - scale.c_skip * noisy) / scale.c_out

        return denoise

    chunks, agree = [(bent(value), noise) for value in (0.0, 0.5)], faded_agreement(LAYOUT, HaarAutoencoder())
    first, second = denoise_together(chunks, sigmas, agree)  # type: ignore[arg-type]
    alone, next_alone = (sample_euler(network, noise, sigmas) for network, _ in chunks)  # type: ignore[arg-type]
    faded = agree(alone, next_alone)[0]
    assert torch.allclose(first[:, :, :2], alone[:, :, :2]) and torch.allclose(first[:, :, 2:], second[:, :, :2])
    assert float((first - faded).abs().max()) > 0.05


def test_one_chunk_alone_is_sampled_as_ever() -> None:
    noise, sigmas = seeded_noise((1, 48, 4, 2, 2), 0), noise_schedule(4)
    network = towards(latents(0.4), 0.7)
    together = list(denoise_together([(network, noise)], sigmas, faded_agreement(LAYOUT, HaarAutoencoder())))  # type: ignore[list-item]
    assert torch.equal(together[0], sample_euler(network, noise, sigmas))  # type: ignore[arg-type]


def test_denoising_together_holds_as_many_chunks_as_steps_and_one() -> None:
    started, steps = [], 3

    def chunks() -> Iterator[tuple[object, Tensor]]:
        for number in range(50):
            started.append(number)
            yield towards(latents(0.0)), latents(1.0)

    agree = faded_agreement(LAYOUT, HaarAutoencoder())
    next(denoise_together(chunks(), noise_schedule(steps), agree))  # type: ignore[arg-type]
    assert len(started) == steps + 1


def test_a_first_latent_of_one_picture_is_not_mixed_with_one_of_eight() -> None:
    cosmos = small_tokenizer()
    before, now = torch.zeros(1, 16, 8, 2, 2), torch.ones(1, 16, 8, 2, 2)
    earlier, later = faded_agreement(Layout(57, 17, 8), cosmos)(before, now)
    assert torch.equal(earlier[:, :, :6], before[:, :, :6])
    assert torch.equal(later[:, :, [0, 3, 4, 5, 6, 7]], now[:, :, :6])
    mean, std = (value.double() for value in cosmos._video)
    raw = [earlier[:, :, at] * std[:, :, at] + mean[:, :, at] * 0.5 for at in (6, 7)]
    same = [later[:, :, at] * std[:, :, at] + mean[:, :, at] * 0.5 for at in (1, 2)]
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(raw, same, strict=True))
    assert not torch.allclose(earlier[:, :, 6:], later[:, :, 1:3], atol=1e-3)  # the statistics do differ


def test_first_latents_do_not_depend_on_what_comes_later() -> None:
    """What a chunk goes on from is encoded without its later pictures."""
    cosmos = small_tokenizer()
    video = torch.rand(1, 3, 17, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        whole, begun = cosmos.encode(video), cosmos.encode(torch.cat([video[:, :, :1]] * 9, dim=2))
        alone = cosmos.encode(video[:, :, :1])
    assert torch.allclose(whole[:, :, :1], begun[:, :, :1], atol=1e-4)
    assert not torch.allclose(whole[:, :, :1], alone, atol=1e-2)  # a single picture has statistics of its own

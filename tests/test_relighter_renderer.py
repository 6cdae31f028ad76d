"""Long clips through the relighter, with networks whose answers are known."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from small_tokenizer import small_tokenizer
from torch import Tensor, nn

from litdome.errors import ConfigError, InputError
from litdome.train_plugins.protocol import StreamingRenderer
from litdome.train_plugins.relighter.autoencoder import HaarAutoencoder
from litdome.train_plugins.relighter.config import NetworkConfig, PrefixConfig, RelighterConfig, SamplingConfig
from litdome.train_plugins.relighter.network import RelighterNetwork
from litdome.train_plugins.relighter.renderer import RelighterRenderer
from litdome.train_plugins.relighter.sampler import precondition
from litdome.train_plugins.relighter.weights import random_base

torch.set_num_threads(1)
SEAMS = ("cut", "fade", "latent", "prefix")
SIZE = (16, 16)


class ShowsItsLight(nn.Module):
    """Weights with a known answer: the picture is the ldr map, of each frame its own."""

    def __init__(self, channels: int = 48) -> None:
        super().__init__()
        # env_ldr is the sixth of the conditions, each of which ends in a mask
        self._ldr = slice(5 * (channels + 1), 5 * (channels + 1) + channels)

    def forward(self, scaled: Tensor, level: Tensor, conditions: Tensor) -> Tensor:
        scale = precondition((level * 4).exp().reshape(1, 1, -1, 1, 1))
        return (conditions[:, self._ldr] - scale.c_skip * scaled / scale.c_in) / scale.c_out


def settings(seams: str, *, steps: int = 1, trained: bool = True) -> RelighterConfig:
    return RelighterConfig(
        base="random",
        mode="full",
        network=NetworkConfig(heads=2, head_dim=12, blocks=1, adaln_dim=4),
        sampling=SamplingConfig(steps=steps, chunk_frames=6, overlap_frames=2, seams=seams),  # type: ignore[arg-type]
        prefix=PrefixConfig(share=0.5 if trained else 0.0, frames=2),
    )


def renderer(config: RelighterConfig, network: nn.Module | None = None, spread: float = 0.3) -> RelighterRenderer:
    """A random network by default, none of whose layers is nearly zero as in a fresh one."""
    base = random_base(config.network, 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in base.network.named_parameters():
            if weight.dim() == 2:
                size = spread if name == "proj_out.weight" else weight.shape[1] ** -0.5
                weight.copy_(torch.randn(weight.shape, generator=generator) * size)
    chosen: RelighterNetwork = network or base.network  # type: ignore[assignment]
    return RelighterRenderer(chosen, HaarAutoencoder(), config, "cpu")


def clip(frames: int, seed: int = 0) -> dict[str, Tensor]:
    """Noise as flat pictures, under a light that grows from picture to picture."""
    made = torch.Generator().manual_seed(seed)
    grows = torch.linspace(-0.9, 0.8, frames)[:, None, None, None].expand(-1, 3, *SIZE)
    return {
        "flat": torch.rand(frames, 3, *SIZE, generator=made),
        **{"env_ldr": grows, "env_log": grows * 0.5},
        "env_direction": torch.rand(1, 3, *SIZE, generator=made),
    }


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("seams", SEAMS)
def test_a_light_that_moves_is_that_of_every_picture_across_chunks(seams: str, steps: int) -> None:
    inputs = clip(15)
    made = renderer(settings(seams, steps=steps), ShowsItsLight()).render(inputs, seed=0).rgb
    assert torch.allclose(made, (inputs["env_ldr"] + 1) / 2, atol=1e-4)


@pytest.mark.parametrize("frames", [1, 2, 6, 7, 11])
@pytest.mark.parametrize("seams", SEAMS)
def test_every_length_comes_out_picture_for_picture_from_a_stream(seams: str, frames: int) -> None:
    inputs, made = clip(frames), renderer(settings(seams, steps=2))
    assert isinstance(made, StreamingRenderer)
    whole = made.render(inputs, seed=3).rgb
    one_by_one = ({key: value[min(i, len(value) - 1)] for key, value in inputs.items()} for i in range(frames))
    assert whole.shape == (frames, 3, *SIZE) and torch.equal(whole, torch.stack(list(made.stream(one_by_one, seed=3))))


def test_a_short_clip_is_one_whose_last_picture_stays() -> None:
    inputs, made = clip(3), renderer(settings("fade"))
    longer = {key: torch.cat([value, value[-1:].expand(3, -1, -1, -1)]) for key, value in inputs.items()}
    longer["env_direction"] = inputs["env_direction"]
    assert torch.equal(made.render(inputs, seed=0).rgb, made.render(longer, seed=0).rgb[:3])


def test_chunks_side_by_side_know_nothing_of_each_other() -> None:
    inputs = clip(12)
    second = {key: value[6:] if len(value) > 1 else value for key, value in inputs.items()}
    made = renderer(settings("cut"))
    assert torch.equal(made.render(inputs, seed=0).rgb[6:], made.render(second, seed=0).rgb)


def test_in_one_step_agreeing_latents_are_a_fade() -> None:
    """The Haar transform is linear, so fading guesses or pictures is the same."""
    fade, latent = (renderer(settings(s), spread=0.03).render(clip(14), seed=0).rgb for s in ("fade", "latent"))
    assert float(fade.min()) > 0 and float(fade.max()) < 1  # pictures are clamped before they fade, latents are not
    assert torch.allclose(fade, latent, atol=1e-5)


def test_a_chunk_goes_on_from_the_pictures_before_it() -> None:
    inputs = clip(10)
    changed = {**inputs, "flat": inputs["flat"].clone()}
    changed["flat"][:4] = 0.2  # only in the first chunk
    for seams, reaches in (("prefix", True), ("cut", False)):
        made = renderer(settings(seams))
        before, after = (made.render(one, seed=0).rgb for one in (inputs, changed))
        assert not torch.equal(before[:4], after[:4])
        assert torch.equal(before[6:], after[6:]) != reaches


def test_a_network_that_never_went_on_is_not_asked_to() -> None:
    with pytest.raises(ConfigError, match="not trained to go on"):
        renderer(settings("prefix", trained=False)).render(clip(7), seed=0)
    assert len(renderer(settings("prefix", trained=False)).render(clip(1), seed=0).rgb) == 1


def test_pictures_come_while_the_clip_is_still_being_read() -> None:
    read: list[int] = []
    inputs = clip(40)

    def pictures() -> Iterator[dict[str, Tensor]]:
        for i in range(40):
            read.append(i)
            yield {key: value[min(i, len(value) - 1)] for key, value in inputs.items()}

    for seams, ahead in (("fade", 7), ("prefix", 7), ("latent", 6 + 4 + 4 + 1)):
        read.clear()
        next(iter(renderer(settings(seams, steps=2)).stream(pictures(), seed=0)))
        assert len(read) == ahead


def test_inputs_that_do_not_fit_are_named() -> None:
    inputs = clip(4)
    with pytest.raises(InputError, match="env_log missing"):
        renderer(settings("cut")).render({k: v for k, v in inputs.items() if k != "env_log"}, seed=0)
    with pytest.raises(InputError, match="flat has 3 pictures, the clip 4"):
        renderer(settings("cut")).render({**inputs, "flat": inputs["flat"][:3]}, seed=0)


@pytest.mark.parametrize("seams", SEAMS)
def test_a_stream_that_stopped_anywhere_goes_on_as_if_it_had_not(seams: str) -> None:
    inputs, made = clip(17), renderer(settings(seams, steps=2))
    whole = made.render(inputs, seed=0).rgb
    codes = (whole * 255 + 0.5).to(torch.uint8)
    for done in (1, 5, 6, 7, 10, 14, 16):
        start = made.resume_at(done)
        rest = [{key: value[min(i, len(value) - 1)] for key, value in inputs.items()} for i in range(start, 17)]
        again = torch.stack(list(made.stream(rest, seed=0, before=list(codes[start:done]))))
        assert len(again) == 17 - start and start % made._layout().step == 0
        assert torch.equal(again[done - start :], whole[done:]), done
    assert made.resume_at(16) > 0


@pytest.mark.parametrize("seams", SEAMS)
def test_a_causal_autoencoder_of_eight_pictures_a_latent_takes_a_light_that_moves(seams: str) -> None:
    """The tokenizer's weights are random: what it makes of the light's video is what must come out."""
    inputs = {key: value.repeat_interleave(2, 2).repeat_interleave(2, 3) for key, value in clip(27).items()}
    sampling = SamplingConfig(steps=2, chunk_frames=17, overlap_frames=1, seams=seams)  # type: ignore[arg-type]
    config = settings(seams).model_copy(update={"sampling": sampling})
    tokenizer = small_tokenizer()
    made = RelighterRenderer(ShowsItsLight(16), tokenizer, config, "cpu").render(inputs, seed=0).rgb  # type: ignore[arg-type]
    assert made.shape == inputs["flat"].shape
    with torch.no_grad():
        latents = tokenizer.encode(inputs["env_ldr"][:17].transpose(0, 1)[None])
        expected = (tokenizer.decode(latents)[0].transpose(0, 1) * 0.5 + 0.5).clamp(0, 1)
    assert latents.shape[2] == 3 and float(expected[:16].std()) > 0.01
    assert torch.allclose(made[:16], expected[:16], atol=1e-3)
    single = RelighterRenderer(ShowsItsLight(16), tokenizer, config, "cpu")  # type: ignore[arg-type]
    assert len(single.render({key: value[:1] for key, value in inputs.items()}, seed=0).rgb) == 1

"""Wan beside Cosmos: the same inputs and outputs, its own arithmetic inside, trained and rendered by the same code."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from litdome.errors import InputError
from litdome.train_plugins.checks import SyntheticView
from litdome.train_plugins.relighter import RelighterTrainer
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.model import (
    load_weights,
    open_trainable,
    require_live_adapter,
    save_weights,
    trainable,
)
from litdome.train_plugins.relighter.objective import Batch, edm_losses
from litdome.train_plugins.relighter.renderer import RelighterRenderer
from litdome.train_plugins.relighter.sampler import noise_schedule, predict_clean, step_euler
from litdome.train_plugins.relighter.wan import WanRelighter
from litdome.train_plugins.relighter.weights import Base, load_base
from litdome.train_plugins.run import RunFolder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Wan in the layout of Wan2.1-T2V-1.3B-Diffusers."""
    from diffusers import AutoencoderKLWan, WanTransformer3DModel

    made = tmp_path_factory.mktemp("wan")
    torch.manual_seed(3)
    transformer = WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=24, text_dim=8, freq_dim=16, ffn_dim=64, num_layers=2
    )
    transformer.save_pretrained(made / "transformer")
    AutoencoderKLWan(base_dim=8, num_res_blocks=1).save_pretrained(made / "vae")
    (made / "model_index.json").write_text(json.dumps({"_class_name": "WanPipeline"}))
    return made


@pytest.fixture(scope="module")
def base(folder: Path) -> Base:
    return load_base(folder)


def normal(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def plain(folder: Path) -> torch.nn.Module:
    from diffusers import WanTransformer3DModel

    model: torch.nn.Module = WanTransformer3DModel.from_pretrained(folder / "transformer")
    return model


@torch.no_grad()
def test_untrained_it_samples_what_diffusers_samples_from_wan(folder: Path, base: Base) -> None:
    """diffusers' flow-matching scheduler and ours, step by step from the same noise: conditions change nothing yet."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    assert isinstance(base.network, WanRelighter)
    sigmas = noise_schedule(4, 20.0, 0.2)
    shares = sigmas / (sigmas + 0.5)
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=shares[:-1].tolist())
    noise, model = normal(1, 16, 3, 4, 6), plain(folder)
    theirs = noise * shares[0] + 0.0
    for time in scheduler.timesteps:
        velocity = model(theirs, time.expand(1), torch.zeros(1, 512, 8), return_dict=False)[0]
        theirs = scheduler.step(velocity, time, theirs, return_dict=False)[0]
    conditions = normal(1, base.network.condition_channels, 3, 4, 6, seed=1)
    latents = noise * sigmas[0]
    for here, after in pairwise(sigmas):
        clean = predict_clean(lambda x, level: base.network(x, level, conditions), latents, here)
        latents = step_euler(latents, clean, here, after)
    assert theirs.std() > 0.5
    assert (latents / 0.5 - theirs).abs().max() < 1e-4 * theirs.abs().max()  # ours have a deviation of 0.5


@torch.no_grad()
def test_one_level_for_all_frames_is_that_level_for_each(base: Base) -> None:
    latents, conditions = normal(2, 16, 3, 4, 6), normal(2, base.network.condition_channels, 3, 4, 6, seed=1)
    level = torch.tensor([0.4, -0.3])
    same = base.network(latents, level, conditions)
    by_frame = level.reshape(2, 1, 1, 1, 1).expand(2, 1, 3, 1, 1).clone()
    assert torch.allclose(base.network(latents, by_frame, conditions), same, atol=1e-5)
    by_frame[:, :, 0] = -0.9
    assert not torch.allclose(base.network(latents, by_frame, conditions), same, atol=1e-2)


@torch.no_grad()
def test_latents_have_half_wans_deviation_and_come_back(folder: Path, base: Base) -> None:
    from diffusers import AutoencoderKLWan

    video = torch.rand(1, 3, 5, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    model = AutoencoderKLWan.from_pretrained(folder / "vae")
    raw = model.encode(video).latent_dist.mode()
    mean, std = (torch.tensor(model.config[k])[:, None, None, None] for k in ("latents_mean", "latents_std"))
    latents = base.autoencoder.encode(video)
    assert latents.shape == (1, 16, 2, 2, 3)
    assert torch.allclose(latents, (raw - mean) / std * 0.5, atol=1e-5)
    assert torch.allclose(base.autoencoder.decode(latents), model.decode(raw).sample, atol=1e-4)


@pytest.mark.parametrize(("mode", "precision"), [("lora", "float32"), ("lora", "bfloat16"), ("full", "float32")])
def test_it_learns_conditions_and_a_checkpoint_brings_them_back(
    folder: Path, tmp_path: Path, mode: str, precision: str
) -> None:
    config = RelighterConfig.model_validate({"base": str(folder), "mode": mode, "precision": precision})
    opened = open_trainable(config, 0)
    network, weights = opened.network, trainable(opened.network)
    optimizer = torch.optim.AdamW(weights.values(), lr=3e-3)
    conditions = normal(2, network.condition_channels, 2, 4, 4, seed=1)
    batch = Batch(conditions[:, :16] * 0.5, conditions, None)  # the first condition is the answer
    losses = []
    for step in range(30):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = edm_losses(
                network, batch, torch.tensor([0.5, 5.0]), normal(2, 16, 2, 4, 4, seed=step), torch.ones(16)
            )
        loss.mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach().mean()))
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    save_weights(tmp_path, network, config)
    again = open_trainable(config, 0).network
    load_weights(tmp_path, again, config, average=False)
    assert all(torch.equal(value, trainable(again)[name]) for name, value in weights.items())
    if mode == "lora":
        assert any("patch_embedding" in name for name in weights)
        assert require_live_adapter(again) > 0


def test_it_renders_a_clip(base: Base) -> None:
    config = RelighterConfig.model_validate(
        {"sampling": {"chunk_frames": 5, "overlap_frames": 1, "steps": 2}, "noise": {"sigma_max": 80.0}}
    )
    renderer = RelighterRenderer(base.network, base.autoencoder, config, "cpu")
    inputs = {key: torch.rand(7, 3, 32, 48, generator=torch.Generator().manual_seed(0)) for key in renderer.reads}
    made = renderer.render(inputs, seed=0).rgb
    assert made.shape == (7, 3, 32, 48) and bool(made.isfinite().all())
    assert torch.equal(made, renderer.render(inputs, seed=0).rgb)


def test_a_variant_that_hears_other_conditions_is_refused(folder: Path, tmp_path: Path) -> None:
    from diffusers import WanTransformer3DModel

    (tmp_path / "vae").symlink_to(folder / "vae")
    made = WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=24, in_channels=36, text_dim=8, freq_dim=16, ffn_dim=64, num_layers=1
    )
    made.save_pretrained(tmp_path / "transformer")
    with pytest.raises(InputError, match="36 channels in, 16 out"):
        load_base(tmp_path)


def test_a_run_trains_from_it_and_renders(folder: Path, tmp_path: Path) -> None:
    settings = RelighterConfig.model_validate(
        {"base": str(folder), "steps": 1, "batch": 2, "noise": {"sigma_max": 80.0, "ln_sigma_mean": 0.92}}
    )
    run = RunFolder.create(
        tmp_path / "run", plugin="relighter", config=settings, dataset="synthetic", dataset_fingerprint="0"
    )
    RelighterTrainer().fit(SyntheticView(), settings, run)
    renderer = RelighterTrainer().load(run, "cpu")
    sample = SyntheticView()[0]
    made = renderer.render({key: sample[key] for key in renderer.reads}, seed=0).rgb
    assert made.shape == sample["relit"].shape and bool(made.isfinite().all())

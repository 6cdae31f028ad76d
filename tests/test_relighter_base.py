"""The base that ships: small, never trained on people, and better than what needs no training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from litdome.synth.scenes import render_scene
from litdome.train_plugins.relighter.config import NoiseConfig, RelighterConfig
from litdome.train_plugins.relighter.renderer import RelighterRenderer
from litdome.train_plugins.relighter.weights import TINY_BASE, load_base

UNSEEN = range(2_000_000, 2_000_024)  # pre-training takes seeds from 0


def psnr(picture: Tensor, truth: Tensor, mask: Tensor) -> float:
    error = ((picture - truth) ** 2 * mask).sum() / (3 * mask.sum())
    return float(-10 * torch.log10(error))


def scene(seed: int) -> dict[str, Tensor]:
    sample = render_scene(seed, height=96, width=160)
    keys = ("basecolor", "relit", "mask", "env_ldr", "env_log", "env_direction")
    return {
        k: torch.from_numpy(np.ascontiguousarray(getattr(sample, k).transpose(0, 3, 1, 2), np.float32)) for k in keys
    }


def test_the_base_is_small_and_knows_its_noise_levels() -> None:
    base = load_base(TINY_BASE)
    assert sum(path.stat().st_size for path in Path(TINY_BASE).iterdir()) < 12_000_000
    assert base.noise == NoiseConfig()
    assert base.shape.blocks == 6 and base.shape.heads * base.shape.head_dim == 192


@pytest.fixture(scope="module")
def advantages() -> dict[str, float]:
    """Mean masked PSNR of the base over unseen scenes, minus that of what it is compared with, dB."""
    base = load_base(TINY_BASE)
    renderer = RelighterRenderer(base.network, base.autoencoder, RelighterConfig(), "cpu")
    found: dict[str, list[float]] = {"albedo": [], "other light": [], "mirrored light": []}
    scenes = [scene(seed) for seed in UNSEEN]
    for sample, other in zip(scenes, scenes[1:] + scenes[:1], strict=True):
        mask, inputs = (sample["mask"] > 0.5).float(), sample | {"flat": sample["basecolor"]}
        lights = {
            "other light": {key: other[key] for key in ("env_ldr", "env_log")},
            "mirrored light": {key: sample[key].flip(-1) for key in ("env_ldr", "env_log")},
        }
        right = psnr(renderer.render(inputs, seed=0).rgb, sample["relit"], mask)
        found["albedo"].append(right - psnr(sample["basecolor"], sample["relit"], mask))
        for name, light in lights.items():
            made = renderer.render(inputs | light, seed=0).rgb
            found[name].append(right - psnr(made, sample["relit"], mask))
    return {name: float(np.mean(values)) for name, values in found.items()}


def test_the_base_is_better_than_copying_the_albedo(advantages: dict[str, float]) -> None:
    assert advantages["albedo"] > 1


def test_the_base_is_worse_under_another_scenes_light(advantages: dict[str, float]) -> None:
    assert advantages["other light"] > 0.5  # its colour and level are used


@pytest.mark.xfail(strict=True, reason="known: this base learned the light's level and colour, not yet its direction")
def test_the_base_is_worse_under_mirrored_light(advantages: dict[str, float]) -> None:
    assert advantages["mirrored light"] > 0.15  # its direction is used; a base that ignores it gives 0.0 +- 0.1


def test_more_light_is_brighter() -> None:
    base = load_base(TINY_BASE)
    renderer = RelighterRenderer(base.network, base.autoencoder, RelighterConfig(), "cpu")
    sample = scene(UNSEEN[0])

    def brightness(ldr: float, log: float) -> float:
        maps = {"env_ldr": torch.full_like(sample["relit"], ldr), "env_log": torch.full_like(sample["relit"], log)}
        made = renderer.render(sample | {"flat": sample["basecolor"]} | maps, seed=0).rgb
        return float((made * sample["mask"]).sum())

    assert brightness(0.47, -0.39) > 1.5 * brightness(-0.70, -0.944)  # radiance 1 and 0.02 from everywhere

"""The base that ships: small, never trained on people, and better than what needs no training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from litdome.color import srgb_from_linear
from litdome.geometry import OPENCV_FROM_OPENGL
from litdome.lighting import environment_maps, latlong_directions, view_directions
from litdome.synth.render import cast_surface
from litdome.synth.scenes import build_scene, scene_light
from litdome.synth.shading import dome_lights, flat_lights, shade
from litdome.train_plugins.relighter.config import NoiseConfig, RelighterConfig, SamplingConfig
from litdome.train_plugins.relighter.renderer import RelighterRenderer
from litdome.train_plugins.relighter.weights import TINY_BASE, load_base

UNSEEN = range(2_000_000, 2_000_016)  # pre-training takes seeds below a million
HEIGHT, WIDTH = 96, 160
Sample = dict[str, Tensor]
Float32Array = npt.NDArray[np.float32]


def renderer(steps: int = 1) -> RelighterRenderer:
    torch.set_num_threads(1)
    base = load_base(TINY_BASE)
    return RelighterRenderer(
        base.network, base.autoencoder, RelighterConfig(sampling=SamplingConfig(steps=steps)), "cpu"
    )


def psnr(picture: Tensor, sample: Sample) -> float:
    error = ((picture - sample["relit"]) ** 2 * sample["mask"]).sum() / (3 * sample["mask"].sum())
    return float(-10 * torch.log10(error))


def side_lamp(world_from_camera: npt.NDArray[np.float64], side: int) -> Float32Array:
    """A lamp beside the camera, on its right (1) or left (-1), in the dark."""
    toward = world_from_camera[:3, :3] @ OPENCV_FROM_OPENGL @ (np.array([0.8 * side, 0.3, 0.52]))
    near = latlong_directions(64, 128).astype(np.float64) @ (toward / np.linalg.norm(toward)) > np.cos(0.3)
    return np.repeat(np.where(near, 25.0, 0.02)[..., None], 3, axis=-1).astype(np.float32)


def scene(seed: int, light: Callable[[npt.NDArray[np.float64]], Float32Array]) -> Sample:
    """Objects on the ground or in the air, seen flat-lit and under a light."""
    built = build_scene(seed, height=HEIGHT, width=WIDTH, room=False)
    pose, what = built.cameras[0].world_from_camera, built.scene(0)
    hdr, surface = light(pose), cast_surface(built.scene(0), built.cameras[0])

    def shown(lights: object) -> Tensor:
        linear = surface.picture(shade(what, surface, lights) * surface.coverage[:, None])  # type: ignore[arg-type]
        return torch.from_numpy(srgb_from_linear(np.clip(linear, 0, 1))).permute(2, 0, 1)[None].float()

    maps = [*environment_maps(hdr, pose, HEIGHT, WIDTH), view_directions(HEIGHT, WIDTH) * 0.5 + 0.5]
    ldr, log, direction = (torch.from_numpy(m).permute(2, 0, 1)[None].float() * 2 - 1 for m in maps)
    pictures = {"flat": shown(flat_lights(48)), "relit": shown(dome_lights(hdr, 96, follow=True))}
    mask = torch.from_numpy(surface.mask > 0.5).float()[None, None]
    return {**pictures, "mask": mask, "env_ldr": ldr, "env_log": log, "env_direction": direction}


def mirrored(sample: Sample) -> Sample:
    return {**sample, **{key: sample[key].flip(-1) for key in ("env_ldr", "env_log")}}


def test_the_base_is_small_and_knows_its_noise_levels() -> None:
    base = load_base(TINY_BASE)
    assert sum(path.stat().st_size for path in Path(TINY_BASE).rglob("*") if path.is_file()) < 12_000_000
    assert base.noise == NoiseConfig()
    assert base.shape.blocks == 3 and base.shape.heads * base.shape.head_dim == 320


@pytest.fixture(scope="module")
def under_hdris() -> list[Sample]:
    return [scene(seed, lambda _pose, seed=seed: scene_light(seed)) for seed in UNSEEN]  # type: ignore[misc]


@pytest.fixture(scope="module")
def under_a_lamp() -> list[Sample]:
    return [scene(seed, lambda pose, seed=seed: side_lamp(pose, 1 - seed % 2 * 2)) for seed in UNSEEN]  # type: ignore[misc]


def advantage(samples: list[Sample], other: Callable[[int], Tensor], steps: int = 1) -> float:
    """Mean PSNR of the base over unseen scenes, minus that of what it is compared with, dB."""
    relight = renderer(steps)
    found = [
        psnr(relight.render(sample, seed=0).rgb, sample) - psnr(other(k), sample) for k, sample in enumerate(samples)
    ]
    return float(np.mean(found))


def test_the_base_is_better_than_copying_and_worse_under_another_light(under_hdris: list[Sample]) -> None:
    assert advantage(under_hdris, lambda k: under_hdris[k]["flat"]) > 0.5
    relight = renderer()

    def under_the_light_before(k: int) -> Tensor:
        light = {key: under_hdris[k - 1][key] for key in ("env_ldr", "env_log")}
        return relight.render({**under_hdris[k], **light}, seed=0).rgb

    assert advantage(under_hdris, under_the_light_before) > 1.5


def test_light_from_the_wrong_side_costs_a_decibel(under_a_lamp: list[Sample]) -> None:
    relight = renderer()
    assert advantage(under_a_lamp, lambda k: relight.render(mirrored(under_a_lamp[k]), seed=0).rgb) > 1.0


def test_turning_the_light_changes_the_picture_the_right_way() -> None:
    relight, found = renderer(), []
    for seed in UNSEEN[:8]:
        right, left = (scene(seed, lambda pose, side=side: side_lamp(pose, side)) for side in (1, -1))  # type: ignore[misc]
        made = relight.render(right, seed=0).rgb - relight.render(left, seed=0).rgb
        inside = right["mask"].expand(1, 3, -1, -1) > 0
        found.append(float(torch.corrcoef(torch.stack([made[inside], (right["relit"] - left["relit"])[inside]]))[0, 1]))
    assert np.mean(found) > 0.3 and min(found) > 0.1, found  # one that ignores directions gives 0


def test_more_light_is_brighter(under_hdris: list[Sample]) -> None:
    relight, sample = renderer(), under_hdris[0]

    def brightness(ldr: float, log: float) -> float:
        maps = {"env_ldr": torch.full_like(sample["relit"], ldr), "env_log": torch.full_like(sample["relit"], log)}
        return float((relight.render(sample | maps, seed=0).rgb * sample["mask"]).sum())

    assert brightness(0.47, -0.39) > 1.5 * brightness(-0.70, -0.944)  # radiance 1 and 0.02 from everywhere

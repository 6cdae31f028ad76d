"""Procedural scenes: repeatable, in range, and lit from where the environment map says."""

from __future__ import annotations

import dataclasses

import numpy as np

from litdome.color import linear_from_srgb
from litdome.geometry import OPENCV_FROM_OPENGL
from litdome.lighting import irradiance_sh, sh_basis
from litdome.synth.scenes import SceneSample, render_scene


def test_same_seed_gives_the_same_clip_and_another_seed_another() -> None:
    first, again, other = (render_scene(seed, height=24, width=40, frames=2) for seed in (3, 3, 4))
    for field in dataclasses.fields(first):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(again, field.name), err_msg=field.name)
    assert np.abs(first.relit - other.relit).mean() > 0.02


def test_every_channel_has_the_promised_shape_type_and_range() -> None:
    sample = render_scene(5, height=24, width=40, frames=2)
    three = {"flat": 0, "relit": 0, "basecolor": 0, "normal": -1, "env_ldr": -1, "env_log": -1, "env_direction": -1}
    for name, low in {**three, "metallic": 0, "roughness": 0, "depth": 0, "mask": 0}.items():
        values = getattr(sample, name)
        assert values.shape == (2, 24, 40, 3 if name in three else 1), name
        assert values.dtype == np.float32, name
        assert values.min() >= low - 1e-5 and values.max() <= 1 + 1e-5, name
    assert sample.mask.mean() > 0.05
    assert np.abs(sample.flat[0] - sample.flat[1]).max() > 0.02  # things move
    inside = sample.mask[..., 0] == 1
    assert np.median(sample.normal[inside][:, 2]) > 0.3  # z towards the viewer


def predicted_correlation(sample: SceneSample, mirror: float) -> float:
    """How well the map's unshadowed irradiance at the (mirrored) normals explains relit over flat."""
    inside = (sample.mask[0, ..., 0] == 1) & (sample.metallic[0, ..., 0] == 0) & (sample.flat[0].min(-1) > 0.1)
    inside &= sample.relit[0].max(-1) < 1
    normal = sample.normal[0][inside].astype(np.float64) * [mirror, 1, 1]
    world = normal @ (sample.world_from_camera[0][:3, :3] @ OPENCV_FROM_OPENGL).T
    expected = np.maximum(sh_basis(world) @ irradiance_sh(sample.env_hdr), 1e-3)[:, 1]
    ratio = linear_from_srgb(sample.relit[0][inside])[:, 1] / linear_from_srgb(sample.flat[0][inside])[:, 1]
    return float(np.corrcoef(np.log(expected), np.log(ratio + 1e-3))[0, 1])


def test_relit_is_explained_by_the_environment_and_not_by_its_mirror() -> None:
    samples = [render_scene(seed, height=48, width=80) for seed in range(8)]
    straight = np.mean([predicted_correlation(sample, 1.0) for sample in samples])
    mirrored = np.mean([predicted_correlation(sample, -1.0) for sample in samples])
    assert straight > 0.55  # the rest is shadows and highlights
    assert straight > mirrored + 0.2

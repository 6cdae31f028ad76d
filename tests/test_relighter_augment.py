"""Variants of a sample obey light transport: what a gain does to the light it does to the picture."""

from __future__ import annotations

import numpy as np
import torch

from litdome.color import linear_from_srgb
from litdome.lighting import tone_map_ldr, tone_map_log
from litdome.train_plugins.checks import SyntheticView
from litdome.train_plugins.relighter.augment import LightVariants, mirrored, tinted


def test_a_gain_on_the_light_is_the_same_gain_on_the_picture() -> None:
    radiance = np.random.default_rng(0).uniform(0, 30, (1, 3, 8, 16)).astype(np.float32)
    gain = np.array([0.5, 1.0, 1.5], np.float32)
    light = {"env_ldr": tone_map_ldr, "env_log": tone_map_log}
    maps = {key: torch.from_numpy(tone_map(radiance) * 2 - 1) for key, tone_map in light.items()}
    relit = torch.rand(1, 3, 8, 16) * 0.5
    made = tinted({**maps, "relit": relit, "flat": relit}, gain)
    for key, tone_map in light.items():
        expected = tone_map(radiance * gain[None, :, None, None]) * 2 - 1
        np.testing.assert_allclose(made[key].numpy(), expected, atol=2e-5)  # float32 through exp and log
    ratio = linear_from_srgb(made["relit"].numpy()) / linear_from_srgb(relit.numpy()).clip(1e-9)
    bright = relit.numpy() > 0.05
    np.testing.assert_allclose(
        ratio[bright], np.broadcast_to(gain[None, :, None, None], ratio.shape)[bright], rtol=1e-3
    )
    assert torch.equal(made["flat"], relit)


def test_a_mirror_turns_pictures_and_light_but_not_the_map_of_directions() -> None:
    sample = dict(SyntheticView()[0])
    seen = mirrored(sample)
    for key in ("flat", "relit", "env_ldr", "env_log"):
        assert torch.equal(seen[key], sample[key].flip(-1))
    assert torch.equal(seen["env_direction"], sample["env_direction"])
    assert all(torch.equal(mirrored(seen)[key], sample[key]) for key in sample)


def test_variants_start_with_the_sample_itself_and_are_the_same_every_time() -> None:
    data = SyntheticView()
    variants = LightVariants(data, 3, seed=1)
    assert len(variants) == 3 * len(data)
    assert torch.equal(variants[0]["relit"], data[0]["relit"])
    place = len(data)
    assert torch.equal(variants[place]["relit"], LightVariants(data, 3, seed=1)[place]["relit"])
    assert not torch.equal(variants[place]["relit"], LightVariants(data, 3, seed=2)[place]["relit"])

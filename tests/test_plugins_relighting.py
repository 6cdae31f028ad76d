"""Relighting a clip: what the renderer is given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import zarr
from baked_dataset import baked_dataset

from litdome.color import linear_from_srgb
from litdome.datasets.views import open_dataset
from litdome.errors import PluginError, UsageError
from litdome.lighting import environment_maps, project_hdri, tone_map_log, view_directions
from litdome.train_plugins.clips import array_clip, dataset_clip
from litdome.train_plugins.fitting import fit_into
from litdome.train_plugins.relighting import Light, LitClip, need_readable, relight_clip

torch = pytest.importorskip("torch")


class ShowsItsLight:
    """A renderer without weights: its picture is the ldr map."""

    reads = ("env_ldr",)

    def render(self, inputs: Mapping[str, torch.Tensor], *, seed: int) -> object:
        from litdome.train_plugins.protocol import Rendered

        return Rendered((inputs["env_ldr"] + 1) / 2, None)


def test_the_session_gain_of_the_dataset_multiplies_every_hdri(tmp_path: Path) -> None:
    baked_dataset(tmp_path / "data")
    root = zarr.open_group(tmp_path / "data", mode="r+")
    for gain in (1.0, 4.0):
        root.attrs["sessions"] = [
            {**session, "hdri_convention": "openexr", "light_gain": gain} for session in root.attrs["sessions"]
        ]
        clip = dataset_clip(open_dataset(tmp_path / "data"))
        assert clip.light_gain == gain and clip.convention == "openexr"
        hdr = np.random.default_rng(0).random((32, 64, 3)).astype(np.float32)
        shown = relight_clip(ShowsItsLight(), clip, hdr, gain=0.5)[0].transpose(1, 2, 0)
        pose, size = clip.world_from_camera, clip.size
        wanted = environment_maps(hdr, pose, *size, convention="openexr", gain=0.5 * gain)[0]
        np.testing.assert_allclose(shown, wanted, atol=1e-6)


class Hungry(ShowsItsLight):
    """A renderer that wants more memory than there is."""

    def render(self, inputs: Mapping[str, torch.Tensor], *, seed: int) -> object:
        return torch.empty(2**56)


class Broken(ShowsItsLight):
    """A renderer with a bug."""

    def render(self, inputs: Mapping[str, torch.Tensor], *, seed: int) -> object:
        raise RuntimeError("shapes do not fit")


def test_too_little_memory_says_which_knob_helps_and_a_bug_stays_a_bug() -> None:
    clip, hdr = array_clip(np.zeros((2, 3, 16, 16), np.float32)), np.ones((32, 64, 3), np.float32)
    with pytest.raises(PluginError, match="out of memory") as caught:
        relight_clip(Hungry(), clip, hdr)
    assert caught.value.hint is not None and "--size" in caught.value.hint
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        relight_clip(Broken(), clip, hdr)


def test_turn_and_gain_run_from_the_first_picture_to_the_last() -> None:
    clip, hdr = array_clip(np.zeros((5, 3, 16, 32), np.float32)), np.full((32, 64, 3), 0.1, np.float32)
    hdr[14:18, 40:46] = 5
    moving = relight_clip(ShowsItsLight(), clip, hdr, rotate_deg=(0, 180), gain=(1, 3))
    for k, (turn, gain) in enumerate(zip((0, 45, 90, 135, 180), (1, 1.5, 2, 2.5, 3), strict=True)):
        one = array_clip(np.zeros((1, 3, 16, 32), np.float32))
        np.testing.assert_array_equal(moving[k], relight_clip(ShowsItsLight(), one, hdr, rotate_deg=turn, gain=gain)[0])
    columns = moving[:, 0].sum(axis=1).argmax(axis=1)
    assert len(set(columns.tolist())) == 5  # the lamp is somewhere else in each


def brightness(maps: np.ndarray) -> np.ndarray:
    """Mean radiance over the sphere of log maps, shape (t, 3, h, w), 0..1, by picture."""
    radiance = np.expm1(linear_from_srgb(maps.astype(np.float64)) * np.log(10001))
    up = view_directions(*maps.shape[2:])[..., 1]
    return np.average(radiance.mean(axis=1), weights=np.sqrt(1 - up**2) * np.ones(maps.shape[2:]), axis=(1, 2))


class ShowsItsLogMap(ShowsItsLight):
    """A renderer without weights: its picture is the log map."""

    reads = ("env_log",)

    def render(self, inputs: Mapping[str, torch.Tensor], *, seed: int) -> object:
        return super().render({"env_ldr": inputs["env_log"]}, seed=seed)


def test_a_small_sun_neither_comes_and_goes_nor_jumps_as_it_turns() -> None:
    """A map 16 times as fine as the frame, its sun four texels wide, turned by an eighth of a pixel a picture."""
    height, width, pictures = 32, 64, 25
    hdr = np.full((16 * height, 16 * width, 3), 0.1, np.float32)
    hdr[200:204, 400:404] = 2000
    turn_deg = 360 / width / 8
    clip = array_clip(np.zeros((pictures, 3, height, width), np.float32))
    maps = relight_clip(ShowsItsLogMap(), clip, hdr, rotate_deg=(0, turn_deg * (pictures - 1)))
    lit = brightness(maps)
    assert lit.max() / lit.min() < 1.01
    # between two whole pixels radiance goes in a straight line
    np.testing.assert_allclose(
        np.expm1(linear_from_srgb(maps[4]) * np.log(10001)),
        np.expm1(linear_from_srgb(maps[[0, 8]].astype(np.float64)) * np.log(10001)).mean(axis=0),
        rtol=0.02,
        atol=1e-3,
    )
    read = [
        project_hdri(hdr, clip.world_from_camera, height, width, rotation_deg=turn_deg * n) for n in range(pictures)
    ]
    missed = brightness(tone_map_log(np.stack(read)).transpose(0, 3, 1, 2))
    assert missed.max() / missed.min() > 3  # negative control: the map as it is, read where the pixels are


def test_a_renderer_that_needs_more_than_a_flat_picture_is_refused() -> None:
    clip = array_clip(np.zeros((1, 3, 16, 16), np.float32))
    with pytest.raises(UsageError, match="reads expression: it relights no pictures"):
        need_readable(("flat", "expression"), clip)
    with pytest.raises(UsageError, match="needs a matte"):
        need_readable(("flat", "mask_flat"), clip)
    need_readable(("flat", "mask_flat"), array_clip(np.zeros((1, 4, 16, 16), np.float32)))


def test_what_lies_behind_a_matte_is_the_backdrop_at_every_pixel_around_it() -> None:
    picture = np.full((1, 4, 10, 10), 0.5, np.float32)
    picture[0, 3] = np.arange(10) < 5
    clip, light = array_clip(picture), Light.over(np.ones((32, 64, 3), np.float32), 1)
    for backdrop in (0.0, 1.0):
        frames = LitClip(clip, light, fit_into(clip.size), backdrop)
        (inputs,) = frames.inputs_from(0, ("flat",))
        seen = frames.fit.cut(inputs["flat"].numpy())
        assert (seen[:, :, :5] == 0.5).all() and (seen[:, :, 5:] == backdrop).all()
        assert inputs["flat"][0, 0, 0] == backdrop


def test_who_reads_the_matte_sees_nothing_of_the_backdrop_at_a_soft_edge() -> None:
    picture = np.full((1, 4, 16, 16), 0.5, np.float32)
    picture[0, 3] = np.linspace(0, 1, 16)  # soft from side to side
    picture[0, :3, :, 0] = 0.9  # whatever lies under a matte of 0
    clip, light = array_clip(picture), Light.over(np.ones((32, 64, 3), np.float32), 1)
    for backdrop in (0.0, 1.0):
        frames = LitClip(clip, light, fit_into(clip.size), backdrop)
        (inputs,) = frames.inputs_from(0, ("flat", "mask_flat"))
        before_black = inputs["flat"] * inputs["mask_flat"]
        np.testing.assert_allclose(before_black[0].numpy(), 0.5 * picture[0, 3], atol=1e-6)

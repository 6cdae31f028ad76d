"""Relighting a clip: what the renderer is given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import zarr
from baked_dataset import baked_dataset

from litdome.datasets.views import open_dataset
from litdome.lighting import environment_maps
from litdome.train_plugins.clips import dataset_clip
from litdome.train_plugins.relighting import relight_clip

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

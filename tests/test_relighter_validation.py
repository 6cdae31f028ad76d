"""Validation: what is held out, always the same samples and noise, and numbers that follow the network."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import zarr
from relighter_take import copied, write_all_drivers
from torch import Tensor

from litdome.datasets.metrics import masked_psnr
from litdome.datasets.views import DatasetView, open_dataset
from litdome.train_plugins.checks import SyntheticView
from litdome.train_plugins.relighter.config import NetworkConfig, RelighterConfig
from litdome.train_plugins.relighter.network import RelighterNetwork
from litdome.train_plugins.relighter.renderer import RelighterRenderer
from litdome.train_plugins.relighter.validation import Validation, fixed_sigmas, validation_views
from litdome.train_plugins.relighter.weights import Base, random_base
from litdome.train_plugins.run import RunFolder


@pytest.fixture
def data(relighter_data: DatasetView) -> DatasetView:
    return relighter_data


@pytest.fixture
def base() -> Base:
    return random_base(NetworkConfig(heads=2, head_dim=12, blocks=1, adaln_dim=4), 0)


def config(**changes: object) -> RelighterConfig:
    settings: dict[str, object] = {"base": "random", "mode": "full", "validation": {"samples": 3}}
    return RelighterConfig.model_validate(settings | changes)


def validation(path: Path, data: DatasetView, settings: RelighterConfig, base: Base) -> Validation:
    run = RunFolder.create(path, plugin="relighter", config=settings, dataset="d", dataset_fingerprint="f")
    return Validation(validation_views(data.split("train"), settings), settings, base.autoencoder, run)


def test_every_test_split_is_watched_from_the_training_split(data: DatasetView) -> None:
    views = validation_views(data.split("train"), config())
    assert list(views) == ["test_motion"] and len(views["test_motion"]) == len(data.split("test_motion"))
    assert validation_views(data.split("train"), config(validation={"samples": 0})) == {}
    assert validation_views(SyntheticView(), config()) == {}


def test_held_back_training_data_and_a_validation_split_leave_the_tests_alone(
    tmp_path: Path, data: DatasetView
) -> None:
    held = validation_views(data.split("train"), config(validation={"hold_back": 0.25}))
    assert list(held) == ["held_back"]
    assert set(held["held_back"].column("pair").tolist()) == {3}  # type: ignore[attr-defined]
    copied(data, tmp_path / "data")
    root = zarr.open_group(tmp_path / "data", mode="r+")
    root.attrs["splits"] = ["train", "test_motion", "validation"]
    split = root["samples/split"]
    numbers = split[...]
    numbers[-2:] = 2
    split[...] = numbers
    named = validation_views(open_dataset(tmp_path / "data").split("train"), config())
    assert {name: len(view) for name, view in named.items()} == {"validation": 2}


def test_a_split_without_drivers_is_not_watched(tmp_path: Path, data: DatasetView) -> None:
    write_all_drivers(tmp_path / "drivers", data)  # of the training pairs only
    assert validation_views(data.split("train"), config(drivers=str(tmp_path / "drivers"))) == {}


def test_scores_repeat_and_follow_the_network(tmp_path: Path, data: DatasetView, base: Base) -> None:
    watched = validation(tmp_path / "run", data, config(), base)
    torch.manual_seed(5)
    first = watched.scores(base.network)
    torch.manual_seed(6)
    assert watched.scores(base.network) == first  # no randomness of its own, none of ours
    state = torch.get_rng_state()
    watched.scores(base.network)
    assert torch.equal(torch.get_rng_state(), state)
    levels = [f"{float(sigma):.3g}" for sigma in fixed_sigmas(config().noise)]
    assert list(first) == ["test_motion/psnr", *(f"test_motion/loss_sigma_{level}" for level in levels)]
    torch.nn.init.normal_(base.network.proj_out.weight, std=0.1)
    base.network.train()
    changed = watched.scores(base.network)
    assert all(changed[key] != first[key] for key in first)
    assert base.network.training  # as it was


def test_psnr_is_that_of_the_rendered_pictures_inside_the_mask(tmp_path: Path, data: DatasetView, base: Base) -> None:
    settings = config()
    watched = validation(tmp_path / "run", data, settings, base)
    renderer = RelighterRenderer(base.network, base.autoencoder, settings, "cpu")
    view, found = data.split("test_motion"), []
    for index in (0, 4, 7):  # three of eight, evenly spaced

        def picture(value: Tensor) -> np.ndarray:
            return value[0].permute(1, 2, 0).numpy()

        sample = view[index]
        made = renderer.render({key: sample[key] for key in renderer.reads}, seed=settings.seed).rgb
        mask = sample["mask"][0, 0].numpy() * (sample["weight"][0, 0].numpy() > 0)
        found.append(masked_psnr(picture(made), picture(sample["relit"]), mask))
    assert watched.scores(base.network)["test_motion/psnr"] == pytest.approx(np.mean(found), rel=1e-6)


def test_an_untrained_network_has_the_loss_of_predicting_nothing(tmp_path: Path, data: DatasetView, base: Base) -> None:
    settings = config(picture_weighting=0)
    found = validation(tmp_path / "run", data, settings, base).scores(base.network)
    # F = 0 is off by (x0 - c_skip x) / c_out, whose square is x0^2 / sigma_data^2 at high noise, and 1 for unit targets
    clean = []
    for index in (0, 4, 7):
        relit = data.split("test_motion")[index]["relit"]
        clean.append(float((base.autoencoder.encode(relit.transpose(0, 1)[None] * 2 - 1) ** 2).mean()) / 0.25)
    highest = f"test_motion/loss_sigma_{float(fixed_sigmas(settings.noise)[2]):.3g}"
    assert found[highest] == pytest.approx(np.mean(clean), rel=0.02)


def test_previews_have_a_row_for_each_split(tmp_path: Path, data: DatasetView, base: Base) -> None:
    watched = validation(tmp_path / "run", data, config(), base)
    watched.preview(base.network, 20, data.split("train"))
    shown = cv2.imread(str(tmp_path / "run/previews/step-000020.png"))[..., ::-1]
    sample = data.split("test_motion")[0]
    assert shown.shape == (32, 3 * 48, 3)
    for n, key in ((0, "flat"), (2, "relit")):
        truth = (sample[key][0].permute(1, 2, 0) * 255).round().numpy().astype(int)
        assert np.abs(shown[:, 48 * n : 48 * (n + 1)].astype(int) - truth).max() == 0
    nothing = Validation({}, config(), base.autoencoder, watched.run)
    nothing.preview(base.network, 30, data.split("train"))
    first = (data.split("train")[0]["relit"][0].permute(1, 2, 0) * 255).round().numpy()
    assert np.array_equal(cv2.imread(str(tmp_path / "run/previews/step-000030.png"))[:, 96:, ::-1], first)


def test_masks_apply_to_what_is_read(tmp_path: Path, data: DatasetView, base: Base) -> None:
    class Reads(RelighterNetwork):
        """Keeps what it was conditioned on."""

        seen: list[Tensor]

        def forward(self, latents: Tensor, noise_level: Tensor, conditions: Tensor, **rest: object) -> Tensor:
            self.seen.append(conditions)
            return super().forward(latents, noise_level, conditions, **rest)  # type: ignore[arg-type]

    base.network.__class__ = Reads
    base.network.seen = []  # type: ignore[assignment]
    found = {}
    for masks in ("off", "black"):
        watched = validation(tmp_path / masks, data, config(masks=masks), base)
        watched.scores(base.network)
        found[masks], base.network.seen = base.network.seen, []  # type: ignore[assignment]
    black = base.autoencoder.encode(-torch.ones(1, 3, 1, 32, 48))[0, :, 0, 0, 0]
    for conditions in found["black"]:  # both of the rendering and of the loss
        assert torch.allclose(conditions[0, :48, 0, 0, 0], black, atol=1e-3)
    assert not any(torch.allclose(c[0, :48, 0, 0, 0], black, atol=1e-3) for c in found["off"])

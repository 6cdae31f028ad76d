"""What would go wrong in a training is said before it starts, in words, with what to type."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from relighter_take import copied, write_all_drivers
from safetensors.torch import save_file

from litdome.datasets.views import DatasetView
from litdome.train_plugins.checks import SyntheticView
from litdome.train_plugins.protocol import Problem
from litdome.train_plugins.relighter.base_folder import BaseRecord
from litdome.train_plugins.relighter.check import find_problems
from litdome.train_plugins.relighter.config import NoiseConfig, RelighterConfig
from litdome.train_plugins.relighter.network import NetworkShape, transformer_arguments


@pytest.fixture
def data(relighter_data: DatasetView) -> DatasetView:
    return relighter_data.split("train")


@pytest.fixture
def cosmos_base(tmp_path: Path) -> Path:
    """What a base whose autoencoder takes 8 pictures at once says of itself, without weights."""
    for name in ("transformer", "vae"):
        (tmp_path / name).mkdir()
    shape = NetworkShape(heads=1, head_dim=12, blocks=1)
    about = {"_class_name": "CosmosTransformer3DModel", **transformer_arguments(shape)}
    (tmp_path / "transformer/config.json").write_text(json.dumps(about))
    sides = {"spatial_compression_ratio": 4, "temporal_compression_ratio": 8}
    (tmp_path / "vae/config.json").write_text(json.dumps(sides))
    (tmp_path / "base.json").write_text(BaseRecord(autoencoder="cosmos", noise=NoiseConfig()).model_dump_json())
    save_file({"proj_out.weight": torch.zeros(1)}, tmp_path / "transformer/diffusion_pytorch_model.safetensors")
    return tmp_path


def problems(data: object, **settings: object) -> list[Problem]:
    config = {"base": "random", "mode": "full", "network": {"heads": 1, "head_dim": 12, "blocks": 1, "adaln_dim": 2}}
    return find_problems(data, RelighterConfig.model_validate(config | settings))  # type: ignore[arg-type]


def errors(data: object, **settings: object) -> list[str]:
    return [found.message for found in problems(data, **settings) if found.severity == "error"]


def test_what_fits_has_no_problems(data: DatasetView) -> None:
    assert problems(data) == []
    assert problems(data, masks="black") == []
    assert problems(data, masks="random", balance="subjects", clip_frames=2, clip_share=0.5) == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"base": "random", "mode": "lora"}, "takes no adapter"),
        ({"env": []}, "nothing says how to light"),
        ({"buffers": []}, "nothing says what to light"),
        ({"buffers": ["basecolor"], "masks": "black"}, "needs flat among the buffers"),
        ({"masks": "random", "background_weight": 0.5}, "counts nothing of the background"),
        ({"clip_share": 0.5}, "of clips of 1 picture"),
        ({"buffers": ["flat", "basecolor"]}, "the same condition"),
        ({"sharded": True, "mode": "lora", "base": "tiny"}, "sharded is for mode = full"),
        ({"sharded": True, "clip_frames": 2, "clip_share": 0.5}, "clips of one length"),
        ({"prefix": {"share": 0.5}}, "nothing to go on from"),
        ({"sampling": {"seams": "prefix"}}, "never learns to go on"),
        ({"drivers": "there", "use_compensated": True}, "drivers show the relit moment"),
        ({"drivers": "there", "motion_weights": True}, "drivers show the relit moment"),
        ({"buffers": ["flat", "normal"]}, "samples have no normal"),
        ({"use_compensated": True}, "samples have no flat_compensated"),
        ({"clip_frames": 9}, "no clip of 9 pictures"),
        ({"max_shift_px": 0.1}, "moved less than 0.1 px"),
        ({"drivers": "nowhere"}, "nowhere/drivers.json"),
        ({"base": "nowhere"}, "nowhere"),
        ({"validation": {"hold_back": 0.9}}, "leaves 0 to train on"),
    ],
)
def test_what_does_not_go_together_is_an_error_with_a_hint(
    data: DatasetView, settings: dict[str, object], words: str
) -> None:
    found = [problem for problem in problems(data, **settings) if problem.severity == "error"]
    assert any(words in problem.message for problem in found), [problem.message for problem in found]
    assert all(problem.hint for problem in found)


def test_sizes_that_are_not_whole_in_latents_are_an_error() -> None:
    class Odd(SyntheticView):
        def __getitem__(self, index: int) -> dict[str, object]:  # type: ignore[override]
            return {key: value[..., :30, :] for key, value in super().__getitem__(index).items()}

    assert any("30x48 px, not whole multiples of 8" in message for message in errors(Odd()))


def test_pictures_larger_than_the_base_knows_are_an_error() -> None:
    class Large(SyntheticView):
        def __getitem__(self, index: int) -> dict[str, object]:  # type: ignore[override]
            return {**super().__getitem__(index), "relit": torch.zeros(1, 3, 704, 1280)}

    (found,) = (problem for problem in problems(Large()) if problem.severity == "error")
    assert found.message == "pictures of 704x1280 px, base random takes up to 960x960"
    assert found.hint.endswith("--set size.height=528 --set size.width=960")


def test_clips_that_are_not_whole_in_latent_frames_are_an_error(data: DatasetView, cosmos_base: Path) -> None:
    settings = {"base": str(cosmos_base), "sampling": {"chunk_frames": 9, "overlap_frames": 0}}
    found = [problem for problem in problems(data, **settings, clip_frames=2) if problem.severity == "error"]
    assert [(problem.message, problem.hint) for problem in found] == [
        ("clip_frames = 2: this base takes one picture more than a multiple of 8", "--set clip_frames=9")
    ]
    assert errors(data, **settings) == []


def test_masks_that_are_not_there_or_empty_are_told(tmp_path: Path, data: DatasetView) -> None:
    bare = SyntheticView(keys=("flat", "relit", "env_ldr", "env_log", "env_direction"))
    assert "dataset: samples have no mask_flat" in errors(bare, masks="black")
    emptied = copied(data, tmp_path / "data").split("train")
    zarr.open_group(tmp_path / "data", mode="r+")["cameras/one/c00/mask"][:2] = np.zeros((2, 32, 48), np.uint8)  # type: ignore[index]
    found = [problem.message for problem in problems(emptied, masks="black")]
    assert found == ["masks = black: 1 of 8 samples looked at have an empty mask (0 is one)"]


def test_drivers_are_checked_and_what_they_leave_unwatched_is_told(tmp_path: Path, data: DatasetView) -> None:
    write_all_drivers(tmp_path / "whole", data)
    write_all_drivers(tmp_path / "part", data, but=2)
    assert any(
        "4 of 16 samples are without a picture" in message for message in errors(data, drivers=str(tmp_path / "part"))
    )
    found = problems(data, drivers=str(tmp_path / "whole"))
    assert [problem.severity for problem in found] == ["warning", "warning"]
    assert "masks = off" in found[0].message and "test_motion is not validated" in found[1].message
    assert len(problems(data, drivers=str(tmp_path / "whole"), masks="black")) == 1


def test_samples_that_never_train_are_counted(data: DatasetView) -> None:
    found = problems(data, reliability_sampling=True)
    assert [problem.message for problem in found] == [
        "dataset: 8 of 16 samples are never drawn: their reliability is 0 or not measured"
    ]
    assert "2 samples < batch of 4" in problems(data.at([0, 1]))[0].message


def test_samples_under_a_light_that_nobody_named_are_left_out_and_counted(tmp_path: Path, data: DatasetView) -> None:
    view = copied(data, tmp_path / "data")
    hdri = zarr.open_group(tmp_path / "data", mode="r+")["samples/hdri"]
    numbers = hdri[...]  # type: ignore[index]
    numbers[:2] = -1
    hdri[...] = numbers  # type: ignore[index]
    found = problems(view.split("train"))
    assert [problem.message for problem in found] == [
        "dataset: 2 of 16 samples under a light that nobody named are left out"
    ]


def test_chunks_that_cannot_be_relit_are_told_before_the_training(data: DatasetView) -> None:
    found = problems(data, sampling={"chunk_frames": 4, "overlap_frames": 3})
    assert [(one.severity, one.hint) for one in found] == [("warning", "--set sampling.overlap_frames=2")]


def test_another_noise_than_the_bases_is_a_warning(data: DatasetView) -> None:
    found = problems(data, base="tiny", mode="lora", noise={"sigma_max": 80.0})
    assert [problem.severity for problem in found] == ["warning"] and "sigma_max=80" in found[0].message

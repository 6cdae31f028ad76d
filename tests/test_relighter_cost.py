"""What a training costs: exact against torch's own count of FLOP, and the reference's figures of the 7B model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from litdome.errors import PluginError
from litdome.train_plugins.checks import SyntheticView
from litdome.train_plugins.relighter import RelighterTrainer
from litdome.train_plugins.relighter.base_folder import BaseRecord
from litdome.train_plugins.relighter.config import NetworkConfig, NoiseConfig, RelighterConfig
from litdome.train_plugins.relighter.cost import (
    Clip,
    base_layout,
    clip_of,
    memory_advice,
    need_device,
    parameters,
    step_flops,
    trainable_parameters,
    training_memory,
)
from litdome.train_plugins.relighter.model import open_trainable, trainable
from litdome.train_plugins.relighter.network import NetworkShape, RelighterNetwork, transformer_arguments
from litdome.train_plugins.relighter.weights import random_base, save_base

FULL_SIZE = NetworkShape()
TRAINED = NetworkShape(context_dim=0)
SMALL = NetworkConfig(heads=2, head_dim=24, blocks=3, adaln_dim=8)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("cost") / "base"
    opened = random_base(SMALL, 0)
    save_base(folder, opened.shape, opened.network.state_dict(), NoiseConfig())
    return str(folder)


def network(config: RelighterConfig) -> RelighterNetwork:
    found = open_trainable(config, 0).network
    assert isinstance(found, RelighterNetwork)
    if config.gradient_checkpointing:
        found.enable_gradient_checkpointing()
    return found.train()


def inputs(clip: Clip, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    size = (clip.frames, clip.height, clip.width)
    return torch.randn(1, 48, *size, dtype=dtype), torch.tensor([0.1]), torch.randn(1, 8 * 49, *size)


def test_the_full_size_is_the_reference_s() -> None:
    assert parameters(FULL_SIZE) == pytest.approx(7.2369e9, rel=1e-4)
    assert parameters(TRAINED) == pytest.approx(5.95e9, rel=2e-3)
    picture, clip = (clip_of((frames, 3, 704, 1280), 8, 8) for frames in (1, 57))
    assert (picture.tokens, clip.tokens) == (3520, 28160)
    config = RelighterConfig(mode="full")
    assert step_flops(TRAINED, picture, config).forward == pytest.approx(45e12, rel=0.01)
    assert step_flops(TRAINED, clip, config).forward == pytest.approx(681e12, rel=0.01)
    for rank, millions in ((16, 33.0), (32, 66.1), (64, 132)):
        adapter = RelighterConfig.model_validate({"lora": {"rank": rank}})
        assert trainable_parameters(TRAINED, adapter) == pytest.approx(millions * 1e6, rel=3e-3)


@pytest.mark.parametrize("mode", ["full", "lora"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_flop_are_those_that_torch_counts(base: str, mode: str, checkpointing: bool) -> None:
    settings = {"mode": mode, "base": base, "gradient_checkpointing": checkpointing, "lora": {"rank": 4}}
    config = RelighterConfig.model_validate(settings)
    shape, spatial, temporal = base_layout(config)
    clip = clip_of((2, 3, 64, 96), spatial, temporal)
    model, expected = network(config), step_flops(shape, clip, config)
    assert sum(weight.numel() for weight in trainable(model).values()) == trainable_parameters(shape, config)
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as forward:
            output = model(*inputs(clip))
        with FlopCounterMode(display=False) as backward:
            output.sum().backward()
    assert forward.get_total_flops() == expected.forward
    assert backward.get_total_flops() == expected.backward + expected.repeated
    assert (expected.repeated > 0) == checkpointing


@pytest.mark.parametrize("mode", ["full", "lora"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_activations_are_what_autograd_keeps(base: str, mode: str, precision: str, checkpointing: bool) -> None:
    settings = {"mode": mode, "base": base, "gradient_checkpointing": checkpointing, "precision": precision, "batch": 1}
    config = RelighterConfig.model_validate({**settings, "lora": {"rank": 2}})  # small beside the width, as at 7B
    shape, spatial, temporal = base_layout(config)
    clip = clip_of((1, 3, 256, 256), spatial, temporal)
    model, kept = network(config), dict[int, torch.UntypedStorage]()
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"),
    ):
        model(*inputs(clip))
    found, expected = (
        sum(storage.nbytes() for storage in kept.values()),
        training_memory(shape, clip, config).activations,
    )
    # a block's own are only there in the backward pass with checkpointing, and the ends differ: a bound from above
    assert found < expected * 1.1
    if not checkpointing:
        assert found > expected * 0.85


def test_of_single_pictures_and_clips_the_dearer_is_told(base: str) -> None:
    told = {}
    for share in (1.0, 0.5):
        config = RelighterConfig(base=base, clip_frames=2, clip_share=share)
        told[share] = RelighterTrainer().cost(SyntheticView(), config, 1)
    assert told[0.5] == told[1.0]
    assert told[1.0] != RelighterTrainer().cost(SyntheticView(), RelighterConfig(base=base), 1)


def test_layout_is_known_without_weights(base: str) -> None:
    for config in (RelighterConfig(), RelighterConfig(base="random", mode="full", network=SMALL)):
        shape, spatial, temporal = base_layout(config)
        assert (shape, spatial, temporal) == (open_trainable(config, 0).shape, 4, 1)


def test_the_full_size_without_a_gpu_says_what_it_needs_and_reads_no_weights(tmp_path: Path) -> None:
    (tmp_path / "transformer").mkdir()
    (tmp_path / "vae").mkdir()
    about = {"_class_name": "CosmosTransformer3DModel", **transformer_arguments(FULL_SIZE)}
    (tmp_path / "transformer/config.json").write_text(json.dumps(about))
    (tmp_path / "vae/config.json").write_text(
        json.dumps({f"{s}_compression_ratio": 8 for s in ("spatial", "temporal")})
    )
    record = BaseRecord(autoencoder="cosmos", noise=NoiseConfig())
    (tmp_path / "base.json").write_text(record.model_dump_json())
    save_file({"proj_out.weight": torch.zeros(1)}, tmp_path / "transformer/diffusion_pytorch_model.safetensors")
    config = RelighterConfig.model_validate(
        {"base": str(tmp_path), "precision": "bfloat16", "gradient_checkpointing": True, "batch": 1}
    )
    with pytest.raises(PluginError, match=r"no GPU here, and base .* has 5\.95 B parameters: training needs 14 GB"):
        need_device(config, (1, 3, 704, 1280), "cpu")
    need_device(RelighterConfig(), (1, 3, 64, 64), "cpu")


def test_advice_against_too_little_memory_ends_and_each_saves() -> None:
    config, asked = RelighterConfig(batch=4), list[str]()
    while memory_advice(config).startswith("--set") and "mode" not in memory_advice(config):
        hint = memory_advice(config)
        asked.append(hint)
        values = dict(part.split("=") for part in hint.replace("--set ", "").split())
        config = RelighterConfig.model_validate({**config.model_dump(), **values})
    assert asked == [
        "--set gradient_checkpointing=true",
        "--set accumulate=2",
        "--set accumulate=4",
        "--set precision=bfloat16",
        "--set latent_cache=run --set latent_cache_mb=0",
    ]

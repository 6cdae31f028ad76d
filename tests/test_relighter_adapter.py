"""An adapter is saved so that plain diffusers and peft calls load it, and is proved live; every trap has a test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig as PeftLora
from peft import inject_adapter_in_model, set_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from litdome.errors import PluginError, StoreError
from litdome.train_plugins.relighter.config import LoraConfig, NoiseConfig, RelighterConfig
from litdome.train_plugins.relighter.model import (
    ADAPTER_FILE,
    ADAPTER_METADATA,
    load_weights,
    open_trainable,
    require_live_adapter,
    save_weights,
    trainable,
)
from litdome.train_plugins.relighter.network import NetworkShape, RelighterNetwork, build_network
from litdome.train_plugins.relighter.weights import load_base, save_base

SHAPE = NetworkShape(channels=48, heads=2, head_dim=12, blocks=2, adaln_dim=4, context_dim=8, max_size=(4, 16, 16))
RANK, ALPHA = 2, 16.0


def output(network: RelighterNetwork) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    latents = torch.randn(1, 48, 1, 4, 6, generator=generator)
    conditions = torch.randn(1, SHAPE.condition_channels, 1, 4, 6, generator=generator)
    with torch.no_grad():
        made: Tensor = network.eval()(latents, torch.tensor([0.1]), conditions)
    return made


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base with cross-attention, as the original has, and an output layer that is not zero."""
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    network = build_network(SHAPE)
    torch.nn.init.normal_(network.proj_out.weight, std=0.1)
    save_base(folder, SHAPE, network.state_dict(), NoiseConfig())
    return folder


@pytest.fixture(scope="module")
def settings(base: Path) -> RelighterConfig:
    return RelighterConfig(base=str(base), lora=LoraConfig(rank=RANK, alpha=ALPHA))


@pytest.fixture(scope="module")
def trained(settings: RelighterConfig) -> RelighterNetwork:
    """As if trained: every matrix of the adapter random."""
    network = open_trainable(settings, 0).network
    torch.manual_seed(1)
    for value in trainable(network).values():
        torch.nn.init.normal_(value, std=0.3)
    return network


@pytest.fixture
def saved(tmp_path: Path, trained: RelighterNetwork, settings: RelighterConfig) -> Path:
    save_weights(tmp_path, trained, settings)
    return tmp_path


def metadata(file: Path) -> dict[str, object]:
    with safe_open(file, framework="pt") as opened:
        found: dict[str, object] = json.loads(opened.metadata()[ADAPTER_METADATA])
    return found


def test_diffusers_loads_it_into_the_whole_base_without_a_difference(
    saved: Path, base: Path, trained: RelighterNetwork
) -> None:
    plain = load_base(base, cross_attention=True).network
    untouched = output(plain)
    plain.load_lora_adapter(str(saved), prefix=None, use_safetensors=True)
    assert torch.equal(output(plain), output(trained))
    assert (output(plain) - untouched).abs().max() > 1e-2
    plain.fuse_lora()
    assert torch.allclose(output(plain), output(trained), atol=1e-4)  # products summed in another order
    plain.unfuse_lora()
    plain.disable_lora()
    assert torch.allclose(output(plain), untouched, atol=1e-4)
    plain.delete_adapters("default_0")
    assert torch.allclose(output(plain), untouched, atol=1e-4)


def test_peft_loads_it_without_a_difference(saved: Path, base: Path, trained: RelighterNetwork) -> None:
    about = metadata(saved / ADAPTER_FILE)
    plain = inject_adapter_in_model(PeftLora(**about), load_base(base, cross_attention=True).network)  # type: ignore[arg-type]
    outcome = set_peft_model_state_dict(plain, load_file(saved / ADAPTER_FILE))
    assert not outcome.unexpected_keys
    assert torch.equal(output(plain), output(trained))


def test_trap_the_default_prefix_loads_nothing(saved: Path, base: Path) -> None:
    plain = load_base(base, cross_attention=True).network
    untouched = output(plain)
    plain.load_lora_adapter(str(saved), use_safetensors=True)  # prefix="transformer"
    assert torch.equal(output(plain), untouched)


def test_trap_the_file_is_only_found_as_safetensors_or_by_name(
    saved: Path, base: Path, trained: RelighterNetwork
) -> None:
    with pytest.raises(OSError, match=r"pytorch_lora_weights\.bin"):
        load_base(base, cross_attention=True).network.load_lora_adapter(str(saved), prefix=None)
    named = load_base(base, cross_attention=True).network
    named.load_lora_adapter(str(saved), prefix=None, weight_name=ADAPTER_FILE)
    assert torch.equal(output(named), output(trained))


def test_trap_without_its_metadata_alpha_is_lost(saved: Path, base: Path, settings: RelighterConfig) -> None:
    assert metadata(saved / ADAPTER_FILE)["lora_alpha"] == ALPHA
    plain, bare = load_base(base, cross_attention=True).network, load_base(base, cross_attention=True).network
    plain.load_lora_adapter(str(saved), prefix=None, use_safetensors=True)
    bare.load_lora_adapter(load_file(saved / ADAPTER_FILE), prefix=None)
    scales = [network.transformer_blocks[0].attn1.to_q.scaling["default_0"] for network in (plain, bare)]
    assert scales == [ALPHA / RANK, 1.0]
    assert not torch.allclose(output(plain), output(bare), atol=1e-3)
    save_file(load_file(saved / ADAPTER_FILE), saved / ADAPTER_FILE)
    with pytest.raises(StoreError, match="rank, alpha"):
        load_weights(saved, open_trainable(settings, 0).network, settings, average=False)


def test_trap_targets_by_suffix_hit_the_dead_layers_and_ours_do_not(base: Path, trained: RelighterNetwork) -> None:
    assert not any("attn2" in name or "norm2" in name for name in trainable(trained))
    whole = load_base(base, cross_attention=True).network
    whole.add_adapter(PeftLora(r=2, target_modules=["to_q", "to_k", "to_v"]))
    assert any("attn2" in name for name, value in whole.named_parameters() if value.requires_grad and "lora" in name)


def test_another_alpha_in_the_configuration_is_refused(saved: Path, settings: RelighterConfig) -> None:
    other = settings.model_copy(update={"lora": LoraConfig(rank=RANK, alpha=2 * ALPHA)})
    with pytest.raises(StoreError, match="rank, alpha"):
        load_weights(saved, open_trainable(other, 0).network, other, average=False)


@pytest.mark.parametrize("dead", ["lora_A", "lora_B"])
def test_an_adapter_that_changes_nothing_is_found_by_its_output(
    saved: Path, settings: RelighterConfig, dead: str
) -> None:
    network = open_trainable(settings, 0).network
    load_weights(saved, network, settings, average=False)
    before = output(network)
    assert require_live_adapter(network) > 1e-3
    assert torch.equal(output(network), before)  # the probe leaves the adapter on
    for name, value in network.named_parameters():
        if dead in name:
            torch.nn.init.zeros_(value)
    with pytest.raises(PluginError, match="changes nothing"):
        require_live_adapter(network)


def test_an_adapter_whose_layers_never_reach_the_output_is_found_though_its_weights_are_not_zero(
    saved: Path, settings: RelighterConfig
) -> None:
    network = open_trainable(settings, 0).network
    load_weights(saved, network, settings, average=False)
    torch.nn.init.zeros_(network.proj_out.weight)
    with pytest.raises(PluginError, match="changes nothing"):
        require_live_adapter(network)


def test_a_half_precision_base_with_a_float32_adapter_is_probed_too(saved: Path, settings: RelighterConfig) -> None:
    network = open_trainable(settings, 0).network
    load_weights(saved, network, settings, average=False)
    adapter = {name: value.detach().clone() for name, value in trainable(network).items()}
    network.to(torch.bfloat16)
    for name, value in network.named_parameters():
        if name in adapter:
            value.data = adapter[name]
    assert require_live_adapter(network) > 1e-3

"""A network made ready to train or to render: base, adapter, averaged weights."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from litdome.errors import PluginError, StoreError
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.convert import check_state
from litdome.train_plugins.relighter.network import RelighterNetwork
from litdome.train_plugins.relighter.weights import Base, open_base, without_cross_attention

# attn2 never sees a gradient (its value projection meets zeros), so it takes no adapter
_ATTENTION = r".*transformer_blocks\.\d+\.(attn1\.(to_q|to_k|to_v|to_out\.0)|ff\.net\.(0\.proj|2)"
LORA_TARGETS = {
    "attention": _ATTENTION + ")",
    "all": _ATTENTION + r"|norm[13]\.linear_[12])|.*(patch_embed\.proj|norm_out\.linear_[12]|proj_out)",
}
ADAPTER_FILE = "pytorch_lora_weights.safetensors"
FULL_FILE, AVERAGE_FILE = "weights.safetensors", "average.safetensors"


def open_trainable(config: RelighterConfig, seed: int) -> Base:
    """The base with what trains switched on: the adapter's matrices, or all weights."""
    base = without_cross_attention(open_base(config.base, config.network, seed))
    network = base.network
    if config.mode == "full":
        network.requires_grad_(True)
        return base
    network.requires_grad_(False)
    _add_adapter(network, config, seed)
    return base


def trainable(network: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that train, by name, in a fixed order."""
    return {name: value for name, value in sorted(network.named_parameters()) if value.requires_grad}


def save_weights(folder: Path, network: RelighterNetwork, config: RelighterConfig) -> None:
    """Write the adapter as diffusers does (with rank and alpha in its metadata), or all weights."""
    if config.mode == "lora":
        network.save_lora_adapter(str(folder))
    else:
        save_file({k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}, folder / FULL_FILE)


def load_weights(folder: Path, network: RelighterNetwork, config: RelighterConfig, *, average: bool) -> None:
    """Read a checkpoint into a network from `open_trainable`; ``average`` prefers the averaged weights.

    Raises:
        StoreError: The file is missing or does not fit.
    """
    name = ADAPTER_FILE if config.mode == "lora" else FULL_FILE
    if average and config.mode == "full" and (folder / AVERAGE_FILE).exists():
        name = AVERAGE_FILE
    try:
        state = load_file(folder / name)
    except FileNotFoundError as error:
        raise StoreError(f"{folder / name}: missing", hint="use an earlier checkpoint") from error
    if config.mode == "lora":
        state = {_adapter_key(key): value for key, value in state.items()}
        check_state(state, dict(trainable(network)), str(folder / name))
        network.load_state_dict(state, strict=False)
    else:
        check_state(state, network.state_dict(), str(folder / name))
        network.load_state_dict(state)


def require_live_adapter(network: RelighterNetwork) -> None:
    """Make sure that a loaded adapter changes the network's weights.

    Raises:
        PluginError: No adapter layers, or every product of their matrices is zero.
    """
    state = dict(trainable(network))
    ups = [value for name, value in state.items() if ".lora_B." in name]
    downs = [value for name, value in state.items() if ".lora_A." in name]
    change = sum(float((up.detach() @ down.detach()).norm()) for up, down in zip(ups, downs, strict=True))
    if not ups or not change > 0:
        raise PluginError(
            f"relighter: the adapter changes nothing ({len(ups)} layers, norm {change:.1e})",
            hint="train for at least one step, or check the run's base",
        )


class WeightAverage:
    """A running average of weights, float32 on their device.

    Args:
        weights: What is averaged, by name.
        decay: Share of the average that stays at each step; less in the first steps.
    """

    def __init__(self, weights: dict[str, Tensor], decay: float) -> None:
        self.average = {name: value.detach().clone() for name, value in weights.items()}
        self._decay = decay

    @torch.no_grad()
    def update(self, weights: dict[str, Tensor], step: int) -> None:
        """Move towards the weights after step ``step`` (counted from 1)."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, value in weights.items():
            self.average[name].lerp_(value.detach(), 1 - decay)


def _add_adapter(network: RelighterNetwork, config: RelighterConfig, seed: int) -> None:
    from peft import LoraConfig as PeftLora

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network.add_adapter(
            PeftLora(
                r=config.lora.rank,
                lora_alpha=config.lora.alpha,
                target_modules=LORA_TARGETS[config.lora.targets],
                lora_dropout=0.0,
            )
        )


def _adapter_key(stored: str) -> str:
    head, matrix, tail = stored.rpartition(".lora_")[0], ".lora_", stored.rpartition(".lora_")[2]
    return f"{head}{matrix}{tail.removesuffix('.weight')}.default.weight"

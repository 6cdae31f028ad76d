"""A network made ready to train or to render: base, adapter, averaged weights."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import torch
from diffusers.training_utils import cast_training_params
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from litdome.errors import PluginError, StoreError
from litdome.train_plugins.relighter.causal import make_causal
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.convert import check_state
from litdome.train_plugins.relighter.network import RelighterNetwork
from litdome.train_plugins.relighter.tiling import TiledAutoencoder
from litdome.train_plugins.relighter.weights import Base, open_base

log = logging.getLogger(__name__)
ADAPTER_FILE = "pytorch_lora_weights.safetensors"
ADAPTER_METADATA = "lora_adapter_metadata"  # where diffusers keeps rank, alpha and targets
PROBE_SIZE, PROBE_LEVEL = 8, 0.5  # latents a side; c_noise, that of sigma 7
FULL_FILE, AVERAGE_FILE = "weights.safetensors", "average.safetensors"
AVERAGE_FOLDER = "average"  # of an adapter: a file as diffusers loads it


def open_frozen(config: RelighterConfig, seed: int) -> Base:
    """The base as it renders before any training."""
    return _open(config, seed, torch.bfloat16 if config.precision == "bfloat16" else torch.float32)


def open_trainable(config: RelighterConfig, seed: int, *, to_render: bool = False) -> Base:
    """The base with what trains switched on: the adapter's matrices, or all weights.

    Args:
        config: Its ``precision`` is also that of stored weights which do not train.
        seed: Of a random base, and of a fresh adapter.
        to_render: Nothing trains any more.
    """
    frozen_half = config.precision == "bfloat16" and (config.mode == "lora" or to_render)
    base = _open(config, seed, torch.bfloat16 if frozen_half else torch.float32)
    network = base.network
    if config.mode == "full":
        network.requires_grad_(True)
        return base
    network.requires_grad_(False)
    _add_adapter(network, config, seed)
    cast_training_params(network, torch.float32)
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


def read_weights(
    folder: Path, network: RelighterNetwork, config: RelighterConfig, *, average: bool
) -> dict[str, Tensor]:
    """A checkpoint's weights that train, by their names in a network from `open_trainable`.

    Args:
        average: The averaged weights in their place.

    Raises:
        StoreError: The file is missing or does not fit.
    """
    name = Path(ADAPTER_FILE if config.mode == "lora" else FULL_FILE)
    averaged = Path(AVERAGE_FOLDER) / ADAPTER_FILE if config.mode == "lora" else Path(AVERAGE_FILE)
    if average:
        name = averaged
    try:
        state: dict[str, Tensor] = load_file(folder / name)
    except FileNotFoundError as error:
        raise StoreError(f"{folder / name}: missing", hint="use an earlier checkpoint") from error
    except SafetensorError as error:
        raise StoreError(f"{folder / name}: damaged: {error}", hint="use an earlier checkpoint") from error
    if config.mode == "lora":
        _need_scale(folder / name, config)
        state = {_adapter_key(key): value for key, value in state.items()}
    check_state(state, dict(trainable(network)), str(folder / name))
    return state


def load_weights(folder: Path, network: RelighterNetwork, config: RelighterConfig, *, average: bool) -> None:
    """Put `read_weights` into the network."""
    network.load_state_dict(read_weights(folder, network, config, average=average), strict=False)


@torch.no_grad()
def require_live_adapter(network: RelighterNetwork) -> float:
    """Make sure that a loaded adapter changes what the network makes: the same input with it and without it.

    Returns:
        Norm of the change over the norm of the output without the adapter.

    Raises:
        PluginError: The output is the same, or not finite.
    """
    generator, weight = torch.Generator().manual_seed(0), network.input_weight
    channels = int(network.config.out_channels)
    inputs = torch.randn(1, channels + network.condition_channels, 1, PROBE_SIZE, PROBE_SIZE, generator=generator)
    inputs = inputs.to(weight.device, weight.dtype)
    latents, conditions = inputs[:, :channels], inputs[:, channels:]
    level = torch.full((1,), PROBE_LEVEL, device=weight.device, dtype=weight.dtype)
    is_half, was_training = weight.dtype != torch.float32, network.training
    network.eval()
    with torch.autocast(weight.device.type, weight.dtype if is_half else torch.bfloat16, enabled=is_half):
        with_adapter = network(latents, level, conditions).float()
        network.disable_adapters()
        without = network(latents, level, conditions).float()
        network.enable_adapters()
    network.train(was_training)
    change = float((with_adapter - without).norm() / without.norm().clamp_min(torch.finfo(torch.float32).tiny))
    if not 0 < change < float("inf"):
        raise PluginError(
            f"relighter: the adapter changes nothing: the output for a fixed input changes by {change:.1e} of its norm",
            hint="train for at least one step, or check the run's base",
        )
    log.info("the adapter is live: it changes the output for a fixed input by %.2e of its norm", change)
    return change


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


def _open(config: RelighterConfig, seed: int, dtype: torch.dtype) -> Base:
    """The base as the settings have it, its network's weights in ``dtype``; an autoencoder never trains."""
    reduced = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    base = open_base(config.base, config.network, seed, dtype=dtype, autoencoder_dtype=reduced)
    if config.causal_frames:
        make_causal(base.network, config.causal_frames)
    if config.tile_px:
        base = replace(base, autoencoder=TiledAutoencoder(base.autoencoder, config.tile_px))
    return base


def _add_adapter(network: RelighterNetwork, config: RelighterConfig, seed: int) -> None:
    from peft import LoraConfig as PeftLora

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network.add_adapter(
            PeftLora(
                r=config.lora.rank,
                lora_alpha=config.lora.alpha,
                target_modules=network.lora_targets[config.lora.targets],
                lora_dropout=0.0,
            )
        )


def _need_scale(file: Path, config: RelighterConfig) -> None:
    """Make sure that an adapter was trained with the scale that it will be used with."""
    with safe_open(file, framework="pt") as opened:
        about = json.loads((opened.metadata() or {}).get(ADAPTER_METADATA, "{}"))
    stored = about.get("r"), about.get("lora_alpha")
    if stored != (config.lora.rank, config.lora.alpha):
        raise StoreError(
            f"{file}: an adapter of (rank, alpha) {stored}, the run's config.toml says "
            f"{(config.lora.rank, config.lora.alpha)}",
            hint="put back what the run was started with",
        )


def _adapter_key(stored: str) -> str:
    head, matrix, tail = stored.rpartition(".lora_")[0], ".lora_", stored.rpartition(".lora_")[2]
    return f"{head}{matrix}{tail.removesuffix('.weight')}.default.weight"

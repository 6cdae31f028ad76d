"""A base on disk: config.json (network, autoencoder, noise levels it was trained with) and base.safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor

from litdome.errors import InputError, MissingWeightsError
from litdome.train_plugins.relighter.autoencoder import Autoencoder, CosmosAutoencoder, HaarAutoencoder
from litdome.train_plugins.relighter.config import NetworkConfig, NoiseConfig
from litdome.train_plugins.relighter.convert import check_state
from litdome.train_plugins.relighter.network import NetworkShape, RelighterNetwork, build_network

TINY_BASE = Path(__file__).parent / "base"
SMALL_MAX_SIZE = (128, 240, 240)


class BaseRecord(BaseModel):
    """What config.json holds.

    Attributes:
        network: Shape of the network.
        autoencoder: haar (fixed) or cosmos (weights in autoencoder.safetensors with its statistics).
        noise: Noise levels that the base was trained with.
        note: Where the weights come from.
    """

    model_config = ConfigDict(extra="forbid")
    network: NetworkShape
    autoencoder: str
    noise: NoiseConfig
    note: str = ""


@dataclass(frozen=True)
class Base:
    """A network with its autoencoder, on the CPU in float32."""

    network: RelighterNetwork
    shape: NetworkShape
    autoencoder: Autoencoder
    noise: NoiseConfig | None


def random_base(config: NetworkConfig, seed: int) -> Base:
    """An untrained network over the Haar autoencoder; the same seed gives the same weights."""
    shape = NetworkShape(
        channels=HaarAutoencoder.channels,
        heads=config.heads,
        head_dim=config.head_dim,
        blocks=config.blocks,
        adaln_dim=config.adaln_dim,
        context_dim=0,
        max_size=SMALL_MAX_SIZE,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Base(build_network(shape), shape, HaarAutoencoder(), None)


def open_base(base: str, config: NetworkConfig, seed: int) -> Base:
    """What ``base`` names: tiny, random, or a folder.

    Raises:
        MissingWeightsError: No base in that folder.
        InputError: Weights that do not fit config.json.
    """
    if base == "random":
        return random_base(config, seed)
    return load_base(TINY_BASE if base == "tiny" else Path(base))


def load_base(folder: Path) -> Base:
    """Read a base folder; weights stored in half precision come back as float32."""
    try:
        record = BaseRecord.model_validate_json((folder / "config.json").read_bytes())
        state = {key: value.float() for key, value in load_file(folder / "base.safetensors").items()}
    except FileNotFoundError as error:
        raise MissingWeightsError(
            f"{folder}: no relighter base here ({error.filename})", hint="--set base=random, or a folder"
        ) from error
    except ValidationError as error:
        raise InputError(f"{folder}/config.json: {error.errors()[0]['msg']}") from error
    network = build_network(record.network)
    check_state(state, network.state_dict(), str(folder))
    network.load_state_dict(state)
    return Base(network, record.network, _open_autoencoder(record.autoencoder, folder), record.noise)


def save_base(
    folder: Path, shape: NetworkShape, state: Mapping[str, Tensor], noise: NoiseConfig, *, note: str = ""
) -> None:
    """Write a base over the Haar autoencoder; weights are stored as bfloat16."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {"network": asdict(shape), "autoencoder": "haar", "noise": noise.model_dump(), "note": note}
    (folder / "config.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    save_file({k: v.to(torch.bfloat16).contiguous() for k, v in state.items()}, folder / "base.safetensors")


def without_cross_attention(base: Base) -> Base:
    """The same base with attn2 and norm2 left out, which changes nothing for a zero context."""
    base.network.leave_out_cross_attention()
    return replace(base, shape=replace(base.shape, context_dim=0))


def _open_autoencoder(kind: str, folder: Path) -> Autoencoder:
    if kind == "haar":
        return HaarAutoencoder()
    if kind != "cosmos":
        raise InputError(f"{folder}/config.json: autoencoder {kind} is unknown", hint="haar or cosmos")
    stats = load_file(folder / "autoencoder_stats.safetensors")
    return CosmosAutoencoder(
        load_file(folder / "autoencoder.safetensors"),
        (stats["video_mean"], stats["video_std"]),
        (stats["image_mean"], stats["image_std"]),
    )

"""A base: what training starts from and rendering runs with. `base_folder` is its layout on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from litdome.errors import InputError, MissingWeightsError
from litdome.train_plugins.relighter.autoencoder import Autoencoder, CosmosAutoencoder, HaarAutoencoder
from litdome.train_plugins.relighter.base_folder import (
    POSITIONS,
    STATISTICS,
    VAE,
    BaseRecord,
    new_base_folder,
    read_record,
    read_shape,
    read_tensors,
    tensor_files,
    write_record,
    write_transformer,
)
from litdome.train_plugins.relighter.config import NetworkConfig, NoiseConfig
from litdome.train_plugins.relighter.convert import check_state
from litdome.train_plugins.relighter.initial import start_from_copy
from litdome.train_plugins.relighter.network import NetworkShape, RelighterNetwork, SineAxisPositions, build_network
from litdome.train_plugins.relighter.wan import WanRelighter, load_wan
from litdome.weights import SHIPPED_BASE, weights_folder

TINY_BASE = SHIPPED_BASE
SMALL_MAX_SIZE = (128, 240, 240)


Network = RelighterNetwork | WanRelighter


@dataclass(frozen=True)
class Base:
    """What training and rendering need of a base, on the CPU.

    Attributes:
        network: Noisy latents times c_in, c_noise and conditions in, F of EDM's preconditioning out. Another video
            model beside Cosmos gives the same (see `wan`), so noise levels, loss and sampler are the same for all.
        shape: Its shape; of Wan the parts that the two share.
        autoencoder: Between pictures and its latents, which have a standard deviation near 0.5.
        noise: The noise levels that it knows.
    """

    network: Network
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
        network, autoencoder = build_network(shape), HaarAutoencoder()
        start_from_copy(network, shape, autoencoder.channel_scale())
        return Base(network, shape, autoencoder, None)


def open_base(
    base: str,
    config: NetworkConfig,
    seed: int,
    *,
    dtype: torch.dtype = torch.float32,
    autoencoder_dtype: torch.dtype | None = None,
) -> Base:
    """What ``base`` names: tiny, random, a folder, or one in the weights folder (`litdome.weights`).

    Args:
        config: Size of a random one.
        seed: Of a random one.
        dtype: Precision of its weights.
        autoencoder_dtype: Precision of the autoencoder on a GPU; that of the weights by default.

    Raises:
        MissingWeightsError: No base there.
        InputError: Weights that do not fit its configuration.
    """
    if base == "random":
        opened = random_base(config, seed)
        return replace(opened, network=opened.network.to(dtype))
    return load_base(find_base(base), dtype=dtype, autoencoder_dtype=autoencoder_dtype)


def find_base(base: str) -> Path:
    """The folder that ``base`` names.

    Raises:
        MissingWeightsError: Neither a folder nor one of the weights folder.
    """
    if base == "tiny":
        return TINY_BASE
    places = (Path(base).expanduser(), weights_folder() / base)
    for place in places:
        if place.is_dir():
            return place
    raise MissingWeightsError(
        f"base {base}: neither {places[0]} nor {places[1]} is there", hint="litdome weights list, or --set base=tiny"
    )


def load_base(
    folder: Path,
    *,
    dtype: torch.dtype = torch.float32,
    autoencoder_dtype: torch.dtype | None = None,
    cross_attention: bool = False,
) -> Base:
    """Read a base folder.

    Args:
        dtype: Precision that its weights are cast to, one by one.
        autoencoder_dtype: Precision of the autoencoder on a GPU; that of the weights by default.
        cross_attention: Keep attn2 and norm2 where the folder has them: needed for a context that is not zero.

    Raises:
        MissingWeightsError: No base in this folder, or a file of it is missing.
        InputError: Weights that do not fit the configuration, or damaged ones.
    """
    record = read_record(folder)
    if record.autoencoder == "wan":
        network, wan = load_wan(folder, dtype, autoencoder_dtype or dtype)
        return Base(network, read_shape(folder, set()), wan, record.noise)
    opened, shape = _load_cosmos(folder, dtype, cross_attention)
    haar = record.autoencoder == "haar"
    autoencoder = HaarAutoencoder() if haar else _load_tokenizer(folder, autoencoder_dtype or dtype)
    if autoencoder.channels != shape.channels:
        raise InputError(f"{folder}: latents of {autoencoder.channels} channels for a network of {shape.channels}")
    return Base(opened, shape, autoencoder, record.noise)


def _load_cosmos(folder: Path, dtype: torch.dtype, cross_attention: bool) -> tuple[RelighterNetwork, NetworkShape]:
    state: dict[str, Tensor] = {}
    for file in tensor_files(folder):
        kept = {key: value for key, value in read_tensors(file).items() if not key.startswith(POSITIONS)}
        if not cross_attention:
            kept = {key: value for key, value in kept.items() if ".attn2." not in key and ".norm2." not in key}
        state |= {key: value.to(dtype) for key, value in kept.items()}
    shape = read_shape(folder, set(state))
    with torch.device("meta"):
        network = build_network(shape)
    check_state(state, network.state_dict(), str(folder))
    network.load_state_dict(state, assign=True)
    network.learnable_pos_embed = SineAxisPositions(shape.heads * shape.head_dim, shape.max_size)
    return network, shape


def save_base(
    folder: Path, shape: NetworkShape, state: Mapping[str, Tensor], noise: NoiseConfig, *, note: str = ""
) -> None:
    """Write a base over the Haar autoencoder, in the place of an earlier one; weights are stored as bfloat16."""
    with new_base_folder(folder, replace=True) as part:
        write_transformer(part, shape, state, torch.bfloat16)
        write_record(part, BaseRecord(autoencoder="haar", noise=noise, note=note, licence="Apache-2.0"))


def _load_tokenizer(folder: Path, dtype: torch.dtype) -> CosmosAutoencoder:
    from diffusers import AutoencoderKLCosmos

    try:
        stats = read_tensors(folder / VAE / STATISTICS)
        model = AutoencoderKLCosmos.from_pretrained(folder / VAE, torch_dtype=torch.float32)
        video, image = ((stats[f"{kind}_mean"], stats[f"{kind}_std"]) for kind in ("video", "image"))
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise InputError(f"{folder / VAE}: {error}", hint="litdome weights doctor") from error
    nn.Module.requires_grad_(model, False)
    return CosmosAutoencoder(model.eval(), video, image, dtype)

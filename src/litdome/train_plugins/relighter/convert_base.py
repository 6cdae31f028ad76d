"""NVIDIA's files of the forward renderer to a base folder that diffusers and litdome read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from litdome.errors import InputError
from litdome.progress import Progress, silent
from litdome.train_plugins.relighter.base_folder import (
    STATISTICS,
    VAE,
    BaseRecord,
    new_base_folder,
    require_room,
    stored_bytes,
    write_record,
    write_transformer,
)
from litdome.train_plugins.relighter.config import NoiseConfig
from litdome.train_plugins.relighter.convert import check_original, convert_network_state, network_shape
from litdome.train_plugins.relighter.convert_tokenizer import build_tokenizer
from litdome.train_plugins.relighter.network import NetworkShape
from litdome.train_plugins.relighter.original_files import (
    SourceFile,
    hash_file,
    read_checkpoint,
    read_statistics,
    read_torchscript,
    require_file,
)

RELEASED_MD5 = "2b664e2d1872873ee9089a3f2071f25d"  # model.pt of Diffusion_Renderer_Forward_Cosmos_7B
ORIGINAL_NOISE = NoiseConfig(sigma_max=80.0, ln_sigma_mean=0.0, ln_sigma_std=1.0)
TOKENIZER_FILES = ("encoder.jit", "decoder.jit", "mean_std.pt", "image_mean_std.pt")
_MAX_SIZE = {"max_frames": 128, "max_img_h": 240, "max_img_w": 240}
_SPARE_BYTES = 64 << 20


def convert_base(
    model: Path, tokenizer: Path, folder: Path, *, dtype: torch.dtype | None = None, progress: Progress = silent
) -> BaseRecord:
    """Convert a forward renderer of any size with its tokenizer.

    Args:
        model: NVIDIA's model.pt; config.json beside it gives the largest latent where it says so.
        tokenizer: Folder with encoder.jit, decoder.jit, mean_std.pt and image_mean_std.pt.
        folder: The base to be; it appears when it is whole.
        dtype: Precision that weights are stored in; that of the files by default.
        progress: Called as files are read and written.

    Returns:
        What base.json says, with the hashes of what was read and written.

    Raises:
        MissingWeightsError: A file is missing.
        InputError: A file is cut short, wants to run code, or holds another model.
        StoreError: The disk has no room.
        UsageError: ``folder`` exists.
    """
    files = [model, *(tokenizer / name for name in TOKENIZER_FILES)]
    for file in files:
        require_file(file)
    with new_base_folder(folder) as part:
        original = read_checkpoint(model)
        check_original(original, str(model))
        state = convert_network_state(original)
        shape = network_shape(state, _largest_latent(model.parent / "config.json"))
        vae = read_torchscript(files[1]) | read_torchscript(files[2])
        require_room(folder, stored_bytes(state, dtype) + stored_bytes(vae, dtype) + _SPARE_BYTES)
        _write_tokenizer(part, vae, files[3], files[4], shape, dtype)
        write_transformer(part, shape, state, dtype, progress)
        sources = tuple(hash_file(file, progress) for file in files)
        return write_record(part, _record(sources, shape))


def is_released(source: SourceFile) -> bool:
    """Whether a source is the 7B model.pt that NVIDIA released."""
    return source.md5 == RELEASED_MD5


def _record(sources: tuple[SourceFile, ...], shape: NetworkShape) -> BaseRecord:
    licence = "NVIDIA Open Model License" if shape == NetworkShape() else "that of its sources"
    note = "DiffusionRenderer forward, Cosmos 7B" if is_released(sources[0]) else f"converted from {sources[0].name}"
    return BaseRecord(autoencoder="cosmos", noise=ORIGINAL_NOISE, note=note, licence=licence, sources=sources)


def _write_tokenizer(
    folder: Path, state: dict[str, Tensor], video: Path, image: Path, shape: NetworkShape, dtype: torch.dtype | None
) -> None:
    """vae/, whose configuration carries the video statistics as diffusers keeps them; both lie in a file of ours."""
    model = build_tokenizer(state)
    channels = int(model.config.latent_channels)
    if channels != shape.channels:
        raise InputError(f"{video.parent}: a tokenizer of {channels} channels for a network of {shape.channels}")
    stats = {"video": read_statistics(video, channels), "image": read_statistics(image, channels, frames=1)}
    model.register_to_config(latents_mean=stats["video"][0].tolist(), latents_std=stats["video"][1].tolist())
    if dtype is not None:
        nn.Module.to(model, dtype)
    model.save_pretrained(folder / VAE)
    named = {f"{kind}_mean": mean for kind, (mean, _) in stats.items()}
    named |= {f"{kind}_std": std for kind, (_, std) in stats.items()}
    save_file({name: value.contiguous() for name, value in named.items()}, folder / VAE / STATISTICS)


def _largest_latent(config: Path) -> tuple[int, int, int]:
    settings: dict[str, Any] = {}
    if config.is_file():
        try:
            settings = json.loads(config.read_bytes()).get("network", {})
        except (ValueError, AttributeError) as error:
            raise InputError(f"{config}: no JSON object ({error})") from error
    time, height, width = (int(settings.get(key, size)) for key, size in _MAX_SIZE.items())
    return time, height, width

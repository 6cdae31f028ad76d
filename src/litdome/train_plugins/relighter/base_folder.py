"""The folder of a base: transformer/ and vae/ as diffusers writes them, and base.json, which says what they are.

The shipped base and converted ones have this one layout; vae/ is left out where the autoencoder is the fixed Haar one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from litdome.errors import InputError, MissingWeightsError, StoreError, UsageError
from litdome.progress import Progress, silent
from litdome.train_plugins.relighter.config import NoiseConfig
from litdome.train_plugins.relighter.network import (
    SPATIAL_PATCH,
    NetworkShape,
    SineAxisPositions,
    transformer_arguments,
)
from litdome.train_plugins.relighter.original_files import SourceFile
from litdome.weights import BASE_RECORD, sha256_of

TRANSFORMER, VAE, STATISTICS = "transformer", "vae", "statistics.safetensors"
POSITIONS = "learnable_pos_embed."  # stored for diffusers' own class only; ours makes them
_STEM = "diffusion_pytorch_model"
_SHARD_BYTES = 2 << 30
_SIDES = ("spatial", "temporal")


class BaseRecord(BaseModel):
    """What base.json holds.

    Attributes:
        format: Version of this layout.
        autoencoder: haar (fixed, no files), cosmos (in vae/, with its statistics) or wan (in vae/).
        noise: Noise levels that the base was trained with.
        note: Where the weights come from.
        licence: Terms of the weights.
        sources: The files that they were converted from.
        files: SHA-256 of every file of weights, by its path in the folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: Literal[1] = 1
    autoencoder: Literal["haar", "cosmos", "wan"]
    noise: NoiseConfig
    note: str = ""
    licence: str = ""
    sources: tuple[SourceFile, ...] = ()
    files: dict[str, str] = {}


WAN_CLASS = "WanTransformer3DModel"
# Wan was trained with logit-normal noise, moved by its authors' shift of 5: ln sigma = ln(5 / 2) + a unit normal
WAN = BaseRecord(
    autoencoder="wan",
    noise=NoiseConfig(sigma_max=80.0, ln_sigma_mean=0.92, ln_sigma_std=1.0),
    note="Wan as diffusers publishes it",
    licence="Apache-2.0",
)


@contextmanager
def new_base_folder(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """A folder to write a base to, which takes its name when it is whole; nothing stays of one that failed.

    Args:
        folder: Where the base is to be.
        replace: Let it take the place of an earlier base.

    Raises:
        UsageError: Something else is there.
    """
    is_base = (folder / BASE_RECORD).is_file()
    if folder.exists() and not (replace and is_base) and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: exists", hint="another -o FOLDER")
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def require_room(folder: Path, needed: int) -> None:
    """Make sure that a disk has room, in bytes.

    Raises:
        StoreError: It has not.
    """
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise StoreError(
            f"{folder}: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free", hint="-o on a larger disk"
        )


def write_transformer(
    folder: Path,
    shape: NetworkShape,
    state: Mapping[str, Tensor],
    dtype: torch.dtype | None = None,
    progress: Progress = silent,
) -> None:
    """Write transformer/ so that diffusers' own class finds every tensor, in parts of 2 GB.

    Args:
        shape: Of the network.
        state: Weights by diffusers' names; read one part at a time, so they may lie on disk.
        dtype: What they are cast to; as they are by default.
        progress: Called per part.
    """
    tensors = dict(state)
    if shape.context_dim:  # without cross-attention diffusers' class does not fit anyway
        tensors |= {POSITIONS + name: table for name, table in _padded_positions(shape).items()}
    _write_config(folder / TRANSFORMER, "CosmosTransformer3DModel", transformer_arguments(shape))
    parts = _split(tensors, dtype)
    weight_map: dict[str, str] = {}
    for number, names in enumerate(parts):
        progress("write", number, len(parts))
        file = (
            f"{_STEM}.safetensors" if len(parts) == 1 else f"{_STEM}-{number + 1:05d}-of-{len(parts):05d}.safetensors"
        )
        weight_map |= dict.fromkeys(names, file)
        cast = {name: tensors[name].to(_stored_dtype(name, tensors[name], dtype)).contiguous() for name in names}
        save_file(cast, folder / TRANSFORMER / file, metadata={"format": "pt"})
    progress("write", len(parts), len(parts))
    if len(parts) > 1:
        index = {"metadata": {"total_size": stored_bytes(tensors, dtype)}, "weight_map": weight_map}
        _write_json(folder / TRANSFORMER / f"{_STEM}.safetensors.index.json", index)


def write_record(folder: Path, record: BaseRecord) -> BaseRecord:
    """Write base.json with the hashes of the weights that lie there; gives what was written."""
    files = sorted(folder.rglob("*.safetensors"))
    for file in files:
        file.chmod(0o644)  # safetensors lets only its writer read them
    record = record.model_copy(update={"files": {str(f.relative_to(folder)): sha256_of(f) for f in files}})
    _write_json(folder / BASE_RECORD, record.model_dump(mode="json"))
    return record


def read_record(folder: Path) -> BaseRecord:
    """What base.json says; of Wan as it is published, which has none, what is known of it.

    Raises:
        MissingWeightsError: No base in this folder.
        InputError: Not a base.json of this version.
    """
    try:
        return BaseRecord.model_validate_json((folder / BASE_RECORD).read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        if _class_name(folder) == WAN_CLASS:
            return WAN
        raise MissingWeightsError(f"{folder}: no relighter base here", hint="litdome weights list") from error
    except ValidationError as error:
        raise InputError(f"{folder / BASE_RECORD}: {error.errors()[0]['msg']}", hint="convert it again") from error


def read_shape(folder: Path, names: set[str]) -> NetworkShape:
    """The network's shape from transformer/config.json; without attn2 among the weights' names it has no context.

    Of Wan the parts that the two networks share.

    Raises:
        InputError: Another network, or no configuration.
    """
    file = folder / TRANSFORMER / "config.json"
    try:
        found: dict[str, Any] = json.loads(file.read_bytes())
        if found.get("_class_name") == WAN_CLASS:
            sizes = (found["out_channels"], found["num_attention_heads"], found["attention_head_dim"])
            side = int(found["rope_max_seq_len"])
            largest = (side, side * SPATIAL_PATCH, side * SPATIAL_PATCH)
            return NetworkShape(*sizes, blocks=found["num_layers"], adaln_dim=0, context_dim=0, max_size=largest)
        shape = NetworkShape(
            channels=found["out_channels"],
            heads=found["num_attention_heads"],
            head_dim=found["attention_head_dim"],
            blocks=found["num_layers"],
            adaln_dim=found["adaln_lora_dim"],
            context_dim=found["text_embed_dim"] if any(".attn2." in name for name in names) else 0,
            max_size=(found["max_size"][0], found["max_size"][1], found["max_size"][2]),
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"{file}: no configuration of the network ({error})", hint="convert it again") from error
    expected = transformer_arguments(shape)
    if not shape.context_dim:  # attn2 was left out when it was read
        del expected["text_embed_dim"]
    wrong = [key for key, value in expected.items() if _plain(value) != found.get(key, _plain(value))]
    if wrong:
        raise InputError(f"{file}: {wrong[0]} is {found[wrong[0]]}, which is no forward renderer's")
    return shape


def read_compression(folder: Path) -> tuple[int, int]:
    """Pixels and frames per latent of the autoencoder in vae/.

    Raises:
        InputError: No configuration.
    """
    file = folder / VAE / "config.json"
    try:
        found = json.loads(file.read_bytes())
        names = ("scale_factor_{}", "{}_compression_ratio")
        sides = [next(found[name.format(side)] for name in names if name.format(side) in found) for side in _SIDES]
    except (OSError, ValueError, StopIteration) as error:
        raise InputError(f"{file}: no configuration of the autoencoder", hint="litdome weights doctor") from error
    return int(sides[0]), int(sides[1])


def tensor_files(folder: Path) -> list[Path]:
    """The files of transformer/ that hold weights, in order.

    Raises:
        MissingWeightsError: One is missing.
    """
    index = folder / TRANSFORMER / f"{_STEM}.safetensors.index.json"
    names = {f"{_STEM}.safetensors"}
    if index.is_file():
        names = set(json.loads(index.read_bytes())["weight_map"].values())
    files = [folder / TRANSFORMER / name for name in sorted(names)]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise MissingWeightsError(f"{missing[0]}: missing", hint="litdome weights doctor")
    return files


def read_tensors(file: Path) -> dict[str, Tensor]:
    """A file of tensors, mapped from disk.

    Raises:
        InputError: Cut short or something else.
    """
    try:
        found: dict[str, Tensor] = load_file(file)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file}: damaged ({error})", hint="litdome weights doctor") from error
    return found


def stored_bytes(tensors: Mapping[str, Tensor], dtype: torch.dtype | None) -> int:
    """How much room tensors take on disk."""
    return sum(t.numel() * _stored_dtype(name, t, dtype).itemsize for name, t in tensors.items())


def _stored_dtype(name: str, tensor: Tensor, dtype: torch.dtype | None) -> torch.dtype:
    return tensor.dtype if dtype is None or name.startswith(POSITIONS) else dtype


def _split(tensors: Mapping[str, Tensor], dtype: torch.dtype | None) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    room = _SHARD_BYTES
    for name, tensor in tensors.items():
        size = stored_bytes({name: tensor}, dtype)
        if size > room and parts[-1]:
            parts.append([])
            room = _SHARD_BYTES
        parts[-1].append(name)
        room -= size
    return parts


def _padded_positions(shape: NetworkShape) -> dict[str, Tensor]:
    """The fixed positions as diffusers' learned ones, whose sum is then our concatenation."""
    width, start = shape.heads * shape.head_dim, 0
    positions = SineAxisPositions(width, shape.max_size)
    found = {}
    for axis in "thw":
        table = positions.get_buffer(f"table_{axis}")
        found[f"pos_emb_{axis}"] = torch.zeros(len(table), width)
        found[f"pos_emb_{axis}"][:, start : start + table.shape[1]] = table
        start += table.shape[1]
    return found


def _write_config(folder: Path, name: str, arguments: Mapping[str, Any]) -> None:
    folder.mkdir()
    _write_json(folder / "config.json", {"_class_name": name, "_diffusers_version": version("diffusers"), **arguments})


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _class_name(folder: Path) -> str:
    try:
        return str(json.loads((folder / TRANSFORMER / "config.json").read_bytes()).get("_class_name"))
    except (OSError, ValueError, AttributeError):
        return ""


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value

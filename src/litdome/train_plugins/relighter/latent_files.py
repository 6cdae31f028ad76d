"""Latents on disk, believed only where they are what they say.

A file is believed only if it says what it was made of (dataset, settings, autoencoder) and its bytes are those that
were written; anything else is removed, and one line says so.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from litdome.errors import StoreError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LatentFiles:
    """Latents on disk.

    Attributes:
        folder: Of one dataset, its preparation and one autoencoder.
        made_of: Their hash, which every file repeats.
    """

    folder: Path
    made_of: str

    def read(self, name: str) -> tuple[dict[str, Tensor], dict[str, str]] | None:
        """Tensors and lights of a file; None where there is none, or none that can be believed."""
        path = self.folder / name
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in list(file.keys())}
            lights: dict[str, str] = json.loads(about["lights"])
            problem = "of other data" if about["made_of"] != self.made_of else ""
            problem = problem or ("damaged" if about["digest"] != _digest_of(name, tensors, lights) else "")
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            problem = f"damaged ({error})"
        if not problem:
            return tensors, lights
        log.warning("%s: %s; encoded anew", path, problem)
        path.unlink(missing_ok=True)
        return None

    def write(self, name: str, tensors: dict[str, Tensor], lights: dict[str, str]) -> None:
        """Keep a file; whole or not at all, whoever else writes it.

        Raises:
            StoreError: The disk does not take it.
        """
        path, partial = self.folder / name, self.folder / f".{name}.{os.getpid()}.partial"
        about = {"made_of": self.made_of, "lights": json.dumps(lights), "digest": _digest_of(name, tensors, lights)}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, partial, about)
            partial.replace(path)
        except (OSError, SafetensorError) as error:
            with suppress(OSError):
                partial.unlink()
            raise StoreError(f"{path}: cannot be written: {error}", hint="--set latent_cache=memory") from error


def _digest_of(name: str, tensors: Mapping[str, Tensor], lights: Mapping[str, str]) -> str:
    about = repr((name, sorted(lights.items()), [(key, tensors[key].shape) for key in sorted(tensors)]))
    return digest([about.encode(), *(raw_bytes(tensors[key]) for key in sorted(tensors))])


def digest(parts: Iterable[bytes]) -> str:
    """A hash of the parts one after the other, 32 hexadecimal digits."""
    found = blake2b(digest_size=16)
    for part in parts:
        found.update(part)
    return found.hexdigest()


def raw_bytes(tensor: Tensor) -> bytes:
    """A tensor's values as they lie in memory, row by row."""
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def bytes_of(value: Any) -> Iterable[bytes]:
    """All that an autoencoder is made of: weights, statistics, sizes."""
    if isinstance(value, nn.Module):
        yield from bytes_of(value.state_dict())
    elif isinstance(value, Tensor):
        yield raw_bytes(value)
    elif isinstance(value, Mapping):
        for key in sorted(value):
            yield str(key).encode()
            yield from bytes_of(value[key])
    elif isinstance(value, tuple | list):
        for item in value:
            yield from bytes_of(item)
    elif hasattr(value, "__dict__"):  # an autoencoder inside another
        yield from bytes_of(vars(value))
    else:
        yield repr(value).encode()

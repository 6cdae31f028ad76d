"""Weights as their authors publish them, read without running anything that a file brings along."""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from litdome.errors import InputError, MissingWeightsError
from litdome.progress import Progress, silent

AGAIN = "litdome weights list"  # says how to get them
_READ_BYTES = 1 << 24
_ELEMENT = {
    **{"FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16},
    **{"BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32},
    **{"ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool},
}


@dataclass(frozen=True)
class SourceFile:
    """What a conversion remembers of a file that it read."""

    name: str
    bytes: int
    sha256: str
    md5: str


def hash_file(file: Path, progress: Progress = silent) -> SourceFile:
    """Size and hashes of a file; ``progress`` counts MiB."""
    size, sha256, md5 = file.stat().st_size, hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    done = 0
    with file.open("rb") as stream:
        while block := stream.read(_READ_BYTES):
            sha256.update(block)
            md5.update(block)
            done += len(block)
            progress(f"hash {file.name}", -(-done >> 20), -(-size >> 20))
    return SourceFile(file.name, size, sha256.hexdigest(), md5.hexdigest())


def read_checkpoint(file: Path) -> dict[str, Tensor]:
    """The tensors of a file of ``torch.save``, left on disk until they are used.

    Args:
        file: A state dict, or a dict that holds one under ``model``.

    Raises:
        MissingWeightsError: No such file.
        InputError: Cut short, something else than weights, or a pickle that wants to run code.
    """
    require_file(file)
    try:
        found: Any = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(f"{file}: {_why_unreadable(file, error)}", hint=AGAIN) from error
    inner = found.get("model", found) if isinstance(found, dict) else found
    if not isinstance(inner, Mapping):
        raise InputError(f"{file}: holds a {type(inner).__name__}, not weights by name", hint=AGAIN)
    return {str(key): value for key, value in inner.items() if isinstance(value, Tensor)}


def read_statistics(file: Path, channels: int, frames: int | None = None) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation from a file that holds the two, shape (channels * frames,) each, float32.

    Args:
        channels: Latent channels.
        frames: Latent frames; any number by default.

    Raises:
        MissingWeightsError: No such file.
        InputError: It holds something else.
    """
    require_file(file)
    try:
        found: Any = torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(f"{file}: {_why_unreadable(file, error)}", hint=AGAIN) from error
    pair = [torch.as_tensor(value).float() for value in found] if isinstance(found, (tuple, list)) else []
    count = pair[0].numel() if pair else 0
    fits = count == channels * frames if frames else count > 0 and count % channels == 0
    if len(pair) != 2 or not fits or pair[1].numel() != count or not bool((pair[1] > 0).all()):
        raise InputError(f"{file}: not a mean and a standard deviation per channel of {channels}", hint=AGAIN)
    return pair[0].flatten(), pair[1].flatten()


def read_torchscript(file: Path) -> dict[str, Tensor]:
    """The weights and buffers of a TorchScript archive; the program in it is not even parsed.

    Raises:
        MissingWeightsError: No such file.
        InputError: Cut short, something else, or a pickle that names more than modules and tensors.
    """
    require_file(file)
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
            if len(names) != 1:
                raise InputError(f"{file}: no TorchScript archive", hint=AGAIN)
            with archive.open(names[0]) as stream:
                module = _ModuleReader(stream, archive, names[0].removesuffix(".pkl"), file).load()
    except (zipfile.BadZipFile, KeyError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(f"{file}: {_why_unreadable(file, error)}", hint=AGAIN) from error
    found = dict(_tensors(module, ""))
    if not found:
        raise InputError(f"{file}: a TorchScript archive without weights", hint=AGAIN)
    return found


def require_file(file: Path) -> None:
    """Make sure that a file is there and is no web page or pointer in its place.

    Raises:
        MissingWeightsError: No such file.
        InputError: A page, a Git LFS pointer, or nothing in it.
    """
    if not file.is_file():
        raise MissingWeightsError(f"{file}: no such file", hint="litdome weights list")
    with file.open("rb") as stream:
        start = stream.read(512).lstrip().lower()
    if not start:
        raise InputError(f"{file}: empty", hint=AGAIN)
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise InputError(f"{file}: a web page, not weights (logged in? licence accepted?)", hint=AGAIN)
    if start.startswith(b"version https://git-lfs"):
        raise InputError(f"{file}: a Git LFS pointer, not the weights that it stands for", hint="git lfs pull")


def _why_unreadable(file: Path, error: BaseException) -> str:
    text = str(error)
    code = re.search(r"Unsupported global: GLOBAL (\S+)|Unsupported class (\S+)|unsupported GLOBAL (\S+)", text)
    if code:
        return f"a pickle that wants code ({next(filter(None, code.groups()))}), not opened"
    with file.open("rb") as stream:
        is_zip = stream.read(4) == b"PK\x03\x04"
    if is_zip and not zipfile.is_zipfile(file):
        return f"cut short after {file.stat().st_size} bytes (the end of its archive is missing)"
    return f"no weights that can be read ({type(error).__name__})"


class _ScriptModule:
    """Stands for any module of an archive: its attributes are its state."""

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state if isinstance(state, dict) else {})


class _ModuleReader(pickle.Unpickler):
    """Reads ``data.pkl`` of a TorchScript archive, knowing modules, lists and tensors and nothing else."""

    def __init__(self, stream: Any, archive: zipfile.ZipFile, folder: str, file: Path) -> None:
        super().__init__(stream)
        self._archive, self._folder, self._file = archive, folder, file

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _ScriptModule
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _view_of
        if module == "torch.jit._pickle":
            return lambda value, *_: value
        if module == "torch" and name in _ELEMENT:
            return _ELEMENT[name]
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        raise pickle.UnpicklingError(f"unsupported GLOBAL {module}.{name}")

    def persistent_load(self, pid: Any) -> Tensor:
        kind, dtype, key = pid[:3]
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError(f"unknown storage {kind}")
        content = bytearray(self._archive.read(f"{self._folder}/{key}"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)


def _view_of(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    return storage.as_strided(size, stride, offset).clone()


def _tensors(value: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    for name, inner in cast(dict[str, Any], vars(value) if isinstance(value, _ScriptModule) else {}).items():
        if isinstance(inner, Tensor):
            yield prefix + name, inner
        else:
            yield from _tensors(inner, f"{prefix}{name}.")

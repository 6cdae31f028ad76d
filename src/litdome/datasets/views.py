"""A dataset as trainers see it: splits, samples as tensors, clips. Opened lazily, so it travels to spawned workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import zarr

from litdome.datasets.build import COVERAGES, DATASET_FORMAT, DATASET_SCHEMA
from litdome.errors import StoreError, UsageError
from litdome.store.schema import check_format

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[Any]
PICTURE_KEYS = ("flat", "relit", "flat_compensated")
ID_KEYS = ("session", "camera", "pair", "hdri")


def open_dataset(path: Path) -> DatasetView:
    """The whole dataset at ``path``.

    Raises:
        StoreError: Nothing there, not a dataset, unfinished, or a newer major schema.
    """
    try:
        attrs = dict(zarr.open_group(path, mode="r").attrs)
    except (FileNotFoundError, ValueError) as error:
        raise StoreError(f"{path}: no dataset here", hint=f"litdome dataset build SESSION -o {path}") from error
    check_format(attrs, str(path), DATASET_FORMAT, DATASET_SCHEMA)
    if not attrs.get("finished"):
        raise StoreError(f"{path}: the build is unfinished", hint="run litdome dataset build again")
    return DatasetView(path, None)


@dataclass(frozen=True)
class DatasetView:
    """A dataset, or the samples of one split. ``view[i]`` is a sample with a time axis of 1.

    Sample keys: ``flat flat_compensated relit`` (t, 3, h, w) 0..1; ``mask mask_flat mask_wide weight`` (t, 1, h, w)
    0..1; ``env_ldr env_log env_direction`` (t, 3, h, w) -1..1; ``intrinsics`` (t, 3, 3) px; ``world_from_camera``
    (t, 4, 4) m; ``background`` (3, h, w) 0..1; ``time_flat time_relit`` (t,) s; ``session camera pair hdri`` (t,).
    """

    path: Path
    rows: tuple[int, ...] | None

    @cached_property
    def root(self) -> zarr.Group:
        """The Zarr group, opened at first use."""
        return zarr.open_group(self.path, mode="r")

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "rows": self.rows}

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the spec."""
        return str(self.root.attrs["fingerprint"])

    @property
    def attrs(self) -> dict[str, Any]:
        """Spec, sessions (names, cameras, HDRIs, subject, fps, consent), split names."""
        return dict(self.root.attrs)

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that hold samples."""
        return tuple(cast(list[str], self.root.attrs["splits"]))

    def split(self, name: str) -> DatasetView:
        """The samples of one split.

        Raises:
            UsageError: No such split.
        """
        if name not in self.splits:
            raise UsageError(f"{self.path}: no split {name}", hint=f"splits: {', '.join(self.splits)}")
        index = self.splits.index(name)
        return DatasetView(self.path, tuple(int(i) for i in self._rows if self._table["split"][i] == index))

    def where(self, **values: int) -> DatasetView:
        """The samples whose ids (session, camera, pair, hdri) have the given values."""
        held = [i for i in self._rows if all(self._table[key][i] == value for key, value in values.items())]
        return DatasetView(self.path, tuple(int(i) for i in held))

    def __len__(self) -> int:
        return len(self._rows)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Sample keys of this dataset."""
        first = self.root[f"cameras/{self._sessions[0]['name']}/{self._sessions[0]['cameras'][0]}"]
        stored = set(first.array_keys()) if isinstance(first, zarr.Group) else set()
        pictures = [key for key in (*PICTURE_KEYS, *COVERAGES, "background") if key in stored]
        made = ["env_ldr", "env_log", "env_direction", "intrinsics", "world_from_camera", "time_flat", "time_relit"]
        return (*pictures, *made, *ID_KEYS)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.read(index)

    def read(self, index: int, keys: Sequence[str] | None = None) -> dict[str, Tensor]:
        """One sample, all keys or only the named ones."""
        import torch

        row = self._rows[index]
        names = self.keys if keys is None else keys
        return {name: torch.from_numpy(np.ascontiguousarray(self._value(name, row))) for name in names}

    def clips(self, length: int, stride: int) -> Sequence[dict[str, Tensor]]:
        """Runs of ``length`` successive pairs of one camera, starting every ``stride`` pairs; time axis ``length``."""
        starts = [i for i in range(0, len(self) - length + 1) if self._is_run(i, length)]
        chosen, last = [], None
        for start in starts:
            key = self._run_key(start)
            if last is None or key[:2] != last[:2] or key[2] - last[2] >= stride:
                chosen.append(start)
                last = key
        return _Clips(self, tuple(chosen), length)

    # inside

    @property
    def _rows(self) -> Sequence[int]:
        return self.rows if self.rows is not None else range(len(self._table["session"]))

    @cached_property
    def _table(self) -> dict[str, Array]:
        return {name: self._array(f"samples/{name}") for name in (*ID_KEYS, "split")}

    @cached_property
    def _sessions(self) -> list[dict[str, Any]]:
        return cast(list[dict[str, Any]], self.root.attrs["sessions"])

    @cached_property
    def _pair_rows(self) -> list[dict[int, int]]:
        pairs = (self._array(f"pairs/{session['name']}/pair") for session in self._sessions)
        return [{int(pair): n for n, pair in enumerate(values)} for values in pairs]

    @cached_property
    def _cache(self) -> dict[str, Any]:
        return {}

    def _node(self, path: str) -> Any:
        if path not in self._cache:
            self._cache[path] = self.root[path]
        return self._cache[path]

    def _array(self, path: str) -> Array:
        return np.asarray(self._node(path)[...])

    def _small(self, path: str) -> Array:
        key = path + "[...]"
        if key not in self._cache:
            self._cache[key] = self._array(path)
        return cast(Array, self._cache[key])

    def _value(self, name: str, row: int) -> Array:
        session, camera, pair, hdri = (int(self._table[key][row]) for key in ID_KEYS)
        about = self._sessions[session]
        place = f"{about['name']}/{about['cameras'][camera]}"
        n = self._pair_rows[session][pair]
        if name in ID_KEYS:
            return np.array([self._table[name][row]], np.int64)
        if name in PICTURE_KEYS:
            return _unit(self._node(f"cameras/{place}/{name}")[n]).transpose(2, 0, 1)[None]
        if name in COVERAGES:
            return _unit(self._node(f"cameras/{place}/{name}")[n])[None, None]
        if name == "background":
            return _unit(self._small(f"cameras/{place}/background")).transpose(2, 0, 1)
        if name in ("env_ldr", "env_log"):
            view = self._node(f"hdri_views/{place}/{name[4:]}")[hdri]
            return np.asarray((np.asarray(view, np.float32) * 2 - 1).transpose(2, 0, 1)[None])
        if name == "env_direction":
            return np.asarray(self._small("hdri_views/direction").astype(np.float32).transpose(2, 0, 1)[None])
        if name in ("intrinsics", "world_from_camera"):
            return np.asarray(self._small(f"rig/{about['name']}/{name}")[camera].astype(np.float32)[None])
        if name in ("time_flat", "time_relit"):
            return np.asarray(self._small(f"pairs/{about['name']}/{name}")[n : n + 1])
        raise UsageError(f"{self.path}: no sample key {name}", hint=f"keys: {', '.join(self.keys)}")

    def _run_key(self, index: int) -> tuple[int, int, int]:
        row = self._rows[index]
        return tuple(int(self._table[key][row]) for key in ("session", "camera", "pair"))  # type: ignore[return-value]

    def _is_run(self, start: int, length: int) -> bool:
        session, camera, pair = self._run_key(start)
        return all(self._run_key(start + k) == (session, camera, pair + k) for k in range(1, length))


@dataclass(frozen=True)
class _Clips(Sequence[dict[str, Any]]):
    view: DatasetView
    starts: tuple[int, ...]
    length: int

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: Any) -> Any:
        import torch

        frames = [self.view[self.starts[index] + k] for k in range(self.length)]
        still = {"background"}
        return {key: frames[0][key] if key in still else torch.cat([f[key] for f in frames]) for key in frames[0]}


def _unit(codes: Any) -> npt.NDArray[np.float32]:
    return np.asarray(codes, np.float32) / np.float32(255)

"""The arrays of a dataset, sample by sample: only the chunks of what is asked for are read, each checked by its crc32c.

Pictures, masks and light maps go through the store's own shard reader (store/shards.py), which zarr-python's fixed cost
a read would double; what it does not know is left to zarr-python.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import zarr

from litdome.datasets.tensors import LIGHT_KEYS, planes, resampled
from litdome.errors import StoreError, UsageError
from litdome.lighting import view_directions
from litdome.store.arrays import ArrayStore

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[Any]
Box = tuple[tuple[int, int], tuple[int, int]]  # rows, columns; half-open, px
PICTURE_KEYS = ("flat", "relit", "flat_compensated")
COVERAGE_KEYS = ("mask", "mask_flat", "mask_wide", "mask_face", "mask_hands", "weight", "weight_compensated")
STILL_KEYS = ("background",)  # no time axis
MADE_KEYS = (*LIGHT_KEYS, "env_direction", "intrinsics", "world_from_camera", "time_flat", "time_relit")
ID_KEYS = ("session", "camera", "pair", "hdri")
CROPS = "crops/"  # crops/face/flat: a key of the tier of crops at native resolution


@dataclass(frozen=True)
class Place:
    """Where a sample lies: its ids, its row in the arrays of its camera, and the names of session and camera."""

    session: int
    camera: int
    pair: int
    hdri: int
    n: int
    name: str
    id: str

    @property
    def folder(self) -> str:
        """Below ``cameras/`` and ``hdri_views/``."""
        return f"{self.name}/{self.id}"


class SampleReader:
    """Reads a finished dataset. Nothing stays open; tables are remembered, pictures are not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = ArrayStore(str(path), zarr.open_group(path, mode="r"), writable=False)
        self.attrs = dict(self.store.root.attrs)
        self.sessions = cast(list[dict[str, Any]], self.attrs["sessions"])
        self._tables: dict[str, Array] = {}

    def table(self, path: str) -> Array:
        """A whole array, remembered.

        Raises:
            StoreError: Not there, or damaged.
        """
        if path not in self._tables:
            self._tables[path] = self.store.read(path)
        return self._tables[path]

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Sample keys that every session has."""
        stored = set.intersection(*(self._stored_keys(f"{s['name']}/{s['cameras'][0]}") for s in self.sessions))
        pictures = [key for key in (*PICTURE_KEYS, *COVERAGE_KEYS, *STILL_KEYS) if key in stored]
        return (*pictures, *MADE_KEYS, *ID_KEYS, *sorted(key for key in stored if key.startswith(CROPS)))

    def place(self, row: int) -> Place:
        """Where the sample at ``row`` of the dataset lies."""
        session, camera, pair, hdri = (int(self.table(f"samples/{key}")[row]) for key in ID_KEYS)
        about = self.sessions[session]
        n = self._pair_rows[session][pair]
        return Place(session, camera, pair, hdri, n, str(about["name"]), str(about["cameras"][camera]))

    def read(self, row: int, keys: Sequence[str], box: Box | None) -> dict[str, Tensor]:
        """One sample, compact (tensors.py); see `DatasetView.read`."""
        place = self.place(row)
        with _named(place, self.path):
            return {name: self._value(name, place, box) for name in keys}

    def codes(self, row: int, key: str) -> npt.NDArray[np.uint8]:
        """A picture or mask of one sample as stored; see `DatasetView.codes`."""
        place = self.place(row)
        with _named(place, self.path):
            return self.store.read_at(f"cameras/{place.folder}/{key}", place.n, required=True)

    def shape(self, key: str) -> tuple[int, ...]:
        """Shape of the array behind a picture or mask: (n, y, x, 3) or (n, y, x)."""
        return self.store.array(f"cameras/{self.sessions[0]['name']}/{self.sessions[0]['cameras'][0]}/{key}").shape

    def _stored_keys(self, camera: str) -> set[str]:
        group = cast(zarr.Group, self.store.root[f"cameras/{camera}"])
        regions = cast(zarr.Group, group["crops"]).groups() if "crops" in group else ()
        return {
            *group.array_keys(),
            *(f"{CROPS}{name}/{key}" for name, region in regions for key in region.array_keys()),
        }

    @cached_property
    def _pair_rows(self) -> list[dict[int, int]]:
        pairs = (self.table(f"pairs/{session['name']}/pair") for session in self.sessions)
        return [{int(pair): n for n, pair in enumerate(values)} for values in pairs]

    def _value(self, name: str, place: Place, box: Box | None) -> Tensor:
        import torch

        if name in ID_KEYS:
            return torch.tensor([getattr(place, name)])
        if name not in self.keys:
            raise UsageError(f"{self.path}: no sample key {name}", hint=f"keys: {', '.join(self.keys)}")
        if name in LIGHT_KEYS:
            if place.hdri < 0:
                raise UsageError(
                    f"session {place.name}, camera {place.id}, pair {place.pair}: nobody named its light",
                    hint="name it in lights.csv, ingest and build again; or read other keys",
                )
            view = self.store.read_at(f"hdri_views/{place.folder}/{name[4:]}", place.hdri, required=True)
            return planes(view if box is None else resampled(view, _size(box)))[None]
        if name == "env_direction":
            return planes(self.table("hdri_views/direction") if box is None else view_directions(*_size(box)))[None]
        if name == "world_from_camera":
            return torch.from_numpy(self.table(f"rig/{place.name}/{name}")[[place.camera]].astype(np.float32))
        if name in ("time_flat", "time_relit"):
            return torch.from_numpy(self.table(f"pairs/{place.name}/{name}")[[place.n]])
        if name.rpartition("/")[2] == "intrinsics":
            return torch.from_numpy(self._intrinsics(name, place, box)[None])
        return self._picture(name, place, box)

    def _intrinsics(self, name: str, place: Place, box: Box | None) -> npt.NDArray[np.float32]:
        is_crop = name.startswith(CROPS)
        path, n = (f"cameras/{place.folder}", place.n) if is_crop else (f"rig/{place.name}", place.camera)
        moved = self.table(f"{path}/{name}")[n].astype(np.float64)
        if box is not None:
            moved[:2, 2] -= box[1][0], box[0][0]
        return np.asarray(moved, np.float32)

    def _picture(self, name: str, place: Place, box: Box | None) -> Tensor:
        path = f"cameras/{place.folder}/{name}"
        if box is not None:
            self._need_inside(box, path)
        if name in STILL_KEYS:  # one a camera, without shards: large in sum, and few trainers read it
            plate = self.store.read(path)
            return planes(plate if box is None else plate[slice(*box[0]), slice(*box[1])])
        colours = self.store.array(path).shape[3:]
        codes = self.store.read_at(
            path, place.n, None if box is None else (*box, *((0, size) for size in colours)), required=True
        )
        return planes(codes)[None]

    def _need_inside(self, box: Box, path: str) -> None:
        shape = self.store.array(path).shape
        size = shape[:2] if path.endswith(STILL_KEYS) else shape[1:3]
        if not all(0 <= start < stop <= length for (start, stop), length in zip(box, size, strict=True)):
            raise UsageError(f"{self.path}: box {box} is not inside {path} of {size[0]}x{size[1]} px")


@contextmanager
def _named(place: Place, path: Path) -> Iterator[None]:
    """Say which sample a damaged array was read for."""
    try:
        yield
    except StoreError as error:
        where = f"session {place.name}, camera {place.id}, pair {place.pair}"
        raise StoreError(f"{where}: {error}", hint=f"litdome dataset check {path}, then build it again") from error


def _size(box: Box) -> tuple[int, int]:
    (top, bottom), (left, right) = box
    return bottom - top, right - left

"""Arrays of one store: made, written shard by shard, read by only what is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import EllipsisType
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import zarr

from litdome.errors import StoreError
from litdome.stage import Array
from litdome.store import schema
from litdome.store.files import is_local, open_files, refusals
from litdome.store.layout import Box, ShardLayout
from litdome.store.shards import ShardReader, ShardWriter, shard_writer


class ArrayStore:
    """The arrays and groups below one root; a session is one with a meaning."""

    def __init__(self, url: str, root: zarr.Group, *, writable: bool) -> None:
        self.url = url
        self.root = root
        self.writable = writable
        self._arrays: dict[str, zarr.Array[Any]] = {}
        self._readers: dict[str, ShardReader | None] = {}
        self._files, self._folder = open_files(url)

    @property
    def shard_frames(self) -> int:
        """Pictures (or pairs) in one shard."""
        return schema.SHARD_FRAMES

    def shards(self, length: int) -> list[tuple[int, int]]:
        """Half-open shard ranges along an axis of ``length``."""
        return [(start, min(start + self.shard_frames, length)) for start in range(0, length, self.shard_frames)]

    def has(self, path: str) -> bool:
        """Whether an array or group is at ``path``."""
        return path in self._arrays or path in self.root

    def array(self, path: str) -> zarr.Array[Any]:
        """The Zarr array at ``path``.

        Raises:
            StoreError: Not there.
        """
        if path not in self._arrays:
            found = self.root.get(path)
            if not isinstance(found, zarr.Array):
                raise StoreError(f"{self.url}: no array {path}", hint=f"litdome status {self.url}")
            self._arrays[path] = found.with_config(schema.WHOLE)
        return self._arrays[path]

    def read(self, path: str) -> Array:
        """A whole array.

        Raises:
            StoreError: Not there, or damaged.
        """
        return self._by_zarr(path, ...)

    def _by_zarr(self, path: str, chosen: int | EllipsisType) -> Array:
        array = self.array(path)
        with refusals(f"{self.url}: {path}"):
            try:
                return np.asarray(array[chosen])
            except (ValueError, RuntimeError) as error:  # zarr-python's word for a crc32c that does not match
                raise StoreError(f"{self.url}: {path} is damaged: {error}", hint=self._verify_hint) from error

    def read_at(self, path: str, n: int, box: Box | None = None, *, required: bool = False) -> Array:
        """Row ``n`` of an array, or a box of it.

        Args:
            path: The array.
            n: Index along axis 0.
            box: Half-open range along each further axis; all by default.
            required: Whether a shard that was never written is an error; its values are the fill value otherwise.

        Raises:
            StoreError: Not there, damaged, or missing.
        """
        array = self.array(path)
        if not 0 <= n < array.shape[0]:
            raise StoreError(f"{self.url}: {path} has no row {n}; it has {array.shape[0]}")
        reader = self._reader(path)
        if reader is None:
            row = self._by_zarr(path, n)
            return row if box is None else row[tuple(slice(start, stop) for start, stop in box)]
        return reader.read(n, box, required=required)

    def create(
        self,
        path: str,
        shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        dims: tuple[str, ...],
        *,
        shard: int | None = schema.SHARD_FRAMES,
        chunk: tuple[int, ...] | None = None,
        unit: str = "",
        description: str = "",
        fill: float = 0,
        attrs: Mapping[str, Any] | None = None,
        compression: str = "zstd-1",
    ) -> zarr.Array[Any]:
        """Make an array, or keep the one that is there when it is the same.

        Args:
            path: Where.
            shape, dtype, dims: Of the array.
            shard: Rows along axis 0 in one file; None for no shards.
            chunk: Shape of what is compressed as one; tiles of one picture by default.
            unit, description, attrs: What its attributes say.
            fill: Value of what is never written.
            compression: ``zstd-1``, ``lz4-1`` or ``none``.

        Raises:
            ConfigError: Unknown ``compression``.
            StoreError: Opened for reading only, or the disk refuses.
        """
        self._need_writable()
        described = {"unit": unit, "description": description, **(attrs or {})}
        with refusals(f"{self.url}: {path}"):
            array = schema.make_array(
                self.root,
                path,
                shape,
                dtype,
                dims,
                shard=shard,
                chunk=chunk,
                fill=fill,
                attrs=described,
                compression=compression,
            )
        self._arrays[path] = array
        self._readers.pop(path, None)
        return array

    def remove(self, path: str) -> None:
        """Delete an array.

        Raises:
            StoreError: Opened for reading only, or the disk refuses.
        """
        self._need_writable()
        with refusals(f"{self.url}: {path}"):
            del self.root[path]
        self._arrays.pop(path, None)
        self._readers.pop(path, None)

    def shard_writer(self, path: str, start: int) -> AbstractContextManager[ShardWriter]:
        """A writer of the shard of an array that begins at ``start``; it appears, whole, when the block ends normally.

        ``with session.shard_writer("cameras/c00/flat/luma", 16) as shard: shard.put(16, luma)``: rows by their index in
        the array, once each; a row that is never put is the fill value. Leaving by exception leaves nothing behind.

        Raises:
            StoreError: Opened for reading only, not the start of a shard, the disk full, read-only or gone.
        """
        self._need_writable()
        reader = self._need_reader(path)
        depth, length = reader.layout.shard[0], reader.layout.shape[0]
        if start % depth or not 0 <= start < length:
            raise StoreError(f"{self.url}: {path} has no shard that begins at {start}: {length} rows in {depth}s")
        reader.forget(start // depth)
        return shard_writer(self._files, f"{self._folder}/{path}", reader.layout, start)

    def has_shard(self, path: str, start: int) -> bool:
        """Whether the shard of an array that begins at ``start`` has been written."""
        layout = self._need_reader(path).layout
        with refusals(f"{self.url}: {path}"):
            return bool(self._files.exists(f"{self._folder}/{path}/{layout.key(start // layout.shard[0])}"))

    def write(self, path: str, start: int, values: Array) -> None:
        """Write whole shards of an array along axis 0.

        Raises:
            StoreError: The range is not shard-aligned, so two workers could meet in one file; or the disk refuses.
        """
        self._need_writable()
        array = self.array(path)
        depth = (array.shards or array.chunks)[0]
        stop = start + len(values)
        if start % depth or (stop % depth and stop != array.shape[0]):
            raise StoreError(f"{self.url}: write to {path}[{start}:{stop}] is not aligned to shards of {depth}")
        if self._reader(path) is None:
            with refusals(f"{self.url}: {path}"):
                array[start:stop] = values
            self._forget_small()
            return
        values = np.asarray(values).astype(array.dtype, copy=False)
        for first in range(start, stop, depth):
            with self.shard_writer(path, first) as shard:
                for n in range(first, min(first + depth, stop)):
                    shard.put(n, values[n - start])

    def write_small(
        self,
        path: str,
        values: Array,
        dims: tuple[str, ...],
        *,
        unit: str = "",
        description: str = "",
        attrs: Mapping[str, Any] | None = None,
    ) -> None:
        """Make a small array in one chunk and write it."""
        values = np.asarray(values)
        shape = values.shape
        array = self.create(
            path, shape, values.dtype, dims, shard=None, chunk=shape, unit=unit, description=description, attrs=attrs
        )
        if values.size:
            with refusals(f"{self.url}: {path}"):
                array[...] = values
        self._forget_small()

    def _forget_small(self) -> None:
        """Called when an array without shards has been written: what is remembered of it is old."""

    def set_attrs(self, path: str, **attrs: Any) -> None:
        """Add attributes to the array or group at ``path`` ('' is the store itself)."""
        self._need_writable()
        with refusals(f"{self.url}: {path}"):
            target = self.root if not path else cast("zarr.Array[Any]", self.root[path])
            target.update_attributes(attrs)
        self._arrays.pop(path, None)

    def _reader(self, path: str) -> ShardReader | None:
        """The fast reader of an array; None when it has no shards."""
        if path not in self._readers:
            layout = ShardLayout.of(self.array(path))
            folder = f"{self._folder}/{path}"
            self._readers[path] = None if layout is None else ShardReader(self._files, folder, layout)
        return self._readers[path]

    def _need_reader(self, path: str) -> ShardReader:
        reader = self._reader(path)
        if reader is None:
            raise StoreError(f"{self.url}: {path} has no shards", hint="write it with write or write_small")
        return reader

    def _need_writable(self) -> None:
        if not self.writable:
            raise StoreError(f"{self.url}: opened for reading only")
        if is_local(self._files) and not Path(self._folder, "zarr.json").is_file():  # zarr would make it anew
            raise StoreError(f"{self.url}: is gone", hint="is the disk still connected? then run it again")

    @property
    def _verify_hint(self) -> str:
        return f"litdome session verify {self.url}"

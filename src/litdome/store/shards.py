"""Shards as a stream: written chunk after chunk in a few pictures' memory, read by only the bytes that are asked for.

One shard is one file of the Zarr v3 ``sharding_indexed`` codec: inner chunks as they came, then the index with its
crc32c. zarr-python, tensorstore and zarrs read what is written here, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path

import numpy as np
import numpy.typing as npt

from litdome.errors import StoreError
from litdome.stage import Array
from litdome.store.files import FileSystem, is_local, refusals, staged_file, write_all
from litdome.store.layout import ABSENT, CRC_BYTES, INDEX_DTYPE, Box, ShardLayout, crc32c
from litdome.store.ranges import Identity, Source, opened, read_ranges

CHECKED_AT_ONCE = 64  # chunks: a 4K picture in tiles, and few requests elsewhere than on this machine
CACHED_INDICES = 64  # per array; 16 kB each for sixteen 4K pictures in tiles
MISSING_HINT = "run the stage that makes it, or copy the session again"
Index = npt.NDArray[np.uint64]


@contextmanager
def shard_writer(files: FileSystem, folder: str, layout: ShardLayout, start: int) -> Iterator[ShardWriter]:
    """A writer of the shard that begins at ``start`` on axis 0; the shard appears when the block ends normally.

    Args:
        files, folder: Where the array lies.
        layout: Of the array.
        start: First picture of the shard.

    Raises:
        StoreError: The array's folder has vanished, or the disk refuses (full, read-only).
    """
    shard = start // layout.shard[0]
    path = f"{folder}/{layout.key(shard)}"
    if is_local(files) and not Path(folder, "zarr.json").is_file():
        raise StoreError(f"{folder}: the array is gone", hint="is the disk still connected? then run it again")
    with staged_file(files, path, needed=layout.largest_shard) as stream:
        writer = ShardWriter(stream, layout, shard, path)
        yield writer
        writer.finish()


class ShardWriter:
    """Appends encoded inner chunks to a file and ends it with the index. Made by `shard_writer`."""

    def __init__(self, stream: RawIOBase, layout: ShardLayout, shard: int, path: str) -> None:
        self._stream, self._layout, self._path = stream, layout, path
        self._start = shard * layout.shard[0]
        self._stop = min(self._start + layout.shard[0], layout.shape[0])
        self._index = np.full((*layout.grid, 2), ABSENT, INDEX_DTYPE)
        self._offset = 0
        self._deep: tuple[int, Array] | None = None  # rows collected for chunks more than one row deep

    def put(self, n: int, values: Array) -> None:
        """Write row ``n`` of the array (absolute, inside this shard); rows come once each, in any order.

        Args:
            n: Index along axis 0.
            values: Shape ``shape[1:]``, of the array's dtype.

        Raises:
            StoreError: Another shape or dtype, a row outside the shard or written already, or a full disk.
        """
        layout, depth = self._layout, self._layout.chunk[0]
        if not self._start <= n < self._stop:
            raise StoreError(f"{self._path}: row {n} is not among the shard's {self._start}:{self._stop}")
        if values.shape != layout.shape[1:] or values.dtype != layout.dtype:
            raise StoreError(
                f"{self._path}: row {n} is {values.shape} {values.dtype}, the array {layout.shape[1:]} {layout.dtype}"
            )
        block, row = divmod(n - self._start, depth)
        if self._deep is None or self._deep[0] != block:
            self._flush()
            self._deep = (block, np.full((depth, *layout.shape[1:]), layout.fill, layout.dtype)) if depth > 1 else None
        if self._deep is None:
            self._append(block, values[None])
        else:
            self._deep[1][row] = values

    def finish(self) -> None:
        """Write what was collected, and the index."""
        self._flush()
        index = self._index.reshape(-1).view(np.uint8)
        self._write(index.tobytes() + crc32c(index))

    def _flush(self) -> None:
        if self._deep is not None:
            self._append(*self._deep)
            self._deep = None

    def _append(self, block: int, rows: Array) -> None:
        for place, inside, where in self._layout.tiles():
            if self._index[(block, *place)][0] != ABSENT:
                raise StoreError(f"{self._path}: chunk {block} is written already")
            tile = rows[(slice(None), *where)]
            if tile.shape != self._layout.chunk:
                whole = np.full(self._layout.chunk, self._layout.fill, self._layout.dtype)
                whole[(slice(None), *inside)] = tile
                tile = whole
            payload = self._layout.encode(np.ascontiguousarray(tile))
            self._index[(block, *place)] = self._offset, len(payload)
            self._write(payload)

    def _write(self, payload: bytes) -> None:
        write_all(self._stream, payload, self._path, self._layout.largest_shard)
        self._offset += len(payload)


class ShardReader:
    """Reads rows of one sharded array, or boxes of them, touching only the chunks that are asked for.

    The index of a shard is kept (of the last few) and, locally, thrown away when the file has changed. No handles, no
    locks and no threads are kept, so that a reader outlives fork and pickle.
    """

    def __init__(self, files: FileSystem, folder: str, layout: ShardLayout) -> None:
        self.layout = layout
        self._files, self._folder = files, folder
        self._kept: list[tuple[int, Identity, Index] | None] = [None] * CACHED_INDICES

    def read(self, n: int, box: Box | None = None, *, required: bool = False) -> Array:
        """Row ``n`` of the array, or ``box`` of it; what was never written is the fill value.

        Args:
            n: Index along axis 0.
            box: Half-open range along each further axis, inside the array; all by default.
            required: Whether a shard that is not there is an error.

        Raises:
            StoreError: A chunk or an index does not match its crc32c, the shard is cut short, or missing.
        """
        shard, row = divmod(n, self.layout.shard[0])
        was_kept = self._slot(shard) is not None
        try:
            return self._read(shard, row, box, required)
        except StoreError:
            if is_local(self._files) or not was_kept:
                raise
            self.forget(shard)  # elsewhere nothing says that a shard was written anew
            return self._read(shard, row, box, required)

    def forget(self, shard: int) -> None:
        """Drop what is kept about a shard that was written anew."""
        self._kept[shard % CACHED_INDICES] = None

    def damage(self, shard: int) -> list[int]:
        """The chunks of a shard that do not match their crc32c or lie outside the file.

        Raises:
            StoreError: The index is damaged or cut short, or the shard is missing.
        """
        found = []
        with self._source(shard) as source:
            index = self._index(shard, source)
            written = [n for n in np.argsort(index[:, 0], kind="stable").tolist() if index[n, 0] != ABSENT]
            for first in range(0, len(written), CHECKED_AT_ONCE):
                numbers = written[first : first + CHECKED_AT_ONCE]
                ranges = [(int(offset), int(offset + size)) for offset, size in index[numbers]]
                for n, (start, stop), payload in zip(numbers, ranges, read_ranges(source, ranges), strict=True):
                    if payload.size != stop - start or not self.layout.is_sound(payload):
                        found.append(n)
        return sorted(found)

    def _read(self, shard: int, row: int, box: Box | None, required: bool) -> Array:
        layout = self.layout
        shape = layout.shape[1:] if box is None else tuple(stop - start for start, stop in box)
        picture = np.empty(shape, layout.dtype)
        try:
            with self._source(shard) as source:
                index = self._index(shard, source).reshape(*layout.grid, 2)[row // layout.chunk[0]]
                wanted = []
                for place, inside, where in layout.tiles(box):
                    offset, size = map(int, index[place])
                    if offset == ABSENT:
                        picture[where] = layout.fill
                    else:
                        wanted.append((offset, offset + size, inside, where))
                wanted.sort(key=lambda tile: tile[0])
                payloads = read_ranges(source, [tile[:2] for tile in wanted])
        except _MissingShardError:
            if required:
                raise
            return np.full(shape, layout.fill, layout.dtype)
        scratch = np.empty(layout.chunk, layout.dtype)
        for (start, stop, inside, where), payload in zip(wanted, payloads, strict=True):
            target = picture[where]
            direct = layout.chunk == (1, *target.shape) and target.flags.c_contiguous
            if payload.size != stop - start or not layout.decode(payload, target[None] if direct else scratch):
                raise self._damaged(
                    shard, f"row {shard * layout.shard[0] + row}, bytes {start}:{stop} do not match their crc32c"
                )
            if not direct:
                target[...] = scratch[row % layout.chunk[0]][inside]
        return picture

    def _index(self, shard: int, source: Source) -> Index:
        kept = self._slot(shard)
        if kept is not None and kept[1] == source.identity:
            return kept[2]
        stored = np.frombuffer(source.tail(self.layout.index_bytes), np.uint8)
        entries, crc = stored[:-CRC_BYTES], stored[-CRC_BYTES:].tobytes()
        if stored.size != self.layout.index_bytes or crc32c(entries) != crc:
            raise self._damaged(shard, "its index is cut off or does not match its crc32c")
        index = entries.view(INDEX_DTYPE).reshape(-1, 2)
        self._kept[shard % CACHED_INDICES] = (shard, source.identity, index)
        return index

    def _slot(self, shard: int) -> tuple[int, Identity, Index] | None:
        kept = self._kept[shard % CACHED_INDICES]
        return kept if kept is not None and kept[0] == shard else None

    def _damaged(self, shard: int, what: str) -> StoreError:
        where = f"{self._folder}: shard {self.layout.key(shard)}"
        return StoreError(f"{where} is damaged: {what}", hint="copy that file again, or run the stage that made it")

    @contextmanager
    def _source(self, shard: int) -> Iterator[Source]:
        path = f"{self._folder}/{self.layout.key(shard)}"
        with refusals(path):
            try:
                with opened(self._files, path) as source:
                    yield source
            except FileNotFoundError as error:
                raise _MissingShardError(f"{path}: the shard is missing", hint=MISSING_HINT) from error


class _MissingShardError(StoreError):
    """There is no file for a shard: never written, or lost."""

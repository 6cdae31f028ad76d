"""Session schema: format name, version, and how arrays are made so that every Zarr v3 reader reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.core.array_spec import ArrayConfigParams

from litdome.errors import StoreError
from litdome.store.layout import compression_of, inner_codecs

SESSION_FORMAT = "litdome-session"
SCHEMA_VERSION = "1.0"
SHARD_FRAMES = 16
WHOLE: ArrayConfigParams = {"write_empty_chunks": True}  # zarr keeps this with no array: all that opens one sets it
TILE = (540, 480)  # rows, columns of a picture's inner chunk, by measurement: docs/benchmarks.md, The store
SLACK = 1.25  # a tile may be this much larger than TILE, and half as large
PADDING = 0.02  # share of a picture that tiles may reach beyond it


def check_format(attrs: Mapping[str, Any], url: str, expected: str, version: str) -> None:
    """Refuse what is not ours or too new.

    Raises:
        StoreError: Another format, or a newer major version.
    """
    if attrs.get("format") != expected:
        raise StoreError(
            f"{url}: not a {expected} (format {attrs.get('format')!r})",
            hint="give the path of a store that litdome made",
        )
    found = str(attrs.get("schema", "0.0"))
    if int(found.split(".")[0]) > int(version.split(".")[0]):
        raise StoreError(f"{url}: schema {found} is newer than {version}", hint="pip install --upgrade litdome")


def default_chunk(shape: tuple[int, ...], dims: tuple[str, ...]) -> tuple[int, ...]:
    """One picture deep (time chunks kill random access), in tiles so that crops read little; tables stay whole.

    Args:
        shape: Of the array; pictures lie in the last two axes, or before a last axis ``channel``.
        dims: Its dimension names; ``y2`` and ``x2`` are those of chroma, whose tiles are half as long.
    """
    if len(shape) < 3:
        return shape
    rows = len(shape) - (3 if dims[-1] == "channel" and len(shape) > 3 else 2)
    half = 2 if dims[rows].endswith("2") else 1
    chunk = [1, *shape[1:]]
    for axis, length in zip((rows, rows + 1), TILE, strict=True):
        chunk[axis] = tile_length(shape[axis], length // half)
    return tuple(chunk)


def tile_length(length: int, target: int) -> int:
    """The length of equal tiles near ``target`` that cover ``length``: a divisor where there is one, else the nearest
    that pads at most 2 %."""
    if length <= target * SLACK:
        return max(length, 1)
    counts = range(-(-length // int(target * SLACK)), length // (target // 2) + 1)
    tiles = {-(-length // count) for count in counts}
    padding = {tile: -(-length // tile) * tile / length - 1 for tile in tiles}
    return min(tiles, key=lambda tile: (padding[tile] > PADDING, padding[tile] > 0, abs(tile - target)))


def make_array(
    group: zarr.Group,
    path: str,
    shape: tuple[int, ...],
    dtype: npt.DTypeLike,
    dims: tuple[str, ...],
    *,
    shard: int | None,
    chunk: tuple[int, ...] | None,
    fill: float,
    attrs: Mapping[str, Any],
    compression: str = "zstd-1",
) -> zarr.Array[Any]:
    """Create an array whose chunks end in a crc32c, ``shard`` of them along axis 0 in one file (None: no shards).

    An array that is there with the same shape, dtype, shards and compression is kept with its values and its tiles;
    any other is replaced.

    Raises:
        ConfigError: Unknown ``compression``.
    """
    dtype = np.dtype(dtype)
    chunks = chunk or default_chunk(shape, dims)
    if shard is not None and chunks[0] > shard:
        chunks = (shard, *chunks[1:])
    chunks = tuple(max(1, min(c, s)) for c, s in zip(chunks, shape, strict=True))
    compressors = inner_codecs(compression, dtype, chunks)
    shards = None
    if shard is not None:
        depth = -(-min(shard, max(shape[0], 1)) // chunks[0]) * chunks[0]
        shards = (depth, *(-(-s // c) * c for s, c in zip(shape[1:], chunks[1:], strict=True)))
    found = group.get(path)
    if isinstance(found, zarr.Array) and _is_as_wanted(found, shape, dtype, chunks, shards, compression):
        if {**found.attrs, **attrs} != dict(found.attrs):
            found.update_attributes(dict(attrs))  # one write; attrs.update writes once a key
        return found.with_config(WHOLE)
    return group.create_array(
        path,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        shards=shards,
        compressors=compressors,
        fill_value=fill,
        dimension_names=dims,
        attributes=dict(attrs),
        overwrite=found is not None,
        config=WHOLE,
    )


def _is_as_wanted(
    found: zarr.Array[Any],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    chunks: tuple[int, ...],
    shards: tuple[int, ...] | None,
    compression: str,
) -> bool:
    if (found.shape, found.dtype) != (shape, dtype) or (found.shards is None) != (shards is None):
        return False
    metadata: Any = found.metadata
    codecs = metadata.codecs if shards is None else metadata.codecs[0].codecs
    if compression_of(codecs) != compression:
        return False
    return found.chunks == chunks if shards is None or found.shards is None else found.shards[0] == shards[0]

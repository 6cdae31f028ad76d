"""Session schema: format name, version, and how arrays are made so that every Zarr v3 reader reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import ZstdCodec

from litdome.errors import StoreError

SESSION_FORMAT = "litdome-session"
SCHEMA_VERSION = "1.0"
SHARD_FRAMES = 16
CHUNK_LIMIT = 2**20  # bytes of a picture chunk: rows are split so that crops read little


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


def default_chunk(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """One frame deep (time chunks kill random access); rows split into the fewest equal divisors under 1 MiB."""
    if len(shape) < 3:
        return shape
    rows_axis = len(shape) - (3 if shape[-1] <= 4 else 2)
    rows_axis = max(rows_axis, 1)
    rows = shape[rows_axis]
    row_bytes = itemsize * int(np.prod(shape[rows_axis + 1 :]))
    parts = next((n for n in range(1, rows + 1) if rows % n == 0 and rows // n * row_bytes <= CHUNK_LIMIT), rows)
    chunk = [1] * rows_axis + [max(1, rows // parts)] + list(shape[rows_axis + 1 :])
    return tuple(chunk)


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
) -> zarr.Array[Any]:
    """Create an array with zstd-1 chunks, ``shard`` of them along axis 0 in one file (None: no shards).

    An array that is there with the same shape, dtype and chunks is kept with its values; any other is replaced.
    """
    dtype = np.dtype(dtype)
    chunks = chunk or default_chunk(shape, dtype.itemsize)
    if shard is not None and chunks[0] > shard:
        chunks = (shard, *chunks[1:])
    chunks = tuple(max(1, min(c, s)) for c, s in zip(chunks, shape, strict=True))
    shards = None
    if shard is not None:
        depth = -(-min(shard, max(shape[0], 1)) // chunks[0]) * chunks[0]
        shards = (depth, *(-(-s // c) * c for s, c in zip(shape[1:], chunks[1:], strict=True)))
    found = group.get(path)
    if isinstance(found, zarr.Array) and (found.shape, found.dtype, found.chunks, found.shards) == (
        shape,
        dtype,
        chunks,
        shards,
    ):
        found.attrs.update(dict(attrs))
        return found
    return group.create_array(
        path,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        shards=shards,
        compressors=ZstdCodec(level=1),
        fill_value=fill,
        dimension_names=dims,
        attributes=dict(attrs),
        overwrite=True,
        config={"write_empty_chunks": True},
    )

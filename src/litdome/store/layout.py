"""How a sharded array lies in its files: the Zarr v3 ``sharding_indexed`` codec, as numbers and as bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any, Literal, cast, get_args

import google_crc32c
import numpy as np
import numpy.typing as npt
import zarr
from numcodecs import blosc, zstd
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec

from litdome.errors import ConfigError
from litdome.stage import Array

Compression = Literal["zstd-1", "lz4-1", "none"]
Box = tuple[tuple[int, int], ...]  # half-open ranges, one per axis after the first
Slices = tuple[slice, ...]
ABSENT = np.uint64(2**64 - 1)
INDEX_DTYPE = np.dtype("<u8")
CRC_BYTES = 4


@dataclass(frozen=True)
class ShardLayout:
    """Shape and codecs of a sharded array.

    Attributes:
        shape: Of the array.
        dtype: Of its values, little endian.
        shard, chunk: Shape of a shard (one file) and of an inner chunk; a shard spans all axes but the first.
        compression: Of inner chunks.
        checked: Whether inner chunks end in their crc32c (stores of schema 1.0 before 0.1.0 have none).
        fill: Value of what was never written.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    shard: tuple[int, ...]
    chunk: tuple[int, ...]
    compression: Compression
    checked: bool
    fill: Any

    @classmethod
    def of(cls, array: zarr.Array[Any]) -> ShardLayout | None:
        """The layout of ``array``; None when it has no shards, or others than litdome writes."""
        metadata: Any = array.metadata
        codec = metadata.codecs[0]
        if not isinstance(codec, ShardingCodec) or len(metadata.codecs) > 1:
            return None
        compression = compression_of(codec.codecs)
        spans = all(shard >= size for shard, size in zip((array.shards or ())[1:], array.shape[1:], strict=True))
        plain_key = metadata.chunk_key_encoding.to_dict() == {"name": "default", "configuration": {"separator": "/"}}
        usual = [type(index) for index in codec.index_codecs] == [BytesCodec, Crc32cCodec]
        if compression is None or not (spans and plain_key and usual and codec.index_location.value == "end"):
            return None
        checked = isinstance(codec.codecs[-1], Crc32cCodec)
        shards = cast(tuple[int, ...], array.shards)
        return cls(array.shape, array.dtype, shards, array.chunks, compression, checked, array.fill_value)

    @cached_property
    def grid(self) -> tuple[int, ...]:
        """Inner chunks of a shard along each axis."""
        return tuple(shard // chunk for shard, chunk in zip(self.shard, self.chunk, strict=True))

    @property
    def index_bytes(self) -> int:
        """Bytes of a shard's index, at its end: (offset, size) of every inner chunk, and a crc32c."""
        return prod(self.grid) * 2 * INDEX_DTYPE.itemsize + CRC_BYTES

    @property
    def largest_shard(self) -> int:
        """Bytes that a shard may take when nothing can be compressed."""
        return prod(self.shard) * self.dtype.itemsize + self.index_bytes + prod(self.grid) * 64

    def key(self, shard: int) -> str:
        """Path of a shard's file, below the array's folder."""
        return "/".join(["c", str(shard), *["0"] * (len(self.shape) - 1)])

    def tiles(self, box: Box | None = None) -> Iterator[tuple[tuple[int, ...], Slices, Slices]]:
        """The inner chunks that a picture, or ``box`` of it, touches, row by row.

        Yields:
            Place in the grid (without the first axis), what of the chunk belongs to the box, and where it lies there.
        """
        ranges = box if box is not None else tuple((0, size) for size in self.shape[1:])
        axes = []
        for (start, stop), step in zip(ranges, self.chunk[1:], strict=True):
            axis = []
            for place in range(start // step, -(-stop // step)):
                low, high = max(start, place * step), min(stop, (place + 1) * step)
                axis.append((place, slice(low - place * step, high - place * step), slice(low - start, high - start)))
            axes.append(axis)
        for chosen in product(*axes):
            yield tuple(c[0] for c in chosen), tuple(c[1] for c in chosen), tuple(c[2] for c in chosen)

    def encode(self, chunk: Array) -> bytes:
        """The bytes of an inner chunk, shape ``self.chunk``, contiguous."""
        payload = compress(chunk, self.compression)
        return payload + crc32c(np.frombuffer(payload, np.uint8)) if self.checked else payload

    def decode(self, payload: npt.NDArray[np.uint8], into: Array) -> bool:
        """Decode an inner chunk's bytes into a contiguous array of the chunk's shape; whether they were sound."""
        if self.checked:
            if not _matches(payload):
                return False
            payload = payload[:-CRC_BYTES]
        try:
            return _decompress(payload, self.compression, into.reshape(-1).view(np.uint8))
        except (RuntimeError, ValueError):
            return False

    def is_sound(self, payload: npt.NDArray[np.uint8]) -> bool:
        """Whether an inner chunk's bytes match their crc32c; without one, whether they can be decoded."""
        return _matches(payload) if self.checked else self.decode(payload, np.empty(self.chunk, self.dtype))


def _matches(payload: npt.NDArray[np.uint8]) -> bool:
    return crc32c(payload[:-CRC_BYTES]) == payload[-CRC_BYTES:].tobytes()


def crc32c(payload: npt.NDArray[np.uint8]) -> bytes:
    """The crc32c of bytes, as Zarr stores it: 4 bytes, little endian."""
    return int(google_crc32c.value(payload)).to_bytes(CRC_BYTES, "little")


def inner_codecs(compression: str, dtype: np.dtype[Any]) -> tuple[ZstdCodec | BloscCodec | Crc32cCodec, ...]:
    """What Zarr is told about inner chunks: compression, then a crc32c, so that every byte of a store is covered.

    Raises:
        ConfigError: Not a compression that litdome knows.
    """
    if compression not in get_args(Compression):
        raise ConfigError(f"compression {compression!r} is none of {', '.join(get_args(Compression))}")
    if compression == "zstd-1":
        return (ZstdCodec(level=1), Crc32cCodec())
    if compression == "lz4-1":
        return (BloscCodec(cname="lz4", clevel=1, shuffle="noshuffle", typesize=dtype.itemsize), Crc32cCodec())
    return (Crc32cCodec(),)


def compression_of(codecs: tuple[Any, ...]) -> Compression | None:
    """What `inner_codecs` was told, from an array's codecs; None when it was not `inner_codecs`."""
    names = [codec for codec in codecs if not isinstance(codec, Crc32cCodec)]
    if not names or not isinstance(names[0], BytesCodec):
        return None
    if names[0].endian is not None and names[0].endian.value != "little":
        return None
    if len(names) == 1:
        return "none"
    if len(names) > 2:
        return None
    return "zstd-1" if isinstance(names[1], ZstdCodec) else "lz4-1" if isinstance(names[1], BloscCodec) else None


def compress(chunk: Array, compression: Compression) -> bytes:
    """The compressed bytes of a contiguous array."""
    if compression == "zstd-1":
        return cast(bytes, zstd.compress(chunk, 1))
    if compression == "lz4-1":
        blosc.use_threads = False  # its own threads fight with the workers'
        return cast(bytes, blosc.compress(chunk, b"lz4", 1, blosc.NOSHUFFLE, 0, chunk.dtype.itemsize))
    return chunk.tobytes()


def _decompress(payload: npt.NDArray[np.uint8], compression: Compression, into: npt.NDArray[np.uint8]) -> bool:
    if compression == "none":
        if payload.size != into.size:
            return False
        into[...] = payload
    elif compression == "zstd-1":
        zstd.decompress(payload, into)
    else:
        blosc.use_threads = False
        blosc.decompress(payload, into)
    return True

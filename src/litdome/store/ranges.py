"""Byte ranges of one file, local or remote, with as few reads as neighbouring ranges allow."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import numpy.typing as npt

from litdome.store.files import FileSystem, is_local

Range = tuple[int, int]  # half-open
Identity = tuple[int, ...] | None
REMOTE_GAP = 1 << 18  # bytes: another request costs more than reading over a gap of this size


class Source(Protocol):
    """A file open for reading.

    Attributes:
        identity: Changes when the file is written anew; None where nothing cheap says so.
        gap: Bytes worth reading over to save a read.
    """

    identity: Identity
    gap: int

    def tail(self, size: int) -> bytes:
        """The last ``size`` bytes, or all of a shorter file."""

    def ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        """The bytes of each range; shorter where the file ends before."""


@contextmanager
def opened(files: FileSystem, path: str) -> Iterator[Source]:
    """A file's byte ranges; nothing stays open.

    Raises:
        FileNotFoundError: No such file; elsewhere than on this machine, at the first read.
    """
    if not is_local(files):
        yield _Remote(files, path)
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        yield _Local(handle)
    finally:
        os.close(handle)


def read_ranges(source: Source, ranges: Sequence[Range]) -> list[npt.NDArray[np.uint8]]:
    """The bytes of rising ranges; neighbouring ones come in one read."""
    runs: list[Range] = []
    for start, stop in ranges:
        if runs and start - runs[-1][1] <= source.gap:
            runs[-1] = (runs[-1][0], max(stop, runs[-1][1]))
        else:
            runs.append((start, stop))
    found, run = [], 0
    read = [np.frombuffer(payload, np.uint8) for payload in source.ranges(runs)]
    for start, stop in ranges:
        while stop > runs[run][1]:
            run += 1
        found.append(read[run][start - runs[run][0] : stop - runs[run][0]])
    return found


class _Local:
    gap = 0

    def __init__(self, handle: int) -> None:
        self._handle = handle
        found = os.fstat(handle)
        self._size = found.st_size
        self.identity: Identity = (found.st_size, found.st_mtime_ns, found.st_ino)

    def tail(self, size: int) -> bytes:
        return os.pread(self._handle, size, max(0, self._size - size))

    def ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        return [os.pread(self._handle, stop - start, start) for start, stop in ranges]


class _Remote:
    gap = REMOTE_GAP
    identity: Identity = None

    def __init__(self, files: FileSystem, path: str) -> None:
        self._files, self._path = files, path

    def tail(self, size: int) -> bytes:
        return bytes(self._files.cat_file(self._path, start=-size))

    def ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        starts, stops = [start for start, _ in ranges], [stop for _, stop in ranges]
        return list(self._files.cat_ranges([self._path] * len(ranges), starts, stops, on_error="raise"))

"""Arrays that grow frame by frame into .npz files, of which memory holds one frame."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import numpy.typing as npt

LEVEL = 1  # of zlib: four times as fast as its usual 6, files a tenth larger
BLOCK_BYTES = 1 << 22


class Spool:
    """One array put by until its file is written: frames of one shape and dtype, compressed on disk."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115  it has no name, and is gone when this object is
        self._squeeze = zlib.compressobj(LEVEL)
        self.shape: tuple[int, ...] = (0,)
        self.dtype = np.dtype(np.float32)

    def append(self, frame: npt.NDArray[Any]) -> None:
        """One more frame.

        Raises:
            ValueError: Its shape or dtype is not that of the frames before.
        """
        count = self.shape[0]
        if count and (frame.shape, frame.dtype) != (self.shape[1:], self.dtype):
            raise ValueError(f"frame {count}: {frame.shape} {frame.dtype}, before it {self.shape[1:]} {self.dtype}")
        self.shape, self.dtype = (count + 1, *frame.shape), frame.dtype
        self._file.write(self._squeeze.compress(np.ascontiguousarray(frame).tobytes()))

    def blocks(self) -> Iterator[bytes]:
        """The bytes of all frames, once; then the spool is done with."""
        self._file.write(self._squeeze.flush())
        self._file.seek(0)
        stretch = zlib.decompressobj()
        while block := self._file.read(BLOCK_BYTES):
            while block:
                yield stretch.decompress(block, BLOCK_BYTES)
                block = stretch.unconsumed_tail
        self._file.close()


def write_npz(path: Path, arrays: Mapping[str, npt.NDArray[Any] | Spool]) -> None:
    """A compressed .npz as numpy reads it; the same arrays give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with ZipFile(path, "w", ZIP_DEFLATED, compresslevel=LEVEL) as file:
        for name, array in arrays.items():
            with file.open(f"{name}.npy", "w", force_zip64=True) as stream:
                if isinstance(array, Spool):
                    _write_header(stream, array.shape, array.dtype)
                    for block in array.blocks():
                        stream.write(block)
                else:
                    np.lib.format.write_array(stream, array, allow_pickle=False)


def _write_header(stream: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, described)

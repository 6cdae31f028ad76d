"""Where a store lies: any fsspec URL; files that appear whole or not at all; what a disk says when it refuses."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path
from typing import TypeAlias, cast

import fsspec

from litdome.errors import StoreError, UsageError

FileSystem: TypeAlias = fsspec.AbstractFileSystem
BLOCK_BYTES = 1 << 23
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)


def open_files(url: str) -> tuple[FileSystem, str]:
    """The file system that ``url`` lies on, and its path there; listings are never remembered."""
    with refusals(url):
        files, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    return files, path.rstrip("/")


def need_outside_stores(folder: Path) -> None:
    """Refuse a folder of this machine that lies inside a session or a dataset.

    Raises:
        UsageError: It does.
    """
    for parent in folder.resolve().parents:
        if (parent / "zarr.json").is_file():
            raise UsageError(f"{folder} lies inside {parent}, a session or dataset", hint="choose another folder")


def need_new_folder(folder: Path) -> None:
    """Refuse a folder of this machine that has something in it, or lies inside a session or a dataset.

    Raises:
        UsageError: It has, or does.
    """
    need_outside_stores(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists", hint="choose another folder, or delete it")


@contextmanager
def appearing_folder(folder: Path) -> Iterator[Path]:
    """A new folder of this machine to write into: it gets its name when it is whole, and vanishes when that fails.

    Raises:
        UsageError: The folder has something in it.
    """
    need_new_folder(folder)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def is_local(files: FileSystem) -> bool:
    """Whether paths of ``files`` are paths of this machine."""
    return "file" in ((files.protocol,) if isinstance(files.protocol, str) else files.protocol)


def free_bytes(path: str | Path) -> int:
    """Bytes free on the disk that a local ``path`` lies on, or will."""
    folder = Path(path).absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def size_in_words(size: float) -> str:
    """``1.4 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


@contextmanager
def refusals(where: str, needed: int = 0) -> Iterator[None]:
    """Turn what the system says inside into a `StoreError` that names ``where``.

    Args:
        where: Path or URL being read or written.
        needed: Bytes that the file may take, for a full disk.

    Raises:
        StoreError: Disk full, read-only, gone, or unreachable.
    """
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        message, hint = _in_words(where, needed, error)
        raise StoreError(message, hint=hint) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("botocore", "aiobotocore"):  # S3's errors are no OSErrors
            raise
        raise StoreError(f"{where}: {error}", hint="check the address, the credentials and the network") from error


@contextmanager
def staged_file(files: FileSystem, path: str, *, needed: int = 0) -> Iterator[RawIOBase]:
    """A binary file to write; leaving the block makes it ``path`` at once, leaving by exception leaves nothing.

    Local: written beside ``path`` under a name that readers pass over, fsynced and renamed; what a killed writer
    left there goes first. Elsewhere: spooled to a local temporary file and put in one piece.

    Args:
        files, path: Where the file appears.
        needed: Bytes it may take, for the error of a full disk.

    Raises:
        StoreError: As `refusals`.
    """
    if is_local(files):
        with _beside(Path(path), needed) as stream:
            yield stream
        return
    with tempfile.NamedTemporaryFile(buffering=0) as spool:
        yield cast(RawIOBase, spool.file)
        with refusals(path, needed):
            files.put_file(spool.name, path)


def write_all(stream: RawIOBase, payload: bytes | memoryview, where: str, needed: int = 0) -> None:
    """Write every byte of ``payload``.

    Raises:
        StoreError: As `refusals`.
    """
    left = memoryview(payload)
    with refusals(where, needed):
        while left:
            left = left[stream.write(left) or 0 :]


def list_files(files: FileSystem, folder: str) -> dict[str, int]:
    """Size of every file below ``folder`` by its relative path; what writers have not finished does not count.

    Raises:
        StoreError: As `refusals`.
    """
    with refusals(folder):
        found = files.find(folder, detail=True)
    names = {path[len(folder) + 1 :]: int(found[path]["size"]) for path in sorted(found)}
    return {name: size for name, size in names.items() if name and not name.endswith(".partial")}


def read_blocks(files: FileSystem, path: str, size: int) -> Iterator[bytes]:
    """The ``size`` bytes of a file in blocks, from the disk where memory can be passed over.

    Raises:
        StoreError: As `refusals`.
    """
    if not is_local(files):
        for start in range(0, size, BLOCK_BYTES):
            with refusals(path):
                yield files.cat_file(path, start=start, end=min(start + BLOCK_BYTES, size))
        return
    with refusals(path), Path(path).open("rb") as stream:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while block := stream.read(BLOCK_BYTES):
            yield block


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` outlive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _beside(target: Path, needed: int) -> Iterator[RawIOBase]:
    with refusals(str(target), needed):
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(target)
        temporary, stream = _open_locked(target)
    try:
        with stream:
            yield stream
            with refusals(str(target), needed):
                os.fsync(stream.fileno())
                temporary.replace(target)
                sync_folder(target.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _open_locked(target: Path) -> tuple[Path, RawIOBase]:
    """A new file beside ``target``, locked so that no other writer takes it for what a killed one left."""
    while True:
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
        stream = temporary.open("xb", buffering=0)
        with contextlib.suppress(OSError):  # a file system without locks keeps what killed writers leave
            fcntl.flock(stream, fcntl.LOCK_EX)
        if temporary.exists():
            return temporary, stream
        stream.close()  # another writer was faster than the lock


def _remove_stale(target: Path) -> None:
    """Remove what killed writers of ``target`` left: their locks died with them."""
    for path in target.parent.glob(f".{target.name}.*.partial"):
        with contextlib.suppress(OSError), path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _in_words(where: str, needed: int, error: OSError) -> tuple[str, str]:
    again = "then run the same command again"
    if error.errno in FULL:
        free = f"{free_bytes(where):,} bytes free" if where.startswith("/") else "no room"
        wanted = f", up to {needed:,} needed" if needed else ""
        return f"{where}: the disk is full ({error.strerror}): {free}{wanted}", f"free space, {again}"
    if error.errno in REFUSED or isinstance(error, PermissionError):
        return f"{where}: cannot be written or read ({error.strerror or error})", f"check its permissions, {again}"
    if error.errno in GONE or isinstance(error, FileNotFoundError):
        return f"{where}: is gone ({error.strerror or error})", f"is the disk still connected? {again}"
    return f"{where}: {error.strerror or error}", f"check the disk or the network, {again}"

"""Copy a session from any URL to any other, with checksums."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from litdome.compute import default_workers, run_units
from litdome.errors import StoreError, UsageError
from litdome.progress import Progress, ShouldStop, never, silent
from litdome.store.decisions import decisions_folder
from litdome.store.files import (
    FileSystem,
    is_local,
    list_files,
    open_files,
    read_blocks,
    refusals,
    staged_file,
    sync_folder,
    write_all,
)
from litdome.store.lock import hold_session
from litdome.store.session import Session

ROOT = "zarr.json"  # without it a folder is no store: copied last
OTHER_NAME = "give another name, or remove it"


@dataclass(frozen=True)
class CopyReport:
    """What a copy did.

    Attributes:
        copied, left: Files written and compared; files that were there already, equal.
        size: Bytes of all of them.
    """

    copied: int
    left: int
    size: int


def copy_session(url: str, target: str, progress: Progress = silent, should_stop: ShouldStop = never) -> CopyReport:
    """Copy a session and its decisions; every file is read back from the target and compared by sha256.

    Locally the target appears under its own name when it is whole (``TARGET.partial`` until then); elsewhere its root
    ``zarr.json`` comes last. The same call goes on with what an interrupted one left.

    Args:
        url: The session.
        target: Where to; a copy that is there and equal is left as it is.
        progress: Called as files end.
        should_stop: Asked before each file.

    Returns:
        What was done; when ``should_stop`` ended it, the same call goes on.

    Raises:
        UsageError: Something else is at ``target``.
        StoreError: No session at ``url``, it changed meanwhile, or a disk refuses or gives back other bytes.
    """
    Session.open(url)
    source, root = open_files(url)
    files, final = open_files(target)
    with hold_session(target):
        names, there = list_files(source, root), list_files(files, final)
        is_whole = ROOT in there
        folder = f"{final}.partial" if is_local(files) and not is_whole else final
        if folder != final:
            _need_only({}, there, target)
            there = list_files(files, folder)
        _need_only(names, there, target)
        if is_whole and (lost := sorted(set(names) - set(there))):
            raise UsageError(f"{target}: exists already, without {lost[0]}", hint=OTHER_NAME)
        parts = [
            _Part(f"{root}/{name}", f"{folder}/{name}", size, there.get(name), is_whole) for name, size in names.items()
        ]
        first, last = [part for part in parts if part.origin != f"{root}/{ROOT}"], parts[list(names).index(ROOT)]
        copied = _copy_all(source, files, first, progress, should_stop)
        if len(copied) == len(first):
            if list_files(source, root) != names:
                raise StoreError(f"{url}: changed while it was copied", hint="copy it again when nothing writes it")
            copied.append(_copy_file(source, files, last))
            if folder != final:
                with refusals(target):
                    Path(folder).rename(final)
                    sync_folder(Path(final).parent)
            copied += _copy_decisions(url, target)
    return CopyReport(sum(copied), len(copied) - sum(copied), sum(names.values()))


@dataclass(frozen=True)
class _Part:
    """A file to copy, ``size`` bytes; what is at ``goal`` has ``there`` bytes and is final where ``is_final``."""

    origin: str
    goal: str
    size: int
    there: int | None
    is_final: bool = False


def _copy_all(
    source: FileSystem, files: FileSystem, parts: list[_Part], progress: Progress, should_stop: ShouldStop
) -> list[bool]:
    copied: dict[int, bool] = {}
    progress("copy", 0, len(parts))

    def work(index: int) -> None:
        copied[index] = _copy_file(source, files, parts[index])

    run_units(
        work,
        range(len(parts)),
        workers=2 * default_workers(),  # disks and networks are waited for
        on_done=lambda index: progress("copy", len(copied), len(parts)),
        should_stop=should_stop,
    )
    return list(copied.values())


def _copy_file(source: FileSystem, files: FileSystem, part: _Part) -> bool:
    """Copy a file unless an equal one is there; whether it was copied."""
    if part.there == part.size and _digest(source, part.origin, part.size) == _digest(files, part.goal, part.size):
        return False
    if part.is_final:
        raise UsageError(f"{part.goal}: exists already, and differs from {part.origin}", hint=OTHER_NAME)
    known = hashlib.sha256()
    with staged_file(files, part.goal, needed=part.size) as stream:
        for block in read_blocks(source, part.origin, part.size):
            known.update(block)
            write_all(stream, block, part.goal, part.size)
    if _digest(files, part.goal, part.size) != known.hexdigest():
        with refusals(part.goal):
            files.rm_file(part.goal)
        raise StoreError(f"{part.goal}: reads back other bytes than were written", hint="check the disk, copy again")
    return True


def _copy_decisions(url: str, target: str) -> list[bool]:
    source, root = open_files(decisions_folder(url))
    files, folder = open_files(decisions_folder(target))
    names, there = list_files(source, root), list_files(files, folder)
    parts = [_Part(f"{root}/{name}", f"{folder}/{name}", size, there.get(name)) for name, size in names.items()]
    return [_copy_file(source, files, part) for part in parts]


def _need_only(names: Mapping[str, int], there: Mapping[str, int], target: str) -> None:
    others = sorted(set(there) - set(names))
    if others:
        raise UsageError(f"{target}: exists already, with {others[0]} in it", hint=OTHER_NAME)


def _digest(files: FileSystem, path: str, size: int) -> str:
    found = hashlib.sha256()
    for block in read_blocks(files, path, size):
        found.update(block)
    return found.hexdigest()

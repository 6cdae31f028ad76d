"""What a recording folder may hold: nothing in it leads out of it, and its names are plain."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from litdome.errors import InputError

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
LONGEST_NAME = 100
RESERVED = ("zarr.json",)  # what a Zarr group's own file is called
FOLDERS = ("cameras", "hdris", "background", "boards")
FILES = ("recording.toml", "timestamps.csv", "lights.csv", "actions.csv")


def need_inside(folder: Path, given: str | Path, what: str) -> Path:
    """A path of a recording, with links followed.

    Args:
        folder: The recording; it may itself be a link.
        given: Relative to it.
        what: Names it in the error.

    Returns:
        ``folder / given``; it need not exist.

    Raises:
        InputError: It is absolute, or leads out of the folder.
    """
    path = folder / given
    try:
        path.exists()  # raises when a name is too long; resolve does not
        target = path.resolve()
        is_inside = not Path(given).is_absolute() and target.is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle
        raise InputError(f"{what} {str(given)!r}: {error}", hint="give a path inside the recording folder") from error
    if not is_inside:
        raise InputError(
            f"{what} {str(given)!r} leads out of the recording folder {folder}", hint="copy the file into the folder"
        )
    return path


def need_links_inside(folder: Path, sources: Iterable[Path] = ()) -> None:
    """Refuse a recording in which a link leads out of it or to nothing.

    Args:
        folder: The recording.
        sources: Files and folders that are read beside the usual ones.

    Raises:
        InputError: The first such link.
    """
    for link in _links([*(folder / name for name in (*FILES, *FOLDERS)), *sources], set()):
        need_inside(folder, os.path.relpath(link, folder), "link")
        if not link.exists():
            raise InputError(f"link {str(link)!r} leads to nothing", hint="delete it, or copy the file again")


def need_file(path: Path) -> Path | None:
    """The file if it is there, None if nothing is.

    Raises:
        InputError: Something else has its name.
    """
    if path.is_file():
        return path
    if path.exists():
        raise InputError(f"{path}: not a file", hint="delete it, or put the file in its place")
    return None


def need_names(names: Iterable[str], what: str) -> None:
    """Refuse names that a store cannot take.

    Raises:
        InputError: A character that is not allowed, too long a name, or two that differ only in case.
    """
    seen: dict[str, str] = {}
    for name in names:
        if not NAME.fullmatch(name):
            raise InputError(f"{what} name {name!r}: only letters, digits, _ - and . (not first)", hint="rename it")
        if len(name) > LONGEST_NAME or name.lower() in RESERVED:
            allowed = f"it may have {LONGEST_NAME} characters and not be {', '.join(RESERVED)}"
            raise InputError(f"{what} name {name!r}: {allowed}", hint="rename it")
        twin = seen.setdefault(name.lower(), name)
        if twin != name:
            raise InputError(f"{what} names {twin} and {name} differ only in case", hint="rename one")


def _links(paths: Iterable[Path], seen: set[Path]) -> Iterator[Path]:
    """Links among paths and in the folders that they are or lead to, each folder once."""
    for path in paths:
        if path.is_symlink():
            yield path
        if path.is_dir() and path.resolve() not in seen:
            seen.add(path.resolve())
            with os.scandir(path) as entries:
                inner = [Path(entry.path) for entry in entries if entry.is_symlink() or entry.is_dir()]
            yield from _links(sorted(inner), seen)

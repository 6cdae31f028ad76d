"""Rows of the small tables in a recording folder, read so that no file can hurt: lights.csv, timestamps.csv."""

from __future__ import annotations

import csv
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from litdome.config import nearest
from litdome.errors import InputError

LARGEST_BYTES = 256 * 2**20
LAST_FRAME = 10**7  # four days at 25 frames per second
INT64_DIGITS = 19


def read_rows(file: Path, columns: Sequence[str], needed: Sequence[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The rows of a CSV file with a header, one by one, spaces stripped; blank lines do not count.

    Args:
        file: UTF-8, with or without a byte order mark, lines ended by LF or CRLF.
        columns: Columns that there may be.
        needed: Columns that there must be.

    Yields:
        Where the row stands (for errors), and its values by column; a value that is left out is empty.

    Raises:
        InputError: Not text, too large, an unknown, repeated or missing column, a row with more values than columns.
    """
    need_size(file, LARGEST_BYTES)
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            names = [name.strip() for name in next(reader, [])]
            _need_columns(file, names, columns, needed)
            for row in reader:
                if not any(value.strip() for value in row):
                    continue
                where = f"{file} line {reader.line_num}"
                if len(row) > len(names):
                    raise InputError(f"{where}: {len(row)} values, {len(names)} columns")
                values = dict.fromkeys(names, "")
                values.update(zip(names, (value.strip() for value in row), strict=False))
                yield where, values
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{file}: not a table of text ({shown(str(error))})", hint="export it as CSV in UTF-8"
        ) from error
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from error


def need_size(file: Path, most: int) -> None:
    """Refuse a file that is larger than any table of a take."""
    try:
        size = file.stat().st_size
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from error
    if size > most:
        raise InputError(
            f"{file}: {size / 2**20:.0f} MB, at most {most / 2**20:.0f} MB are read", hint="is it the right file?"
        )


def whole_number(where: str, name: str, text: str, most: int) -> int:
    """A number 0 to ``most`` in plain digits, or the error that says what stands there."""
    digits = text.isascii() and text.isdecimal() and len(text.lstrip("0")) <= INT64_DIGITS
    if not digits or int(text) > most:
        raise InputError(f"{where}: {name} is {shown(text)}", hint=f"{name} is a whole number, 0 to {most}")
    return int(text)


def shown(text: str) -> str:
    """Foreign text for an error: short, quoted, nothing unprintable."""
    return reprlib.repr(text)


def _need_columns(file: Path, names: Sequence[str], columns: Sequence[str], needed: Sequence[str]) -> None:
    first_line = ",".join(columns)
    for name in names:
        if name not in columns:
            raise InputError(f"{file}: unknown column {shown(name)}", hint=nearest(name, columns))
        if names.count(name) > 1:
            raise InputError(
                f"{file}: column {name} is there {names.count(name)} times", hint=f"{first_line}, once each"
            )
    for name in needed:
        if name not in names:
            raise InputError(f"{file}: no column {name!r}", hint=f"the first line is {first_line}")

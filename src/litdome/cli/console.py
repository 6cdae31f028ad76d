"""What the commands share: progress bars on stderr, Ctrl-C, settings options, tables on stdout."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from litdome.errors import LitdomeError
from litdome.progress import Progress, silent

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from litdome.lighting import HdriConvention

Function = TypeVar("Function", bound=Callable[..., Any])


class Stopped(LitdomeError):
    """Ctrl-C ended a command between two units of work."""

    exit_code = 130
    code = "interrupted"


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """A bar with ETA on stderr for each kind of work; nothing with ``-q``."""
    context = click.get_current_context()
    if context.find_root().obj["quiet"]:
        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, TextColumn("eta"), TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield report


@contextmanager
def interruptible(left: str = "what is finished is kept") -> Iterator[Callable[[], bool]]:
    """Ctrl-C once: ``should_stop`` turns true, running work ends and `Stopped` says how to resume; twice: stop now.

    What resumes is the command as it was typed, with every option that the result depends on.
    """
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            _stop_now()
        asked = True
        click.echo("litdome: finishing the running units (Ctrl-C again stops now)", err=True)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
    if asked:
        raise Stopped(f"stopped; {left}", hint=click.get_current_context().find_root().obj["typed"])


def _stop_now() -> None:
    """End this process without waiting for its threads; the next run clears up, as after a kill."""
    show_cursor = "\x1b[?25h" if sys.stderr.isatty() else ""
    click.echo(f"{show_cursor}litdome: stopped at once; run the same command again to go on", err=True)
    os._exit(Stopped.exit_code)


def settings_options(function: Function) -> Function:
    """Add ``-c FILE`` and ``--set KEY=VALUE``."""
    over = click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Set one value.")
    file = click.option(
        "-c", "--config", "config_file", type=click.Path(dir_okay=False, path_type=Path), help="Settings file (TOML)."
    )
    return over(file(function))


def place_options(function: Function) -> Function:
    """Add ``--workers N`` and ``--scheduler ADDRESS``."""
    scheduler = click.option("--scheduler", metavar="ADDRESS", help="Run on this dask cluster: tcp://HOST:8786.")
    workers = click.option("--workers", type=int, metavar="N", help="Run on N processes; threads, one a core, without.")
    return workers(scheduler(function))


def json_option(function: Function) -> Function:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")(function)


def settings_files(beside: str | Path | None, config_file: Path | None) -> list[Path]:
    """litdome.toml beside a session where there is one, then ``-c``."""
    files = [] if beside is None else [Path(beside).parent / "litdome.toml"]
    return [path for path in files if path.exists()] + ([config_file] if config_file else [])


def read_map(path: Path, convention: HdriConvention = "physical") -> npt.NDArray[np.float32]:
    """An HDRI file; what was mended in it is said on stderr.

    Raises:
        InputError: As `litdome.media.latlong.read_latlong`.
    """
    from litdome.media.latlong import read_latlong

    hdr, said = read_latlong(path, convention)
    for sentence in said:
        click.echo(f"litdome: {sentence}", err=True)
    return hdr


def print_json(value: Any) -> None:
    """One JSON object on stdout; NaN becomes null."""
    click.echo(json.dumps(_plain(value), indent=1))


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns on stdout, numbers to the right."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(header), *texts]) for i in range(len(header))]
    click.echo("  ".join(name.ljust(width) for name, width in zip(header, widths, strict=True)).rstrip())
    for row, cells in zip(texts, rows, strict=True):
        padded = [
            text.rjust(width) if isinstance(cell, int | float) else text.ljust(width)
            for text, cell, width in zip(row, cells, widths, strict=True)
        ]
        click.echo("  ".join(padded).rstrip())


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and value != value:
        return None
    return value

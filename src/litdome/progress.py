"""Progress as a callback: the library reports, the CLI draws."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with (what, done, total) whenever a unit of work ends, and once with done = 0 at the start."""

ShouldStop = Callable[[], bool]


def silent(what: str, done: int, total: int) -> None:
    """Report nothing."""


def never() -> bool:
    """Do not stop."""
    return False

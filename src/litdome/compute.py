"""Where work runs: on threads of this process. Only the caller's thread hears of finished units."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from litdome.errors import UsageError
from litdome.progress import ShouldStop, never

Work = Callable[[int], None]
"""Computes one unit, by its number. What leaves this process must be picklable."""


class Executor(Protocol):
    """Runs units of work somewhere."""

    def run(
        self,
        work: Work,
        indices: Iterable[int],
        *,
        on_done: Callable[[int], None],
        name: Callable[[int], str] = str,
        should_stop: ShouldStop = never,
    ) -> bool:
        """Run ``work(index)`` for each index.

        The first failure stops new work, lets running units end, and is raised.

        Args:
            work: What a unit does.
            indices: The units, in the order in which they are begun.
            on_done: Called on this thread as units end.
            name: What an error calls a unit.
            should_stop: Asked before a unit is begun.

        Returns:
            Whether all were run; False when ``should_stop`` said so first.
        """


def default_workers() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Threads:
    """Units on threads of this process; ``workers`` None: all cores."""

    workers: int | None = None

    def run(
        self,
        work: Work,
        indices: Iterable[int],
        *,
        on_done: Callable[[int], None],
        name: Callable[[int], str] = str,
        should_stop: ShouldStop = never,
    ) -> bool:
        """As `Executor.run`."""
        workers = self.workers or default_workers()
        return run_units(work, indices, workers=workers, on_done=on_done, should_stop=should_stop)


ALL_CORES = Threads()


@contextmanager
def open_executor(workers: int | None = None, scheduler: str | None = None) -> Iterator[Executor]:
    """Where to run: threads, ``workers`` processes of this machine, or the dask cluster at ``scheduler``.

    One worker is this process, one unit at a time.

    Raises:
        UsageError: Both are given, or fewer than one worker.
        ClusterError: The cluster cannot be reached.
    """
    if workers is not None and scheduler is not None:
        raise UsageError("--workers and --scheduler exclude each other", hint="give one of them")
    if workers is not None and workers < 1:
        raise UsageError(f"--workers {workers}: allowed from 1", hint="leave it out for one thread per core")
    if scheduler is None and (workers is None or workers == 1):
        yield Threads(workers)
        return
    from litdome.cluster import connect, local_cluster

    with connect(scheduler) if scheduler is not None else local_cluster(workers or 1) as cluster:
        yield cluster


def run_units(
    work: Work,
    indices: Iterable[int],
    *,
    workers: int,
    on_done: Callable[[int], None],
    should_stop: ShouldStop = never,
) -> bool:
    """Run ``work(index)`` for each index on ``workers`` threads; as `Executor.run`."""
    queue = iter(indices)
    running: dict[Future[None], int] = {}
    failure: BaseException | None = None
    exhausted = False
    with ThreadPoolExecutor(max_workers=workers) as pool:
        while True:
            while not exhausted and failure is None and len(running) < workers and not should_stop():
                index = next(queue, None)
                if index is None:
                    exhausted = True
                else:
                    running[pool.submit(work, index)] = index
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                index = running.pop(future)
                error = future.exception()
                if error is None:
                    on_done(index)
                elif failure is None:
                    failure = error
    if failure is not None:
        raise failure
    return exhausted or next(queue, None) is None

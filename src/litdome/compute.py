"""Where work runs: a thread pool over units. Only the caller's thread hears of finished units."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from litdome.progress import ShouldStop, never


def default_workers() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_units(
    work: Callable[[int], None],
    indices: Iterable[int],
    *,
    workers: int,
    on_done: Callable[[int], None],
    should_stop: ShouldStop = never,
) -> bool:
    """Run ``work(index)`` for each index on ``workers`` threads.

    The first failure stops new work, lets running units end, and is raised. ``on_done`` is called on this thread.

    Returns:
        Whether all were run; False when ``should_stop`` said so first.
    """
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

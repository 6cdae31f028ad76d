"""Units on a dask cluster: worker processes of this machine, or any scheduler. One plain task per unit, no graph."""

from __future__ import annotations

import logging
import pickle
import platform
import queue
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import dask
from distributed import Client, Future, KilledWorker, LocalCluster, WorkerPlugin
from distributed.comm.addressing import get_address_host_port

from litdome.compute import Work
from litdome.errors import ClusterError, UsageError
from litdome.progress import ShouldStop, never

log = logging.getLogger(__name__)
POLL_S = 0.5  # how soon a stop is heard and new workers are seen
CONNECT_S = 10.0
UNITS_PER_THREAD = 2  # one runs, one waits: 12,500 units cost no memory
SAME_EVERYWHERE = ("litdome", "zarr", "numpy", "opencv-python")
# Without this the nanny makes glibc return every picture's memory: 1.75 x the CPU time (docs/clusters.md).
WORKER_ENVIRONMENT = {
    "MALLOC_TRIM_THRESHOLD_": 2**32,
    "MALLOC_MMAP_THRESHOLD_": 2**30,
    "OMP_NUM_THREADS": 1,
    "MKL_NUM_THREADS": 1,
    "OPENBLAS_NUM_THREADS": 1,
}
# dask's own bookkeeping, 50 times a second in every process, would cost a tenth of the CPU time of two workers.
QUIET = {
    "distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT,
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.tick.limit": "30s",
    "distributed.admin.system-monitor.interval": "10s",
}
RESUME = "run the same command again: what is finished is kept"


class Cluster:
    """Units on the workers of a dask scheduler; an `Executor`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def run(
        self,
        work: Work,
        indices: Iterable[int],
        *,
        on_done: Callable[[int], None],
        name: Callable[[int], str] = str,
        should_stop: ShouldStop = never,
    ) -> bool:
        """As `Executor.run`.

        A worker that dies is replaced: its unit goes to another one, up to three times.

        Raises:
            ClusterError: The scheduler is lost, a unit kills every worker, a worker has other software.
        """
        job = _Job(uuid.uuid4().hex, pickle.dumps(work))
        with self._reporting_loss():
            self._client.register_plugin(job, name=job.token)
        try:
            return self._run(job.token, indices, on_done, name, should_stop)
        finally:
            if self._client.status == "running":
                self._client.unregister_worker_plugin(job.token)

    def _run(
        self,
        token: str,
        indices: Iterable[int],
        on_done: Callable[[int], None],
        name: Callable[[int], str],
        should_stop: ShouldStop,
    ) -> bool:
        waiting = iter(indices)
        running: dict[Future, int] = {}
        ended: queue.SimpleQueue[Future] = queue.SimpleQueue()
        room = _Room(self._client)
        failure: BaseException | None = None
        exhausted = stopping = False
        try:
            while True:
                if not stopping and (failure is not None or should_stop()):
                    stopping = True
                    self._drop_queued(running)
                while not stopping and not exhausted and len(running) < room.units():
                    index = next(waiting, None)
                    if index is None:
                        exhausted = True
                    else:
                        running[self._submit(token, index, ended)] = index
                if not running and (stopping or exhausted):
                    break
                try:
                    future = ended.get(timeout=POLL_S)
                except queue.Empty:
                    continue
                if (unit := running.pop(future, None)) is None:
                    continue
                if future.status == "finished":
                    on_done(unit)
                else:
                    failure = failure or self._failure(future, name(unit))
        finally:
            if running and self._client.status == "running":
                self._client.cancel(list(running))
        if failure is not None:
            raise failure
        return exhausted or next(waiting, None) is None

    def _submit(self, token: str, index: int, ended: queue.SimpleQueue[Future]) -> Future:
        with self._reporting_loss():
            key = f"{token}-{index}"
            future = self._client.submit(_run_unit, token, index, _software(), key=key, pure=False)
            future.add_done_callback(ended.put)
            return future

    def _drop_queued(self, running: dict[Future, int]) -> None:
        """Cancel what no worker has begun."""
        with self._reporting_loss():
            begun = {key for keys in self._client.run(_begun).values() for key in keys}
            queued = [future for future in running if future.key not in begun]
            for future in queued:
                del running[future]
            self._client.cancel(queued)

    def _failure(self, future: Future, unit: str) -> BaseException:
        if future.status != "error":
            return ClusterError(f"{unit}: the scheduler was lost or gave the unit up", hint=RESUME)
        error = future.exception()
        if isinstance(error, KilledWorker):
            address = getattr(error.last_worker, "address", error.last_worker)
            return ClusterError(
                f"{unit}: every worker that took it died ({error.allowed_failures + 1} of them, the last {address})",
                hint="look for lack of memory in the workers' logs; fewer workers, or more memory each",
            )
        if isinstance(error, ModuleNotFoundError):
            return ClusterError(f"{unit}: a worker has no {error.name}", hint="install the same on all workers")
        assert isinstance(error, BaseException)
        return error

    @contextmanager
    def _reporting_loss(self) -> Iterator[None]:
        try:
            yield
        except (OSError, TimeoutError) as error:
            raise ClusterError(f"the scheduler does not answer: {error}", hint=RESUME) from error


class _Room:
    """How many units to have on the cluster, asked once in a while: workers come and go."""

    def __init__(self, client: Client) -> None:
        self.client, self.asked, self.threads, self.warned = client, -POLL_S, 0, False

    def units(self) -> int:
        """At least one, so that a cluster that starts workers by demand starts one."""
        if time.monotonic() - self.asked >= POLL_S:
            try:
                self.threads = sum(self.client.nthreads().values())
            except (OSError, TimeoutError) as error:
                raise ClusterError(f"the scheduler does not answer: {error}", hint=RESUME) from error
            self.asked = time.monotonic()
            if not self.threads and not self.warned:
                log.warning("the cluster has no worker now: waiting for one")
                self.warned = True
        return max(1, self.threads * UNITS_PER_THREAD)


class _Job(WorkerPlugin):  # type: ignore[misc]
    """Brings the work to every worker, to those too that start later."""

    def __init__(self, token: str, pickled: bytes) -> None:
        self.token, self.pickled = token, pickled

    def setup(self, worker: Any) -> None:
        _jobs[self.token] = self.pickled

    def teardown(self, worker: Any) -> None:
        _jobs.pop(self.token, None)
        _loaded.pop(self.token, None)


_jobs: dict[str, bytes] = {}
_loaded: dict[str, Work] = {}
_loading = threading.Lock()


def _run_unit(token: str, index: int, expected: dict[str, str]) -> None:
    """On a worker: the job is unpickled once per process."""
    with _loading:
        if token not in _loaded:
            _refuse_other_software(expected)
            _loaded[token] = pickle.loads(_jobs[token])
    _loaded[token](index)


def _begun(dask_worker: Any) -> list[str]:
    """On a worker: the keys of the tasks that run now."""
    return [task.key for task in dask_worker.state.executing]


def _software() -> dict[str, str]:
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for package in SAME_EVERYWHERE:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return found


def _refuse_other_software(expected: dict[str, str]) -> None:
    found = _software()
    other = [f"{name} {found[name]}, not {expected[name]}" for name in expected if found[name] != expected[name]]
    if other:
        raise ClusterError(
            f"the worker on {platform.node()} has {'; '.join(other)}", hint="install the same on all workers"
        )


def dask_setup(worker: Any) -> None:
    """In a worker process of `local_cluster`: one thread for OpenCV too; Ctrl-C is the coordinator's to hear."""
    import cv2

    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def local_cluster(workers: int) -> Iterator[Cluster]:
    """``workers`` processes of this machine with one thread each, gone when the block is left."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # dask sets it to INFO; what is lost is ours to tell
    with (
        tempfile.TemporaryDirectory(prefix="litdome-") as folder,
        dask.config.set(QUIET),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=0,
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # its HTTP server stays, beside those of others
            silence_logs=logging.CRITICAL,
            local_directory=folder,
            preload=["litdome.cluster"],
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield Cluster(client)


@contextmanager
def connect(scheduler: str) -> Iterator[Cluster]:
    """The dask cluster at an address such as ``tcp://10.0.0.5:8786``.

    Raises:
        UsageError: That is no address.
        ClusterError: Nobody answers there.
    """
    logging.getLogger("distributed").setLevel(logging.WARNING)  # dask sets it to INFO
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # a lost scheduler is an error of ours
    try:
        get_address_host_port(scheduler, strict=True)
    except ValueError as error:
        raise UsageError(f"--scheduler {scheduler}: {error}", hint="--scheduler tcp://HOST:8786") from error
    try:
        client = Client(scheduler, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError) as error:
        hint = "start one with: dask scheduler"
        raise ClusterError(f"{scheduler}: no dask scheduler answers: {error}", hint=hint) from error
    try:
        yield Cluster(client)
    finally:
        client.close(timeout=1)

"""Units on threads, on worker processes and on a cluster that fails: the same answers, clear errors."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from litdome import errors
from litdome.cluster import Cluster, _refuse_other_software, _software, local_cluster
from litdome.compute import Threads, open_executor
from litdome.errors import ClusterError, LitdomeError, StoreError, UsageError


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with local_cluster(2) as found:
        yield found


@dataclass(frozen=True)
class Sign:
    """Leaves a file per unit that says which process ran it and what that process's memory is set to."""

    folder: Path

    def __call__(self, index: int) -> None:
        import cv2

        trim, ignores = os.environ.get("MALLOC_TRIM_THRESHOLD_"), signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        text = f"{os.getpid()} {trim} {cv2.getNumThreads()} {ignores}"
        (self.folder / f"{index}.{time.monotonic_ns()}").write_text(text)


@dataclass(frozen=True)
class Fail:
    """Fails at one unit."""

    at: int

    def __call__(self, index: int) -> None:
        if index == self.at:
            raise StoreError("shard 3 is damaged", hint="litdome session verify take.zarr")


@dataclass(frozen=True)
class Die:
    """Kills its process at one unit, as often as ``times``."""

    at: int
    times: int
    folder: Path

    def __call__(self, index: int) -> None:
        deaths = len(list(self.folder.iterdir()))
        if index == self.at and deaths < self.times:
            (self.folder / str(deaths)).touch()
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Wait:
    """Ends when a file appears; unit 0 only."""

    file: Path

    def __call__(self, index: int) -> None:
        while index == 0 and not self.file.exists():
            time.sleep(0.01)


def test_units_run_once_each_on_every_worker_with_memory_set_right(cluster: Cluster, tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    whole = cluster.run(Sign(tmp_path), range(40), on_done=lambda index: done.append((index, threading.get_ident())))
    signs = sorted(path.name.partition(".")[0] for path in tmp_path.iterdir())
    assert whole and signs == sorted(map(str, range(40)))
    assert sorted(index for index, _ in done) == list(range(40)) and {t for _, t in done} == {threading.get_ident()}
    seen = [path.read_text().split() for path in tmp_path.iterdir()]
    assert len({pid for pid, *_ in seen}) == 2 and str(os.getpid()) not in {pid for pid, *_ in seen}
    assert {tuple(rest) for _, *rest in seen} == {(str(2**32), "1", "True")}


def test_an_error_of_a_unit_arrives_whole_and_stops_new_units(cluster: Cluster) -> None:
    done: list[int] = []
    with pytest.raises(StoreError, match="shard 3 is damaged") as caught:
        cluster.run(Fail(2), range(1000), on_done=done.append)
    assert caught.value.hint == "litdome session verify take.zarr" and caught.value.exit_code == 5
    assert len(done) < 100 and 2 not in done


@pytest.mark.parametrize("kind", [LitdomeError, *LitdomeError.__subclasses__(), *StoreError.__subclasses__()])
def test_every_error_travels_with_its_hint(kind: type[LitdomeError]) -> None:
    assert len(LitdomeError.__subclasses__()) >= 8 and kind.__module__.startswith(errors.__name__.split(".")[0])
    back = pickle.loads(pickle.dumps(kind("what, where", hint="type this")))
    assert (type(back), back.message, back.hint, str(back)) == (kind, "what, where", "type this", "what, where")


def test_a_unit_of_a_worker_that_dies_goes_to_another(cluster: Cluster, tmp_path: Path) -> None:
    done: list[int] = []
    assert cluster.run(Die(3, 1, tmp_path), range(8), on_done=done.append)
    assert sorted(done) == list(range(8)) and len(list(tmp_path.iterdir())) == 1


def test_a_unit_that_kills_every_worker_is_named_with_the_last_of_them(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"flow c03 0:16: every worker that took it died \(4 .* tcp://127") as caught:
        cluster.run(Die(0, 99, tmp_path), range(1), on_done=print, name=lambda index: "flow c03 0:16")
    assert "memory" in str(caught.value.hint) and len(list(tmp_path.iterdir())) == 4


def test_a_straggler_holds_back_no_news_of_the_others(cluster: Cluster, tmp_path: Path) -> None:
    done: list[int] = []

    def hear(index: int) -> None:
        done.append(index)
        if len(done) == 5:
            (tmp_path / "go").touch()

    assert cluster.run(Wait(tmp_path / "go"), range(6), on_done=hear)
    assert sorted(done) == list(range(6)) and done[-1] == 0


def test_a_stop_lets_begun_units_end_and_drops_the_others(cluster: Cluster, tmp_path: Path) -> None:
    done: list[int] = []

    def stop() -> bool:
        if done:
            threading.Timer(0.3, (tmp_path / "go").touch).start()
        return bool(done)

    assert not cluster.run(Wait(tmp_path / "go"), range(1000), on_done=done.append, should_stop=stop)
    assert 0 in done and len(done) < 100


def test_a_worker_with_other_software_is_refused() -> None:
    _refuse_other_software(_software())
    with pytest.raises(ClusterError, match=r"has litdome 0\.\S+, not 99\.0"):
        _refuse_other_software({**_software(), "litdome": "99.0"})


def dask(*arguments: str) -> subprocess.Popen[bytes]:
    """A part of a dask cluster, that finds this module too."""
    return subprocess.Popen(
        [sys.executable, "-m", "dask", *arguments],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_a_lost_scheduler_is_an_error_that_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("litdome.cluster.CONNECT_S", 2.0)
    address = tmp_path / "scheduler.json"
    common = ["--scheduler-file", str(address), "--no-dashboard"]
    scheduler = dask("scheduler", *common, "--port", "0")
    worker = dask("worker", *common, "--no-nanny", "--nthreads", "1", "--local-directory", str(tmp_path))
    try:
        while not address.exists():
            time.sleep(0.05)
        with open_executor(scheduler=json.loads(address.read_text())["address"]) as cluster:
            done: list[int] = []

            def hear(index: int) -> None:
                done.append(index)
                if len(done) == 3:
                    scheduler.kill()

            with pytest.raises(ClusterError, match=r"lost|answer") as caught:
                cluster.run(Sign(tmp_path), range(2000), on_done=hear)
            assert 3 <= len(done) < 2000 and "same command" in str(caught.value.hint)
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait()


def test_where_work_runs_is_said_once() -> None:
    with pytest.raises(UsageError, match="exclude each other"), open_executor(2, "tcp://127.0.0.1:8786"):
        pass
    with pytest.raises(UsageError, match="--workers 0"), open_executor(0):
        pass
    with open_executor(1) as one, open_executor() as all_cores:
        assert (one, all_cores) == (Threads(1), Threads(None))


def test_a_scheduler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("litdome.cluster.CONNECT_S", 0.3)
    with (
        pytest.raises(ClusterError, match=r"tcp://127\.0\.0\.1:9: no dask scheduler"),
        open_executor(scheduler="tcp://127.0.0.1:9"),
    ):
        pass


@pytest.mark.parametrize("address", ["nowhere", "head-node:8786", "http://head-node:8786", "tcp://head-node:port"])
def test_what_is_no_address_of_a_scheduler_is_wrong_usage(address: str) -> None:
    with pytest.raises(UsageError, match=f"--scheduler {address}") as refused, open_executor(scheduler=address):
        pass
    assert refused.value.hint == "--scheduler tcp://HOST:8786"


def test_worker_processes_add_nothing_to_what_a_command_says() -> None:
    command = "from litdome.compute import open_executor\nimport logging\nlogging.basicConfig(level=logging.WARNING)\n"
    command += "if __name__ == '__main__':\n with open_executor(2) as pool: pool.run(abs, range(3), on_done=print)"
    said = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert sorted(said.stdout.split()) == ["0", "1", "2"] and not said.stderr

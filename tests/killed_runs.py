"""Runs of the whole pipeline that are killed at a chosen change of the disk, and what is left of them.

Run as a program it is a fork server: each line on stdin names a run, which is a forked process (so that 200 runs import
litdome once), and is answered by one line on stdout.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from litdome.compute import Threads
from litdome.progress import ShouldStop, never

NOT_REPEATED = ("started", "finished", "host", "device")  # what the contract lets differ between two records
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate")
BLOCK_FRAMES = 16  # several units of ingest a camera
STAGES = ("ingest", "calibrate", "flow", "segment", "deflicker", "hdri", "align")


@dataclass(frozen=True)
class Death:
    """When a run is killed: at the n-th change of the disk in a stage (or from the start), or after a time in it."""

    stage: str | None = None
    change: int | None = None
    seconds: float | None = None


@dataclass
class Ending:
    """How a run ended: killed or not, its error, the changes of the disk in each stage."""

    killed: bool
    error: str = ""
    changes: dict[str, int] = field(default_factory=dict)


class Counter:
    """Counts changes of the disk, by Python's audit events, and kills the process before a chosen one."""

    def __init__(self, death: Death) -> None:
        self.death, self.stage, self.changes, self.total = death, "", dict.fromkeys(STAGES, 0), 0
        sys.addaudithook(self.hear)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING):
            self.total += 1
            if self.stage:
                self.changes[self.stage] += 1
            count = self.changes[self.stage] if self.death.stage and self.stage else self.total
            if self.death.change == count and self.death.stage in (None, self.stage):
                os.kill(os.getpid(), signal.SIGKILL)

    def enter(self, stage: str) -> None:
        self.stage = stage
        if self.death.seconds is not None and self.death.stage == stage:
            threading.Timer(self.death.seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()


@dataclass(frozen=True)
class Logged:
    """One unit at a time, with a line in a file when one is begun and when its flag is on the disk."""

    counter: Counter
    stage: str
    log: int

    def run(
        self,
        work: Callable[[int], None],
        indices: Iterable[int],
        *,
        on_done: Callable[[int], None],
        name: Callable[[int], str] = str,
        should_stop: ShouldStop = never,
    ) -> bool:
        def begin(index: int) -> None:
            os.write(self.log, f"begun {self.stage} {index}\n".encode())
            work(index)

        def end(index: int) -> None:
            on_done(index)
            os.write(self.log, f"done {self.stage} {index}\n".encode())

        return Threads(1).run(begin, indices, on_done=end, name=name, should_stop=should_stop)


def walk(folder: Path, url: str, death: Death) -> dict[str, int]:
    """The whole way from ``folder``/take to the session; gives the changes of the disk in each stage."""
    import litdome.pipeline as pipeline
    from litdome.store.session import Session

    counter = Counter(death)
    log = os.open(f"{url}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    tables = {
        "ingest": {"block_frames": BLOCK_FRAMES},
        "calibrate": {"source": "import", "import_file": str(folder / "transforms.json")},
        "hdri": {"height": 16, "width": 32},
    }
    counter.enter("ingest")
    pipeline.ingest_recording(folder / "take", url, tables, executor=Logged(counter, "ingest", log))
    for name, stage in pipeline.processing_stages().items():
        counter.enter(name)
        session = Session.open(url, writable=True)
        config = pipeline.config_for(stage, tables)
        pipeline.run_stage(session, stage, config, executor=Logged(counter, name, log))
    return counter.changes


class Server:
    """Runs in forked processes of one child process that has imported everything."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, url: Path, death: Death = Death()) -> Ending:
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps({"url": str(url), "death": asdict(death)}), file=self.process.stdin, flush=True)
        return Ending(**json.loads(self.process.stdout.readline()))


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A `Server` of takes in ``folder``."""
    server = Server(folder)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.communicate()


def contents(store: Path) -> dict[str, Any]:
    """All files of a store by name: bytes, or of a zarr.json what must be equal in two runs."""
    found: dict[str, Any] = {}
    for path in sorted(store.rglob("*")):
        if path.is_file():
            found[str(path.relative_to(store))] = path.read_bytes()
            if path.name == "zarr.json":
                document = json.loads(path.read_bytes())
                for key in NOT_REPEATED:
                    document.get("attributes", {}).pop(key, None)
                found[str(path.relative_to(store))] = document
    return found


def done_twice(log: Path) -> list[str]:
    """Units that were begun again after their flag was on the disk."""
    done: set[str] = set()
    again: list[str] = []
    for line in log.read_text().splitlines():
        what, _, unit = line.partition(" ")
        if what == "done":
            done.add(unit)
        elif unit in done:
            again.append(unit)
    return again


def _child(folder: Path, url: str, death: Death, answer: int) -> None:
    try:
        ending = Ending(False, changes=walk(folder, url, death))
    except BaseException as error:
        import traceback

        ending = Ending(False, error="".join(traceback.format_exception(error)))
    os.write(answer, json.dumps(asdict(ending)).encode())
    os._exit(0)


def _serve(folder: Path) -> None:
    import litdome.capture.ingest
    import litdome.pipeline

    litdome.pipeline.processing_stages()
    for line in sys.stdin:
        asked = json.loads(line)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _child(folder, asked["url"], Death(**asked["death"]), writing)
        os.close(writing)
        with os.fdopen(reading) as stream:
            text = stream.read()
        status = os.waitpid(pid, 0)[1]
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print(json.dumps(asdict(Ending(True))) if killed else text, flush=True)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))

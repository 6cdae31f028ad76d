"""Who writes a session: one process at a time, named in a file beside the store. Readers need no leave."""

from __future__ import annotations

import fcntl
import getpass
import json
import logging
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from litdome.errors import StoreError
from litdome.store.files import is_local, open_files, refusals
from litdome.store.provenance import now

log = logging.getLogger(__name__)
HEARTBEAT_S = 30.0
LEFTOVERS = ("*.partial",)  # what a killed process leaves: files that were not yet renamed


@dataclass(frozen=True)
class Holder:
    """The process that writes a session; ``began`` tells a process number that is used again."""

    host: str = field(default_factory=platform.node)
    user: str = field(default_factory=lambda: login_name())
    pid: int = field(default_factory=os.getpid)
    began: str = field(default_factory=lambda: _began(os.getpid()))
    command: str = field(default_factory=lambda: " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]))
    started: str = field(default_factory=now)

    @property
    def is_gone(self) -> bool:
        """Whether it ran on this machine and runs no more; of another machine nothing is known."""
        return self.host == platform.node() and _began(self.pid) != self.began


def lock_url(url: str) -> str:
    """The file that names the process which writes the session at ``url``."""
    return url.rstrip("/").removesuffix(".zarr") + ".lock"


def absolute_url(url: str) -> str:
    """``url`` as a process with another working folder finds it."""
    files, path = open_files(url)
    return path if is_local(files) else url


@contextmanager
def hold_session(url: str) -> Iterator[None]:
    """Be the only process that writes the session at ``url``; a process that holds it may ask again.

    On a local disk the kernel guards the file (flock), so that it never outlives its process. Elsewhere it is created
    on condition that it is not there (S3 does so; a store that ignores the condition does not keep two processes
    apart), and a takeover from a dead process is not atomic.

    Raises:
        StoreError: Another process holds it: which, since when, and what to type.
    """
    key = absolute_url(url)
    with _guard:
        if key not in _held:
            _held[key] = _Held(_acquire(key))
        _held[key].times += 1
    try:
        yield
    finally:
        with _guard:
            _held[key].times -= 1
            if not _held[key].times:
                _held.pop(key).release()


@dataclass
class _Held:
    release: Callable[[], None]
    times: int = 0


_held: dict[str, _Held] = {}
_guard = threading.Lock()


def _acquire(url: str) -> Callable[[], None]:
    files, path = open_files(lock_url(url))
    with refusals(lock_url(url)):
        return _acquire_local(url, Path(path)) if is_local(files) else _acquire_remote(url, files, path)


def _acquire_local(url: str, path: Path) -> Callable[[], None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            is_ours = _flock(file, path)
            before = _parse(os.pread(file, 1 << 16, 0))
            if not is_ours or (before is not None and before.host != platform.node()):
                raise _refusal(url, before, str(path), os.fstat(file).st_mtime)
            if _is_same_file(file, path):
                break
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # its holder removed it meanwhile: look again
    if before is not None:
        _say_takeover(url, before)
        _sweep(Path(url))
    os.ftruncate(file, 0)
    os.pwrite(file, _text(Holder()), 0)
    stop = _beat(lambda: os.utime(file))

    def release() -> None:
        stop()
        path.unlink(missing_ok=True)
        os.close(file)

    return release


def _acquire_remote(url: str, files: Any, path: str) -> Callable[[], None]:
    text = _text(Holder())
    for attempt in (0, 1):
        try:
            files.pipe_file(path, text, mode="create")
            break
        except FileExistsError:
            before = _parse(files.cat_file(path))
            if attempt or before is None or not before.is_gone:
                raise _refusal(url, before, lock_url(url), files.modified(path).timestamp()) from None
            _say_takeover(url, before)
            files.rm_file(path)

    def beat() -> None:
        if files.cat_file(path) == text:
            files.pipe_file(path, text)

    stop = _beat(beat)

    def release() -> None:
        stop()
        files.rm_file(path)

    return release


def _flock(file: int, path: Path) -> bool:
    """Whether the kernel gives the file to this process."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StoreError(
            f"{path}: this disk gives no locks ({error.strerror})", hint="mount it with locks (flock)"
        ) from error
    return True


def _refusal(url: str, holder: Holder | None, lock: str, beat: float) -> StoreError:
    if holder is None:
        return StoreError(f"{url}: another process begins to write it", hint="run the command again when it is done")
    who = f"process {holder.pid} of {holder.user} on {holder.host} ({holder.command}) since {holder.started}"
    if holder.host == platform.node():
        return StoreError(f"{url}: being written by {who}", hint=f"wait for it, or: kill -INT {holder.pid}")
    return StoreError(
        f"{url}: being written by {who}, last heard of {max(0, round(time.time() - beat))} s ago",
        hint=f"wait for it; when you are sure that it is gone, remove {lock}",
    )


def _say_takeover(url: str, before: Holder) -> None:
    log.warning("%s: process %d (%s) died while writing; going on from there", url, before.pid, before.command)


def _sweep(store: Path) -> None:
    """Remove the half files of a process that was killed."""
    for pattern in LEFTOVERS:
        for path in store.rglob(pattern):
            path.unlink(missing_ok=True)


def _beat(touch: Callable[[], None]) -> Callable[[], None]:
    """Call ``touch`` every HEARTBEAT_S until the result is called."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(HEARTBEAT_S):
            try:
                touch()
            except OSError as error:
                log.warning("the lock's heartbeat failed: %s", error)

    thread = threading.Thread(target=run, daemon=True, name="litdome-lock")
    thread.start()

    def stop() -> None:
        ended.set()
        thread.join()

    return stop


def _text(holder: Holder) -> bytes:
    return json.dumps(asdict(holder), indent=1).encode()


def _parse(text: bytes) -> Holder | None:
    try:
        return Holder(**json.loads(text))
    except (ValueError, TypeError):
        return None


def _is_same_file(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def login_name() -> str:
    """Of whoever runs this; their number where they have no name, as in containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _began(pid: int) -> str:
    """When a process began, in the kernel's words; empty when there is none."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "running" if not Path("/proc/self").exists() and _is_running(pid) else ""
    return "" if state == "Z" else rest[18]


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

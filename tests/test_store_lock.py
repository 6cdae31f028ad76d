"""One process writes a session; the second is told who; a dead one does not stand in the way."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest

from litdome.cli import run
from litdome.errors import StoreError
from litdome.store.lock import hold_session, lock_url
from litdome.store.session import Session

HOLD = """
import sys, time
from litdome.store.lock import hold_session
with hold_session(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""
COUNT = """
import sys, time
from pathlib import Path
from litdome.errors import StoreError
from litdome.store.lock import hold_session
done, count = 0, Path(sys.argv[2])
while done < 25:
    try:
        with hold_session(sys.argv[1]):
            count.write_text(str(int(count.read_text()) + 1))
            done += 1
    except StoreError:
        time.sleep(0.001)
"""


@contextmanager
def holder(url: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the session until its stdin ends."""
    command = [sys.executable, "-c", HOLD, url]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_second_process_is_told_who_holds_the_session(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = str(tmp_path / "take.zarr")
    Session.new(url, {"name": "take"})
    with holder(url) as process:
        assert run(["-q", "flow", url]) == 5
        said = capsys.readouterr().err
        assert f"process {process.pid} of " in said and "since 20" in said and f"kill -INT {process.pid}" in said
        assert Session.open(url).attrs["name"] == "take"  # readers need no leave
    with hold_session(url):
        assert json.loads((tmp_path / "take.lock").read_text())["pid"] == os.getpid()
    assert not (tmp_path / "take.lock").exists()


def test_a_killed_process_is_replaced_and_its_half_files_go(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = str(tmp_path / "take.zarr")
    Session.new(url, {"name": "take"})
    with holder(url) as process:
        half, whole = tmp_path / "take.zarr" / "zarr.0f3a.partial", tmp_path / "take.zarr" / "zarr.json"
        half.touch()
        process.kill()
        process.wait()
        assert (tmp_path / "take.lock").exists()
        with caplog.at_level(logging.WARNING), hold_session(url):
            assert f"process {process.pid}" in caplog.text and "died while writing" in caplog.text
            assert whole.exists() and not half.exists()


def test_another_machine_is_never_pushed_aside(tmp_path: Path) -> None:
    url = str(tmp_path / "take.zarr")
    lock = Path(lock_url(url))
    there = {"host": "stage-pc", "user": "ana", "pid": 1, "began": "5", "command": "litdome run", "started": "2026"}
    lock.write_text(json.dumps(there))
    os.utime(lock, (time.time() - 90, time.time() - 90))
    who = r"process 1 of ana on stage-pc \(litdome run\).*heard of 9\d s ago"
    with pytest.raises(StoreError, match=who) as caught, hold_session(url):
        pass
    assert str(lock) in str(caught.value.hint) and lock.exists()
    lock.unlink()
    with hold_session(url):
        assert lock.exists()


def test_a_process_may_ask_again_and_an_error_gives_the_session_back(tmp_path: Path) -> None:
    url = str(tmp_path / "take.zarr")
    with hold_session(url):
        with hold_session(url):
            pass
        assert Path(lock_url(url)).exists()
    with pytest.raises(ValueError, match="broken"), hold_session(url):
        raise ValueError("broken")
    assert not Path(lock_url(url)).exists()


def test_many_processes_never_meet(tmp_path: Path) -> None:
    count = tmp_path / "count"
    count.write_text("0")
    command = [sys.executable, "-c", COUNT, str(tmp_path / "take.zarr"), str(count)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert count.read_text() == "75"


def test_elsewhere_the_file_is_made_on_condition_that_it_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    url = "memory://bucket/take.zarr"
    files = fsspec.filesystem("memory")
    with hold_session(url):
        mine = json.loads(files.cat_file("/bucket/take.lock"))
    assert mine["pid"] == os.getpid() and not files.exists("/bucket/take.lock")
    files.pipe_file("/bucket/take.lock", json.dumps({**mine, "host": "stage-pc"}).encode())
    with pytest.raises(StoreError, match=f"process {os.getpid()} .* on stage-pc"), hold_session(url):
        pass
    files.pipe_file("/bucket/take.lock", json.dumps({**mine, "began": "1"}).encode())  # a number that is used again
    with caplog.at_level(logging.WARNING), hold_session(url):
        assert json.loads(files.cat_file("/bucket/take.lock"))["began"] == mine["began"]
    assert "died while writing" in caplog.text and not files.exists("/bucket/take.lock")

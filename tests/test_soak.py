"""Whatever happens to a run, running again ends it with the same bytes, and nothing that was finished is done twice.

Kills at any moment of ingest and of every stage (``LITDOME_KILLS`` sets how many; ``make soak``: 200), full and
read-only disks, a source that vanishes, Ctrl-C; and the same bytes on S3 and on worker processes.
"""

from __future__ import annotations

import contextlib
import math
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from killed_runs import BLOCK_FRAMES, STAGES, Death, Server, contents, done_twice, serving

from litdome.calib.exchange import write_transforms
from litdome.compute import Threads, Work
from litdome.errors import InputError
from litdome.pipeline import ingest_recording
from litdome.store.lock import hold_session, lock_url
from litdome.store.session import Session
from litdome.synth import make_recording

KILLS = int(os.environ.get("LITDOME_KILLS", "20"))


def film(folder: Path, pairs: int) -> Path:
    """A folder with take/ and the true calibration, transforms.json."""
    size = {"width": 48, "height": 80, "hdris": 2, "lights": 16}
    truth = make_recording(folder / "take", cameras=2, pairs=pairs, boards=False, workers=1, **size)
    write_transforms(folder / "transforms.json", truth.rig)
    return folder


@pytest.fixture(scope="module")
def take(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("soak"), pairs=18)


@pytest.fixture(scope="module")
def server(take: Path) -> Iterator[Server]:
    with serving(take) as found:
        yield found


@pytest.fixture(scope="module")
def whole(server: Server, take: Path) -> Path:
    """The session of a run that nothing disturbed."""
    ending = server.run(take / "whole.zarr")
    assert not ending.error, ending.error
    return take / "whole.zarr"


def test_a_take_killed_at_any_moment_ends_as_one_that_was_not(server: Server, tmp_path: Path) -> None:
    """Each round kills a run once in every stage, or a resumed run soon after its start; then it is let end."""
    undisturbed = server.run(tmp_path / "whole.zarr")
    assert not undisturbed.error
    expected = contents(tmp_path / "whole.zarr")
    assert len(expected) > 100
    rng = np.random.default_rng(0)
    killed = 0
    for number in range(math.ceil(KILLS / len(STAGES))):
        url = tmp_path / f"take{number}.zarr"
        for stage in STAGES:
            death = Death(stage, change=int(rng.integers(1, undisturbed.changes[stage] + 1)))
            if number % 3 == 2:  # soon after the start of a resumed run: lock, sweep, flags
                death = Death(change=int(rng.integers(1, 40)))
            elif number % 3 == 1 and number > 1:  # in the middle of writing, whenever that is
                death = Death(stage, seconds=float(rng.uniform(0, 0.25)))
            ending = server.run(url, death)
            assert not ending.error, (death, ending.error)
            killed += ending.killed
        ending = server.run(url)
        assert not ending.error, ending.error
        found = contents(url)
        assert sorted(found) == sorted(expected), number
        assert [name for name in found if found[name] != expected[name]] == [], number
        assert done_twice(Path(f"{url}.log")) == [], number
        assert not url.with_suffix(".lock").exists()
    assert killed >= 0.9 * KILLS  # a run that dies by the clock may be faster


def test_a_unit_that_is_lost_or_done_twice_is_seen(server: Server, tmp_path: Path) -> None:
    assert not server.run(tmp_path / "take.zarr").error
    before = contents(tmp_path / "take.zarr")
    shard = next(path for path in (tmp_path / "take.zarr" / "motion").rglob("0") if path.is_file())
    shard.write_bytes(shard.read_bytes()[:-1])
    assert contents(tmp_path / "take.zarr") != before
    log = tmp_path / "take.zarr.log"
    log.write_text(log.read_text() + "begun flow 1\n")
    assert done_twice(log) == ["flow 1"]


def litdome(*arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    """The real program."""
    return subprocess.run(
        [sys.executable, "-m", "litdome", "-q", *arguments], capture_output=True, text=True, **settings
    )


def stages_to_run(folder: Path) -> list[str]:
    """The arguments of ``litdome run`` after the session, for what `killed_runs.walk` does."""
    settings = {"ingest.block_frames": BLOCK_FRAMES, "hdri.height": 16, "hdri.width": 32}
    given = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return ["--import-calibration", str(folder / "transforms.json"), *given]


FULL_DISK = """
exec 2>&1
mount -t tmpfs -o size=64m none disk || exit 99
litdome() { "$PYTHON" -m litdome -q "$@"; echo "exit $?"; }
litdome run take disk/take.zarr --until flow $MORE
mount -o remount,size=$(($(du -s --block-size=1 disk | cut -f1) + 500000)) disk
litdome run disk/take.zarr --workers 1 $MORE
mount -o remount,ro disk
litdome segment disk/take.zarr
litdome status disk/take.zarr > status.txt
mount -o remount,rw,size=64m disk
litdome run disk/take.zarr $MORE
cp -r disk/take.zarr grown.zarr
find disk -name '*.partial' -o -name '*.lock'
"""


def test_a_full_disk_and_a_read_only_one_lose_nothing(whole: Path, take: Path) -> None:
    (take / "disk").mkdir()
    more = " ".join(stages_to_run(take))
    command = ["unshare", "-rm", "sh", "-c", FULL_DISK]
    env = {**os.environ, "PYTHON": sys.executable, "MORE": more}
    try:
        said = subprocess.run(command, cwd=take, env=env, capture_output=True, text=True).stdout.splitlines()
    except FileNotFoundError:
        pytest.skip("no unshare here: a small disk cannot be mounted")
    if not said or not any(line.startswith("exit") for line in said):
        pytest.skip(f"a small disk cannot be mounted here: {said}")
    ends = [line for line in said if line.startswith("exit")]
    assert ends == ["exit 0", "exit 5", "exit 5", "exit 0"], said
    errors = [line for line in said if line.startswith("litdome: ")]
    assert len(errors) == 2 and "full" in errors[0] and "read-only" in errors[1].lower(), said
    assert contents(take / "grown.zarr") == contents(whole)
    assert (take / "status.txt").read_text().splitlines()[-1] == "exit 0"  # what is only read needs no room
    assert not [line for line in said if line.endswith((".partial", ".lock"))]


@dataclass(frozen=True)
class Vanishing:
    """One unit at a time; before the second one, a source is moved away."""

    source: Path

    def run(self, work: Work, indices: Iterable[int], **how: Any) -> bool:
        def begin(index: int) -> None:
            if index == 1:
                self.source.rename(self.source.with_suffix(".away"))
            work(index)

        return Threads(1).run(begin, indices, **how)


def test_a_source_that_vanishes_is_named_and_what_was_read_stays(whole: Path, take: Path, tmp_path: Path) -> None:
    url, source = str(tmp_path / "take.zarr"), take / "take" / "cameras" / "c01.mp4"
    tables = {"ingest": {"block_frames": BLOCK_FRAMES}}
    try:
        with pytest.raises(InputError, match=r"c01\.mp4"):
            ingest_recording(take / "take", url, tables, executor=Vanishing(source))
    finally:
        source.with_suffix(".away").rename(source)
    assert Session.open(url).done("ingest").tolist()[:2] == [True, False]
    assert litdome("run", str(take / "take"), url, *stages_to_run(take)).returncode == 0
    assert contents(Path(url)) == contents(whole)


@pytest.mark.parametrize("where", [(), ("--workers", "2")])
def test_ctrl_c_says_how_to_go_on(whole: Path, take: Path, tmp_path: Path, where: tuple[str, ...]) -> None:
    url = tmp_path / "take.zarr"
    command = ["-m", "litdome", "-q", "run", str(take / "take"), str(url), *where, *stages_to_run(take)]
    process = subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not (url / "steps" / "ingest" / "zarr.json").exists():
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers hear it too
    said = process.communicate()[1]
    assert process.returncode == 130 and f"try: {shlex.join(['litdome', *command[2:]])}" in said, said
    assert not url.with_suffix(".lock").exists()
    assert litdome("run", str(take / "take"), str(url), *where, *stages_to_run(take)).returncode == 0
    assert contents(url) == contents(whole)


def children(pid: int) -> set[int]:
    """Processes below ``pid``, however deep."""
    found: set[int] = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found |= {int(stat.parent.name)} | children(int(stat.parent.name))
    return found


def test_worker_processes_die_with_a_killed_command(whole: Path, take: Path, tmp_path: Path) -> None:
    url = tmp_path / "take.zarr"
    command = ["-m", "litdome", "-q", "run", str(take / "take"), str(url), "--workers", "2", *stages_to_run(take)]
    process = subprocess.Popen([sys.executable, *command])
    while not (url / "steps" / "flow" / "zarr.json").exists():
        time.sleep(0.005)
    workers = children(process.pid)
    process.kill()
    process.wait()
    assert len(workers) >= 2
    for _ in range(500):
        if not any(Path(f"/proc/{pid}").exists() for pid in workers):
            break
        time.sleep(0.02)
    else:
        pytest.fail("worker processes outlive the command")
    assert litdome("run", str(take / "take"), str(url), *stages_to_run(take)).returncode == 0
    assert contents(url) == contents(whole)


def test_the_whole_way_on_s3_gives_the_same_bytes(tmp_path: Path, bucket: str) -> None:
    folder = film(tmp_path, pairs=3)
    url, local, stages = f"{bucket}/take.zarr", tmp_path / "take.zarr", stages_to_run(folder)
    done = litdome("run", str(folder / "take"), url, "--workers", "2", *stages)
    assert done.returncode == 0, done.stderr
    assert litdome("run", str(folder / "take"), str(local), *stages).returncode == 0
    files = fsspec.filesystem("s3")
    files.get(url, str(tmp_path / "back.zarr"), recursive=True)
    assert contents(tmp_path / "back.zarr") == contents(local)
    assert not files.exists(lock_url(url))
    with hold_session(url):
        second = litdome("flow", url)
    assert second.returncode == 5 and f"process {os.getpid()} of " in second.stderr

"""Following: cameras are ingested as they come, and the session is the one that a plain ingest makes."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from test_capture_ingest import make_take

from litdome.following import follow_recording
from litdome.pipeline import ingest_recording
from litdome.store.provenance import StageRecord
from litdome.store.session import Session

CAMERAS = '[cameras.c00]\nsource = "cameras/c00.mp4"\n[cameras.c01]\nsource = "cameras/c01.mp4"\n'
REST_S = 0.4


class Follower:
    """Follows in a thread and keeps what it heard."""

    def __init__(self, folder: Path, out: Path) -> None:
        self.units: list[tuple[str, int, int]] = []
        self.record: StageRecord | None = None
        self.stop = False
        self._thread = threading.Thread(target=self._follow, args=(folder, str(out)))
        self._thread.start()

    def _follow(self, folder: Path, url: str) -> None:
        self.record = follow_recording(
            folder,
            url,
            {},
            rest_s=REST_S,
            progress=lambda *what: self.units.append(what),
            should_stop=lambda: self.stop,
        )

    def heard(self, what: tuple[str, int, int]) -> bool:
        end = time.monotonic() + 30
        while what not in self.units and time.monotonic() < end:
            time.sleep(0.02)
        return what in self.units

    def join(self) -> StageRecord | None:
        self._thread.join(60)
        return self.record


def same_arrays(one: str, other: str) -> None:
    first, second = Session.open(one), Session.open(other)
    for camera in first.cameras:
        for path in (f"cameras/{camera}/flat/luma", f"cameras/{camera}/relit/chroma"):
            np.testing.assert_array_equal(first.read(path), second.read(path))
    for path in ("schedule/present", "rig/size", "looks/grid"):
        np.testing.assert_array_equal(first.read(path), second.read(path))
    assert first.record("ingest").fingerprint == second.record("ingest").fingerprint


def test_a_camera_is_ingested_while_the_next_one_is_still_being_copied(tmp_path: Path) -> None:
    whole = make_take(tmp_path / "whole" / "take", toml=CAMERAS)
    ingest_recording(whole, str(tmp_path / "plain.zarr"), {})
    growing = tmp_path / "growing" / "take"
    shutil.copytree(whole, growing)
    last = (growing / "cameras/c01.mp4").read_bytes()
    (growing / "cameras/c01.mp4").unlink()
    follower = Follower(growing, tmp_path / "followed.zarr")
    copying = threading.Event()

    def copy_on() -> None:  # byte by byte: the folder never rests
        with (growing / "cameras/c01.mp4").open("wb", buffering=0) as file:
            place = 0
            while not copying.is_set() and place < len(last) - 1:
                file.write(last[place : place + 1])
                place += 1
                time.sleep(REST_S / 10)
            file.write(last[place:])

    writer = threading.Thread(target=copy_on)
    writer.start()
    assert follower.heard(("cameras here", 1, 2)) and follower.heard(("ingest", 1, 1))
    assert follower.record is None  # c00 is in, c01 is still being written
    copying.set()
    writer.join()
    record = follower.join()
    assert record is not None and record.finished and record.summary["frames_present"] == [20, 20]
    same_arrays(str(tmp_path / "plain.zarr"), str(tmp_path / "followed.zarr"))
    done = [what for what in follower.units if what[0] == "ingest" and what[1] == what[2] == 1]
    assert len(done) == 2  # one camera each time: what was in was not ingested again


def test_a_camera_that_changes_afterwards_is_ingested_again(tmp_path: Path) -> None:
    whole = make_take(tmp_path / "whole" / "take", toml=CAMERAS)
    growing = tmp_path / "growing" / "take"
    shutil.copytree(whole, growing)
    (growing / "cameras/c01.mp4").unlink()
    dropped = make_take(tmp_path / "other" / "take", {"c00": {3}}, toml=CAMERAS)
    follower = Follower(growing, tmp_path / "followed.zarr")
    keep_awake = threading.Event()

    def touch() -> None:
        while not keep_awake.wait(REST_S / 4):
            (growing / "cameras/notes.txt").write_text(str(time.time()))

    toucher = threading.Thread(target=touch)
    toucher.start()
    assert follower.heard(("ingest", 1, 1))
    for name in ("cameras/c00.mp4", "cameras/c01.mp4", "timestamps.csv"):
        shutil.copyfile(dropped / name, growing / name)
    keep_awake.set()
    toucher.join()
    record = follower.join()
    assert record is not None and record.summary["frames_present"] == [19, 20]
    ingest_recording(dropped, str(tmp_path / "plain.zarr"), {})
    one, other = Session.open(str(tmp_path / "plain.zarr")), Session.open(str(tmp_path / "followed.zarr"))
    np.testing.assert_array_equal(one.read("cameras/c00/relit/luma"), other.read("cameras/c00/relit/luma"))


def test_what_is_broken_is_said_once_nothing_changes_any_more(tmp_path: Path) -> None:
    from litdome.errors import InputError

    folder = make_take(tmp_path / "take", toml=CAMERAS)
    (folder / "cameras/c01.mp4").write_bytes(b"half a file")
    with pytest.raises(InputError, match="camera c01"):
        follow_recording(folder, str(tmp_path / "a.zarr"), {}, rest_s=REST_S)


def test_a_listed_camera_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    from litdome.errors import InputError

    folder = make_take(tmp_path / "take", toml=CAMERAS)
    last = folder / "cameras/c01.mp4"
    codes = last.read_bytes()
    last.unlink()
    follower = Follower(folder, tmp_path / "a.zarr")
    assert follower.heard(("ingest", 1, 1))
    time.sleep(3 * REST_S)  # longer than a file needs to count as whole
    assert follower.record is None
    last.write_bytes(codes)
    record = follower.join()
    assert record is not None and record.summary["frames_present"] == [20, 20]
    last.unlink()
    with pytest.raises(InputError, match="camera c01"):  # in the end, it is missing
        follow_recording(folder, str(tmp_path / "b.zarr"), {}, rest_s=REST_S, patience_s=2 * REST_S)
    skipping = {"ingest": {"skip_cameras": ["c01"]}}
    assert follow_recording(folder, str(tmp_path / "c.zarr"), skipping, rest_s=REST_S) is not None


def test_room_is_asked_for_before_the_first_camera_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from litdome.errors import StoreError

    folder = make_take(tmp_path / "take", toml=CAMERAS)
    (folder / "cameras/c01.mp4").unlink()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6, 1000))
    with pytest.raises(StoreError, match="1 kB are free"):
        follow_recording(folder, str(tmp_path / "a.zarr"), {}, rest_s=REST_S)
    assert not (tmp_path / "a.zarr").exists()

"""Rig frames from clocks, containers and offsets; a wrong clock is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litdome.capture.clock import NO_FRAME, NO_TIME, make_clock, read_timestamps, times_from_container
from litdome.capture.recording import CameraSource
from litdome.errors import InputError
from litdome.media.index import SourceIndex

FPS = 25.0


def camera(id: str, offset: int | None = None) -> CameraSource:
    return CameraSource(id, Path(id), frame_offset=offset)


def stamps(*frames: int, start_ns: int = 1_700_000_000_000_000_000, jitter_ns: int = 0) -> np.ndarray:
    rng = np.random.default_rng(len(frames))
    return start_ns + np.array(frames, np.int64) * 40_000_000 + rng.integers(-jitter_ns, jitter_ns + 1, len(frames))


def rig_frames(clock, id: str, count: int) -> list[int | None]:
    return [None if frame == NO_FRAME else int(frame) for frame in clock.rig_frames(id, count)]


@given(st.sets(st.integers(0, 40), max_size=12))
@settings(max_examples=60, deadline=None)
def test_a_dropped_frame_never_shifts_later_frames(dropped: set[int]) -> None:
    kept = [n for n in range(60) if n not in dropped]
    times = {"c00": stamps(*range(60), jitter_ns=8_000_000), "c01": stamps(*kept, jitter_ns=8_000_000)}
    clock = make_clock((camera("c00"), camera("c01")), FPS, times)
    assert rig_frames(clock, "c01", len(kept)) == kept
    assert rig_frames(clock, "c00", 60) == list(range(60))


def test_without_time_stamps_the_offset_counts() -> None:
    clock = make_clock((camera("c00"), camera("c01", -2), camera("c02", 3)), FPS, {})
    assert [clock.rig_frames(id, 6)[5] for id in ("c00", "c01", "c02")] == [5, 3, 8]
    assert clock.frame_times(3).tolist() == [0, 40_000_000, 80_000_000]


def test_agreeing_stamps_and_offsets_place_a_late_camera() -> None:
    times = {"c00": stamps(0, 1, 2), "c01": stamps(3, 4, 6)}
    clock = make_clock((camera("c00", 0), camera("c01", 3)), FPS, times)
    assert rig_frames(clock, "c01", 4) == [3, 4, 6, None]
    everyone_late = make_clock((camera("c00", 5), camera("c01", 8)), FPS, times)
    assert rig_frames(everyone_late, "c00", 3) == [5, 6, 7]


def test_a_contradiction_is_refused_unless_one_side_is_trusted() -> None:
    cameras, times = (camera("c00"), camera("c01", 3)), {"c00": stamps(0, 1, 2), "c01": stamps(0, 1, 3)}
    with pytest.raises(InputError, match=r"camera c0.*by its frame_offset") as caught:
        make_clock(cameras, FPS, times)
    assert "--trust" in str(caught.value.hint)
    by_time = make_clock(cameras, FPS, times, "timestamps")
    assert (rig_frames(by_time, "c00", 3), rig_frames(by_time, "c01", 3)) == ([0, 1, 2], [0, 1, 3])
    by_offset = make_clock(cameras, FPS, times, "offset")
    assert (rig_frames(by_offset, "c00", 3), rig_frames(by_offset, "c01", 3)) == ([0, 1, 2], [3, 4, 6])


def test_less_than_half_a_frame_is_no_contradiction() -> None:
    times = {"c00": stamps(0, 1), "c01": stamps(0, 1) + 19_000_000}
    clock = make_clock((camera("c00", 0), camera("c01", 0)), FPS, times)
    assert rig_frames(clock, "c01", 2) == [0, 1]
    times["c01"] += 2_000_000
    with pytest.raises(InputError, match=r"0\.5"):
        make_clock((camera("c00", 0), camera("c01", 0)), FPS, times)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (["c00,0,0", "c00,1,0"], "frame 1: its time does not rise"),
        (["c00,0,0", "c00,0,5"], "line 3"),
        (["c00,zero,0"], "line 2"),
        (["c00,0"], "line 2"),
    ],
)
def test_broken_time_stamps_are_named(tmp_path: Path, rows: list[str], says: str) -> None:
    file = tmp_path / "timestamps.csv"
    file.write_text("camera,frame,time_ns\n" + "\n".join(rows) + "\n")
    with pytest.raises(InputError, match=says):
        read_timestamps(file)


def test_tables_as_spreadsheets_write_them_are_read(tmp_path: Path) -> None:
    file = tmp_path / "timestamps.csv"
    file.write_bytes(b"\xef\xbb\xbftime_ns, frame,camera\r\n 5,0,c00\r\n\r\n,,\r\n7 ,2, c00\r\n")
    assert read_timestamps(file)["c00"].tolist() == [5, NO_TIME, 7]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"camera,frame,time_ns\nc00,-1,0\n", "frame is '-1'"),
        (b"camera,frame,time_ns\nc00,0,-4\n", "time_ns is '-4'"),
        (b"camera,frame,time_ns\nc00,1e3,0\n", "frame is '1e3'"),
        (b"camera,frame,time_ns\nc00,1099511627776,0\n", "frame is '1099511627776'"),
        (b"camera,frame,time_ns\nc00,0,1" + b"0" * 30 + b"\n", "time_ns is"),
        (b"camera,frame,time_ns\nc00,0," + b"9" * 100_000 + b"\n", "line 2: time_ns is"),
        (b"camera,frame,time_ns\nc00,0,nan\n", "time_ns is 'nan'"),
        ("camera,frame,time_ns\nc00,\u0663,0\n".encode(), "frame is"),
        (b"camera,frame,time_ns\n\x1b[31m,0,0\n", r"camera is '\\x1b\[31m'"),
        (b"camera,frame,time_ns\nc00,0,0,0\n", "4 values, 3 columns"),
        (b"camera,frame\nc00,0\n", "no column 'time_ns'"),
        (b"camera,frame,time\nc00,0,0\n", "unknown column 'time'"),
        (b"camera,frame,frame\n", "2 times"),
        (b"camera,frame,time_ns\n", "no times"),
        (b"", "no column 'camera'"),
        (b"\xff\xfe\x00", "not a table"),
        (b"camera,frame,time_ns\nc00,0,\x00\n", "line 2"),
        (b'camera,frame,time_ns\n"c00,0,0\n' + b"x" * 200_000, "not a table"),
    ],
)
def test_no_time_stamps_are_believed_that_cannot_be(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "timestamps.csv"
    file.write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        read_timestamps(file)
    assert caught.value.message.isprintable() and len(caught.value.message) < 400


def test_a_clock_of_another_hour_is_named() -> None:
    times = {id: stamps(*range(50)) for id in ("c00", "c01", "c02")}
    times["c01"] += 3_600_000_000_000
    with pytest.raises(InputError, match=r"camera c01: .* ahead of the others by 90000\.0 frames \(3600000 ms\)"):
        make_clock(tuple(map(camera, times)), FPS, times)
    clock = make_clock(tuple(map(camera, times)), FPS, times, "offset")
    assert rig_frames(clock, "c01", 50) == list(range(50))


def test_a_clock_that_runs_off_is_named_and_set_right_by_the_offset() -> None:
    kept = [n for n in range(200) if n != 77]
    times = {"c00": stamps(*range(200)), "c01": stamps(*kept), "c02": stamps(*range(200))}
    times["c01"] = times["c01"][0] + np.round((times["c01"] - times["c01"][0]) * 1.01).astype(np.int64)
    with pytest.raises(InputError, match=r"camera c01: its clock runs off by 2\.0 frames \(80 ms\)"):
        make_clock(tuple(map(camera, times)), FPS, times)
    clock = make_clock(tuple(map(camera, times)), FPS, times, "offset")
    assert rig_frames(clock, "c01", len(kept)) == kept
    believed = make_clock(tuple(map(camera, times)), FPS, times, "timestamps")
    assert rig_frames(believed, "c01", len(kept)) != kept


def test_a_wrong_fps_is_not_blamed_on_a_camera() -> None:
    times = {id: stamps(*range(100)) for id in ("c00", "c01")}
    with pytest.raises(InputError, match="they say 25 frames per second") as caught:
        make_clock(tuple(map(camera, times)), 24.0, times)
    assert "fps = 25 " in str(caught.value.hint)


@given(st.sets(st.integers(1, 198), max_size=150), st.integers(0, 8_000_000))
@settings(max_examples=40, deadline=None)
def test_lost_frames_and_jitter_are_no_wrong_clock(lost: set[int], jitter_ns: int) -> None:
    kept = [n for n in range(200) if n not in lost]
    times = {"c00": stamps(*range(200), jitter_ns=jitter_ns), "c01": stamps(*kept, jitter_ns=jitter_ns)}
    assert rig_frames(make_clock((camera("c00"), camera("c01")), FPS, times), "c01", len(kept)) == kept


def test_timecode_in_all_sources_is_a_clock() -> None:
    even = stamps(*range(50), start_ns=0)
    sources = {
        "c00": SourceIndex(50, even, timecode="23:59:59:20"),
        "c01": SourceIndex(50, even, timecode="00:00:00:00"),
        "c02": SourceIndex(50, None, timecode="23:59:59:22"),
    }
    times = times_from_container(sources, FPS)
    clock = make_clock(tuple(map(camera, sources)), FPS, times)
    assert [rig_frames(clock, id, 2) for id in sources] == [[0, 1], [5, 6], [2, 3]]
    with_one_missing = {**sources, "c02": SourceIndex(50, even)}
    assert times_from_container(with_one_missing, FPS) == {}
    with pytest.raises(InputError, match="camera c00: timecode"):
        times_from_container({"c00": SourceIndex(9, timecode="00:00:00:24")}, 24.0)


def test_gaps_of_whole_frames_in_a_file_are_lost_frames() -> None:
    kept = [n for n in range(60) if n not in (20, 21, 40)]
    sources = {
        "c00": SourceIndex(60, stamps(*range(60), start_ns=0)),
        "c01": SourceIndex(57, stamps(*kept, start_ns=7)),
    }
    cameras = (camera("c00", 0), camera("c01", 2))
    clock = make_clock(cameras, FPS, times_from_container(sources, FPS, {"c01": 2}))
    assert rig_frames(clock, "c01", 57) == [n + 2 for n in kept]
    assert times_from_container({"c00": sources["c00"]}, FPS) == {}
    phone = np.cumsum(np.random.default_rng(0).uniform(20, 110, 60) * 1e6).astype(np.int64)
    assert times_from_container({"c00": SourceIndex(60, phone)}, FPS) == {}

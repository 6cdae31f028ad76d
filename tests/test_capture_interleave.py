"""Rig frames from clocks and offsets; the light's phase by looking."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litdome.capture.interleave import find_light_phase, make_clock, read_timestamps
from litdome.capture.recording import CameraSource
from litdome.errors import InputError

FPS = 25.0


def camera(id: str, offset: int | None = None) -> CameraSource:
    return CameraSource(id, Path(id), frame_offset=offset)


def stamps(*frames: int, start_ns: int = 1_700_000_000_000_000_000, jitter_ns: int = 0) -> np.ndarray:
    rng = np.random.default_rng(len(frames))
    return start_ns + np.array(frames, np.int64) * 40_000_000 + rng.integers(-jitter_ns, jitter_ns + 1, len(frames))


def rig_frames(clock, id: str, count: int) -> list[int | None]:
    return [clock.rig_frame(id, n) for n in range(count)]


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
    assert [clock.rig_frame(id, 5) for id in ("c00", "c01", "c02")] == [5, 3, 8]
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


def levels(frames: int, period: int, phase: int, cameras: int = 3, seed: int = 0) -> np.ndarray:
    """Mean luma of a take: constant flat light with slow drift and noise, other light that varies."""
    rng = np.random.default_rng(seed)
    lit = np.where(np.arange(frames) % period == phase, 110.0, rng.uniform(30, 100, frames))
    drift = np.linspace(1, 1.03, frames) * rng.uniform(0.8, 1.2, (cameras, 1))
    return lit * drift * rng.normal(1, 0.002, (cameras, frames))


@pytest.mark.parametrize(("period", "phase"), [(2, 0), (2, 1), (3, 2), (5, 0), (21, 4)])
def test_the_phase_is_found_for_any_period(period: int, phase: int) -> None:
    found = find_light_phase(levels(120, period, phase))
    assert (found.period, found.phase) == (period, phase) and found.confidence > 0.5
    assert np.flatnonzero(found.kind == 1).tolist() == list(range(phase, 120, period))


def test_absent_frames_do_not_matter() -> None:
    mean_luma = levels(60, 2, 1)
    mean_luma[0, 7], mean_luma[:, 20] = np.nan, np.nan
    assert (find_light_phase(mean_luma).period, find_light_phase(mean_luma).phase) == (2, 1)


def test_what_cannot_be_told_is_refused() -> None:
    rng = np.random.default_rng(0)
    always_flat = 110 * rng.normal(1, 0.002, (3, 60))
    one_hdri = np.where(np.arange(60) % 2, 70.0, 110.0) * rng.normal(
        1, 0.002, (3, 60)
    )  # either could be the flat light
    random = rng.uniform(30, 120, (3, 60))
    for mean_luma in (always_flat, one_hdri, random, levels(6, 2, 0)):
        with pytest.raises(InputError, match=r"by looking") as caught:
            find_light_phase(mean_luma)
        assert caught.value.hint == "write lights.csv"

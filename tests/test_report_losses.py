from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from litdome.lighting import LightingSchedule
from litdome.pairs import make_pairs
from litdome.report.losses import clock_time, find_losses, joined, pairs_in_words, runs
from litdome.store.session import Session

CAMERAS = ("c16", "c17")
FPS = 50.0


def write_session(
    path: Path,
    lost: dict[str, list[int]],
    *,
    frames: int = 3700,
    relit_per_flat: int = 1,
    done: tuple[bool, ...] = (True, True),
    block: int | None = None,
) -> Session:
    """A take without pictures: flat, relit, flat, ... from rig frame 0 on, 20 ms apart."""
    kind = np.resize(np.uint8([1] + [2] * relit_per_flat), frames)
    schedule = LightingSchedule(kind, np.where(kind == 2, 0, -1).astype(np.int32), ())
    time_ns = 7_000_000_000 + np.round(np.arange(frames) * 1e9 / FPS).astype(np.int64)
    present = np.ones((len(CAMERAS), frames), bool)
    for camera, missing in lost.items():
        present[CAMERAS.index(camera), missing] = False
    session = Session.new(str(path), {"name": "take"})
    sizes = np.zeros((len(CAMERAS), 2), np.int32)
    session.write_small("rig/size", sizes, ("camera", "axis"), attrs={"camera_ids": list(CAMERAS)})
    session.write_small("schedule/time_ns", time_ns, ("frame",))
    chunk = (1, block or frames)
    session.create("schedule/present", present.shape, bool, ("camera", "frame"), shard=None, chunk=chunk)
    session.array("schedule/present")[...] = present
    for name, values in vars(make_pairs(schedule, time_ns)).items():
        session.write_small(f"pairs/{name}", values, ("pair",))
    session.write_small("steps/ingest/done", np.array(done), ("unit",))
    return session


def words(session: Session) -> list[str]:
    return [str(loss) for loss in find_losses(session)]


def test_a_loss_is_told_as_on_the_stage(tmp_path: Path) -> None:
    session = write_session(tmp_path / "take.zarr", {"c17": [3617, 3618, 3619]})
    assert words(session) == ["c17 lost 3 frames at 00:01:12.340; pairs 1808-1809 absent"]


def test_a_take_without_a_loss_says_nothing(tmp_path: Path) -> None:
    assert words(write_session(tmp_path / "take.zarr", {})) == []


def test_gaps_come_one_by_one_from_the_first_frame_to_the_last(tmp_path: Path) -> None:
    session = write_session(tmp_path / "take.zarr", {"c16": [0, 1, 8, 19], "c17": [3]}, frames=20)
    assert words(session) == [
        "c16 lost 2 frames at 00:00:00.000; pair 0 absent",
        "c16 lost 1 frame at 00:00:00.160; pair 4 absent",
        "c16 lost 1 frame at 00:00:00.380; pair 9 absent",
        "c17 lost 1 frame at 00:00:00.060; pair 1 absent",
    ]


def test_a_lost_flat_frame_takes_all_pairs_that_use_it(tmp_path: Path) -> None:
    session = write_session(tmp_path / "take.zarr", {"c17": [21]}, frames=63, relit_per_flat=20)
    assert words(session) == ["c17 lost 1 frame at 00:00:00.420; pairs 20-39 absent"]


def test_pairs_that_are_not_neighbours_are_named_apart(tmp_path: Path) -> None:
    session = write_session(tmp_path / "take.zarr", {"c17": [20, 21]}, frames=63, relit_per_flat=20)
    assert words(session) == ["c17 lost 2 frames at 00:00:00.400; pairs 19-39 absent"]
    assert pairs_in_words([(3, 5), (9, 10)]) == "pairs 3-4, 9 absent"
    assert pairs_in_words([]) == "no pair absent"


def test_frames_still_to_be_ingested_are_no_loss(tmp_path: Path) -> None:
    lost = {"c16": [1, 9, 17], "c17": list(range(20))}
    half = write_session(
        tmp_path / "half.zarr", lost, frames=20, done=(True, False, False, False, True, False), block=8
    )
    assert words(half) == [
        "c16 lost 1 frame at 00:00:00.020; pair 0 absent",
        "c16 lost 1 frame at 00:00:00.340; pair 8 absent",
    ]
    assert words(write_session(tmp_path / "none.zarr", lost, frames=20, done=(False, False))) == []


@pytest.mark.parametrize(
    ("flags", "expected"), [("", []), ("0110", [(1, 3)]), ("1", [(0, 1)]), ("10011", [(0, 1), (3, 5)]), ("000", [])]
)
def test_runs_are_half_open(flags: str, expected: list[tuple[int, int]]) -> None:
    assert runs(np.array([flag == "1" for flag in flags], bool)) == expected


def test_ranges_join_where_they_touch() -> None:
    assert joined([(5, 7), (1, 3), (3, 4), (9, 9)]) == ((1, 4), (5, 7))


def test_times_carry_over() -> None:
    assert clock_time(0) == "00:00:00.000"
    assert clock_time(59_999_600_000) == "00:01:00.000"
    assert clock_time(3_723_004_000_000) == "01:02:03.004"

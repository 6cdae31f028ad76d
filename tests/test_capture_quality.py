from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from litdome.capture.looks import GRID, Looks, empty_looks
from litdome.capture.quality import PLACES, camera_quality, dark_lights, sample_places, summarise_quality
from litdome.lighting import HdriEntry, LightingSchedule
from litdome.pairs import make_pairs
from litdome.store.session import Session

CAMERAS = ("c00", "c01", "c02")
ENTRIES = (HdriEntry("night"), HdriEntry("park"), HdriEntry("unused"))
PAIRS = 60


def make_schedule(pairs: int = PAIRS, *, relit_per_flat: int = 1) -> LightingSchedule:
    kind = np.tile(np.uint8([1] + [2] * relit_per_flat), pairs)
    hdri = np.where(kind == 2, (np.arange(len(kind)) // 2) % 2, -1).astype(np.int32)
    return LightingSchedule(kind, hdri, ENTRIES)


def even_looks(schedule: LightingSchedule) -> Looks:
    """Three equal cameras, everything fine."""
    looks = empty_looks(CAMERAS, len(schedule.kind))
    looks.grid[...] = 0.5
    for values, level in ((looks.clipped, 0.001), (looks.black, 0.2), (looks.sharpness, 0.4), (looks.noise, 1.5)):
        values[...] = level
    looks.fingerprint[...] = 7
    return looks


def measure(looks: Looks, schedule: LightingSchedule) -> dict[str, dict[str, object]]:
    frames = np.arange(len(schedule.kind))
    return camera_quality(looks, frames, sample_places(schedule), ["srgb"] * len(looks.cameras))


@pytest.mark.parametrize(("pairs", "relit_per_flat"), [(1, 1), (7, 1), (60, 1), (9000, 1), (40, 20)])
def test_places_spread_over_the_take_and_hold_frames_of_their_kind(pairs: int, relit_per_flat: int) -> None:
    schedule = make_schedule(pairs, relit_per_flat=relit_per_flat)
    places = sample_places(schedule)
    assert len(places.flat) == len(places.relit) == min(pairs, PLACES)
    assert all((schedule.kind[frames] == 1).all() and 0 < len(frames) <= 4 for frames in places.flat)
    assert all((schedule.kind[frames] == 2).all() and 0 < len(frames) <= 4 for frames in places.relit)
    starts = [int(frames[0]) for frames in places.flat]
    assert starts[0] == 0 and starts[-1] >= len(schedule.kind) * (1 - 1.5 / len(starts)) - 1
    assert (np.diff(places.frames) > 0).all()


def test_equal_cameras_are_equal() -> None:
    schedule = make_schedule()
    for found in measure(even_looks(schedule), schedule).values():
        assert (found["exposure_stops"], found["clipped"], found["focus"], found["noise"]) == (0, 0.001, 1, 1.5)


def test_an_underexposed_camera_is_found_in_stops_of_linear_light() -> None:
    schedule = make_schedule()
    looks = even_looks(schedule)
    linear = ((0.5 + 0.055) / 1.055) ** 2.4
    looks.grid[1] = 1.055 * (linear / 4) ** (1 / 2.4) - 0.055
    found = measure(looks, schedule)
    assert found["c01"]["exposure_stops"] == pytest.approx(-2, abs=0.01)  # f2 of the grid
    assert found["c00"]["exposure_stops"] == found["c02"]["exposure_stops"] == 0


def test_focus_is_the_worst_stretch_against_the_first_frames() -> None:
    schedule = make_schedule()
    looks = even_looks(schedule)
    looks.sharpness[2, 100:] = 0.1
    looks.sharpness[1, 60:62] = 0.1  # one soft place: a turned head
    found = measure(looks, schedule)
    assert found["c02"]["focus"] == 0.25 and found["c01"]["focus"] == found["c00"]["focus"] == 1
    series = found["c02"]["series"]
    assert isinstance(series, dict) and series["sharpness"][0] == 0.4 and series["sharpness"][-1] == 0.1


def test_relit_clipping_is_kept_apart_from_flat_clipping() -> None:
    schedule = make_schedule()
    looks = even_looks(schedule)
    looks.clipped[0, schedule.kind == 2] = 0.3
    found = measure(looks, schedule)
    assert (found["c00"]["clipped"], found["c00"]["clipped_relit"]) == (0.001, 0.3)


def test_a_camera_without_pictures_has_no_numbers_and_shifts_no_other() -> None:
    schedule = make_schedule()
    looks = even_looks(schedule)
    for values in (looks.grid, looks.clipped, looks.black, looks.sharpness, looks.noise):
        values[0] = np.nan
    found = measure(looks, schedule)
    assert {found["c00"][name] for name in ("exposure_stops", "clipped", "focus", "noise")} == {None}
    assert found["c01"]["exposure_stops"] == 0 and found["c01"]["noise"] == 1.5


def test_a_light_is_missing_only_where_every_picture_is_black() -> None:
    schedule = make_schedule(4)
    relit = np.flatnonzero(schedule.kind == 2)
    looks = empty_looks(CAMERAS, len(relit))
    looks.grid[...] = 0.004
    assert dark_lights(looks, schedule.hdri[relit], ("night", "park", "unused")) == ["night", "park"]
    looks.grid[1, schedule.hdri[relit] == 0, 3, 2] = 0.05  # a dim light reaches one block of one camera
    looks.grid[2] = np.nan  # a camera that recorded nothing says nothing
    assert dark_lights(looks, schedule.hdri[relit], ("night", "park", "unused")) == ["park"]


def write_session(path: Path, schedule: LightingSchedule, looks: Looks) -> Session:
    session = Session.new(str(path), {"transfer": "srgb"})
    session.write_small("rig/size", np.zeros((3, 2), np.int32), ("camera", "axis"), attrs={"camera_ids": list(CAMERAS)})
    session.write_small("schedule/kind", schedule.kind, ("frame",))
    entries = {"entries": [asdict(entry) for entry in schedule.entries]}
    session.write_small("schedule/hdri", schedule.hdri, ("frame",), attrs=entries)
    for name, values in vars(make_pairs(schedule, np.arange(len(schedule.kind)) * 40_000_000)).items():
        session.write_small(f"pairs/{name}", values, ("pair",))
    for name in ("grid", "clipped", "black", "sharpness", "noise", "fingerprint"):
        values = getattr(looks, name)
        session.write_small(f"looks/{name}", values, ("camera", "frame", "row", "column")[: values.ndim])
    return session


def test_a_session_is_summarised_from_its_arrays(tmp_path: Path) -> None:
    schedule = make_schedule()
    looks = even_looks(schedule)
    looks.noise[1] = 4.5
    looks.grid[:, schedule.hdri == 0] = 0.0
    found = summarise_quality(write_session(tmp_path / "take.zarr", schedule, looks))
    assert found["dark_lights"] == ["night"] and found["unpaired_lights"] == ["unused"]
    assert list(found["cameras"]) == list(CAMERAS) and found["cameras"]["c01"]["noise"] == 4.5
    assert len(found["frames"]) == PLACES and looks.grid.shape[2:] == GRID


def test_without_a_schedule_no_light_is_missing(tmp_path: Path) -> None:
    kind = make_schedule().kind
    schedule = LightingSchedule(kind, np.full(len(kind), -1, np.int32), ())
    looks = even_looks(schedule)
    looks.grid[:, kind == 2] = 0.0
    found = summarise_quality(write_session(tmp_path / "take.zarr", schedule, looks))
    assert (found["lights"], found["dark_lights"], found["unpaired_lights"]) == (0, [], [])

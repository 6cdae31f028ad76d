"""Reading recording folders and lighting schedules; errors name what is wrong and what was meant."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from litdome.capture.recording import read_recording, session_attrs
from litdome.capture.schedule import read_lighting
from litdome.errors import ConfigError, InputError


def take(folder: Path, toml: str | None = None, files: tuple[str, ...] = ("cameras/c00.mp4",)) -> Path:
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    if toml is not None:
        (folder / "recording.toml").write_text(toml)
    return folder


def test_the_real_recording_reads_as_written(real_walk: Path) -> None:
    recording = read_recording(real_walk)
    assert (recording.name, recording.fps, recording.transfer) == ("real-walk", 60.0, "srgb")
    assert [camera.id for camera in recording.cameras] == ["c01", "c02", "c03", "c04"]
    first, third = recording.cameras[0], recording.cameras[2]
    assert first.calibration_size == (1088, 1920) and first.calibration_fit == "scale" and first.frame_offset is None
    assert third.calibration_size is None and third.source.is_file()
    assert recording.board is not None and (recording.board.columns, recording.board.rows) == (8, 5)
    assert sorted(recording.hdris) == ["autumn_field_puresky_1k", "cobblestone_street_night_1k", "venice_sunset_1k"]
    json.dumps(session_attrs(recording))


def test_without_a_toml_cameras_are_found_by_file_name(tmp_path: Path) -> None:
    files = ("cameras/c10.mp4", "cameras/c02/000000.png", "cameras/notes.txt", "cameras/c01.mov")
    recording = read_recording(take(tmp_path, files=files))
    assert [(camera.id, camera.source.name) for camera in recording.cameras] == [
        ("c01", "c01.mov"),
        ("c02", "c02"),
        ("c10", "c10.mp4"),
    ]
    assert recording.fps is None and recording.schedule is None and recording.name == tmp_path.name


def test_exr_footage_is_linear_unless_told_otherwise(tmp_path: Path) -> None:
    assert read_recording(take(tmp_path, files=("cameras/c00/0.exr",))).transfer == "linear"


@pytest.mark.parametrize(
    ("toml", "where", "hint"),
    [
        ("frames_per_second = 25", "frames_per_second", "known: board"),
        ("subjekt = 's1'", "subjekt", "did you mean subject?"),
        ("[lights]\nshedule = 'a'", "lights.shedule", "did you mean schedule?"),
        ("[cameras.c00]\nsource = 'a'\nframe_ofset = 1", "cameras.c00.frame_ofset", "did you mean frame_offset?"),
        ("[cameras.c00]\nrole = 'body'", "cameras.c00.source is missing", "add it"),
        ("transfer = 'gamma'", "transfer = 'gamma'", None),
        ("fps = = 3", "not valid TOML", None),
    ],
)
def test_a_wrong_key_is_an_error_with_the_nearest_name(tmp_path: Path, toml: str, where: str, hint: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        read_recording(take(tmp_path, toml))
    assert where in caught.value.message and caught.value.exit_code == 3
    if hint:
        assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    ("files", "toml", "says"),
    [
        ((), None, "no cameras"),
        (("cameras/c00.mp4", "cameras/c00.mov"), None, "both camera c00"),
        (("cameras/c 0.mp4",), None, "c 0"),
        (("cameras/c00.mp4", "hdris/a.hdr", "hdris/a.exr"), None, "both HDRI a"),
        (("cameras/c00.mp4", "hdris/.a.hdr"), None, "'.a'"),
        (("cameras/c00.mp4",), "[lights]\nschedule = 'light.csv'", "light.csv"),
    ],
)
def test_a_contradictory_folder_is_an_input_error(tmp_path: Path, files: tuple, toml: str | None, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        read_recording(take(tmp_path, toml, files))
    assert caught.value.exit_code == 4


def test_a_missing_folder_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such recording"):
        read_recording(tmp_path / "nowhere")


def lights(folder: Path, *rows: str, header: str = "frame,kind,hdri,rotation_deg,gain") -> Path:
    path = folder / "lights.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_distinct_rotations_and_gains_are_entries_sorted_by_name(tmp_path: Path) -> None:
    file = lights(tmp_path, "1,hdri,b,,", "0,flat,,,", "2,hdri,a,90,", "3,hdri,a,90,2", "4,hdri,a,0,1", "5,dark,,,")
    found = read_lighting(file, ["a", "b"]).schedule
    assert [entry.entry for entry in found.entries] == sorted(["b", "a@90", "a@90x2", "a"])
    assert found.kind.tolist() == [1, 2, 2, 2, 2, 0]
    assert [found.entries[i].entry if i >= 0 else "" for i in found.hdri] == ["", "b", "a@90", "a@90x2", "a", ""]


@pytest.mark.parametrize(
    ("rows", "says", "hint"),
    [
        (["0,flat,", "1,hdri,studio_smal"], r"lights.csv line 3: HDRI 'studio_smal'", "did you mean studio_small?"),
        (["0,flta,"], "line 2: unknown kind 'flta'", "did you mean flat?"),
        (["0,flat,", "0,flat,"], "frame 0 is there 2 times", None),
        (["0,flat,", "2,flat,"], "frame 1 is missing", None),
        (["-1,flat,"], "count from 0", None),
        (["x,flat,"], "line 2", None),
        ([], "no frames", None),
    ],
)
def test_a_wrong_line_of_lights_csv_is_named(tmp_path: Path, rows: list, says: str, hint: str | None) -> None:
    with pytest.raises(InputError, match=says) as caught:
        read_lighting(lights(tmp_path, *rows, header="frame,kind,hdri"), ["studio_small", "field"])
    assert hint is None or caught.value.hint == hint


def test_a_real_stages_json_has_its_18_tracking_frames(real_walk: Path) -> None:
    file = real_walk.parent / "lights" / "light_pattern_per_frame.json"
    found = read_lighting(file, [])
    flats = np.flatnonzero(found.schedule.kind == 1)
    assert len(found.schedule.kind) == 349 and len(flats) == 18 and flats[:4].tolist() == [0, 20, 41, 62]
    assert found.pattern[1] == 137 and (found.schedule.kind[found.pattern > 0] == 3).all()
    assert sorted(found.pattern[found.pattern > 0]) == list(range(1, 332))  # 331 LEDs, a permutation

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


def test_the_transfer_is_the_streams_unless_it_is_named(tmp_path: Path) -> None:
    folder = take(tmp_path, files=("cameras/c00/0.exr",))
    assert read_recording(folder).transfer is None
    (folder / "recording.toml").write_text('transfer = "srgb"\n')
    assert read_recording(folder).transfer == "srgb"


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
        (["-1,flat,"], "frame is '-1'", None),
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


CAMERA = '[cameras.c00]\nsource = "cameras/c00.mp4"\n'


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ('[cameras.c00]\nsource = "../../etc/passwd"', "source of camera c00 '../../etc/passwd' leads out of"),
        ('[cameras.c00]\nsource = "/etc/passwd"', "source of camera c00 '/etc/passwd' leads out of"),
        ('[cameras.c00]\nsource = "cameras/../../../x.mp4"', "leads out of"),
        (CAMERA + '[lights]\nschedule = "../lights.csv"', "lighting schedule '../lights.csv' leads out of"),
        ('[cameras."a/b"]\nsource = "cameras/c00.mp4"', "camera name 'a/b'"),
        ('[cameras.""]\nsource = "cameras/c00.mp4"', "camera name ''"),
        ('[cameras."c\\n0"]\nsource = "cameras/c00.mp4"', r"camera name 'c\n0'"),
        ('[cameras."zarr.json"]\nsource = "cameras/c00.mp4"', "camera name 'zarr.json'"),
        (f'[cameras.{"c" * 101}]\nsource = "cameras/c00.mp4"', "100 characters"),
        (CAMERA + '[cameras.C00]\nsource = "cameras/c01.mp4"', "camera names C00 and c00 differ only in case"),
        (CAMERA + '[cameras.c01]\nsource = "cameras/../cameras/c00.mp4"', "cameras c00 and c01 are both"),
        (f'[cameras.c00]\nsource = "{"d" * 300}"', "File name too long"),
    ],
)
def test_a_path_or_name_that_tricks_is_refused_in_one_line(tmp_path: Path, toml: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        read_recording(take(tmp_path / "take", toml, ("cameras/c00.mp4", "cameras/c01.mp4")))
    assert says in caught.value.message and caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("fps = inf", "fps = inf"),
        ("fps = nan", "fps = nan"),
        ("fps = 1e9", "less than or equal to 10000"),
        ("fps = -25", "fps = -25"),
        ("fps = true", "fps = True"),
        ('fps = "25"', "fps = '25'"),
        ("exposure_ev = inf", "exposure_ev"),
        ('name = "take\\u0000"', "cannot be printed"),
        ('name = "take\\n02"', "cannot be printed"),
        ('name = "gnp.\\u202eekat"', "cannot be printed"),
        ('subject = "../s03"', "slash"),
        ('[cameras.c00]\nsource = "cameras/c00.mp4\\u0007"', "cannot be printed"),
        (CAMERA + f"frame_offset = {10**30}", "frame_offset"),
        (CAMERA + "frame_offset = true", "frame_offset"),
        (CAMERA + "calibration_size = [0, 1920]", "calibration_size"),
        (CAMERA + "exposure_ms = -1", "exposure_ms"),
        (f"fps = {'9' * 5000}", "not valid TOML"),
        ("a = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        (".".join("a" * 3000) + " = 1", "unknown key a"),
        ("\ufeff\ufefffps = 25", "not valid TOML"),
    ],
)
def test_an_absurd_value_is_refused_in_one_line(tmp_path: Path, toml: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_recording(take(tmp_path, toml))
    message = caught.value.message
    assert says in message and message.isprintable() and len(message) < 500 and caught.value.exit_code == 3


def test_a_file_that_is_no_text_or_far_too_long_is_refused(tmp_path: Path) -> None:
    folder = take(tmp_path)
    (folder / "recording.toml").write_bytes(b'name = "\xff\xfe"')
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_recording(folder)
    with (folder / "recording.toml").open("wb") as stream:
        stream.truncate(10**8)
    with pytest.raises(ConfigError, match="100,000,000 bytes, at most 1,000,000"):
        read_recording(folder)
    text = "".join(f"[cameras.c{n}]\nsource='{n}'\n" for n in range(2000))
    with pytest.raises(ConfigError, match=r"cameras = .*1000"):
        read_recording(take(folder, text))
    (folder / "recording.toml").unlink()
    (folder / "recording.toml").mkdir()
    with pytest.raises(InputError, match="not a file"):
        read_recording(folder)


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    folder = take(tmp_path)
    (folder / "recording.toml").write_bytes(b"\xef\xbb\xbfname = 'a'\r\nfps = 24\r\n")
    assert (read_recording(folder).name, read_recording(folder).fps) == ("a", 24.0)


@pytest.mark.parametrize(
    "name",
    [
        "cameras/c01.mp4",
        "cameras/c02/000001.png",
        "hdris/a.exr",
        "background/c00.png",
        "boards/intrinsic/c00.mp4",
        "timestamps.csv",
        "lights.csv",
        "recording.toml",
    ],
)
def test_a_link_out_of_the_folder_is_refused_and_one_inside_is_followed(tmp_path: Path, name: str) -> None:
    folder = take(tmp_path / "take", files=("cameras/c00.mp4", "cameras/c02/000000.png", "spare/file"))
    outside = tmp_path / "secret"
    outside.write_text("")
    link = folder / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside)
    with pytest.raises(InputError, match=f"{name}' leads out of the recording folder"):
        read_recording(folder)
    link.unlink()
    link.symlink_to(folder / "spare/file")
    read_recording(folder)
    (folder / "spare/file").unlink()
    if name != "recording.toml":
        with pytest.raises(InputError, match="leads to nothing"):
            read_recording(folder)


def test_links_of_whole_folders_and_in_circles(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/000000.png").write_bytes(b"")
    folder = take(tmp_path / "take", files=("cameras/c00.mp4", "raw/c01/000000.png"))
    (folder / "cameras/c01").symlink_to(folder / "raw/c01")
    (tmp_path / "take-link").symlink_to(folder)
    assert [camera.id for camera in read_recording(tmp_path / "take-link").cameras] == ["c00", "c01"]
    deep = folder / "raw/c01/000001.png"  # the folder is inside, what lies in it is not
    deep.symlink_to(tmp_path / "other/000000.png")
    with pytest.raises(InputError, match="leads out of"):
        read_recording(folder)
    deep.unlink()
    (folder / "cameras/c02").symlink_to(folder / "cameras/c03")
    (folder / "cameras/c03").symlink_to(folder / "cameras/c02")
    with pytest.raises(InputError, match="c02"):
        read_recording(folder)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (("cameras/c00.mp4", "cameras/C00.mp4"), "differ only in case"),
        (("cameras/c00.mp4", "hdris/a.exr", "hdris/A.hdr"), "differ only in case"),
        (("cameras/c00.mp4", "cameras/c01/notes.txt"), "c01: no pictures in it"),
        (("cameras/c00.mp4", "cameras/c\n1.mp4"), r"camera name 'c\n1'"),
        (("cameras/c00.mp4", "hdris/\u202ea.exr"), r"HDRI name '\u202ea'"),
        (("cameras/c00.mp4", "background/c00.png", "background/c00.jpg"), "both the plate of c00"),
        (("cameras/c00.mp4", "timestamps.csv/x"), "not a file"),
    ],
)
def test_files_that_contradict_each_other_are_refused(tmp_path: Path, files: tuple[str, ...], says: str) -> None:
    with pytest.raises(InputError) as caught:
        read_recording(take(tmp_path, files=files))
    assert says in caught.value.message and caught.value.message.isprintable()


def test_a_take_without_a_name_has_that_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(take(tmp_path / "take02"))
    assert read_recording(Path()).name == "take02"
    odd = take(tmp_path / "take\x1b[31m")
    with pytest.raises(InputError, match="cannot be printed") as caught:
        read_recording(odd)
    assert caught.value.message.isprintable() and "take\\x1b[31m" in caught.value.message
    assert read_recording(take(odd, "name = 'take02'")).name == "take02"


def test_how_a_camera_was_set_is_kept(tmp_path: Path) -> None:
    settings = (
        'exposure_ms = 8\ngain_db = 3.5\niso = 800\nwhite_balance_k = 5600\nfocal_mm = 35\nlens = "Otus 1.4/55"\n'
    )
    toml = CAMERA + settings + '[cameras.c01]\nsource = "cameras/c01.mp4"\n'
    first, second = read_recording(take(tmp_path, toml)).cameras
    assert first.capture.model_dump(exclude_none=True) == {
        "exposure_ms": 8.0,
        "gain_db": 3.5,
        "iso": 800.0,
        "white_balance_k": 5600.0,
        "focal_mm": 35.0,
        "lens": "Otus 1.4/55",
    }
    assert second.capture.model_dump(exclude_none=True) == {}

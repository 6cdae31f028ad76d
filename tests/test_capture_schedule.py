"""Lighting schedules from lights.csv, lights json and pylightstage sequences; what cannot be is refused by name."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cbor2
import numpy as np
import pytest
from conftest import DATA, need
from numcodecs.zstd import compress

from litdome.capture.schedule import read_lighting
from litdome.capture.sequences import LARGEST_BYTES
from litdome.errors import InputError, MissingPackageError
from litdome.lighting import KIND_CODES

FLAT, DARK, PATTERN = KIND_CODES["flat"], KIND_CODES["dark"], KIND_CODES["pattern"]
OFF, ON, RED = [0, 0, 0], [40_000, 40_000, 40_000], [9_000, 0, 0]


def stage_frame(white: list[int], colour: list[int], *, one: list[int] | None = None) -> dict[str, object]:
    """A stage of 2 arcs with 3 lights; ``one``: what the first coloured fixture shows instead."""
    grid = [[list(colour) for _ in range(3)] for _ in range(2)]
    grid[0][0] = list(one or colour)
    return {"white_fixtures": [[list(white) for _ in range(3)] for _ in range(2)], "rgb_fixtures": grid}


def sequence(*frames: object, rate: object = 25.0) -> bytes:
    return cbor2.dumps({"name": "take", "capture_hz": rate, "frames": list(frames)})


def write(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_spreadsheet_s_file_reads_as_a_plain_one(tmp_path: Path) -> None:
    plain = write(tmp_path, "a.csv", "frame,kind,hdri,gain\n0,flat,,\n1,hdri,sky,0.5\n2,pattern,7,\n3,dark,,\n")
    odd = write(
        tmp_path,
        "b.csv",
        b"\xef\xbb\xbf gain,kind ,frame,hdri\r\n,dark,3,\r\n\r\n0.5,hdri,1, sky\r\n,flat,0\r\n,pattern,2,7\r\n,,,\r\n",
    )
    for file in (plain, odd):
        lighting = read_lighting(file, ["sky"])
        assert lighting.schedule.kind.tolist() == [1, 2, 3, 0] and lighting.schedule.hdri.tolist() == [-1, 0, -1, -1]
        assert lighting.pattern.tolist() == [-1, -1, 7, -1] and lighting.schedule.entries[0].gain == 0.5


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("frame,kind\n-1,flat\n", "line 2: frame is '-1'"),
        ("frame,kind\n0,flat\n1099511627776,flat\n", "line 3: frame is '1099511627776'"),
        ("frame,kind\n0.0,flat\n", "frame is '0.0'"),
        ("frame,kind\n0,flat\n0,flat\n", "frame 0 is there 2 times"),
        ("frame,kind\n0,flat\n9999999,flat\n", "frame 1 is missing"),
        ("frame,kind\n0,flta\n", "unknown kind 'flta'"),
        ("frame,kind\n0,\x1b[2J\n", r"unknown kind '\\x1b\[2J'"),
        ("frame,kind,hdri,gain\n0,hdri,sky,nan\n", "gain is 'nan'"),
        ("frame,kind,hdri,gain\n0,hdri,sky,-1\n", "gain -1"),
        ("frame,kind,hdri,rotation_deg\n0,hdri,sky,inf\n", "rotation_deg is 'inf'"),
        ("frame,kind,hdri\n0,hdri,skj\n", "HDRI 'skj'"),
        ("frame,kind,hdri\n0,pattern,99999999999\n", "pattern is"),
        ("frame\n0\n", "no column 'kind'"),
        ("frame,kind\n", "no frames"),
        ("", "no column 'frame'"),
    ],
)
def test_a_wrong_lights_csv_is_refused_in_one_line(tmp_path: Path, content: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        read_lighting(write(tmp_path, "lights.csv", content), ["sky"])
    assert caught.value.message.isprintable()


def test_the_real_stage_is_flat_one_frame_in_21() -> None:
    lighting = read_lighting(need(DATA / "lights" / "light_pattern_per_frame.json"), ())
    flats = np.flatnonzero(lighting.schedule.kind == FLAT)
    assert len(flats) == 18 and flats[:3].tolist() == [0, 20, 41] and flats[-1] == 348
    assert sorted(lighting.pattern[lighting.schedule.kind == PATTERN]) == list(range(1, 332))


def test_described_patterns_say_which_one_is_flat(tmp_path: Path) -> None:
    patterns = [{"light_index_durations": [[k, 5.0]]} for k in range(4)]
    patterns.append({"light_index_durations": [[k, 5.0] for k in range(4)]})
    content = {"light_patterns": patterns, "light_pattern_per_frame": [[0, 4], [1, 0], [2.0, 1]]}
    lighting = read_lighting(write(tmp_path, "lights.json", json.dumps(content)), ())
    assert lighting.schedule.kind.tolist() == [FLAT, PATTERN, PATTERN]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[[0, 0], [1, -1]]", "entry 1 .*pattern is '-1'"),
        ("[[0, 0], [1.5, 1]]", "frame is '1.5'"),
        ("[[0, 0], [1, NaN]]", "pattern is 'nan'"),
        ("[[0, true]]", "pattern is 'True'"),
        ("[[1e300, 0]]", "frame is"),
        ("[[0, 0, 0]]", "is not \\[frame, pattern\\]"),
        ("{}", "no list"),
        ("[" * 100_000, "not JSON"),
        ("[[0", "not JSON"),
        ("[]", "no frames"),
    ],
)
def test_a_wrong_lights_json_is_refused(tmp_path: Path, content: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_lighting(write(tmp_path, "lights.json", content), ())


@pytest.mark.parametrize("name", ["lights.cbor", "lights.cbor.zst"])
def test_a_sequence_tells_flat_dark_and_patterns_and_keeps_the_drive(tmp_path: Path, name: str) -> None:
    olat, other = stage_frame(OFF, OFF, one=RED), stage_frame(OFF, RED)
    payload = sequence(stage_frame(ON, OFF), olat, stage_frame(OFF, OFF), other, stage_frame(ON, OFF), olat)
    lighting = read_lighting(write(tmp_path, name, compress(payload) if name.endswith("zst") else payload), ())
    assert lighting.schedule.kind.tolist() == [FLAT, PATTERN, DARK, PATTERN, FLAT, PATTERN]
    assert lighting.pattern.tolist() == [-1, 0, -1, 1, -1, 0] and lighting.fps == 25
    assert lighting.drive is not None and lighting.drive.shape == (6, 12, 3) and lighting.drive.dtype == np.uint16
    assert lighting.drive[1, 6].tolist() == RED and lighting.drive[1].sum() == 9_000
    assert (lighting.schedule.hdri == -1).all()


def test_an_even_colour_is_no_flat_light_and_the_commonest_white_is(tmp_path: Path) -> None:
    dim = stage_frame([5_000] * 3, OFF)
    file = write(tmp_path, "a.cbor", sequence(stage_frame(OFF, RED), stage_frame(OFF, ON), dim, dim))
    assert read_lighting(file, ()).schedule.kind.tolist() == [PATTERN, PATTERN, FLAT, FLAT]


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"", "not CBOR"),
        (b"\x9f" * 10_000, "not CBOR"),
        (cbor2.dumps([1, 2]), "not a pylightstage sequence"),
        (sequence(), "no frames"),
        (sequence(stage_frame(ON, OFF), rate=float("nan")), "capture_hz is 'nan'"),
        (sequence(stage_frame(ON, OFF), rate=0), "capture_hz is '0'"),
        (sequence(stage_frame([0, 0, 70_000], OFF)), "frame 0: white_fixtures holds"),
        (sequence(stage_frame([0, 0, -1], OFF)), "frame 0: white_fixtures holds"),
        (sequence(stage_frame([0, 0, 1.5], OFF)), "frame 0: white_fixtures holds"),
        (sequence(stage_frame(ON, OFF), {"white_fixtures": [[ON]]}), "frame 1 drives other fixtures"),
        (sequence(stage_frame(ON, OFF), 7), "frame 1: white_fixtures is not a list"),
    ],
)
def test_a_wrong_sequence_is_refused(tmp_path: Path, payload: bytes, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_lighting(write(tmp_path, "lights.cbor", payload), ())


def test_a_packed_sequence_that_would_fill_the_memory_is_not_unpacked(tmp_path: Path) -> None:
    packed = bytearray(compress(bytes(70_000)))
    assert packed[4] >> 6 == 2  # four bytes of size follow
    start = 5 + (not packed[4] & 0x20)
    packed[start : start + 4] = (LARGEST_BYTES + 1).to_bytes(4, "little")
    with pytest.raises(InputError, match="unpacked, at most"):
        read_lighting(write(tmp_path, "lights.cbor.zst", bytes(packed)), ())
    with pytest.raises(InputError, match=r"not zstd|not CBOR"):
        read_lighting(write(tmp_path, "cut.cbor.zst", compress(sequence(stage_frame(ON, OFF)))[:40]), ())


def test_a_missing_cbor2_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path, "lights.cbor", sequence(stage_frame(ON, OFF)))
    monkeypatch.setitem(sys.modules, "cbor2", None)
    with pytest.raises(MissingPackageError, match="cbor2") as caught:
        read_lighting(file, ())
    assert caught.value.hint == "pip install 'litdome[interchange]'"

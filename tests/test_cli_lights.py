from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from litdome.calib.leds.drive_files import read_drives
from litdome.cli import run
from litdome.lighting import latlong_directions
from litdome.lighting.led_set import led_set, leds_as_json
from litdome.media.hdr import read_hdr, write_hdr
from litdome.synth.led_dome import ring_dome

PHOTO_SIDE = 121


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("lights.json").write_text(json.dumps(leds_as_json(led_set(ring_dome(150)))))
    up = latlong_directions(32, 64)[..., 1:2]
    sky = np.where(up > 0, [0.3, 0.5, 0.9], [0.2, 0.2, 0.1]).astype(np.float32)
    write_hdr(Path("sky.exr"), sky)
    sky[10, 12] = 500
    write_hdr(Path("sun.exr"), sky)
    readings = [f"white,{light},{','.join(map(str, rgb))}" for light, rgb in CHANNELS.items()]
    Path("chart.csv").write_text("patch,light,r,g,b\n" + "\n".join(readings) + "\n")
    return tmp_path


CHANNELS = {"red": (0.9, 0.1, 0.02), "green": (0.1, 0.8, 0.1), "blue": (0.02, 0.1, 0.9), "white": (0.8, 0.9, 0.8)}


def test_drives_are_told_and_written(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (
        "lights drive sky.exr sun.exr --leds lights.json --rotation 0 --rotation 90 -o drive.json --without 3,10-12"
    )
    assert run(arguments.split()) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()[1:5]] == ["sky", "sky@90", "sun", "sun@90"]
    assert "146 LEDs" in out and out.splitlines()[-1] == "drive.json"
    table = read_drives(Path("drive.json"))
    assert table.names == ("flat", "sky", "sky@90", "sun", "sun@90")
    assert not table.codes[:, [3, 10, 11, 12]].any() and table.codes[3:].max() == 65535
    sky, turned = (table.intensity(n) for n in (1, 2))
    np.testing.assert_allclose(sky.sum(axis=0), turned.sum(axis=0), rtol=0.02)


def test_a_dome_that_covers_no_normal_has_no_error_there(capsys: pytest.CaptureFixture[str]) -> None:
    wall = led_set(ring_dome(12, lowest_deg=60.0), centre_m=np.zeros(3))
    Path("wall.json").write_text(json.dumps(leds_as_json(wall)))
    assert run(["lights", "drive", "sun.exr", "--leds", "wall.json"]) == 0
    captured = capsys.readouterr()
    numbers = captured.out.splitlines()[1].split()
    assert "cover no normal" in captured.err
    assert numbers[1:3] == ["-", "-"] and float(numbers[3]) > 10


def test_codes_too_few_for_a_dim_map_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lights", "drive", "sky.exr", "--leds", "lights.json"]) == 0
    assert not capsys.readouterr().err
    assert run(["lights", "drive", "sky.exr", "--leds", "lights.json", "--gain", "0.001"]) == 0
    assert "sky: its brightest LED gets" in capsys.readouterr().err


def test_four_channels_are_mixed(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "lights drive sun.exr --leds lights.json --mix chart.csv -o drive.cbor --gain each"
    assert run(arguments.split()) == 0
    assert "out of gamut %" in capsys.readouterr().out and Path("drive.cbor").stat().st_size > 1000
    assert run(["lights", "mix", "chart.csv"]) == 0
    out = capsys.readouterr().out
    assert "red green blue white" in out and "only the neutral patch" in out


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("lights drive none.exr --leds lights.json", 4, "none.exr: no such file"),
        ("lights drive sky.exr --leds none.json", 6, "none.json: cannot be read"),
        ("lights drive sky.exr sky.exr --leds lights.json", 2, "sky: given twice"),
        ("lights drive sky.exr --leds lights.json --without 900", 6, "LED 900"),
        ("lights drive sky.exr --leds lights.json --without a", 2, "--without a"),
        ("lights drive sky.exr --leds lights.json --gain much", 2, "--gain much"),
        ("lights drive sky.exr --leds lights.json --gain 0", 2, "above 0"),
        ("lights drive sky.exr --leds lights.json --gain nan", 2, "above 0"),
        ("lights drive sky.exr --leds lights.json --rotation nan", 2, "--rotation"),
        ("lights drive sky.exr --leds lights.json --fps nan -o new.json", 2, "--fps nan"),
        ("lights drive sky.exr --leds lights.json --fps 0 -o new.json", 2, "--fps 0"),
        ("lights drive sky.exr --leds lights.json --without 5-3", 2, "--without 5-3"),
        ("lights drive sky.exr --leds lights.json --without 0-999999999", 2, "--without 0-"),
        ("lights drive sky.exr --leds lights.json -o none/new.json", 2, "no such folder none"),
        ("lights ball sun.exr -o none/ball.exr --ball 32,16,10", 2, "no such folder none"),
        ("lights chart red=sun.exr -o none/c.csv", 2, "no such folder none"),
        ("lights drive sky.exr --leds lights.json --axes z-up", 6, "says y-up, not z-up"),
        ("lights drive sky.exr --leds lights.json -o drive.txt", 2, ".json or .cbor"),
        ("lights drive sky.exr --leds lights.json -o lights.json", 2, "exists already"),
        ("lights drive sky.exr --leds chart.csv", 6, "not JSON"),
        ("lights drive tiny.exr --leds lights.json", 4, "8x4"),
        ("lights drive sky.exr --leds lights.json --mix lights.json", 6, "columns"),
        ("lights mix chart.csv --neutral grey", 6, "no patch grey"),
        ("lights chart red -o c.csv", 2, "expected LIGHT=PHOTO"),
        ("lights ball sky.exr -o ball.exr --ball 20,16,30", 6, "reaches out"),
        ("lights ball sky.exr -o ball.exr --ball 20,16", 2, "expected 3 numbers"),
        ("lights ball sky.exr sun.exr -o ball.exr", 2, "where their cameras look"),
        ("lights ball sky.exr -o sky.exr", 2, "exists already"),
        ("lights ball sky.exr -o ball.png --ball 32,16,10", 2, ".exr only"),
        ("lights ball sky.exr -o ball.exr", 6, "sky.exr: no mirror ball"),
        ("lights ball nan.exr -o ball.exr", 6, "nan.exr: the picture holds NaN"),
        ("lights ball sky.exr -o ball.exr --focal 0", 2, "--focal 0"),
        ("lights ball sky.exr -o ball.exr --focal nan", 2, "--focal nan"),
        ("lights ball sky.exr -o ball.exr --reflectivity 1e-300 --ball 32,32,25", 6, "0.01 to 1"),
        ("lights convert tiny.exr -o new.exr --from physical --to openexr", 4, "8x4"),
        ("lights convert sky.exr -o sun.exr --from physical --to openexr", 2, "exists already"),
        ("lights convert sky.exr -o none/new.exr --from physical --to openexr", 2, "no such folder none"),
        ("lights convert sky.exr -o new.hdr --from physical --to openexr", 2, ".exr only"),
        ("lights effective none.zarr --leds lights.json", 5, "none.zarr"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    command: str, code: int, said: str, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    write_hdr(Path("tiny.exr"), np.ones((4, 8, 3), np.float32))
    write_hdr(Path("nan.exr"), np.full((64, 64, 3), np.nan, np.float32))
    before = sorted(path.name for path in folder.iterdir())
    assert run(command.split()) == code
    captured = capsys.readouterr()
    assert said in captured.err and len(captured.err.splitlines()) == 1
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_map_is_brought_into_another_convention_and_what_was_mended_is_said(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    broken = read_hdr(Path("sky.exr")).copy()
    broken[4, 5] = np.nan
    write_hdr(Path("broken.exr"), broken)
    assert run(["lights", "convert", "broken.exr", "-o", "turned.exr", "--from", "physical", "--to", "openexr"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "turned.exr\n" and captured.err == "litdome: broken.exr: 1 NaN texels set to 0\n"
    broken[4, 5] = 0
    np.testing.assert_array_equal(read_hdr(Path("turned.exr")), np.roll(broken, 32, axis=1))


def test_a_ball_becomes_a_map(capsys: pytest.CaptureFixture[str]) -> None:
    y, x = np.mgrid[:PHOTO_SIDE, :PHOTO_SIDE]
    photo = np.zeros((PHOTO_SIDE, PHOTO_SIDE, 3), np.float32)
    photo[np.hypot(x - 60, y - 60) < 55] = 0.5
    photo[45:50, 73:78] = 40  # up and to the right on the ball
    write_hdr(Path("photo.exr"), photo)
    arguments = "lights ball photo.exr -o room.exr --ball 60,60,55 --height 64 --look 0,0"
    assert run(arguments.split()) == 0
    assert "unseen, and black" in capsys.readouterr().out
    room = read_hdr(Path("room.exr"))
    brightest = latlong_directions(64, 128)[np.unravel_index(room[..., 0].argmax(), (64, 128))]
    assert brightest[0] > 0.3 and brightest[1] > 0.2 and brightest[2] > 0  # right, above, behind the camera

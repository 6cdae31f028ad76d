from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from litdome.calib.leds.drive_files import drive_table, pattern_of, read_drives, write_drives
from litdome.calib.leds.mixing import mix_chart
from litdome.capture.schedule import read_lighting
from litdome.capture.sequences import read_sequence
from litdome.errors import CalibrationError, UsageError
from litdome.lighting import KIND_CODES
from litdome.lighting.led_set import LedSet, led_set, read_leds
from litdome.synth.led_dome import ring_dome

RNG = np.random.default_rng(3)
INTENSITIES = {"day": RNG.uniform(0, 2, (60, 3)), "night@90": RNG.uniform(0, 0.02, (60, 3))}


def stage() -> LedSet:
    return led_set(ring_dome(60), arcs=(20, 40))


def rgbaw() -> object:
    response = np.eye(3)[None, :, :].repeat(2, axis=0)
    more = np.array([[0.8, 0.5, 0.1], [0.9, 1.0, 0.9]]).T[None].repeat(2, axis=0)
    channels = ("red", "green", "blue", "amber", "white")
    return mix_chart(channels, ("white", "skin"), np.concatenate([response, more], axis=2))


def test_the_brightest_led_is_at_full_drive_and_maps_keep_their_brightness() -> None:
    table, mixtures = drive_table(INTENSITIES, stage())
    assert table.names == ("flat", "day", "night@90") and not mixtures
    assert table.codes[1].max() == 65535 and table.codes[2].max() < 700
    for pattern, wanted in enumerate(INTENSITIES.values(), start=1):
        np.testing.assert_allclose(table.intensity(pattern), wanted, atol=1.01 / 65535)  # half a code of 2 / 65535
    each, _ = drive_table(INTENSITIES, stage(), gain="each")
    assert each.codes[2].max() == 65535
    np.testing.assert_allclose(each.intensity(2), INTENSITIES["night@90"], atol=0.011 / 65535)


def test_a_given_gain_clips_and_says_how_much() -> None:
    table, _ = drive_table({"day": np.full((60, 3), 2.0)}, stage(), gain=1.0)
    assert table.clipped[1] == pytest.approx(0.5) and (table.codes[1] == 65535).all()
    assert drive_table(INTENSITIES, stage())[0].clipped.tolist() == [0, 0, 0]
    with pytest.raises(CalibrationError, match="gain 0: must be above 0"):
        drive_table(INTENSITIES, stage(), gain=0.0)


def test_mixed_channels_give_the_same_light() -> None:
    table, mixtures = drive_table(INTENSITIES, stage(), mix=rgbaw())  # type: ignore[arg-type]
    assert table.codes.shape == (3, 60, 5) and list(mixtures) == ["day", "night@90"]
    np.testing.assert_allclose(table.intensity(1), INTENSITIES["day"], atol=1e-4)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("dark", [(), (7, 30)])
@pytest.mark.parametrize("suffix", [".json", ".cbor"])
def test_ingest_reads_the_schedule_that_was_written(
    tmp_path: Path, mixed: bool, dark: tuple[int, ...], suffix: str
) -> None:
    leds = stage().without(dark)
    lit = {name: rgb * leds.valid[:, None] for name, rgb in INTENSITIES.items()}
    table, _ = drive_table(lit, leds, mix=rgbaw() if mixed else None, fps=30.0)  # type: ignore[arg-type]
    path = tmp_path / f"drive{suffix}"
    write_drives(path, table, leds)
    found = read_lighting(path, ())
    flat, pattern = KIND_CODES["flat"], KIND_CODES["pattern"]
    assert found.schedule.kind.tolist() == [flat, pattern, flat, pattern, flat]
    numbers = found.pattern[found.schedule.kind == pattern].tolist()
    assert numbers == ([1, 2] if suffix == ".json" else [0, 1])  # a sequence has no numbers: by first frame
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_sequence_drives_what_the_table_says_arc_by_arc(tmp_path: Path) -> None:
    table, _ = drive_table(INTENSITIES, stage(), mix=rgbaw())  # type: ignore[arg-type]
    write_drives(tmp_path / "drive.cbor", table, stage())
    found = read_sequence(tmp_path / "drive.cbor")
    assert found.fps == 25.0 and found.drive.shape == (5, 120, 3)
    np.testing.assert_array_equal(found.drive[1, :60, :2], table.codes[1, :, 3:])  # amber and white, before coloured
    np.testing.assert_array_equal(found.drive[1, 60:], table.codes[1, :, :3])
    assert not found.drive[..., :60, 2].any()


def test_a_json_is_read_back_as_it_was(tmp_path: Path) -> None:
    path, leds = tmp_path / "drive.json", stage().without([3])
    table, _ = drive_table(INTENSITIES, leds, mix=rgbaw())  # type: ignore[arg-type]
    write_drives(path, table, leds)
    found = read_drives(path)
    for field in ("names", "channels", "fps"):
        assert getattr(found, field) == getattr(table, field)
    for field in ("codes", "gains", "channel_rgb", "order", "clipped"):
        np.testing.assert_array_equal(getattr(found, field), getattr(table, field))
    again = read_leds(path)
    assert not again.valid[3] and again.arcs == (20, 40)
    assert pattern_of(found, "night@90", path) == 2
    with pytest.raises(CalibrationError, match="no drive of nigth") as caught:
        pattern_of(found, "nigth@90", path)
    assert "night@90" in str(caught.value.hint)


def test_nothing_is_overwritten_and_other_suffixes_are_refused(tmp_path: Path) -> None:
    table, _ = drive_table(INTENSITIES, stage())
    path = tmp_path / "drive.json"
    path.write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        write_drives(path, table, stage())
    with pytest.raises(UsageError, match=r"\.json or \.cbor"):
        write_drives(tmp_path / "drive.txt", table, stage())
    assert path.read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("broken", ["channels", "light_patterns", "fps"])
def test_a_lights_json_without_drives_is_no_drive_file(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "drive.json"
    write_drives(path, drive_table(INTENSITIES, stage())[0], stage())
    content = json.loads(path.read_text())
    del content[broken]
    path.write_text(json.dumps(content))
    with pytest.raises(CalibrationError, match="no drive file"):
        read_drives(path)

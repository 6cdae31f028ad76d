"""What the pixels say against what a schedule says: shifts, lost and repeated pictures, silence where they cannot."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from stage_looks import DARK, FLAT, film_looks, interleaved

from litdome.capture.light_check import estimate_light, without_excursions
from litdome.capture.light_compare import compare, lighting_by_pixels
from litdome.capture.looks import Looks, empty_looks, measure_picture
from litdome.capture.recording import read_recording
from litdome.capture.schedule import StageLighting, read_lighting
from litdome.errors import InputError
from litdome.lighting import KIND_CODES, HdriEntry, LightingSchedule
from litdome.media.images import iter_source, probe_source


def schedule_of(lights: list[int]) -> LightingSchedule:
    names = sorted({light for light in lights if light >= 0})
    words = {FLAT: "flat", DARK: "dark"}
    kind = np.array([KIND_CODES[words.get(light, "hdri")] for light in lights], np.uint8)
    hdri = np.array([names.index(light) if light >= 0 else -1 for light in lights], np.int32)
    return LightingSchedule(kind, hdri, tuple(HdriEntry(f"{name:04d}") for name in names))


def lighting_of(lights: list[int]) -> StageLighting:
    return StageLighting(schedule_of(lights), np.full(len(lights), -1, np.int32))


@pytest.mark.parametrize(("period", "run"), [(2, 1), (2, 3), (3, 1), (3, 3), (21, 1)])
def test_a_true_schedule_is_not_contradicted(period: int, run: int) -> None:
    lights = interleaved(6 * period + 20, period, 1, run=run)
    estimate = estimate_light(film_looks(lights))
    assert estimate.confidence > 0.8 and compare(schedule_of(lights), estimate) is None
    assert json.loads(json.dumps(estimate.summary())) == {
        "period": period,
        "phase": 1,
        "confidence": pytest.approx(estimate.confidence, abs=1e-4),
        "contradicting_frames": [],
        "offsets": {},
        "drops": {},
        "mixed_light": {},
        "duplicates": {},
    }


@pytest.mark.parametrize(("late", "says"), [(1, "1 frame late from frame 0"), (-1, "1 frame early")])
@pytest.mark.parametrize("run", [1, 3])
def test_a_schedule_that_is_off_is_told_by_how_much(late: int, says: str, run: int) -> None:
    lights = interleaved(80, 2, 0, run=run)
    found = compare(schedule_of(np.roll(lights, late).tolist()), estimate_light(film_looks(lights)))
    assert found is not None and found.late is not None and len(found.frames) >= 70
    assert found.certain == (run == 3)  # with another light in each pair, only the flat frames can be told
    if found.certain:
        assert found.late == late and says in found.message("lights.csv")
    else:
        assert found.late % 2


def test_a_schedule_that_slips_in_the_middle_is_told_from_where() -> None:
    lights = interleaved(80, 2, 0, run=2)
    found = compare(schedule_of([*lights[:37], lights[36], *lights[37:-1]]), estimate_light(film_looks(lights)))
    assert found is not None and found.message("lights.csv").startswith("lights.csv is 1 frame late from frame 37 on")


def test_hdris_two_frames_late_are_told_though_the_flat_frames_agree() -> None:
    lights = interleaved(80, 2, 0, run=3)
    found = compare(schedule_of([FLAT, lights[1], *lights[:-2]]), estimate_light(film_looks(lights)))
    assert found is not None and (found.what, found.late) == ("lights", 2)


def test_single_wrong_frames_are_named() -> None:
    lights = interleaved(80, 2, 0)
    said = [*lights[:20], 7, *lights[21:]]
    found = compare(schedule_of(said), estimate_light(film_looks(lights)))
    assert found is not None and (found.frames, found.late) == ((20,), None)
    assert found.message("lights.csv") == "lights.csv and the pictures disagree in 1 frame: 20"


@pytest.mark.parametrize("lights", [[FLAT] * 60, list(range(60)), [FLAT, 5] * 30])
def test_pixels_that_cannot_tell_contradict_nobody(lights: list[int]) -> None:
    estimate = estimate_light(film_looks(lights))
    assert compare(schedule_of(interleaved(60, 2, 1)), estimate) is None
    with pytest.raises(InputError, match="cannot be told by looking") as caught:
        lighting_by_pixels(estimate, None)
    assert caught.value.hint == "write lights.csv"


def test_the_pixels_set_a_schedule_right() -> None:
    lights = interleaved(80, 2, 0, run=3)
    slipped = [*lights[:37], lights[36], *lights[37:-1]]
    right = lighting_by_pixels(estimate_light(film_looks(lights)), lighting_of(slipped))
    true = schedule_of(lights)
    assert right.schedule.kind.tolist() == true.kind.tolist()
    assert right.schedule.hdri[:-1].tolist() == true.hdri[:-1].tolist()


def test_a_dark_frame_is_dark() -> None:
    lights = interleaved(60, 2, 0)
    lights[31] = DARK
    assert estimate_light(film_looks(lights)).kind[31] == KIND_CODES["dark"]


def test_lost_late_and_repeated_pictures_are_told_by_camera() -> None:
    lights = interleaved(80, 2, 0, run=2)
    shown = {0: [n for n in range(80) if n != 41], 1: list(range(3, 80)), 2: [n - (n == 30) for n in range(80)]}
    estimate = estimate_light(film_looks(lights, cameras=4, pictures=shown))
    summary = estimate.summary()
    assert summary["offsets"] == {"c01": 3} and summary["duplicates"] == {"c02": [30]}
    assert list(summary["drops"]) == ["c00"] and summary["drops"]["c00"][0][1] == 1
    assert abs(summary["drops"]["c00"][0][0] - 41) <= 6
    assert compare(schedule_of(lights), estimate) is None  # the rig's light is as said


def test_a_camera_s_mixed_frame_is_no_contradiction() -> None:
    lights = interleaved(80, 2, 0)
    estimate = estimate_light(film_looks(lights, mixed={1: {40: 12}}))
    assert estimate.summary((7,))["mixed_light"] == {"c01": [40]} and compare(schedule_of(lights), estimate) is None


def test_the_real_recording_agrees_with_its_schedule(real_walk: Path) -> None:
    recording = read_recording(real_walk)
    seen = {}
    for camera in recording.cameras:
        probe = probe_source(camera.source)
        pictures = islice(iter_source(camera.source), 40)
        seen[camera.id] = [measure_picture(codes, probe) for codes in pictures]
    looks: Looks = empty_looks(tuple(seen), max(map(len, seen.values())))
    for row, found in enumerate(seen.values()):
        for frame, look in enumerate(found):
            looks.put(row, frame, look)
    estimate = estimate_light(looks)
    assert recording.schedule is not None
    schedule = read_lighting(recording.schedule, recording.hdris).schedule
    schedule = LightingSchedule(schedule.kind[:40], schedule.hdri[:40], schedule.entries)
    assert (estimate.beat.period, estimate.beat.phase) == (2, 0) if estimate.beat else False
    assert estimate.confidence > 0.9 and compare(schedule, estimate) is None
    assert not estimate.offsets and not estimate.mixed.any() and not estimate.duplicates.any()
    swapped = LightingSchedule(np.roll(schedule.kind, 1), np.roll(schedule.hdri, 1), schedule.entries)
    contradiction = compare(swapped, estimate)
    assert contradiction is not None and contradiction.late == 1


def test_a_long_take_is_told_as_exactly_as_a_short_one() -> None:
    frames, lost = 4000, {1: (1300, 3000), 3: (1305, 1306)}
    lights = interleaved(frames, 2, 0, run=2, lights=200)
    shown = {row: [n for n in range(frames) if n not in own] for row, own in lost.items()}
    mixed = {0: {51: 12, 2000: 8, 3990: 14}, 2: {2001: 10}}
    estimate = estimate_light(film_looks(lights, cameras=4, pictures=shown, mixed=mixed))
    assert (estimate.kind == schedule_of(lights).kind).all() and estimate.confidence > 0.99
    told = {row: [at for at, count in estimate.drops[f"c{row:02d}"] for _ in range(count)] for row in range(4)}
    assert [len(told[row]) for row in range(4)] == [0, 2, 0, 2]
    for row, own in lost.items():
        assert np.abs(np.subtract(told[row], own)).max() <= 6
        true = np.array(shown[row]) - np.arange(len(shown[row]))
        sure = estimate.sure[row, : len(true)]
        far = np.abs(np.subtract.outer(np.arange(len(true)), own)).min(axis=1) > 6
        assert (estimate.shift[row, : len(true)] == true)[sure & far].all() and sure.mean() > 0.95
    assert not estimate.shift[[0, 2]].any()
    assert {row: np.flatnonzero(estimate.mixed[row]).tolist() for row in range(4) if estimate.mixed[row].any()} == {
        row: list(at) for row, at in mixed.items()
    }
    assert compare(schedule_of(lights), estimate) is None


def test_what_comes_back_was_not_lost() -> None:
    shift = np.array([0, 0, 2, 2, 0, 0, 1, 1, 3, 1, 1, 0, 1], np.int32)
    assert without_excursions(shift).tolist() == [0] * 6 + [1] * 7
    for steady in ([3, 3, 3], [0, 1, 2, 2], [0, 0, -1], [1, 1, 0, 0]):
        assert without_excursions(np.array(steady, np.int32)).tolist() == steady

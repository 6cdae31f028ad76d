"""Simulated takes with something wrong, through ingest: what is promised of each fault holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from litdome.compute import Threads
from litdome.errors import ConfigError, InputError
from litdome.media.planes import rgb_from_planes
from litdome.pipeline import ingest_recording
from litdome.report.verdict import verdict
from litdome.store.provenance import StageRecord
from litdome.store.session import Session
from litdome.synth import RecordingTruth
from litdome.synth.faults import draw_faults
from litdome.synth.film import Shot, shoot
from litdome.synth.recording import Take, plan_take, write_take

CAMERAS = ("c00", "c01", "c02")
Filmed = tuple[Take, list[tuple[Shot, ...]]]
Store = Callable[..., RecordingTruth]


@pytest.fixture(scope="module")
def alternating() -> Filmed:
    """A take of 19 frames, flat and relit in turn, and its shots."""
    take = plan_take(Path("take"), cameras=3, pairs=9, width=64, height=112, hdris=3, lights=32, seed=1)
    return take, list(shoot(take.film, 1))


@pytest.fixture(scope="module")
def one_in_21() -> Filmed:
    """A take of 90 frames, one flat in 21, under lights of an eighth, and its shots."""
    small = {"width": 48, "height": 80, "lights": 16}
    take = plan_take(Path("take"), cameras=2, pairs=84, interleave=20, hdris=5, hdri_gain=0.125, seed=1, **small)
    return take, list(shoot(take.film, 1))


@pytest.fixture
def store(alternating: Filmed, tmp_path: Path) -> Store:
    return lambda *names: stored(alternating, tmp_path / "take", names)


def stored(filmed: Filmed, folder: Path, names: tuple[str, ...]) -> RecordingTruth:
    """The recording that faults leave of a filmed take."""
    take, shots = filmed
    faults = draw_faults(names, take.truth.rig.ids, len(shots))
    truth = replace(take.truth, folder=folder, faults=faults)
    write_take(folder, replace(take, truth=truth), iter(shots))
    return truth


def ingest(truth: RecordingTruth, **settings: object) -> tuple[Session, StageRecord]:
    url = str(truth.folder.with_suffix(".zarr"))
    record = ingest_recording(truth.folder, url, {"ingest": settings}, executor=Threads(1))
    return Session.open(url), record


def shown_frames(session: Session, camera: str, shots: list[tuple[Shot, ...]]) -> dict[int, int]:
    """By rig frame of a camera's stored pictures: the frame whose shot the picture is nearest to.

    In the dark, the noise of H.264 outweighs what moves in a frame: within a tenth of a code, its own shot counts.
    """
    k, found = CAMERAS.index(camera), {}
    for kind in ("flat", "relit"):
        for n, frame in enumerate(session.frames(kind)):
            if session.is_present(camera, kind, n):
                planes = (
                    np.asarray(session.array(f"cameras/{camera}/{kind}/{plane}")[n]) for plane in ("luma", "chroma")
                )
                picture = rgb_from_planes(*planes, matrix="bt709").astype(int)
                distances = np.array([np.abs(picture - shot[k].rgb).mean() for shot in shots])
                distances[frame] -= 0.1
                found[int(frame)] = int(distances.argmin())
    return found


def need_true_pictures(session: Session, truth: RecordingTruth, filmed: Filmed) -> None:
    """Every stored picture shows the rig frame it stands for, and all that the cameras stored are there."""
    for k, camera in enumerate(session.cameras):
        shown = shown_frames(session, camera, filmed[1])
        assert shown == {frame: frame for frame in truth.stored(k)}, camera


@pytest.mark.parametrize(
    "names", [(), ("drop-frame",), ("late-camera",), ("short-camera",), ("drop-frame", "late-camera")]
)
def test_lost_pictures_are_absent_and_shift_no_pair(store: Store, alternating: Filmed, names: tuple[str, ...]) -> None:
    truth = store(*names)
    session, record = ingest(truth)
    need_true_pictures(session, truth, alternating)
    assert len(session.pairs) == 9 and session.pairs.flat_frame.tolist() == list(range(0, 18, 2))
    present = session.read("schedule/present")
    for k, camera in enumerate(session.cameras):
        absent = np.flatnonzero(~present[k]).tolist()
        assert absent == sorted(set(range(19)) - set(truth.stored(k)))
        assert any(f"camera {camera}" in warning for warning in record.warnings) == bool(absent)


@pytest.mark.parametrize("fault", ["truncated", "missing-camera"])
def test_a_camera_that_is_not_there_is_named_and_can_be_skipped(store: Store, alternating: Filmed, fault: str) -> None:
    truth = store(fault)
    with pytest.raises(InputError, match="camera c02") as caught:
        ingest(truth)
    assert caught.value.exit_code == 4 and "--skip-camera c02" in str(caught.value.hint)
    assert not truth.folder.with_suffix(".zarr").exists()
    session, record = ingest(truth, skip_cameras=["c02"])
    assert session.cameras == ("c00", "c01") and "camera c02: skipped as asked" in record.warnings
    need_true_pictures(session, truth, alternating)


def test_noise_in_a_file_costs_pictures_and_shifts_none(store: Store, alternating: Filmed) -> None:
    session, record = ingest(store("garbled"))
    shown = shown_frames(session, "c02", alternating[1])
    assert all(frame == nearest for frame, nearest in shown.items()) and 0 < len(shown) < 19
    assert any("camera c02" in warning and "cannot be decoded" in warning for warning in record.warnings)


def test_a_clock_that_runs_off_is_named_and_offsets_can_be_trusted(store: Store, alternating: Filmed) -> None:
    truth = store("clock-skew")
    with pytest.raises(InputError, match="camera c01: its clock") as caught:
        ingest(truth)
    assert "--trust offset" in str(caught.value.hint)
    session, _ = ingest(truth, trust="offset")
    need_true_pictures(session, truth, alternating)


def test_a_clock_and_a_schedule_that_are_both_wrong_can_both_be_decided(store: Store, alternating: Filmed) -> None:
    truth = store("clock-skew", "swap-phase")
    with pytest.raises(InputError, match="camera c01: its clock"):
        ingest(truth, trust="pixels")
    with pytest.raises(InputError, match=r"lights\.csv is 1 frame early"):
        ingest(truth, trust="offset")
    session, record = ingest(truth, trust=["offset", "pixels"])
    need_true_pictures(session, truth, alternating)
    assert record.config["trust"] == ["offset", "pixels"]
    with pytest.raises(ConfigError, match="one of each"):
        ingest(truth, trust=["file", "pixels"])


def test_a_late_camera_without_time_stamps_stands_where_its_offset_says(store: Store, alternating: Filmed) -> None:
    truth = store("late-camera", "no-timestamps")
    need_true_pictures(ingest(truth)[0], truth, alternating)


@pytest.mark.parametrize(
    ("fault", "words"), [("underexposed", "c01 is 3.0 stops darker"), ("out-of-focus", "c01 is soft")]
)
def test_a_badly_set_camera_is_named_in_the_verdict(store: Store, fault: str, words: str) -> None:
    (finding,) = verdict(ingest(store(fault))[0]).troubles
    assert finding.camera == "c01" and words in finding.text


def test_nothing_is_said_of_a_take_without_faults(store: Store) -> None:
    session, record = ingest(store())
    assert record.warnings == () and verdict(session).troubles == ()


def test_a_schedule_one_frame_off_is_refused_and_pixels_set_it_right(store: Store, alternating: Filmed) -> None:
    truth = store("swap-phase")
    with pytest.raises(InputError, match=r"lights\.csv is 1 frame early from frame 0 on") as caught:
        ingest(truth)
    assert caught.value.exit_code == 4 and "--trust pixels" in str(caught.value.hint)
    assert not truth.folder.with_suffix(".zarr").exists()
    session, record = ingest(truth, trust="pixels")
    need_true_pictures(session, truth, alternating)
    assert session.pairs.flat_frame.tolist() == list(range(0, 18, 2))
    assert session.pairs.relit_frame.tolist() == list(range(1, 19, 2))
    lit = [session.hdri_names[index] for index in session.pairs.hdri]
    assert lit == [truth.schedule.entries[truth.schedule.hdri[frame]].entry for frame in range(1, 19, 2)]
    assert any("the pictures are trusted" in warning for warning in record.warnings)


def test_a_schedule_one_frame_off_is_taken_as_it_is_when_the_file_is_trusted(store: Store) -> None:
    session, record = ingest(store("swap-phase"), trust="file")
    assert session.frames("flat").tolist() == [*range(1, 19, 2), 18]
    assert any("taken as it is" in warning for warning in record.warnings)
    assert record.summary["light"]["contradicting_frames"]


@pytest.mark.parametrize("names", [("no-lights",), ("no-lights", "drop-frame"), ("no-lights", "late-camera")])
def test_without_a_schedule_the_flat_frames_are_found(
    store: Store, alternating: Filmed, names: tuple[str, ...]
) -> None:
    truth = store(*names)
    session, record = ingest(truth)
    assert session.pairs.flat_frame.tolist() == list(range(0, 18, 2)) and (session.pairs.hdri == -1).all()
    need_true_pictures(session, truth, alternating)
    light = record.summary["light"]
    assert (light["period"], light["phase"]) == (2, 0) and light["confidence"] > 0.9


@pytest.mark.parametrize("names", [("no-lights",), ("no-lights", "drop-frame")])
def test_one_flat_frame_in_21_is_found_under_dim_lights(
    one_in_21: Filmed, tmp_path: Path, names: tuple[str, ...]
) -> None:
    truth = stored(one_in_21, tmp_path / "take", names)
    session, record = ingest(truth)
    assert session.frames("flat").tolist() == np.flatnonzero(truth.schedule.kind == 1).tolist()
    need_true_pictures(session, truth, one_in_21)
    light = record.summary["light"]
    assert (light["period"], light["phase"]) == (21, 0) and light["confidence"] > 0.9


def test_one_flat_frame_in_21_contradicts_a_schedule_that_is_off(one_in_21: Filmed, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lights\.csv is 1 frame early") as caught:
        ingest(stored(one_in_21, tmp_path / "take", ("swap-phase",)))
    assert caught.value.exit_code == 4


def test_a_lost_picture_without_time_stamps_is_seen_by_its_light(store: Store, alternating: Filmed) -> None:
    truth = store("drop-frame", "no-timestamps")
    with pytest.raises(InputError, match=r"camera c01: by its light, it is 1 frame ahead") as caught:
        ingest(truth)
    assert caught.value.exit_code == 4 and not truth.folder.with_suffix(".zarr").exists()
    session, record = ingest(truth, trust="pixels")
    assert any("camera c01" in warning and "brought in step" in warning for warning in record.warnings)
    shown = shown_frames(session, "c01", alternating[1])
    assert all(found == frame for frame, found in shown.items())  # nothing wrong, and little left out
    assert len(shown) >= 12 and truth.faults[0].frames[0] not in shown


def test_mixed_light_and_repeated_pictures_are_flagged_where_they_are(store: Store) -> None:
    session, record = ingest(store("mixed-light", "duplicate-frame"))
    light = record.summary["light"]
    assert light["mixed_light"] == {"c01": [11, 12, 13, 14]} and light["duplicates"] == {"c01": [5]}
    mixed = session.read("schedule/mixed")
    assert [np.flatnonzero(row).tolist() for row in mixed] == [[], [11, 12, 13, 14], []]
    assert {finding.camera for finding in verdict(session).troubles} == {"c01"}

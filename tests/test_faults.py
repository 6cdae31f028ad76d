"""Simulated takes with something wrong, through ingest: what is promised of each fault holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from litdome.compute import Threads
from litdome.errors import InputError
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
    """A take of 65 frames, one flat in 21, under lights of an eighth, and its shots."""
    small = {"width": 48, "height": 80, "lights": 16}
    take = plan_take(Path("take"), cameras=2, pairs=60, interleave=20, hdris=3, hdri_gain=0.125, seed=1, **small)
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
    """By rig frame of a camera's stored pictures: the frame whose shot the picture is nearest to."""
    k, found = CAMERAS.index(camera), {}
    for kind in ("flat", "relit"):
        for n, frame in enumerate(session.frames(kind)):
            if session.is_present(camera, kind, n):
                planes = (
                    np.asarray(session.array(f"cameras/{camera}/{kind}/{plane}")[n]) for plane in ("luma", "chroma")
                )
                picture = rgb_from_planes(*planes, matrix="bt709").astype(int)
                found[int(frame)] = int(np.argmin([np.abs(picture - shot[k].rgb).mean() for shot in shots]))
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

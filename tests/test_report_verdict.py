from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_report_losses import write_session

from litdome.report.disk import DiskUse, disk_use, estimate_bytes
from litdome.report.evidence import Evidence, gather
from litdome.report.losses import Loss
from litdome.report.verdict import Finding, judge_take, verdict
from litdome.store.files import size_in_words
from litdome.store.session import Session

CAMERAS = ("c00", "c01", "c02", "c03")
MEASURED = ["sync", "lighting", "exposure", "clipping", "focus", "noise", "motion", "lights", "files"]
FRAMES, FPS = 3000, 25
PLACES = [0, 600, 1200, 1800, 2400]


def camera(**changes: Any) -> dict[str, Any]:
    level = {"exposure_stops": 0.1, "clipped": 0.001, "clipped_relit": 0.01, "black": 0.2}
    focus = {"sharpness": 0.4, "focus": 0.9, "noise": 1.5, "series": {"sharpness": [0.4] * len(PLACES)}}
    return {**level, **focus, **changes}


def good_take() -> Evidence:
    """Four cameras, 1,500 pairs, two minutes, nothing wrong."""
    summary = {
        "quality": {
            "frames": PLACES,
            "cameras": {id: camera() for id in CAMERAS},
            "lights": 20,
            "dark_lights": [],
            "unpaired_lights": [],
        },
        "light": {
            "period": 2,
            "phase": 0,
            "confidence": 0.99,
            "contradicting_frames": [],
            "offsets": dict.fromkeys(CAMERAS, 0),
            "mixed_light": {},
            "duplicates": {},
        },
        "counts": {
            id: {"container": FRAMES, "claimed": None, "decoded": FRAMES - 5, "undecodable": 0} for id in CAMERAS
        },
        "motion": {"parts": [], "cameras": {}},
    }
    time_ns = np.arange(FRAMES, dtype=np.int64) * (10**9 // FPS)
    return Evidence(CAMERAS, 1500, time_ns, np.zeros((4, FRAMES), bool), (), summary, (8, 8), DiskUse(10**9, 10**12))


def changed(section: str, key: str, value: Any) -> Evidence:
    evidence = good_take()
    summary = deepcopy(dict(evidence.summary))
    summary[section][key] = value
    return replace(evidence, summary=summary)


def with_camera(id: str, **changes: Any) -> Evidence:
    cameras = {other: camera() for other in CAMERAS}
    return changed("quality", "cameras", {**cameras, id: camera(**changes)})


def gap(id: str, start: int, stop: int) -> Loss:
    return Loss(id, start, stop, start * 10**9 // FPS, ((start // 2, -(-stop // 2)),))


def test_a_good_take_is_called_good_and_every_topic_is_ok() -> None:
    found = judge_take(good_take())
    assert found.word == "good" and not found.unmeasured
    assert found.headline == "Good take: 4 cameras, 1,500 pairs, 00:01:59."
    assert {finding.severity for finding in found.findings} == {"ok"}
    assert [finding.topic for finding in found.findings] == ["ingest", "drops", *MEASURED, "disk"]


def test_a_gap_is_something_to_look_at_and_many_are_bad() -> None:
    found = judge_take(replace(good_take(), losses=(gap("c02", 1810, 1813),)))
    assert found.headline == "Look: c02 lost 3 frames at 00:01:12.400; pairs 905-906 absent."
    assert found.word == "look" and found.troubles[0].camera == "c02"
    many = tuple(gap("c02", start, start + 1) for start in range(0, FRAMES, 10))
    found = judge_take(replace(good_take(), losses=many))
    assert found.headline == "Bad take: c02 lost 300 frames in 300 gaps from 00:00:00.000 on; 300 pairs absent."


def test_a_camera_without_one_frame_is_bad() -> None:
    found = judge_take(replace(good_take(), losses=(gap("c03", 0, FRAMES),)))
    assert found.troubles == (Finding("drops", "bad", "c03 recorded nothing", "c03"),)


FAULTS: list[tuple[str, str, str, Evidence]] = [
    ("exposure", "bad", "c01 is 2.1 stops darker than the other cameras", with_camera("c01", exposure_stops=-2.1)),
    ("exposure", "warn", "c01 is 1.0 stops brighter than the other cameras", with_camera("c01", exposure_stops=1.0)),
    ("clipping", "warn", "c00 clips 4 % of its flat-lit pictures at white", with_camera("c00", clipped=0.04)),
    ("clipping", "bad", "c00 clips 20 % of its flat-lit pictures at white", with_camera("c00", clipped=0.2)),
    ("clipping", "warn", "c00 clips 15 % of its relit pictures at white", with_camera("c00", clipped_relit=0.15)),
    (
        "focus",
        "warn",
        "c03 lost focus at 00:01:12.000: 45 % of the sharpness it began with",
        with_camera("c03", focus=0.45, series={"sharpness": [0.4, 0.4, 0.4, 0.18, 0.18]}),
    ),
    (
        "focus",
        "bad",
        "c03 lost focus at 00:01:12.000: 20 % of the sharpness it began with",
        with_camera("c03", focus=0.2, series={"sharpness": [0.4, None, 0.4, 0.08, 0.08]}),
    ),
    ("focus", "warn", "c02 is soft: 25 % of the other cameras' sharpness", with_camera("c02", sharpness=0.1)),
    ("noise", "warn", "c02 is noisy: 4.0 codes, the others 1.5", with_camera("c02", noise=4.0)),
    ("lights", "warn", "1 listed light was never lit: night", changed("quality", "dark_lights", ["night"])),
    (
        "lights",
        "bad",
        "5 listed lights were without a pair: a, b, c, d and 1 more",
        changed("quality", "unpaired_lights", list("abcde")),
    ),
    (
        "lighting",
        "bad",
        "schedule and pictures disagree on 2 frames from 00:00:00.200 on",
        changed("light", "contradicting_frames", [5, 6]),
    ),
    (
        "lighting",
        "warn",
        "c01 shows two lights at once in 1 frame, first at 00:00:02.000",
        changed("light", "mixed_light", {"c00": [], "c01": [50]}),
    ),
    (
        "lighting",
        "warn",
        "c01 repeated 2 frames, first at 00:00:02.000",
        changed("light", "duplicates", {"c01": [50, 51]}),
    ),
    (
        "lighting",
        "warn",
        "the pictures do not show which frame was lit how (confidence 0.40)",
        changed("light", "confidence", 0.4),
    ),
    ("sync", "bad", "c02 is 2 frames ahead of the others", changed("light", "offsets", {"c00": 0, "c02": 2})),
    ("sync", "bad", "c02 is 1 frame behind the others", changed("light", "offsets", {"c02": -1})),
    (
        "sync",
        "bad",
        "c01 is out of step from 00:00:02.000 on: 1 picture lost, no clock says so",
        changed("light", "drops", {"c01": [[50, 1]]}),
    ),
    (
        "files",
        "bad",
        "c01: its file promises 3,000 pictures and holds 2,000",
        changed("counts", "c01", {"container": 2000, "claimed": 3000, "decoded": 2000, "undecodable": 0}),
    ),
    (
        "files",
        "warn",
        "c01: 4 of 3,000 pictures could not be decoded",
        changed("counts", "c01", {"container": 3000, "decoded": 2900, "undecodable": 4}),
    ),
    (
        "files",
        "bad",
        "c01: 2,000 of 3,000 pictures could not be decoded",
        changed("counts", "c01", {"container": 3000, "decoded": 1000, "undecodable": 2000}),
    ),
    (
        "disk",
        "warn",
        "90 GB free: no room for another take of this size (about 120 GB)",
        replace(good_take(), disk=DiskUse(120 * 10**9, 90 * 10**9)),
    ),
    ("ingest", "warn", "ingest is unfinished (3 of 8 parts)", replace(good_take(), summary={}, units=(3, 8))),
]


@pytest.mark.parametrize(("topic", "severity", "words", "evidence"), FAULTS, ids=[f[2][:40] for f in FAULTS])
def test_each_fault_is_told_and_nothing_else(topic: str, severity: str, words: str, evidence: Evidence) -> None:
    troubles = judge_take(evidence).troubles
    assert [(found.topic, found.severity, found.text) for found in troubles] == [(topic, severity, words)]


def test_the_worst_comes_first_and_the_rest_is_counted() -> None:
    evidence = with_camera("c01", exposure_stops=-2.1, noise=5.0)
    found = judge_take(replace(evidence, losses=(gap("c02", 4, 5),)))
    assert found.headline == "Bad take: c01 is 2.1 stops darker than the other cameras; and 2 more."
    assert [finding.topic for finding in found.troubles] == ["exposure", "drops", "noise"]


def test_cameras_that_all_differ_accuse_nobody() -> None:
    stops = dict(zip(CAMERAS, (-1.2, -0.6, 0.6, 1.2), strict=True))
    cameras = {id: camera(exposure_stops=value) for id, value in stops.items()}
    assert judge_take(changed("quality", "cameras", cameras)).word == "good"


def test_what_was_not_measured_is_not_called_good() -> None:
    found = judge_take(replace(good_take(), summary={"cameras": list(CAMERAS)}))
    assert found.unmeasured == tuple(MEASURED)
    assert [finding.topic for finding in found.findings] == ["ingest", "drops", "disk"]


def test_a_session_is_judged_from_its_store(tmp_path: Path) -> None:
    session = write_session(tmp_path / "take.zarr", {"c17": [3617, 3618, 3619]})
    found = verdict(session)
    texts = {finding.text for finding in found.troubles}
    assert texts == {"ingest is unfinished (2 of 2 parts)", "c17 lost 3 frames at 00:01:12.340; pairs 1808-1809 absent"}
    room, again = gather(session).disk, disk_use(session.url)
    assert room is not None and again is not None and room.used == again.used  # others write on this disk meanwhile
    assert room.free == pytest.approx(again.free, rel=0.2)
    assert verdict(Session.new(str(tmp_path / "empty.zarr"), {})).troubles[0].text == "nothing is ingested yet"


def test_room_is_estimated_from_few_chunks(tmp_path: Path) -> None:
    session = Session.new(str(tmp_path / "take.zarr"), {})
    pictures = np.random.default_rng(0).integers(0, 256, (70, 40, 60), np.uint8)
    session.create("cameras/c00/flat/luma", pictures.shape, "u1", ("n", "y", "x"), shard=2)
    session.create("cameras/c01/flat/luma", pictures.shape, "u1", ("n", "y", "x"), shard=2)  # never written
    for start in range(0, 70, 2):
        session.write("cameras/c00/flat/luma", start, pictures[start : start + 2])
    session.write_small("schedule/kind", np.arange(100, dtype=np.uint8), ("frame",))
    session.write_small("rig/one", np.array(3.0), ())
    exact = sum(file.stat().st_size for file in (tmp_path / "take.zarr").rglob("*") if file.is_file())
    assert estimate_bytes(tmp_path / "take.zarr") == pytest.approx(exact, rel=0.01)  # noise packs evenly
    found = disk_use(session.url)
    assert found is not None and found.used == estimate_bytes(tmp_path / "take.zarr") and found.free > 0
    assert disk_use("memory://take.zarr") is None


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (999_600, "1 MB"), (3.4e12, "3.4 TB")]
)
def test_sizes_are_told_in_words(size: float, words: str) -> None:
    assert size_in_words(size) == words


def test_frames_of_the_schedule_that_nobody_filmed_are_one_finding() -> None:
    lost = np.zeros((4, FRAMES), bool)
    lost[:, 2700:] = True
    lost[1, 2690:] = True
    losses = tuple(Loss(id, 2690 if id == "c01" else 2700, FRAMES, 0, ((1350, 1500),)) for id in CAMERAS)
    found = judge_take(replace(good_take(), lost=lost, losses=losses))
    said = [finding.text for finding in found.troubles if finding.topic == "drops"]
    assert said[0] == "300 frames of the schedule, from 00:01:48.000 on, were not filmed"
    assert found.word == "bad" and len(said) == 2 and said[1].startswith("c01 lost")


def test_pictures_without_a_place_in_the_schedule_are_no_good_take() -> None:
    evidence = good_take()
    counts = {id: {**found, "left_out": 700 if id == "c02" else 5} for id, found in evidence.summary["counts"].items()}
    found = judge_take(replace(evidence, summary={**evidence.summary, "counts": counts}))
    (trouble,) = found.troubles
    assert trouble.severity == "bad" and trouble.text == (
        "c02: 700 of 3,000 pictures have no place in the schedule, 3 other cameras have some, too"
    )

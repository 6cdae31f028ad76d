from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from litdome.cli import cli
from litdome.lighting import HdriEntry, LightingSchedule
from litdome.pairs import frames_of_kind, make_pairs
from litdome.pipeline import ORDER, processing_stages, side_stages, wanted_fingerprint
from litdome.report.status import relit_without_pair, session_status
from litdome.store.provenance import StageRecord
from litdome.store.session import Session

CAMERAS = ("c00", "c01")
KINDS = [2, 1, 2, 2, 1, 2, 0, 3]  # hdri, flat, hdri, hdri, flat, hdri, dark, pattern: three pairs, frame 0 alone
WIDTH, HEIGHT = 48, 64
ENTRIES = (HdriEntry("park"), HdriEntry("street"))


def make_session(path: Path, *, decoded: tuple[bool, ...] = (True, True)) -> Session:
    """An ingested take of two cameras; c01 did not record rig frame 3, so it lacks the relit picture of pair 1."""
    shutil.copytree(Path(_ingested().name) / "take.zarr", path)
    session = Session.open(str(path), writable=True)
    finished = "2025-01-01T10:00:12+00:00" if all(decoded) else ""
    record = StageRecord("ingest", 1, "f0", {"recording": "r0"}, {}, "2025-01-01T10:00:00+00:00", finished)
    session.write_record(replace(record, summary={"frames": len(KINDS)}, warnings=("camera c01: <1> frame absent",)))
    session.write_small("steps/ingest/done", np.array(decoded), ("unit",))
    return session


@cache
def _ingested() -> TemporaryDirectory[str]:
    folder = TemporaryDirectory()
    attrs = {"name": "take07", "subject": "s03", "fps": 25.0, "transfer": "srgb", "hdri_convention": "physical"}
    session = Session.new(f"{folder.name}/take.zarr", {**attrs, "recording": "/stage/take07"})
    sizes = np.tile(np.int32([WIDTH, HEIGHT]), (len(CAMERAS), 1))
    about = {"camera_ids": list(CAMERAS), "roles": ["body", "face"], "models": ["pinhole5"] * 2}
    session.write_small("rig/size", sizes, ("camera", "2"), attrs=about)
    _write_schedule(session)
    for camera in CAMERAS:
        for kind in ("flat", "relit"):
            pictures = np.empty((session.count(kind), HEIGHT, WIDTH, 3), np.uint8)
            pictures[...] = (200, 190, 180) if kind == "flat" else (150, 90, 40)
            session.write_small(f"cameras/{camera}/{kind}/rgb", pictures, ("n", "y", "x", "channel"))
    return folder


def _write_schedule(session: Session) -> None:
    kind = np.array(KINDS, np.uint8)
    hdri = np.where(kind == 2, np.arange(len(KINDS)) % 2, -1).astype(np.int32)
    schedule = LightingSchedule(kind, hdri, ENTRIES)
    present = np.ones((len(CAMERAS), len(KINDS)), bool)
    present[1, 3] = False
    session.write_small("schedule/kind", kind, ("frame",))
    entries = {"entries": [asdict(entry) for entry in ENTRIES], "source": "lights.csv"}
    session.write_small("schedule/hdri", hdri, ("frame",), attrs=entries)
    time_ns = np.arange(len(KINDS)) * 40_000_000
    session.write_small("schedule/time_ns", time_ns, ("frame",), unit="ns")
    session.write_small("schedule/present", present, ("camera", "frame"))
    for stored, word in (("flat", "flat"), ("relit", "hdri"), ("dark", "dark")):
        session.write_small(f"frames/{stored}", frames_of_kind(schedule, word), (stored,))
    for name, values in vars(make_pairs(schedule, time_ns)).items():
        session.write_small(f"pairs/{name}", values, ("pair",))
    for n, entry in enumerate(ENTRIES):
        session.write_small(f"hdris/{entry.entry}", np.full((8, 16, 3), 1.0 + n, np.float32), ("v", "u", "channel"))


def finish_stages(session: Session, *names: str, **settings: str) -> None:
    """Records as a finished run of these stages would leave them."""
    for name in names:
        stage = {**processing_stages(), **side_stages()}[name]
        config = stage.Config(**settings)
        fingerprint = wanted_fingerprint(session, stage, config)
        assert fingerprint is not None, f"{name} before its inputs"
        inputs = {need: record.fingerprint for need in stage.needs if (record := session.record(need))}
        times = ("2025-01-01T10:01:00+00:00", "2025-01-01T10:02:15+00:00")
        plain = config.model_dump(mode="json")
        session.write_record(StageRecord(name, stage.version, fingerprint, inputs, plain, *times))
        session.write_small(f"steps/{name}/done", np.ones(2, bool), ("unit",))


def write_looks(session: Session, **changes: dict[str, Any]) -> None:
    """What ingest measures of the pictures; ``changes`` by camera."""
    level = {"exposure_stops": 0.1, "clipped": 0.001, "clipped_relit": 0.01, "black": 0.2}
    focus = {"sharpness": 0.4, "focus": 0.9, "noise": 1.5}
    series = {name: [0.1, 0.2] for name in ("exposure_stops", "clipped", "clipped_relit", "sharpness", "noise")}
    cameras = {id: {**level, **focus, "series": series, **changes.get(id, {})} for id in CAMERAS}
    quality = {"frames": [1, 4], "cameras": cameras, "lights": 2, "dark_lights": [], "unpaired_lights": []}
    light = {"confidence": 0.97, "contradicting_frames": [], "offsets": dict.fromkeys(CAMERAS, 0)}
    light |= {"mixed_light": {"c00": [5]}, "duplicates": {}}
    counts = {id: {"container": len(KINDS), "decoded": len(KINDS)} for id in CAMERAS}
    record = session.record("ingest")
    assert record is not None
    summary = {**record.summary, "quality": quality, "light": light, "counts": counts}
    summary["motion"] = {"parts": [], "cameras": {}}
    session.write_record(replace(record, summary=summary))


def write_quality(session: Session) -> None:
    """Scores of ``align``: pair 2 of c00 moved too far, pair 1 of c01 is absent."""
    shift = np.array([[0.5, 1.0, 6.0], [0.25, np.nan, 0.75]], np.float32)
    reason = np.array([[0, 0, 2], [0, 1, 0]], np.uint16)
    session.write_small("quality/shift_px", shift, ("camera", "pair"), unit="px")
    session.write_small("quality/keep", reason == 0, ("camera", "pair"))
    session.write_small("quality/reason", reason, ("camera", "pair"), attrs={"names": ["absent", "shift"]})


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return make_session(tmp_path / "take07.zarr")


def test_headline_names_the_take_and_counts_frames_without_a_pair(session: Session) -> None:
    expected = (
        "take07 (subject s03): 2 cameras, 3 pairs, 2 lights; 1 relit frame before the first flat one, without a pair"
    )
    assert session_status(session).headline == expected
    assert relit_without_pair(session) == 1


def test_status_json_is_the_contract(session: Session) -> None:
    found = session_status(session).as_json()
    assert set(found) == {"schema", "headline", "verdict", "stages", "cameras", "pictures", "losses", "strays"}
    assert found["schema"] == 1
    assert [stage["name"] for stage in found["stages"]] == list(ORDER)
    assert {tuple(stage) for stage in found["stages"]} == {("name", "state", "done", "total", "next_command")}
    assert found["cameras"] == [{"id": "c00", "absent": []}, {"id": "c01", "absent": [3]}]
    assert [(row["id"], row["frames"], row["absent"]) for row in found["pictures"]] == [("c00", 8, 0), ("c01", 8, 1)]
    assert found["pictures"][0]["exposure_stops"] is None  # this take has no looks
    assert found["verdict"]["word"] == "look" and found["verdict"]["findings"][0]["camera"] == "c01"
    text = "c01 lost 1 frame at 00:00:00.120; pair 1 absent"
    place = {"camera": "c01", "start": 3, "stop": 4, "pairs": ((1, 2),)}
    assert found["losses"] == [{**place, "time_ns": 120_000_000, "time": "00:00:00.120", "text": text}]
    json.dumps(found, allow_nan=False)


def test_missing_stages_name_their_commands_in_the_order_to_type_them(session: Session) -> None:
    found = session_status(session)
    assert [line.next_command for line in found.stages] == [None, *(f"litdome {n} {session.url}" for n in ORDER[1:])]
    assert found.next_command == f"litdome calibrate {session.url}"
    assert not found.complete


def test_all_stages_done_is_complete_and_has_nothing_to_type(session: Session) -> None:
    finish_stages(session, *ORDER[1:])
    found = session_status(session)
    assert found.complete and found.next_command is None
    assert {(line.done, line.total) for line in found.stages} == {(2, 2)}


def test_a_new_input_makes_all_that_came_of_it_stale(session: Session) -> None:
    finish_stages(session, *ORDER[1:])
    record = session.record("ingest")
    assert record is not None
    session.write_record(replace(record, fingerprint="f1"))
    found = session_status(session)
    assert [line.state for line in found.stages] == ["done"] + ["stale"] * (len(ORDER) - 1)
    assert found.next_command == f"litdome calibrate {session.url}"


def test_a_stale_imported_calibration_is_to_be_imported_again(session: Session) -> None:
    finish_stages(session, "calibrate")
    record = session.record("calibrate")
    assert record is not None
    session.write_record(replace(record, config={**record.config, "source": "import", "import_file": "rig.qca.txt"}))
    found = session_status(session)
    assert found.stages[1].state == "stale"
    assert found.next_command == f"litdome calibrate {session.url} --import rig.qca.txt"


def test_a_stale_calibration_from_other_boards_is_to_be_made_from_them_again(session: Session) -> None:
    finish_stages(session, "calibrate")
    record = session.record("calibrate")
    assert record is not None
    config = {
        **record.config,
        "boards_dir": "/day 2/boards",
        "intrinsics_file": "lenses.toml",
        "import_file": "old.json",
    }
    session.write_record(replace(record, config=config))
    found = session_status(session)
    assert found.next_command == f"litdome calibrate {session.url} --boards '/day 2/boards' --intrinsics lenses.toml"


def test_color_and_lights_are_listed_once_they_were_run_and_say_how_to_run_them_again(session: Session) -> None:
    finish_stages(session, *ORDER[1:])
    assert {line.name for line in session_status(session).stages} == set(ORDER)
    finish_stages(session, "lights", drive_file="d.json")
    finish_stages(session, "color", charts_dir="/day 2/charts")
    found = session_status(session)
    assert [line.name for line in found.stages] == ["ingest", "calibrate", "lights", *ORDER[2:], "color"]
    assert found.complete
    for name in ("color", "lights"):
        record = session.record(name)
        assert record is not None
        session.write_record(replace(record, fingerprint="old"))
    found = session_status(session)
    assert {line.name: line.next_command for line in found.stages if line.state == "stale"} == {
        "lights": f"litdome lights effective {session.url} --drive d.json",
        "color": f"litdome color {session.url} --charts '/day 2/charts'",
    }
    assert not found.complete


def test_an_unfinished_stage_is_partial_and_counts_its_units(session: Session) -> None:
    finish_stages(session, "calibrate")
    record = session.record("calibrate")
    assert record is not None
    session.write_record(replace(record, finished=""))
    session.write_small("steps/calibrate/done", np.array([True, False, False]), ("unit",))
    line = session_status(session).stages[1]
    assert (line.state, line.done, line.total) == ("partial", 1, 3)


def test_a_camera_still_to_be_decoded_lacks_nothing_yet(tmp_path: Path) -> None:
    found = session_status(make_session(tmp_path / "half.zarr", decoded=(True, False)))
    assert found.absent == {"c00": (), "c01": ()}
    assert found.stages[0].state == "partial"
    assert found.stages[0].next_command == f"litdome ingest /stage/take07 {tmp_path / 'half.zarr'}"


def test_an_empty_session_has_a_status(tmp_path: Path) -> None:
    found = session_status(Session.new(str(tmp_path / "empty.zarr"), {"name": "empty"}))
    assert found.stages[0].state == "missing" and found.absent == {}


def test_the_table_of_cameras_says_what_ingest_measured(session: Session) -> None:
    write_looks(session, c01={"exposure_stops": -2.0, "noise": None})
    first, second = session_status(session).cameras
    assert (first.exposure_stops, first.focus, first.noise, first.light) == (0.1, 0.9, 1.5, "1 mixed")
    assert (second.exposure_stops, second.noise, second.light) == (-2.0, None, "")
    found = session_status(session)
    assert found.verdict.headline == "Bad take: c01 is 2.0 stops darker than the other cameras; and 2 more."
    assert not found.verdict.unmeasured


def test_status_tells_a_technician_first_whether_the_take_is_good(session: Session) -> None:
    write_looks(session)
    out = CliRunner().invoke(cli, ["status", session.url], obj={"quiet": True}).output
    lines = out.splitlines()
    assert lines[0] == "Look: c01 lost 1 frame at 00:00:00.120; pair 1 absent; and 1 more."
    assert "  warn  lighting  c00 shows two lights at once in 1 frame, first at 00:00:00.200" in lines
    table = lines[lines.index("") + 1 :]
    assert table[0].split() == ["camera", "frames", "absent", "exposure", "clipped", "focus", "noise", "light"]
    assert table[1].split() == ["c00", "8", "0", "+0.1", "0.1", "%", "90", "%", "1.5", "1", "mixed"]
    assert out.count("c01 lost 1 frame") == 2  # in the headline and among the findings, not a third time

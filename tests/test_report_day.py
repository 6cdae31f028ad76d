from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from calibrated_rig import ring, write_measured, write_rig
from test_report_page import Page, make_run
from test_report_status import finish_stages, make_session, write_looks, write_quality

from litdome.errors import StoreError
from litdome.pipeline import ORDER
from litdome.report.day_section import day_section, stores_in
from litdome.report.page import write_report


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two takes, one of them finished, a run, and four things that are no takes."""
    folder = tmp_path_factory.mktemp("monday")
    late = make_session(folder / "take08.zarr")
    write_looks(late, c01={"exposure_stops": -2.0})
    late.set_attrs("", name="take08")
    done = make_session(folder / "take07.zarr")
    finish_stages(done, *ORDER[1:])
    write_quality(done)
    record = late.record("ingest")
    assert record is not None
    late.write_record(replace(record, started="2025-01-01T12:00:00+00:00"))
    make_run(folder / "run1")
    (folder / "newer.zarr").mkdir()
    (folder / "newer.zarr" / "zarr.json").write_text(
        '{"zarr_format":3,"node_type":"group","attributes":{"format":"litdome-session","schema":"9.0"}}'
    )
    (folder / "other.zarr").mkdir()
    (folder / "other.zarr" / "zarr.json").write_text('{"zarr_format":3,"node_type":"group","attributes":{}}')
    (folder / "empty.zarr").mkdir()
    make_session(folder / "hurt.zarr")
    shutil.rmtree(folder / "hurt.zarr" / "schedule" / "hdri")
    (folder / "notes").mkdir()
    return folder


def test_every_take_has_a_row_and_nothing_unreadable_is_hidden(day: Path) -> None:
    found = day_section(day, day / "report.html")
    assert [take.name for take in found.takes] == ["take07", "take08"]  # by time, not by file name
    assert [name for name, _ in found.unread] == ["empty.zarr", "hurt.zarr", "newer.zarr", "other.zarr"]
    reasons = dict(found.unread)
    assert "schema 9.0 is newer" in reasons["newer.zarr"] and "not a litdome-session" in reasons["other.zarr"]
    assert "schedule/hdri" in reasons["hurt.zarr"] and "no session here" in reasons["empty.zarr"]
    assert found.headline == "2 takes, 6 pairs: 1 to look at, 1 bad, 4 not readable."
    assert [run.name for run in found.runs] == ["run1"] and found.runs[0].words == "40 steps logged, evaluated"


def test_a_row_says_who_when_what_is_wrong_and_what_to_type(day: Path) -> None:
    take07, take08 = day_section(day, day / "report.html").takes
    assert (take07.subject, take07.when, take07.pairs, take07.absent) == (
        "s03",
        "2025-01-01 10:00:00 (ingested)",
        3,
        "1 (c01)",
    )
    assert take07.next_command is None and take08.next_command == f"litdome calibrate {day / 'take08.zarr'}"
    assert [picture.alt for picture in take07.pictures] == ["flat, camera c00, pair 1", "relit, camera c00, pair 1"]
    assert take08.verdict.word == "bad" and take07.disk.startswith("about ")


def test_the_cameras_clock_tells_when_a_take_was_recorded(tmp_path: Path) -> None:
    session = make_session(tmp_path / "take07.zarr")
    start = 1_700_000_000 * 10**9
    session.write_small("schedule/time_ns", start + np.arange(8) * 40_000_000, ("frame",), unit="ns")
    assert day_section(tmp_path, tmp_path / "report.html").takes[0].when == "2023-11-14 22:13:20"


def test_the_page_shows_all_of_it_and_links_only_to_reports_that_are_there(day: Path, tmp_path: Path) -> None:
    write_report(day / "take07.zarr")
    page = Page(write_report(day, tmp_path / "pages" / "day.html"))
    assert "c01 is 2.0 stops darker than the other cameras" in page.text
    assert all(name in page.text for name in ("take07", "take08", "run1", "hurt.zarr", "Not readable as a take"))
    links = [str(link["href"]) for link in page.named("a")]
    assert len(links) == 1 and (tmp_path / "pages" / links[0]).resolve() == (day / "take07-report.html").resolve()
    assert len(page.named("img")) == 4 and not page.named("script")


def test_a_folder_without_a_take_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    assert stores_in(tmp_path) == []
    with pytest.raises(StoreError, match="not a session, run or demo, and holds none"):
        write_report(tmp_path)


def test_the_mornings_rig_is_no_take(tmp_path: Path) -> None:
    write_measured(write_rig(tmp_path / "rig.zarr", ring(3)))
    make_session(tmp_path / "take07.zarr")
    found = day_section(tmp_path, tmp_path / "report.html")
    assert found.headline.startswith("1 take and 1 rig, 3 pairs:")
    assert {row.name: row.length for row in found.takes} == {"rig": "no take", "take07": "00:00:00"}

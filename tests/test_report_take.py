from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_report_status import make_session, write_looks

from litdome.color import linear_from_srgb
from litdome.pairs import PairTable
from litdome.report.evidence import gather
from litdome.report.sheets import lifted, shrink_to
from litdome.report.take_section import camera_cards, middle_pair, take_section
from litdome.report.timeline import CELLS, COLORS, GOOD, MARK_CELLS, strip_pixels, timeline
from litdome.report.verdict import judge_take
from litdome.store.session import Session


@pytest.fixture
def session(tmp_path: Path) -> Session:
    session = make_session(tmp_path / "take07.zarr")
    write_looks(session, c01={"exposure_stops": -2.0})
    return session


def cells(pixels: np.ndarray, name: str) -> list[int]:
    return np.flatnonzero((pixels[0] == COLORS[name]).all(axis=-1)).tolist()


def test_a_card_shows_flat_relit_and_plate_and_says_what_is_wrong(session: Session) -> None:
    plate = np.full((64, 48, 3), 90, np.uint8)
    session.write_small("cameras/c00/background", plate, ("y", "x", "channel"))
    evidence = gather(session)
    first, second = camera_cards(session, evidence, judge_take(evidence))
    assert [tile.name for tile in first.tiles] == ["flat", "relit", "plate"] and all(t.picture for t in first.tiles)
    assert first.severity == "warn" and second.severity == "bad"
    assert {finding.topic for finding in second.findings} == {"drops", "exposure"}
    assert second.tiles[2].picture is None and second.tiles[2].note == "no plate"


def test_a_camera_shows_the_pair_nearest_the_middle_that_it_has(session: Session) -> None:
    none, pairs = np.zeros(8, bool), session.pairs
    assert middle_pair(pairs, none) == 1
    lost = none.copy()
    lost[pairs.relit_frame[1]] = True
    assert middle_pair(pairs, lost) in (0, 2)
    assert middle_pair(pairs, ~none) is None


def test_an_unfinished_ingest_shows_no_pictures_yet(tmp_path: Path) -> None:
    session = make_session(tmp_path / "half.zarr", decoded=(True, False))
    evidence = gather(session)
    section = take_section(session, evidence, judge_take(evidence))
    assert [tile.note for card in section.cards for tile in card.tiles] == [
        "not recorded",
        "not recorded",
        "no plate",
    ] * 2
    assert section.timeline is None and section.charts == ()


def test_exposure_settings_stand_beside_the_camera(session: Session) -> None:
    session.set_attrs(
        "rig/size", capture=[{"exposure": "1/200", "iso": "800", "codec": "x"}, {"exposure_ms": 4.0, "focal_mm": 50.0}]
    )
    evidence = gather(session)
    assert [card.about for card in camera_cards(session, evidence, judge_take(evidence))] == [
        "1/200, ISO 800",
        "4 ms, 50 mm",
    ]


def test_dim_pictures_are_lifted_by_whole_stops_of_linear_light_and_others_left() -> None:
    dim = np.full((4, 4, 3), 30, np.uint8)
    dim[0] = (10, 20, 60)
    bright, stops = lifted(dim)
    linear = linear_from_srgb(np.array([60, bright[0, 0, 2]], np.float64) / 255)
    assert stops == 3 and linear[1] / linear[0] == pytest.approx(2**stops, rel=0.02)  # codes are whole numbers
    for level in (200, 0):
        same = np.full((4, 4, 3), level, np.uint8)
        assert lifted(same)[1] == 0 and lifted(same)[0] is same


def test_tiles_fit_their_box_whatever_their_shape() -> None:
    for height, width in ((400, 100), (100, 400), (50, 60)):
        found = shrink_to(np.zeros((height, width, 3), np.uint8), 120, 90).shape
        assert found[0] <= 90 and found[1] <= 120 and abs(found[1] / found[0] - width / height) < 0.1 * width / height


def test_one_lost_frame_of_an_hour_can_be_seen() -> None:
    lost = np.zeros(90_000, bool)
    lost[45_000] = True
    pixels = strip_pixels({"absent": lost})
    assert pixels.shape == (1, CELLS, 3)
    assert cells(pixels, "absent") == [499, 500, 501] and MARK_CELLS == 3
    assert (strip_pixels({"absent": ~lost & lost}) == GOOD).all()


def test_short_takes_have_a_cell_per_frame_and_absence_covers_the_rest() -> None:
    flags = {name: np.zeros(10, bool) for name in COLORS}
    flags["absent"][3] = flags["mixed light"][3] = flags["mixed light"][5] = flags["repeated"][7] = True
    pixels = strip_pixels(flags)
    assert [cells(pixels, name) for name in COLORS] == [[3], [5], [7]]


def test_the_timeline_has_a_strip_per_camera_a_clock_and_a_legend(session: Session) -> None:
    evidence = gather(session)
    svg = take_section(session, evidence, judge_take(evidence)).timeline
    assert svg is not None
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == "Frames of every camera over the take: 1 absent, 1 mixed light"
    strips = [decode(uri) for uri in re.findall(r'base64,([^"]+)"', svg)]
    assert [cells(strip, "absent") for strip in strips] == [[], [3]]
    assert [cells(strip, "mixed light") for strip in strips] == [[5], []]
    texts = [element.text for element in root.iter("{*}text")] + [element.text for element in root.iter("text")]
    assert {"c00", "c01", "absent", "mixed light", "00:00:00.100"} <= set(texts)
    many = timeline([f"c{n:02d}" for n in range(40)], {"absent": np.eye(40, 10, dtype=bool)}, np.arange(10), what="")
    assert many.count("<image") == 40 and many.count(">c") == 20  # every other name where rows are low


def decode(uri: str) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(base64.b64decode(uri), np.uint8), cv2.IMREAD_COLOR_RGB))


def test_charts_name_the_cameras_with_a_finding(session: Session) -> None:
    evidence = gather(session)
    charts = {chart.title: chart.svg for chart in take_section(session, evidence, judge_take(evidence)).charts}
    assert list(charts) == ["exposure", "clipping", "focus", "noise"]
    assert "marked: c01" in charts["exposure"] and "marked" not in charts["noise"]
    crowd = {**evidence.summary["quality"]["cameras"]}
    crowd |= {f"x{n}": crowd["c00"] for n in range(9)}
    many = replace(evidence, summary={**evidence.summary, "quality": {**evidence.summary["quality"], "cameras": crowd}})
    svg = {chart.title: chart.svg for chart in take_section(session, many, judge_take(many)).charts}["exposure"]
    assert svg.count("line faint") == 10 and ">c01<" in svg and ">x0<" not in svg


def test_a_rig_without_pairs_has_no_middle() -> None:
    empty = PairTable(*(np.zeros(0, np.int32),) * 7, *(np.zeros(0, np.float32),) * 2)
    assert middle_pair(empty, np.zeros(4, bool)) is None

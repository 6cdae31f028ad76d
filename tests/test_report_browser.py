from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calibrated_rig import ring, write_colors, write_measured, write_rig
from test_report_status import make_session, write_looks

from litdome.report.page import write_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUESTIONS = """<script>addEventListener("load", () => {
  const inside = (part, whole) => { const a = part.getBoundingClientRect(), b = whole.getBoundingClientRect();
    return a.left >= b.left - 1 && a.right <= b.right + 1 && a.top >= b.top - 1 && a.bottom <= b.bottom + 1; };
  const all = selector => [...document.querySelectorAll(selector)];
  document.title = JSON.stringify({
    images: all("img").map(image => image.complete && image.naturalWidth > 0),
    too_wide: document.documentElement.scrollWidth - innerWidth,
    labels: all(".labels span").map(label => [label.textContent, inside(label, label.closest(".camera"))]),
    answer: getComputedStyle(document.querySelector(".answer, .verdict")).color,
    answer_top: document.querySelector(".answer, .verdict").getBoundingClientRect().top,
    tiles: all(".camera").map(card => card.querySelectorAll("figure").length),
  });
});</script>"""


SPACE = f"<script>{Path(__file__).with_name('space_questions.js').read_text()}</script>"


def ask(page: Path, width: int, questions: str = QUESTIONS) -> dict[str, Any]:
    """What a browser shows of a page, asked by a script in a copy of it."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no chromium here (apt-get install chromium)")
    copy = page.with_name(f"asked-{page.name}")
    copy.write_text(page.read_text(encoding="utf-8").replace("</head>", f"{questions}</head>"), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={page.parent / 'profile'}"]
    command = [browser, *flags, f"--window-size={width},900", "--virtual-time-budget=5000", "--dump-dom", copy.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    title = re.search(r"<title>(.*?)</title>", dom, re.S)
    assert title is not None, dom[:400]
    found: dict[str, Any] = json.loads(html.unescape(title[1]))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("day")
    write_looks(make_session(folder / "take07.zarr"), c01={"exposure_stops": -2.0})
    return folder


@pytest.mark.parametrize("width", [1280, 520])
def test_a_session_page_fits_its_window_and_shows_every_picture(folder: Path, width: int) -> None:
    found = ask(write_report(folder / "take07.zarr"), width)
    assert found["images"] and all(found["images"])
    assert found["too_wide"] <= 0
    assert found["tiles"] == [3, 3]
    assert found["labels"] == [["lighting", True], ["drops", True], ["exposure", True]]
    assert found["answer_top"] < 200 and found["answer"] == "rgb(178, 43, 40)"  # the answer, red, on the first screen


def test_the_day_fits_its_window(folder: Path) -> None:
    found = ask(write_report(folder), 1280)
    assert len(found["images"]) == 2 and all(found["images"]) and found["too_wide"] <= 0


def test_a_broken_picture_would_be_seen(folder: Path) -> None:
    page = write_report(folder / "take07.zarr", folder / "broken.html")
    page.write_text(
        page.read_text(encoding="utf-8").replace("data:image/jpeg;base64,/9j/", "data:image/jpeg;base64,AAAA", 1)
    )
    assert ask(page, 1280)["images"].count(False) == 1


@pytest.fixture(scope="module")
def rig_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rig")
    session = write_rig(folder / "rig.zarr", ring(4))
    write_measured(session)
    write_colors(session)
    return write_report(folder / "rig.zarr")


@pytest.fixture(scope="module")
def space(rig_page: Path) -> dict[str, Any]:
    return ask(rig_page, 1280, SPACE)


def test_the_script_draws_the_picture_that_is_there_without_it(rig_page: Path, space: dict[str, Any]) -> None:
    svg = re.search(r'<svg id="space".*?</svg>', rig_page.read_text(encoding="utf-8"), re.S)
    assert svg is not None
    still = re.findall(r' d="([^"]*)"', svg[0])
    for drawn in (space["first"], space["home"], space["whole"]):
        assert [re.findall("[A-Z]", path) for path in drawn] == [re.findall("[A-Z]", path) for path in still]
        for path, same in zip(drawn, still, strict=True):
            numbers, wanted = (np.array(re.findall(r"-?[\d.]+", text), float) for text in (path, same))
            assert numbers == pytest.approx(wanted, abs=0.21)  # px: both are rounded to 0.1


def test_cameras_in_space_are_turned_zoomed_and_chosen(space: dict[str, Any]) -> None:
    found = space
    assert found["scrolls"] and found["width_then"] == found["width"]  # the wheel is the page's until a click
    assert not found["stopped"] and found["zoomed"] == pytest.approx(np.exp(0.45), abs=0.01)
    assert set(found["clicked"]) == {"g c02", "TR c02", "ARTICLE c02", "FIGURE c02"}
    assert found["says"].startswith("c02: at 0.00, 2.40, -3.00 m, 0.2") and found["seen"] == 12
    assert set(found["next"]) == {"g c03", "TR c03", "ARTICLE c03", "FIGURE c03"} and found["none"] == []
    assert "TR c01" in found["row"]
    above = found["above"]  # from above, +x is right and +z, where c00 stands, is below
    assert above["c01"][0] > above["c00"][0] and above["c00"][1] > above["c02"][1]
    assert all(0 < x < 1100 and 0 < y < 560 for x, y in above.values())
    assert found["pinched"] == pytest.approx(3.0, abs=0.01)


def test_dragging_to_the_right_turns_the_near_side_to_the_right(rig_page: Path, space: dict[str, Any]) -> None:
    svg = rig_page.read_text(encoding="utf-8")
    label = re.search(r'data-camera="c00".*?<text x="([\d.]+)"', svg)
    assert label is not None and space["turned"][0] > float(label[1]) - 8 + 50  # px; c00 stands on the near side


@pytest.mark.parametrize("width", [768, 520])
def test_a_calibration_fits_its_window(rig_page: Path, space: dict[str, Any], width: int) -> None:
    assert space["too_wide"] <= 0 and ask(rig_page, width, SPACE)["too_wide"] <= 0

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
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


def ask(page: Path, width: int) -> dict[str, Any]:
    """What a browser shows of a page; the page itself has no script, so a copy with one is opened."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no chromium here (apt-get install chromium)")
    copy = page.with_name(f"asked-{page.name}")
    copy.write_text(page.read_text(encoding="utf-8").replace("</head>", f"{QUESTIONS}</head>"), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={page.parent / 'profile'}"]
    command = [browser, *flags, f"--window-size={width},900", "--dump-dom", copy.as_uri()]
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

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from test_report_status import finish_stages, make_session, write_quality

from litdome.errors import StoreError
from litdome.media.encode import VideoWriter
from litdome.pipeline import ORDER
from litdome.report.page import default_output, write_report
from litdome.report.run_section import score_table
from litdome.train_plugins.evaluate import Example, Score, write_evaluation
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.run import RunFolder

VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """What stands in a page: text, tags with their attributes, and that every tag is closed in order."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.html = file.read_text(encoding="utf-8")
        self.feed(self.html)
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def make_run(path: Path) -> RunFolder:
    """Forty steps of forty, evaluated on one split."""
    config = RelighterConfig(steps=40)
    run = RunFolder.create(path, plugin="relighter", config=config, dataset="take-data", dataset_fingerprint="f")
    for step in range(1, 41):
        run.log(step, loss=4.0 / step)
    run.preview("step-000040", np.full((16, 48, 3), 90, np.uint8))
    pictures = {name: np.full((16, 24, 3), 0.2 * n) for n, name in enumerate(("flat copied", "relighter", "truth"))}
    scores = {"flat copied": Score(18.0, 0.9, None, 8), "relighter": Score(24.5, 0.8, None, 8)}
    write_evaluation(path, {"test_light": scores}, {"test_light": [Example(pictures, np.ones((16, 24)))]})
    return run


def test_a_finished_session_gets_one_page_that_needs_nothing_else(tmp_path: Path) -> None:
    session = make_session(tmp_path / "take07.zarr")
    finish_stages(session, *ORDER[1:])
    write_quality(session)
    session.write_small("rig/reprojection_px", np.array([0.2, 0.3]), ("camera",))
    page = Page(write_report(tmp_path / "take07.zarr"))
    assert page.text.startswith(" take07 · litdome report")
    assert "3 pairs, 2 cameras, 1 frame absent, 67 % of pairs kept, calibration 0.25 px" in page.text
    assert "1 min 15 s" in page.text and "camera c01: <1> frame absent" in page.text
    pictures = page.named("img")
    assert pictures and all(str(p["src"]).startswith("data:image/jpeg;base64,") and p["alt"] for p in pictures)
    assert not page.named("script") and not page.named("link") and not re.search(r"https?:|url\((?!#)", page.html)
    labels = [str(chart["aria-label"]) for chart in page.named("svg")]
    assert [label.split(":")[0] for label in labels] == [
        "Frames of every camera over the take",
        "Misalignment of every camera and pair",
    ]
    assert page.named("html")[0]["lang"] == "en"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["take07-report.html", "take07.zarr"]


def test_an_early_session_says_what_to_type(tmp_path: Path) -> None:
    session = make_session(tmp_path / "take07.zarr")
    page = Page(write_report(tmp_path / "take07.zarr", tmp_path / "out" / "page.html"))
    assert "work remains" in page.text and f"Next: litdome calibrate {session.url}" in page.text
    assert "pairs not aligned yet" in page.text and "not calibrated yet" in page.text
    assert len(page.named("svg")) == 1  # nothing is aligned: what was lost when, and no misalignment


def test_a_picture_that_was_not_recorded_is_said_to_be_missing(tmp_path: Path) -> None:
    make_session(tmp_path / "take07.zarr")
    page = Page(write_report(tmp_path / "take07.zarr"))
    assert page.text.count("no picture") == 1  # c01, relit of pair 1


def test_a_run_shows_its_loss_its_scores_and_its_pictures(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    page = Page(write_report(tmp_path / "run"))
    assert default_output(tmp_path / "run") == tmp_path / "run" / "report.html"
    assert "40 steps, loss" in page.text and "test_light 24.5 dB (best baseline 18.0)" in page.text
    assert re.search(r"relighter the run of this page 24\.50 ✓ 0\.800", page.text)
    assert re.search(r"flat copied the flat-lit picture, unchanged 18\.00 0\.900 ✓", page.text)
    assert "n = 8" in page.text and "LPIPS" not in page.text and "learning_rate" in page.text
    alts = [picture["alt"] for picture in page.named("img")]
    assert alts == ["test_light: flat copied", "test_light: relighter", "test_light: truth", "preview step-000040"]


def test_a_run_that_was_only_started_has_a_page(tmp_path: Path) -> None:
    config = RelighterConfig(steps=40)
    RunFolder.create(tmp_path / "run", plugin="relighter", config=config, dataset="d", dataset_fingerprint="f")
    page = Page(write_report(tmp_path / "run"))
    assert "not one step trained yet" in page.text and "not evaluated" in page.text


def test_a_demo_holds_its_session_its_run_and_its_videos(tmp_path: Path) -> None:
    make_session(tmp_path / "take07.zarr")
    make_run(tmp_path / "run")
    with VideoWriter(tmp_path / "relit.mp4", fps=10) as writer:
        for n in range(8):
            writer.write(np.full((32, 64, 3), 30 * n, np.uint8))
    about = {"session": "take07.zarr", "run": "run", "dataset": "gone", "videos": ["relit.mp4", "lost.mp4"]}
    (tmp_path / "demo.json").write_text(json.dumps({**about, "timings": {"train": 90.4}, "notes": ["a < b"]}))
    page = Page(write_report(tmp_path))
    assert [video["src"] for video in page.named("video")] == ["relit.mp4"]
    assert "Not there: dataset (gone); video lost.mp4" in page.text
    assert "train 1 min 30 s" in page.text and "a < b" in page.text
    assert "simulated" in page.text and "none of NVIDIA's weights" in page.text
    assert "Take take07" in page.text and "Training run run" in page.text


def test_links_to_videos_are_relative_to_the_page(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    with VideoWriter(tmp_path / "demo" / "relit.mp4", fps=10) as writer:
        writer.write(np.zeros((32, 32, 3), np.uint8))
    (tmp_path / "demo" / "demo.json").write_text(json.dumps({"videos": [{"path": "relit.mp4", "caption": "light"}]}))
    page = Page(write_report(tmp_path / "demo", tmp_path / "pages" / "demo.html"))
    assert page.named("video")[0]["src"] == "../demo/relit.mp4"
    assert "Not there: session; run" in page.text


@pytest.mark.parametrize("name", ["nothing", "folder"])
def test_a_folder_that_is_none_of_these_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match=f"{name}: (nothing there|not a session, run or demo)"):
        write_report(tmp_path / name)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    (tmp_path / "run" / "evaluation.json").write_text("{")
    with pytest.raises(StoreError, match=r"evaluation\.json: damaged"):
        write_report(tmp_path / "run")
    (tmp_path / "demo.json").write_text("[]")
    with pytest.raises(StoreError, match=r"demo\.json"):
        write_report(tmp_path)
    assert not list(tmp_path.glob("**/*.html"))


def test_ceilings_stand_last_and_do_not_compete() -> None:
    scores = {"autoencoder": (40.0, 0.99, 0.01), "relighter": (30.0, 0.9, 0.2), "flat copied": (20.0, 0.95, 0.1)}
    split = {name: {"psnr": p, "ssim": s, "lpips": d, "n": 4} for name, (p, s, d) in scores.items()}
    table = score_table({"test_light": split, "test_empty": {}})
    assert table.splits == (("test_light", 4),)
    assert [(name, bound) for name, bound, _ in table.rows][-1] == ("autoencoder", True)
    best = {name: [is_best for _, is_best in cells] for name, _, cells in table.rows}
    assert best["relighter"] == [True, False, False] and best["flat copied"] == [False, True, True]
    assert best["autoencoder"] == [False, False, False]


def test_each_measure_has_its_own_better_and_nobody_wins_alone() -> None:
    sharp = {"psnr": 30.0, "shift_px": 0.5, "detail_ratio": 0.8, "color_bias": 3.0, "gain_error": 0.1}
    noisy = {"psnr": 30.5, "shift_px": 1.5, "detail_ratio": 1.1, "color_bias": 2.0, "gain_error": None}
    table = score_table({"test_light": {"sharp": {**sharp, "n": 4}, "noisy": {**noisy, "n": 4}}})
    assert table.measures == ("PSNR, dB", "shift, px", "detail", "colour, dE", "gain")
    best = {name: [is_best for _, is_best in cells] for name, _, cells in table.rows}
    assert best == {"sharp": [False, True, False, False, False], "noisy": [True, False, True, True, False]}
    assert table.reading == "More is better, for shift, colour, gain less, and detail is best at 1."

"""Withdrawal: everything that a subject's pictures went into is listed, and may not be used any more."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from color_scene import make_scene
from test_datasets_colors import SPEC, take

from litdome.cli import run
from litdome.datasets.build import build_dataset
from litdome.datasets.views import open_dataset
from litdome.datasets.withdrawal import find_derived, need_consent, video_comment
from litdome.errors import ConsentError
from litdome.media.encode import VideoWriter
from litdome.store.session import Session
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.run import RunFolder

CONSENT = {"version": "1", "uses": ["research", "train"], "expires": None}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A recording, its session, a dataset, a run and a relit video of subject s03; a session of s04 beside them."""
    scene = take(tmp_path / "s03")
    session = scene.session
    session.root.attrs.update({"subject": "s03", "consent": CONSENT, "fps": 25.0, "hdri_convention": "physical"})
    (tmp_path / "filmed").mkdir()
    (tmp_path / "filmed" / "recording.toml").write_text('name = "take"\nsubject = "s03"\nfps = 25.0\n')
    (tmp_path / "filmed" / "c00.mp4").write_bytes(b"footage")
    data = build_dataset([session], tmp_path / "data", SPEC, workers=1)
    assert data is not None
    about = open_dataset(data.path).attrs["sessions"]
    trained = RunFolder.create(
        tmp_path / "run",
        plugin="relighter",
        config=RelighterConfig(),
        dataset=str(data.path),
        dataset_fingerprint=data.fingerprint,
        subjects=("s03",),
    )
    with VideoWriter(tmp_path / "relit.mp4", fps=5, comment=video_comment(trained.path, about, "park")) as video:
        video.write(np.zeros((16, 16, 3), np.uint8))
    with VideoWriter(tmp_path / "holiday.mp4", fps=5) as video:
        video.write(np.zeros((16, 16, 3), np.uint8))
    make_scene(tmp_path / "s04", cameras=1).session.root.attrs["subject"] = "s04"
    return tmp_path


def test_everything_derived_is_found_and_nothing_of_others(place: Path) -> None:
    found = {(one.kind, one.path.name) for one in find_derived([place]) if "s03" in one.subjects}
    session = next(one.path.name for one in find_derived([place / "s03"]) if one.kind == "session")
    assert found == {
        ("recording", "filmed"),
        ("session", session),
        ("dataset", "data"),
        ("run", "run"),
        ("video", "relit.mp4"),
    }


def test_what_lies_inside_a_recording_is_found_too(place: Path) -> None:
    session = next(one.path for one in find_derived([place / "s03"]) if one.kind == "session")
    session.rename(place / "filmed" / "take.zarr")
    (place / "relit.mp4").rename(place / "filmed" / "relit.mp4")
    for where in (place, place / "filmed"):
        inside = {one.path.name: one.kind for one in find_derived([where]) if "filmed" in one.path.parts}
        assert inside == {"filmed": "recording", "take.zarr": "session", "relit.mp4": "video"}


@pytest.mark.parametrize("name", ["run.json", "export.json", "zarr.json"])
def test_files_of_other_programs_are_passed_over(place: Path, name: str) -> None:
    before = find_derived([place])
    (place / "other").mkdir()
    (place / "other" / name).write_text("[1, 2]")
    assert find_derived([place]) == before


def test_a_run_of_before_subjects_were_recorded_is_found_through_its_dataset(place: Path) -> None:
    record = json.loads((place / "run" / "run.json").read_text())
    del record["subjects"]
    (place / "run" / "run.json").write_text(json.dumps(record))
    assert ("run", ("s03",)) in {(one.kind, one.subjects) for one in find_derived([place])}
    assert RunFolder.open(place / "run").record.subjects == ()


def test_withdraw_marks_and_the_uses_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = open_dataset(place / "data")
    need_consent(data.attrs["sessions"], "train", data.path)
    assert run(["withdraw", "s03", str(place), "--dry-run"]) == 0
    need_consent(open_dataset(place / "data").attrs["sessions"], "train", data.path)
    assert run(["withdraw", "s03", str(place)]) == 0
    assert f"withdrawn = {date.today()}" in capsys.readouterr().out
    with pytest.raises(ConsentError, match=r"subject s03.*withdrew"):
        need_consent(open_dataset(place / "data").attrs["sessions"], None, data.path)
    session = next(one.path for one in find_derived([place / "s03"]) if one.kind == "session")
    assert Session.open(str(session)).attrs["consent"] == CONSENT | {"withdrawn": date.today().isoformat()}
    with pytest.raises(ConsentError, match=r"subject s03.*withdrew"):
        build_dataset([Session.open(str(session))], place / "again", SPEC, workers=1)
    assert not (place / "again").exists()
    assert run(["train", "relighter", str(place / "data"), "--out", str(place / "run2")]) == 2
    assert "withdrew" in capsys.readouterr().err


def test_an_unknown_subject_is_named_with_those_that_are_there(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["withdraw", "s30", str(place)]) == 2
    assert "subjects there: s03, s04" in capsys.readouterr().err

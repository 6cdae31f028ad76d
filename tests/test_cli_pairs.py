from __future__ import annotations

import json
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import test_report_status
from review_page import make_session

from litdome.cli import run
from litdome.store.decisions import Decision, add_decision, decisions_folder, read_decisions
from litdome.store.pair_columns import pair_columns
from litdome.store.session import Session

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """Twelve pairs of two cameras: the shift of p is p / 2 px in c00 and 2.5 px in c01; (c01, 1) is absent."""
    return make_session(tmp_path_factory.mktemp("pairs") / "take09.zarr")


@pytest.fixture
def session(made: Session) -> Iterator[Session]:
    """The take without decisions."""
    yield made
    for path in Path(decisions_folder(made.url)).glob("*"):
        path.unlink()


def keep(session: Session) -> np.ndarray:
    return pair_columns(session).keep


def decide(session: Session, *options: str, reason: str = "hand") -> int:
    return run(["-q", "decide", session.url, *options, "--reason", reason])


def test_a_table_of_the_worst_pairs(session: Session, capsys: Capture) -> None:
    assert run(["-q", "pairs", session.url, "--where", "shift_px > 2", "--sort", "shift_px", "--limit", "2"]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["pair", "11", "10"]
    assert "11 of 12 pairs fit, by camera 18 of 24, of which 18 are kept; 9 rows more" in err
    assert run(["-q", "pairs", session.url, "--by", "camera", "--where", "region == hands and shift_px > 10"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[1].split()[:3] == ["11", "c00", "street"] and "1 of 12 pairs" in err


def test_a_user_without_a_name_decides_under_a_number(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(number: int) -> None:
        raise KeyError(number)  # as in a container that runs under a bare number

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert decide(session, "drop", "--pairs", "0:1") == 0
    assert read_decisions(session.url)[-1].author == str(os.getuid())


def test_json_is_filtered(session: Session, capsys: Capture) -> None:
    assert run(["-q", "pairs", session.url, "--json", "--where", "absent"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["pairs"]
    assert row["pair"] == 1 and list(row["cameras"]) == ["c01"] and row["cameras"]["c01"]["shift_px"] is None
    assert run(["-q", "pairs", session.url, "--json", "--sort", "shift_px"]) == 2


@pytest.mark.parametrize("text", ["shift_px >", "shfit_px > 6", "region == foot"])
def test_a_filter_that_cannot_be_is_one_clear_line(session: Session, capsys: Capture, text: str) -> None:
    for command in (["pairs", session.url], ["decide", session.url, "drop", "--reason", "x"]):
        assert run(["-q", *command, "--where", text]) == 2
        assert capsys.readouterr().err.startswith("litdome: filter: ")
    assert read_decisions(session.url) == ()


def test_what_a_filter_lets_through_is_recorded_in_one_decision_for_each_set_of_pairs(
    session: Session, capsys: Capture
) -> None:
    before = keep(session)
    assert decide(session, "drop", "--where", "shift_px > 2 and shift_px < 5", "--pairs", "0:6,8:12") == 0
    assert "drop 12 of 24 by camera; 12 change" in capsys.readouterr().out
    assert {(found.cameras, found.pairs) for found in read_decisions(session.url)} == {
        (("c00",), ((5, 6), (8, 10))),
        (("c01",), ((0, 1), (2, 6), (8, 12))),
    }
    assert (before & ~keep(session)).sum() == 12
    assert decide(session, "drop", "--where", "decided or absent") == 0
    assert "drop 13 of 24 by camera; 0 change, the others were dropped before" in capsys.readouterr().out


def test_everything_is_one_decision_about_all(session: Session) -> None:
    assert decide(session, "drop") == 0
    (found,) = read_decisions(session.url)
    assert (found.cameras, found.pairs, found.reason) == (None, (), "hand") and not keep(session).any()
    assert decide(session, "keep", "--cameras", "c01", "--pairs", "2:4") == 0
    assert np.argwhere(keep(session)).tolist() == [[1, 2], [1, 3]]


def test_a_dry_run_and_a_filter_that_nothing_fits_record_nothing(session: Session, capsys: Capture) -> None:
    assert decide(session, "drop", "--where", "shift_px > 2", "--dry-run") == 0
    assert "would drop 18 of 24" in capsys.readouterr().out
    assert decide(session, "drop", "--where", "shift_px > 99") == 0
    assert "drop 0 of 24" in (out := capsys.readouterr().out) and "nothing was recorded" in out
    assert read_decisions(session.url) == ()


@pytest.mark.parametrize(
    "options",
    [
        ["--pairs", "0:13"],
        ["--pairs", "5"],
        ["--pairs", "3:3"],
        ["--pairs", "0:2,"],
        ["--pairs", "-1:2"],
        ["--cameras", "c07"],
        ["--cameras", "c00,"],
    ],
)
def test_what_is_not_there_cannot_be_decided(session: Session, capsys: Capture, options: list[str]) -> None:
    assert decide(session, "drop", *options) == 2
    assert capsys.readouterr().err.startswith(f"litdome: {options[0]} ")
    assert read_decisions(session.url) == ()


@pytest.mark.parametrize("options", [["--reason", " "], ["--reason", "hand", "--where", ""]])
def test_an_empty_reason_or_filter_never_decides_about_everything(
    session: Session, capsys: Capture, options: list[str]
) -> None:
    assert run(["-q", "decide", session.url, "drop", *options]) == 2
    assert capsys.readouterr().err.startswith(f"litdome: {options[-2]} is empty")
    assert read_decisions(session.url) == ()


def test_a_reason_of_several_lines_stays_in_its_row(session: Session, capsys: Capture) -> None:
    assert decide(session, "drop", "--pairs", "2:3", "--cameras", "c00", reason="hand\n\x1b[31mhidden ä") == 0
    capsys.readouterr()
    assert run(["-q", "pairs", session.url, "--by", "camera", "--where", "decided"]) == 0
    (_, row) = capsys.readouterr().out.splitlines()
    assert row.endswith(": hand [31mhidden ä")


def test_a_decision_about_pairs_beyond_the_take_is_told_not_a_crash(tmp_path: Path, capsys: Capture) -> None:
    session = test_report_status.make_session(tmp_path / "take.zarr")
    add_decision(session.url, Decision("drop", ("c00",), ((2, 40),), "blur", "ann"))
    for command in ("pairs", "status"):
        assert run(["-q", command, session.url]) == 0
        out, err = capsys.readouterr()
        assert "pairs 2:40 of 0:3" in (err if command == "pairs" else out)
    assert run(["-q", "status", session.url, "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["strays"]
    assert "drop by ann" in told and keep(session)[0].tolist() == [True, True, False]

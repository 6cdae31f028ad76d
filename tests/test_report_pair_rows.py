from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import review_page
from test_report_status import finish_stages, make_session, write_quality

from litdome.errors import UsageError
from litdome.pipeline import ORDER
from litdome.report.pair_rows import pair_rows, table_by_camera, table_by_pair
from litdome.store.decisions import Decision, add_decision
from litdome.store.pair_columns import pair_columns
from litdome.store.pair_filter import parse_filter
from litdome.store.session import Session


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return make_session(tmp_path / "take.zarr")


def rows_of(session: Session, text: str = "") -> list[dict[str, Any]]:
    columns = pair_columns(session)
    return pair_rows(columns, session.pairs, parse_filter(text).select(columns))


def test_before_align_a_pair_is_kept_when_both_pictures_were_recorded(session: Session) -> None:
    rows = rows_of(session)
    assert [row["relit_frame"] for row in rows] == [2, 3, 5]
    assert rows[2]["next_flat_frame"] == -1 and rows[0]["gap_ms"] == 40.0
    assert [row["hdri"] for row in rows] == ["park", "street", "street"]
    kept = {"keep": True, "reason": []}
    assert rows[1]["cameras"] == {"c00": kept, "c01": {"keep": False, "reason": ["absent"]}}


def test_scores_and_reasons_follow_align(session: Session) -> None:
    finish_stages(session, *ORDER[1:])
    write_quality(session)
    rows = rows_of(session)
    assert rows[1]["cameras"]["c01"] == {"keep": False, "reason": ["absent"], "shift_px": None}
    assert rows[2]["cameras"]["c00"] == {"keep": False, "reason": ["shift"], "shift_px": 6.0}


def test_a_decision_overrules_the_automatic_choice_and_the_later_one_wins(session: Session) -> None:
    finish_stages(session, *ORDER[1:])
    write_quality(session)
    add_decision(session.url, Decision("drop", None, ((2, 3),), "hand hidden", "ann", "2025-01-02T00:00:00+00:00"))
    add_decision(session.url, Decision("keep", ("c00",), ((2, 3),), "it is fine", "bob", "2025-01-03T00:00:00+00:00"))
    cameras = rows_of(session)[2]["cameras"]
    assert cameras["c00"] == {"keep": True, "reason": ["shift"], "shift_px": 6.0, "decision": "it is fine"}
    assert cameras["c01"] == {"keep": False, "reason": [], "shift_px": 0.75, "decision": "hand hidden"}
    assert "decision" not in rows_of(session)[0]["cameras"]["c00"]


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """Twelve pairs: the shift of p is p / 2 px in c00 and 2.5 px in c01, the hands' twice that; (c01, 1) is absent."""
    return review_page.make_session(tmp_path_factory.mktemp("pairs") / "take09.zarr")


def test_a_filter_leaves_cameras_out_and_pairs_of_which_none_is_left(scored: Session) -> None:
    rows = rows_of(scored, "shift_px > 5")
    assert [(row["pair"], list(row["cameras"])) for row in rows] == [(11, ["c00"])]
    assert rows[0]["cameras"]["c00"]["hands_shift_px"] == 11 and "gap_ms" not in rows[0]["cameras"]["c00"]
    rows = rows_of(scored, "region == hands and shift_px > 4.9 and pair < 2")
    assert [(row["pair"], list(row["cameras"])) for row in rows] == [(0, ["c01"])]


def test_a_row_of_a_pair_tells_the_worst_of_the_chosen_cameras(scored: Session) -> None:
    columns = pair_columns(scored)
    everything = parse_filter("").select(columns)
    header, rows = table_by_pair(columns, scored.pairs, everything, "reliability")
    assert header == ["pair", "flat", "relit", "hdri", "worst shift_px", "worst reliability", "kept"]
    assert [row[0] for row in rows] == ["11", "10", "9", "8", "7", "6", "0", "2", "3", "4", "5", "1"]
    assert rows[0] == ["11", "22", "23", "street", "5.5", "0.1538", "2/2"]
    assert rows[-1][4:] == ["0.5", "0.6667", "1/2"]  # c01 did not record pair 1
    one = parse_filter("camera == c01").select(columns)
    assert table_by_pair(columns, scored.pairs, one, None)[1][1] == ["1", "2", "3", "street", "-", "0/1"]


def test_a_row_of_a_camera_tells_every_score_and_why(scored: Session) -> None:
    add_decision(scored.url, Decision("keep", ("c01",), ((1, 2),), "fine", "ann", "2025-01-01T00:00:00+00:00"))
    columns = pair_columns(scored)
    chosen = parse_filter("pair < 2").select(columns)
    header, rows = table_by_camera(columns, chosen, "hands_shift_px")
    assert header == ["pair", "camera", "hdri", *columns.scores, "holds", "why"]
    assert [row[:2] for row in rows] == [["0", "c01"], ["1", "c00"], ["0", "c00"], ["1", "c01"]]
    assert rows[3][-2:] == ["keep", "ann: fine"] and rows[3][header.index("shift_px")] == "-"
    assert rows[1][header.index("hands_shift_px")] == "1"


def test_a_score_that_is_not_there_is_answered_with_the_nearest(scored: Session) -> None:
    columns = pair_columns(scored)
    chosen = np.ones(columns.shape, bool)
    with pytest.raises(UsageError, match="--sort shift") as caught:
        table_by_camera(columns, chosen, "shift")
    assert caught.value.hint == "did you mean shift_px?"
    with pytest.raises(UsageError):
        table_by_pair(columns, scored.pairs, chosen, "pair")

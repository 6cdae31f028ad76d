from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from litdome.errors import StoreError
from litdome.store.decisions import (
    Decision,
    DecisionLog,
    add_decision,
    decisions_about,
    effective_keep,
    last_decision,
    ranges_of,
    read_decisions,
    strays,
)

CAMERAS = ("c00", "c01", "c02")


def decision(action: Any = "drop", cameras: Any = None, pairs: Any = ()) -> Decision:
    return Decision(action, cameras, pairs, "why", "ann", "2026-01-01T00:00:00+00:00")


def test_decisions_about_a_session_of_any_name_are_found(tmp_path: Path) -> None:
    for name in ("take[1]", "take*", "take 01"):
        add_decision(str(tmp_path / f"{name}.zarr"), decision())
        assert len(read_decisions(str(tmp_path / f"{name}.zarr"))) == 1
    assert read_decisions(str(tmp_path / "none.zarr")) == ()


def test_the_later_decision_wins_whatever_zone_its_time_is_written_in(tmp_path: Path) -> None:
    url = str(tmp_path / "take.zarr")
    written = {"late": "2026-01-01T11:00:00Z", "early": "2026-01-01T12:30:00+02:00", "middle": "2026-01-01T10:45:00.5"}
    assert DecisionLog(str(tmp_path / "first.zarr")).add(decision()).time > "2026"
    for reason, time in written.items():
        add_decision(url, replace(decision(), reason=reason, time=time))
    log = DecisionLog(url)
    assert [each.reason for each in log.read()] == ["early", "middle", "late"]
    add_decision(url, replace(decision(), reason="clock ahead", time="2999-01-01T00:00:00+14:00"))
    log.read()
    assert log.add(replace(decision(), reason="now")).time == "2998-12-31T10:00:00.000001+00:00"
    assert [each.reason for each in read_decisions(url)] == ["early", "middle", "late", "clock ahead", "now"]


def test_the_last_decision_about_each_place_is_told() -> None:
    about = (decision(), decision("keep", ("c01", "c09"), ((1, 2), (3, 9))), decision("drop", ("c01",), ((3, 4),)))
    assert last_decision((3, 5), CAMERAS, about).tolist() == [[0] * 5, [0, 1, 0, 2, 1], [0] * 5]
    assert last_decision((3, 5), CAMERAS, ()).tolist() == [[-1] * 5] * 3
    keep = np.eye(3, 5, dtype=bool)
    assert effective_keep(keep, CAMERAS, about).tolist() == [
        [False] * 5,
        [False, True, False, False, True],
        [False] * 5,
    ]
    assert (effective_keep(keep, CAMERAS, ()) == keep).all() and effective_keep(keep, CAMERAS, ()) is not keep


@given(st.lists(st.lists(st.booleans(), min_size=7, max_size=7), min_size=3, max_size=3))
def test_what_is_chosen_is_what_the_decisions_are_about(chosen: list[list[bool]]) -> None:
    wanted = np.array(chosen)
    made = decisions_about(wanted, CAMERAS, "drop", "why", "ann")
    assert (effective_keep(np.ones((3, 7), bool), CAMERAS, made) == ~wanted).all()
    assert len(made) == len({tuple(row) for row in chosen if any(row)})


def test_cameras_that_share_their_pairs_share_a_decision() -> None:
    (made,) = decisions_about(np.ones((3, 4), bool), CAMERAS, "keep", "why", "ann")
    assert (made.cameras, made.pairs) == (None, ())
    (made,) = decisions_about(np.bool_([[1, 0, 1, 1], [0] * 4, [1, 0, 1, 1]]), CAMERAS, "keep", "why", "ann")
    assert (made.cameras, made.pairs) == (("c00", "c02"), ((0, 1), (2, 4)))
    assert ranges_of(np.bool_([])) == () and ranges_of(np.bool_([1])) == ((0, 1),)


def test_decisions_about_what_is_not_there_are_told_and_change_nothing() -> None:
    about = (decision(pairs=((2, 4), (4, 6))), decision(cameras=("c09",)), decision(cameras=("c00",), pairs=((0, 5),)))
    assert [text.partition("about ")[2] for text in strays(about, CAMERAS, 5)] == [
        "pairs 4:6 of 0:5",
        "camera c09, which is not there",
    ]
    assert not effective_keep(np.ones((3, 5), bool), CAMERAS, about)[1, 4]  # what of it is there holds
    assert strays(about, (*CAMERAS, "c09"), 6) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": "delete"},
        {"cameras": "c00"},
        {"cameras": [1]},
        {"pairs": [[-1, 2]]},
        {"pairs": [[3, 3]]},
        {"pairs": [[1, 2, 3]]},
        {"pairs": [1]},
        {"pairs": None},
        {"time": None},
        {"time": "yesterday"},
    ],
)
def test_a_file_that_is_no_decision_is_named(tmp_path: Path, wrong: dict[str, Any]) -> None:
    url = str(tmp_path / "take.zarr")
    path = Path(add_decision(url, decision(cameras=("c00",), pairs=((1, 2),))))
    assert read_decisions(url) == (decision(cameras=("c00",), pairs=((1, 2),)),)
    path.write_text(json.dumps(json.loads(path.read_text()) | wrong))
    with pytest.raises(StoreError, match=f"{re.escape(path.name)}: not a decision"):
        read_decisions(url)
    path.write_text("[]")
    with pytest.raises(StoreError, match="not a decision"):
        read_decisions(url)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import test_report_status
from review_page import make_session

from litdome.errors import UsageError
from litdome.store.decisions import Decision, add_decision
from litdome.store.pair_columns import low_is_bad, pair_columns
from litdome.store.pair_filter import parse_filter


def test_every_score_is_a_column_and_every_region_seen_has_its_own(tmp_path: Path) -> None:
    session = make_session(tmp_path / "take.zarr")
    shift = session.read("quality/shift_px")
    regions = np.stack([shift, np.full_like(shift, np.nan), 2 * shift], -1)
    dims = ("camera", "pair", "region")
    session.write_small("quality/region_shift_px", regions, dims, attrs={"names": ["face", "hands", "body"]})
    session.write_small("quality/lights", np.zeros((2, 12), np.int32), ("camera", "pair"))  # no score: whole numbers
    columns = pair_columns(session)
    assert list(columns.scores) == ["shift_px", "face_shift_px", "body_shift_px", "reliability", "gap_ms"]
    assert columns.regions == ("face", "body") and columns.described["gap_ms"][0] == "ms"
    assert np.array_equal(columns.scores["body_shift_px"], 2 * shift, equal_nan=True)
    assert parse_filter("region == body and shift_px > 10").select(columns).sum() == 1
    with pytest.raises(UsageError, match="no region hands"):
        parse_filter("region == hands").select(columns)
    assert [name for name in columns.scores if low_is_bad(name)] == ["reliability"]


def test_before_align_only_the_time_and_what_is_absent_are_known(tmp_path: Path) -> None:
    session = test_report_status.make_session(tmp_path / "take.zarr")
    add_decision(session.url, Decision("drop", None, ((0, 1),), "hidden", "ann"))
    columns = pair_columns(session)
    assert list(columns.scores) == ["gap_ms"] and columns.reasons == ("absent",) and columns.regions == ()
    assert columns.automatic.tolist() == [[True, True, True], [True, False, True]]
    assert columns.keep.tolist() == [[False, True, True], [False, False, True]]
    assert columns.deciding.tolist() == [[0, -1, -1]] * 2
    assert np.argwhere(parse_filter("absent").select(columns)).tolist() == [[1, 1]]

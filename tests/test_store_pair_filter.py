from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from filter_cases import FITS, REFUSED, case_columns

from litdome.errors import UsageError
from litdome.store.pair_filter import parse_filter


@pytest.mark.parametrize(("text", "first", "second"), FITS, ids=lambda value: value if " " in value else "")
def test_a_filter_selects_what_the_table_says(text: str, first: str, second: str) -> None:
    found = parse_filter(text).select(case_columns())
    assert ["".join("01"[int(fit)] for fit in row) for row in found] == [first, second]


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:20])
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="filter: "):
        parse_filter(text).select(case_columns())


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("shfit_px > 6", "did you mean shift_px?"),
        ("keptt", "did you mean kept?"),
        ("absnt and kept", "did you mean absent?"),
        ("region == hand", "did you mean hands?"),
        ("shift_px", "shift_px > 6"),
    ],
)
def test_a_mistyped_name_is_answered_with_the_nearest(text: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_filter(text).select(case_columns())
    assert caught.value.hint == hint


def test_a_region_where_none_was_measured_is_said() -> None:
    columns = case_columns()
    plain = {name: values for name, values in columns.scores.items() if name in ("shift_px", "gap_ms")}
    with pytest.raises(UsageError, match="no region was measured"):
        parse_filter("shift_px > 6 and region == hands").select(replace(columns, regions=(), scores=plain))


def test_the_selection_is_an_array_of_its_own() -> None:
    columns = case_columns()
    for text in ("", "kept", "camera == c00"):
        found = parse_filter(text).select(columns)
        assert found.shape == columns.shape and found.dtype == bool and found.flags.writeable
        found[...] = True
    assert not columns.automatic.all()


def test_a_filter_says_what_was_written_and_what_is_wrong_with_the_rest_of_it() -> None:
    assert parse_filter("  kept ").text == "kept"
    with pytest.raises(UsageError, match="shift_px is compared with six, not with a number"):
        parse_filter("kept and shift_px > six").select(case_columns())


def test_every_region_of_a_filter_must_be_the_same_one() -> None:
    """Face over 6 px and hands not: no region is both."""
    columns = case_columns()
    both = parse_filter("region == face and region == hands").select(columns)
    worse = parse_filter("shift_px > 6 and shift_px < 8 and region != body").select
    assert not both.any()
    with pytest.raises(UsageError, match="no region body"):
        worse(columns)
    expected = np.any(
        [(s > 6) & (s < 8) for s in (columns.scores["face_shift_px"], columns.scores["hands_shift_px"])], 0
    )
    assert (
        parse_filter("shift_px > 6 and shift_px < 8 and (region == face or region == hands)").select(columns)
        == expected
    ).all()

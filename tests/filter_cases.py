"""The table of filters that Python's grammar and the page's are both held to, and its columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from litdome.store.decisions import Decision
from litdome.store.pair_columns import PairColumns

CASES: dict[str, Any] = json.loads(Path(__file__).with_name("filter_cases.json").read_text())
PLAIN: dict[str, Any] = CASES["columns"]
FITS: list[tuple[str, str, str]] = [tuple(case) for case in CASES["fits"]]
REFUSED: list[str] = CASES["refused"]


def case_columns() -> PairColumns:
    """The columns of the table; null there is what was not measured."""
    decisions = [
        Decision(
            plain["action"], plain["cameras"] and tuple(plain["cameras"]), tuple(map(tuple, plain["pairs"])), "", ""
        )
        for plain in PLAIN["decisions"]
    ]
    return PairColumns(
        cameras=tuple(PLAIN["cameras"]),
        hdris=tuple(PLAIN["hdris"]),
        hdri=np.int32(PLAIN["hdri"]),
        scores={name: np.array(values, np.float32) for name, values in PLAIN["scores"].items()},
        described={},
        regions=tuple(PLAIN["regions"]),
        reasons=tuple(PLAIN["reasons"]),
        reason=np.uint16(PLAIN["reason"]),
        automatic=np.bool_(PLAIN["automatic"]),
        decisions=tuple(decisions),
    )

"""What is known of every pair of every camera, as arrays that a browser takes in one piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from litdome.store.pair_columns import BoolArray, Float32Array, low_is_bad, pair_columns
from litdome.store.session import Session


@dataclass(frozen=True)
class Score:
    """A score by which pairs are sorted; ``low_is_bad`` says on which side of a threshold the doubtful ones lie."""

    name: str
    unit: str
    description: str
    low_is_bad: bool = False


@dataclass(frozen=True, eq=False)
class PairTable:
    """Scores of some cameras of a session.

    Attributes:
        cameras: Camera ids, the rows.
        scores: What `values` holds.
        regions: Those with scores of their own.
        values: Shape (score, camera, pair), float32; NaN where it was not measured.
        hdri: Entry of the lighting schedule by pair, shape (pair,), -1 none.
        reasons: Names of the bits of ``reason``.
        reason: Why a pair is left out, shape (camera, pair), uint16 bits.
        automatic: What ``align`` chose, shape (camera, pair); before it, whether both pictures were recorded.
    """

    cameras: tuple[str, ...]
    scores: tuple[Score, ...]
    regions: tuple[str, ...]
    values: Float32Array
    hdri: npt.NDArray[np.int32]
    reasons: tuple[str, ...]
    reason: npt.NDArray[np.uint16]
    automatic: BoolArray

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return len(self.hdri)

    def as_bytes(self) -> bytes:
        """Values, hdri, reason and automatic choice one after the other, little-endian, in C order."""
        parts = ((self.values, "<f4"), (self.hdri, "<i4"), (self.reason, "<u2"), (self.automatic, "u1"))
        return b"".join(np.ascontiguousarray(part, dtype).tobytes() for part, dtype in parts)


def read_table(session: Session, cameras: Sequence[str]) -> PairTable:
    """Read what is known of ``cameras`` (`litdome.store.pair_columns`)."""
    found = pair_columns(session)
    rows = [found.cameras.index(camera) for camera in cameras]
    return PairTable(
        cameras=tuple(cameras),
        scores=tuple(Score(name, *found.described[name], low_is_bad(name)) for name in found.scores),
        regions=found.regions,
        values=np.stack([values[rows] for values in found.scores.values()]),
        hdri=found.hdri,
        reasons=found.reasons,
        reason=found.reason[rows],
        automatic=found.automatic[rows],
    )

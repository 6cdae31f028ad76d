"""What is known of every pair of every camera, as arrays that a browser takes in one piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import zarr

from litdome.store.session import Session

Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
LOW_IS_BAD = ("reliability", "sharpness")
GAP = ("gap_ms", "ms", "time from the flat to the relit frame")


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
        values: Shape (score, camera, pair), float32; NaN where it was not measured.
        hdri: Entry of the lighting schedule by pair, shape (pair,), -1 none.
        reasons: Names of the bits of ``reason``.
        reason: Why a pair is left out, shape (camera, pair), uint16 bits.
        automatic: What ``align`` chose, shape (camera, pair); before it, whether both pictures were recorded.
    """

    cameras: tuple[str, ...]
    scores: tuple[Score, ...]
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
    """Read what is known of ``cameras``; before ``align`` has finished that is only the time and what is absent.

    Every array of ``quality`` that has a number per camera and pair is a score; one with named regions is a score for
    each of them (``hands_shift_px``).
    """
    rows = [session.cameras.index(camera) for camera in cameras]
    shape = (len(rows), len(session.pairs))
    found = [(Score(*GAP), np.broadcast_to(session.pairs.gap_ms, shape).astype(np.float32))]
    record = session.record("align")
    reasons: tuple[str, ...] = ("absent",)
    if record is None or not record.finished:
        present = session.read("schedule/present").astype(bool)[rows]
        both = present[:, session.pairs.flat_frame] & present[:, session.pairs.relit_frame]
        automatic, reason = both, (~both).astype(np.uint16)
    else:
        automatic, reason = session.read("quality/keep").astype(bool)[rows], session.read("quality/reason")[rows]
        reasons = tuple(cast(list[str], session.array("quality/reason").attrs["names"]))
        found = _quality(session, rows) + found
    scores, values = zip(*found, strict=True)
    return PairTable(tuple(cameras), scores, np.stack(values), session.pairs.hdri, reasons, reason, automatic)


def _quality(session: Session, rows: list[int]) -> list[tuple[Score, Float32Array]]:
    found = []
    group = cast(zarr.Group, session.root["quality"])
    for name in sorted(group.array_keys()):
        array: Any = session.array(f"quality/{name}")
        if array.dtype.kind != "f" or array.shape[:2] != (len(session.cameras), len(session.pairs)):
            continue
        values = session.read(f"quality/{name}").astype(np.float32)[rows]
        names = [name] if values.ndim == 2 else [f"{region}_{name}" for region in array.attrs.get("names", ())]
        unit, description = str(array.attrs.get("unit", "")), str(array.attrs.get("description", ""))
        for i, score in enumerate(names):
            column = values if values.ndim == 2 else values[..., i]
            found.append((Score(score.replace("region_", ""), unit, description, name in LOW_IS_BAD), column))
    return sorted(found, key=lambda item: item[0].name != "shift_px")

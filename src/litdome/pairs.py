"""Pairs: each relit rig frame with the flat frame before it and the one after; the index that everything shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from litdome.lighting import KIND_CODES, LightingSchedule

IntArray = npt.NDArray[np.int32]
Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PairTable:
    """All pairs of a take, in the order of time; every array has shape (pair,).

    Attributes:
        flat, relit, next_flat: Index among the stored pictures of that kind; next_flat -1 if none.
        flat_frame, relit_frame, next_flat_frame: Rig frames; next_flat_frame -1 if none.
        hdri: Entry of the lighting schedule, -1 none.
        gap_ms: Time from the flat to the relit frame, ms.
        alpha: (t_relit - t_flat) / (t_next_flat - t_flat), 0..1; NaN if there is no next flat frame.
    """

    flat: IntArray
    relit: IntArray
    next_flat: IntArray
    flat_frame: IntArray
    relit_frame: IntArray
    next_flat_frame: IntArray
    hdri: IntArray
    gap_ms: Float32Array
    alpha: Float32Array

    def __len__(self) -> int:
        return len(self.relit)


def frames_of_kind(schedule: LightingSchedule, kind: str) -> IntArray:
    """Rig frames lit as ``kind`` (``dark``, ``flat``, ``hdri`` or ``pattern``), rising, shape (n,)."""
    return np.flatnonzero(schedule.kind == KIND_CODES[kind]).astype(np.int32)


def make_pairs(schedule: LightingSchedule, time_ns: npt.NDArray[np.int64]) -> PairTable:
    """Pair every relit rig frame with the latest flat frame before it and the first one after it.

    The rule looks at the schedule only, so a frame that a camera dropped never shifts another pair. Dark and pattern
    frames never count. A relit frame before the first flat one makes no pair.

    Args:
        schedule: What was lit at each rig frame.
        time_ns: Time of each rig frame, shape (frame,), ns, rising.

    Returns:
        One pair per relit frame that has an earlier flat one, at 1:1 as at 1:20.
    """
    flats, relits = frames_of_kind(schedule, "flat"), frames_of_kind(schedule, "hdri")
    after = np.searchsorted(flats, relits)
    relit = np.flatnonzero(after > 0)
    flat, next_flat, relit_frame = after[relit] - 1, after[relit], relits[relit]
    has_next = next_flat < len(flats)
    next_flat = np.where(has_next, next_flat, -1)
    flat_frame = flats[flat]
    next_frame = np.where(has_next, flats[next_flat], -1) if len(flats) else next_flat
    gap_ns = (time_ns[relit_frame] - time_ns[flat_frame]).astype(np.float64)
    span_ns = np.where(has_next, time_ns[next_frame] - time_ns[flat_frame], np.nan)
    return PairTable(
        flat=flat.astype(np.int32),
        relit=relit.astype(np.int32),
        next_flat=next_flat.astype(np.int32),
        flat_frame=flat_frame,
        relit_frame=relit_frame,
        next_flat_frame=next_frame.astype(np.int32),
        hdri=schedule.hdri[relit_frame].astype(np.int32),
        gap_ms=(gap_ns / 1e6).astype(np.float32),
        alpha=(gap_ns / span_ns).astype(np.float32),
    )

"""What is known of every pair of every camera, as columns: scores, reasons, what holds and who decided."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import zarr

from litdome.store.decisions import Decision, effective_keep, last_decision, read_decisions
from litdome.store.session import Session

BoolArray = npt.NDArray[np.bool_]
Float32Array = npt.NDArray[np.float32]
GAP = "gap_ms"
LOW_IS_BAD = ("reliability", "sharpness")


@dataclass(frozen=True, eq=False)
class PairColumns:
    """Columns of a session; arrays have shape (camera, pair) unless said otherwise.

    Attributes:
        cameras: Camera ids, the rows.
        hdris: Names of the lights.
        hdri: Light by pair, shape (pair,), int32; -1 none.
        scores: By name, float32, NaN where it was not measured; those of a region are ``<region>_<score>``.
        described: Unit and description of each score.
        regions: Names of the regions that have scores of their own.
        reasons: Names of the bits of ``reason``.
        reason: Why the automatic choice leaves a pair out, uint16 bits.
        automatic: What ``align`` chose; before it, whether both pictures were recorded.
        decisions: All about the session, in the order of time.
    """

    cameras: tuple[str, ...]
    hdris: tuple[str, ...]
    hdri: npt.NDArray[np.int32]
    scores: dict[str, Float32Array]
    described: dict[str, tuple[str, str]]
    regions: tuple[str, ...]
    reasons: tuple[str, ...]
    reason: npt.NDArray[np.uint16]
    automatic: BoolArray
    decisions: tuple[Decision, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """(cameras, pairs)."""
        return len(self.cameras), len(self.hdri)

    @cached_property
    def keep(self) -> BoolArray:
        """What holds: the automatic choice, overruled by decisions."""
        return effective_keep(self.automatic, self.cameras, self.decisions)

    @cached_property
    def deciding(self) -> npt.NDArray[np.int32]:
        """Index in ``decisions`` of the one that holds, -1 where nobody decided."""
        return last_decision(self.shape, self.cameras, self.decisions)


def low_is_bad(score: str) -> bool:
    """Whether the doubtful pairs are those with a low score; of the others, those with a high one."""
    return score.endswith(LOW_IS_BAD)  # of a region too


def pair_columns(session: Session) -> PairColumns:
    """Read every column once; before ``align`` has finished the only score is the time, the only reason ``absent``.

    Every array of ``quality`` with a number per camera and pair is a score; one with named regions is a score for each
    of them (``hands_shift_px``).

    Raises:
        StoreError: The session or a decision cannot be read.
    """
    shape, record = (len(session.cameras), len(session.pairs)), session.record("align")
    scores: dict[str, Float32Array] = {}
    described, regions = {}, list[str]()
    if record is not None and record.finished:
        automatic, reason = session.read("quality/keep").astype(bool), session.read("quality/reason")
        reasons = tuple(cast(list[str], session.array("quality/reason").attrs["names"]))
        for name, region, values, about in _measured(session):
            scores[name], described[name] = values, about
            regions += [region] if region and region not in regions else []
    else:
        present = session.read("schedule/present").astype(bool)
        automatic = present[:, session.pairs.flat_frame] & present[:, session.pairs.relit_frame]
        reason, reasons = (~automatic).astype(np.uint16), ("absent",)
    scores[GAP] = np.ascontiguousarray(np.broadcast_to(session.pairs.gap_ms, shape), np.float32)
    described[GAP] = ("ms", "time from the flat to the relit frame")
    return PairColumns(
        cameras=session.cameras,
        hdris=tuple(session.hdri_names),
        hdri=session.pairs.hdri,
        scores=scores,
        described=described,
        regions=tuple(regions),
        reasons=reasons,
        reason=reason,
        automatic=automatic,
        decisions=read_decisions(session.url),
    )


def _measured(session: Session) -> Iterator[tuple[str, str, Float32Array, tuple[str, str]]]:
    """Name, region (or none), values, unit and description of each score; shifts first, regions never seen left out."""
    group = cast(zarr.Group, session.root["quality"])
    for name in sorted(group.array_keys(), key=lambda name: (name != "shift_px", "shift" not in name, name)):
        array: Any = session.array(f"quality/{name}")
        if array.dtype.kind != "f" or array.shape[:2] != (len(session.cameras), len(session.pairs)):
            continue
        values = session.read(f"quality/{name}").astype(np.float32)
        about = str(array.attrs.get("unit", "")), str(array.attrs.get("description", ""))
        if values.ndim == 2:
            yield name, "", values, about
        for i, region in enumerate(array.attrs.get("names", ()) if values.ndim == 3 else ()):
            if not np.isnan(values[..., i]).all():
                yield f"{region}_{name.removeprefix('region_')}", region, np.ascontiguousarray(values[..., i]), about

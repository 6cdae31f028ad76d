"""A calibration in words: the headline, and what is wrong with it, from the record of calibrate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np

from litdome.store.session import Session

Trouble = tuple[Literal["warn", "bad"], str, str | None]
WORSE, WORSE_PX = 2.5, 0.5  # against the median of the other cameras; px below which nobody minds
HELD_OUT, HELD_OUT_PX = 1.5, 0.1  # held-out against plain RMS; px
LEFT_OUT = 0.25  # share of a camera's board views: more are no accident
FEW_VIEWS = 3  # fewer cannot outvote one that is wrong
FOCAL_SHARE = 0.01  # standard deviation of a focal length that is no longer good for anything but a try
NAMED = 4


def calibration_found(session: Session) -> dict[str, Any]:
    """The summary of a finished calibrate, and by camera the standard deviation of its focal length (share of it)."""
    record = session.record("calibrate")
    if record is None or not record.finished:
        return {}
    found: dict[str, Any] = {"cameras": list(session.cameras), **record.summary}
    if session.has("rig/intrinsics_std"):
        share = session.read("rig/intrinsics_std")[:, 0] / session.read("rig/intrinsics")[:, 0, 0]
        found["focal_share"] = {id: float(one) for id, one in zip(session.cameras, share, strict=True) if one > 0}
    return found


def overall_px(summary: Mapping[str, Any]) -> float | None:
    """Root mean square residual of every corner, px (in older records: over cameras); None where it is not known."""
    found = summary.get("rms_px")
    over_cameras = float(np.sqrt(np.mean(np.square(found)))) if found else None
    return measured(summary, "all_rms_px") or over_cameras


def measured(summary: Mapping[str, Any], key: str) -> float | None:
    """A number of the summary; None where it is not there or could not be measured."""
    value = summary.get(key)
    return float(value) if value is not None and np.isfinite(value) else None


def calibration_headline(summary: Mapping[str, Any]) -> str:
    """What a technician reads first: ``4 cameras, 0.31 px (held-out 0.33 px); c04: 1 board view left out``."""
    count = len(summary.get("cameras", ()))
    cameras = f"{count} {'camera' if count == 1 else 'cameras'}"
    overall = overall_px(summary)
    if overall is None:
        return f"{cameras}, {summary.get('source', 'from a file')}; no board was measured, so no error is known"
    held_out, apart = measured(summary, "held_out_rms_px"), measured(summary, "pair_distance_mm")
    parts = [cameras, f"{overall:.2f} px" + (f" (held-out {held_out:.2f} px)" if held_out is not None else "")]
    if summary.get("lenses_only"):
        parts.append("lenses only, no poses yet")
    if apart is not None:
        parts.append(f"board pair distances {apart:.2f} mm")
    more = [f"{id}: {count} board {'view' if count == 1 else 'views'} left out" for id, count in left_out(summary)]
    return "; ".join([", ".join(parts), *([_some(more, "; ")] if more else []), *_weak_words(summary)])


def kept_lenses(summary: Mapping[str, Any]) -> list[str]:
    """Cameras whose lens came in and stayed: nothing of it was found together with the poses."""
    freed = summary.get("freed") or {}
    return [id for id, names in sorted((summary.get("weak") or {}).items()) if names and not freed.get(id)]


def _weak_words(summary: Mapping[str, Any]) -> list[str]:
    """``weakly seen: k2 (c02), p1 p2 (all cameras)``, and whose lens was kept altogether."""
    kept, count = kept_lenses(summary), len(summary.get("cameras", ()))
    cameras: dict[str, list[str]] = {}
    for id, names in sorted((summary.get("weak") or {}).items()):
        if names and id not in kept:
            cameras.setdefault(" ".join(names), []).append(id)
    weak = [f"{names} ({_whose(ids, count)})" for names, ids in cameras.items()]
    texts = (
        [f"{'lens' if len(kept) == 1 else 'lenses'} not refined with the poses ({_whose(kept, count)})"] if kept else []
    )
    return texts + (["weakly seen: " + _some(weak, ", ")] if weak else [])


def _whose(ids: list[str], count: int) -> str:
    return "all cameras" if len(ids) == count > 1 else _some(ids, ", ")


def left_out(summary: Mapping[str, Any]) -> list[tuple[str, int]]:
    """How many board views of which camera were left out, by camera."""
    return sorted(Counter(str(id) for id, _ in summary.get("views_left_out") or ()).items())


def calibration_troubles(summary: Mapping[str, Any]) -> Iterator[Trouble]:
    """What somebody should look at before the rig is believed; ``summary`` as `calibration_found` gives it."""
    if summary.get("lenses_only"):
        yield "warn", "lenses only, no poses: film boards/extrinsic, or import a rig", None
    rms = dict(zip(summary.get("cameras", ()), summary.get("rms_px") or (), strict=False))
    for id, value in rms.items():
        others = float(np.median([other for name, other in rms.items() if name != id] or [value]))
        if value > max(WORSE_PX, WORSE * others):
            yield "warn", f"{id} is off by {value:.2f} px, the others by {others:.2f} px", id
    overall, held_out = overall_px(summary), measured(summary, "held_out_rms_px")
    if overall is not None and held_out is not None and held_out > max(HELD_OUT * overall, overall + HELD_OUT_PX):
        yield "warn", f"held-out views are off by {held_out:.2f} px, the others by {overall:.2f} px", None
    used = summary.get("views") or {}
    for id, count in used.items() if len(used) > 1 and not summary.get("lenses_only") else ():
        if count < FEW_VIEWS:
            yield "warn", f"{id}: its place rests on {count} board view{'s' * (count != 1)}", id
    for id, count in left_out(summary):
        if count > LEFT_OUT * (used.get(id, 0) + count):
            yield "warn", f"{id}: {count} of {used.get(id, 0) + count} board views contradict the others", id
    for id, share in (summary.get("focal_share") or {}).items():
        if share > FOCAL_SHARE:
            yield "warn", f"{id}: its focal length is known to ± {100 * share:.1f} % only", id


def _some(texts: list[str], comma: str) -> str:
    more = f"{comma}and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return comma.join(texts[:NAMED]) + more

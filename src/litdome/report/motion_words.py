"""Which actions were too fast, in words that say what to repeat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from litdome.report.evidence import Evidence

PARTS_TOLD = 3  # one by one; more are told together


@dataclass(frozen=True)
class _TooFast:
    """A part of the take in which people moved too fast for some cameras; the worst of them."""

    part: dict[str, Any]
    camera: str
    p95_px: float
    cameras: int


def motion_troubles(evidence: Evidence) -> Iterator[tuple[Literal["warn"], str, str | None]]:
    """A line for each action (or piece of 10 s) of which a camera loses more than a quarter of the pairs: as align has
    measured, before align by ingest's estimate."""
    found = sorted(_too_fast(evidence), key=lambda one: -one.p95_px)
    if len(found) <= PARTS_TOLD:
        yield from (("warn", _told(evidence, one), one.camera) for one in found)
        return
    worst = found[0]
    places = sorted((one.part["number"], one.part["name"], one.part["start"]) for one in found)
    named = [f"{number} ({name})" if number else evidence.time(start) for number, name, start in places]
    what = "actions" if worst.part["number"] else "from"
    worst_px = f"p95 {worst.p95_px:.0f} px at worst{_kind(evidence)}"
    yield "warn", f"too fast: {worst.camera} {worst_px}; repeat {what} {', '.join(named)}", None


def _too_fast(evidence: Evidence) -> Iterator[_TooFast]:
    motion = evidence.aligned_motion or evidence.summary["motion"]
    for n, part in enumerate(motion["parts"]):
        shifts = {id: (values["shift_px"][n], values["p95_px"][n]) for id, values in motion["cameras"].items()}
        limits = evidence.max_shift_px
        over = {id: p95 for id, (mean, p95) in shifts.items() if mean is not None and mean > limits[id]}
        if over:
            camera = max(over, key=lambda id: over[id])
            yield _TooFast(part, camera, over[camera], len(over))


def _told(evidence: Evidence, one: _TooFast) -> str:
    part, others = one.part, one.cameras - 1
    more = f" ({others} more {'camera' if others == 1 else 'cameras'}, too)" if others else ""
    action = f"action {part['number']} ({part['name']})" if part["number"] else f"from {evidence.time(part['start'])}"
    frames = f"frames {part['start']}-{part['stop'] - 1}"
    return f"too fast: {one.camera} p95 {one.p95_px:.0f} px{_kind(evidence)}{more}; repeat {action}, {frames}"


def _kind(evidence: Evidence) -> str:
    return "" if evidence.aligned_motion else " by estimate"

"""What a planned take will need and how far people will move in it, before anything is filmed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from litdome.capture.plan import PlanSettings, TakePlan
from litdome.lighting import KIND_CODES

CODES_PER_PX = 1.5  # 4:2:0
STORED, MASKS = 0.33, 0.05  # bytes: of a byte of codes in zstd-1; of a pixel: docs/planning.md, one real recording
COMPENSATED, FLOW = 1.3, 0.11  # bytes of a pixel and pair
VIEW_BYTES = 352 * 640 * 3 * 2 * 2  # an HDRI entry as a camera sees it: two tone maps of half floats
WALK_HEIGHTS_S = 0.086  # mean motion of a walking person, picture heights a second: docs/planning.md
LOST_PX = 10.0  # between flat and relit: beyond, flow has not found people again (docs/planning.md)


@dataclass(frozen=True)
class Storage:
    """Bytes that a take needs, 8-bit 4:2:0.

    Attributes:
        codes: The pictures, uncompressed: the most that footage can hold.
        ingested: The session after ingest.
        aligned: The session after align.
    """

    codes: int
    ingested: int
    aligned: int


@dataclass(frozen=True)
class Shift:
    """How far a moving person is expected to be in a relit picture from the flat one before it.

    Attributes:
        action: Name.
        mean_px: Over the person and the relit frames after a flat one.
        px_per_s: Speed at which it is ``limit_px``.
        words: What that means.
    """

    action: str
    mean_px: float
    px_per_s: float
    words: str


def storage_needed(plan: TakePlan, hdri_bytes: Mapping[str, int]) -> Storage:
    """Bytes for the planned take.

    Args:
        plan: The take.
        hdri_bytes: Of each HDRI in memory, by name; every rotation of it is stored.
    """
    settings, kind = plan.settings, plan.schedule.kind
    px = settings.cameras * settings.size[0] * settings.size[1]
    pairs = int((kind == KIND_CODES["hdri"]).sum()) or int((kind == KIND_CODES["pattern"]).sum())
    codes = px * len(kind) * CODES_PER_PX
    lights = sum(hdri_bytes.get(entry.name, 0) for entry in plan.schedule.entries)
    ingested = codes * STORED + lights
    views = settings.cameras * len(plan.schedule.entries) * VIEW_BYTES
    aligned = ingested + px * (len(kind) * MASKS + pairs * (COMPENSATED + FLOW)) + views
    return Storage(round(codes), round(ingested), round(aligned))


def walking_speed(settings: PlanSettings) -> float:
    """Mean motion of a person who walks and fills the picture's height, px/s."""
    return WALK_HEIGHTS_S * settings.size[1]


def expected_shifts(plan: TakePlan, speed_px_s: float, limit_px: float) -> tuple[Shift, ...]:
    """The misalignment to expect in each action of a plan, the fastest first.

    Args:
        plan: The take.
        speed_px_s: Mean motion of a walking person in the pictures, px/s.
        limit_px: Mean misalignment above which align drops a pair, px of the planned pictures.
    """
    settings = plan.settings
    gap_s = float(np.mean(np.arange(settings.interleave) + 1)) / settings.fps
    found = []
    for name in sorted({action.name for action in plan.actions}, key=lambda name: (-plan.paces[name], name)):
        mean_px = speed_px_s * plan.paces[name] * gap_s
        found.append(Shift(name, round(mean_px, 1), round(limit_px / gap_s, 1), shift_in_words(mean_px, limit_px)))
    return tuple(found)


def shift_in_words(mean_px: float, limit_px: float) -> str:
    """What a mean misalignment means for the pairs."""
    if mean_px <= limit_px:
        return "fine"
    slower = f"ask for it {mean_px / limit_px:.1f} times slower, or film at more frames a second"
    if mean_px <= max(LOST_PX, limit_px):
        return f"above {limit_px:.3g} px, where align drops pairs: {slower}"
    return f"too fast for flow to follow: {slower}"

"""The lights of a take side by side: as maps, as the LEDs gave them, and as every camera sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from litdome.report.sheets import EFFECTIVE, Sheet, light_tiles, picture_row, spaced
from litdome.report.status import plural
from litdome.store.session import Session

SHOWN_LIGHTS, LIGHT_WIDTH_PX = 12, 176


def light_sheet(session: Session, cameras: Sequence[str]) -> Sheet:
    """At most `SHOWN_LIGHTS` lights, evenly chosen; a column for what is made of them."""
    rows = []
    columns = [EFFECTIVE] if session.has("lights/directions") else []
    columns += [camera for camera in cameras if session.has(f"hdri_views/{camera}/ldr")]
    for hdri in spaced(range(len(session.hdri_names)), SHOWN_LIGHTS):
        name = session.hdri_names[hdri]
        latlong, views = light_tiles(session, hdri, columns, LIGHT_WIDTH_PX)
        cells: list[tuple[Any, str]] = [(latlong, f"light {name}, lat-long map")]
        for column in columns:
            alt = f"light {name} {column if column == EFFECTIVE else f'as camera {column} sees it'}"
            cells.append((views.get(column), alt))
        notes = [plural(int((session.pairs.hdri == hdri).sum()), "pair"), *_led_error(session, name)]
        rows.append((name, ", ".join(notes), picture_row(cells)))
    return Sheet("", ("lat-long map", *columns), tuple(rows))


def _led_error(session: Session, entry: str) -> list[str]:
    """``LEDs within 0.6 %``: of the strongest irradiance, for 95 of 100 normals that the LEDs cover."""
    record = session.record("lights")
    if record is None or not record.finished or entry not in record.summary["entries"]:
        return []
    within = record.summary["percent"]["p95"][record.summary["entries"].index(entry)]
    return [] if within is None else [f"LEDs within {within:.2g} %"]

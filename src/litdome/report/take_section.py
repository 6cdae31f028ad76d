"""The top of a session's page: whether the take is good, every camera at a glance, what was lost when, how it looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from litdome.compute import default_workers
from litdome.pairs import PairTable
from litdome.report.charts import Line, line_chart
from litdome.report.evidence import Evidence
from litdome.report.sheets import Picture, lifted, shrink_to
from litdome.report.timeline import timeline
from litdome.report.verdict import Finding, Verdict
from litdome.store.session import Session

TILE_PX, SMALL_TILE_PX = (260, 230), (170, 150)  # width and height at most; small ones for large rigs
LARGE_RIG = 9  # cameras
CHART_WIDTH_PX = 560
NAMED_LINES = 6  # cameras named in a chart: those with a finding, or all of a small rig
CHARTS = (  # topic, series, label, factor, what the axis reaches at least
    ("exposure", "exposure_stops", "stops against the median camera", 1.0, 0.5),
    ("clipping", "clipped", "% of flat-lit pixels at white", 100.0, 1.0),
    ("focus", "sharpness", "sharpness", 1.0, 0.5),
    ("noise", "noise", "noise, 8-bit codes", 1.0, 2.0),
)

SETTINGS = {  # as recording.toml names them, and as cameras tag their files
    "exposure_ms": "{:g} ms",
    "exposure": "{}",
    "iso": "ISO {}",
    "gain_db": "{:g} dB",
    "gain": "gain {}",
    "white_balance_k": "{:g} K",
    "white_balance": "{}",
    "focal_mm": "{:g} mm",
    "lens": "{}",
}


@dataclass(frozen=True)
class Tile:
    """One picture of a camera; ``note`` says what was done to it, or why it is not there."""

    name: str
    picture: Picture | None
    note: str


@dataclass(frozen=True)
class CameraCard:
    """A camera at a glance: flat, relit, plate, and what the verdict says of it."""

    id: str
    about: str
    tiles: tuple[Tile, ...]
    findings: tuple[Finding, ...]

    @property
    def severity(self) -> str:
        """Of the worst finding."""
        worst = {finding.severity for finding in self.findings}
        return "bad" if "bad" in worst else "warn" if "warn" in worst else "ok"


@dataclass(frozen=True)
class Chart:
    """A chart with its title."""

    title: str
    svg: str


@dataclass(frozen=True)
class TakeSection:
    """What the page shows first."""

    verdict: Verdict
    cards: tuple[CameraCard, ...]
    losses: tuple[str, ...]
    timeline: str | None
    charts: tuple[Chart, ...]


def take_section(session: Session, evidence: Evidence, verdict: Verdict) -> TakeSection:
    """Collect the top of the page; two pictures of each camera are read."""
    return TakeSection(
        verdict=verdict,
        cards=camera_cards(session, evidence, verdict),
        losses=tuple(map(str, evidence.losses)),
        timeline=_timeline(session, evidence),
        charts=_charts(evidence, verdict),
    )


def camera_cards(session: Session, evidence: Evidence, verdict: Verdict) -> tuple[CameraCard, ...]:
    """A card for every camera, from the pair nearest the middle that it recorded."""
    if not evidence.pairs:
        return ()
    settings = _capture(session)
    with ThreadPoolExecutor(max_workers=default_workers()) as pool:
        tiles = list(pool.map(lambda row: _tiles(session, evidence, row), range(len(evidence.cameras))))
    return tuple(
        CameraCard(id, about, tiles[row], tuple(found for found in verdict.troubles if found.camera == id))
        for row, (id, about) in enumerate(zip(evidence.cameras, settings, strict=True))
    )


def middle_pair(pairs: PairTable, lost: npt.NDArray[np.bool_]) -> int | None:
    """The pair nearest the middle of the take that a camera recorded; None where it recorded none.

    Args:
        pairs: Of the rig.
        lost: Rig frames that the camera did not record, shape (frame,).
    """
    whole = np.flatnonzero(~lost[pairs.flat_frame] & ~lost[pairs.relit_frame])
    return int(whole[np.argmin(np.abs(whole - len(pairs) // 2))]) if len(whole) else None


def _tiles(session: Session, evidence: Evidence, row: int) -> tuple[Tile, ...]:
    id = evidence.cameras[row]
    fit = SMALL_TILE_PX if len(evidence.cameras) >= LARGE_RIG else TILE_PX
    pair = middle_pair(session.pairs, evidence.lost[row]) if evidence.summary else None
    plate = session.read(f"cameras/{id}/background") if session.has(f"cameras/{id}/background") else None
    if pair is None:
        pictures = [_missing("flat"), _missing("relit")]
    else:
        flat, relit = session.read_rgb(id, "flat", pair), session.read_rgb(id, "relit", pair)
        small, stops = lifted(shrink_to(relit, *fit))
        note = f"lifted {stops} {'stop' if stops == 1 else 'stops'}" if stops else ""
        pictures = [
            Tile("flat", Picture.of(shrink_to(flat, *fit), f"flat, camera {id}, pair {pair}"), f"pair {pair}"),
            Tile("relit", Picture.of(small, f"relit, camera {id}, pair {pair}{', ' + note if note else ''}"), note),
        ]
    if plate is None:
        return (*pictures, Tile("plate", None, "no plate"))
    return (*pictures, Tile("plate", Picture.of(shrink_to(plate, *fit), f"plate, camera {id}"), ""))


def _missing(name: str) -> Tile:
    return Tile(name, None, "not recorded")


def _capture(session: Session) -> list[str]:
    """Exposure, gain, white balance and lens of every camera, as far as they were noted."""
    noted = session.array("rig/size").attrs.get("capture")
    if not isinstance(noted, list):
        return [""] * len(session.cameras)
    return [
        ", ".join(text.format(one[key]) for key, text in SETTINGS.items() if isinstance(one, Mapping) and one.get(key))
        for one in noted
    ]


def _timeline(session: Session, evidence: Evidence) -> str | None:
    if not evidence.lost.size:
        return None
    marks = {"absent": evidence.lost}
    light = evidence.summary.get("light") or {}
    for name, key in (("mixed light", "mixed_light"), ("repeated", "duplicates")):
        marks[name] = np.zeros_like(evidence.lost)
        for id, frames in (light.get(key) or {}).items():
            marks[name][evidence.cameras.index(id), [frame for frame in frames if frame < evidence.lost.shape[1]]] = (
                True
            )
    seen = {name: flags for name, flags in marks.items() if flags.any()}
    if not seen:
        return None
    counts = ", ".join(f"{int(flags.sum()):,} {name}" for name, flags in seen.items())
    return timeline(evidence.cameras, seen, evidence.time_ns, what=f"Frames of every camera over the take: {counts}")


def _charts(evidence: Evidence, verdict: Verdict) -> tuple[Chart, ...]:
    quality = evidence.summary.get("quality")
    if not quality or len(quality["frames"]) < 2:
        return ()
    start = int(evidence.time_ns[0])
    seconds = (evidence.time_ns[np.array(quality["frames"])] - start) / 1e9
    found = []
    for topic, name, label, scale, reach in CHARTS:
        series = {id: _numbers(values["series"][name], scale) for id, values in quality["cameras"].items()}
        if not any(np.isfinite(values).any() for values in series.values()):
            continue
        marked = [finding.camera for finding in verdict.troubles if finding.topic == topic and finding.camera]
        named = list(series) if len(series) <= NAMED_LINES else marked[:NAMED_LINES]
        lines = [Line(id if id in named else "", seconds, y, faint=id not in named) for id, y in series.items()]
        what = f"{label} of {len(series)} cameras over the take" + (f"; marked: {', '.join(marked)}" if marked else "")
        svg = line_chart(lines, x_label="time, s", y_label=label, what=what, width=CHART_WIDTH_PX, reach=reach)
        found.append(Chart(topic, svg))
    return tuple(found)


def _numbers(values: Sequence[float | None], scale: float) -> npt.NDArray[np.float64]:
    return np.array([np.nan if value is None else value * scale for value in values], np.float64)

"""A day on one page: every take and run of a folder in a row, and what in it cannot be read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from litdome.errors import FrameAbsentError, LitdomeError
from litdome.report.evidence import Evidence, gather
from litdome.report.losses import clock_time
from litdome.report.sheets import Picture, lifted, shrink_to
from litdome.report.status import SessionStatus, plural, session_status
from litdome.report.take_section import middle_pair
from litdome.report.verdict import Verdict
from litdome.store.provenance import StageRecord
from litdome.store.session import Session

UNREADABLE = (LitdomeError, OSError, KeyError, TypeError, ValueError, RuntimeError)  # what damaged metadata raise
THUMB_PX = (140, 110)
YEAR_2000_NS = 946_684_800 * 10**9  # clocks below count from their start, not from 1970


@dataclass(frozen=True)
class TakeRow:
    """One take."""

    name: str
    subject: str
    when: str
    length: str
    pictures: tuple[Picture, ...]
    verdict: Verdict
    cameras: int
    pairs: int
    absent: str
    disk: str
    next_command: str | None
    link: str | None


@dataclass(frozen=True)
class RunRow:
    """One training run."""

    name: str
    plugin: str
    words: str
    link: str | None


@dataclass(frozen=True)
class DaySection:
    """A folder of takes and runs for the page's template; ``unread`` are (name, reason)."""

    name: str
    headline: str
    takes: tuple[TakeRow, ...]
    runs: tuple[RunRow, ...]
    unread: tuple[tuple[str, str], ...]


def stores_in(folder: Path) -> list[Path]:
    """What in a folder looks like a store or a run: named ``*.zarr``, or with the file of one inside."""
    inner = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    marks = ("zarr.json", "run.json", ".zgroup")
    return [path for path in inner if path.suffix == ".zarr" or any((path / mark).exists() for mark in marks)]


def day_section(folder: Path, output: Path) -> DaySection:
    """Collect what the page shows of a folder of takes; whatever cannot be read is listed with the reason.

    Args:
        folder: Holds sessions and runs.
        output: The page: links to single reports are relative to its folder.
    """
    takes: list[tuple[str, TakeRow]] = []
    runs: list[RunRow] = []
    unread: list[tuple[str, str]] = []
    for path in stores_in(folder):
        try:
            if (path / "run.json").exists():
                runs.append(_run_row(path, output))
            else:
                takes.append(_take_row(path, output))
        except UNREADABLE as error:  # one damaged take never hides the others
            unread.append((path.name, _reason(error)))
    takes.sort(key=lambda take: take[0])
    rows = tuple(row for _, row in takes)
    return DaySection(folder.resolve().name, _headline(rows, runs, unread), rows, tuple(runs), tuple(unread))


def _reason(error: Exception) -> str:
    return error.message if isinstance(error, LitdomeError) else f"damaged: {type(error).__name__}: {error}"


def _take_row(path: Path, output: Path) -> tuple[str, TakeRow]:
    """A take with the time that it sorts by."""
    session = Session.open(str(path))
    evidence = gather(session)
    status = session_status(session, evidence)
    when = _when(evidence, session.record("ingest"))
    row = TakeRow(
        name=str(session.attrs.get("name", path.name)),
        subject=str(session.attrs.get("subject") or "-"),
        when=when,
        length="no take" if evidence.rig_only else _length(evidence),
        pictures=_thumbs(session, evidence),
        verdict=status.verdict,
        cameras=len(evidence.cameras),
        pairs=evidence.pairs,
        absent=_absent(status),
        disk="-" if evidence.disk is None else str(evidence.disk).partition(" used")[0],
        next_command=status.next_command,
        link=_link(path.with_name(f"{path.name.removesuffix('.zarr')}-report.html"), output),
    )
    return f"{when} {row.name}", row


def _length(evidence: Evidence) -> str:
    return clock_time(int(evidence.time_ns[-1] - evidence.time_ns[0])).partition(".")[0]


def _when(evidence: Evidence, record: StageRecord | None) -> str:
    """When the take was recorded, by the cameras' clock where it tells the date; else when it was ingested."""
    start = int(evidence.time_ns[0])
    if start > YEAR_2000_NS:
        return datetime.fromtimestamp(start / 1e9, UTC).isoformat(" ", "seconds")[:19]
    return "-" if record is None else f"{record.started[:19].replace('T', ' ')} (ingested)"


def _thumbs(session: Session, evidence: Evidence) -> tuple[Picture, ...]:
    """Flat and relit of the first camera that has a pair."""
    if not evidence.pairs or not evidence.summary:
        return ()
    for row, id in enumerate(evidence.cameras):
        pair = middle_pair(session.pairs, evidence.lost[row])
        if pair is None:
            continue
        try:
            flat, relit = session.read_rgb(id, "flat", pair), session.read_rgb(id, "relit", pair)
        except FrameAbsentError:
            continue
        small, stops = lifted(shrink_to(relit, *THUMB_PX))
        note = f", lifted {stops} stops" if stops else ""
        where = f"camera {id}, pair {pair}"
        return (
            Picture.of(shrink_to(flat, *THUMB_PX), f"flat, {where}"),
            Picture.of(small, f"relit, {where}{note}"),
        )
    return ()


def _absent(status: SessionStatus) -> str:
    lost = {camera.id: len(camera.absent) for camera in status.cameras if camera.absent}
    if not lost:
        return "none"
    worst = max(lost, key=lambda id: lost[id])
    return f"{sum(lost.values()):,} ({worst}: {lost[worst]:,})" if len(lost) > 1 else f"{lost[worst]:,} ({worst})"


def _run_row(path: Path, output: Path) -> RunRow:
    from litdome.train_plugins.run import RunFolder

    run = RunFolder.open(path)
    metrics = run.metrics()
    words = f"{len(metrics):,} steps logged" if metrics else "not one step trained yet"
    words += ", evaluated" if (path / "evaluation.json").exists() else ", not evaluated"
    return RunRow(path.name, run.record.plugin, words, _link(path / "report.html", output))


def _link(page: Path, output: Path) -> str | None:
    return Path(os.path.relpath(page.resolve(), output.resolve().parent)).as_posix() if page.is_file() else None


def _headline(takes: Sequence[TakeRow], runs: Sequence[RunRow], unread: Sequence[tuple[str, str]]) -> str:
    counts = {word: sum(take.verdict.word == word for take in takes) for word in ("good", "look", "bad")}
    words = {"good": "good", "look": "to look at", "bad": "bad"}
    parts = [f"{count} {words[word]}" for word, count in counts.items() if count]
    parts += [f"{len(unread)} not readable"] if unread else []
    rigs = sum(take.verdict.subject == "rig" for take in takes)
    text = plural(len(takes) - rigs, "take") + (f" and {plural(rigs, 'rig')}" if rigs else "")
    text += f", {sum(take.pairs for take in takes):,} pairs" if takes else ""
    return (f"{text}: {', '.join(parts)}" if parts else text) + "."

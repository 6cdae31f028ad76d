"""A curator's decisions: append-only files beside the store, laid over automatic scores, never applied to pictures."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from litdome.errors import StoreError
from litdome.store.files import FileSystem, open_files, refusals, staged_file, write_all

Action: TypeAlias = Literal["keep", "drop"]
IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Decision:
    """Keep or drop, with the reason; a later time wins.

    Attributes:
        action: ``keep`` or ``drop``.
        cameras: Camera ids; None means all.
        pairs: Half-open ranges of pairs; empty means all.
        reason, author, time: Why, who, when (ISO 8601, UTC).
    """

    action: Action
    cameras: tuple[str, ...] | None
    pairs: tuple[tuple[int, int], ...]
    reason: str
    author: str
    time: str = ""


def decisions_folder(url: str) -> str:
    """Where the decisions about the session at ``url`` lie."""
    return url.rstrip("/").removesuffix(".zarr") + ".decisions"


def add_decision(url: str, decision: Decision) -> str:
    """Record a decision about the session at ``url``; gives the new file's path.

    Without a time of its own it is stamped to the microsecond: who thinks twice within a second means the second.

    Raises:
        StoreError: The disk refuses.
    """
    stamped = {**asdict(decision), "time": decision.time or _written(datetime.now(UTC))}
    files, folder = open_files(decisions_folder(url))
    path = f"{folder}/{stamped['time'].replace(':', '')}-{uuid.uuid4().hex}.json"
    with staged_file(files, path) as stream:
        write_all(stream, json.dumps(stamped, indent=1).encode(), path)
    return path


def read_decisions(url: str) -> tuple[Decision, ...]:
    """All decisions about the session at ``url``, in the order of their times.

    Raises:
        StoreError: A decision file that cannot be read.
    """
    return DecisionLog(url).read()


class DecisionLog:
    """The decisions about the session at ``url``; each file is read once, so asking again is cheap."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._known: dict[str, Decision] = {}

    def read(self) -> tuple[Decision, ...]:
        """All decisions, those that others have added among them, in the order of their times.

        Raises:
            StoreError: A decision file that cannot be read.
        """
        files, folder = open_files(decisions_folder(self.url))
        with refusals(folder):
            try:
                paths = [path for path in files.ls(folder, detail=False) if path.endswith(".json")]
            except FileNotFoundError:
                paths = []
        known = self._known | _read_files(files, [path for path in paths if path not in self._known])
        self._known = {path: known[path] for path in paths}
        return tuple(self._known[path] for path in sorted(paths, key=lambda path: (_instant(known[path]), path)))

    def add(self, decision: Decision) -> Decision:
        """Record a decision now, later than every one that is known, whatever another machine's clock said.

        Raises:
            StoreError: The disk refuses.
        """
        after = (_instant(known) + timedelta(microseconds=1) for known in self._known.values())
        stamped = replace(decision, time=_written(max([datetime.now(UTC), *after])))
        self._known[add_decision(self.url, stamped)] = stamped
        return stamped


def _written(moment: datetime) -> str:
    """A time in UTC, ISO 8601, to the microsecond."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _instant(decision: Decision) -> datetime:
    """When it was made, whatever zone the time is written in; without one it is UTC."""
    moment = datetime.fromisoformat(decision.time)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _read_files(files: FileSystem, paths: list[str]) -> dict[str, Decision]:
    found = {}
    for path, text in zip(paths, files.cat_ranges(paths, None, None), strict=True):  # at once where that is far away
        with refusals(path):
            if isinstance(text, Exception):
                raise text
        try:
            found[path] = _decision(json.loads(text))
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path}: not a decision: {error}", hint="mend or move the file away") from error
    return found


def _decision(plain: dict[str, Any]) -> Decision:
    cameras = None if plain["cameras"] is None else tuple(plain["cameras"])
    pairs = tuple((int(start), int(stop)) for start, stop in plain["pairs"])
    action, reason, author, time = (plain[name] for name in ("action", "reason", "author", "time"))
    if action not in ("keep", "drop"):
        raise ValueError(f"action {action!r}, not keep or drop")
    if isinstance(plain["cameras"], str) or not all(isinstance(text, str) for text in (*(cameras or ()), time)):
        raise ValueError("cameras are null or a list of ids, time is a text")
    if not all(0 <= start < stop for start, stop in pairs):
        raise ValueError("pairs are half-open ranges [start, stop] of numbers from 0")
    made = Decision(action, cameras, pairs, str(reason), str(author), time)
    _instant(made)  # a time that is none shows here
    return made


def last_decision(shape: tuple[int, int], cameras: Sequence[str], decisions: Sequence[Decision]) -> IntArray:
    """Index of the decision that holds for each (camera, pair), -1 where there is none; later ones win.

    Args:
        shape: (cameras, pairs).
        cameras: Camera ids, the rows.
        decisions: In the order of time; cameras and pairs that are not there are passed over.
    """
    found = np.full(shape, -1, np.int32)
    for index, decision in enumerate(decisions):
        for place in places(decision, cameras):
            found[place] = index
    return found


def places(decision: Decision, cameras: Sequence[str]) -> Iterator[tuple[int | slice, slice]]:
    """What a decision is about in an array of shape (camera, pair), as indices; cameras that are not there left out."""
    rows = (
        [slice(None)] if decision.cameras is None else [cameras.index(id) for id in decision.cameras if id in cameras]
    )
    for row in rows:
        for bounds in decision.pairs or ((None, None),):
            yield row, slice(*bounds)


def effective_keep(
    keep: npt.NDArray[np.bool_], cameras: Sequence[str], decisions: Sequence[Decision]
) -> npt.NDArray[np.bool_]:
    """Automatic ``keep``, shape (camera, pair), overruled by decisions in the order of time; same shape."""
    last = last_decision((keep.shape[0], keep.shape[1]), cameras, decisions)
    kept = np.array([*(decision.action == "keep" for decision in decisions), False])  # the last one: index -1
    return np.where(last < 0, keep, kept[last])


def strays(decisions: Sequence[Decision], cameras: Sequence[str], pairs: int) -> list[str]:
    """Decisions about cameras or pairs that a session does not have, each in words; they change nothing there."""
    found = []
    for decision in decisions:
        unknown = [camera for camera in decision.cameras or () if camera not in cameras]
        beyond = [f"{start}:{stop}" for start, stop in decision.pairs if stop > pairs]
        if unknown or beyond:
            who = f"{decision.action} by {decision.author} of {decision.time}"
            what = [f"camera {camera}, which is not there" for camera in unknown]
            what += [f"pairs {text} of 0:{pairs}" for text in beyond]
            found.append(f"a decision ({who}, {decision.reason!r}) is about {', '.join(what)}")
    return found


def decisions_about(
    chosen: npt.NDArray[np.bool_], cameras: Sequence[str], action: Action, reason: str, author: str
) -> list[Decision]:
    """As few decisions as say what is chosen, shape (camera, pair): one for each set of pairs that cameras share."""
    sharing: dict[bytes, list[int]] = {}
    for row in np.flatnonzero(chosen.any(1)).tolist():
        sharing.setdefault(chosen[row].tobytes(), []).append(row)
    found = []
    for rows in sharing.values():
        ids = None if len(rows) == len(cameras) else tuple(cameras[row] for row in rows)
        pairs = () if chosen[rows[0]].all() else ranges_of(chosen[rows[0]])
        found.append(Decision(action, ids, pairs, reason, author))
    return found


def ranges_of(chosen: npt.NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    """Half-open ranges of what is chosen, shape (pair,)."""
    edges = np.flatnonzero(np.diff(np.r_[False, chosen, False])).tolist()
    return tuple(zip(edges[::2], edges[1::2], strict=True))

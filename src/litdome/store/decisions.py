"""A curator's decisions: append-only files beside the store, laid over automatic scores, never applied to pictures."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from litdome.errors import StoreError
from litdome.store.files import FileSystem, open_files, refusals, staged_file, write_all


@dataclass(frozen=True)
class Decision:
    """Keep or drop, with the reason; a later time wins.

    Attributes:
        action: ``keep`` or ``drop``.
        cameras: Camera ids; None means all.
        pairs: Half-open ranges of pairs; empty means all.
        reason, author, time: Why, who, when (ISO 8601, UTC).
    """

    action: Literal["keep", "drop"]
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
    stamped = {**asdict(decision), "time": decision.time or _moment()}
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
            paths = files.glob(f"{folder}/*.json")
        self._known = {path: self._known.get(path) or _read_decision(files, path) for path in paths}
        return tuple(self._known[path] for path in sorted(paths, key=lambda path: (self._known[path].time, path)))

    def add(self, decision: Decision) -> Decision:
        """Record a decision now, later than every one that is known, whatever another machine's clock said.

        Raises:
            StoreError: The disk refuses.
        """
        newest = max((known.time for known in self._known.values()), default="")
        moment = _moment()
        if moment <= newest:
            moment = (datetime.fromisoformat(newest) + timedelta(microseconds=1)).isoformat(timespec="microseconds")
        stamped = replace(decision, time=moment)
        self._known[add_decision(self.url, stamped)] = stamped
        return stamped


def _moment() -> str:
    """The time in UTC, ISO 8601, to the microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _read_decision(files: FileSystem, path: str) -> Decision:
    try:
        with refusals(path):
            text = files.cat_file(path)
        return _decision(json.loads(text))
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: not a decision: {error}", hint="mend or move the file away") from error


def _decision(plain: dict[str, Any]) -> Decision:
    cameras = None if plain["cameras"] is None else tuple(plain["cameras"])
    pairs = tuple((int(a), int(b)) for a, b in plain["pairs"])
    return Decision(plain["action"], cameras, pairs, plain["reason"], plain["author"], plain["time"])


def effective_keep(
    keep: npt.NDArray[np.bool_], cameras: Sequence[str], decisions: Sequence[Decision]
) -> npt.NDArray[np.bool_]:
    """Automatic ``keep``, shape (camera, pair), overruled by decisions in the order of time; same shape."""
    result = keep.copy()
    for decision in decisions:
        rows = [i for i, camera in enumerate(cameras) if decision.cameras is None or camera in decision.cameras]
        for start, stop in decision.pairs or ((0, keep.shape[1]),):
            result[rows, start:stop] = decision.action == "keep"
    return result

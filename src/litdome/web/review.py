"""A review of one session: its table, and what curators decide, recorded as it comes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from litdome.errors import UsageError
from litdome.stage import UInt8Array
from litdome.store.decisions import Decision, DecisionLog, places
from litdome.store.session import Session
from litdome.web.table import PairTable, read_table

KEPT, DECIDED = 1, 2  # bits of a state


class Change(BaseModel):
    """Pairs of one camera to keep or to drop, as half-open ranges."""

    model_config = ConfigDict(extra="forbid", strict=True)

    action: str = Field(pattern="^(keep|drop)$")
    camera: str
    pairs: list[list[int]] = Field(min_length=1)


class Changes(BaseModel):
    """What a page sends: changes, and the reason that they share."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: str = Field(min_length=1, max_length=300)
    changes: list[Change] = Field(min_length=1)


class Review:
    """What the page shows of a session and does to it; used by many threads at a time.

    Args:
        session: Which.
        author: Who decides.
        cameras: Whose pairs are shown; all by default.

    Raises:
        UsageError: An unknown camera, or a session without pairs.
        StoreError: A decision file that cannot be read.
    """

    def __init__(self, session: Session, *, author: str, cameras: Sequence[str] | None = None) -> None:
        if session.is_rig_only or not session.has("pairs/alpha") or not len(session.pairs):
            raise UsageError(f"{session.url}: no pairs to review", hint=f"litdome status {session.url}")
        self.session, self.author = session, author
        self.cameras = tuple(cameras or session.cameras)
        for camera in self.cameras:
            session.size(camera)
        self._log = DecisionLog(session.url)
        self._lock = threading.Lock()
        self._decisions: list[Decision] = []
        self._state = self._automatic()
        self.state()

    @cached_property
    def table(self) -> PairTable:
        """Scores of the cameras; read once, when the review begins."""
        return read_table(self.session, self.cameras)

    def state(self) -> UInt8Array:
        """What holds now, decisions made elsewhere among it: bits `KEPT` and `DECIDED`, shape (camera, pair), uint8.

        Raises:
            StoreError: A decision file that cannot be read.
        """
        with self._lock:
            found = self._log.read()
            if found != tuple(self._decisions):
                self._state, self._decisions = self._automatic(), list(found)
                self._lay_over(found)
            return self._state.copy()

    def decide(self, changes: Changes) -> int:
        """Record changes, each as one decision; gives how many.

        Raises:
            UsageError: A camera or a pair that is not there; nothing is recorded then.
            StoreError: The disk refuses; what is recorded by then stays.
        """
        asked = [self._decision(change, changes.reason) for change in changes.changes]
        with self._lock:
            for decision in asked:
                made = self._log.add(decision)
                self._lay_over([made])
                self._decisions.append(made)
        return len(asked)

    def history(self, camera: str, pair: int) -> tuple[Decision, ...]:
        """The decisions about one pair of one camera, the one that holds last."""
        self._check(camera, pair, pair + 1)
        return tuple(
            decision
            for decision in self._decisions
            if (decision.cameras is None or camera in decision.cameras)
            and (not decision.pairs or any(start <= pair < stop for start, stop in decision.pairs))
        )

    def _decision(self, change: Change, reason: str) -> Decision:
        for bounds in change.pairs:
            if len(bounds) != 2:
                raise UsageError(f"pairs {bounds}: expected [start, stop]")
            self._check(change.camera, *bounds)
        ranges = tuple((start, stop) for start, stop in change.pairs)
        action = "keep" if change.action == "keep" else "drop"
        return Decision(action, (change.camera,), ranges, reason, self.author)  # type: ignore[arg-type]

    def _check(self, camera: str, start: int, stop: int) -> None:
        if camera not in self.cameras:
            raise UsageError(f"no camera {camera!r} here", hint=f"cameras: {', '.join(self.cameras)}")
        if not 0 <= start < stop <= self.table.pairs:
            raise UsageError(f"pairs {start}:{stop} of {camera}: expected within 0:{self.table.pairs}")

    def _automatic(self) -> UInt8Array:
        return np.where(self.table.automatic, KEPT, 0).astype(np.uint8)

    def _lay_over(self, decisions: Sequence[Decision]) -> None:
        for decision in decisions:
            for place in places(decision, self.cameras):
                self._state[place] = DECIDED | (KEPT if decision.action == "keep" else 0)

"""What may enter a dataset: the pairs that are recorded, wanted and kept, and the frames that each of them reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from litdome.datasets.spec import DatasetSpec
from litdome.datasets.splits import pair_reach
from litdome.errors import UsageError
from litdome.lighting import content_groups
from litdome.store.decisions import effective_keep
from litdome.store.pair_columns import pair_columns
from litdome.store.pair_filter import parse_filter
from litdome.store.session import Session

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int32]
WIDEST = 1  # flat frames: masks vote with theirs, motion of the second order reads one segment more on both sides


def usable_pairs(session: Session, name: str, spec: DatasetSpec) -> BoolArray:
    """Which (camera, pair) may be samples: recorded, selected, and kept by scores and by the decisions in the spec.

    Args:
        session, name: The session and its name in the spec.
        spec: Frozen.

    Raises:
        UsageError: A camera that is not there, or a filter that says nothing.
    """
    present, pairs = session.read("schedule/present").astype(bool), session.pairs
    recorded = present[:, pairs.flat_frame] & present[:, pairs.relit_frame]
    usable = recorded.copy()
    if spec.select.filter == "keep" and session.has("quality/keep"):
        usable &= session.read("quality/keep")
    decisions = tuple(copy.decision for copy in spec.decisions if copy.session == name)
    usable = np.asarray(effective_keep(usable, session.cameras, decisions) & recorded)
    if spec.select.where:
        usable &= parse_filter(spec.select.where).select(replace(pair_columns(session), decisions=decisions))
    if spec.select.cameras is not None:
        usable &= np.isin(session.cameras, spec.select.cameras)[:, None]
    if spec.select.pairs is not None:
        start, stop = spec.select.pairs
        usable[:, :start] = False
        usable[:, stop:] = False
    return usable


def need_known_cameras(sessions: Sequence[Session], spec: DatasetSpec) -> None:
    """Refuse ``select.cameras`` that no session has.

    Raises:
        UsageError: Names one.
    """
    known = sorted({id for session in sessions for id in session.cameras})
    for id in spec.select.cameras or ():
        if id not in known:
            raise UsageError(f"select.cameras: no camera {id}", hint=f"there are: {', '.join(known)}")


def frames_read(session: Session) -> tuple[IntArray, IntArray]:
    """First and last rig frame that each pair reads through every stage's window, each shape (pair,).

    A clean plate, a colour calibration and a rig rest on the whole take and do not count.
    """
    pairs, flats = session.pairs, session.frames("flat")
    last = np.where(pairs.next_flat_frame >= 0, pairs.next_flat_frame, pairs.relit_frame)
    before = flats[np.maximum(pairs.flat - 1, 0)] if len(flats) else pairs.flat_frame
    first = np.where(_is_continued(session), before, pairs.flat_frame)
    return pair_reach(first.astype(np.int32), last.astype(np.int32), flats, flat_neighbours(session))


def flat_neighbours(session: Session) -> int:
    """How many flat frames each way the masks and the motion at a flat frame read."""
    flow, deflicker, align = (session.record(stage) for stage in ("flow", "deflicker", "align"))
    window = 0 if deflicker is None else int(deflicker.config.get("window_pairs", 3)) // 2  # version 1 had a window
    guess = 1 if flow is not None and flow.version > 1 else 0  # a search starts from the steps beside its own
    return guess + max(window, WIDEST if align is not None and align.version > 1 else 0)


def _is_continued(session: Session) -> BoolArray:
    """Pairs whose motion is that of the segment before, for want of a next flat frame, by any camera; shape (pair,)."""
    following = session.pairs.next_flat_frame
    present = session.read("schedule/present").astype(bool)
    return np.asarray((following < 0) | ~present[:, np.maximum(following, 0)].all(axis=0))


def light_groups(sessions: Sequence[Session], names: Sequence[str]) -> list[list[str]]:
    """Content group of each HDRI entry of each session, formed over all of them; maps of other sizes are compared as
    the smallest.

    Args:
        sessions, names: The sessions and their names in the dataset.

    Returns:
        By session, by entry: the group's name, that of its first entry, as ``take01/sky``.
    """
    keys = [f"{name}/{entry}" for name, session in zip(names, sessions, strict=True) for entry in session.hdri_names]
    rows = [
        session.read_hdri(n).mean(axis=1, dtype=np.float64)
        for session in sessions
        for n in range(len(session.hdri_names))
    ]
    height = min((len(profile) for profile in rows), default=1)
    found = iter(
        content_groups((key, _shortened(profile, height)[:, None]) for key, profile in zip(keys, rows, strict=True))
    )
    return [[next(found) for _ in session.hdri_names] for session in sessions]


def _shortened(profile: npt.NDArray[np.float64], height: int) -> npt.NDArray[np.float64]:
    """A column of rows, shape (v, channel), averaged over equal parts to ``height`` rows."""
    total = np.concatenate([np.zeros((1, profile.shape[1])), np.cumsum(profile, axis=0)]) / len(profile)
    edges, wanted = np.linspace(0, 1, len(profile) + 1), np.linspace(0, 1, height + 1)
    sums = np.stack([np.interp(wanted, edges, column) for column in total.T], axis=1)
    return np.asarray(np.diff(sums, axis=0) * height)


def groups_of(lights: Sequence[str], sessions: Sequence[Session], groups: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The content groups of lights that are given by the name of their file or entry, in any session; what names none
    stays as it is."""
    known: dict[str, set[str]] = {}
    for session, own in zip(sessions, groups, strict=True):
        for entry, group in zip(session.schedule.entries, own, strict=True):
            for name in (entry.name, entry.entry, group):
                known.setdefault(name, set()).add(group)
    return tuple(sorted({group for name in lights for group in known.get(name, {name})}))

"""A curator's decisions: append-only files beside the store, laid over automatic scores, never applied to pictures."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from litdome.errors import StoreError
from litdome.store.files import open_files, refusals, staged_file, write_all
from litdome.store.provenance import now


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

    Raises:
        StoreError: The disk refuses.
    """
    stamped = {**asdict(decision), "time": decision.time or now()}
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
    files, folder = open_files(decisions_folder(url))
    found: list[tuple[str, str, Decision]] = []
    with refusals(folder):
        paths = sorted(files.glob(f"{folder}/*.json"))
    for path in paths:
        try:
            with refusals(path):
                text = files.cat_file(path)
            decision = _decision(json.loads(text))
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path}: not a decision: {error}", hint="mend or move the file away") from error
        found.append((decision.time, path, decision))
    return tuple(decision for _, _, decision in sorted(found, key=lambda item: item[:2]))


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

"""Leaks: recorded frames, lights and cameras that training shares with a test which claims to hold them out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from litdome.datasets.samples import SampleTable
from litdome.store.arrays import ArrayStore

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]


def leaks(store: ArrayStore, table: SampleTable) -> list[str]:
    """What training and tests share, one line each; empty without a training sample."""
    if "train" not in table.names or len(table.names) < 2:
        return []
    return [*shared_frames(store, table), *shared_lights(table), *shared_cameras(table)]


def shared_frames(store: ArrayStore, table: SampleTable) -> list[str]:
    """Sessions where a training sample read a frame that a test of a training camera read too, at any stage.

    A held-out camera shares no picture with training, whatever the time. Datasets of schema 1.0 say only what they
    show, not what was read for it.
    """
    found = []
    train, by_camera = of_split(table, "train"), names_hold(table, "camera")
    for n, about in enumerate(table.sessions):
        group = f"pairs/{about['name']}"
        own = table.session == n
        names = ("time_first", "time_last") if store.has(f"{group}/time_first") else ("time_flat", "time_relit")
        first, last = (store.read(f"{group}/{name}") for name in names)
        trained, tested = (np.unique(table.row[own & which]) for which in (train, ~train & ~by_camera))
        touching = overlapping(first[trained], last[trained], first[tested], last[tested])
        if len(touching):
            pair = store.read(f"{group}/pair")[trained[touching[0]]]
            found.append(f"{about['name']}: {len(touching)} training pairs read frames of a test, for one pair {pair}")
    return found


def overlapping(
    first: FloatArray, last: FloatArray, other_first: FloatArray, other_last: FloatArray
) -> npt.NDArray[np.intp]:
    """Which closed intervals meet one of the others."""
    begun = np.searchsorted(np.sort(other_first), last, side="right")
    ended = np.searchsorted(np.sort(other_last), first, side="left")
    return np.flatnonzero(begun > ended)


def shared_lights(table: SampleTable) -> list[str]:
    """Content groups of lights that a test holds out and training shows, or that it does not hold out and training
    never shows."""
    groups = [
        about.get("light_groups") or [f"{about['name']}/{name}" for name in about["hdris"]] for about in table.sessions
    ]
    lit = np.array([groups[s][h] if h >= 0 else "" for s, h in zip(table.session, table.hdri, strict=True)])
    trained, held = set(lit[of_split(table, "train")].tolist()), names_hold(table, "light")
    found = [f"light {name}: in training and in a test of held-out light" for name in sorted(trained & set(lit[held]))]
    tested = set(lit[~held].tolist()) - trained - {""}
    return found + [f"light {name}: never trained on, in a test that does not say so" for name in sorted(tested)]


def shared_cameras(table: SampleTable) -> list[str]:
    """Cameras, by id, that a test holds out and training shows."""
    ids = np.array([table.place(i).rsplit("/", 1)[1] for i in range(len(table))])
    trained, held = set(ids[of_split(table, "train")]), set(ids[names_hold(table, "camera")])
    return [f"camera {id}: in training and in a test of held-out cameras" for id in sorted(trained & held)]


def of_split(table: SampleTable, name: str) -> BoolArray:
    """Which samples are of a split, shape (sample,)."""
    return np.asarray(table.split == table.names.index(name))


def names_hold(table: SampleTable, factor: str) -> BoolArray:
    """Which samples are of a split that names a held-out factor, shape (sample,)."""
    return np.isin(table.split, [n for n, name in enumerate(table.names) if factor in name.split("_")])

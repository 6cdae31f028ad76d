"""Which samples of a dataset one training draws, how often, and which it keeps back to validate on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from litdome.datasets.views import DatasetView as BakedView
from litdome.errors import PluginError
from litdome.train_plugins.protocol import DatasetView
from litdome.train_plugins.relighter.config import RelighterConfig

Weights = npt.NDArray[np.float64]


def selected(data: DatasetView, config: RelighterConfig) -> DatasetView:
    """The samples that train: under a named light, not held back, moved less than ``max_shift_px``.

    Raises:
        PluginError: None is left, or the dataset does not know how far its pairs moved.
    """
    if config.validation.hold_back > 0:
        data = hold_back(data, config.validation.hold_back)[0]
    if isinstance(data, BakedView):
        data = with_light(data, config)
    if config.max_shift_px is None:
        return data
    baked = need_baked(data, "max_shift_px")
    shift = baked.column("shift_px")
    kept = baked.at(np.flatnonzero(shift < config.max_shift_px))
    if len(kept) == 0:
        measured = shift[np.isfinite(shift)]
        least = f"the least is {measured.min():.2f} px" if len(measured) else "none was measured"
        raise PluginError(
            f"relighter: no pair of {len(baked)} moved less than {config.max_shift_px:g} px; {least}",
            hint="litdome align SESSION, or a larger max_shift_px",
        )
    return kept


def with_light(data: BakedView, config: RelighterConfig) -> BakedView:
    """The samples whose light has a name, without which there is no map of it; all where no map is read."""
    is_named = data.column("hdri") >= 0
    return data if not config.env or is_named.all() else data.at(np.flatnonzero(is_named))


def hold_back(data: DatasetView, share: float) -> tuple[BakedView, BakedView]:
    """The samples before, and those of the last ``share`` of each session's pairs.

    Pairs before that share a recorded frame with one held back, through any stage's window, are in neither.

    Raises:
        PluginError: Nothing would be left to train on, or to hold back.
    """
    baked = need_baked(data, "validation.hold_back")
    session, pair = baked.column("session"), baked.column("pair")
    early, late = np.zeros(len(baked), bool), np.zeros(len(baked), bool)
    for number, about in enumerate(baked.attrs["sessions"]):
        own = session == number
        known = np.unique(pair[own])
        if len(known) == 0:
            continue
        start = known[min(int(np.ceil(len(known) * (1 - share))), len(known) - 1)]
        late |= own & (pair >= start)
        early |= own & (pair < _first_sharing(baked, str(about["name"]), int(start)))
    if not early.any() or not late.any():
        raise PluginError(
            f"relighter: holding back {share:g} of {len(baked)} samples leaves {early.sum()} to train on and "
            f"{late.sum()} to validate on",
            hint="--set validation.hold_back=0",
        )
    return baked.at(np.flatnonzero(early)), baked.at(np.flatnonzero(late))


def sampling_weights(data: DatasetView, config: RelighterConfig) -> Weights | None:
    """How often each sample of a view is drawn, shape (sample,), by reliability and balance; None: equally often."""
    if config.balance == "samples" and not config.reliability_sampling:
        return None
    baked = need_baked(data, "reliability_sampling" if config.reliability_sampling else "balance")
    weights: Weights = np.ones(len(baked))
    if config.reliability_sampling:
        weights = np.nan_to_num(baked.reliability.astype(np.float64))
        if not weights.any():
            raise PluginError(
                f"relighter: no pair of {len(baked)} is known to be reliable", hint="--set reliability_sampling=false"
            )
    if config.balance != "samples":
        groups = _groups(baked, config.balance)
        totals = np.bincount(groups, weights)[groups]
        weights = np.divide(weights, totals, out=np.zeros_like(weights), where=totals > 0)
    return weights


def need_baked(data: DatasetView, setting: str) -> BakedView:
    """The view, which has to be of a dataset on disk.

    Raises:
        PluginError: It is not.
    """
    if not isinstance(data, BakedView):
        raise PluginError(f"relighter: {setting} needs a dataset on disk", hint="litdome dataset build SESSION")
    return data


def _first_sharing(data: BakedView, session: str, start: int) -> int:
    """The first pair that reads a frame which pair ``start`` or a later one reads; ``start`` if none does."""
    group = f"pairs/{session}"
    if not data.reader.store.has(f"{group}/time_last"):  # baked before windows were recorded
        return start
    pairs = data.reader.table(f"{group}/pair")
    reads_from = data.reader.table(f"{group}/time_first")[pairs >= start].min()
    sharing = pairs[data.reader.table(f"{group}/time_last") >= reads_from]
    return int(min(sharing.min(), start))


def _groups(data: BakedView, balance: str) -> npt.NDArray[np.int64]:
    """A number for the session or the subject of each sample; a session of nobody named is a subject of its own."""
    sessions = data.attrs["sessions"]
    names = [
        str(about["name"] if balance == "sessions" else about.get("subject") or about["name"]) for about in sessions
    ]
    known = sorted(set(names))
    numbers = np.array([known.index(name) for name in names], np.int64)
    return np.asarray(numbers[data.column("session")])

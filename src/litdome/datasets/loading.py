"""What a training loop asks of a dataset: single pairs, clips and crops.

All are maps from an index to a sample, hold no open file, and depend on nothing but the seed and what they are asked
for, so that any worker gives the same sample. `ResumableSampler` (order.py) says which comes next, `Batches`
(batches.py) has workers read them; torch's own DataLoader takes them as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from litdome.compute import default_workers
from litdome.datasets.order import Pick
from litdome.datasets.reading import CROPS, ID_KEYS, MADE_KEYS, STILL_KEYS, Box
from litdome.datasets.views import DatasetView
from litdome.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

Sample = dict[str, "Tensor"]
Keys = tuple[str, ...] | None
Around = Literal["person", "face", "hands", "random"]


@dataclass(frozen=True)
class RandomPairs:
    """The samples of a view, reading only ``keys`` (all by default), ``compact`` where `as_floats` follows."""

    view: DatasetView
    keys: Keys = None
    compact: bool = False

    def __post_init__(self) -> None:
        _need_keys(self.view, self.keys)

    def __len__(self) -> int:
        return len(self.view)

    def __getitem__(self, index: int | Pick) -> Sample:
        return self.view.read(_index(index), self.keys, compact=self.compact)

    @property
    def reliability(self) -> npt.NDArray[np.float32]:
        """Of each sample, 0..1; NaN where it was not measured."""
        return self.view.reliability


@dataclass(frozen=True)
class Clips(Sequence[Sample]):
    """Runs of ``length`` successive pairs of one camera, one every ``stride`` pairs; the time axis is ``length``."""

    view: DatasetView
    length: int
    stride: int
    keys: Keys = None
    compact: bool = False

    def __post_init__(self) -> None:
        if min(self.length, self.stride) < 1:
            raise UsageError(f"clips of {self.length} pairs every {self.stride}: both are at least 1")
        _need_keys(self.view, self.keys)

    @cached_property
    def starts(self) -> npt.NDArray[np.int64]:
        """First pair of each clip, as an index of the view."""
        runs = _runs(self.view)
        begins = [np.arange(start, stop - self.length + 1, self.stride) for start, stop in runs]
        return np.concatenate([np.empty(0, np.int64), *begins])

    @cached_property
    def skipped(self) -> Mapping[str, int]:
        """Pairs in no clip, by reason."""
        used = np.zeros(len(self.view), bool)
        for start in self.starts:
            used[start : start + self.length] = True
        short = sum(stop - start for start, stop in _runs(self.view) if stop - start < self.length)
        reasons = {f"run shorter than {self.length}": short, "between clips": int((~used).sum()) - short}
        return {reason: count for reason, count in reasons.items() if count}

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: Any) -> Any:
        import torch

        start = int(self.starts[_index(index)])
        frames = [self.view.read(start + k, self.keys, compact=self.compact) for k in range(self.length)]
        return {key: frames[0][key] if key in STILL_KEYS else torch.cat([f[key] for f in frames]) for key in frames[0]}

    @property
    def reliability(self) -> npt.NDArray[np.float32]:
        """Of the least reliable pair of each clip, 0..1; NaN where one was not measured."""
        return np.asarray(self.view.reliability[self.starts[:, None] + np.arange(self.length)].min(axis=1))


@dataclass(frozen=True)
class Crops:
    """Parts of ``size`` (rows, columns) of the samples of a view, placed anew at every draw, with their own intrinsics.

    Attributes:
        view: The samples.
        size: Of the parts, px.
        around: What a part shows: a point of the person's mask drawn at random, or of the face's or the hands' out of
            the dataset's crops at native resolution (whose keys come without their prefix); ``random``: anything.
        keys: What to read; all pictures and masks of that tier, and what else a sample has, by default.
        compact: Whether pictures and maps stay as stored.
        seed: Of the places; they depend on it and on the `Pick` (epoch and position), or on the index alone.
    """

    view: DatasetView
    size: tuple[int, int]
    around: Around = "person"
    keys: Keys = None
    seed: int = 0
    compact: bool = False

    def __post_init__(self) -> None:
        region = f"{CROPS}{self.around}"
        if self._prefix and f"{region}/mask" not in self.view.keys:
            hint = f"litdome dataset build --set crops.{self.around}={max(self.size)}"
            raise UsageError(f"{self.view.path}: no crops of the {self.around}", hint=hint)
        (height, width), (rows, columns) = self._picture_size, self.size
        if not (0 < rows <= height and 0 < columns <= width):
            what = f"a crop of {rows}x{columns} px does not fit in pictures of {height}x{width}"
            raise UsageError(f"{self.view.path}: {what}", hint="ask for a smaller size, or build a larger dataset")
        _ = self._stored  # unknown keys show here

    @cached_property
    def chosen(self) -> npt.NDArray[np.int64]:
        """The samples that show what is asked for, as indices of the view; every mask is read once, with all cores."""
        if self.around == "random":
            return np.arange(len(self.view))

        def is_seen(index: int) -> bool:
            return bool(self.view.codes(index, f"{self._prefix}mask").any())

        with ThreadPoolExecutor(default_workers()) as pool:
            return np.flatnonzero(np.fromiter(pool.map(is_seen, range(len(self.view))), bool, len(self.view)))

    @property
    def skipped(self) -> Mapping[str, int]:
        """Samples that show nothing of it, by reason."""
        count = len(self.view) - len(self.chosen)
        return {f"no {self.around} in the picture": count} if count else {}

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int | Pick) -> Sample:
        sample = int(self.chosen[_index(index)])
        draw = index.draw if isinstance(index, Pick) else 0
        rng = np.random.default_rng((self.seed, draw, sample))
        read = self.view.read(sample, tuple(self._stored.values()), box=self._place(sample, rng), compact=self.compact)
        return {key: read[stored] for key, stored in self._stored.items()}

    @property
    def reliability(self) -> npt.NDArray[np.float32]:
        """Of each sample, 0..1; NaN where it was not measured."""
        return self.view.reliability[self.chosen]

    @property
    def _picture_size(self) -> tuple[int, int]:
        height, width = self.view.shape(f"{self._prefix}flat")[1:3]
        return height, width

    @property
    def _prefix(self) -> str:
        return f"{CROPS}{self.around}/" if self.around in ("face", "hands") else ""

    @cached_property
    def _stored(self) -> dict[str, str]:
        """The view's key behind each key of a sample."""
        if self._prefix:
            tier = {key.removeprefix(self._prefix): key for key in self.view.keys if key.startswith(self._prefix)}
            found = {key: key for key in (*MADE_KEYS, *ID_KEYS)} | tier
        else:
            found = {key: key for key in self.view.keys if not key.startswith(CROPS)}
        _need_keys(self.view, self.keys, tuple(found))
        return found if self.keys is None else {key: found[key] for key in self.keys}

    def _place(self, sample: int, rng: np.random.Generator) -> Box:
        (height, width), (rows, columns) = self._picture_size, self.size
        if self.around == "random":
            top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
        else:
            shown = np.flatnonzero(self.view.codes(sample, f"{self._prefix}mask"))
            y, x = divmod(int(rng.choice(shown)), width)
            top, left = min(max(y - rows // 2, 0), height - rows), min(max(x - columns // 2, 0), width - columns)
        return (top, top + rows), (left, left + columns)


def _index(index: int | Pick) -> int:
    return index.sample if isinstance(index, Pick) else index


def _need_keys(view: DatasetView, keys: Keys, known: tuple[str, ...] | None = None) -> None:
    known = view.keys if known is None else known
    missing = [key for key in keys or () if key not in known]
    if missing:
        raise UsageError(f"{view.path}: no sample key {', '.join(missing)}", hint=f"keys: {', '.join(known)}")


def _runs(view: DatasetView) -> list[tuple[int, int]]:
    """Half-open ranges of a view in which each sample is the next pair of the same camera."""
    if len(view) == 0:
        return []
    session, camera, pair = (view.column(name) for name in ("session", "camera", "pair"))
    breaks = (np.diff(session) != 0) | (np.diff(camera) != 0) | (np.diff(pair) != 1)
    edges = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(view)]
    return list(pairwise(edges))

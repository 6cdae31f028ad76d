"""In which order training sees its samples: shuffled, or drawn by weight; split over processes; resumable anywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sized
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from litdome.errors import UsageError


class Pick(NamedTuple):
    """What a sampler gives: the sample, and how many were drawn before it since training began."""

    sample: int
    draw: int


class ResumableSampler:
    """The order of samples as a function of seed, epoch and position.

    Iterating gives the rest of the current epoch (this process's share of it) and moves nothing: workers read ahead, so
    only the training loop knows what it has used, and says so by `advance`. The state is a few numbers.

    Without weights, an epoch is a permutation. With weights, it is as long and holds sample i as often as its share of
    the weight says, rounded up or down at random (systematic resampling), in random order.

    Args:
        samples: What is drawn from; only its length counts.
        seed: Of the order.
        weights: Shape (sample,), at least 0, such as ``samples.reliability``; NaN (not measured) counts as 0.
        rank, world: This process among those that share the epochs; at most ``world - 1`` samples an epoch are left.

    Raises:
        UsageError: Nothing to draw from, or weights that cannot be.
    """

    def __init__(
        self, samples: Sized, seed: int, weights: npt.ArrayLike | None = None, *, rank: int = 0, world: int = 1
    ) -> None:
        if not 0 <= rank < world <= len(samples):
            raise UsageError(f"cannot share {len(samples)} samples among {world} processes, of which this is {rank}")
        self.seed, self.rank, self.world = seed, rank, world
        self.epoch, self.position = 0, 0
        self._count = len(samples)
        self._weights = None if weights is None else _checked(np.asarray(weights, np.float64), self._count)
        self._ended_at: tuple[int, int] | None = None
        self._kept: tuple[int, npt.NDArray[np.int64]] | None = None  # the order of the epoch that was last picked from

    @property
    def skipped(self) -> Mapping[str, int]:
        """Samples that are never drawn, by reason."""
        if self._weights is None:
            return {}
        unknown = int(np.isnan(self._weights).sum())
        reasons = {"weight not measured": unknown, "weight 0": int((self._weights == 0).sum())}
        return {reason: count for reason, count in reasons.items() if count}

    def __len__(self) -> int:
        return (self._count - self.position) // self.world

    def __iter__(self) -> Iterator[Pick]:
        start = self.epoch, self.position
        if self._ended_at == start:
            raise UsageError(
                f"epoch {self.epoch} was read to its end and nothing of it was used",
                hint="call advance(batch) after each step",
            )
        order = self._order(self.epoch)[self.position :]
        first = self.epoch * self._count + self.position
        for n in range(len(self)):
            place = n * self.world + self.rank
            yield Pick(int(order[place]), first + place)
        self._ended_at = start

    def pick(self, draw: int) -> int:
        """The sample that is drawn after ``draw`` others since training began, by all processes together."""
        epoch, position = divmod(draw, self._count)
        if self._kept is None or self._kept[0] != epoch:
            self._kept = epoch, self._order(epoch)
        return int(self._kept[1][position])

    def advance(self, count: int) -> None:
        """Count samples of the current epoch as used, by all processes together; at its end the next one begins."""
        self.position += count
        if self._count - self.position < self.world:
            self.epoch, self.position = self.epoch + 1, 0

    def state_dict(self) -> dict[str, int | str]:
        """Where training stands, for a checkpoint."""
        return {"epoch": self.epoch, "position": self.position, "order": self._identity}

    def load_state_dict(self, state: Mapping[str, int | str]) -> None:
        """Go on where another sampler stood; the number of processes may differ.

        Raises:
            UsageError: It was of another seed, number of samples, or weights: the order would be another.
        """
        if state["order"] != self._identity:
            raise UsageError(
                "the checkpoint's order of samples is of another seed, dataset or weights",
                hint="resume with what the run began with, or begin a new run",
            )
        self.epoch, self.position = int(state["epoch"]), int(state["position"])

    @cached_property
    def _identity(self) -> str:
        known = b"" if self._weights is None else self._weights.tobytes()
        return hashlib.sha256(f"{self.seed} {self._count} ".encode() + known).hexdigest()

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        rng = np.random.default_rng((self.seed, epoch))
        if self._weights is None:
            return rng.permutation(self._count)
        summed = np.cumsum(np.nan_to_num(self._weights))
        marks = (np.arange(self._count) + rng.random()) * (summed[-1] / self._count)
        last = int(np.flatnonzero(self._weights > 0)[-1])  # a mark at the very end, by rounding
        return rng.permutation(np.minimum(np.searchsorted(summed, marks, side="right"), last))


def _checked(weights: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    if weights.shape != (count,):
        raise UsageError(f"weights of shape {weights.shape} for {count} samples")
    if (weights < 0).any() or np.isinf(weights).any():
        raise UsageError(
            f"weights from {np.nanmin(weights):g} to {np.nanmax(weights):g}: they are finite and at least 0"
        )
    if not (weights > 0).any():
        raise UsageError(f"no sample of {count} has a weight above 0", hint="litdome align measures reliability")
    return weights

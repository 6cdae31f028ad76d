"""Batches read ahead by spawned workers, which hand over compact samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import cv2
import numpy as np

from litdome.datasets.loading import Clips, Crops, RandomPairs, Sample
from litdome.datasets.order import ResumableSampler
from litdome.datasets.tensors import as_floats

if TYPE_CHECKING:
    from torch.utils.data import DataLoader


@dataclass(frozen=True)
class Batches:
    """Batches in the sampler's order, read by ``workers`` spawned processes of one thread each (0: by this one).

    Workers read ahead, so tell the sampler what training has used: ``sampler.advance(batch)`` after each step. They are
    spawned, not forked, stay for all epochs, and hand over compact samples; ``device`` makes them floats.
    """

    samples: RandomPairs | Clips | Crops
    sampler: ResumableSampler
    batch: int = 1
    workers: int = 2
    device: str = "cpu"

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.batch)

    def __iter__(self) -> Iterator[Sample]:
        for batch in self._loader:
            yield as_floats({key: value.to(self.device, non_blocking=True) for key, value in batch.items()})

    @cached_property
    def _loader(self) -> DataLoader[Sample]:
        from torch.utils.data import DataLoader

        keep_freed_memory()
        return DataLoader(
            replace(self.samples, compact=True),  # type: ignore[arg-type]  # torch uses len and [] only
            batch_size=self.batch,
            sampler=self.sampler,  # type: ignore[arg-type]  # yields what ``samples`` takes
            num_workers=self.workers,
            worker_init_fn=_prepare_worker,
            multiprocessing_context="spawn" if self.workers else None,
            persistent_workers=self.workers > 0,
            pin_memory=self.device != "cpu",
        )


def keep_freed_memory() -> None:
    """Have glibc keep what samples free for the next ones (elsewhere this does nothing).

    It gives freed memory back above twice the largest block that it has seen freed, 32 MB at most; then every sample
    pays page faults anew, as much time as its conversion. One freed block of nearly that size ends it.
    """
    np.empty(31 << 20, np.uint8)


def _prepare_worker(worker: int) -> None:
    cv2.setNumThreads(1)  # torch sees to its own
    keep_freed_memory()

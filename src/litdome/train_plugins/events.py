"""A run's numbers for TensorBoard: ``tensorboard --logdir runs``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from litdome.errors import MissingPackageError

FLUSH_SECONDS = 10


class Events:
    """Writes events below a run's folder; ``first_step`` on, what an earlier start wrote no longer counts."""

    def __init__(self, folder: Path, first_step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingPackageError(
                f"tensorboard = true: {error}", hint="pip install 'litdome[train]', or --set tensorboard=false"
            ) from error
        self._writer = SummaryWriter(str(folder), purge_step=first_step, flush_secs=FLUSH_SECONDS)  # type: ignore[no-untyped-call]

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Numbers of one step."""
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)  # type: ignore[no-untyped-call]

    def show(self, name: str, picture: npt.NDArray[np.uint8]) -> None:
        """A picture, shape (y, x, 3), uint8 RGB; ``step-000100`` is the picture called step of step 100."""
        head, _, step = name.rpartition("-")
        about = (head, int(step)) if step.isdigit() else (name, 0)
        self._writer.add_image(about[0], picture, about[1], dataformats="HWC")  # type: ignore[no-untyped-call]

    def flush(self) -> None:
        """Put all of it on the disk."""
        self._writer.flush()  # type: ignore[no-untyped-call]

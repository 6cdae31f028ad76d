"""What a training plugin gives and gets (contract 1). Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

if TYPE_CHECKING:
    from torch import Tensor

CONTRACT = 1
ENTRY_POINT_GROUP = "litdome.trainers"
SAMPLE_KEYS = (
    *("flat", "flat_compensated", "relit"),  # (t, 3, h, w) f4 0..1, display-referred
    *("mask", "mask_flat", "mask_wide", "mask_face", "mask_hands"),  # (t, 1, h, w) f4 0..1
    *("weight", "weight_compensated"),  # (t, 1, h, w) f4 0..1
    *("env_ldr", "env_log", "env_direction"),  # (t, 3, h, w) f4 -1..1, as the model takes them
    *("intrinsics", "world_from_camera", "background"),  # (t, 3, 3), (t, 4, 4), (3, h, w)
    *("time_flat", "time_relit", "expression", "pose", "landmarks", "geometry"),
    *("session", "camera", "pair", "hdri"),
)


@dataclass(frozen=True)
class Problem:
    """Something that `Trainer.check` found before any training.

    Attributes:
        severity: An error stops the training, a warning is shown.
        message: What, where, measured against allowed.
        hint: What to type or do.
    """

    severity: Literal["error", "warning"]
    message: str
    hint: str


@dataclass(frozen=True)
class Rendered:
    """Pictures that a renderer made.

    Attributes:
        rgb: Shape (t, 3, h, w), float32, 0..1, display-referred.
        alpha: Coverage, shape (t, 1, h, w), 0..1, or None where the pictures are whole.
    """

    rgb: Tensor
    alpha: Tensor | None


class DatasetView(Protocol):
    """The samples that a trainer sees; see `SAMPLE_KEYS` for their tensors."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys that every sample has."""
        ...

    @property
    def fingerprint(self) -> str:
        """Identity of the dataset."""
        ...

    def split(self, name: str) -> DatasetView:
        """The samples of one split: train, test_light, ..."""
        ...

    def clips(self, length: int, stride: int) -> Sequence[dict[str, Tensor]]:
        """Samples of ``length`` successive pictures, starting every ``stride`` pictures."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Tensor]: ...


class Run(Protocol):
    """One training's folder, as the trainer sees it."""

    @property
    def path(self) -> Path:
        """The folder."""
        ...

    @property
    def device(self) -> str:
        """What to compute on: cpu, cuda:0, ..."""
        ...

    @property
    def seed(self) -> int:
        """Where all randomness starts."""
        ...

    def latest_checkpoint(self) -> Path | None:
        """The newest whole checkpoint's folder."""
        ...

    def checkpoint(self, step: int) -> AbstractContextManager[Path]:
        """A folder to write into, which becomes the checkpoint of ``step`` when the block ends without an error."""
        ...

    def log(self, step: int, **scalars: float) -> None:
        """Record numbers of one step."""
        ...

    def preview(self, name: str, picture: npt.NDArray[np.uint8]) -> None:
        """Keep a picture, shape (y, x, 3), uint8 RGB."""
        ...

    def should_stop(self) -> bool:
        """The user asked to stop: write a checkpoint and return."""
        ...


class Renderer(Protocol):
    """A trained model.

    Attributes:
        reads: The sample keys that `render` needs.
    """

    reads: tuple[str, ...]

    def render(self, inputs: Mapping[str, Tensor], *, seed: int) -> Rendered:
        """Make pictures from a clip of any length; the same inputs and seed give the same pictures."""
        ...


@runtime_checkable
class StreamingRenderer(Renderer, Protocol):
    """A renderer that gives pictures while it is given a clip, so that memory does not grow with the clip's length."""

    def stream(
        self, clip: Iterable[Mapping[str, Tensor]], *, seed: int, before: Sequence[Tensor] = ()
    ) -> Iterator[Tensor]:
        """Pictures, shape (3, h, w), float32 on the CPU, 0..1, one for each of ``clip``.

        Args:
            clip: What ``reads`` names for each picture, shape (c, h, w) each; read a little ahead.
            seed: As for `render`.
            before: Where a stream goes on that was stopped: the first pictures of ``clip`` as they were made then,
                shape (3, h, w), uint8 codes. A renderer that shows earlier pictures to a later chunk shows it their
                codes, so that a stream that was stopped gives what it would have given.
        """
        ...

    def resume_at(self, done: int) -> int:
        """Where the clip must begin again after ``done`` pictures, 0 to ``done``: from there, with what was made from
        there on as ``before``, `stream` gives the pictures from ``done`` on as if it had never stopped."""
        ...


class Trainer(Protocol):
    """A training plugin.

    Attributes:
        name, summary: What ``litdome plugin list`` shows.
        contract: Version of this page that the plugin keeps.
        needs: Sample keys that it reads.
        packages: Import names that it needs; a missing one becomes one clear error.
        Config: A pydantic model with defaults for every field.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    contract: ClassVar[int]
    needs: ClassVar[tuple[str, ...]]
    packages: ClassVar[tuple[str, ...]]
    Config: ClassVar[type[BaseModel]]

    def check(self, data: DatasetView, config: BaseModel) -> list[Problem]:
        """Find what would go wrong, in seconds and without a GPU."""
        ...

    def fit(self, data: DatasetView, config: BaseModel, run: Run) -> None:
        """Train, going on from ``run.latest_checkpoint()`` where there is one."""
        ...

    def load(self, run: Run, device: str) -> Renderer:
        """The trained model of a run."""
        ...

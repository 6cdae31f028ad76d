"""What a step of the pipeline is: a named, versioned stage over units of work, and the session it sees."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, BaseModel, ConfigDict

from litdome.geometry import Rig
from litdome.lighting import HdriConvention, LightingSchedule
from litdome.pairs import PairTable

Array = npt.NDArray[Any]
UInt8Array = npt.NDArray[np.uint8]
Kind = Literal["flat", "relit", "dark"]
PairKind = Literal["flat", "relit", "next_flat"]
Summary = dict[str, Any]


def _absolute(name: str) -> str:
    """The same file or folder, whatever directory the command is typed in; what is not there stays (a hub id, say)."""
    return str(Path(name).absolute()) if name and Path(name).exists() else name


PathName = Annotated[str, AfterValidator(_absolute)]


class StageConfig(BaseModel):
    """Settings of a stage: frozen, no unknown keys, every field described."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def recorded(self) -> dict[str, Any]:
        """The settings as records and fingerprints hold them: alike where they make the same arrays."""
        return self.model_dump(mode="json")


@dataclass(frozen=True)
class Unit:
    """A piece of work: one camera (None: all) and a half-open range on the stage's axis, shard-aligned."""

    camera: str | None
    start: int
    stop: int


class RowWriter(Protocol):
    """Takes the rows of a shard; `litdome.store.shards.ShardWriter` is the real one."""

    def put(self, n: int, values: Array) -> None: ...


class SessionLike(Protocol):
    """The session as stages see it; `litdome.store.session.Session` is the real one and documents each member."""

    @property
    def cameras(self) -> tuple[str, ...]: ...
    @property
    def rig(self) -> Rig: ...
    @property
    def lenses(self) -> Rig: ...
    @property
    def schedule(self) -> LightingSchedule: ...
    @property
    def pairs(self) -> PairTable: ...
    @property
    def hdri_names(self) -> tuple[str, ...]: ...
    @property
    def hdri_convention(self) -> HdriConvention: ...
    @property
    def light_gain(self) -> float: ...
    @property
    def shard_frames(self) -> int: ...
    @property
    def attrs(self) -> Mapping[str, Any]: ...
    def size(self, camera: str) -> tuple[int, int]: ...
    def transfer(self, camera: str) -> str: ...
    def shards(self, length: int) -> list[tuple[int, int]]: ...
    def count(self, kind: Kind) -> int: ...
    def frames(self, kind: Kind) -> npt.NDArray[np.int32]: ...
    def is_present(self, camera: str, kind: Kind, n: int) -> bool: ...
    def has(self, path: str) -> bool: ...
    def array(self, path: str) -> Any: ...
    def read(self, path: str) -> Array: ...
    def read_at(self, path: str, n: int) -> Array: ...
    def create(
        self,
        path: str,
        shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        dims: tuple[str, ...],
        *,
        shard: int | None = ...,
        chunk: tuple[int, ...] | None = ...,
        unit: str = ...,
        description: str = ...,
        fill: float = ...,
        attrs: Mapping[str, Any] | None = ...,
        compression: str = ...,
    ) -> Any: ...
    def remove(self, path: str) -> None: ...
    def shard_writer(self, path: str, start: int) -> AbstractContextManager[RowWriter]: ...
    def write(self, path: str, start: int, values: Array) -> None: ...
    def write_small(
        self,
        path: str,
        values: Array,
        dims: tuple[str, ...],
        *,
        unit: str = ...,
        description: str = ...,
        attrs: Mapping[str, Any] | None = ...,
    ) -> None: ...
    def set_attrs(self, path: str, **attrs: Any) -> None: ...
    def read_frame(self, camera: str, kind: Kind, n: int) -> UInt8Array: ...
    def read_luma(self, camera: str, kind: Kind, n: int) -> UInt8Array: ...
    def read_rgb(self, camera: str, kind: PairKind, pair: int) -> Array: ...
    def read_mask(self, camera: str, kind: PairKind, pair: int) -> UInt8Array: ...
    def read_hdri(self, index: int, *, effective: bool = False) -> npt.NDArray[np.float32]: ...


class Stage(Protocol):
    """A step of the pipeline. Units run in any order on any thread; each writes whole shards of its own only."""

    name: ClassVar[str]
    version: ClassVar[int]
    summary: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    Config: ClassVar[type[StageConfig]]

    def prepare(self, session: SessionLike, config: Any) -> list[Unit]:
        """Create the arrays (the same call twice changes nothing) and give the units in a fixed order."""

    # A stage that reads files outside the session also has
    # input_files(session, config) -> list[Path]; their fingerprints join the record's inputs.

    def run(self, session: SessionLike, config: Any, unit: Unit) -> None:
        """Compute one unit and write it."""

    def finish(self, session: SessionLike, config: Any) -> Summary:
        """After all units, on the coordinator: what the record's summary says."""

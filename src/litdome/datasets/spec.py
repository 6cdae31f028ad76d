"""DatasetSpec: what a frozen dataset selects, at which size, and what it holds out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from litdome.store.decisions import Decision
from litdome.store.provenance import digest

DATASET_SCHEMA = "1.1"  # 1.1: weights, crops, windows of pairs, shards of hdri_views
Region = Literal["face", "hands"]
MOTION_FROM = 0.8


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SessionRef(_Table):
    """One session of the dataset."""

    path: str = Field(description="Path or URL of the session")
    name: str = Field(description="Name inside the dataset")
    fingerprint: str = Field("", description="Fingerprint of the session's records when the dataset was built")
    stages: dict[str, str] = Field({}, description="Fingerprint of each stage's record that a dataset reads")
    light_gain: float = Field(1.0, description="Multiplies the environment before projection")


class Select(_Table):
    """Which samples may enter."""

    cameras: tuple[str, ...] | None = Field(None, description="Camera ids; all by default")
    pairs: tuple[int, int] | None = Field(None, description="Half-open range of pairs; all by default")
    filter: Literal["keep", "all"] = Field(
        "keep", description="keep: what align and the curator keep; all: every pair that was recorded"
    )
    where: str = Field("", description='Only what fits a filter: "shift_px < 3 and reliability > 0.8"')

    @field_validator("pairs")
    @classmethod
    def _some(cls, pairs: tuple[int, int] | None) -> tuple[int, int] | None:
        if pairs is not None and not 0 <= pairs[0] < pairs[1]:
            raise PydanticCustomError("range", "a range is [first, one after the last], from 0 on")
        return pairs


class Size(_Table):
    """Size of the baked pictures."""

    height: int = Field(704, ge=16, multiple_of=16, description="Rows, px")
    width: int = Field(1280, ge=16, multiple_of=16, description="Columns, px")
    fit: Literal["person", "full"] = Field(
        "person", description="person: the mask union plus 10 %, scaled and centred; full: the whole picture"
    )


class Splits(_Table):
    """What is held out. Our fractions: the paper's are not known."""

    seed: int = Field(0, description="Draws the held-out lights and cameras")
    lights: float | tuple[str, ...] = Field(0.1, description="Share of the HDRIs, or their names; 0 holds none out")
    motion_from: float | int | dict[str, float | int] | None = Field(
        MOTION_FROM,
        description="First held-out pair: a share of the take (float), a pair number, or either by session name "
        "(others: 0.8); none: no held-out motion",
    )
    cameras: float | tuple[str, ...] = Field(
        0.1,
        description="Share of the body cameras, or their ids; 0 (or fewer than 3 cameras) holds none out",
    )

    @field_validator("lights", "cameras", "motion_from")
    @classmethod
    def _possible(cls, wanted: Any) -> Any:
        for value in wanted.values() if isinstance(wanted, dict) else (wanted,):
            if isinstance(value, float) and not 0 <= value <= 1:
                raise PydanticCustomError("share", "a share is from 0.0 to 1.0")
            if isinstance(value, int) and value < 0:
                raise PydanticCustomError("pair", "pairs are counted from 0 on")
        return wanted

    def motion_of(self, session: str) -> float | int | None:
        """`motion_from` of one session, by its name in the dataset."""
        return self.motion_from.get(session, MOTION_FROM) if isinstance(self.motion_from, dict) else self.motion_from


class Storage(_Table):
    """How arrays are written; what they hold does not depend on it."""

    codec: Literal["zstd", "lz4"] = Field("zstd", description="zstd: smaller; lz4: read faster. Both at level 1")


class DecisionCopy(_Table):
    """A curator's decision as it stood when the dataset was built."""

    session: str
    action: Literal["keep", "drop"]
    cameras: tuple[str, ...] | None
    pairs: tuple[tuple[int, int], ...]
    reason: str
    author: str
    time: str

    @property
    def decision(self) -> Decision:
        """What was decided."""
        return Decision(self.action, self.cameras, self.pairs, self.reason, self.author, self.time)


class DatasetSpec(_Table):
    """Everything that decides a dataset's arrays; the same spec gives the same arrays, byte for byte."""

    sessions: tuple[SessionRef, ...] = ()
    select: Select = Select()
    size: Size = Size()
    hdris: Literal["requested", "effective"] = Field(
        "requested", description="requested: the HDRIs themselves; effective: what the LEDs made of them"
    )
    colors: Literal["recorded", "corrected"] = Field(
        "recorded", description="recorded: each camera's own colours; corrected: brought to one reference by color"
    )
    splits: Splits = Splits()
    store: Storage = Storage()
    crops: dict[Region, Annotated[int, Field(ge=16, le=4096)]] = Field(
        {}, description="Crops at the recorded resolution, px a side: {face = 512, hands = 384}; needs part labels"
    )
    decisions: tuple[DecisionCopy, ...] = ()

    @property
    def fingerprint(self) -> str:
        """sha256 of the spec and the schema; sessions count by name and fingerprint, not by path."""
        plain: dict[str, Any] = {"schema": DATASET_SCHEMA, **self.model_dump(mode="json")}
        for session in plain["sessions"]:
            del session["path"]
        return digest(plain)

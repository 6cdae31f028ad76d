"""Drivers: an avatar's renderings of a dataset's samples, each by an avatar that never saw its moment.

A relighter that is to enhance renderings trains on renderings. They must be as good, and no better, than those that it
will be given: an avatar that was trained on the very frame renders it too well. So every picture belongs to a fold, and
the record says which pairs the fold's avatar was kept from.

Folder: ``drivers.json`` (`DriverRecord`), ``<fold>/<session>/<camera>/<pair as 6 digits>.png``: 8-bit RGBA, straight
alpha, the dataset's framing and size, flat-lit, at the relit time of the pair.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from litdome.datasets.views import DatasetView
from litdome.errors import InputError, UsageError

RECORD_FILE = "drivers.json"
DRIVERS_SCHEMA: Literal[1] = 1
UInt8Array = npt.NDArray[np.uint8]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Fold(_Table):
    """One avatar.

    Attributes:
        name: Its folder.
        run: The run that trained it.
        held_out: Pairs that it was kept from, with all that share a frame with them: half-open ranges, by session.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$")
    run: str
    held_out: dict[str, tuple[tuple[int, int], ...]]

    def is_held_out(self, session: str, pair: int) -> bool:
        """Whether its avatar never saw this moment of this session."""
        return any(start <= pair < stop for start, stop in self.held_out.get(session, ()))


class DriverRecord(_Table):
    """What drivers.json holds.

    Attributes:
        dataset: Fingerprint of the dataset whose samples are rendered.
        size: Height and width of the pictures, px.
        folds: The avatars; no pair is held out of two.
    """

    schema_version: Literal[1] = DRIVERS_SCHEMA
    dataset: str
    size: tuple[int, int]
    folds: tuple[Fold, ...]

    def fold_of(self, session: str, pair: int) -> Fold | None:
        """The avatar that never saw this moment, or None."""
        return next((fold for fold in self.folds if fold.is_held_out(session, pair)), None)


@dataclass(frozen=True)
class Driver:
    """One rendering: whose sample it is, which fold made it, and the picture, shape (y, x, 4), uint8."""

    fold: str
    session: str
    camera: str
    pair: int
    picture: UInt8Array


def write_drivers(folder: Path, record: DriverRecord, pictures: Iterable[Driver]) -> None:
    """Write renderings, and the record when all are there.

    Raises:
        UsageError: The folder exists.
        InputError: A picture of another size, or of a fold that was trained on its moment.
    """
    if folder.exists():
        raise UsageError(f"{folder}: exists already", hint="give another folder, or remove it")
    folder.mkdir(parents=True)
    for one in pictures:
        where = f"{one.session}/{one.camera}, pair {one.pair}"
        fold = record.fold_of(one.session, one.pair)
        if fold is None or fold.name != one.fold:
            right = "no fold" if fold is None else f"fold {fold.name}"
            raise InputError(f"{where}: fold {one.fold} was trained on it; it is held out of {right}")
        if one.picture.shape != (*record.size, 4):
            raise InputError(f"{where}: a picture of shape {one.picture.shape}, not {(*record.size, 4)}")
        path = folder / _place(fold, one.session, one.camera, one.pair)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(path), cv2.cvtColor(one.picture, cv2.COLOR_RGBA2BGRA)):
            raise InputError(f"{path}: cannot be written")
    (folder / RECORD_FILE).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Drivers:
    """A folder of drivers, to read."""

    folder: Path
    record: DriverRecord

    @classmethod
    def open(cls, folder: Path) -> Drivers:
        """Read the record.

        Raises:
            InputError: There is none, or it is damaged.
        """
        path = folder / RECORD_FILE
        try:
            return cls(folder, DriverRecord.model_validate_json(path.read_bytes()))
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}", hint="--set drivers=FOLDER, or leave drivers out") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise InputError(f"{path}: {where}: {first['msg']}", hint="render the drivers again") from error

    @property
    def fingerprint(self) -> str:
        """Changes with the record and with any picture's size or time of writing."""
        found = sorted((str(path.relative_to(self.folder)), path.stat()) for path in self.folder.glob("*/*/*/*.png"))
        files = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in found]
        return sha256(f"{self.record.model_dump_json()} {files}".encode()).hexdigest()

    def need_for(self, data: DatasetView) -> None:
        """Make sure that every sample of a view has a picture by an avatar that never saw its moment.

        Raises:
            InputError: Another dataset, another size, in-fold or missing pictures.
        """
        if self.record.dataset != data.fingerprint:
            raise InputError(
                f"{self.folder}: renderings of dataset {self.record.dataset[:12]}, this one is {data.fingerprint[:12]}",
                hint="render the drivers of this dataset",
            )
        size = data.shape("flat")[1:3]
        if self.record.size != size:
            raise InputError(f"{self.folder}: pictures of {self.record.size}, the dataset's are {size} (y, x)")
        in_fold, missing = self._lacking(data)
        for what, places in (("seen in training by every avatar", in_fold), ("without a picture", missing)):
            if places:
                raise InputError(
                    f"{self.folder}: {len(places)} of {len(data)} samples are {what}, the first: {places[0]}",
                    hint="render each pair by an avatar that was kept from it",
                )

    def read(self, session: str, camera: str, pair: int) -> UInt8Array:
        """A picture, shape (y, x, 4), RGBA with straight alpha.

        Raises:
            InputError: In-fold, missing or damaged.
        """
        fold = self.record.fold_of(session, pair)
        if fold is None:
            raise InputError(f"{self.folder}: session {session}, pair {pair}: every avatar was trained on it")
        path = self.folder / _place(fold, session, camera, pair)
        found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
        if found is None or found.shape != (*self.record.size, 4) or found.dtype != np.uint8:
            raise InputError(f"{path}: not an RGBA picture of {self.record.size} px (y, x)", hint="render it again")
        return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGRA2RGBA), np.uint8)

    def _lacking(self, data: DatasetView) -> tuple[list[str], list[str]]:
        """Samples that no fold is held out of, and those whose picture is not there."""
        there = {path.relative_to(self.folder) for path in self.folder.glob("*/*/*/*.png")}
        sessions = data.attrs["sessions"]
        in_fold, missing = [], []
        columns = (data.column(name).tolist() for name in ("session", "camera", "pair"))
        for session, camera, pair in zip(*columns, strict=True):
            name, id = str(sessions[session]["name"]), str(sessions[session]["cameras"][camera])
            fold, where = self.record.fold_of(name, pair), f"{name}/{id}, pair {pair}"
            if fold is None:
                in_fold.append(where)
            elif _place(fold, name, id, pair) not in there:
                missing.append(where)
        return in_fold, missing


def _place(fold: Fold, session: str, camera: str, pair: int) -> Path:
    return Path(fold.name, session, camera, f"{pair:06d}.png")

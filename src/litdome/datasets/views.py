"""A dataset as trainers see it: splits, samples as tensors, clips. Opened lazily, so it travels to spawned workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import zarr

from litdome.datasets.build import DATASET_FORMAT
from litdome.datasets.reading import CROPS, Array, Box, SampleReader
from litdome.datasets.spec import DATASET_SCHEMA
from litdome.datasets.tensors import as_floats
from litdome.errors import StoreError, UsageError
from litdome.store.schema import check_format

if TYPE_CHECKING:
    from torch import Tensor

    from litdome.datasets.loading import Clips


def open_dataset(path: Path) -> DatasetView:
    """The whole dataset at ``path``.

    Raises:
        StoreError: Nothing there, not a dataset, unfinished, or a newer major schema.
    """
    try:
        attrs = dict(zarr.open_group(path, mode="r").attrs)
    except (FileNotFoundError, ValueError) as error:
        raise StoreError(f"{path}: no dataset here", hint=f"litdome dataset build SESSION -o {path}") from error
    check_format(attrs, str(path), DATASET_FORMAT, DATASET_SCHEMA)
    if not attrs.get("finished"):
        raise StoreError(f"{path}: the build is unfinished", hint="run litdome dataset build again")
    return DatasetView(path, None)


@dataclass(frozen=True)
class DatasetView:
    """A dataset, or the samples of one split. ``view[i]`` is a sample with a time axis of 1.

    Sample keys: ``flat flat_compensated relit`` (t, 3, h, w) 0..1; ``mask mask_flat mask_wide mask_face mask_hands
    weight weight_compensated`` (t, 1, h, w) 0..1; ``env_ldr env_log env_direction`` (t, 3, h, w) -1..1;
    ``intrinsics`` (t, 3, 3) px; ``world_from_camera`` (t, 4, 4) m; ``background`` (3, h, w) 0..1;
    ``time_flat time_relit`` (t,) s; ``session camera pair hdri`` (t,). Crops at native resolution, where the dataset
    has them: ``crops/face/flat`` and so on, with ``crops/face/intrinsics``.
    """

    path: Path
    rows: tuple[int, ...] | None

    @cached_property
    def reader(self) -> SampleReader:
        """Of the arrays, opened at first use."""
        return SampleReader(self.path)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "rows": self.rows}

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the spec."""
        return str(self.attrs["fingerprint"])

    @property
    def attrs(self) -> dict[str, Any]:
        """Spec, sessions (names, cameras, HDRIs, subject, fps, consent), split names."""
        return self.reader.attrs

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that hold samples."""
        return tuple(cast(list[str], self.attrs["splits"]))

    def split(self, name: str) -> DatasetView:
        """The samples of one split.

        Raises:
            UsageError: No such split.
        """
        if name not in self.splits:
            raise UsageError(f"{self.path}: no split {name}", hint=f"splits: {', '.join(self.splits)}")
        return self.at(np.flatnonzero(self.column("split") == self.splits.index(name)))

    def where(self, **values: int) -> DatasetView:
        """The samples whose ids (session, camera, pair, hdri) have the given values."""
        held = np.ones(len(self), bool)
        for name, value in values.items():
            held &= self.column(name) == value
        return self.at(np.flatnonzero(held))

    def at(self, indices: npt.ArrayLike) -> DatasetView:
        """The samples at ``indices`` of this view, in that order."""
        return DatasetView(self.path, tuple(self._rows[np.asarray(indices, np.int64)].tolist()))

    def __len__(self) -> int:
        return len(self._rows)

    def column(self, name: str) -> Array:
        """One value per sample: session, camera, pair, hdri, split, reliability, shift_px (px of the full picture).

        Raises:
            UsageError: The dataset holds no such value.
        """
        if not self.reader.store.has(f"samples/{name}"):
            known = ", ".join(sorted(cast(zarr.Group, self.reader.store.root["samples"]).array_keys()))
            raise UsageError(
                f"{self.path}: no {name} per sample, only {known}", hint="litdome align, then litdome dataset build"
            )
        return self.reader.table(f"samples/{name}")[self._rows]

    @property
    def reliability(self) -> npt.NDArray[np.float32]:
        """How far each sample's motion can be trusted, shape (sample,), 0..1; NaN where it was not measured.

        Raises:
            UsageError: The dataset was built before motion was measured.
        """
        return self.column("reliability")

    @property
    def keys(self) -> tuple[str, ...]:
        """Sample keys that every session of this dataset has."""
        return self.reader.keys

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.read(index)

    def read(
        self, index: int, keys: Sequence[str] | None = None, *, box: Box | None = None, compact: bool = False
    ) -> dict[str, Tensor]:
        """One sample.

        Args:
            index: In this view.
            keys: What to read; all by default, with a ``box`` all but the tiers of crops.
            box: Part of the pictures; ``intrinsics`` are those of the part, light maps are resampled to its size.
            compact: Pictures and maps as stored (uint8, float16), for `as_floats` to finish elsewhere.

        Raises:
            StoreError: A chunk is damaged or missing; the sample and the file are named.
            UsageError: No such key, or a box that is not inside the picture.
        """
        if keys is None:
            keys = self.keys if box is None else tuple(key for key in self.keys if not key.startswith(CROPS))
        sample = self.reader.read(int(self._rows[index]), keys, box)
        return sample if compact else as_floats(sample)

    def codes(self, index: int, key: str) -> npt.NDArray[np.uint8]:
        """A picture or mask of one sample as stored: shape (y, x, 3) or (y, x), 0..255.

        Raises:
            StoreError: A chunk is damaged or missing.
        """
        return self.reader.codes(int(self._rows[index]), key)

    def shape(self, key: str) -> tuple[int, ...]:
        """Shape of the array behind a picture or mask: (n, y, x, 3) or (n, y, x)."""
        return self.reader.shape(key)

    def clips(self, length: int, stride: int) -> Clips:
        """Runs of ``length`` successive pairs of one camera, starting every ``stride`` pairs; time axis ``length``."""
        from litdome.datasets.loading import Clips

        return Clips(self, length, stride)

    @cached_property
    def _rows(self) -> npt.NDArray[np.int64]:
        every = np.arange(len(self.reader.table("samples/session")))
        return every if self.rows is None else np.array(self.rows, np.int64)

"""The samples of a dataset as columns, with where each lies; reads nothing but small arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from litdome.store.arrays import ArrayStore


@dataclass(frozen=True)
class SampleTable:
    """Whose samples a dataset holds: one row each.

    Attributes:
        session, camera, pair, hdri, split: Ids, shape (sample,).
        row: Where each lies in its camera's arrays, shape (sample,).
        names: Split names.
        sessions: What the dataset says of its sessions.
    """

    session: npt.NDArray[np.int32]
    camera: npt.NDArray[np.int32]
    pair: npt.NDArray[np.int32]
    hdri: npt.NDArray[np.int32]
    split: npt.NDArray[np.int32]
    row: npt.NDArray[np.int64]
    names: tuple[str, ...]
    sessions: tuple[dict[str, Any], ...]

    @classmethod
    def of(cls, store: ArrayStore) -> SampleTable:
        """The samples of a dataset.

        Raises:
            StoreError: An array is missing or damaged.
        """
        attrs = cast(dict[str, Any], store.root.attrs)
        columns = {name: store.read(f"samples/{name}") for name in ("session", "camera", "pair", "hdri", "split")}
        sessions = tuple(attrs["sessions"])
        row = np.zeros(len(columns["pair"]), np.int64)
        for n, about in enumerate(sessions):
            own = columns["session"] == n
            row[own] = np.searchsorted(store.read(f"pairs/{about['name']}/pair"), columns["pair"][own])
        return cls(**columns, row=row, names=tuple(attrs["splits"]), sessions=sessions)

    def __len__(self) -> int:
        return len(self.pair)

    def place(self, index: int) -> str:
        """``SESSION/CAMERA`` of a sample."""
        about = self.sessions[self.session[index]]
        return f"{about['name']}/{about['cameras'][self.camera[index]]}"

    def light(self, index: int) -> str:
        """Name of the light of a sample, with its session's."""
        about, hdri = self.sessions[self.session[index]], int(self.hdri[index])
        return f"{about['name']}/{about['hdris'][hdri] if hdri >= 0 else 'unknown'}"

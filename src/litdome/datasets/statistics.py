"""What a dataset is like in numbers: the person's colours, motion and reliability, how bright each light shows."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from litdome.color import linear_from_srgb
from litdome.compute import default_workers
from litdome.datasets.samples import SampleTable
from litdome.store.arrays import ArrayStore

LOOKED_AT = 1000  # samples, evenly over all: the mean of a colour is known to a tenth of a code
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # of linear sRGB
PERCENTILES = {"p5": 5, "p50": 50, "p95": 95}
UInt8Array = npt.NDArray[np.uint8]
LINEAR = linear_from_srgb(np.arange(256, dtype=np.float32) / np.float32(255))


@dataclass(frozen=True)
class Look:
    """One sample in numbers, on the person (mask over half), flat and relit: sums of the codes by channel and of their
    squares, shape (2, 3); mean linear luminance, pixels, shape (2,); share of the relit picture."""

    total: npt.NDArray[np.float64]
    squares: npt.NDArray[np.float64]
    luminance: npt.NDArray[np.float64]
    count: npt.NDArray[np.int64]
    mask_part: float


def dataset_statistics(store: ArrayStore) -> dict[str, Any]:
    """Statistics of a baked dataset as its attributes carry them (docs/datasets.md); None where nothing was measured.

    Pictures are read of at most `LOOKED_AT` samples, evenly over all.
    """
    table = SampleTable.of(store)
    chosen = np.unique(np.linspace(0, len(table) - 1, min(LOOKED_AT, len(table))).round().astype(int)).tolist()
    with ThreadPoolExecutor(default_workers()) as pool:
        looks = list(pool.map(lambda index: look_at(store, table, index), chosen))
    count = np.maximum(np.sum([look.count for look in looks], axis=0), 1)[:, None]
    mean = np.sum([look.total for look in looks], axis=0) / count / 255
    square = np.sum([look.squares for look in looks], axis=0) / count / 255**2
    std = np.sqrt(np.maximum(square - mean**2, 0))
    person = {kind: {"mean": _rounded(mean[i]), "std": _rounded(std[i])} for i, kind in enumerate(("flat", "relit"))}
    scores = {name: percentiles(store.read(f"samples/{name}")) for name in ("shift_px", "reliability")}
    parts = np.array([look.mask_part for look in looks])
    lights = light_levels(table, chosen, looks)
    return {"looked_at": len(looks), "person": person, "mask_part": percentiles(parts), **scores, "lights": lights}


def look_at(store: ArrayStore, table: SampleTable, index: int) -> Look:
    """The person of one sample in numbers."""
    group, row = f"cameras/{table.place(index)}", int(table.row[index])
    masks = [store.read_at(f"{group}/{name}", row) > 127 for name in ("mask_flat", "mask")]
    pixels = [
        store.read_at(f"{group}/{kind}", row)[inside] for kind, inside in zip(("flat", "relit"), masks, strict=True)
    ]
    total = np.stack([each.sum(axis=0, dtype=np.float64) for each in pixels])
    squares = np.stack([np.einsum("nc,nc->c", each, each, dtype=np.float64) for each in pixels])
    light = [float(LINEAR[each].mean(axis=0, dtype=np.float64) @ LUMINANCE) if len(each) else 0.0 for each in pixels]
    return Look(total, squares, np.array(light), np.array([len(each) for each in pixels]), float(masks[1].mean()))


def light_levels(table: SampleTable, chosen: Sequence[int], looks: Sequence[Look]) -> list[dict[str, Any]]:
    """How bright the person is under each light against the flat light: a ratio of linear luminance, median of the
    samples that were looked at."""
    counts: dict[str, int] = {}
    for index in range(len(table)):
        counts[table.light(index)] = counts.get(table.light(index), 0) + 1
    ratios: dict[str, list[float]] = {}
    for index, look in zip(chosen, looks, strict=True):
        if look.luminance[0] > 0:
            ratios.setdefault(table.light(index), []).append(float(look.luminance[1] / look.luminance[0]))
    return [
        {
            "light": name,
            "samples": counts[name],
            "level": round(float(np.median(ratios[name])), 4) if name in ratios else None,
        }
        for name in sorted(counts)
    ]


def percentiles(values: npt.NDArray[np.floating[Any]]) -> dict[str, float] | None:
    """5th, 50th and 95th percentile of what is known; None of nothing."""
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    return {name: round(float(np.percentile(known, at)), 4) for name, at in PERCENTILES.items()}


def _rounded(values: npt.NDArray[np.float64]) -> list[float]:
    return [round(float(value), 4) for value in values]

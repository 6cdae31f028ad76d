"""A contact sheet of a dataset: a few samples of every split, what a trainer is given of each, and their light."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import zarr

from litdome.datasets.samples import SampleTable
from litdome.datasets.views import open_dataset
from litdome.errors import StoreError, UsageError
from litdome.store.arrays import ArrayStore

TILE_WIDTH_PX, GAP_PX, LINE_PX = 240, 6, 20
PAPER, INK = 245, 40
SHOWN = ("flat", "relit", "mask", "weight", "flat_compensated", "weight_compensated", "env_ldr")
UInt8Array = npt.NDArray[np.uint8]


def write_sheet(dataset: Path, out: Path, *, per_split: int = 3) -> None:
    """Write the contact sheet of a dataset as a PNG.

    Raises:
        StoreError: No dataset there, damaged, or the disk refuses.
        UsageError: ``out`` exists, or is no .png.
    """
    if out.suffix.lower() != ".png":
        raise UsageError(f"{out}: a contact sheet is a PNG", hint=f"--sheet {out.with_suffix('.png')}")
    if out.exists():
        raise UsageError(f"{out}: exists already", hint="give another name, or remove it first")
    open_dataset(dataset)
    store = ArrayStore(str(dataset), zarr.open_group(dataset, mode="r"), writable=False)
    _, encoded = cv2.imencode(".png", cv2.cvtColor(contact_sheet(store, per_split), cv2.COLOR_RGB2BGR))
    try:
        out.write_bytes(encoded.tobytes())
    except OSError as error:
        raise StoreError(f"{out}: cannot be written: {error.strerror}", hint="is the folder there?") from error


def contact_sheet(store: ArrayStore, per_split: int = 3) -> UInt8Array:
    """The sheet as RGB, shape (y, x, 3): a row per sample under a line that names it, a column per picture."""
    table = SampleTable.of(store)
    bands = []
    for number, name in enumerate(table.names):
        rows = np.flatnonzero(table.split == number)
        bands.append(_line(f"{name}: {len(rows)} samples", bold=True))
        for index in spread(rows, per_split):
            bands.append(_line(f"{table.place(index)} pair {table.pair[index]}, light {table.light(index)}"))
            bands.append(_row(sample_tiles(store, table, index)))
    captions = _row([_caption(name) for name in SHOWN])
    return np.concatenate([captions, *bands])


def spread(rows: npt.NDArray[np.intp], count: int) -> list[int]:
    """At most ``count`` of ``rows``, evenly over all."""
    places = np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int))
    return [int(row) for row in rows[places]]


def sample_tiles(store: ArrayStore, table: SampleTable, index: int) -> list[UInt8Array | None]:
    """The pictures of one sample, each RGB at `TILE_WIDTH_PX`; None where the dataset has none."""
    place, row, hdri = table.place(index), int(table.row[index]), int(table.hdri[index])
    tiles: list[UInt8Array | None] = []
    for name in SHOWN:
        path = f"hdri_views/{place}/{name[4:]}" if name.startswith("env_") else f"cameras/{place}/{name}"
        n = hdri if name.startswith("env_") else row
        tiles.append(_tile(store.read_at(path, n)) if n >= 0 and store.has(path) else None)
    return tiles


def _tile(values: npt.NDArray[Any]) -> UInt8Array:
    codes = values if values.dtype == np.uint8 else np.asarray(values.astype(np.float32) * 255 + 0.5, np.uint8)
    height = max(1, round(codes.shape[0] * TILE_WIDTH_PX / codes.shape[1]))
    small = cv2.resize(codes, (TILE_WIDTH_PX, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small if small.ndim == 3 else np.repeat(small[..., None], 3, axis=2), np.uint8)


def _row(tiles: Sequence[UInt8Array | None]) -> UInt8Array:
    height = max((tile.shape[0] for tile in tiles if tile is not None), default=LINE_PX)
    row = np.full((height + GAP_PX, len(tiles) * (TILE_WIDTH_PX + GAP_PX), 3), PAPER, np.uint8)
    for n, tile in enumerate(tiles):
        if tile is not None:
            x = n * (TILE_WIDTH_PX + GAP_PX)
            row[: tile.shape[0], x : x + TILE_WIDTH_PX] = tile
    return row


def _line(text: str, *, bold: bool = False) -> UInt8Array:
    return _text(text, len(SHOWN) * (TILE_WIDTH_PX + GAP_PX), bold=bold)


def _caption(text: str) -> UInt8Array:
    return _text(text, TILE_WIDTH_PX)


def _text(text: str, width: int, *, bold: bool = False) -> UInt8Array:
    """One line of text, dark on paper; what the font does not have becomes a question mark."""
    line = np.full((LINE_PX, width, 3), PAPER, np.uint8)
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(line, plain, (2, LINE_PX - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (INK,) * 3, 1 + bold, cv2.LINE_AA)
    return line

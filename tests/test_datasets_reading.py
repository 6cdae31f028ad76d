"""Reads of the store's own reader equal zarr-python's, bit for bit, whatever the shapes, tiles, codecs and gaps."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from baked_dataset import baked_dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from litdome.store.arrays import ArrayStore


@st.composite
def layouts(draw: st.DrawFn) -> dict[str, object]:
    """An array's shape, tiles, shard, dtype and compression, and which rows are written."""
    count, height, width = draw(st.integers(1, 7)), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    channels = draw(st.sampled_from([(), (3,)]))
    return {
        "shape": (count, height, width, *channels),
        "chunk": (1, draw(st.integers(1, height)), draw(st.integers(1, width)), *channels),
        "shard": draw(st.integers(1, 4)),
        "dtype": draw(st.sampled_from(["u1", "u2", "f2", "f4"])),
        "compression": draw(st.sampled_from(["zstd-1", "lz4-1", "none"])),
        "written": draw(st.sets(st.integers(0, count - 1))),
        "seed": draw(st.integers(0, 1000)),
    }


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(layouts(), st.data())
def test_any_row_and_any_box_equal_zarr_python(layout: dict, data: st.DataObject) -> None:
    shape, shard = layout["shape"], layout["shard"]
    rng = np.random.default_rng(layout["seed"])
    values = rng.integers(0, 200, shape).astype(layout["dtype"])
    with tempfile.TemporaryDirectory() as folder:
        store = ArrayStore(folder, zarr.create_group(folder), writable=True)
        chosen = {key: layout[key] for key in ("shard", "chunk", "compression")}
        store.create("a", shape, layout["dtype"], ("n", "y", "x", "c")[: len(shape)], **chosen)
        for start in range(0, shape[0], shard):
            rows = [n for n in range(start, min(start + shard, shape[0])) if n in layout["written"]]
            if rows:
                with store.shard_writer("a", start) as writer:
                    for n in rows:
                        writer.put(n, values[n])
        by_zarr = np.asarray(zarr.open_array(f"{folder}/a", mode="r")[...])
        for n in range(shape[0]):
            assert np.array_equal(store.read_at("a", n), by_zarr[n])
            expected = values[n] if n in layout["written"] else np.zeros(shape[1:])
            assert np.array_equal(by_zarr[n], expected)
        n = data.draw(st.integers(0, shape[0] - 1))
        box = []
        for size in shape[1:]:
            start = data.draw(st.integers(0, size - 1))
            box.append((start, data.draw(st.integers(start + 1, size))))
        inside = tuple(slice(*span) for span in box)
        assert np.array_equal(store.read_at("a", n, tuple(box)), by_zarr[n][inside])


@pytest.mark.parametrize("compression", ["zstd-1", "lz4-1", "none"])
def test_arrays_of_a_dataset_equal_zarr_python(tmp_path: Path, compression: str) -> None:
    view = baked_dataset(tmp_path / "data", compression=compression).view
    for path in ("cameras/two/c01/flat", "cameras/two/c01/mask", "hdri_views/two/c01/ldr"):
        array = zarr.open_array(view.path / path, mode="r")
        for n in range(array.shape[0]):
            assert np.array_equal(view.reader.store.read_at(path, n), array[n])


def test_arrays_of_earlier_datasets_without_shards_are_read(tmp_path: Path) -> None:
    view = baked_dataset(tmp_path / "data").view
    path = "hdri_views/one/c00/ldr"
    before = view.read(1, ("env_ldr",))["env_ldr"]
    values = np.asarray(zarr.open_array(view.path / path, mode="r")[...])
    zarr.create_array(view.path / path, data=values, chunks=(1, *values.shape[1:]), overwrite=True)
    again = type(view)(view.path, None).read(1, ("env_ldr",))["env_ldr"]
    assert bool((before == again).all())

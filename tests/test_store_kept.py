"""Stores that earlier versions wrote, kept under tests/stores with the sha256 of every array's values.

``first``: before chunks had a crc32c, every plane in plain zstd. ``tiled``: crc32c on every chunk, codes of two bytes
shuffled. A new layout is a new name there, made by ``python tests/stored_take.py tests/stores/NAME``. ``walk-1.0``: a
simulated take with the arrays of every stage, by ``python tests/whole_take.py tests/stores/NAME``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from stored_take import digests, stored_take, whole_rgb

from litdome import open_session
from litdome.datasets.build import build_dataset
from litdome.datasets.spec import DatasetSpec
from litdome.datasets.views import open_dataset
from litdome.report.status import session_status
from litdome.store.pair_columns import pair_columns
from litdome.store.session import Session
from litdome.store.verify import verify_session

KEPT = sorted(Path(__file__).with_name("stores").glob("*.zarr"))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_kept_store_reads_as_it_was_written(path: Path) -> None:
    session = open_session(str(path))
    assert digests(session) == json.loads(path.with_suffix(".json").read_text())
    assert verify_session(str(path)) == []
    for kind, n in (("flat", 0), ("flat", 2), ("relit", 2)):
        whole = whole_rgb(session, kind, n)
        assert np.array_equal(session.read_frame("c00", kind, n), whole)
        assert np.array_equal(session.read_rgb("c00", kind, n, region=(5, 7, 90, 68)), whole[7:68, 5:90])


def test_stores_of_both_layouts_are_kept() -> None:
    assert {path.stem for path in KEPT} >= {"first-uint8", "first-uint16", "tiled-uint8", "tiled-uint16"}


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_kept_store_can_be_written_on_and_keeps_its_layout(path: Path, tmp_path: Path) -> None:
    url = str(tmp_path / "take.zarr")
    shutil.copytree(path, url)
    session, group = open_session(url, writable=True), "cameras/c00/flat/luma"
    chunks, values = session.array(group).chunks, session.read(group)
    session.create(group, values.shape, values.dtype, ("n", "y", "x"), shard=2)
    assert session.array(group).chunks == chunks and np.array_equal(session.read(group), values)
    session.write(group, 0, values[::-1])
    assert np.array_equal(Session.open(url).read(group), values[::-1])


def test_this_version_still_writes_the_newest_layout(tmp_path: Path) -> None:
    """When this fails, the layout has changed: keep a store of the new one under a new name."""
    for codes in ("uint8", "uint16"):
        stored_take(str(tmp_path / f"{codes}.zarr"), dtype=codes)
        for path in ("cameras/c00/flat/luma", "cameras/c00/relit/chroma", "pairs/hdri"):
            made, kept = (folder / path / "zarr.json" for folder in (tmp_path / f"{codes}.zarr", _kept(codes)))
            assert json.loads(made.read_text()) == json.loads(kept.read_text())


def _kept(codes: str) -> Path:
    return Path(__file__).with_name("stores") / f"tiled-{codes}.zarr"


def test_a_kept_take_is_still_whole(tmp_path: Path) -> None:
    kept = Path(__file__).with_name("stores") / "walk-1.0"
    session = open_session(str(kept / "take.zarr"))
    assert digests(session) == json.loads((kept / "take.json").read_text())
    assert verify_session(session.url) == []
    status = session_status(session)
    # calibrate, flow, segment and deflicker have had new versions since; the others need them
    stale = {"calibrate", "flow", "segment", "deflicker", "hdri", "align"}
    assert {line.name for line in status.stages if line.state == "stale"} == stale
    assert {line.state for line in status.stages if line.name not in stale} == {"done"}
    assert status.absent == {"c00": (), "c01": (3,)}
    columns = pair_columns(session)
    assert columns.reasons[int(columns.reason[1, 1]).bit_length() - 1] == "absent"
    assert session.read_rgb("c00", "relit", 2, undistort=True).shape == (112, 64, 3)
    assert session.read_mask("c00", "relit", 2).max() == 255 and session.rig["c01"].width == 64
    dataset = tmp_path / "data"
    build_dataset([session], dataset, DatasetSpec.model_validate({"size": {"height": 32, "width": 48}}))
    assert len(open_dataset(dataset)) > 0

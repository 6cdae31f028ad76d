"""What a dataset says of itself: statistics against the pictures they were made of, and the contact sheet."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import zarr
from baked_take import make_take

from litdome.cli import run
from litdome.color import linear_from_srgb
from litdome.datasets.build import build_dataset
from litdome.datasets.contact_sheet import SHOWN, TILE_WIDTH_PX, contact_sheet, spread
from litdome.datasets.spec import DatasetSpec
from litdome.datasets.statistics import percentiles
from litdome.store.arrays import ArrayStore
from litdome.store.session import Session


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A take of two cameras and eight pairs, whose consent is limited."""
    consent = {"uses": ["research", "train"], "expires": "2099-01-01"}
    folder = tmp_path_factory.mktemp("takes")
    return make_take(folder / "take.zarr", cameras=("c00", "c01"), pairs=8, consent=consent)


@pytest.fixture(scope="module")
def dataset(session: Session) -> Path:
    """A dataset of it at the recorded size."""
    tables = {"size": {"height": 64, "width": 80, "fit": "full"}, "splits": {"lights": 0, "motion_from": 0.75}}
    out = Path(session.url).parent / "data"
    assert build_dataset([session], out, DatasetSpec.model_validate(tables), workers=1) is not None
    return out


def test_statistics_are_those_of_the_pictures(session: Session, dataset: Path) -> None:
    root = zarr.open_group(dataset, mode="r")
    found = root.attrs["statistics"]
    ids = [(session.cameras[c], int(p)) for c, p in zip(root["samples/camera"], root["samples/pair"], strict=True)]
    assert found["looked_at"] == len(ids) == 10
    rows = {int(pair): n for n, pair in enumerate(root["pairs/take/pair"][...])}
    for kind, mask, code in (("flat", "mask_flat", 200), ("relit", "mask", 120)):
        person = []
        for id, pair in ids:
            camera = root[f"cameras/take/{id}"]
            person.append(camera[kind][rows[pair]][camera[mask][rows[pair]] > 127] / 255)
        expected = np.concatenate(person)
        np.testing.assert_allclose(found["person"][kind]["mean"], expected.mean(axis=0), atol=1e-4)  # as rounded
        np.testing.assert_allclose(found["person"][kind]["std"], expected.std(axis=0), atol=1e-4)
        assert expected.mean() == pytest.approx(code / 255, abs=0.04)  # the square; its edge is mixed with the wall
    light = linear_from_srgb(np.array([200, 120], np.float32) / 255)
    levels = {each["light"]: each["level"] for each in found["lights"]}
    assert set(levels) == {"take/room", "take/sun"} and sum(each["samples"] for each in found["lights"]) == len(ids)
    assert all(level == pytest.approx(light[1] / light[0], rel=0.03) for level in levels.values())
    assert found["shift_px"] == percentiles(root["samples/shift_px"][...])


def test_percentiles_know_nothing_of_nothing() -> None:
    assert percentiles(np.array([np.nan, np.nan])) is None
    assert percentiles(np.array([np.nan, 1.0, 2.0, 3.0])) == {"p5": 1.1, "p50": 2.0, "p95": 2.9}


def test_the_sheet_shows_samples_of_every_split(dataset: Path) -> None:
    store = ArrayStore(str(dataset), zarr.open_group(dataset, mode="r"), writable=False)
    sheet = contact_sheet(store, per_split=2)
    tile = 64 * TILE_WIDTH_PX // 80
    splits = len(store.root.attrs["splits"])
    assert sheet.shape[1] == len(SHOWN) * (TILE_WIDTH_PX + 6)
    assert sheet.shape[0] == 26 + splits * 20 + 2 * splits * (20 + tile + 6)  # captions, titles, rows
    first = sheet[26 + 40 :][:tile, :TILE_WIDTH_PX].astype(int)
    flat = cv2.resize(store.read_at("cameras/take/c00/flat", 0), (TILE_WIDTH_PX, tile), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(first, flat)


def test_samples_are_spread_evenly() -> None:
    assert spread(np.arange(10, 21), 3) == [10, 15, 20]
    assert spread(np.array([4]), 3) == [4]


def test_show_says_what_it_is_and_writes_a_sheet_once(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.png"
    assert run(["-q", "dataset", "show", str(dataset), "--sheet", str(sheet)]) == 0
    said = capsys.readouterr().out
    assert "subject s0, 2 cameras, 3 lights, consent research, train until 2099-01-01" in said
    assert "test_light_motion" in said and "take/room" in said
    assert cv2.imread(str(sheet)).shape[1] == len(SHOWN) * (TILE_WIDTH_PX + 6)
    assert run(["-q", "dataset", "show", str(dataset), "--sheet", str(sheet)]) == 2
    assert run(["-q", "dataset", "show", str(dataset), "--sheet", str(tmp_path / "sheet.pdf")]) == 2
    capsys.readouterr()
    assert run(["-q", "dataset", "show", str(dataset), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["statistics"]["looked_at"] == sum(told["splits"].values())

"""Samples are what was baked, to the bit; only what is asked for is read; damage is named."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from baked_dataset import CROP, HEIGHT, RELIABILITY, WIDTH, Baked, baked_dataset

from litdome.datasets.views import open_dataset
from litdome.errors import StoreError, UsageError


@pytest.fixture(scope="module")
def baked(tmp_path_factory: pytest.TempPathFactory) -> Baked:
    return baked_dataset(tmp_path_factory.mktemp("baked") / "data")


def index_of(baked: Baked, session: int, camera: int, pair: int) -> int:
    columns = [baked.view.column(name) for name in ("session", "camera", "pair")]
    return int(np.flatnonzero(np.all(np.transpose(columns) == (session, camera, pair), axis=1))[0])


@pytest.mark.parametrize(("session", "camera", "pair"), [(0, 0, 0), (0, 1, 6), (1, 0, 5), (1, 1, 3)])
def test_sample_is_what_was_baked_to_the_bit(baked: Baked, session: int, camera: int, pair: int) -> None:
    sample = baked.view[index_of(baked, session, camera, pair)]
    name, id = ("one", "two")[session], ("c00", "c01")[camera]
    picture = baked.written[f"cameras/{name}/{id}/relit"][pair]
    light = baked.written[f"hdri_views/{name}/{id}/log"][pair % 3]
    weight = baked.written[f"cameras/{name}/{id}/weight"][pair]
    expected = {
        "relit": (picture / np.float32(255)).transpose(2, 0, 1)[None],
        "weight": (weight / np.float32(255))[None, None],
        "env_log": (light.astype(np.float32) * 2 - 1).transpose(2, 0, 1)[None],
        "env_direction": baked.written["hdri_views/direction"].astype(np.float32).transpose(2, 0, 1)[None],
        "intrinsics": baked.written[f"rig/{name}/intrinsics"][[camera]].astype(np.float32),
        "crops/face/intrinsics": baked.written[f"cameras/{name}/{id}/crops/face/intrinsics"][[pair]].astype(np.float32),
        "background": (baked.written[f"cameras/{name}/{id}/background"] / np.float32(255)).transpose(2, 0, 1),
        "time_relit": baked.written[f"pairs/{name}/time_relit"][[pair]],
        "pair": np.array([pair]),
    }
    for key, value in expected.items():
        assert sample[key].dtype == torch.from_numpy(value).dtype, key
        assert torch.equal(sample[key], torch.from_numpy(value)), key
    assert set(sample) == set(baked.view.keys)


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    view = baked_dataset(tmp_path / "data").view
    for kind in ("relit", "weight"):
        for shard in (tmp_path / f"data/cameras/one/c00/{kind}/c").rglob("0"):
            if shard.is_file():
                shard.write_bytes(b"")
    assert set(view.read(0, ("flat", "mask"))) == {"flat", "mask"}
    with pytest.raises(StoreError, match=r"session one, camera c00, pair 0: .*relit: shard c/0/0/0/0 is damaged"):
        view.read(0, ("relit",))


def test_one_changed_byte_of_a_chunk_is_named_and_other_samples_still_load(tmp_path: Path) -> None:
    view = baked_dataset(tmp_path / "data").view
    shard = tmp_path / "data/cameras/one/c00/flat/c/1/0/0/0"  # pairs 4 to 6
    payload = bytearray(shard.read_bytes())
    payload[len(payload) // 2] ^= 1
    shard.write_bytes(bytes(payload))
    view.read(0, ("flat",))
    with pytest.raises(StoreError, match=r"camera c00, pair 5: .*cameras/one/c00/flat: shard c/1/0/0/0 .*row 5"):
        view.read(view.column("pair").tolist().index(5), ("flat",))


def test_missing_shard_is_no_black_picture(tmp_path: Path) -> None:
    view = baked_dataset(tmp_path / "data").view
    (tmp_path / "data/hdri_views/two/c01/ldr/c/0/0/0/0").unlink()
    view.read(0, ("env_ldr",))
    with pytest.raises(StoreError, match=r"session two, camera c01, pair 6: .*the shard is missing"):
        view.read(len(view) - 1, ("env_ldr",))


def test_part_of_a_sample_is_the_same_part_of_the_whole_with_its_own_intrinsics(baked: Baked) -> None:
    whole, part = baked.view[3], baked.view.read(3, box=((5, 21), (8, 40)))
    for key in ("flat", "relit", "mask", "weight", "background"):
        assert torch.equal(part[key], whole[key][..., 5:21, 8:40]), key
    moved = whole["intrinsics"].clone()
    moved[:, 0, 2] -= 8
    moved[:, 1, 2] -= 5
    assert torch.allclose(part["intrinsics"], moved, atol=1e-5)  # f4 of a shift in f8
    assert part["env_ldr"].shape == part["env_direction"].shape == (1, 3, 16, 32)
    assert torch.allclose(part["env_ldr"].mean(), whole["env_ldr"].mean(), atol=0.02)  # the same sphere, resampled


def test_box_outside_the_picture_is_refused(baked: Baked) -> None:
    with pytest.raises(UsageError, match=r"not inside cameras/one/c00/flat of 32x48 px"):
        baked.view.read(0, ("flat",), box=((0, 33), (0, 48)))


def test_splits_and_ids_choose_samples(baked: Baked) -> None:
    view = baked.view
    assert [len(view.split(name)) for name in view.splits] == [16, 8]
    assert len(view) == 24
    chosen = view.split("train").where(session=1, camera=0)
    assert [int(chosen[i]["pair"]) for i in range(len(chosen))] == [0, 1, 2, 3]
    with pytest.raises(UsageError, match="no split test"):
        view.split("test")


def test_reliability_is_one_value_per_sample(baked: Baked) -> None:
    chosen = baked.view.where(camera=1, pair=6)
    assert chosen.reliability.tolist() == [RELIABILITY[6]] * 2
    assert np.isnan(baked.view.where(pair=3).reliability).all()
    with pytest.raises(UsageError, match="no shift_px per sample"):
        baked.view.column("shift_px")


def test_view_travels_by_pickle_with_nothing_open(baked: Baked) -> None:
    part = baked.view.split("test_motion")
    part[0]
    carried = pickle.dumps(part)
    assert len(carried) < 1000
    assert torch.equal(pickle.loads(carried)[2]["flat"], part[2]["flat"])


def test_unknown_key_names_the_known_ones(baked: Baked) -> None:
    with pytest.raises(UsageError, match="no sample key depth") as caught:
        baked.view.read(0, ("depth",))
    assert "crops/face/flat" in caught.value.hint


def test_the_light_of_a_sample_that_nobody_named_is_said_to_be_unknown(tmp_path: Path) -> None:
    view = baked_dataset(tmp_path / "data").view
    zarr.open_group(tmp_path / "data")["samples/hdri"][3] = -1
    assert view.read(3, ("relit", "hdri"))["hdri"].item() == -1
    with pytest.raises(UsageError, match=r"session one, camera c00, pair 3: nobody named its light"):
        view.read(3, ("env_log",))
    assert view.read(2, ("env_log",))["env_log"].shape[1] == 3


def test_unfinished_or_newer_dataset_is_refused(tmp_path: Path) -> None:
    view = baked_dataset(tmp_path / "data").view
    whole = (tmp_path / "data/zarr.json").read_text()
    for before, after, message in (
        ('"finished": true', '"finished": false', "unfinished"),
        ('"1.1"', '"2.0"', "newer"),
    ):
        assert before in whole
        (tmp_path / "data/zarr.json").write_text(whole.replace(before, after))
        with pytest.raises(StoreError, match=message):
            open_dataset(view.path)
    with pytest.raises(StoreError, match="no dataset here"):
        open_dataset(tmp_path / "other")


def test_sizes_are_those_stored(baked: Baked) -> None:
    assert baked.view.shape("flat") == (7, HEIGHT, WIDTH, 3)
    assert baked.view.shape("crops/face/mask") == (7, CROP, CROP)

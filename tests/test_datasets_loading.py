"""Pairs, clips and crops for a DataLoader: deterministic, the same from any worker, and honest about what they skip."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from baked_dataset import RELIABILITY, Baked, baked_dataset

from litdome.datasets.batches import Batches
from litdome.datasets.loading import Clips, Crops, RandomPairs
from litdome.datasets.order import Pick, ResumableSampler
from litdome.datasets.tensors import as_floats
from litdome.errors import UsageError

KEYS = ("flat", "relit", "mask", "weight", "env_ldr", "env_log", "pair")


@pytest.fixture(scope="module")
def baked(tmp_path_factory: pytest.TempPathFactory) -> Baked:
    return baked_dataset(tmp_path_factory.mktemp("baked") / "data")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return set(one) == set(other) and all(torch.equal(one[key], other[key]) for key in one)


def test_spawned_workers_give_what_one_process_gives(baked: Baked) -> None:
    crops = Crops(baked.view.split("train"), (16, 16), keys=KEYS, seed=3)
    found = {}
    for workers in (0, 1):
        sampler = ResumableSampler(crops, 5)
        found[workers] = list(Batches(crops, sampler, batch=4, workers=workers))
    assert [batch["pair"].shape for batch in found[1]] == [(4, 1)] * 3 + [(2, 1)]
    assert all(same(*batches) for batches in zip(found[0], found[1], strict=True))
    first = [crops[pick] for _, pick in zip(range(4), ResumableSampler(crops, 5), strict=False)]
    assert same(found[1][0], {key: torch.stack([sample[key] for sample in first]) for key in KEYS})


def test_pairs_come_with_the_keys_asked_for(baked: Baked) -> None:
    pairs = RandomPairs(baked.view, ("relit", "pair"))
    assert same(pairs[Pick(7, 99)], baked.view.read(7, ("relit", "pair")))
    assert len(pairs) == len(baked.view)
    with pytest.raises(UsageError, match="no sample key normal, depth"):
        RandomPairs(baked.view, ("relit", "normal", "depth"))


def test_compact_samples_hold_the_stored_values_and_become_the_same_floats(baked: Baked) -> None:
    compact = RandomPairs(baked.view, compact=True)[3]
    assert {compact[key].dtype for key in ("flat", "weight", "background")} == {torch.uint8}
    assert {compact[key].dtype for key in ("env_ldr", "env_direction")} == {torch.float16}
    assert same(as_floats(compact), baked.view[3])


def test_weighted_pairs_never_show_what_was_not_measured(baked: Baked) -> None:
    pairs = RandomPairs(baked.view, ("pair",))
    sampler = ResumableSampler(pairs, 0, pairs.reliability)
    drawn = {int(baked.view.column("pair")[pick.sample]) for pick in sampler}
    assert drawn <= {0, 1, 5, 6}  # pair 2 has reliability 0, pair 3 none
    assert dict(sampler.skipped) == {"weight not measured": 4, "weight 0": 4}


def test_clips_are_runs_of_one_camera_and_say_what_they_leave(baked: Baked) -> None:
    clips = baked.view.clips(2, 1)
    assert isinstance(clips, Clips)
    seen = [clips[i] for i in range(len(clips))]
    assert [clip["pair"].tolist() for clip in seen] == [[0, 1], [1, 2], [2, 3], [5, 6]] * 4
    assert all(clip["flat"].shape[0] == 2 and len(set(clip["camera"].tolist())) == 1 for clip in seen)
    assert seen[0]["background"].ndim == 3
    assert dict(clips.skipped) == {}
    three = Clips(baked.view, 3, 2, keys=("pair",))
    assert [clip["pair"].tolist() for clip in three] == [[0, 1, 2]] * 4
    assert dict(three.skipped) == {"run shorter than 3": 8, "between clips": 4}
    assert clips.reliability[:4].tolist()[:2] == [np.float32(0.5), 0.0]
    assert np.isnan(clips.reliability[2])
    assert clips.reliability[3] == RELIABILITY[5]


def test_crop_shows_the_person_and_is_placed_anew_at_every_draw(baked: Baked) -> None:
    crops = Crops(baked.view, (12, 16), seed=1)
    assert dict(crops.skipped) == {"no person in the picture": 2}  # pair 2 of c01, in two sessions
    assert len(crops) == 22
    places = set()
    for draw in range(40):
        crop = crops[Pick(5, draw)]
        assert crop["flat"].shape == crop["env_log"].shape == (1, 3, 12, 16)
        assert crop["mask"].sum() > 0
        shift = crops.view.read(int(crops.chosen[5]), ("intrinsics",))["intrinsics"] - crop["intrinsics"]
        left, top = int(shift[0, 0, 2].round()), int(shift[0, 1, 2].round())
        whole = crops.view.read(int(crops.chosen[5]), ("flat",))["flat"]
        assert torch.equal(crop["flat"], whole[..., top : top + 12, left : left + 16])
        places.add((top, left))
    assert len(places) > 8
    assert same(crops[Pick(5, 3)], pickle.loads(pickle.dumps(crops))[Pick(5, 3)])
    assert same(crops[5], crops[Pick(5, 0)])


def test_face_crops_come_from_their_own_tier_with_its_intrinsics(baked: Baked) -> None:
    crops = Crops(baked.view, (8, 10), around="face", keys=("flat", "mask", "intrinsics", "env_ldr", "pair"))
    assert dict(crops.skipped) == {"no face in the picture": 4}
    crop = crops[0]
    stored = baked.view.read(0, ("crops/face/flat", "crops/face/intrinsics"))
    left, top = (stored["crops/face/intrinsics"] - crop["intrinsics"])[0, :2, 2].round().int().tolist()
    assert torch.equal(crop["flat"], stored["crops/face/flat"][..., top : top + 8, left : left + 10])
    assert crop["env_ldr"].shape == (1, 3, 8, 10)
    assert "weight" not in Crops(baked.view, (8, 8), around="face")[0]  # the tier has none
    with pytest.raises(UsageError, match="no sample key weight"):
        Crops(baked.view, (8, 8), around="face", keys=("weight",))


def test_random_crops_reach_every_edge(baked: Baked) -> None:
    crops = Crops(baked.view, (31, 47), around="random", keys=("intrinsics",))
    first = baked.view.read(0, ("intrinsics",))["intrinsics"]
    shifts = {tuple((first - crops[Pick(0, n)]["intrinsics"])[0, :2, 2].round().int().tolist()) for n in range(60)}
    assert shifts == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert dict(crops.skipped) == {}


def test_crops_that_cannot_be_are_refused(baked: Baked) -> None:
    with pytest.raises(UsageError, match="33x48 px does not fit in pictures of 32x48"):
        Crops(baked.view, (33, 48))
    with pytest.raises(UsageError, match="no crops of the hands") as caught:
        Crops(baked.view, (8, 8), around="hands")
    assert "crops.hands=8" in caught.value.hint

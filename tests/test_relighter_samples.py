"""What a training reads: masks, backgrounds, drivers, clips, balance. Every pixel of the dataset is known."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from relighter_take import SHIFT_PX, TRAIN, copied, driver_picture, write_all_drivers
from torch import Tensor

from litdome.datasets.views import DatasetView, open_dataset
from litdome.errors import InputError, PluginError
from litdome.train_plugins.checks import SyntheticView
from litdome.train_plugins.relighter.batches import condition_keys, input_keys, sample_keys
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.masking import random_background
from litdome.train_plugins.relighter.samples import TrainingSamples, training_samples
from litdome.train_plugins.relighter.selection import hold_back, selected

LEFT, MIDDLE, RIGHT = (20, 9), (20, 20), (20, 34)  # in the flat mask only, in both, in the relit mask only
OUTSIDE = (2, 2)


@pytest.fixture
def data(relighter_data: DatasetView) -> DatasetView:
    return relighter_data.split("train")


def samples(data: DatasetView, **settings: object) -> TrainingSamples:
    return training_samples(data, RelighterConfig.model_validate(settings), 0)


def at(pictures: Tensor, place: tuple[int, int]) -> Tensor:
    return pictures[..., place[0], place[1]]


def test_the_default_is_what_was_recorded(data: DatasetView) -> None:
    found, recorded = samples(data)[5], data[5]
    assert set(found) == {"flat", "relit", "env_ldr", "env_log", "env_direction"}
    assert all(torch.equal(found[key], recorded[key]) for key in found)


def test_black_puts_each_picture_before_black_by_its_own_mask(data: DatasetView) -> None:
    found, recorded = samples(data, masks="black")[5], data[5]
    for key, shown, hidden in (("flat", (LEFT, MIDDLE), (RIGHT, OUTSIDE)), ("relit", (MIDDLE, RIGHT), (LEFT, OUTSIDE))):
        assert all(torch.equal(at(found[key], place), at(recorded[key], place)) for place in shown)
        assert all(not at(found[key], place).any() for place in hidden)
    assert "loss_weight" not in found


def test_random_background_needs_no_relit_mask_and_counts_the_person_of_the_flat_one(data: DatasetView) -> None:
    assert "mask" not in sample_keys(RelighterConfig(masks="random"))
    found, recorded = samples(data, masks="random")[5], data[5]
    assert torch.equal(found["relit"], recorded["relit"])
    assert torch.equal(found["loss_weight"], recorded["mask_flat"])
    assert all(torch.equal(at(found["flat"], place), at(recorded["flat"], place)) for place in (LEFT, MIDDLE))
    assert not torch.equal(at(found["flat"], OUTSIDE), at(recorded["flat"], OUTSIDE))
    again, other = samples(data, masks="random")[5], samples(data, masks="random")[6]
    assert torch.equal(again["flat"], found["flat"])
    assert not torch.equal(at(other["flat"], OUTSIDE), at(found["flat"], OUTSIDE))


def test_random_backgrounds_are_pictures_of_the_whole_range() -> None:
    made = torch.stack([random_background(8, 12, (0, n)) for n in range(64)])
    assert made.shape == (64, 3, 8, 12) and made.min() >= 0 and made.max() <= 1
    assert made.mean() == pytest.approx(0.5, abs=0.1) and made.min() < 0.05 and made.max() > 0.95
    spread = made.flatten(2).std(dim=2).mean(dim=1)
    assert spread.min() < 0.05 and spread.max() > 0.2  # from one colour to a pattern


def test_weights_multiply(data: DatasetView) -> None:
    found = samples(data, background_weight=0.25, motion_weights=True)[5]
    expected = data[5]["weight"] * (0.25 + 0.75 * data[5]["mask"])
    torch.testing.assert_close(found["loss_weight"], expected)


def test_lights_and_buffers_are_switches(data: DatasetView) -> None:
    config = RelighterConfig(env=("env_log",))
    assert condition_keys(config) == {"flat": "basecolor", "env_log": "env_log"}
    assert set(samples(data, env=["env_log"])[0]) == {"flat", "relit", "env_log"}
    assert input_keys(RelighterConfig(masks="black"))[-1] == "mask_flat"
    assert "mask_flat" not in input_keys(RelighterConfig(masks="random"))


def test_drivers_stand_in_place_of_flat(tmp_path: Path, data: DatasetView) -> None:
    write_all_drivers(tmp_path / "drivers", data)
    for masks, relit_left in (("off", data[5]["relit"]), ("black", torch.zeros(1, 3))):
        found = samples(data, masks=masks, drivers=str(tmp_path / "drivers"))[5]
        session, camera, pair = (int(data[5][key]) for key in ("session", "camera", "pair"))
        rendered = driver_picture(("one", "two")[session], ("c00", "c01")[camera], pair)
        expected = torch.from_numpy(rendered[20, 20, :3] / 255).float()
        assert torch.allclose(at(found["flat"], MIDDLE)[0], expected)
        assert not at(found["flat"], OUTSIDE).any()  # before black
        if masks == "black":
            assert torch.equal(at(found["relit"], LEFT), relit_left)
    behind = samples(data, masks="random", drivers=str(tmp_path / "drivers"))[5]
    assert at(behind["flat"], OUTSIDE).any() and torch.equal(
        behind["loss_weight"][0, 0, :, 0], found["mask_flat"][0, 0, :, 0]
    )


def test_in_fold_drivers_are_refused_before_training(tmp_path: Path, data: DatasetView) -> None:
    write_all_drivers(tmp_path / "drivers", data, but=3)
    with pytest.raises(InputError, match="without a picture"):
        samples(data, drivers=str(tmp_path / "drivers"))
    with pytest.raises(InputError, match="seen in training"):  # test pairs, which every fold's avatar may have seen
        samples(open_dataset(data.path), drivers=str(tmp_path / "drivers"))


def test_single_pictures_and_clips_are_mixed_as_asked(data: DatasetView) -> None:
    only = samples(data, clip_frames=2)
    assert {only[n]["relit"].shape[0] for n in range(len(only))} == {2} and only.weights is None
    mixed = samples(data, clip_frames=2, clip_share=0.25)
    lengths = np.array([mixed[n]["relit"].shape[0] for n in range(len(mixed))])
    assert Counter(lengths.tolist()) == {1: len(data), 2: len(only)}
    assert mixed.weights is not None and mixed.weights[lengths == 2].sum() == pytest.approx(0.25)
    order = mixed.order()
    drawn = np.array([lengths[order.pick(n)] for n in range(40 * len(mixed))])
    assert (drawn == 2).mean() == pytest.approx(0.25, abs=0.02)
    last = len(mixed) - 1
    assert torch.equal(mixed[last]["relit"], only[len(only) - 1]["relit"])


def test_clips_that_do_not_exist_are_an_error(data: DatasetView) -> None:
    with pytest.raises(PluginError, match="no clip of 5 pictures"):
        samples(data, clip_frames=5)


def test_subjects_are_drawn_equally_often_and_pairs_by_their_reliability(data: DatasetView) -> None:
    few = data.at([n for n in range(len(data)) if data.column("session")[n] == 0 or data.column("pair")[n] == 0])
    assert Counter(few.column("session").tolist()) == {0: 8, 1: 2}
    balanced = samples(few, balance="subjects").weights
    assert balanced is not None
    assert [balanced[few.column("session") == n].sum() for n in (0, 1)] == pytest.approx([0.5, 0.5])
    reliable = samples(data, reliability_sampling=True)
    assert reliable.weights is not None
    expected = np.nan_to_num(data.reliability)  # 0.9, 0.5, 0 and not measured
    np.testing.assert_allclose(reliable.weights, expected / expected.sum(), rtol=1e-6)
    order = reliable.order()
    never = {order.pick(n) for n in range(160)} & set(np.flatnonzero(expected == 0).tolist())
    assert not never
    both = samples(few, balance="sessions", reliability_sampling=True).weights
    assert both is not None and both[few.column("session") == 1].sum() == pytest.approx(0.5)


def test_one_subject_in_two_sessions_counts_once(tmp_path: Path, data: DatasetView) -> None:
    path = tmp_path / "data"
    view = copied(data, path)
    root = zarr.open_group(path, mode="r+")
    root.attrs["sessions"] = [{**about, "subject": "s1"} for about in view.attrs["sessions"]]
    few = open_dataset(path).split("train").at([0, 1, 2, 8])
    by_subject, by_session = (samples(few, balance=what).weights for what in ("subjects", "sessions"))
    np.testing.assert_allclose(by_subject, [0.25] * 4)
    np.testing.assert_allclose(by_session, np.array([1, 1, 1, 3]) / 6)


def test_the_order_is_the_one_of_loaders(data: DatasetView) -> None:
    order = samples(data).order()
    assert sorted(order.pick(n) for n in range(len(data))) == list(range(len(data)))
    assert [order.pick(n) for n in range(len(data))] == [pick.sample for pick in samples(data).order()]
    assert [order.pick(n) for n in range(len(data), 2 * len(data))] != [order.pick(n) for n in range(len(data))]


def test_pairs_that_moved_too_far_are_left_out(data: DatasetView) -> None:
    kept = selected(data, RelighterConfig(max_shift_px=1.5))
    assert isinstance(kept, DatasetView) and set(kept.column("pair").tolist()) == {0, 1}
    with pytest.raises(PluginError, match=r"moved less than 0\.1 px; the least is 0\.50 px"):
        selected(data, RelighterConfig(max_shift_px=0.1))
    assert float(SHIFT_PX[: TRAIN[1]].min()) == 0.5


def test_held_back_pairs_share_no_frame_with_those_that_train(data: DatasetView) -> None:
    early, late = hold_back(data, 0.25)
    assert set(late.column("pair").tolist()) == {3}
    assert set(early.column("pair").tolist()) == {0, 1}  # pair 2 reads frames of pair 3
    assert set(selected(data, RelighterConfig.model_validate({"validation": {"hold_back": 0.25}})).column("pair")) == {
        0,
        1,
    }  # type: ignore[attr-defined]
    with pytest.raises(PluginError, match="leaves 0 to train on"):
        hold_back(data, 0.9)


def test_what_needs_a_dataset_on_disk_says_so() -> None:
    for settings in ({"balance": "subjects"}, {"reliability_sampling": True}, {"max_shift_px": 2}, {"drivers": "x"}):
        with pytest.raises(PluginError, match="needs a dataset on disk"):
            training_samples(SyntheticView(), RelighterConfig.model_validate(settings), 0)


def test_the_identity_changes_with_whatever_changes_a_sample(data: DatasetView) -> None:
    first = samples(data).identity
    assert samples(data, learning_rate=0.5, steps=7).identity == first
    changes: list[dict[str, object]] = [
        {"masks": "random"},
        {"env": ["env_log"]},
        {"light_variants": 2},
        {"clip_frames": 2},
    ]
    found = [samples(data, **change).identity for change in changes]
    found += [samples(data.at([0, 1])).identity, training_samples(data, RelighterConfig(), 1).identity]
    assert len({first, *found}) == 1 + len(found)


def test_mirrored_variants_are_masked_as_they_are_mirrored(data: DatasetView) -> None:
    mirrored = samples(data, masks="black", light_variants=2)[len(data) + 5]
    plain = samples(data, masks="black")[5]
    assert torch.equal(mirrored["flat"], plain["flat"].flip(-1))
    assert torch.equal(mirrored["relit"] > 0, (plain["relit"] > 0).flip(-1))

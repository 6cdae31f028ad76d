"""The paper's tables: what is expected is about what is run, and verdicts follow from the rows."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from paper.arms import EXPERIMENTS, Training, lora, plan
from paper.runs import Runs, few_lights
from paper.scoring import fitted_gain, like_rendering, one_light_starts, with_light_times
from paper.sheets import BEGIN, END, update_page
from paper.tables import EXPECTED, MEASURES, check
from paper.takes import FULL, NOVEL, SEEN, SMALL, Stage
from pydantic import ValidationError

from litdome.color import linear_from_srgb, srgb_from_linear
from litdome.lighting import environment_maps
from litdome.train_plugins.relighter.config import RelighterConfig

torch.set_num_threads(1)
ALL = tomllib.loads(EXPECTED.read_text())


def test_every_claim_is_about_arms_of_the_full_scale() -> None:
    trials = plan(FULL, EXPERIMENTS, still_base="some").trials
    assert set(ALL) == set(EXPERIMENTS)
    for name, experiment in ALL.items():
        arms = {arm for trial in trials if trial.experiment == name for arm in trial.arms}
        for claim in experiment["claims"]:
            assert claim.get("measure", "psnr") in (*MEASURES, "excess_warped_error")
            assert {"above", "below", "within"} & set(claim)
            for term in claim["terms"]:
                arm, _, split = term.partition(" @ ")
                assert arm in arms, f"{name}: {arm}"
                assert split in ("", NOVEL, SEEN)


@pytest.mark.parametrize("scale", [SMALL, FULL])
def test_every_training_has_settings_that_the_relighter_takes(scale) -> None:
    trained = [t.method for t in plan(scale, EXPERIMENTS, still_base="some").trials if isinstance(t.method, Training)]
    for method in trained:
        assert RelighterConfig.model_validate(dict(method.settings)).model_fields_set == set(method.settings)
    assert len(trained) > 20
    with pytest.raises(ValidationError, match="no_such_setting"):
        RelighterConfig.model_validate({**trained[0].settings, "no_such_setting": 1})


def test_a_training_that_is_shown_twice_is_made_once() -> None:
    trials = [trial for trial in plan(SMALL, ("E1b",)).trials if isinstance(trial.method, Training)]
    own = [trial for trial in trials if trial.method.people == ("s2",)]
    assert len({trial.key for trial in own}) == 5  # s2, s3, s4, and s1 with its gain and without
    assert {trial.method.key for trial in own} == {lora("people", ("s2",)).key}
    assert lora("people", ("s2",), masks="black").key != lora("people", ("s2",)).key


def rows(value: float, spread: float, count: int = 12, seeds: int = 3, split: str = NOVEL):
    noise = np.random.default_rng(0).normal(0, spread, (seeds, count))
    return [
        (seed, {"person": "s2", "camera": k % 2, "hdri": k, "split": split, "psnr": value + noise[seed, k]})
        for seed in range(seeds)
        for k in range(count)
    ]


def test_verdicts_follow_from_the_rows() -> None:
    claim = {"says": "a is above b", "terms": {"a": 1, "b": -1}, "above": 1.0}
    outcomes = [
        check(claim, {"split": NOVEL}, {"a": a, "b": rows(20, 0.1)}).outcome
        for a in (rows(23, 0.1), rows(20, 0.1), rows(21, 3.0))
    ]
    assert outcomes == ["holds", "does not hold", "undecided"]


def test_an_arm_that_was_not_run_decides_nothing() -> None:
    claim = {"says": "a is above b", "terms": {"a": 1, "b": -1}, "above": 0.0}
    found = check(claim, {"split": NOVEL}, {"a": rows(23, 0.1), "b": rows(20, 0.1, split=SEEN)})
    assert (found.outcome, found.interval) == ("not run", None)


def test_a_term_may_name_its_split() -> None:
    claim = {"says": "gap", "terms": {f"a @ {SEEN}": 1, "a": -1}, "within": 0.3}
    own = [*rows(20, 0.0), *rows(20.1, 0.0, split=SEEN)]
    found = check(claim, {"split": NOVEL}, {"a": own})
    assert found.interval is not None and found.interval.value == pytest.approx(0.1)
    assert found.outcome == "holds"


def test_while_runs_are_missing_arms_are_compared_on_what_all_were_shown() -> None:
    claim = {"says": "a equals b", "terms": {"a": 1, "b": -1}, "within": 0.3}
    hard = [(seed, {**row, "person": "s3"}) for seed, row in rows(10, 0.0)]
    found = check(claim, {"split": NOVEL}, {"a": [*rows(20, 0.0), *hard], "b": rows(20, 0.0, seeds=2)})
    assert found.interval is not None and found.interval.value == pytest.approx(0)
    assert (found.outcome, found.interval.seeds) == ("holds", 2)


class Columns:
    """As much of a view as choosing samples needs."""

    def __init__(self, **columns: list[int]) -> None:
        self.columns, self.path, self.taken = columns, "here", None

    def __len__(self) -> int:
        return len(self.columns["hdri"])

    def column(self, name: str) -> np.ndarray:
        return np.array(self.columns[name])

    def at(self, indices: np.ndarray) -> np.ndarray:
        return self.column("hdri")[indices]


def test_few_and_many_lights_have_as_many_samples() -> None:
    view = Columns(hdri=sorted([*range(10)] * 6))
    few, many = few_lights(view, 2, 2), few_lights(view, 8, 2)
    assert len(few) == len(many) == 12
    assert (len(set(few)), len(set(many))) == (2, 8)
    assert set(few) <= set(many)
    with pytest.raises(ValueError, match="10 training lights"):
        few_lights(view, 11, 2)


def test_clips_are_of_one_camera_under_one_light() -> None:
    view = Columns(camera=[0] * 9 + [1] * 4, pair=[*range(9), 0, 1, 2, 4], hdri=[0, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3])
    assert one_light_starts(view) == [1]


def test_the_fitted_gain_is_the_true_one_in_linear_light() -> None:
    truth = np.random.default_rng(1).uniform(0.1, 0.6, (8, 9, 3))
    gain = np.array([1.5, 0.8, 1.1])
    picture = srgb_from_linear(linear_from_srgb(truth) / gain)
    mask = np.ones((8, 9))
    picture[0], mask[0] = 0, 0  # outside
    assert fitted_gain(picture, truth, mask) == pytest.approx(gain, rel=1e-5)


def test_a_light_times_a_gain_is_the_brighter_light() -> None:
    hdr = np.random.default_rng(2).uniform(0, 3, (16, 32, 3)).astype(np.float32)
    maps = {
        g: dict(zip(("env_ldr", "env_log"), environment_maps(hdr * g, np.eye(4), 16, 32), strict=True)) for g in (1, 2)
    }
    sample = {key: torch.from_numpy(value.transpose(2, 0, 1)[None] * 2 - 1) for key, value in maps[1].items()}
    for key, value in with_light_times(sample, 2.0).items():
        assert torch.allclose((value + 1) / 2, torch.from_numpy(maps[2][key].transpose(2, 0, 1)[None]), atol=1e-3)


def test_a_rendering_stands_before_black() -> None:
    mask = np.zeros((20, 20))
    mask[5:15, 5:15] = 1
    made = like_rendering(np.full((20, 20, 3), 0.5), mask)
    assert made[mask == 0].max() == 0
    assert made[10, 10] == pytest.approx(
        srgb_from_linear(linear_from_srgb(np.full(3, 0.5)) * [1.04, 1, 0.94]), abs=1e-3
    )


def test_results_take_the_place_of_earlier_ones_on_the_page(tmp_path: Path) -> None:
    page, runs = tmp_path / "evidence.md", Runs(Stage(tmp_path / "none", SMALL), plan(SMALL, ("E1",)), "tiny")
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for results in ("first\n\n## E1. One\n", "head\n\n## E1. Two\n\ntext\n"):
        update_page(page, results, runs)
    assert page.read_text() == f"before\n{BEGIN}\n\nhead\n\n## E1. Two\n\ntext\n\n{END}\nafter\n"
    page.write_text("no marks")
    with pytest.raises(ValueError, match="needed once"):
        update_page(page, "new", runs)
    assert page.read_text() == "no marks"

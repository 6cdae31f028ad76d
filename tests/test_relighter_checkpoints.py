"""Checkpoints: which stay, what a full disk or a kill leaves, and failures that name sample or setting."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch
from exported_data import make_dataset
from safetensors.torch import load_file

from litdome.errors import PluginError, StoreError
from litdome.train_plugins.checks import SyntheticView
from litdome.train_plugins.relighter import RelighterTrainer
from litdome.train_plugins.relighter.checkpoints import Standing, choosing_score
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.model import open_trainable, trainable
from litdome.train_plugins.relighter.sample_names import sample_name
from litdome.train_plugins.relighter.samples import training_samples
from litdome.train_plugins.relighter.training import Training
from litdome.train_plugins.run import RunFolder

TINY = {"heads": 2, "head_dim": 12, "blocks": 2, "adaln_dim": 4}


def config(**changes: object) -> RelighterConfig:
    settings = {"base": "random", "mode": "full", "network": TINY, "steps": 5, "batch": 2, "warmup_steps": 0}
    return RelighterConfig.model_validate(settings | {"checkpoint_every": 1, "preview_every": 100} | changes)


def new_run(path: Path, settings: RelighterConfig) -> RunFolder:
    return RunFolder.create(path, plugin="relighter", config=settings, dataset="", dataset_fingerprint="0")


def fit(path: Path, settings: RelighterConfig, data: SyntheticView | None = None) -> RunFolder:
    run = RunFolder.open(path) if path.exists() else new_run(path, settings)
    RelighterTrainer().fit(data or SyntheticView(), settings, run)
    return run


def losses(run: RunFolder) -> list[float]:
    return [float(line["loss"]) for line in run.metrics()]


def names(run: RunFolder) -> list[str]:
    return sorted(folder.name for folder in (run.path / "checkpoints").iterdir())


def test_the_last_checkpoints_and_the_best_stay(tmp_path: Path) -> None:
    assert names(fit(tmp_path / "run", config(keep=2))) == ["step-000004", "step-000005"]
    training = Training(SyntheticView(), config(keep=2, steps=9), new_run(tmp_path / "best", config()))
    for step, score in ((1, 20.0), (2, 25.0), (3, 24.0), (4, None), (5, 22.0)):
        training.standing = Standing(step, 0, 0.0, training.standing.best_step, training.standing.best_score)
        training._save(score)
    assert names(RunFolder.open(tmp_path / "best")) == ["step-000002", "step-000004", "step-000005"]
    assert choosing_score({"held_back/psnr": 3.0, "test_light/psnr": 9.0}) == 3.0
    assert choosing_score({"test_light/psnr": 9.0}) is None  # test splits choose nothing


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_a_full_disk_leaves_the_checkpoint_before_and_the_run_goes_on(tmp_path: Path, mode: str) -> None:
    settings = config(mode=mode, base="random" if mode == "full" else "tiny", checkpoint_every=2)
    whole = fit(tmp_path / "whole", settings)

    class Full(RunFolder):
        def log(self, step: int, **scalars: float) -> None:
            super().log(step, **scalars)
            if step == 4:
                resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))

    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    run = new_run(tmp_path / "full", settings)
    try:
        with pytest.raises(StoreError, match="checkpoint of step 4 cannot be written") as raised:
            RelighterTrainer().fit(SyntheticView(), settings, Full(run.path, run.record, "cpu"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert str(run.path) in str(raised.value.hint)
    assert names(run) == ["step-000002"]
    assert losses(fit(run.path, settings)) == losses(whole)


def test_what_a_kill_left_of_a_checkpoint_is_passed_over(tmp_path: Path) -> None:
    settings = config(checkpoint_every=2, steps=4)
    run = fit(tmp_path / "run", settings)
    partial = run.path / "checkpoints/.step-000006.partial"
    partial.mkdir()
    (partial / "weights.safetensors").write_bytes(b"half")
    assert run.latest_checkpoint() == run.path / "checkpoints/step-000004"
    assert len(losses(fit(run.path, config(checkpoint_every=2, steps=6)))) == 6
    assert not partial.exists()


def test_a_loss_that_is_not_finite_names_its_sample_and_keeps_what_was_before(tmp_path: Path) -> None:
    class Broken(SyntheticView):
        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            sample = super().__getitem__(index)
            if index == 2:
                sample["relit"] = sample["relit"] * float("nan")
            return sample

    settings = config(batch=1, steps=8)
    run = new_run(tmp_path / "run", settings)
    with pytest.raises(PluginError, match=r"loss nan.* at step \d: sample 2$"):
        RelighterTrainer().fit(Broken(), settings, run)
    last = run.latest_checkpoint()
    before = next(n for n in range(8) if training_samples(Broken(), settings, 0).order().pick(n) == 2)
    assert (last is None) == (before == 0) and (last is None or last.name == f"step-{before:06d}")


def test_a_sample_of_a_dataset_has_a_name(tmp_path: Path) -> None:
    data = make_dataset(tmp_path).split("train")
    settings = config(light_variants=2)
    samples = training_samples(data, settings, 0)
    about = data.attrs["sessions"][0]
    for index in range(len(samples)):
        place, variant = index % len(data), index // len(data)
        camera, light = (int(data.column(key)[place]) for key in ("camera", "hdri"))
        expected = f"session {about['name']}, camera {about['cameras'][camera]}, pair {data.column('pair')[place]}, "
        expected += f"HDRI {about['hdris'][light]}" + (", variant 1" if variant else "")
        assert sample_name(samples, index) == expected


def test_too_little_memory_says_which_setting_needs_less(tmp_path: Path) -> None:
    class Huge(SyntheticView):
        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            return {
                key: value[..., :1, :1].expand(1, -1, 2**23, 2**23) for key, value in super().__getitem__(index).items()
            }

    with pytest.raises(PluginError, match="out of memory") as raised:
        fit(tmp_path / "run", config(), Huge())
    assert raised.value.hint == "--set gradient_checkpointing=true"


def test_parts_and_checkpointing_change_no_loss(tmp_path: Path) -> None:
    plain = losses(fit(tmp_path / "plain", config(batch=4, steps=3)))
    parts = losses(fit(tmp_path / "parts", config(batch=4, steps=3, accumulate=3, gradient_checkpointing=True)))
    assert parts == pytest.approx(plain, rel=1e-5)
    other = losses(fit(tmp_path / "other", config(batch=4, steps=3, seed=1)))
    assert other != pytest.approx(plain, rel=1e-3)


def test_a_frozen_base_is_half_as_large_in_bfloat16_and_its_adapter_is_not(tmp_path: Path) -> None:
    settings = config(mode="lora", base="tiny", precision="bfloat16", steps=2, learning_rate=0.01)
    network = open_trainable(settings, 0).network
    assert {value.dtype for value in trainable(network).values()} == {torch.float32}
    assert {value.dtype for value in network.parameters() if not value.requires_grad} == {torch.bfloat16}
    run = fit(tmp_path / "run", settings)
    last = run.latest_checkpoint()
    assert last is not None and all(loss == loss for loss in losses(run))
    own, average = (load_file(last / part / "pytorch_lora_weights.safetensors") for part in ("", "average"))
    assert {value.dtype for value in own.values()} == {torch.float32}
    assert any(not torch.equal(value, average[key]) for key, value in own.items())

"""Training: exact resume, adapters that live, failures that are loud. Tiny random networks, synthetic data."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from litdome.errors import MissingWeightsError, PluginError, StoreError
from litdome.train_plugins.checks import SyntheticView
from litdome.train_plugins.relighter import RelighterTrainer
from litdome.train_plugins.relighter.config import LoraConfig, NetworkConfig, RelighterConfig, SamplingConfig
from litdome.train_plugins.relighter.latent_cache import LatentCache
from litdome.train_plugins.relighter.model import ADAPTER_FILE, open_trainable, trainable
from litdome.train_plugins.relighter.samples import training_samples
from litdome.train_plugins.relighter.weights import load_base, save_base
from litdome.train_plugins.run import RunFolder

TINY = NetworkConfig(heads=2, head_dim=12, blocks=2, adaln_dim=4)


def config(**changes: object) -> RelighterConfig:
    """Settings for a training of a second."""
    settings: dict[str, object] = {"base": "random", "mode": "full", "network": TINY, "steps": 4, "batch": 2}
    return RelighterConfig.model_validate(settings | {"checkpoint_every": 2, "warmup_steps": 0} | changes)


def new_run(path: Path, settings: RelighterConfig, **options: object) -> RunFolder:
    return RunFolder.create(
        path, plugin="relighter", config=settings, dataset="synthetic", dataset_fingerprint="0", **options
    )  # type: ignore[arg-type]


def fit(path: Path, settings: RelighterConfig) -> RunFolder:
    run = new_run(path, settings)
    RelighterTrainer().fit(SyntheticView(), settings, run)
    return run


def losses(run: RunFolder) -> list[float]:
    return [float(line["loss"]) for line in run.metrics()]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base with an output layer that is not zero."""
    folder = tmp_path_factory.mktemp("base")
    settings = config(steps=3, learning_rate=0.01)
    run = fit(folder / "run", settings)
    opened = open_trainable(settings, 0)
    checkpoint = run.latest_checkpoint()
    assert checkpoint is not None
    save_base(folder / "base", opened.shape, load_file(checkpoint / "weights.safetensors"), settings.noise)
    return folder / "base"


class Killed(RunFolder):
    """A run whose process dies while step 3 is logged."""

    def log(self, step: int, **scalars: float) -> None:
        if step == 3:
            raise KeyboardInterrupt
        super().log(step, **scalars)


@pytest.mark.parametrize(("mode", "optimizer"), [("full", "adamw"), ("full", "muon"), ("lora", "adamw")])
def test_a_killed_run_resumes_to_the_same_losses_and_weights(
    tmp_path: Path, base: Path, mode: str, optimizer: str
) -> None:
    settings = config(mode=mode, optimizer=optimizer, base=str(base), dropout={"each": 0.3})
    whole = fit(tmp_path / "whole", settings)
    halved = new_run(tmp_path / "halved", settings)
    with pytest.raises(KeyboardInterrupt):
        RelighterTrainer().fit(SyntheticView(), settings, Killed(halved.path, halved.record, "cpu"))
    assert len(losses(halved)) == 2
    RelighterTrainer().fit(SyntheticView(), settings, RunFolder.open(halved.path))
    assert losses(halved) == losses(whole)
    first, second = whole.latest_checkpoint(), halved.latest_checkpoint()
    assert first is not None and second is not None and first.name == second.name == "step-000004"
    for file in first.glob("*.safetensors"):
        stored = load_file(second / file.name)
        assert all(torch.equal(value, stored[key]) for key, value in load_file(file).items()), file.name


def test_another_seed_gives_another_training(tmp_path: Path) -> None:
    assert losses(fit(tmp_path / "a", config(seed=1))) != losses(fit(tmp_path / "b", config(seed=2)))


def test_training_learns_its_four_samples(tmp_path: Path) -> None:
    settings = config(
        steps=60, batch=4, learning_rate=0.01, checkpoint_every=100, preview_every=100, picture_weighting=1
    )
    found = losses(fit(tmp_path / "run", settings))
    assert sum(found[-10:]) < 0.6 * sum(found[:10])
    assert (tmp_path / "run/previews/step-000060.png").exists()


def test_an_adapter_is_small_and_loads_in_diffusers_with_its_alpha(tmp_path: Path, base: Path) -> None:
    settings = config(mode="lora", base=str(base), lora=LoraConfig(rank=2, alpha=16), learning_rate=0.05)
    run = fit(tmp_path / "run", settings)
    checkpoint = run.latest_checkpoint()
    assert checkpoint is not None
    state = load_file(checkpoint / ADAPTER_FILE)
    assert not any("attn2" in key for key in state)
    ours = open_trainable(settings, 0).network
    assert len(trainable(ours)) == len(state) == 2 * 2 * 6  # blocks x matrices x layers of a block
    plain = load_base(base).network
    plain.load_lora_adapter(str(checkpoint / "average"), prefix=None, use_safetensors=True)
    assert plain.transformer_blocks[0].attn1.to_q.scaling == {"default_0": 8.0}
    theirs = RelighterTrainer().load(run, "cpu")
    batch = LatentCache(SyntheticView(), settings, theirs._autoencoder, "cpu").batches([0])[0][1]  # type: ignore[attr-defined]
    arguments = (batch.clean, torch.tensor([0.1]), batch.conditions)
    with torch.no_grad():
        trained, untrained = plain(*arguments), load_base(base).network(*arguments)
        assert torch.allclose(theirs._network.eval()(*arguments), trained, atol=1e-5)  # type: ignore[attr-defined]
    assert (trained - untrained).abs().max() > 1e-3


def test_references_are_the_untrained_base_and_the_autoencoder(tmp_path: Path, base: Path) -> None:
    run = fit(tmp_path / "run", config(mode="lora", base=str(base), learning_rate=0.05))
    references, sample = RelighterTrainer().references(run, "cpu"), SyntheticView()[0]
    assert torch.allclose(references["autoencoder"].render(sample, seed=0).rgb, sample["relit"], atol=1e-5)
    untrained, trained = (
        one.render(sample, seed=0).rgb for one in (references["base"], RelighterTrainer().load(run, "cpu"))
    )
    assert not torch.equal(untrained, trained)
    assert "base" not in RelighterTrainer().references(fit(tmp_path / "random", config()), "cpu")


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_in_bfloat16_what_renders_is_stored_so_whatever_trained(tmp_path: Path, base: Path, mode: str) -> None:
    run = fit(tmp_path / "run", config(mode=mode, base=str(base), precision="bfloat16", learning_rate=0.05, steps=1))
    trainer = RelighterTrainer()
    for renderer in (trainer.load(run, "cpu"), trainer.references(run, "cpu")["base"]):
        weights = dict(renderer._network.named_parameters())  # type: ignore[attr-defined]
        assert {w.dtype for name, w in weights.items() if "lora" not in name} == {torch.bfloat16}
    settings = run.config(RelighterConfig)
    assert isinstance(settings, RelighterConfig)
    stored = open_trainable(settings, 0).network.input_weight.dtype
    assert stored == (torch.float32 if mode == "full" else torch.bfloat16)


def test_an_adapter_that_changes_nothing_is_refused(tmp_path: Path, base: Path) -> None:
    run = fit(tmp_path / "run", config(mode="lora", base=str(base)))
    checkpoint = run.latest_checkpoint()
    assert checkpoint is not None
    file = checkpoint / "average" / ADAPTER_FILE
    with safe_open(file, framework="pt") as opened:
        about = opened.metadata()
    save_file({k: v * (0 if "lora_B" in k else 1) for k, v in load_file(file).items()}, file, about)
    with pytest.raises(PluginError, match="changes nothing"):
        RelighterTrainer().load(run, "cpu")
    file.unlink()  # what trained last is not what was averaged
    with pytest.raises(StoreError, match=r"average/pytorch_lora_weights\.safetensors: missing"):
        RelighterTrainer().load(run, "cpu")


def test_a_loss_that_is_not_finite_stops_with_exit_8(tmp_path: Path) -> None:
    class Poisoned(SyntheticView):
        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            sample = super().__getitem__(index)
            sample["relit"] = torch.full_like(sample["relit"], float("nan"))
            return sample

    settings = config()
    with pytest.raises(PluginError, match="loss nan") as caught:
        RelighterTrainer().fit(Poisoned(), settings, new_run(tmp_path / "run", settings))
    assert caught.value.exit_code == 8


def test_a_damaged_checkpoint_is_an_error(tmp_path: Path) -> None:
    run = fit(tmp_path / "run", config())
    checkpoint = run.latest_checkpoint()
    assert checkpoint is not None
    (checkpoint / "optimizer.safetensors").unlink()
    with pytest.raises(StoreError, match="damaged"):
        RelighterTrainer().fit(SyntheticView(), config(), run)


def test_check_names_what_is_missing() -> None:
    view = SyntheticView(keys=("flat", "relit", "env_ldr"))
    found = [problem.message for problem in RelighterTrainer().check(view, config(background_weight=0.5))]
    assert found == [f"dataset: samples have no {key}" for key in ("env_log", "env_direction", "mask")]
    assert "adapter" in RelighterTrainer().check(SyntheticView(), config(mode="lora"))[0].message


def test_a_base_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError):
        open_trainable(config(base=str(tmp_path)), 0)


def test_sizes_and_lengths_are_batched_apart() -> None:
    class Mixed(SyntheticView):
        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            sample = super().__getitem__(index)
            return {k: v[..., :16, :16] for k, v in sample.items()} if index == 2 else sample

    opened = open_trainable(config(), 0)
    settings = config(background_weight=0.2)
    samples = training_samples(Mixed(), settings, 0)
    found = LatentCache(samples, settings, opened.autoencoder, "cpu").batches([0, 2, 1])
    assert [places for places, _ in found] == [[0, 2], [1]]
    batches = [batch for _, batch in found]
    assert [tuple(batch.clean.shape) for batch in batches] == [(2, 48, 1, 8, 12), (1, 48, 1, 4, 4)]
    weight = batches[0].weight
    assert weight is not None and float(weight.min()) == pytest.approx(0.2) and float(weight.max()) == 1


def test_motion_weights_are_those_of_the_flat_picture_that_is_read() -> None:
    opened = open_trainable(config(), 0)
    moved, met, both = (
        LatentCache(training_samples(SyntheticView(), settings, 0), settings, opened.autoencoder, "cpu")
        .batches([0])[0][1]
        .weight
        for settings in (
            config(motion_weights=True),
            config(motion_weights=True, use_compensated=True),
            config(motion_weights=True, background_weight=0.5),
        )
    )
    assert moved is not None and met is not None and both is not None
    assert float(moved.min()) == pytest.approx(0.25) and float(moved.max()) == 1
    assert float(met.min()) == 1
    assert float(both.max()) == pytest.approx(0.5)  # the background; the person moved: 1 * 0.25
    found = RelighterTrainer().check(SyntheticView(keys=("flat", "relit")), config(motion_weights=True))
    assert "dataset: samples have no weight" in [problem.message for problem in found]


def test_render_fades_chunks_and_repeats_with_its_seed(tmp_path: Path) -> None:
    run = fit(tmp_path / "run", config(sampling=SamplingConfig(steps=1, chunk_frames=2, overlap_frames=1)))
    renderer = RelighterTrainer().load(run, "cpu")
    sample = {key: value for key, value in SyntheticView()[0].items() if key in renderer.reads}
    clip = {key: value.expand(5, -1, -1, -1) if key == "flat" else value for key, value in sample.items()}
    first, again, other = (renderer.render(clip, seed=seed).rgb for seed in (1, 1, 2))
    assert first.shape == (5, 3, 32, 48) and float(first.min()) >= 0 and float(first.max()) <= 1
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_an_adapter_on_all_layers_reaches_input_output_and_modulation(tmp_path: Path, base: Path) -> None:
    settings = config(mode="lora", base=str(base), lora=LoraConfig(rank=2, targets="all"), learning_rate=0.05)
    run = fit(tmp_path / "run", settings)
    checkpoint = run.latest_checkpoint()
    assert checkpoint is not None
    names = set(load_file(checkpoint / ADAPTER_FILE))
    for layer in ("patch_embed.proj", "proj_out", "norm_out.linear_1", "transformer_blocks.1.norm3.linear_2"):
        assert f"{layer}.lora_B.weight" in names
    assert not any("attn2" in name or "norm2" in name for name in names)
    assert RelighterTrainer().load(run, "cpu").render(SyntheticView()[0], seed=0).rgb.shape[1] == 3

"""Few-step students: toys whose answer is known, targets that are made once, teachers that cannot be."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from relighter_take import relighter_take
from test_relighter_training import Killed, base, config, fit, losses, new_run  # noqa: F401  # base is a fixture
from torch import Tensor, nn

from litdome.errors import ConfigError, PluginError, StoreError
from litdome.train_plugins.checks import SyntheticView
from litdome.train_plugins.relighter import RelighterTrainer
from litdome.train_plugins.relighter.autoencoder import HaarAutoencoder
from litdome.train_plugins.relighter.check import find_problems
from litdome.train_plugins.relighter.config import DistillConfig, RelighterConfig
from litdome.train_plugins.relighter.distillation import Distillation, Targets, detail_losses
from litdome.train_plugins.relighter.model import open_trainable
from litdome.train_plugins.relighter.objective import Batch
from litdome.train_plugins.relighter.sampler import noise_schedule, precondition
from litdome.train_plugins.relighter.teacher import Teacher, find_teacher, open_teacher, start_as
from litdome.train_plugins.run import RunFolder

torch.set_num_threads(1)
MEAN, SPREAD, STEPS, SIGMA_MAX = 0.3, 0.4, 5, 20.0
SHAPE = (2, 48, 1, 2, 2)


class GaussianDenoiser(nn.Module):
    """The exact network for latents that are normal with `MEAN` and `SPREAD`; it counts how often it is asked."""

    calls = 0

    def forward(self, scaled: Tensor, level: Tensor, conditions: Tensor) -> Tensor:
        self.calls += 1
        sigma = (level * 4).exp().reshape(-1, 1, 1, 1, 1)
        scale = precondition(sigma)
        noisy = scaled / scale.c_in
        clean = (SPREAD**2 * noisy + sigma**2 * MEAN) / (SPREAD**2 + sigma**2)
        return (clean - scale.c_skip * noisy) / scale.c_out


class Line(nn.Module):
    """F = slope * input + offset."""

    def __init__(self, slope: float, offset: float) -> None:
        super().__init__()
        self.slope, self.offset = (nn.Parameter(torch.tensor(value)) for value in (slope, offset))

    def forward(self, scaled: Tensor, level: Tensor, conditions: Tensor) -> Tensor:
        return self.slope * scaled + self.offset


def distilled_line(steps: int) -> tuple[float, float]:
    """Slope and offset of the one step that gives what ``steps`` Euler steps of `GaussianDenoiser` give."""
    sigmas = noise_schedule(steps, SIGMA_MAX).double()
    gain, shift = (sigmas[0] ** 2 + 1) ** 0.5, torch.tensor(0.0, dtype=torch.float64)
    for here, after in pairwise(sigmas):
        keep = SPREAD**2 / (SPREAD**2 + here**2)
        ratio = after / here
        gain, shift = (
            gain * (keep + (1 - keep) * ratio),
            shift * (keep + (1 - keep) * ratio) + MEAN * (1 - keep) * (1 - ratio),
        )
    scale = precondition(sigmas[0])
    start = (sigmas[0] ** 2 + 1) ** 0.5
    return float((gain / start - scale.c_skip) / (scale.c_out * scale.c_in)), float(shift / scale.c_out)


def student_settings(**distill: object) -> RelighterConfig:
    table = {"teacher": "there", "steps": STEPS, **distill}
    return RelighterConfig(distill=DistillConfig.model_validate(table))


def distillation(settings: RelighterConfig, steps: int = STEPS) -> Distillation:
    targets = Targets(
        Teacher(GaussianDenoiser(), noise_schedule(steps, SIGMA_MAX)), settings, 0, folder=None, identity=""
    )
    return Distillation(targets, settings, HaarAutoencoder(), torch.ones(48), 2)


def batch() -> Batch:
    return Batch(torch.zeros(SHAPE), torch.zeros(2, 8 * 49, *SHAPE[2:]), None)


def test_a_linear_student_finds_the_one_step_that_is_the_teachers_five() -> None:
    asked, line = distillation(student_settings()), Line(0.0, 0.0)
    optimizer = torch.optim.LBFGS(line.parameters(), max_iter=30, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        found = asked.losses(line, batch(), [0, 1], [0, 1])[0].mean()
        found.backward()
        return found

    optimizer.step(loss)
    slope, offset = distilled_line(STEPS)
    # f2: targets are kept in half precision, 5e-4 of their value
    assert float(line.slope.detach()) == pytest.approx(slope, abs=1e-3)
    assert float(line.offset.detach()) == pytest.approx(offset, abs=1e-3)
    assert abs(distilled_line(1)[0] - slope) > 0.02


def test_the_loss_is_zero_for_the_teachers_own_steps_and_not_for_fewer() -> None:
    same = student_settings().model_copy(
        update={"sampling": RelighterConfig().sampling.model_copy(update={"steps": STEPS})}
    )
    found, sigmas = distillation(same).losses(GaussianDenoiser(), batch(), [0, 1], [0, 1])
    assert (found < 1e-6).all() and sigmas.tolist() == [SIGMA_MAX] * 2
    assert (distillation(student_settings()).losses(GaussianDenoiser(), batch(), [0, 1], [0, 1])[0] > 1e-3).all()


def test_every_target_is_made_once_and_another_round_takes_another_noise(tmp_path: Path) -> None:
    network, settings = GaussianDenoiser(), student_settings(noises=2)
    teacher = Teacher(network, noise_schedule(STEPS, SIGMA_MAX))

    def ask(draws: list[int], identity: str = "a", megabytes: int = 1) -> int:
        before = network.calls
        limited = settings.model_copy(update={"latent_cache_mb": megabytes})
        targets = Targets(teacher, limited, 0, folder=tmp_path, identity=identity)
        asked = Distillation(targets, settings, HaarAutoencoder(), torch.ones(48), 2)
        for _ in range(2):
            asked.losses(Line(0.0, 0.0), batch(), [0, 1], draws)
        return (network.calls - before) // STEPS

    assert [ask([0, 1]), ask([0, 1]), ask([2, 3]), ask([4, 5])] == [1, 0, 1, 0]
    assert [ask([0, 1], "b"), ask([0, 1], megabytes=0)] == [1, 0]
    kept = next(tmp_path.rglob("made-*"))
    kept.write_bytes(b"broken")
    assert ask([0, 1, 2, 3][:2]) + ask([2, 3]) + ask([0, 1], "b") == 1


def test_detail_counts_strength_and_not_place() -> None:
    texture = torch.rand(1, 3, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    shifted, blurred = texture.roll(1, dims=-1), nn.functional.avg_pool3d(texture, (1, 3, 3), 1, (0, 1, 1))
    found = [float(detail_losses(made, texture, None)) for made in (texture, shifted, blurred, texture * 0)]
    assert found[0] == 0 and found[1] < 0.01 < 0.3 < found[2] < found[3] == pytest.approx(1, abs=5e-3)
    half = torch.zeros(1, 1, 1, 8, 8)
    half[..., :4] = 1
    mixed = torch.cat([texture[..., :16], blurred[..., 16:]], dim=-1)
    assert float(detail_losses(mixed, texture, half)) < 0.03 < float(detail_losses(mixed, texture, 1 - half))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:  # noqa: F811
    """An adapter of the small base."""
    return fit(tmp_path_factory.mktemp("teacher") / "run", config(mode="lora", base=str(base), learning_rate=0.05)).path


def settings_of(teacher: Path, base: Path, **changes: object) -> RelighterConfig:  # noqa: F811
    distill = {"teacher": str(teacher), "steps": 3, "noises": 2, "detail": 0.1}
    return config(**{"mode": "lora", "base": str(base), "distill": distill, **changes})


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_a_student_starts_as_its_teacher_and_shares_what_is_frozen(teacher: Path, base: Path, mode: str) -> None:  # noqa: F811
    settings = settings_of(teacher, base, mode=mode)
    found, student = find_teacher(SyntheticView(), settings), open_trainable(settings, 0).network
    start_as(student, settings, found)
    asked = open_teacher(found, student, settings, "cpu")
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(1, count, 1, 4, 4, generator=generator) for count in (48, 8 * 49)]
    with torch.no_grad():
        made = [one(inputs[0], torch.tensor([0.5]), inputs[1]) for one in (student, asked.network)]
        untrained = open_trainable(settings, 0).network(inputs[0], torch.tensor([0.5]), inputs[1])
    assert (made[0] - made[1]).abs().max() < 1e-5 < 1e-3 < (made[0] - untrained).abs().max()
    own = dict(student.named_parameters())
    shared = [
        name
        for name, value in asked.network.named_parameters()
        if name in own and value.data_ptr() == own[name].data_ptr()
    ]
    assert bool(shared) == (mode == "lora") and not any("lora" in name for name in shared)


def test_a_student_learns_resumes_and_is_an_ordinary_run(tmp_path: Path, teacher: Path, base: Path) -> None:  # noqa: F811
    settings = settings_of(teacher, base, latent_cache="run", learning_rate=0.01)
    whole = fit(tmp_path / "whole", settings)
    halved = new_run(tmp_path / "halved", settings)
    with pytest.raises(KeyboardInterrupt):
        RelighterTrainer().fit(SyntheticView(), settings, Killed(halved.path, halved.record, "cpu"))
    RelighterTrainer().fit(SyntheticView(), settings, RunFolder.open(halved.path))
    assert losses(halved) == losses(whole) and len(losses(whole)) == 4
    assert len(list((tmp_path / "whole/latents").rglob("made-*"))) == 8  # four samples, two noises
    renderer = RelighterTrainer().load(whole, "cpu")
    assert renderer.render(SyntheticView()[0], seed=0).rgb.shape == SyntheticView()[0]["relit"].shape


def test_a_wrong_teacher_is_one_clear_line(tmp_path: Path, teacher: Path, base: Path) -> None:  # noqa: F811
    def ask(**changes: object) -> None:
        find_teacher(SyntheticView(), settings_of(teacher, base, **changes))

    ask()
    with pytest.raises(ConfigError, match="starts from noise 20, this from 80") as raised:
        ask(noise={"sigma_max": 80})
    assert raised.value.hint == "--set noise.sigma_max=20"
    with pytest.raises(ConfigError, match="env is env_ldr env_log env_direction there, env_ldr here"):
        ask(env=["env_ldr"])
    with pytest.raises(ConfigError, match="lora is rank=16"):
        ask(lora={"rank": 2})
    with pytest.raises(StoreError, match="not a run"):
        ask(distill={"teacher": str(tmp_path)})
    full = fit(tmp_path / "full", config(steps=1))
    with pytest.raises(ConfigError, match="all of its weights were trained"):
        ask(distill={"teacher": str(full.path)})
    empty = new_run(tmp_path / "empty", config())
    with pytest.raises(PluginError, match="no checkpoint yet"):
        ask(distill={"teacher": str(empty.path)})
    problems = find_problems(SyntheticView(), settings_of(teacher, base, env=["env_ldr"]))
    assert [problem.severity for problem in problems if "distill.teacher" in problem.message] == ["error"]


def test_a_teacher_who_knows_somebody_else_is_refused(tmp_path: Path, teacher: Path, base: Path) -> None:  # noqa: F811
    view, known = relighter_take(tmp_path / "data"), Path(shutil.copytree(teacher, tmp_path / "known"))
    about = json.loads((known / "run.json").read_text())
    for subjects in (["s0"], ["s0", "s7"]):
        (known / "run.json").write_text(json.dumps(about | {"subjects": subjects}))
        if subjects == ["s0"]:
            find_teacher(view, settings_of(known, base))
    with pytest.raises(PluginError, match="it learned from s7, whom this dataset does not show"):
        find_teacher(view, settings_of(known, base))


def test_a_causal_student_of_clips_trains_with_checkpointing_and_is_made_frame_by_frame(
    tmp_path: Path,
    teacher: Path,
    base: Path,  # noqa: F811
) -> None:
    changes = {"causal_frames": 2, "clip_frames": 3, "batch": 1, "steps": 2}
    plain = fit(tmp_path / "plain", settings_of(teacher, base, **changes))
    saved = fit(tmp_path / "saved", settings_of(teacher, base, gradient_checkpointing=True, **changes))
    assert losses(saved) == pytest.approx(losses(plain), rel=1e-4)
    renderer, clip = RelighterTrainer().load(plain, "cpu"), SyntheticView().clips(4, 1)[0]
    made = renderer.render({key: clip[key] for key in renderer.reads}, seed=0).rgb
    short = renderer.render({key: clip[key][:2] for key in renderer.reads}, seed=0).rgb
    assert (made[:2] - short).abs().max() < 1e-5
    alone = renderer.render({key: clip[key][1:2] for key in renderer.reads}, seed=0).rgb
    assert (made[1:2] - alone).abs().max() > 1e-5

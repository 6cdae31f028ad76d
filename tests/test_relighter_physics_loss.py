"""The laws of light as a loss: nothing to complain of in an exact renderer, a remedy for one that is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from litdome.color import linear_from_srgb, srgb_from_linear
from litdome.lighting import tone_map_ldr, tone_map_log, view_directions
from litdome.train_plugins.checks import SyntheticView
from litdome.train_plugins.relighter import RelighterTrainer
from litdome.train_plugins.relighter.autoencoder import HaarAutoencoder
from litdome.train_plugins.relighter.conditions import assemble_conditions
from litdome.train_plugins.relighter.config import NetworkConfig, PhysicsConfig, RelighterConfig
from litdome.train_plugins.relighter.objective import Batch
from litdome.train_plugins.relighter.physics_loss import PhysicsLoss, linear_light, relative_error, two_lights
from litdome.train_plugins.relighter.sampler import precondition
from litdome.train_plugins.run import RunFolder

torch.set_num_threads(1)
SIZE = (16, 32)
HAAR = HaarAutoencoder()


def light(seed: int, frames: int = 1) -> np.ndarray:
    """Radiance of two pictures' maps, shape (2, 3, t, y, x), smooth enough to survive half precision."""
    waves = np.random.default_rng(seed).uniform(0.02, 0.8, (2, 3, 1, 4, 8))
    return np.repeat(np.kron(waves, np.ones((4, 4))), frames, axis=2).astype(np.float32)


def batch(frames: int = 1, weight: Tensor | None = None) -> Batch:
    radiance = light(0, frames)
    flat = torch.rand(2, 3, frames, *SIZE, generator=torch.Generator().manual_seed(1)) * 2 - 1
    maps = {"env_ldr": tone_map_ldr(radiance), "env_log": tone_map_log(radiance)}
    latents = {name: HAAR.encode(torch.from_numpy(values) * 2 - 1) for name, values in maps.items()}
    conditions = assemble_conditions({"basecolor": HAAR.encode(flat), **latents}, HAAR.encode(flat))  # type: ignore[dict-item]
    return Batch(HAAR.encode(flat), conditions, weight)


class Ball(nn.Module):
    """A renderer with a known answer: one irradiance for the whole picture, times the flat picture in linear light,
    to a power; linear in the light only if that is 1."""

    def __init__(self, power: float = 1.0, offset: float = 0.0) -> None:
        super().__init__()
        self.power, self.offset = nn.Parameter(torch.tensor(power)), nn.Parameter(torch.tensor(offset))

    def forward(self, scaled: Tensor, level: Tensor, conditions: Tensor) -> Tensor:
        each = conditions.shape[1] // 8
        flat, log = (HAAR.decode(conditions[:, at * each : (at + 1) * each - 1]) / 2 + 0.5 for at in (0, 6))
        radiance = torch.expm1(linear_light(log) * np.log(10001.0))
        irradiance = radiance.mean(dim=(3, 4), keepdim=True) * 0.8
        shown = linear_light(flat) * irradiance**self.power + self.offset
        encoded = HAAR.encode(to_display(shown) * 2 - 1)
        scale = precondition((level * 4).exp().reshape(-1, 1, 1, 1, 1))
        return (encoded - scale.c_skip * scaled / scale.c_in) / scale.c_out


def to_display(linear: Tensor) -> Tensor:
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)


def loss(superposition: float = 1.0, gain: float = 1.0) -> PhysicsLoss:
    config = RelighterConfig(physics=PhysicsConfig(superposition=superposition, gain=gain, every=3))
    return PhysicsLoss(config, HAAR)


def generators(seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(10 * seed + n) for n in range(2)]


@pytest.mark.parametrize("frames", [1, 3])
def test_an_exact_renderer_has_no_loss_whatever_the_lights(frames: int) -> None:
    for seed in range(3):
        errors = loss().errors(Ball(), batch(frames), generators(seed))
        assert errors.shape == (2, 2) and float(errors.detach().max()) < 2e-4  # float32 through the log map


def test_automatic_exposure_and_a_constant_have_one() -> None:
    """Negative controls: half the exponent, and light that comes from nowhere."""
    for renderer in (Ball(power=0.5), Ball(offset=0.1)):
        assert float(loss().errors(renderer, batch(), generators()).detach().min()) > 0.05


def test_steps_on_the_loss_make_a_renderer_linear() -> None:
    renderer = Ball(power=0.6, offset=0.05)
    optimizer = torch.optim.Adam(renderer.parameters(), lr=0.02)
    taken = loss()
    for step in range(60):
        optimizer.zero_grad()
        taken.weighed(taken.errors(renderer, batch(), generators(step))).sum().backward()
        optimizer.step()
    assert renderer.power.item() == pytest.approx(1, abs=0.05) and renderer.offset.item() == pytest.approx(0, abs=0.01)


def test_only_what_is_asked_for_counts_and_only_when_it_is_due() -> None:
    renderer, both = Ball(power=0.5), loss().errors(Ball(power=0.5), batch(), generators())
    added = loss(gain=0).errors(renderer, batch(), generators())
    gained = loss(superposition=0).errors(renderer, batch(), generators())
    assert torch.allclose(added[:, 0], both[:, 0]) and not added[:, 1].any()
    assert torch.allclose(gained[:, 1], both[:, 1]) and not gained[:, 0].any()
    assert torch.allclose(loss(2.0, 0.5).weighed(both), 2 * both[:, 0] + 0.5 * both[:, 1])
    assert [loss().is_due(step) for step in range(4)] == [True, False, False, True]
    assert not loss(0, 0).is_due(0)


def test_a_sample_has_its_own_lights_and_noise_whoever_it_is_worked_on_with() -> None:
    whole = batch()
    together = loss().errors(Ball(power=0.5), whole, generators())
    for at in range(2):
        one = Batch(whole.clean[at : at + 1], whole.conditions[at : at + 1], None)
        alone = loss().errors(Ball(power=0.5), one, generators()[at : at + 1])
        assert torch.allclose(alone[0], together[at], atol=1e-6)
    assert not torch.allclose(together, loss().errors(Ball(power=0.5), whole, generators(1)))


def test_places_without_weight_do_not_count() -> None:
    class HalfWrong(Ball):
        def forward(self, scaled: Tensor, level: Tensor, conditions: Tensor) -> Tensor:
            right, wrong = Ball()(scaled, level, conditions), Ball(power=0.5)(scaled, level, conditions)
            return torch.cat([right[..., :4], wrong[..., 4:]], dim=-1)

    weight = torch.ones(2, 1, 1, SIZE[0] // 4, SIZE[1] // 4)
    assert float(loss().errors(HalfWrong(), batch(weight=weight), generators()).min().detach()) > 0.02
    weight[..., 4:] = 0
    assert float(loss().errors(HalfWrong(), batch(weight=weight), generators()).max()) < 2e-4


def test_two_lights_come_from_two_sides_and_are_about_as_bright_as_one() -> None:
    radiance = torch.ones(2, 3, 1, *SIZE)
    first, second = two_lights(radiance, generators())
    assert float(first.min()) >= 0 and float(second.min()) >= 0
    assert not torch.allclose(first[0], first[1])
    grey = second / second.mean(dim=(2, 3, 4), keepdim=True) * (1 - first).mean(dim=(2, 3, 4), keepdim=True)
    assert torch.allclose(first + grey, radiance, atol=1e-5)  # but for its tint the second is what the first leaves


def test_clipped_pictures_say_nothing_and_errors_are_those_of_evaluate() -> None:
    from litdome.datasets.metrics import gain_error

    plain = np.random.default_rng(5).uniform(0.05, 0.9, (1, 3, 1, *SIZE)).astype(np.float32)
    scaled = np.clip(srgb_from_linear(linear_from_srgb(plain) * 2.2), 0, 1)
    assert (scaled == 1).any()
    one = torch.ones(1, 1, 1, 1, 1)
    ours = relative_error([torch.from_numpy(scaled)], [torch.from_numpy(plain)], one, torch.tensor([2.0]))
    shown = {1.0: plain, 2.0: scaled}

    def relight(hdr: np.ndarray, *, turn_deg: float = 0.0) -> np.ndarray:
        return shown[float(hdr.max())][0, :, 0].transpose(1, 2, 0)

    theirs = gain_error(relight, np.ones((4, 8, 3)), 2.0, np.ones(SIZE))
    assert float(ours) == pytest.approx(theirs, rel=1e-4) and theirs == pytest.approx(0.1, rel=1e-3)
    white = torch.ones(1, 3, 1, *SIZE)
    assert float(relative_error([white], [white * 0.2], one)) == 0


def test_darker_pictures_are_no_way_out() -> None:
    """A gain on all pictures, made or compared with, changes nothing, and no step would take it."""
    made, other = (torch.rand(1, 3, 1, *SIZE, generator=torch.Generator().manual_seed(n)) * 0.6 for n in range(2))
    gain = torch.ones((), requires_grad=True)
    shown = [to_display(linear_light(each) * gain) for each in (made, other)]
    error = relative_error(shown[:1], shown[1:], torch.ones(1, 1, 1, 1, 1))
    error.sum().backward()
    assert float(error.detach()) > 0.1 and gain.grad is not None and abs(float(gain.grad)) < 1e-5


def test_a_light_knows_where_it_is() -> None:
    """The border between two lights lies in the directions that the maps have."""
    directions = torch.from_numpy(view_directions(*SIZE))
    first, _ = two_lights(torch.ones(1, 3, 1, *SIZE), [torch.Generator().manual_seed(3)])
    shares = torch.logit(first[0, 0, 0].clamp(1e-6, 1 - 1e-6)).flatten()
    fit = torch.linalg.lstsq(directions.reshape(-1, 3), shares[:, None])
    assert float((directions.reshape(-1, 3) @ fit.solution - shares[:, None]).abs().max()) < 1e-3


def trained(path: Path, **settings: object) -> list[dict[str, float]]:
    """What a training of a small random network logs."""
    table: dict[str, object] = {"base": "random", "mode": "full", "steps": 3, "batch": 2, "warmup_steps": 0, **settings}
    network = NetworkConfig(heads=2, head_dim=12, blocks=1, adaln_dim=4)
    config = RelighterConfig.model_validate(table | {"network": network, "learning_rate": 0.01})
    about = {"plugin": "relighter", "dataset": "synthetic", "dataset_fingerprint": "0"}
    run = RunFolder.create(path, config=config, **about)
    RelighterTrainer().fit(SyntheticView(), config, run)
    return [{key: float(value) for key, value in line.items() if key != "time"} for line in run.metrics()]


def test_training_asks_in_every_other_step_and_in_parts_as_in_whole(tmp_path: Path) -> None:
    asked = {"superposition": 0.5, "gain": 0.5, "every": 2}
    whole, parts, without = (
        trained(tmp_path / name, **settings)
        for name, settings in (
            ("whole", {"physics": asked}),
            ("parts", {"physics": asked, "accumulate": 2}),
            ("without", {}),
        )
    )
    assert ["gain_error" in line for line in whole] == [True, False, True]
    for one, other in zip(whole, parts, strict=True):
        for key in {"loss", "superposition_error", "gain_error"} & set(one):
            assert one[key] == pytest.approx(other[key], rel=1e-4)
    assert whole[0]["loss"] == without[0]["loss"]  # the loss is logged as without
    assert whole[-1]["loss"] != without[-1]["loss"] and "gain_error" not in without[0]


def test_physics_needs_the_map_that_lights_are_made_of() -> None:
    config = RelighterConfig(physics=PhysicsConfig(gain=1), env=("env_ldr",))
    problems = RelighterTrainer().check(SyntheticView(), config)
    assert any("physics" in problem.message and problem.severity == "error" for problem in problems)

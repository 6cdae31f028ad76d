"""Pre-train the tiny base of the relighter on procedural objects and rooms, from nothing; never on people.

    python tools/make_base.py --out FOLDER                   start, or go on where it stopped
    python tools/make_base.py --out FOLDER --evaluate        numbers and a picture on scenes never trained on
    python tools/make_base.py --out FOLDER --export BASE     the averaged weights as a base folder

Scenes are traced once and kept in FOLDER/scenes (5 GB). Expect half an hour on one core.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from base_scenes import (
    COLOUR_ORDERS,
    LEDS,
    Sample,
    SceneSize,
    StoredScene,
    lamps,
    make_samples,
    pool_light,
    store_scene,
    vary,
)
from torch import Tensor
from torch.nn.functional import interpolate

from litdome.synth.shading import dome_lights
from litdome.train_plugins.relighter.batches import as_video, encode_conditions
from litdome.train_plugins.relighter.conditions import assemble_conditions
from litdome.train_plugins.relighter.config import (
    DropoutConfig,
    NetworkConfig,
    NoiseConfig,
    PrefixConfig,
    RelighterConfig,
    SamplingConfig,
)
from litdome.train_plugins.relighter.initial import PICTURE_GAIN, coarse_channels
from litdome.train_plugins.relighter.model import WeightAverage
from litdome.train_plugins.relighter.objective import (
    Batch,
    draw_sigmas,
    drop_conditions,
    edm_losses,
    give_first_frames,
)
from litdome.train_plugins.relighter.renderer import RelighterRenderer
from litdome.train_plugins.relighter.weights import Base, random_base, save_base

LIGHTS = 1500
HELD_OUT_SCENE, HELD_OUT_LIGHT = 2_000_000, 9_000
FLAT_SHARE = 0.7  # of the samples whose base colour is the flat-lit picture, as in use; the true albedo in the others
BACKGROUND_WEIGHT = 0.1
NOISE, NETWORK = NoiseConfig(), NetworkConfig()
PREFIX = PrefixConfig(share=0.5)
WARMUP, AVERAGE = 50, 0.998
PICTURE_WEIGHTING = 2.0  # the loss is the picture's squared error
CHECKPOINT_EVERY, REPORT_EVERY = 250, 500
NORMAL = 1  # among the conditions
CONDITIONS = {
    **{"basecolor": "basecolor", "normal": "normal", "metallic": "metallic", "roughness": "roughness"},
    **{"depth": "depth", "env_ldr": "env_ldr", "env_log": "env_log", "env_direction": "env_nrm"},
}


@dataclass(frozen=True)
class Pool:
    """Scenes of one size, and how they are used: seeds from ``first``, ``batch`` samples a step."""

    first: int
    count: int
    size: SceneSize
    batch: int


SMALL = Pool(0, 800, SceneSize(64, 112), 8)
CLIPS = Pool(30_000, 60, SceneSize(64, 112, 3), 2)
MIDDLE = Pool(10_000, 160, SceneSize(96, 160), 4)
DEMO = Pool(20_000, 120, SceneSize(128, 224), 2)
LARGE = Pool(40_000, 30, SceneSize(176, 320), 2)


@dataclass(frozen=True)
class Phase:
    """A part of the training.

    Attributes:
        steps: How many.
        rate: Learning rate, before the cosine of `rate_factor`.
        geometry_dropout: How often normals, depth and materials are left out, as in use.
        shape_weight: In the loss: how far the stream after each block but the last is from knowing the normals.
        pools: How often each is drawn.
    """

    steps: int
    rate: float
    geometry_dropout: float
    shape_weight: float
    pools: dict[str, float]


POOLS = {"small": SMALL, "clips": CLIPS, "middle": MIDDLE, "demo": DEMO, "large": LARGE}
MOSTLY_SMALL = {"small": 0.9, "clips": 0.1}
PHASES = (
    Phase(1000, 1e-3, 0.4, 0.5, {"small": 1.0}),  # a copy becomes a shaded picture, mostly with normals given
    Phase(1750, 1e-3, 0.7, 0.5, MOSTLY_SMALL),  # mostly without: shapes are learned from flat-lit pictures
    Phase(1550, 1e-3, 0.8, 0.5, {"small": 0.2, "clips": 0.1, "middle": 0.35, "demo": 0.3, "large": 0.05}),
)
STEPS = sum(phase.steps for phase in PHASES)


class Pretraining:
    """State of the training: network, optimizer, average, step."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.scenes: dict[str, StoredScene] = {}
        self.base = random_base(NETWORK, 0)
        self.network = self.base.network
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=PHASES[0].rate, betas=(0.9, 0.99), weight_decay=0.02
        )
        self.average = WeightAverage(dict(self.network.state_dict()), AVERAGE)
        scale = self.base.autoencoder.channel_scale() ** PICTURE_WEIGHTING
        self.channel_weight = scale / scale.mean()
        self.normals = coarse_channels(self.base.shape, NORMAL)
        self.streams: list[Tensor] = []
        for block in self.network.transformer_blocks[:-1]:
            block.register_forward_hook(lambda _block, _inputs, stream: self.streams.append(stream))
        self.step = 0
        if (out / "checkpoint.pt").exists():
            self.resume()

    def resume(self) -> None:
        """Go on from the checkpoint."""
        state = torch.load(self.out / "checkpoint.pt", weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.average, self.step = state["average"], state["step"]

    def save(self) -> None:
        """Write the checkpoint."""
        state = {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save({**state, "average": self.average.average, "step": self.step}, self.out / "checkpoint.partial")
        (self.out / "checkpoint.partial").rename(self.out / "checkpoint.pt")

    def run(self, steps: int) -> None:
        """Train up to step ``steps``."""
        started, recent = time.monotonic(), []
        while self.step < steps:
            recent.append(self.train_step())
            self.step += 1
            if self.step % CHECKPOINT_EVERY == 0 or self.step == steps:
                self.save()
            if self.step % REPORT_EVERY == 0 or self.step == steps:
                minutes = (time.monotonic() - started) / 60
                print(f"step {self.step}, {minutes:.1f} min, loss {np.mean(recent):.3f}", flush=True)
                recent.clear()
                scores(self.averaged(), self.out, count=24)

    def train_step(self) -> float:
        """One step; everything that is random comes from its number."""
        rng, generator = np.random.default_rng([1, self.step]), torch.Generator().manual_seed(self.step)
        phase = phase_of(self.step)
        pool = POOLS[str(rng.choice(list(phase.pools), p=list(phase.pools.values())))]
        batch = self.draw(pool, rng)
        count = len(batch.clean)
        sigmas = draw_sigmas(count, NOISE, generator)
        noise = torch.randn(batch.clean.shape, generator=generator)
        normals = patches_of(batch.conditions[:, 49 * NORMAL :][:, :3]) * PICTURE_GAIN
        weight = patches_of(batch.weight).mean(dim=-1)
        dropout = DropoutConfig(each=0.03, geometry=phase.geometry_dropout)
        batch = replace(batch, conditions=drop_conditions(batch.conditions, dropout, generator))
        batch, sigmas = give_first_frames(batch, sigmas, PREFIX, generator)
        self.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = phase.rate * rate_factor(self.step)
        with torch.autocast("cpu", torch.bfloat16):
            loss = edm_losses(self.network, batch, sigmas, noise, self.channel_weight).mean()
        if phase.shape_weight > 0:
            loss = loss + phase.shape_weight * self.shape_loss(normals, weight)
        self.streams.clear()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.update(dict(self.network.state_dict()), self.step + 1)
        if not math.isfinite(loss.item()):
            raise SystemExit(f"step {self.step}: loss {loss.item()}")
        return loss.item()

    def shape_loss(self, normals: Tensor, weight: Tensor) -> Tensor:
        """Squared error of the normals that the stream holds after the blocks, in latents, ().

        Args:
            normals: As `initial.start_from_copy` puts them into the stream, shape (b, token, 12).
            weight: Of each token, shape (b, token).
        """
        errors = [(stream[..., self.normals].float() - normals) / PICTURE_GAIN for stream in self.streams]
        told = torch.stack([(error**2).mean(dim=-1) * weight for error in errors])
        return told.mean() / weight.mean()

    def draw(self, pool: Pool, rng: np.random.Generator) -> Batch:
        """Samples of a pool: each scene under two lights, mirrored or not, its colours in any order."""
        samples = []
        for _ in range(pool.batch // 2):
            seed = pool.first + int(rng.integers(pool.count))
            name = f"{seed}"
            if name not in self.scenes:
                self.scenes[name] = store_scene(self.out / "scenes", seed, pool.size)
            lights = [pool_light(int(rng.integers(LIGHTS))) for _ in range(2)]
            mirror, order = bool(rng.random() < 0.5), COLOUR_ORDERS[rng.integers(len(COLOUR_ORDERS))]
            for sample in make_samples(self.scenes[name], lights):
                varied = vary(sample, mirror=mirror, order=order)
                samples.append({**varied, "basecolor": varied["flat"]} if rng.random() < FLAT_SHARE else varied)
        return self.encode(samples)

    def encode(self, samples: list[Sample]) -> Batch:
        """Samples of one size as a batch."""
        autoencoder = self.base.autoencoder
        encoded = [encode_conditions(sample, CONDITIONS, autoencoder) for sample in samples]
        clean = torch.cat([autoencoder.encode(as_video(sample["relit"], "relit", autoencoder)) for sample in samples])
        conditions = {name: torch.cat([one[name] for one in encoded]) for name in encoded[0]}
        masks = torch.stack([sample["mask"].transpose(0, 1) for sample in samples])
        weight = BACKGROUND_WEIGHT + (1 - BACKGROUND_WEIGHT) * interpolate(masks, tuple(clean.shape[2:]), mode="area")
        return Batch(clean, assemble_conditions(conditions, clean), weight)

    def averaged(self) -> Base:
        """The base with averaged weights."""
        made = random_base(NETWORK, 0)
        made.network.load_state_dict(self.average.average)
        return made


def patches_of(latents: Tensor) -> Tensor:
    """Latents, shape (b, c, t, h, w), as the network's tokens have them, shape (b, token, 4 c)."""
    b, c, t, h, w = latents.shape
    patches = latents.reshape(b, c, t, h // 2, 2, w // 2, 2).permute(0, 2, 3, 5, 1, 4, 6)
    return patches.reshape(b, t * (h // 2) * (w // 2), 4 * c)


def phase_of(step: int) -> Phase:
    """The phase that a step belongs to."""
    for phase in PHASES:
        if step < phase.steps:
            return phase
        step -= phase.steps
    return PHASES[-1]


def rate_factor(step: int) -> float:
    """Of the learning rate: up at the start, in the second half of the training down by a cosine."""
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, 2 * step / STEPS - 1))))
    return min(1.0, (step + 1) / WARMUP) * fall


def held_out(out: Path, count: int, size: SceneSize) -> list[Sample]:
    """Scenes and lights that training never sees, flat-lit pictures as base colour: two of three under one lamp."""
    samples = []
    for k in range(count):
        scene = store_scene(out / "scenes", HELD_OUT_SCENE + k, size)
        hdr = pool_light(HELD_OUT_LIGHT + k)[0]
        if k % 3:
            hdr = lamps(np.random.default_rng([HELD_OUT_LIGHT, k]), 1)
        sample = make_samples(scene, [(hdr, dome_lights(hdr, LEDS).intensity)])[0]
        samples.append({**sample, "basecolor": sample["flat"]})
    return samples


def scores(base: Base, out: Path, *, count: int, steps: int = 1, size: SceneSize = SMALL.size) -> list[Tensor]:
    """Print mean masked PSNR, dB, over held-out scenes under one lamp and under any light; gives pictures."""
    config = RelighterConfig(buffers=("basecolor",), noise=NOISE, sampling=SamplingConfig(steps=steps))
    renderer = RelighterRenderer(base.network, base.autoencoder, config, "cpu")
    rows, table = [], []
    for sample in held_out(out, count, size):
        made = renderer.render(sample, seed=0).rgb
        mirrored = {key: sample[key].flip(-1) for key in ("env_ldr", "env_log")}
        other = renderer.render({**sample, **mirrored}, seed=0).rgb
        table.append([masked_psnr(picture, sample) for picture in (made, other, sample["flat"], oracle_ratio(sample))])
        shown = (sample["flat"], sample["env_log"] * 0.5 + 0.5, made, sample["relit"])
        rows.append(torch.cat([picture[0] for picture in shown], dim=2))
    names = ("made", "light mirrored", "flat copied", "oracle colour ratio")
    lamp = np.arange(count) % 3 > 0
    for which, chosen in (("one lamp", lamp), ("any light", ~lamp)):
        means = np.mean(np.array(table)[chosen], axis=0)
        parts = [f"{name} {value:.2f}" for name, value in zip(names, means, strict=True)]
        print(f"  {size.height}x{size.width}, {steps} steps, {which}: {', '.join(parts)} dB", flush=True)
    return rows


def masked_psnr(picture: Tensor, sample: Sample) -> float:
    """PSNR inside the mask, dB."""
    weight = (sample["mask"] > 0.5).float()
    error = ((picture - sample["relit"]) ** 2 * weight).sum() / (3 * weight.sum()).clamp(min=1)
    return float(-10 * torch.log10(error.clamp(min=1e-6)))


def oracle_ratio(sample: Sample) -> Tensor:
    """The flat picture times the one colour that fits the truth best on average: it knows the truth."""
    inside = (sample["mask"] > 0.5).float()
    ratio = (sample["relit"] * inside).sum((0, 2, 3)) / (sample["flat"] * inside).sum((0, 2, 3)).clamp(min=1e-3)
    return (sample["flat"] * ratio[:, None, None]).clamp(0, 1)


def evaluate(training: Pretraining) -> None:
    """Print scores and write evaluation.png."""
    base = training.averaged()
    scores(base, training.out, count=48, size=MIDDLE.size)
    scores(base, training.out, count=12, steps=15, size=MIDDLE.size)
    rows = scores(base, training.out, count=12, size=DEMO.size)
    picture = (torch.cat(rows, dim=1).permute(1, 2, 0) * 255).round().numpy().astype(np.uint8)
    cv2.imwrite(str(training.out / "evaluation.png"), picture[..., ::-1])


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint and the scenes")
    parser.add_argument("--steps", type=int, default=STEPS, help="stop after this step")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--evaluate", action="store_true", help="score the averaged weights")
    parser.add_argument("--export", type=Path, metavar="BASE", help="write the averaged weights to this base folder")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    (arguments.out / "scenes").mkdir(parents=True, exist_ok=True)
    training = Pretraining(arguments.out)
    if arguments.evaluate:
        evaluate(training)
    elif arguments.export:
        note = f"procedural objects and rooms only, {training.step} steps, tools/make_base.py"
        save_base(arguments.export, training.base.shape, training.average.average, NOISE, note=note)
    else:
        training.run(arguments.steps)


if __name__ == "__main__":
    main()

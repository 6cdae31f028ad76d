"""Pre-train the tiny base of the relighter on procedural objects, from nothing; never on people.

    python tools/make_base.py --out FOLDER --minutes 80      start, or go on where it stopped
    python tools/make_base.py --out FOLDER --evaluate        numbers and a picture on scenes never trained on
    python tools/make_base.py --out FOLDER --export BASE     the averaged weights as a base folder

Scenes are rendered once and kept in FOLDER/scenes. Expect two hours on two cores.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor

from litdome.config import build_config, read_toml
from litdome.errors import UsageError
from litdome.lighting import view_directions
from litdome.synth.scenes import render_scene
from litdome.train_plugins.relighter import RelighterTrainer
from litdome.train_plugins.relighter.config import DropoutConfig, RelighterConfig, SamplingConfig
from litdome.train_plugins.relighter.model import AVERAGE_FILE
from litdome.train_plugins.relighter.renderer import RelighterRenderer
from litdome.train_plugins.relighter.weights import random_base, save_base
from litdome.train_plugins.run import RunFolder

CHANNELS = {
    **{"basecolor": 3, "normal": 3, "metallic": 1, "roughness": 1, "depth": 1, "mask": 1},
    **{"flat": 3, "relit": 3, "env_ldr": 3, "env_log": 3},
}
SIGNED = ("normal", "env_ldr", "env_log")  # -1..1, kept as 0..1
HELD_OUT_FIRST_SEED = 1_000_000
VARIANTS = 12  # mirrored or not, times the six orders of the colours
COLOUR_ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))


@dataclass(frozen=True)
class SceneKind:
    """Size and length of a scene's clip."""

    height: int
    width: int
    frames: int


def scene_kind(index: int) -> SceneKind:
    """Of ten scenes one is of the demo's size, one a clip of 2 to 4 pictures, the rest small single pictures."""
    if index % 10 == 0:
        return SceneKind(176, 320, 1)
    return SceneKind(96, 160, 2 + index // 10 % 3 if index % 10 == 1 else 1)


class SceneCache:
    """Rendered scenes as uint8 arrays (t, channel, h, w) on disk and in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self._kept: dict[str, npt.NDArray[np.uint8]] = {}

    def get(self, seed: int, kind: SceneKind) -> npt.NDArray[np.uint8]:
        """The scene of a seed, rendered on first use."""
        name = f"{seed:07d}-{kind.height}x{kind.width}x{kind.frames}.npy"
        if name not in self._kept:
            path = self.folder / name
            if not path.exists():
                partial = path.with_suffix(".partial.npy")
                np.save(partial, _render(seed, kind))
                partial.rename(path)
            self._kept[name] = np.load(path)
        return self._kept[name]


def _render(seed: int, kind: SceneKind) -> npt.NDArray[np.uint8]:
    sample = render_scene(seed, height=kind.height, width=kind.width, frames=kind.frames)
    planes = [getattr(sample, key) * 0.5 + 0.5 if key in SIGNED else getattr(sample, key) for key in CHANNELS]
    return np.ascontiguousarray(
        (np.nan_to_num(np.concatenate(planes, axis=-1)).clip(0, 1) * 255).round().transpose(0, 3, 1, 2), "u1"
    )


@dataclass(frozen=True)
class ProceduralView:
    """Procedural scenes as a dataset; every scene in twelve variants (light transport knows no left and no hue)."""

    cache: SceneCache
    seeds: tuple[int, ...]
    variants: int = VARIANTS
    keys: tuple[str, ...] = (*CHANNELS, "env_direction")

    @property
    def fingerprint(self) -> str:
        """Of the seeds; the scenes follow from them."""
        return hashlib.sha256(repr((self.seeds, self.variants)).encode()).hexdigest()

    def split(self, name: str) -> ProceduralView:
        """There is only one."""
        return self

    def clips(self, length: int, stride: int) -> Sequence[dict[str, Tensor]]:
        """Not here: clips and single pictures are mixed already."""
        raise UsageError("procedural scenes hold clips already", hint="clip_frames = 1")

    def __len__(self) -> int:
        return len(self.seeds) * self.variants

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        variant, place = divmod(index, len(self.seeds))
        seed = self.seeds[place]
        stored = torch.from_numpy(self.cache.get(seed, scene_kind(seed))).float() / 255
        parts = torch.split(stored, list(CHANNELS.values()), dim=1)
        sample = {key: part * 2 - 1 if key in SIGNED else part for key, part in zip(CHANNELS, parts, strict=True)}
        height, width = stored.shape[-2:]
        direction = torch.from_numpy(view_directions(height, width)).permute(2, 0, 1)
        sample["env_direction"] = direction.expand(len(stored), -1, -1, -1)
        return _vary(sample, mirror=variant % 2 == 1, order=COLOUR_ORDERS[variant // 2])


def _vary(sample: dict[str, Tensor], *, mirror: bool, order: tuple[int, int, int]) -> dict[str, Tensor]:
    varied = dict(sample)
    for key in ("basecolor", "flat", "relit", "env_ldr", "env_log"):
        varied[key] = varied[key][:, list(order)]
    if mirror:
        varied = {key: value if key == "env_direction" else value.flip(-1) for key, value in varied.items()}
        varied["normal"] = varied["normal"] * torch.tensor([-1.0, 1.0, 1.0])[:, None, None]
    return varied


def base_config(minutes: float, start: str = "random") -> RelighterConfig:
    """Settings of the tiny base's training, from nothing or from an earlier base's folder."""
    return RelighterConfig(
        base=start,
        mode="full",
        buffers=("basecolor", "normal", "metallic", "roughness", "depth"),
        background_weight=0.1,
        steps=60000,
        minutes=minutes,
        batch=4,
        optimizer="muon",
        learning_rate=1e-3,
        warmup_steps=100,
        weight_decay=0.02,
        picture_weighting=1.5,
        ema_decay=0.999,
        checkpoint_every=500,
        preview_every=500,
        precision="bfloat16",
        latent_cache_mb=0,
        dropout=DropoutConfig(each=0.05, geometry=0.7),
    )


def pretrain(out: Path, scenes: int, config: RelighterConfig) -> None:
    """Train, or go on with, the run in ``out/run``."""
    view = ProceduralView(SceneCache(out / "scenes"), tuple(range(scenes)))
    folder = out / "run"
    with (
        RunFolder.open(folder, progress=_report)
        if folder.exists()
        else RunFolder.create(
            folder,
            plugin="relighter",
            config=config,
            dataset="procedural",
            dataset_fingerprint=view.fingerprint,
            progress=_report,
        )
    ) as run:
        RelighterTrainer().fit(view, run.config(RelighterConfig), run)


def _report(what: str, done: int, total: int) -> None:
    if done % 50 == 0:
        print(f"{what}: step {done}", flush=True)


def export(out: Path, base: Path) -> None:
    """Write the averaged weights of the latest checkpoint as a base folder."""
    run = RunFolder.open(out / "run")
    config = build_config(RelighterConfig, "relighter", {"relighter": read_toml(run.path / "config.toml")})
    checkpoint = run.latest_checkpoint()
    if checkpoint is None:
        raise SystemExit(f"{run.path}: no checkpoint yet")
    state = load_file(checkpoint / AVERAGE_FILE)
    note = f"procedural objects only, {checkpoint.name}, tools/make_base.py"
    save_base(base, random_base(config.network, 0).shape, state, config.noise, note=note)


def evaluate(out: Path, run_folder: Path, count: int, steps: int) -> None:
    """Print masked PSNR on scenes never trained on and write out/evaluation.png."""
    view = ProceduralView(SceneCache(out / "scenes"), tuple(HELD_OUT_FIRST_SEED + 3 + 10 * i for i in range(count)), 1)
    renderer = renderer_of(run_folder, steps)
    rows, scores = [], []
    for index in range(count):
        sample = view[index]
        made = renderer.render(sample, seed=0).rgb
        scores.append([masked_psnr(picture, sample) for picture in (made, *_floors(sample))])
        if index < 12:
            rows.append(torch.cat([sample["basecolor"][0], sample["flat"][0], made[0], sample["relit"][0]], dim=2))
    names = ("made", "albedo copied", "flat copied", "oracle colour ratio")
    for name, value in zip(names, np.mean(scores, axis=0), strict=True):
        print(f"{name}: {value:.2f} dB")
    picture = (torch.cat(rows, dim=1).permute(1, 2, 0) * 255).round().numpy().astype(np.uint8)
    cv2.imwrite(str(out / "evaluation.png"), picture[..., ::-1])


def renderer_of(run_folder: Path, steps: int) -> RelighterRenderer:
    """The run's averaged weights with base colour and light only, as the relighter is used."""
    run = RunFolder.open(run_folder)
    config = build_config(RelighterConfig, "relighter", {"relighter": read_toml(run.path / "config.toml")})
    config = config.model_copy(update={"buffers": ("basecolor",), "sampling": SamplingConfig(steps=steps)})
    base = random_base(config.network, 0)
    checkpoint = run.latest_checkpoint()
    if checkpoint is None:
        raise SystemExit(f"{run.path}: no checkpoint yet")
    base.network.load_state_dict(load_file(checkpoint / AVERAGE_FILE))
    print(checkpoint.name)
    return RelighterRenderer(base.network, base.autoencoder, config, "cpu")


def masked_psnr(picture: Tensor, sample: dict[str, Tensor]) -> float:
    """PSNR inside the mask, dB."""
    weight = (sample["mask"] > 0.5).float()
    error = ((picture - sample["relit"]) ** 2 * weight).sum() / (3 * weight.sum()).clamp(min=1)
    return float(-10 * torch.log10(error.clamp(min=1e-6)))


def _floors(sample: dict[str, Tensor]) -> list[Tensor]:
    inside = (sample["mask"] > 0.5).float()
    ratio = (sample["relit"] * inside).sum((0, 2, 3)) / (sample["basecolor"] * inside).sum((0, 2, 3)).clamp(min=1e-3)
    return [sample["basecolor"], sample["flat"], (sample["basecolor"] * ratio[:, None, None]).clamp(0, 1)]


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run and its scenes")
    parser.add_argument("--minutes", type=float, default=80.0, help="how long to train")
    parser.add_argument("--start", default="random", help="an earlier base's folder to go on from")
    parser.add_argument("--scenes", type=int, default=1500, help="number of training scenes")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--evaluate", action="store_true", help="score the latest checkpoint")
    parser.add_argument("--steps", type=int, default=2, help="sampling steps for --evaluate")
    parser.add_argument("--export", type=Path, metavar="BASE", help="write the averaged weights to this base folder")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.evaluate:
        evaluate(arguments.out, arguments.out / "run", 24, arguments.steps)
    elif arguments.export:
        export(arguments.out, arguments.export)
    else:
        pretrain(arguments.out, arguments.scenes, base_config(arguments.minutes, arguments.start))


if __name__ == "__main__":
    main()

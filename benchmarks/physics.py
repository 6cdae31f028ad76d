"""The laws of light: how far base, LoRA and LoRA with a physics loss keep them, and whether pictures follow a light.

    .venv/bin/python benchmarks/physics.py [--steps 300] [--seeds 1] [--weights 0.5 1.5] [--every 2] [--out DIR]
    .venv/bin/python benchmarks/physics.py --steps 20 --seeds 1        the small form

A simulated person stands still before cameras, each view traced once and lit by any map, so that pairs are perfectly
aligned and the truth under made lights is known. Trained on some views and lights, measured on others: PSNR, and the
errors of `litdome evaluate --physics`, mean and spread over samples; the truth itself beside them. Then a light that
turns by a fraction of a texel from picture to picture. Prints the machine and its load.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from litdome.color import srgb_from_linear
from litdome.datasets.metrics import Relight, gain_error, masked_psnr, one_light_error_deg, superposition_error
from litdome.geometry import Camera, look_at
from litdome.lighting import project_hdri, rotate_hdri, tone_map_ldr, tone_map_log, view_directions
from litdome.synth.body import make_body
from litdome.synth.hdris import HDRI_KINDS, make_hdri, mean_exposure
from litdome.synth.render import Scene, Surface, cast_surface
from litdome.synth.shading import Transport, dome_lights, flat_lights, light_transport
from litdome.train_plugins.clips import array_clip
from litdome.train_plugins.evaluate import check_physics
from litdome.train_plugins.protocol import Renderer
from litdome.train_plugins.relighter import RelighterTrainer
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighting import relight_clip, relight_one
from litdome.train_plugins.run import RunFolder

HEIGHT, WIDTH, LEDS = 64, 96, 512
TRAIN_AT, TEST_AT = (0.0, 0.6, -0.6, 1.3, -1.3, 2.6), (0.3, -0.9)  # azimuths of cameras, radians
TRAIN_S, TEST_S = (0.0, 1.5), (0.8,)  # moments of the person
TRAIN_LIGHTS, TEST_LIGHTS = 10, 4
TOWARDS = ((0.6, -0.4, -0.7), (-0.6, -0.4, -0.7), (0.0, -0.7, -0.7))  # single lights, in the camera's axes
LAWS = ("superposition_error", "gain_error", "turn_error", "superposition_hdri", "gain_half", "one_light_deg")
FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Stand:
    """A camera's view of the person at one moment, to be lit by any map."""

    camera: Camera
    surface: Surface
    transport: Transport

    def picture(self, hdr: FloatArray) -> FloatArray:
        """Display-referred, before black, shape (y, x, 3)."""
        shown = self.transport.relit(dome_lights(hdr, LEDS).intensity) * self.surface.coverage[:, None]
        return np.asarray(srgb_from_linear(self.surface.picture(np.clip(shown, 0, 1))), np.float32)

    @cached_property
    def flat(self) -> FloatArray:
        """Under uniform light of radiance 1."""
        return self.picture(np.ones((64, 128, 3), np.float32))

    @cached_property
    def normals(self) -> FloatArray:
        """World, shape (y, x, 3)."""
        return self.surface.picture(self.surface.normal)

    def sample(self, hdr: FloatArray) -> dict[str, Tensor]:
        """Under the keys of a dataset's samples."""
        view = project_hdri(hdr, self.camera.world_from_camera, HEIGHT, WIDTH)
        pictures = {
            "flat": self.flat,
            "relit": self.picture(hdr),
            "env_ldr": tone_map_ldr(view) * 2 - 1,
            "env_log": tone_map_log(view) * 2 - 1,
            "env_direction": view_directions(HEIGHT, WIDTH),
            "mask": self.surface.mask[..., None],
            "weight": np.ones((HEIGHT, WIDTH, 1)),
        }
        found = {
            key: torch.from_numpy(np.ascontiguousarray(value.transpose(2, 0, 1)[None], np.float32))
            for key, value in pictures.items()
        }
        return found | {"world_from_camera": torch.from_numpy(self.camera.world_from_camera[None].astype(np.float32))}


class View:
    """Stands under lights as a dataset for training."""

    fingerprint = "physics"

    def __init__(self, stands: Sequence[Stand], lights: Sequence[FloatArray]) -> None:
        self._samples = [stand.sample(hdr) for stand in stands for hdr in lights]
        self.keys = tuple(self._samples[0])

    def split(self, name: str) -> View:
        """There is only one."""
        return self

    def clips(self, length: int, stride: int) -> Sequence[dict[str, Tensor]]:
        """None: nothing moves."""
        return []

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self._samples[index]


def stands(azimuths: Sequence[float], moments_s: Sequence[float], subject: str = "s1") -> list[Stand]:
    """Views of a simulated person."""
    body, lights, found = make_body(subject), flat_lights(LEDS), []
    focal = HEIGHT / 2 * 3.0 / 0.95
    intrinsics = np.array([[focal, 0, (WIDTH - 1) / 2], [0, focal, (HEIGHT - 1) / 2], [0, 0, 1]])
    for moment in moments_s:
        scene = Scene((body.mesh(moment),))
        for azimuth in azimuths:
            centre = np.array([3 * np.sin(azimuth), 1.1, 3 * np.cos(azimuth)])
            pose = look_at(centre, np.array([0.0, 0.9, 0.0]))
            camera = Camera("view", WIDTH, HEIGHT, intrinsics, np.zeros(8), pose)
            surface = cast_surface(scene, camera)
            found.append(Stand(camera, surface, light_transport(scene, surface, lights)))
    return found


def light(seed: int) -> FloatArray:
    """An HDRI as bright as flat light, more or less."""
    rng = np.random.default_rng([seed, 5])
    hdr = make_hdri(str(rng.choice(list(HDRI_KINDS))), int(rng.integers(1 << 30)))
    return np.asarray(hdr * np.float32(rng.uniform(0.4, 1.0) / mean_exposure(hdr)), np.float32)


class Truth:
    """The simulator as a renderer of one stand: what every law says of the truth."""

    def __init__(self, stand: Stand, mirrored: bool = False) -> None:
        self.stand, self.mirrored = stand, mirrored

    def __call__(self, hdr: FloatArray, /, *, turn_deg: float = 0.0) -> FloatArray:
        turned = np.asarray(rotate_hdri(hdr, -turn_deg))
        return self.stand.picture(np.ascontiguousarray(turned[:, ::-1]) if self.mirrored else turned)


def laws(stand: Stand, relight: Relight, lights: Sequence[FloatArray], made: Mapping[str, float]) -> dict[str, float]:
    """Every error of one stand; ``made`` are those of `check_physics`."""
    mask = np.asarray(stand.surface.mask, np.float64)
    axes = stand.camera.world_from_camera[:3, :3]
    angles = [one_light_error_deg(relight, axes @ np.array(t), stand.flat, stand.normals, mask) for t in TOWARDS]
    first, second = lights[:2]
    return {
        **made,
        "superposition_hdri": superposition_error(relight, first / 2, second / 2, mask),
        "gain_half": gain_error(relight, first, 0.5, mask),
        "one_light_deg": float(np.mean(angles)),
    }


def measure(renderer: Renderer, tested: Sequence[Stand], lights: Sequence[FloatArray]) -> dict[str, list[float]]:
    """PSNR of every stand and light, and the errors of every stand."""
    rows: dict[str, list[float]] = {"psnr": []}
    for stand in tested:
        for hdr in lights:
            sample = stand.sample(hdr)
            shown = renderer.render({key: sample[key] for key in renderer.reads}, seed=0).rgb[0].permute(1, 2, 0)
            rows["psnr"].append(masked_psnr(shown.numpy(), stand.picture(hdr), np.asarray(stand.surface.mask)))
        clip = array_clip(stand.flat.transpose(2, 0, 1)[None], stand.camera.world_from_camera)
        made = check_physics(renderer, stand.sample(lights[0]), 0)
        for key, value in laws(stand, relight_one(renderer, clip, 0), lights, made).items():
            rows.setdefault(key, []).append(value)
    return rows


def train(folder: Path, view: View, steps: int, seed: int, physics: Mapping[str, float]) -> tuple[Renderer, float]:
    """A LoRA of the tiny base, and the CPU seconds that it took."""
    config = RelighterConfig.model_validate(
        {"base": "tiny", "steps": steps, "seed": seed, "physics": physics, "checkpoint_every": steps}
        | {"background_weight": 0.1, "preview_every": steps + 1, "tensorboard": False, "ema_decay": 0.98}
    )
    about = {"plugin": "relighter", "dataset": "physics", "dataset_fingerprint": view.fingerprint}
    run, began = RunFolder.create(folder, config=config, **about), time.process_time()
    with run:
        RelighterTrainer().fit(view, config, run)
    return RelighterTrainer().load(run, "cpu"), time.process_time() - began


def line(name: str, found: Mapping[str, Sequence[float]], note: str = "") -> str:
    """Mean and spread of every measure."""
    keys = ("psnr", *LAWS)
    cells = [f"{np.nanmean(found[k]):.3g} ± {np.nanstd(found[k]):.2g}" if k in found else "" for k in keys]
    return " | ".join([f"| {name}", *cells, note]) + " |"


def turning(renderer: Renderer, stand: Stand, hdr: FloatArray, texels: float, pictures: int = 26) -> dict[str, float]:
    """Changes from picture to picture while a light turns, mean over the person, 8-bit codes."""
    step_deg = texels * 360 / hdr.shape[1]
    still = np.repeat(stand.flat.transpose(2, 0, 1)[None], pictures, axis=0)
    clip = array_clip(still, stand.camera.world_from_camera)
    shown = relight_clip(renderer, clip, hdr, rotate_deg=(0, step_deg * (pictures - 1)))
    mask = np.asarray(stand.surface.mask) > 0.5
    change = np.abs(np.diff(shown, axis=0)).mean(axis=1)[:, mask].mean(axis=1) * 255
    true = [stand.picture(np.asarray(rotate_hdri(hdr, step_deg * n))) for n in range(pictures)]
    wanted = np.abs(np.diff(np.stack(true), axis=0)).mean(axis=-1)[:, mask].mean(axis=1) * 255
    return {"mean": change.mean(), "largest": change.max(), "true": wanted.mean(), "true largest": wanted.max()}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--weights", type=float, nargs=2, default=[0.5, 1.5], help="of superposition and gain")
    parser.add_argument("--every", type=int, default=2, help="steps from one with the laws to the next")
    parser.add_argument("--out", type=Path, help="folder for pictures of one stand under a single light, by method")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print(f"{platform.processor() or platform.machine()}, load {os.getloadavg()[0]:.1f}")
    tested = stands(TEST_AT, TEST_S)
    lights = [light(1000 + n) for n in range(TEST_LIGHTS)]
    view = View(stands(TRAIN_AT, TRAIN_S), [light(n) for n in range(TRAIN_LIGHTS)])
    print(f"{len(view)} samples of {HEIGHT}x{WIDTH}; measured on {len(tested)} other views, {len(lights)} other lights")
    print("| method | PSNR dB | " + " | ".join(LAWS) + " | CPU s |\n|" + "---|" * (len(LAWS) + 3))
    for name, mirrored in (("truth", False), ("truth, light mirrored", True)):
        rows = [laws(s, Truth(s, mirrored), lights, {}) for s in tested]
        print(line(name, {key: [row[key] for row in rows] for key in rows[0]}), flush=True)
    asked = {"superposition": given.weights[0], "gain": given.weights[1], "every": given.every}
    arms: dict[str, Mapping[str, float]] = {"LoRA": {}, "LoRA, physics": asked}
    methods: dict[str, Renderer] = {"base": base()}
    print(line("base", measure(methods["base"], tested, lights)), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, physics in arms.items():
            found: dict[str, list[float]] = {}
            spent = 0.0
            for seed in range(given.seeds):
                methods[name], seconds = train(Path(folder) / f"{name}-{seed}", view, given.steps, seed, physics)
                spent += seconds / given.seeds
                for key, values in measure(methods[name], tested, lights).items():
                    found.setdefault(key, []).extend(values)
            print(line(name, found, f"{spent:.0f}"), flush=True)
    print("\nturning light, texels a picture | method | change, mean | largest | true, mean | largest")
    for texels in (0.25, 1.0):
        for name, renderer in methods.items():
            change = turning(renderer, tested[0], lights[0], texels)
            print(" | ".join([f"{texels}", name, *(f"{value:.3f}" for value in change.values())]), flush=True)
    if given.out is not None:
        draw(given.out, tested[0], methods)


def base() -> Renderer:
    """The tiny base as it is."""
    from litdome.train_plugins.relighter.renderer import RelighterRenderer
    from litdome.train_plugins.relighter.weights import open_base

    config = RelighterConfig()
    opened = open_base("tiny", config.network, 0)
    return RelighterRenderer(opened.network, opened.autoencoder, config, "cpu")


def draw(folder: Path, stand: Stand, methods: Mapping[str, Renderer]) -> None:
    """Rows: flat and the truth, then each method, under lights from either side and both together."""
    folder.mkdir(parents=True, exist_ok=True)
    from litdome.datasets.metrics import one_light

    axes = stand.camera.world_from_camera[:3, :3]
    left, right = (one_light(axes @ np.array(t), irradiance=0.4, radius_deg=40.0) for t in TOWARDS[:2])
    clip = array_clip(stand.flat.transpose(2, 0, 1)[None], stand.camera.world_from_camera)
    shown: list[Callable[..., FloatArray]] = [Truth(stand), *(relight_one(each, clip, 0) for each in methods.values())]
    rows = [
        np.concatenate([stand.flat, *(relight(hdr) for hdr in (left, right, left + right))], 1) for relight in shown
    ]
    codes = (np.clip(np.concatenate(rows), 0, 1) * 255 + 0.5).astype(np.uint8)
    large = cv2.resize(codes, None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(folder / "two-lights.png"), cv2.cvtColor(large, cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()

"""What the tiny base is pre-trained on: procedural scenes whose shadows are traced once and lit as often as wanted.

A picture is linear in its light. So a scene is kept as what each of 128 lights around it shows of every pixel, and a
new light costs one product of matrices. Objects and rooms only, never people.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from litdome.color import srgb_from_linear
from litdome.geometry import OPENCV_FROM_OPENGL
from litdome.lighting import (
    latlong_directions,
    project_hdri,
    tone_map_ldr,
    tone_map_log,
    view_directions,
)
from litdome.synth.hdris import HDRI_KINDS, make_hdri, mean_exposure
from litdome.synth.lights import DirectionalLights
from litdome.synth.render import cast_surface
from litdome.synth.scenes import build_scene
from litdome.synth.shading import dome_lights, light_transport

Float32Array = npt.NDArray[np.float32]
Sample = dict[str, Tensor]  # keys as those of a dataset
LEDS = 128
MAP_HEIGHT = 64  # of the lights' maps, px
HDRI_SHARE, TWO_LAMPS_SHARE = 0.35, 0.25  # of the lights; the rest is one lamp
COLOUR_ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
SCENE_PARTS = ("albedo", "coverage", "normal", "metallic", "roughness", "depth", "tinted", "white")
WALL_LEVELS = (0.0, 0.05, 0.2, 0.35)  # of what is behind a scene, times the light's mean radiance


@dataclass(frozen=True)
class SceneSize:
    """Size and length of a scene's clip."""

    height: int
    width: int
    frames: int = 1


@dataclass(frozen=True, eq=False)
class StoredScene:
    """A clip of one scene before any light; what the camera sees of it in all frames, one after the other.

    Attributes:
        size: Of its pictures.
        pixels: Where in (t, h, w) the values below lie, shape (n,).
        parts: `SCENE_PARTS`, shape (n, ...), float16.
        poses: World from camera, shape (t, 4, 4).
        wall: Level of what is behind, times the light's mean radiance.
    """

    size: SceneSize
    pixels: Tensor
    parts: dict[str, Tensor]
    poses: npt.NDArray[np.float64]
    wall: float

    def picture(self, values: Tensor, fill: float = 0.0) -> Tensor:
        """Values of pixels, shape (n, c), as pictures, shape (t, c, h, w), float32."""
        size = self.size
        out = torch.full((size.frames * size.height * size.width, values.shape[1]), fill)
        out[self.pixels] = values.float()
        return out.reshape(size.frames, size.height, size.width, -1).permute(0, 3, 1, 2)

    def lit(self, intensities: Tensor) -> Tensor:
        """Display-referred pictures, shape (k, t, 3, h, w), of k lights, shape (k, led, 3)."""
        parts, count = self.parts, len(intensities)
        led = intensities.permute(1, 0, 2).reshape(LEDS, -1)
        albedo, coverage = parts["albedo"].float(), parts["coverage"].float()[:, None]
        shown = albedo.repeat(1, count) * (parts["tinted"].float() @ led) + parts["white"].float() @ led
        over = self.picture(shown * coverage)
        behind = (intensities.sum(dim=1) * (self.wall / (4 * np.pi))).reshape(-1)[:, None, None]
        linear = over + behind * (1 - self.picture(coverage))
        encoded = torch.from_numpy(srgb_from_linear(linear.clamp(0, 1).numpy()))
        return encoded.reshape(len(encoded), count, 3, *encoded.shape[2:]).transpose(0, 1)


def store_scene(folder: Path, seed: int, size: SceneSize) -> StoredScene:
    """The scene of a seed, traced on first use and kept in ``folder``."""
    path = folder / f"{seed:07d}-{size.height}x{size.width}x{size.frames}.npz"
    if not path.exists():
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, **_trace(seed, size))
        partial.rename(path)
    stored = np.load(path)
    parts = {name: torch.from_numpy(stored[name]) for name in SCENE_PARTS}
    wall = WALL_LEVELS[seed % len(WALL_LEVELS)]
    return StoredScene(size, torch.from_numpy(stored["pixels"]), parts, stored["poses"], wall)


def _trace(seed: int, size: SceneSize) -> dict[str, npt.NDArray[np.generic]]:
    built = build_scene(seed, height=size.height, width=size.width, frames=size.frames)
    dome, frames = dome_lights(np.ones((MAP_HEIGHT, 2 * MAP_HEIGHT, 3), np.float32), LEDS), []
    for k, camera in enumerate(built.cameras):
        scene = built.scene(k)
        surface = cast_surface(scene, camera)
        transport = light_transport(scene, surface, dome)
        rotation = camera.world_from_camera[:3, :3] @ OPENCV_FROM_OPENGL
        frames.append(
            {
                "pixels": surface.pixels + k * size.height * size.width,
                "albedo": surface.albedo.astype(np.float16),
                "coverage": surface.coverage.astype(np.float16),
                "normal": (surface.normal @ rotation).astype(np.float16),
                "metallic": surface.metallic.astype(np.float16),
                "roughness": surface.roughness.astype(np.float16),
                "depth": surface.depth,
                "tinted": transport.tinted,
                "white": transport.white,
            }
        )
    joined = {name: np.concatenate([frame[name] for frame in frames]) for name in frames[0]}
    depth = joined["depth"]
    joined["depth"] = ((depth - depth.min()) / max(float(np.ptp(depth)), 1e-6)).astype(np.float16)
    return {**joined, "poses": np.stack([camera.world_from_camera for camera in built.cameras])}


@lru_cache(maxsize=4096)
def pool_light(seed: int) -> tuple[Float32Array, Float32Array]:
    """A light of the pre-training: its map, radiance, shape (v, u, 3), and each LED's intensity, shape (led, 3)."""
    rng = np.random.default_rng([seed, 21])
    chosen = rng.random()
    if chosen < HDRI_SHARE:
        hdr = make_hdri(str(rng.choice(list(HDRI_KINDS))), int(rng.integers(1 << 30)), MAP_HEIGHT)
        hdr *= np.float32(np.exp(rng.uniform(-0.5, 0.5)))
    else:
        hdr = lamps(rng, 2 if chosen < HDRI_SHARE + TWO_LAMPS_SHARE else 1)
    return hdr, dome_lights(hdr, LEDS).intensity


def lamps(rng: np.random.Generator, count: int) -> Float32Array:
    """Round soft lamps of random places, sizes and colours in a dim surrounding, shape (v, u, 3)."""
    directions = latlong_directions(MAP_HEIGHT, 2 * MAP_HEIGHT).astype(np.float64)
    light = np.full_like(directions, rng.uniform(0.0, 0.15)) * _colour(rng, 0.3)
    for _ in range(count):
        toward = rng.normal(size=3) + np.array([0.0, 0.4, 0.0])
        angle = np.arccos(np.clip(directions @ (toward / np.linalg.norm(toward)), -1, 1))
        radius = rng.uniform(0.12, 0.5)
        lamp = np.clip((radius - angle) / (0.3 * radius) + 0.5, 0, 1)[..., None]
        light = light + lamp * _colour(rng, 0.6) * rng.uniform(0.5, 1.5) / radius**2
    return (light * (rng.uniform(0.6, 1.2) * np.exp(rng.uniform(-0.5, 0.5)) / mean_exposure(light))).astype(np.float32)


def _colour(rng: np.random.Generator, strength: float) -> npt.NDArray[np.float64]:
    colour = 1 - strength * rng.random(3) * rng.random()
    return np.asarray(colour / colour.mean())


def environment(scene: StoredScene, hdr: Float32Array) -> Sample:
    """A light in the cameras' frames: env_ldr, env_log, env_direction, shape (t, 3, h, w), -1..1."""
    size = scene.size
    views = [project_hdri(hdr, pose, size.height, size.width) for pose in scene.poses]
    maps = {
        "env_ldr": np.stack([tone_map_ldr(view) * 2 - 1 for view in views]),
        "env_log": np.stack([tone_map_log(view) * 2 - 1 for view in views]),
        "env_direction": np.repeat(view_directions(size.height, size.width)[None], size.frames, axis=0),
    }
    return {name: torch.from_numpy(np.ascontiguousarray(value.transpose(0, 3, 1, 2))) for name, value in maps.items()}


def flat_light() -> Tensor:
    """Radiance 1 from everywhere, shape (1, led, 3)."""
    return torch.from_numpy(_white().intensity)[None]


@lru_cache(maxsize=1)
def _white() -> DirectionalLights:
    return dome_lights(np.ones((MAP_HEIGHT, 2 * MAP_HEIGHT, 3), np.float32), LEDS)


def make_samples(scene: StoredScene, lights: list[tuple[Float32Array, Float32Array]]) -> list[Sample]:
    """The scene flat and under each light, with its G-buffers and environment maps; keys as a dataset's samples."""
    intensities = torch.from_numpy(np.stack([intensity for _, intensity in lights]))
    flat, *relit = scene.lit(torch.cat([flat_light(), intensities]))
    coverage = scene.parts["coverage"].float()[:, None]
    albedo = torch.from_numpy(srgb_from_linear(scene.parts["albedo"].float().numpy()))
    shared = {
        "flat": flat,
        "basecolor": scene.picture(albedo * coverage),
        "normal": scene.picture(scene.parts["normal"].float() * coverage),
        "metallic": scene.picture(scene.parts["metallic"].float()[:, None] * coverage),
        "roughness": scene.picture(scene.parts["roughness"].float()[:, None] * coverage),
        "depth": scene.picture(scene.parts["depth"].float()[:, None], fill=1.0),
        "mask": scene.picture(coverage),
    }
    return [
        {**shared, "relit": picture, **environment(scene, hdr)} for picture, (hdr, _) in zip(relit, lights, strict=True)
    ]


def vary(sample: Sample, *, mirror: bool, order: tuple[int, int, int]) -> Sample:
    """The sample in a mirror and with its colours swapped: light transport knows no left and no hue."""
    varied = dict(sample)
    for key in ("basecolor", "flat", "relit", "env_ldr", "env_log"):
        varied[key] = varied[key][:, list(order)]
    if mirror:
        varied = {key: value if key == "env_direction" else value.flip(-1) for key, value in varied.items()}
        varied["normal"] = varied["normal"] * torch.tensor([-1.0, 1.0, 1.0])[:, None, None]
    return varied

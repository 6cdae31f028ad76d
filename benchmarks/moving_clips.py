"""Clips of moving objects before one still camera, lit flat and by a light that may turn, with exact optical flow.

Procedural objects, as the base of the relighter learns from, but for as many frames as asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from litdome.color import srgb_from_linear
from litdome.geometry import Camera, look_at
from litdome.lighting import project_hdri, tone_map_ldr, tone_map_log, view_directions
from litdome.synth.ground_truth import surface_flow
from litdome.synth.hdris import HDRI_KINDS, make_hdri, mean_exposure
from litdome.synth.lights import DirectionalLights
from litdome.synth.render import Scene, Surface, cast_surface
from litdome.synth.shading import dome_lights, flat_lights, shade
from litdome.synth.shapes import Mover, random_object

LIGHTS = 64
PERIOD = 54
Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class MovingClip:
    """One clip.

    Attributes:
        flat, relit: Shape (t, 3, h, w), 0..1.
        mask: Shape (t, h, w), 0..1.
        flow: Where each pixel of t was at t-1, relative to it, shape (t, h, w, 2), px; frame 0 is zeros.
        seen: Where that is known and was not hidden, shape (t, h, w), 0 or 1; frame 0 is zeros.
        env_ldr, env_log, env_direction: Shape (t, 3, h, w), -1..1.
    """

    flat: Array
    relit: Array
    mask: Array
    flow: Array
    seen: Array
    env_ldr: Array
    env_log: Array
    env_direction: Array

    def sample(self, start: int = 0, stop: int | None = None) -> dict[str, Tensor]:
        """The clip, or frames of it, under the keys of a dataset's samples."""
        at = slice(start, stop)
        keys = ("flat", "relit", "env_ldr", "env_log", "env_direction")
        found = {key: torch.from_numpy(np.ascontiguousarray(getattr(self, key)[at], np.float32)) for key in keys}
        return {**found, "mask": torch.from_numpy(self.mask[at][:, None])}


def make_clip(seed: int, frames: int, *, height: int = 64, width: int = 96, turn_deg: float = 0.0) -> MovingClip:
    """Objects moving and turning under one HDRI, back after `PERIOD` frames; ``turn_deg``: of the light, a frame."""
    rng = np.random.default_rng([seed, 11])
    movers = [_mover(rng) for _ in range(rng.integers(5, 9))]
    hdr = make_hdri(str(rng.choice(list(HDRI_KINDS))), int(rng.integers(1 << 30)))
    hdr *= np.float32(rng.uniform(0.5, 1.2) / mean_exposure(hdr))
    camera = _camera(height, width, rng)
    flat_light = flat_lights(LIGHTS)
    still = dome_lights(hdr, LIGHTS, follow=True)
    shown: list[tuple[Array, ...]] = []
    before: Scene | None = None
    for frame in range(frames):
        scene = Scene(tuple(mesh for mover in movers for mesh in mover.at(_swing(frame))))
        surface = cast_surface(scene, camera)
        light = still if turn_deg == 0 else dome_lights(hdr, LIGHTS, rotation_deg=turn_deg * frame, follow=True)
        pictures = [_picture(scene, _twice(camera), one) for one in (flat_light, light)]
        view = project_hdri(hdr, camera.world_from_camera, height, width, rotation_deg=turn_deg * frame)
        maps = [np.asarray(tone(view) * 2 - 1, np.float32) for tone in (tone_map_ldr, tone_map_log)]
        shown.append((*pictures, surface.mask, *_flow(surface, camera, before), *maps))
        before = scene
    flat, relit, mask, flow, seen, ldr, log = (np.stack(parts) for parts in zip(*shown, strict=True))
    direction = np.repeat(view_directions(height, width)[None], frames, axis=0)
    first = [np.asarray(each.transpose(0, 3, 1, 2), np.float32) for each in (flat, relit, ldr, log, direction)]
    return MovingClip(first[0], first[1], mask, flow, seen, first[2], first[3], first[4])


def _mover(rng: np.random.Generator) -> Mover:
    mover = random_object(rng, rng.uniform(-1, 1, 3) * (0.8, 0.4, 0.4))
    return replace(mover, velocity=mover.velocity * 3)


def _swing(frame: int) -> float:
    """Objects swing to and fro and are back after `PERIOD` frames; at most 1.5 times as fast as in single scenes."""
    return 1.5 * PERIOD / (2 * np.pi) * float(np.sin(2 * np.pi * frame / PERIOD))


def _camera(height: int, width: int, rng: np.random.Generator) -> Camera:
    azimuth, elevation = rng.uniform(-np.pi, np.pi), rng.uniform(-0.1, 0.4)
    centre = 2.4 * np.array(
        [np.cos(elevation) * np.sin(azimuth), np.sin(elevation), np.cos(elevation) * np.cos(azimuth)]
    )
    focal = height / 2 / np.tan(0.35)
    intrinsics = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    return Camera("clip", width, height, intrinsics, np.zeros(8), look_at(centre, np.zeros(3)))


def _twice(camera: Camera) -> Camera:
    """The same view in twice as many pixels each way: paint finer than a pixel would flicker."""
    intrinsics = np.array([[2.0, 0, 0.5], [0, 2, 0.5], [0, 0, 1]]) @ camera.intrinsics
    return replace(camera, width=2 * camera.width, height=2 * camera.height, intrinsics=intrinsics)


def _picture(scene: Scene, camera: Camera, light: DirectionalLights) -> Array:
    surface = cast_surface(scene, camera, antialias=False)
    linear = surface.picture(np.clip(shade(scene, surface, light), 0, 1))
    small = linear.reshape(camera.height // 2, 2, camera.width // 2, 2, 3).mean(axis=(1, 3))
    return np.asarray(srgb_from_linear(small), np.float32)


def _flow(surface: Surface, camera: Camera, before: Scene | None) -> tuple[Array, Array]:
    shape = (camera.height, camera.width)
    if before is None:
        return np.zeros((*shape, 2), np.float32), np.zeros(shape, np.float32)
    flow, visible = surface_flow(surface, camera, before)
    whole = visible & (surface.coverage > 0.99)
    return surface.picture(flow), surface.picture(whole.astype(np.float32))


class ClipView:
    """Clips as a dataset for training; rendered once and kept in ``folder``."""

    keys = ("flat", "relit", "mask", "env_ldr", "env_log", "env_direction")

    def __init__(self, folder: Path, count: int, frames: int, *, turning: float = 0.5) -> None:
        self._files = [folder / f"{seed:04d}.pt" for seed in range(count)]
        folder.mkdir(parents=True, exist_ok=True)
        for seed, file in enumerate(self._files):
            if not file.exists():
                rng = np.random.default_rng(seed)
                turn = float(rng.uniform(-6, 6)) if rng.random() < turning else 0.0
                torch.save(make_clip(seed, frames, turn_deg=turn).sample(), file)
        self._clips = [torch.load(file, weights_only=True) for file in self._files]
        self.frames = frames

    fingerprint = "moving-clips"

    def split(self, name: str) -> ClipView:
        """There is only one."""
        return self

    def clips(self, length: int, stride: int) -> Sequence[dict[str, Tensor]]:
        """Windows of the clips."""
        return list(_windows(self._clips, length, stride))

    def __len__(self) -> int:
        return len(self._clips) * self.frames

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        clip, frame = divmod(index, self.frames)
        return {key: value[frame : frame + 1] for key, value in self._clips[clip].items()}


def _windows(clips: Sequence[dict[str, Tensor]], length: int, stride: int) -> Iterator[dict[str, Tensor]]:
    for clip in clips:
        for start in range(0, len(clip["flat"]) - length + 1, stride):
            yield {key: value[start : start + length] for key, value in clip.items()}

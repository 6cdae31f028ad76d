"""Procedural scenes of objects and rooms, lit flat and by an HDRI, with exact G-buffers: what the relighter's base
learns from. Never people.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from litdome.color import srgb_from_linear
from litdome.geometry import OPENCV_FROM_OPENGL, Camera, look_at
from litdome.lighting import project_hdri, tone_map_ldr, tone_map_log, view_directions
from litdome.synth.dome import wall_picture
from litdome.synth.hdris import HDRI_KINDS, make_hdri
from litdome.synth.lights import DirectionalLights
from litdome.synth.render import Float32Array, Scene, Surface, cast_surface
from litdome.synth.rooms import random_room
from litdome.synth.shading import dome_lights, flat_lights, shade
from litdome.synth.shapes import Mover, ground_plane, random_object

FloatArray = npt.NDArray[np.float64]
FLAT_LIGHTS, RELIT_LIGHTS = 48, 96


@dataclass(frozen=True, eq=False)
class SceneSample:
    """A clip of one scene; all float32, frames first, height x width as asked.

    Attributes:
        flat, relit: Display-referred pictures 0..1, shape (t, h, w, 3), exposure fixed (session gain 1).
        basecolor: sRGB-encoded albedo 0..1, shape (t, h, w, 3); 0 outside the mask, as all that follow but depth.
        normal: In the camera's frame, x right, y up, z to the viewer, -1..1, shape (t, h, w, 3).
        metallic, roughness: 0..1, shape (t, h, w, 1).
        depth: 0 nearest to 1 farthest of the clip, shape (t, h, w, 1); 1 outside the mask.
        mask: Coverage 0..1, shape (t, h, w, 1).
        env_hdr: The light, radiance, ``physical`` lat-long, shape (v, u, 3).
        world_from_camera: Shape (t, 4, 4), float64.
        env_ldr, env_log, env_direction: The light in the camera's frame, -1..1, shape (t, h, w, 3).
    """

    flat: Float32Array
    relit: Float32Array
    basecolor: Float32Array
    normal: Float32Array
    metallic: Float32Array
    roughness: Float32Array
    depth: Float32Array
    mask: Float32Array
    env_hdr: Float32Array
    world_from_camera: FloatArray
    env_ldr: Float32Array
    env_log: Float32Array
    env_direction: Float32Array


@dataclass(frozen=True, eq=False)
class ProceduralScene:
    """What stands where and who looks at it, before any light.

    Attributes:
        movers: Objects, ground, room.
        cameras: One per frame.
        backdrop: What is behind them: dome, studio or black.
    """

    movers: tuple[Mover, ...]
    cameras: tuple[Camera, ...]
    backdrop: str

    def scene(self, frame: int) -> Scene:
        """Everything in its place at a frame."""
        return Scene(tuple(mesh for mover in self.movers for mesh in mover.at(frame)))


def build_scene(seed: int, *, height: int, width: int, frames: int = 1, room: bool | None = None) -> ProceduralScene:
    """Objects floating, on the ground or in a room; the same seed and size give the same scene.

    Args:
        seed: Chooses everything.
        height, width: Of the pictures, px.
        frames: Of the clip.
        room: Whether a room stands around the objects; None: the seed decides, one scene in three has one.
    """
    rng = np.random.default_rng([seed, 7])
    movers = [random_object(rng, rng.uniform(-1, 1, 3) * (0.9, 0.5, 0.9)) for _ in range(rng.integers(2, 9))]
    backdrop = str(rng.choice(["dome", "dome", "studio", "black"]))
    cameras = _camera_path(rng, height, width, frames)
    lowest = min(float(mesh.vertices[:, 1].min()) for mover in movers for mesh in mover.at(0))
    with_ground, with_room = rng.random() < 0.5, rng.random() < 1 / 3
    if with_room if room is None else room:
        movers += random_room(rng, lowest, np.stack([camera.centre for camera in cameras]))
    elif with_ground and min(camera.centre[1] for camera in cameras) > 0.8:
        movers.append(ground_plane(rng, lowest))
    return ProceduralScene(tuple(movers), tuple(cameras), backdrop)


def scene_light(seed: int) -> Float32Array:
    """The HDRI that lights the scene of a seed, ``physical``, shape (v, u, 3)."""
    rng = np.random.default_rng([seed, 8])
    hdr = make_hdri(str(rng.choice(list(HDRI_KINDS))), int(rng.integers(1 << 30)))
    return np.asarray(hdr * np.float32(np.exp(rng.uniform(-0.5, 0.5))), np.float32)


def render_scene(seed: int, *, height: int, width: int, frames: int = 1, room: bool | None = None) -> SceneSample:
    """Make one scene under one light; the same seed and size give the same arrays. See `build_scene`."""
    built, hdr = build_scene(seed, height=height, width=width, frames=frames, room=room), scene_light(seed)
    lights = flat_lights(FLAT_LIGHTS), dome_lights(hdr, RELIT_LIGHTS, follow=True), dome_lights(hdr, RELIT_LIGHTS)
    shot = [_render_frame(built, k, lights) for k in range(frames)]
    cameras, surfaces = built.cameras, [surface for surface, _, _ in shot]
    depths = np.concatenate([surface.depth for surface in surfaces])
    near, far = (float(depths.min()), float(depths.max())) if len(depths) else (0.0, 1.0)
    views = [project_hdri(hdr, camera.world_from_camera, height, width) for camera in cameras]
    return SceneSample(
        flat=np.stack([picture for _, picture, _ in shot]),
        relit=np.stack([picture for _, _, picture in shot]),
        basecolor=np.stack([s.picture(srgb_from_linear(s.albedo) * s.coverage[:, None]) for s in surfaces]),
        normal=np.stack([_picture_normals(s, c) for s, c in zip(surfaces, cameras, strict=True)]),
        metallic=np.stack([s.picture(s.metallic * s.coverage)[..., None] for s in surfaces]),
        roughness=np.stack([s.picture(s.roughness * s.coverage)[..., None] for s in surfaces]),
        depth=np.stack([s.picture((s.depth - near) / max(far - near, 1e-6), 1.0)[..., None] for s in surfaces]),
        mask=np.stack([s.mask[..., None] for s in surfaces]),
        env_hdr=hdr,
        world_from_camera=np.stack([camera.world_from_camera for camera in cameras]),
        env_ldr=np.stack([tone_map_ldr(view) * 2 - 1 for view in views]),
        env_log=np.stack([tone_map_log(view) * 2 - 1 for view in views]),
        env_direction=np.repeat(view_directions(height, width)[None], frames, axis=0),
    )


def _render_frame(
    built: ProceduralScene, frame: int, lights: tuple[DirectionalLights, DirectionalLights, DirectionalLights]
) -> tuple[Surface, Float32Array, Float32Array]:
    """The surface, the flat picture and the relit one, display-referred."""
    scene, camera = built.scene(frame), built.cameras[frame]
    surface = cast_surface(scene, camera)
    flat, relit, led = lights
    pictures = []
    for light, seen in ((flat, flat), (relit, led)):
        behind = backdrop_picture(built.backdrop, camera, seen)
        over = surface.picture(shade(scene, surface, light) * surface.coverage[:, None])
        linear = over + behind * (1 - surface.mask[..., None])
        pictures.append(srgb_from_linear(np.clip(linear, 0, 1)))
    return surface, pictures[0], pictures[1]


def backdrop_picture(kind: str, camera: Camera, lights: DirectionalLights) -> Float32Array:
    """What is behind everything, linear, shape (y, x, 3)."""
    if kind == "dome":
        return wall_picture(camera, lights)
    shape = (camera.height, camera.width, 3)
    mean = lights.intensity.sum(axis=0) / (4 * np.pi)
    return np.broadcast_to(np.float32(0.35 if kind == "studio" else 0.0) * mean, shape).astype(np.float32)


def _picture_normals(surface: Surface, camera: Camera) -> Float32Array:
    rotation = camera.world_from_camera[:3, :3] @ OPENCV_FROM_OPENGL
    seen = (surface.normal @ rotation).astype(np.float32) * surface.coverage[:, None]
    return np.asarray(surface.picture(seen), np.float32)


def _camera_path(rng: np.random.Generator, height: int, width: int, frames: int) -> list[Camera]:
    """A camera on a short arc around the scene, at a random distance and field of view."""
    azimuth, elevation = rng.uniform(-np.pi, np.pi), rng.uniform(-0.15, 0.6)
    arc, rise = rng.uniform(-0.02, 0.02), rng.uniform(-0.01, 0.01)
    radius, fov = rng.uniform(2.6, 4.0), rng.uniform(0.4, 0.8)
    target = rng.uniform(-0.2, 0.2, 3)
    focal = height / 2 / np.tan(fov / 2)
    intrinsics = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    cameras = []
    for k in range(frames):
        a, e = azimuth + arc * k, elevation + rise * k
        centre = radius * np.array([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)])
        cameras.append(Camera("scene", width, height, intrinsics, np.zeros(8), look_at(centre, target)))
    return cameras

"""Filming: the moving person in the dome, picture by picture, with the exact truth of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from litdome.color import srgb_from_linear
from litdome.geometry import Camera, Rig
from litdome.media.planes import Codes
from litdome.synth.ambient import with_bounce
from litdome.synth.body import Body
from litdome.synth.dome import wall_depth, wall_picture
from litdome.synth.ground_truth import FrameTruth, describe_frame, surface_irradiance, surface_motion
from litdome.synth.lights import DirectionalLights
from litdome.synth.optics import View, moment_count, photograph
from litdome.synth.render import Float32Array, Scene, Surface, cast_surface
from litdome.synth.sensors import Sensor, expose
from litdome.synth.shading import LitVertices, light_vertices, shade_vertices

UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Shot:
    """One picture with its truth.

    Attributes:
        rgb: What the sensor stored, shape (y, x, 3), uint8; of 10 bits uint16, full scale.
        mask: Coverage, shape (y, x), 0..255.
        albedo: sRGB-encoded, shape (y, x, 3), 0 outside the person; of flat pictures only.
        flat: The picture that flat light would have given at this moment, noise-free; of relit pictures only.
        motion: Displacement of the surface to the relit frame of each pair that begins here, then to their next flat
            one, shape (pair + 1, 2, y, x) as (time, x or y, ...), px; NaN where nothing is or where it gets hidden; of
            flat pictures that pairs begin with.
        full: Everything else, where the film asks for it.
    """

    rgb: Codes
    mask: UInt8Array
    albedo: UInt8Array | None = None
    flat: UInt8Array | None = None
    motion: npt.NDArray[np.float16] | None = None
    full: FrameTruth | None = None


@dataclass(frozen=True, eq=False)
class Film:
    """What is to be filmed.

    Attributes:
        rig: Who films.
        body: The person.
        start_s, fps: The body's time at frame 0, and frames per second.
        lights: Light of each frame, flat ones the same object as `flat`.
        flat: The flat light.
        seed: Draws the sensors' noise.
        sensors: How each camera takes pictures; none: exactly.
        bounce: Light that the person throws on itself is seen too.
        full_truth: Shots tell everything, not only what every take writes.
        relit: Frames that are the relit ones of pairs, where they lie between flat ones.
    """

    rig: Rig
    body: Body
    start_s: float
    fps: float
    lights: Sequence[DirectionalLights]
    flat: DirectionalLights
    seed: int
    sensors: tuple[Sensor, ...] = ()
    bounce: bool = False
    full_truth: bool = False
    relit: frozenset[int] = frozenset()

    def sensor(self, index: int) -> Sensor | None:
        """How a camera takes pictures; None: exactly."""
        return self.sensors[index] if self.sensors else None

    def time_s(self, frame: int) -> float:
        """The body's time at a rig frame."""
        return self.start_s + frame / self.fps

    def next_flat(self, frame: int) -> int | None:
        """The first flat frame after this one."""
        return next((later for later in range(frame + 1, len(self.lights)) if self.lights[later] is self.flat), None)

    def moves_to(self, frame: int) -> list[int]:
        """The relit frame of each pair that begins at a flat frame, then their next flat one; empty without pairs."""
        next_flat = self.next_flat(frame)
        if next_flat is None:
            return []
        relit = [later for later in range(frame + 1, next_flat) if later in self.relit]
        return [*relit, next_flat] if relit else []


def shoot(film: Film, workers: int) -> Iterator[tuple[Shot, ...]]:
    """Film every frame, on threads; the shots of all cameras, frame by frame, in order."""
    set_ = _Set(film)
    frames = len(film.lights)
    # BLAS threads under these would wait for each other at twice the CPU time, and round by the number of cores
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(workers) as pool:
        ahead = [pool.submit(set_.shoot, frame) for frame in range(min(2 * workers, frames))]
        for frame in range(frames):
            shots = ahead.pop(0).result()
            if frame + 2 * workers < frames:
                ahead.append(pool.submit(set_.shoot, frame + 2 * workers))
            yield shots


class _Set:
    """The film with what frames share: scenes of neighbouring times, walls under the same light."""

    def __init__(self, film: Film) -> None:
        self.film = film
        flats = [frame for frame, light in enumerate(film.lights) if light is film.flat]
        gap = max((b - a for a, b in pairwise(flats)), default=2)
        self.scene = lru_cache(maxsize=gap + 6)(self._scene)
        self.joints = lru_cache(maxsize=64)(film.body.joints)
        self.wall = lru_cache(maxsize=3 * len(film.rig.cameras))(wall_picture)

    def _scene(self, frame: int) -> Scene:
        return self._scene_at(self.film.time_s(frame))

    def _scene_at(self, time_s: float) -> Scene:
        return Scene((self.film.body.mesh(time_s),))

    def shoot(self, frame: int) -> tuple[Shot, ...]:
        light, flat = self.film.lights[frame], self.film.flat
        lit = light_vertices(self.scene(frame), (flat,) if light is flat else (light, flat))
        if self.film.bounce:
            lit = with_bounce(self.scene(frame), lit)
        scene_at = cache(self._scene_at)  # while shutters are open
        return tuple(self._shot(frame, index, lit, scene_at) for index in range(len(self.film.rig.cameras)))

    def _shot(self, frame: int, index: int, lit: LitVertices, scene_at: Callable[[float], Scene]) -> Shot:
        film, camera, light = self.film, self.film.rig.cameras[index], self.film.lights[frame]
        scene = self.scene(frame)
        surface = cast_surface(scene, camera)
        is_flat = light is film.flat
        shaded = shade_vertices(scene, surface, lit, camera.centre)
        linear = _over(surface, shaded[0], self.wall(camera, light))
        rng, sensor = np.random.default_rng([film.seed, 3, frame, index]), film.sensor(index)
        if sensor is not None and sensor.is_blurred:
            moments = moment_count(self._travel_px(frame, camera, sensor.open_s))
            views = self._views(frame, camera, lit, scene_at)
            seen = photograph(views, sensor, camera.intrinsics[0, 0], moments=moments)
        else:
            seen = linear
        rgb, mask = expose(seen, rng, sensor), np.round(surface.mask * 255).astype(np.uint8)
        full = self._full(frame, camera, surface, lit, linear) if film.full_truth else None
        if not is_flat:
            in_flat = _codes(_over(surface, shaded[1], self.wall(camera, film.flat)))
            return Shot(rgb, mask, flat=in_flat, full=full)
        albedo = _codes(surface.picture(surface.albedo))
        later = [surface_motion(surface, camera, self.scene(then)) for then in film.moves_to(frame)]
        motion = np.stack(later).astype(np.float16) if later else None
        return Shot(rgb, mask, albedo, motion=motion, full=full)

    def _travel_px(self, frame: int, camera: Camera, open_s: float) -> float:
        """How far the fastest joint that a camera sees moves while its shutter is open."""
        ends = (self.joints(self.film.time_s(frame) + side * open_s / 2) for side in (-1, 1))
        before, after = (camera.project(joints) for joints in ends)
        seen = ((before >= 0) & (before <= [camera.width - 1, camera.height - 1])).all(axis=1)
        return float(np.linalg.norm(after - before, axis=1)[seen].max(initial=0.0))

    def _views(
        self, frame: int, camera: Camera, lit: LitVertices, scene_at: Callable[[float], Scene]
    ) -> Callable[[float], View]:
        """What a camera sees while its shutter is open; vertices keep the light that they have in the middle."""
        light = self.film.lights[frame]
        wall, wall_m = self.wall(camera, light), wall_depth(camera, light)

        def view_at(offset_s: float) -> View:
            scene = scene_at(self.film.time_s(frame) + offset_s)
            surface = cast_surface(scene, camera)
            front = shade_vertices(scene, surface, lit, camera.centre)[0] * surface.coverage[:, None]
            return View(surface.picture(front), surface.mask, surface.picture(surface.depth), wall, wall_m)

        return view_at

    def _full(
        self, frame: int, camera: Camera, surface: Surface, lit: LitVertices, radiance: Float32Array
    ) -> FrameTruth:
        return describe_frame(
            surface,
            camera,
            irradiance=surface_irradiance(self.scene(frame), surface, lit),
            radiance=radiance,
            labels=self.film.body.mesh_labels,
            later=self.scene(frame + 1) if frame + 1 < len(self.film.lights) else None,
        )


def _over(surface: Surface, shaded: Float32Array, wall: Float32Array) -> Float32Array:
    """The person before the wall, linear, shape (y, x, 3)."""
    out = wall.reshape(-1, 3).copy()
    coverage = surface.coverage[:, None]
    out[surface.pixels] = shaded * coverage + out[surface.pixels] * (1 - coverage)
    return out.reshape(wall.shape)


def _codes(linear: Float32Array) -> UInt8Array:
    return np.asarray(np.round(srgb_from_linear(np.clip(linear, 0, 1)) * 255), np.uint8)

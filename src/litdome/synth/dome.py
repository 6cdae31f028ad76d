"""What cameras see behind the subject: the inside of the dome, its panels and its LEDs."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from litdome.errors import UsageError
from litdome.geometry import Camera, Rig
from litdome.lighting import sh_basis
from litdome.synth.lights import DirectionalLights, face_radius
from litdome.synth.render import Float32Array, camera_rays
from litdome.synth.rig import TARGET

WALL_RADIUS_M = 4.5  # where the lights are infinitely far away
WALL_ALBEDO = 0.025  # darker than black shoes, so that plates tell people apart
DIM_FACE = 0.25  # of an LED's face, of the radiance of its cell, where the lights are infinitely far away
GLOW = 0.008  # of an LED's face, at its rim: what lens and diffuser scatter around it
GLOW_FACES = 1.0  # how far the glow reaches, radii of the face
FAINT = 3e-5  # of the glow at the rim: not kept
FloatArray = npt.NDArray[np.float64]
NEIGHBOURS = 7  # LEDs whose glow may reach a pixel: beyond one spacing nothing is left of it
Wall = tuple[Float32Array, csr_matrix, Float32Array, Float32Array]


def wall_picture(camera: Camera, lights: DirectionalLights) -> Float32Array:
    """The inside of the dome as a camera sees it, linear, shape (y, x, 3).

    Dark grey panels lit by the light itself, and the LEDs. The face of an LED that has a place shines with all the
    light that the subject gets from it, and glows: lit ones clip, as real ones do. Lights at infinity are shown as dim
    dots on a wall.
    """
    count = len(lights.directions)
    centre, radius_m = dome_sphere(lights)
    face, glow = DIM_FACE, 0.0
    if lights.positions is not None:
        face, glow = 4 / (count * face_radius(count) ** 2), GLOW  # solid angle of a cell over that of a face
    of_leds = lights.directions.tobytes()
    basis, shining, dot, panels = _wall(camera, of_leds, tuple(centre.tolist()), radius_m, glow)
    rgb = lights.rgb
    coefficients = sh_basis(lights.directions.astype(np.float64)).T @ rgb
    coefficients *= np.array([1.0] + [2 / 3] * 3 + [1 / 4] * 5)[:, None]
    panel = np.maximum(basis @ coefficients.astype(np.float32), 0) * (WALL_ALBEDO * panels[:, None])
    picture = panel * (1 - dot) + shining @ (rgb * np.float32(face * count / (4 * np.pi)))
    return np.asarray(picture.reshape(camera.height, camera.width, 3), np.float32)


def dome_sphere(lights: DirectionalLights) -> tuple[FloatArray, float]:
    """Centre, shape (3,), and radius of the dome that is seen, metres."""
    if lights.positions is None:
        return TARGET, WALL_RADIUS_M
    return lights.centre.astype(np.float64), float(np.linalg.norm(lights.positions - lights.centre, axis=1).mean())


def wall_depth(camera: Camera, lights: DirectionalLights) -> float:
    """Depth of the dome in the middle of a camera's picture, metres."""
    centre, radius_m = dome_sphere(lights)
    start, forward = camera.centre - centre, camera.world_from_camera[:3, 2]
    along = float(start @ forward)
    return float(-along + np.sqrt(along**2 + radius_m**2 - start @ start))


def need_cameras_inside(rig: Rig, lights: DirectionalLights) -> None:
    """Refuse a rig that does not fit into the dome.

    Raises:
        UsageError: A camera outside it.
    """
    centre, radius_m = dome_sphere(lights)
    for camera in rig.cameras:
        away = float(np.linalg.norm(camera.centre - centre))
        if away >= radius_m:
            raise UsageError(
                f"camera {camera.id} {away:.2f} m from the centre of the stage, but its LEDs are {radius_m:.2f} m away",
                hint=f"--camera distance_m={0.85 * radius_m:.1f}",
            )


@lru_cache(maxsize=32)
def _wall(camera: Camera, directions: bytes, centre: tuple[float, ...], radius_m: float, glow: float) -> Wall:
    """Per pixel: irradiance basis (9), what it sees of each LED's face and glow, how much of a face, and the panels'
    pattern."""
    leds = np.frombuffer(directions, np.float32).reshape(-1, 3)
    rays = camera_rays(camera, antialias=False)[0].astype(np.float64)
    start = camera.centre - np.array(centre)
    along = rays @ start
    reach = -along + np.sqrt(along**2 + radius_m**2 - start @ start)
    outward = (start + reach[:, None] * rays) / radius_m
    distance, led = cKDTree(leds).query(outward, k=np.arange(1, NEIGHBOURS + 1 if glow else 2))
    face = face_radius(len(leds))
    sharpness = reach.mean() / camera.intrinsics[0, 0] / radius_m
    dot = np.clip((face - distance) / sharpness + 0.5, 0, 1)
    halo = (1 - dot) * np.exp(-np.maximum(distance - face, 0) / (GLOW_FACES * face))
    seen = np.where(halo > FAINT, dot + glow * halo, dot)
    pixel, of = np.nonzero(seen)
    shining = csr_matrix((seen[pixel, of].astype(np.float32), (pixel, led[pixel, of])), (len(rays), len(leds)))
    azimuth, height = np.arctan2(outward[:, 0], outward[:, 2]), np.arcsin(np.clip(outward[:, 1], -1, 1))
    seam = np.minimum(_from_line(azimuth, np.pi / 12) * np.cos(height), _from_line(height, np.pi / 12))
    panels = 0.35 + 0.65 * np.clip((seam - 0.006) / sharpness + 0.5, 0, 1)
    return (
        sh_basis(-outward).astype(np.float32),
        shining,
        dot[:, :1].astype(np.float32),
        panels.astype(np.float32),
    )


def _from_line(angle: npt.NDArray[np.float64], step: float) -> npt.NDArray[np.float64]:
    """Distance to the nearest multiple of ``step``, rad."""
    return np.asarray(np.abs((angle + step / 2) % step - step / 2))

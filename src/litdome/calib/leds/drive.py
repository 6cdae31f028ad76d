"""HDRI to LED drive: which intensities make a dome light a subject as the map would (docs/led-lights.md).

A LED is a light at infinity; its intensity is the irradiance it gives a surface that faces it (radiance times solid
angle). Errors are shares of the map's strongest irradiance, by colour channel: what the exposure is set by.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls
from scipy.spatial import cKDTree
from scipy.special import sph_harm_y

from litdome.errors import InputError
from litdome.geometry import rotation_about_y
from litdome.lighting import HdriConvention, latlong_directions, latlong_solid_angles
from litdome.lighting.led_set import LedSet

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
ORDER = 4  # of the spherical harmonics: irradiance hardly sees higher ones
GLOSS = 32  # Phong exponent of the narrow lobe: half its light within 12 degrees of the mirror direction
COVERED = 0.95  # of a normal's cosine-weighted hemisphere
UNCOVERED_WEIGHT = 0.1  # what happens there matters less, but is not left to chance
HARMONICS_WEIGHT = 1e-2  # against irradiance, both as shares of their own size
START_WEIGHT = 1e-3  # of staying near the start
FLOOR = 0.02  # of the mean intensity: how freely a LED of a dark part of the map may change
SMALLEST_HEIGHT = 32  # rows: texels of 6 degrees, half of what LEDs are apart
CHUNK = 4096  # texels times 642 normals: 10 MB, near the caches


@dataclass(frozen=True, eq=False)
class MapLight:
    """What a lat-long map does to a subject: exact sums over all its texels.

    Attributes:
        directions, energy: Of each texel: unit, world, and radiance times solid angle; shape (texel, 3), float32.
        irradiance: At `probe_normals`, shape (642, 3).
        glossy: Light in a Phong lobe (exponent 32) around each of the same directions, shape (642, 3).
        harmonics: Of the radiance, shape (25, 3).
    """

    directions: Float32Array
    energy: Float32Array
    irradiance: FloatArray
    glossy: FloatArray
    harmonics: FloatArray


@dataclass(frozen=True)
class DriveErrors:
    """How far a drive is from its map; shares, of the worst colour channel.

    Attributes:
        p95, worst: Of the map's strongest irradiance, over the covered normals.
        uncovered: The same at worst, over the other normals (those below the lowest LED); 0 if there are none.
        local_p95: Of the irradiance at each normal itself, over the covered ones.
        specular: RMS over all directions of the error in a narrow lobe, against the RMS of that light.
        unreached: Share of the map's light that comes from where no LED is.
    """

    p95: float
    worst: float
    uncovered: float
    local_p95: float
    specular: float
    unreached: float


@dataclass(frozen=True, eq=False)
class DriveSolution:
    """LED intensities for one map.

    Attributes:
        intensity: Shape (light, 3), not negative; 0 where a LED is not valid.
        errors: Of it.
        start: The start and baseline: each LED gives the light of its cell of the sphere. Shape (light, 3).
        start_errors: Of the start.
    """

    intensity: FloatArray
    errors: DriveErrors
    start: FloatArray
    start_errors: DriveErrors


@lru_cache(maxsize=4)
def icosphere(level: int) -> FloatArray:
    """Vertices of an icosahedron split ``level`` times, unit, shape (10 * 4**level + 2, 3)."""
    golden = (1 + 5**0.5) / 2
    corners = np.array([[0, a, b * golden] for a in (-1, 1) for b in (-1, 1)], np.float64)
    vertices = np.concatenate([np.roll(corners, turn, axis=1) for turn in range(3)])
    length = 2.0
    for _ in range(level):
        pairs = sorted(cKDTree(vertices).query_pairs(1.3 * length))
        middles = np.array([vertices[a] + vertices[b] for a, b in pairs])
        scale = np.linalg.norm(vertices[0])
        vertices = np.concatenate([vertices, middles * scale / np.linalg.norm(middles, axis=1, keepdims=True)])
        length = float(np.median(cKDTree(vertices).query(vertices, k=2)[0][:, 1]))
    return cast(FloatArray, vertices / np.linalg.norm(vertices, axis=1, keepdims=True))


def probe_normals() -> FloatArray:
    """The 642 normals that irradiance is fitted and judged at, shape (642, 3)."""
    return icosphere(3)


def harmonics(directions: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
    """Real orthonormal spherical harmonics up to order 4 about +y, of unit directions, shape (n, 3) to (n, 25)."""
    return _monomials(directions) @ _harmonics_of_monomials().astype(directions.dtype)


def _monomials(directions: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
    """x^i y^j z^k with i + j + k = 3 or 4: on the sphere they span the harmonics up to order 4. Shape (n, 25)."""
    powers = [np.ones_like(directions), directions]
    for _ in range(ORDER - 1):
        powers.append(powers[-1] * directions)
    exponents = [(i, j, n - i - j) for n in (ORDER - 1, ORDER) for i in range(n + 1) for j in range(n + 1 - i)]
    return np.stack([powers[i][:, 0] * powers[j][:, 1] * powers[k][:, 2] for i, j, k in exponents], axis=1)


@lru_cache(maxsize=1)
def _harmonics_of_monomials() -> FloatArray:
    """What turns `_monomials` into harmonics, shape (25, 25); many times faster than their definition."""
    x, y, z = icosphere(3).T
    polar, azimuth = np.arccos(np.clip(y, -1, 1)), np.arctan2(x, z)
    columns = []
    for degree in range(ORDER + 1):
        columns.append(sph_harm_y(degree, 0, polar, azimuth).real)
        for m in range(1, degree + 1):
            both = np.sqrt(2) * sph_harm_y(degree, m, polar, azimuth)
            columns += [both.real, both.imag]
    return cast(FloatArray, np.linalg.lstsq(_monomials(icosphere(3)), np.stack(columns, axis=1))[0])


def measure_light(hdr: npt.NDArray[np.floating[Any]], convention: HdriConvention, name: str = "HDRI") -> MapLight:
    """What a map does to a subject.

    Args:
        hdr: Scene-linear radiance, shape (v, u, 3), as `litdome.media.latlong.read_latlong` gives it.
        convention: Where the map's centre lies in the world.
        name: What errors call it.

    Raises:
        InputError: Not twice as wide as high, fewer than 32 rows, all black, or NaN, infinite or negative somewhere.
    """
    height, width = hdr.shape[:2]
    if height < SMALLEST_HEIGHT or width != 2 * height:
        raise InputError(
            f"{name}: {width}x{height}, but a lat-long map is twice as wide as high, and has {SMALLEST_HEIGHT} rows"
        )
    radiance = hdr.astype(np.float32)
    broken = int((~np.isfinite(radiance) | (radiance < 0)).any(axis=-1).sum())
    if broken:
        raise InputError(f"{name}: NaN, infinite or negative radiance in {broken} texels", hint="ingest it again")
    if not radiance.any():
        raise InputError(f"{name}: all black", hint="is this the right file?")
    directions = latlong_directions(height, width, convention).reshape(-1, 3).astype(np.float32)
    energy = (radiance * latlong_solid_angles(height, width)[..., None]).reshape(-1, 3).astype(np.float32)
    normals = probe_normals().astype(np.float32)
    sums, shape = np.zeros((2, len(normals), 3)), np.zeros(((ORDER + 1) ** 2, 3))
    for start in range(0, len(energy), CHUNK):
        part, light = directions[start : start + CHUNK], energy[start : start + CHUNK]
        lobe = np.maximum(normals @ part.T, 0)
        sums[0] += lobe @ light
        for _ in range(int(np.log2(GLOSS))):
            np.square(lobe, out=lobe)
        sums[1] += lobe @ light
        shape += harmonics(part).T @ light
    return MapLight(directions, energy, sums[0], sums[1] * _gloss_scale(), shape)


def drive_hdri(light: MapLight, leds: LedSet, *, rotation_deg: float = 0.0) -> DriveSolution:
    """LED intensities that light a subject as a map would.

    Non-negative least squares, each colour channel by itself, on irradiance at 642 normals and on spherical harmonics
    of order 4, held near the start: the light of each LED's cell of the sphere (spherical Voronoi, solid angles).

    Args:
        light: Of `measure_light`; one map's serves for all its rotations.
        leds: The stage.
        rotation_deg: Turns the light from world +z towards +x about +y.
    """
    directions = leds.directions[leds.valid] @ rotation_about_y(-rotation_deg).T  # seen from the map
    reach = leds.spacing
    covered = covered_normals(directions, reach)
    start = cell_light(light, directions)
    fitted = np.stack([_fit(light, directions, start[:, c], c, reach, covered) for c in range(3)], axis=1)
    both = np.zeros((2, len(leds), 3))
    both[:, leds.valid] = fitted, start
    errors, start_errors = (judge_drive(light, leds, x, rotation_deg=rotation_deg) for x in both)
    return DriveSolution(both[0], errors, both[1], start_errors)


def judge_drive(light: MapLight, leds: LedSet, intensity: FloatArray, *, rotation_deg: float = 0.0) -> DriveErrors:
    """How far LEDs of the given ``intensity``, shape (light, 3), are from a map."""
    directions = leds.directions[leds.valid] @ rotation_about_y(-rotation_deg).T
    lit = intensity[leds.valid]
    covered = covered_normals(directions, leds.spacing)
    cosine = _cosines(directions)
    strongest = np.maximum(light.irradiance.max(axis=0), 1e-30)
    off = np.abs(cosine @ lit - light.irradiance)
    shares, local = off / strongest, off / np.maximum(light.irradiance, 1e-6 * strongest)
    glossy = cosine**GLOSS @ lit * _gloss_scale() - light.glossy
    specular = np.sqrt((glossy**2).sum(axis=0) / np.maximum((light.glossy**2).sum(axis=0), 1e-30))
    far = cKDTree(directions).query(light.directions, distance_upper_bound=_chord(leds.spacing))[0] == np.inf
    return DriveErrors(
        p95=_percentile(shares[covered]),
        worst=float(shares[covered].max(initial=0)) if covered.any() else float("nan"),
        uncovered=float(shares[~covered].max(initial=0)),
        local_p95=_percentile(local[covered]),
        specular=float(specular.max()),
        unreached=float(light.energy[far].sum(dtype=np.float64) / light.energy.sum(dtype=np.float64)),
    )


def covered_normals(directions: FloatArray, reach: float) -> npt.NDArray[np.bool_]:
    """Which of `probe_normals` the LEDs cover: a LED lies within ``reach`` (rad) of the normal itself, and of 95 % of
    its hemisphere, weighted by the cosine. Shape (642,)."""
    sky = icosphere(4)
    reached = cKDTree(directions).query(sky, distance_upper_bound=_chord(reach))[0] < np.inf
    weight = np.maximum(probe_normals() @ sky.T, 0)
    near = cKDTree(directions).query(probe_normals(), distance_upper_bound=_chord(reach))[0] < np.inf
    return np.asarray(near & (weight @ reached >= COVERED * weight.sum(axis=1)))


def cell_light(light: MapLight, directions: FloatArray) -> FloatArray:
    """The light of each LED's cell of the sphere (the texels it is the nearest LED of), shape (light, 3)."""
    cells = cKDTree(directions).query(light.directions)[1]
    return np.stack([np.bincount(cells, light.energy[:, c], len(directions)) for c in range(3)], axis=1)


def _fit(
    light: MapLight,
    directions: FloatArray,
    start: FloatArray,
    channel: int,
    reach: float,
    covered: npt.NDArray[np.bool_],
) -> FloatArray:
    """Intensities of one channel, shape (light,). A LED may leave the start as far as there is light around it, so
    that a sun between LEDs is shared out and a dim sky stays as it is."""
    irradiance, shape = light.irradiance[:, channel], light.harmonics[:, channel]
    if not irradiance.max() > 0:
        return np.zeros_like(start)
    near = directions @ directions.T > np.cos(1.6 * reach)
    freedom = near @ start / near.sum(axis=1) + FLOOR * start.mean()
    normals = np.where(covered, 1.0, UNCOVERED_WEIGHT) / irradiance.max() / np.sqrt(len(covered))
    order = HARMONICS_WEIGHT / np.linalg.norm(shape)
    stay = START_WEIGHT / freedom / np.sqrt(len(start))
    rows = [_cosines(directions) * normals[:, None], harmonics(directions).T * order, np.diag(stay)]
    wanted = [irradiance * normals, shape * order, start * stay]
    return cast(FloatArray, nnls(np.concatenate(rows), np.concatenate(wanted), maxiter=30 * len(start))[0])


def _cosines(directions: FloatArray) -> FloatArray:
    """Of each probe normal with each LED, 0 where it faces away, shape (642, light)."""
    return np.maximum(probe_normals() @ directions.T, 0)


def _gloss_scale() -> float:
    return (GLOSS + 1) / (2 * np.pi)  # the lobe integrates to 1


def _chord(angle: float) -> float:
    return float(2 * np.sin(min(angle, np.pi) / 2))


def _percentile(values: FloatArray) -> float:
    """The 95th percentile, of the worst channel; NaN where nothing is covered."""
    return float(np.quantile(values, 0.95, axis=0).max()) if len(values) else float("nan")

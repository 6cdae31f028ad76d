"""Looks of a light stage that does not exist, with exact truth: who saw which light at which frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from litdome.capture.looks import GRID, Looks, empty_looks

FLAT, DARK = -1, -2
UNIQUE = 10_000  # OLAT patterns: lights from here on are lit from one direction and dim
FINGERPRINT_SEED = 7


def interleaved(frames: int, period: int, phase: int, *, run: int = 1, seed: int = 0, lights: int = 40) -> list[int]:
    """Light of each rig frame: flat every ``period`` frames, else a random light, held for ``run`` periods."""
    rng = np.random.default_rng([seed, 1])
    drawn = rng.permutation(lights)
    sequence, count, held = [], 0, {}
    for frame in range(frames):
        place = (frame - phase) % period
        if place == 0:
            sequence.append(FLAT)
            count += 1
            continue
        key = (count // run, place)
        if key not in held:
            held[key] = int(drawn[len(held) % lights])
        sequence.append(held[key])
    return sequence


def film_looks(
    lights: Sequence[int],
    *,
    cameras: int = 3,
    pictures: Mapping[int, Sequence[int]] | None = None,
    absent: Mapping[int, Sequence[int]] | None = None,
    hdri_gain: float = 0.5,
    same_mean: bool = False,
    motion: float = 0.02,
    noise: float = 0.0005,
    drift: float = 0.0,
    black_wall: bool = False,
    mixed: Mapping[int, Mapping[int, int]] | None = None,
    seed: int = 0,
) -> Looks:
    """The looks of a take.

    Args:
        lights: Light of each rig frame: a number, `FLAT` or `DARK`.
        cameras: How many.
        pictures: Rig frame shown by each picture of a camera, where it is not every frame in turn; the picture's place
            in the list is its frame in the looks.
        absent: Frames without a picture by camera.
        hdri_gain: Level of HDRIs against the flat light, linear.
        same_mean: HDRIs are scaled to the flat light's mean in every camera (only the distribution tells).
        motion: Steps of the subject's random walk, pictures wide.
        noise: Of a block's mean, of white.
        drift: Change of the flat light's level over the take, share.
        black_wall: Only the subject shows.
        mixed: By camera and frame: grid row from which on the previous frame's light shows.
        seed: Draws everything.
    """
    rng = np.random.default_rng([seed, 2])
    shown = {c: list((pictures or {}).get(c, range(len(lights)))) for c in range(cameras)}
    frames = max(len(found) for found in shown.values())
    looks = empty_looks(tuple(f"c{c:02d}" for c in range(cameras)), frames)
    paths = np.cumsum(rng.normal(0, motion, (len(lights) + 1, 2)), axis=0)
    level = 1 + drift * np.linspace(0, 1, len(lights) + 1)
    for c in range(cameras):
        wall = cv2.resize(np.random.default_rng([seed, 3, c]).uniform(0.05, 0.5, (6, 4)), GRID[::-1])
        wall = wall * 0 if black_wall else wall
        cache: dict[int, npt.NDArray[np.float64]] = {}
        for place, frame in enumerate(shown[c]):
            if place in (absent or {}).get(c, ()):
                continue
            values = _picture(c, lights[frame], paths[frame], wall, hdri_gain, same_mean, seed, cache) * level[frame]
            row = (mixed or {}).get(c, {}).get(place)
            if row is not None:
                before = _picture(c, lights[max(frame - 1, 0)], paths[frame], wall, hdri_gain, same_mean, seed, cache)
                values[row:] = before[row:] * level[frame]
            grid = np.clip(values, 0, 1) ** (1 / 2.2) + rng.normal(0, noise, GRID)
            looks.grid[c, place] = grid
            repeated = place and shown[c][place - 1] == frame
            looks.fingerprint[c, place] = (
                looks.fingerprint[c, place - 1] if repeated else rng.integers(1, 2**32, dtype=np.uint64)
            )
            if repeated:
                looks.grid[c, place] = looks.grid[c, place - 1]
    return looks


def _picture(
    camera: int,
    light: int,
    at: npt.NDArray[np.float64],
    wall: npt.NDArray[np.float64],
    gain: float,
    same_mean: bool,
    seed: int,
    cache: dict[int, npt.NDArray[np.float64]],
) -> npt.NDArray[np.float64]:
    rows, columns = np.mgrid[0 : GRID[0], 0 : GRID[1]]
    y, x = 0.5 + 0.3 * np.tanh(at[1]), 0.5 + 0.4 * np.tanh(at[0] * (1 + camera % 3))
    person = np.exp(-((((rows + 0.5) / GRID[0] - y) / 0.25) ** 2) - ((((columns + 0.5) / GRID[1]) - x) / 0.12) ** 2)
    scene = wall * (1 - person) + 0.45 * person
    if light == FLAT:
        return scene
    if light == DARK:
        return scene * 0
    if light not in cache:
        draw = np.random.default_rng([seed, 4, light])
        common = draw.normal(0, 0.5)
        side = np.random.default_rng([seed, 5, light, camera]).normal(0, 0.8, (4, 3))
        cache[light] = np.exp(common + cv2.resize(side, GRID[::-1], interpolation=cv2.INTER_CUBIC))
    lit = scene * cache[light]
    if light >= UNIQUE:
        return 0.1 * lit
    if same_mean:
        return lit * (scene ** (1 / 2.2)).mean() ** 2.2 / (lit ** (1 / 2.2)).mean() ** 2.2
    return gain * lit

"""Faces: expressions by name, creases that come with them, and eyes that look about, which no tracking sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from litdome.synth.outfit import texel_points
from litdome.template.model import Float32Array, FloatArray, Template, load_template

GLANCE_S, SACCADE_S = 0.9, 0.06  # eyes rest on one thing, and jump to the next
GAZE_DEG = (22.0, 10.0)  # farthest to the side, up and down
LINE_M, FOLD_M, FOLD_DEPTH_M = 0.0011, 0.0035, 0.0016  # a crease seen, the fold that it lies in, and its depth
CREASE_DARKNESS = 0.45  # share of light lost in a crease that is finer than the mesh

# on the left half of the face at rest, seen from the front: (across, up), metres
CREASES: dict[str, tuple[tuple[tuple[float, float], ...], ...]] = {
    "brows up": tuple(((0.0, y), (0.02, y + 0.002), (0.04, y - 0.003)) for y in (1.630, 1.638, 1.646)),
    "brows down": (((0.006, 1.602), (0.008, 1.624)), ((0.0, 1.597), (0.008, 1.596))),
    "smile": (
        ((0.019, 1.556), (0.027, 1.543), (0.034, 1.530), (0.036, 1.515)),
        ((0.050, 1.594), (0.061, 1.600)),
        ((0.051, 1.589), (0.063, 1.589)),
        ((0.050, 1.584), (0.060, 1.578)),
    ),
}
CREASE_NAMES = tuple(f"{cause} {side}" for cause in CREASES for side in ("left", "right"))
MIDLINE_M = 0.004  # left changes to right over twice as much
CREASE_CODES = {
    "brows up": {"browInnerUp": 0.7, "browOuterUp": 0.5},
    "brows down": {"browDown": 0.8, "noseSneer": 0.4},
    "smile": {"mouthSmile": 0.9, "cheekSquint": 0.4, "noseSneer": 0.4, "eyeSquint": 0.2},
}
EXPRESSIONS: dict[str, dict[str, float]] = {
    "neutral": {},
    "smile": {"mouthSmile": 0.8, "cheekSquint": 0.4},
    "laugh": {"mouthSmile": 0.9, "jawOpen": 0.35, "cheekSquint": 0.7, "eyeSquint": 0.4, "mouthUpperUp": 0.3},
    "frown": {"browDown": 0.9, "mouthFrown": 0.5, "eyeSquint": 0.3},
    "brows up": {"browInnerUp": 0.9, "browOuterUp": 0.9},
    "surprise": {"browInnerUp": 0.9, "browOuterUp": 0.8, "eyeWide": 0.8, "jawOpen": 0.5},
    "anger": {"browDown": 1.0, "noseSneer": 0.5, "mouthPress": 0.6, "eyeSquint": 0.4},
    "disgust": {"noseSneer": 0.9, "mouthUpperUp": 0.6, "browDown": 0.5, "eyeSquint": 0.4},
    "sadness": {"browInnerUp": 0.9, "mouthFrown": 0.8, "mouthShrugLower": 0.4},
    "fear": {"browInnerUp": 0.8, "eyeWide": 0.9, "mouthStretch": 0.7, "jawOpen": 0.2},
    "contempt": {"mouthSmileLeft": 0.6, "mouthDimpleLeft": 0.6, "browDownRight": 0.2},
    "eyes closed": {"eyeBlink": 1.0},
    "squint": {"eyeSquint": 1.0, "cheekSquint": 0.6, "browDown": 0.3},
    "eyes wide": {"eyeWide": 1.0, "browOuterUp": 0.3},
    "look around": {},
    "jaw open": {"jawOpen": 0.9},
    "jaw sideways": {"jawLeft": 0.8, "jawOpen": 0.15},
    "pucker": {"mouthPucker": 0.9},
    "cheeks puffed": {"cheekPuff": 0.9, "mouthClose": 0.1},
    "lips pressed": {"mouthPress": 0.9, "mouthRollLower": 0.5, "mouthRollUpper": 0.4},
    "lips stretched": {"mouthStretch": 0.9},
    "tongue out": {"tongueOut": 0.8, "jawOpen": 0.4},
    "speak": {"mouthLowerDown": 0.2},
}


def codes_of(template: Template, codes: Mapping[str, float]) -> FloatArray:
    """Named expression codes as shape (52,), the others 0; a name without its side means both sides.

    Raises:
        ValueError: No code has this name.
    """
    expression = np.zeros(len(template.expressions))
    for name, value in codes.items():
        names = (name,) if name in template.expressions else (f"{name}Left", f"{name}Right")
        for side in names:
            expression[template.expressions.index(side)] = value
    return expression


def gaze_at(clock_s: float, seed: int) -> FloatArray:
    """Where the eyes look against the head: to the person's left, and up, radians, shape (2,)."""
    glance = int(np.floor(clock_s / GLANCE_S))
    before, after = (_glance(number, seed) for number in (glance - 1, glance))
    begins = np.random.default_rng([seed, 13, _natural(glance)]).uniform(0, GLANCE_S - SACCADE_S)
    share = np.clip((clock_s - glance * GLANCE_S - begins) / SACCADE_S, 0, 1)
    return np.asarray(before + (after - before) * share**2 * (3 - 2 * share))


def _glance(number: int, seed: int) -> FloatArray:
    rng = np.random.default_rng([seed, 14, _natural(number)])
    return np.radians(GAZE_DEG) * rng.uniform(-1, 1, 2)


def _natural(number: int) -> int:
    """A number of either sign as one that a generator takes."""
    return 2 * number if number >= 0 else -2 * number - 1


@dataclass(frozen=True, eq=False)
class Creases:
    """Creases in a face, by cause and side, as `CREASE_NAMES` has them.

    Attributes:
        picture: How dark each makes the texture, shape (size, size, crease), 0..1.
        depth: How deep the skin folds in each, shape (vertex, crease), metres.
        strengths: What one unit of each expression code adds to each, shape (crease, 52).
    """

    picture: Float32Array
    depth: FloatArray
    strengths: FloatArray

    def strength(self, expression: FloatArray) -> FloatArray:
        """How strong each crease is, shape (crease,), 0..1."""
        return np.asarray(np.clip(self.strengths @ expression, 0, 1))


@lru_cache(maxsize=2)
def make_creases(size: int) -> Creases:
    """Creases over a texture of ``size`` texels a side."""
    template = load_template()
    uv_map, points = texel_points(size)
    on_head = np.flatnonzero((points.region == template.region_names.index("head")) & (points.position[:, 2] > 0.05))
    dark = np.zeros((len(points.lip), len(CREASE_NAMES)), np.float32)
    depth = np.zeros((len(template.vertices), len(CREASE_NAMES)))
    skin = np.flatnonzero(template.region("head") & (template.vertices[:, 2] > 0.05) & ~template.region("mouth"))
    for cause, lines in enumerate(CREASES.values()):
        both = slice(2 * cause, 2 * cause + 2)
        at = points.position[on_head]
        dark[on_head, both] = CREASE_DARKNESS * groove(crease_distance(at, lines), LINE_M) * sides(at)
        if cause:  # the forehead folds in a surface of its own: its mesh is too coarse
            at = template.vertices[skin].astype(np.float64)
            depth[skin, both] = FOLD_DEPTH_M * groove(crease_distance(at, lines[:1]), FOLD_M) * sides(at)
    return Creases(uv_map.picture(dark), depth, np.concatenate([_by_side(codes) for codes in CREASE_CODES.values()]))


def _by_side(codes: Mapping[str, float]) -> FloatArray:
    """What one unit of each expression code adds to the left and the right crease, shape (2, 52)."""
    template = load_template()
    both = codes_of(template, codes)
    away = [np.array([name.endswith(side) for name in template.expressions]) for side in ("Right", "Left")]
    return np.where(away, 0, both)


def groove(distance: FloatArray, width_m: float) -> FloatArray:
    """1 in a line to 0 away from it, shape (n, 1)."""
    return np.asarray(np.exp(-((distance / width_m) ** 2) / 2)[:, None])


def sides(points: FloatArray) -> FloatArray:
    """How much points, shape (n, 3), belong to the person's left and right, shape (n, 2), summing to 1."""
    left = np.clip(0.5 + points[:, 0] / (2 * MIDLINE_M), 0, 1)
    left = left**2 * (3 - 2 * left)
    return np.stack([left, 1 - left], axis=1)


def crease_distance(points: FloatArray, lines: tuple[tuple[tuple[float, float], ...], ...]) -> FloatArray:
    """From points, shape (n, 3), to the nearest of some lines seen from the front, shape (n,), metres."""
    at = np.stack([np.abs(points[:, 0]), points[:, 1]], axis=1)
    nearest = np.full(len(at), np.inf)
    for line in lines:
        for start, end in pairwise(np.array(line)):
            along = np.clip((at - start) @ (end - start) / ((end - start) @ (end - start)), 0, 1)
            nearest = np.minimum(nearest, np.linalg.norm(at - start - along[:, None] * (end - start), axis=1))
    return nearest

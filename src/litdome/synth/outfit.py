"""What the simulated person wears: labels of the template's surface, albedo texture, roughness and loose cloth.

Everything is a function of the rest position, so that texture, roughness and displacement agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy.spatial import cKDTree

from litdome.synth.hair import hair_covers, hair_offsets
from litdome.synth.smooth import inner, smooth_noise, spread
from litdome.synth.subjects import Outfit
from litdome.template.model import Float32Array, FloatArray, IntArray, Template, load_template
from litdome.template.skinning import vertex_normals
from litdome.template.uv import UvMap, rasterise_uv

SKIN, HAIR, SHIRT, TROUSERS, SHOES, EYE, MOUTH = range(7)
ROUGHNESS = np.array([0.45, 0.5, 0.85, 0.8, 0.5, 0.15, 0.3], np.float32)
ARM_BONES = ("upperarm", "lowerarm", "wrist", "finger", "metacarpal")
ANKLE_M = 0.1
PART_NAMES = ("body", "face", "hands", "eyes", "hair", "clothes")
EYE_RADIUS_M = 0.016
SLEEVE_SAG = 0.6  # of its width, below the arm


@dataclass(frozen=True, eq=False)
class Points:
    """Surface points at rest, n of them.

    Attributes:
        position: Shape (n, 3), metres.
        region: Index into the template's region names, shape (n,).
        arm: Share of the skin weights on arm and hand bones, shape (n,).
        lip: Distance to the rim of the mouth, metres.
    """

    position: FloatArray
    region: IntArray
    arm: FloatArray
    lip: FloatArray

    def along_arm(self, template: Template) -> FloatArray:
        """Distance from the shoulder joint along the bent arm, shape (n,), metres."""
        joints = [template.joints[template.bone(f"{name}.L")] for name in ("upperarm01", "lowerarm01", "wrist")]
        mirrored = self.position * np.where(self.position[:, :1] < 0, [-1.0, 1.0, 1.0], 1.0)
        distance = np.zeros(len(mirrored))
        for start, end in pairwise(joints):
            length = float(np.linalg.norm(end - start))
            distance += np.clip((mirrored - start) @ (end - start) / length, 0, length)
        return distance


def vertex_points(template: Template) -> Points:
    """The template's vertices as points; a vertex between two regions belongs to the later one."""
    region = np.zeros(len(template.vertices), np.int32)
    for index in range(len(template.region_names)):
        region[template.faces[template.face_regions == index]] = index
    rim = template.vertices[template.region("head") & template.region("mouth")]
    lip = np.asarray(cKDTree(rim).query(template.vertices)[0])
    on_arm = np.array([name.startswith(ARM_BONES) for name in template.bones])
    arm = (template.weights * on_arm[template.weight_bones]).sum(axis=1)
    return Points(template.vertices.astype(np.float64), region, arm, lip)


@lru_cache(maxsize=2)
def texel_points(size: int) -> tuple[UvMap, Points]:
    """The points under a texture's texels."""
    template = load_template()
    uv_map = rasterise_uv(template, size)
    at = vertex_points(template)
    values = np.column_stack([at.position, at.arm, at.lip])
    texels = uv_map.interpolate(values, template.faces)
    region = template.face_regions[uv_map.face]
    return uv_map, Points(texels[:, :3], region, texels[:, 3], texels[:, 4])


def label_points(template: Template, outfit: Outfit, points: Points) -> IntArray:
    """What covers each point: SKIN, HAIR, SHIRT, ..., shape (n,)."""
    y, z = points.position[:, 1], points.position[:, 2]
    region = np.array(template.region_names)[points.region]
    body, head = region == "body", region == "head"
    ripple = 0.006 * smooth_noise(points.position, 0.05, outfit.seed)
    labels = np.full(len(y), SKIN, np.int32)
    sleeve = points.along_arm(template) + ripple * 0.3 < outfit.sleeve_m
    collar = y + 0.45 * z < 1.425
    labels[body & collar & (y > outfit.hem_m) & ((points.arm < 0.5) | sleeve)] = SHIRT
    labels[body & (points.arm < 0.5) & (y <= outfit.hem_m)] = TROUSERS
    labels[np.char.startswith(region, "foot") | (body & (y < ANKLE_M))] = SHOES
    labels[hair_covers(outfit.hair_style, points.position, head, outfit.seed) & (head | (labels == SKIN))] = HAIR
    labels[np.char.startswith(region, "eye_") & (region != "eye_sockets")] = EYE
    labels[(region == "mouth") | (region == "tongue")] = MOUTH
    return labels


def part_labels(template: Template, outfit: Outfit) -> IntArray:
    """Index into `PART_NAMES` of each face of the template, shape (face,)."""
    corners = label_points(template, outfit, vertex_points(template))[template.faces]
    covered = np.median(corners, axis=1).astype(np.int32)
    region = np.array(template.region_names)[template.face_regions]
    part = np.full(len(covered), PART_NAMES.index("body"), np.int32)
    part[np.isin(region, ("head", "mouth", "tongue", "eye_sockets"))] = PART_NAMES.index("face")
    part[np.char.startswith(region, "hand")] = PART_NAMES.index("hands")
    part[np.isin(region, ("eye_left", "eye_right"))] = PART_NAMES.index("eyes")
    part[covered == HAIR] = PART_NAMES.index("hair")
    part[np.isin(covered, (SHIRT, TROUSERS, SHOES))] = PART_NAMES.index("clothes")
    return part


def cloth_offsets(person: Template, outfit: Outfit) -> FloatArray:
    """How far clothes and hair stand off a person's skin at rest, shape (vertex, 3), metres."""
    template = load_template()
    points = vertex_points(template)
    labels = label_points(template, outfit, points)
    shirt, y = inner(labels == SHIRT, template.faces), points.position[:, 1]
    folds = smooth_noise(points.position, 0.16, outfit.seed + 1)
    torso = np.clip(1.5 * (1 - points.arm) - 0.25, 0, 1)
    hang = np.clip((1.25 - y) / (1.25 - outfit.hem_m), 0, 1) * torso
    cuff = points.arm * np.clip(2 * points.along_arm(template) / outfit.sleeve_m - 1, 0, 1) ** 2
    flare = outfit.flare_m * (hang**2 + cuff / 2)
    height = np.zeros(len(labels))
    height[shirt] = (outfit.loose_m + outfit.fold_m * folds + flare)[shirt]
    height[labels == TROUSERS] = (0.004 + 0.35 * outfit.loose_m + 0.4 * outfit.fold_m * folds)[labels == TROUSERS]
    height = spread(np.maximum(height, 0)[:, None], template.faces, labels + 10 * shirt, rounds=2)
    offsets = vertex_normals(person.vertices, person.faces) * height
    at_hem = (y < outfit.hem_m + 0.06) & (points.arm < 0.5)  # there the shirt ends in a step, elsewhere in a slope
    if outfit.drop_m:
        at_hem |= np.abs(points.along_arm(template) - outfit.sleeve_m) < 0.06
        longer = outfit.drop_m * _overhang(person, points, hang, cuff)
        longer[:, 1] -= SLEEVE_SAG * points.arm * height[:, 0]
        offsets += longer * shirt[:, None]
    offsets = spread(offsets, template.faces, np.where(at_hem, 1 + shirt, 0), rounds=3)
    hair = hair_offsets(person, outfit.hair_style, labels == HAIR, points.position, outfit.seed)
    return offsets + hair


def _overhang(person: Template, points: Points, hang: FloatArray, cuff: FloatArray) -> FloatArray:
    """How much lower a free hem hangs, and how much farther a free cuff reaches, shape (vertex, 3), for a drop of 1."""
    longer = np.zeros((len(hang), 3))
    longer[:, 1] = -(hang**2)
    for side, sign in (("L", 1.0), ("R", -1.0)):
        along = person.joints[person.bone(f"wrist.{side}")] - person.joints[person.bone(f"lowerarm01.{side}")]
        here = (sign * points.position[:, 0] > 0) * cuff / 2
        longer += here[:, None] * along / np.linalg.norm(along)
    return longer


def vertex_roughness(template: Template, outfit: Outfit) -> Float32Array:
    """Roughness 0..1, shape (vertex,)."""
    return ROUGHNESS[label_points(template, outfit, vertex_points(template))]


def paint_texture(template: Template, outfit: Outfit, size: int) -> Float32Array:
    """Linear albedo over the template's UV layout, shape (size, size, 3)."""
    uv_map, points = texel_points(size)
    labels = label_points(template, outfit, points)
    mottle = smooth_noise(points.position, 0.03, outfit.seed + 2)[:, None]
    colors = np.array(
        [outfit.skin, outfit.hair, outfit.shirt, outfit.trousers, outfit.shoes, (0.75,) * 3, (0.2, 0.04, 0.04)]
    )
    albedo = colors[labels]
    skin, hair, shirt = labels == SKIN, labels == HAIR, labels == SHIRT
    albedo[skin] = _paint_skin(template, outfit, points)[skin] * (1 + 0.06 * mottle[skin])
    albedo[hair] *= 1 + 0.2 * np.sin(900 * points.position[hair, :1] + 2 * mottle[hair])
    albedo[shirt] = _paint_shirt(template, outfit, points)[shirt]
    albedo[labels == EYE] = _paint_eyes(template, outfit, points)[labels == EYE]
    return uv_map.picture(np.clip(albedo, 0, 1).astype(np.float32))


def _paint_skin(template: Template, outfit: Outfit, points: Points) -> FloatArray:
    skin = np.tile(outfit.skin, (len(points.lip), 1))
    head = points.region == template.region_names.index("head")
    skin[head & (points.lip < 0.007)] *= (0.85, 0.5, 0.5)
    eye = template.joints[template.bone("eye.L")]
    across, up = np.abs(points.position[:, 0]) - eye[0], points.position[:, 1] - eye[1]
    brow = (np.abs(up - 0.024 + 8 * across**2) < 0.004) & (np.abs(across) < 0.021) & (points.position[:, 2] > 0.08)
    skin[head & brow] = outfit.hair
    return skin


def _paint_eyes(template: Template, outfit: Outfit, points: Points) -> FloatArray:
    """White, iris and pupil by the angle from straight ahead."""
    centre = template.joints[template.bone("eye.L")]
    ahead = np.abs(points.position[:, 0]) - centre[0], points.position[:, 1] - centre[1]
    radius = np.where(points.position[:, 2] > centre[2], np.hypot(*ahead), 1.0)[:, None] / EYE_RADIUS_M
    eye = np.where(radius < 0.42, outfit.iris, (0.75, 0.72, 0.7))
    return np.where(radius < 0.18, 0.01, eye)


def _paint_shirt(template: Template, outfit: Outfit, points: Points) -> FloatArray:
    shirt = np.tile(outfit.shirt, (len(points.arm), 1))
    if outfit.pattern == "plain":
        return shirt
    x, y, z = points.position.T
    around = np.where(points.arm > 0.5, z, 0.15 * np.arctan2(x, z + 0.02))
    down = np.where(points.arm > 0.5, points.along_arm(template), y)
    rows = np.sin(2 * np.pi * down / 0.07) > 0
    columns = np.sin(2 * np.pi * around / 0.07) > 0
    mixed = 0.5 * (np.array(outfit.shirt) + outfit.accent)
    if outfit.pattern == "stripes":
        shirt[np.sin(2 * np.pi * down / 0.05) > 0.2] = outfit.accent
    else:
        shirt[rows ^ columns] = mixed
        shirt[rows & columns] = outfit.accent
    _print_patch(shirt, points, outfit)
    return shirt


def _print_patch(shirt: FloatArray, points: Points, outfit: Outfit) -> None:
    """A light square with a ring and bars on the chest, and a disc on the back."""
    x, y, z = points.position.T
    torso = points.arm < 0.3
    square = torso & (z > 0) & (np.abs(x) < 0.085) & (np.abs(y - 1.24) < 0.085)
    ring = np.abs(np.hypot(x + 0.02, y - 1.255) - 0.04) < 0.01
    bars = (np.abs(y - 1.185) < 0.012) & (np.sin(2 * np.pi * x / 0.03) > 0)
    shirt[square] = (0.7, 0.7, 0.66)
    shirt[square & (ring | bars)] = outfit.accent
    shirt[torso & (z < 0) & (np.hypot(x, y - 1.25) < 0.09)] = (0.65, 0.5, 0.12)

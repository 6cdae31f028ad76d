"""The ladder of subjects: from tight clothes in flat colours to very loose ones in detailed patterns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Color = tuple[float, float, float]
Pattern = Literal["plain", "stripes", "checks"]


@dataclass(frozen=True)
class Hair:
    """A hair style.

    Attributes:
        thickness_m: How far it stands off on average.
        bumps_m: How much locks add to or take from that.
        lock_m: Size of the locks.
        falls_to_m: Height above ground at rest that it falls to behind and beside the face; None: cut above the ears.
    """

    thickness_m: float = 0.012
    bumps_m: float = 0.005
    lock_m: float = 0.05
    falls_to_m: float | None = None


@dataclass(frozen=True)
class Bump:
    """A smooth change of a face, both sides alike.

    Attributes:
        centre: On the template's left half at rest, metres.
        radius_m: The change falls to 0.6 of its size that far away.
        shift: Movement of the centre, metres; the right side mirrors it.
    """

    centre: tuple[float, float, float]
    radius_m: float
    shift: tuple[float, float, float]


@dataclass(frozen=True)
class Physique:
    """How a person differs from the template: factors of lengths, 1 for no difference.

    Attributes:
        height: All of the body.
        torso, belly, arms, legs, neck: Girth.
        shoulders, hips: Breadth.
        leg_length, arm_length: Along the bones.
        head: Size.
        face: Bumps.
    """

    height: float = 1.0
    torso: float = 1.0
    belly: float = 1.0
    arms: float = 1.0
    legs: float = 1.0
    neck: float = 1.0
    shoulders: float = 1.0
    hips: float = 1.0
    leg_length: float = 1.0
    arm_length: float = 1.0
    head: float = 1.0
    face: tuple[Bump, ...] = ()


@dataclass(frozen=True)
class Outfit:
    """Colours are linear albedo; lengths metres at rest.

    Attributes:
        sleeve_m: Length of the sleeves from the shoulder joint.
        loose_m: How far the shirt stands off the skin on average.
        fold_m: How much its folds add to or take from that.
        hair_style: Cut and thickness of the hair.
        hem_m: Height of the shirt's hem.
        flare_m: How much farther the hem stands off than the rest; a cuff half as much.
        drop_m: How far the hem hangs below where it is sewn to nothing; a cuff half as far.
    """

    skin: Color
    hair: Color
    iris: Color
    shirt: Color
    accent: Color
    trousers: Color
    shoes: Color
    pattern: Pattern
    sleeve_m: float
    loose_m: float
    fold_m: float
    seed: int
    hair_style: Hair
    hem_m: float = 0.97
    flare_m: float = 0.0
    drop_m: float = 0.0


@dataclass(frozen=True)
class Ring:
    """How the body cameras of a session stand around the person.

    Attributes:
        distance_m: From the person, on average.
        heights_m: Above the ground, neighbours in turn.
        span_deg: From the first camera to the last, where there are enough.
        apart_deg: Between neighbours, at most.
        sees_m: Height that a picture holds at the person.
        barrel: How much the lenses distort.
    """

    distance_m: float = 3.2
    heights_m: tuple[float, ...] = (1.5, 0.55)
    span_deg: float = 300.0
    apart_deg: float = 45.0
    sees_m: float = 2.15
    barrel: float = 1.0


@dataclass(frozen=True)
class Subject:
    """Who is filmed, and how their session was set up.

    Attributes:
        summary: In a few words.
        outfit: Clothes, hair, colours.
        physique: Shape, against the template's.
        sway_hz: How fast the loosest cloth swings by itself; None: nothing moves outside the skinning.
        light_gain: Of the session against exposure 1.
        face_cameras: How many film the face.
        ring: The body cameras.
    """

    summary: str
    outfit: Outfit
    physique: Physique
    sway_hz: float | None
    light_gain: float
    face_cameras: int
    ring: Ring


FIRST_RING = Ring()
LATER_RING = Ring(distance_m=2.8, heights_m=(1.25, 0.4, 1.9), span_deg=312.0, apart_deg=39.0, sees_m=2.25, barrel=0.45)

SUBJECTS = {
    "s1": Subject(
        summary="tight clothes in flat colours; own session with brighter light, no face cameras",
        outfit=Outfit(
            skin=(0.52, 0.32, 0.23), hair=(0.05, 0.03, 0.02), iris=(0.12, 0.2, 0.25), shirt=(0.07, 0.19, 0.33),
            accent=(0.07, 0.19, 0.33), trousers=(0.12, 0.12, 0.13), shoes=(0.05, 0.05, 0.05), pattern="plain",
            sleeve_m=0.17, loose_m=0.003, fold_m=0.0, seed=1, hair_style=Hair(),
        ),
        physique=Physique(),
        sway_hz=None, light_gain=1.0, face_cameras=0, ring=FIRST_RING,
    ),
    "s2": Subject(
        summary="tight clothes, striped",
        outfit=Outfit(
            skin=(0.36, 0.20, 0.13), hair=(0.015, 0.012, 0.01), iris=(0.05, 0.025, 0.01), shirt=(0.55, 0.52, 0.47),
            accent=(0.40, 0.04, 0.05), trousers=(0.05, 0.08, 0.17), shoes=(0.5, 0.5, 0.48), pattern="stripes",
            sleeve_m=0.47, loose_m=0.005, fold_m=0.002, seed=2,
            hair_style=Hair(thickness_m=0.03, bumps_m=0.006, lock_m=0.04),
        ),
        physique=Physique(
            height=1.05, torso=1.06, belly=0.96, arms=1.08, legs=1.02, neck=1.08, shoulders=1.12, leg_length=1.02,
            face=(
                Bump((0.0, 1.552, 0.153), 0.012, (0.0, -0.002, 0.006)),
                Bump((0.055, 1.515, 0.075), 0.022, (0.007, -0.002, 0.0)),
                Bump((0.0, 1.487, 0.13), 0.016, (0.0, -0.004, 0.004)),
            ),
        ),
        sway_hz=None, light_gain=0.8, face_cameras=3, ring=LATER_RING,
    ),
    "s3": Subject(
        summary="semi-loose clothes in flat colours",
        outfit=Outfit(
            skin=(0.16, 0.085, 0.055), hair=(0.01, 0.01, 0.01), iris=(0.04, 0.02, 0.01), shirt=(0.42, 0.30, 0.06),
            accent=(0.42, 0.30, 0.06), trousers=(0.28, 0.24, 0.18), shoes=(0.10, 0.05, 0.03), pattern="plain",
            sleeve_m=0.45, loose_m=0.017, fold_m=0.010, seed=3, hem_m=0.92, flare_m=0.018, drop_m=0.075,
            hair_style=Hair(thickness_m=0.012, bumps_m=0.004, lock_m=0.06, falls_to_m=1.455),
        ),
        physique=Physique(
            height=0.95, torso=0.94, belly=1.02, arms=0.92, legs=1.06, neck=0.9, shoulders=0.9, hips=1.1, head=0.99,
            face=(
                Bump((0.0, 1.553, 0.152), 0.014, (0.0, 0.001, -0.004)),
                Bump((0.045, 1.555, 0.10), 0.02, (0.003, 0.002, 0.004)),
                Bump((0.05, 1.508, 0.08), 0.022, (-0.006, 0.002, 0.0)),
                Bump((0.0, 1.522, 0.138), 0.012, (0.0, 0.0, 0.002)),
            ),
        ),
        sway_hz=2.4, light_gain=0.8, face_cameras=3, ring=LATER_RING,
    ),
    "s4": Subject(
        summary="very loose clothes, checked",
        outfit=Outfit(
            skin=(0.60, 0.40, 0.31), hair=(0.30, 0.17, 0.06), iris=(0.06, 0.16, 0.07), shirt=(0.08, 0.25, 0.13),
            accent=(0.50, 0.42, 0.08), trousers=(0.16, 0.10, 0.07), shoes=(0.08, 0.08, 0.09), pattern="checks",
            sleeve_m=0.40, loose_m=0.034, fold_m=0.020, seed=4, hem_m=0.89, flare_m=0.035, drop_m=0.1,
            hair_style=Hair(thickness_m=0.026, bumps_m=0.014, lock_m=0.07),
        ),
        physique=Physique(
            height=1.01, torso=1.1, belly=1.2, arms=1.14, legs=1.12, neck=1.12, shoulders=1.03, hips=1.06,
            leg_length=0.96, head=1.02,
            face=(
                Bump((0.0, 1.555, 0.150), 0.016, (0.0, -0.001, 0.003)),
                Bump((0.05, 1.53, 0.085), 0.028, (0.008, 0.0, 0.003)),
                Bump((0.0, 1.485, 0.10), 0.02, (0.0, -0.005, 0.002)),
                Bump((0.0, 1.62, 0.136), 0.02, (0.0, 0.0, 0.003)),
            ),
        ),
        sway_hz=1.5, light_gain=0.8, face_cameras=3, ring=LATER_RING,
    ),
}  # fmt: skip

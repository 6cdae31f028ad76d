"""Clothes and hair that swing: what they do on top of following the skin, lagging, sagging, overshooting and settling.

Each vertex hangs on a damped spring from where the skinned cloth is, is dragged by the air, pulls its neighbours along
and never sinks into whatever skin is near. A shirt's hem hangs from the trunk: legs push it, and do not carry it.
Gravity is in the shape at rest; where the body turns away from rest, cloth falls. Simulated in pieces of a few seconds
that each start a second early and fade into each other, so that any time can be asked for, in any order, and gives the
same answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from litdome.synth.outfit import HAIR, SHIRT, SHOES, TROUSERS, label_points, vertex_points
from litdome.synth.subjects import Outfit
from litdome.template.model import FloatArray, IntArray, Template, load_template
from litdome.template.skinning import Pose, skin, vertex_normals

STEP_S, SUB_STEPS = 0.04, 4
PIECE_S, WARM_UP_S, FADE_S = 4.0, 1.0, 0.24
PIECES_KEPT = 3
TIGHT_HZ = 5.0  # where cloth is held: the stiffest spring that a sub-step of 10 ms follows well
DAMPING = 0.3  # of the critical one
DRAG_PER_S = 4.0  # air
PULL_HZ = 5.0  # between neighbours
GRAVITY = np.array([0.0, -9.81, 0.0])
FARTHEST_M = 0.12
SKIN_GAP_M = 0.004  # triangles of 26 mm cut 1 mm into a thigh between their corners
ROUNDS, LOOKS = 20, 3  # to find where cloth comes to rest


@dataclass(frozen=True, eq=False)
class Fabric:
    """The part of a person's surface that swings, n vertices of it.

    Attributes:
        vertices: Which of the template's, shape (n,).
        spring: Of each vertex, shape (n, 1), 1/s2.
        mean_of_neighbours: Shape (n, n); a neighbour where the cloth is held counts as at rest.
    """

    vertices: IntArray
    spring: FloatArray
    mean_of_neighbours: csr_array


@dataclass(frozen=True, eq=False)
class Hang:
    """A moment of cloth that only follows the skin.

    Attributes:
        at: Its vertices, shape (n, 3), metres, world.
        turned: Where what was below at rest is now, unit, shape (n, 3).
        skin, out: Points of the body that cloth may not sink into, metres, and their outward normals, shape (m, 3).
    """

    at: FloatArray
    turned: FloatArray
    skin: FloatArray
    out: FloatArray

    def below(self, lag: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Of the nearest skin below each vertex: its normal, shape (n, 3), and how far it is without lag, (n, 1)."""
        nearest = cKDTree(self.skin).query(self.at + lag)[1]
        out = self.out[nearest]
        return out, ((self.at - self.skin[nearest]) * out).sum(axis=1, keepdims=True)


def make_fabric(person: Template, outfit: Outfit, sway_hz: float) -> Fabric:
    """What swings of a person's clothes and hair.

    Args:
        person: At rest.
        outfit: What they wear.
        sway_hz: How fast the loosest cloth swings by itself.
    """
    loose, labels = _looseness(outfit), _labels(outfit)
    inside = loose > 0.02
    vertices = np.flatnonzero(inside).astype(np.int32)
    number = np.full(len(loose), -1, np.int32)
    number[vertices] = np.arange(len(vertices))
    edges = person.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    edges = edges[labels[edges[:, 0]] == labels[edges[:, 1]]]  # a hem is sewn to nothing
    degree = np.maximum(np.bincount(edges[:, 0], minlength=len(loose)), 1)
    edges = edges[inside[edges].all(axis=1)]
    share = 1 / degree[edges[:, 0]]
    mean = csr_array((share, (number[edges[:, 0]], number[edges[:, 1]])), shape=(len(vertices), len(vertices)))
    hz = TIGHT_HZ * (sway_hz / TIGHT_HZ) ** loose[vertices]
    return Fabric(vertices=vertices, spring=((2 * np.pi * hz) ** 2)[:, None], mean_of_neighbours=mean)


def hung(person: Template, outfit: Outfit) -> Template:
    """The person with a shirt that the trunk carries alone, not the thighs below it."""
    on_leg = np.array([name.startswith(("upperleg", "lowerleg")) for name in person.bones])
    shirt = (_labels(outfit) == SHIRT)[:, None] & on_leg[person.weight_bones]
    return replace(person, weight_bones=np.where(shirt, person.bone("root"), person.weight_bones).astype(np.int32))


def hangs(person: Template, outfit: Outfit, fabric: Fabric, offsets: FloatArray) -> Callable[[Pose], Hang]:
    """How a person's fabric follows a pose.

    Args:
        person: As of `hung`.
        outfit: What they wear.
        fabric: Of it.
        offsets: Of clothes and hair over the skin, shape (vertex, 3), metres.
    """
    some, labels = fabric.vertices, _labels(outfit)
    covered = np.union1d(np.flatnonzero(person.region("body")), some)
    number = np.full(len(labels), -1, np.int32)
    number[covered] = np.arange(len(covered))
    faces = number[person.faces[(number[person.faces] >= 0).all(axis=1)]]
    under = np.where(np.isin(labels, (TROUSERS, SHOES))[:, None], offsets, 0.0)
    own = np.concatenate([some, some, covered])
    part = replace(
        person, vertices=person.vertices[own], weights=person.weights[own], weight_bones=person.weight_bones[own]
    )
    off = np.concatenate([offsets[some], offsets[some] + [0.0, -1.0, 0.0], under[covered]])

    def follow(pose: Pose) -> Hang:
        at, below, skin_at = np.split(skin(part, pose, offsets=off), [len(some), 2 * len(some)])
        return Hang(at, below - at, skin_at, vertex_normals(skin_at, faces))

    return follow


def _labels(outfit: Outfit) -> IntArray:
    template = load_template()
    return label_points(template, outfit, vertex_points(template))


def _looseness(outfit: Outfit) -> FloatArray:
    """0 where nothing swings to 1 at the hem, shape (vertex,)."""
    template = load_template()
    points = vertex_points(template)
    labels, y = label_points(template, outfit, points), points.position[:, 1]
    along = points.along_arm(template)
    torso = np.clip((1.36 - y) / (1.36 - outfit.hem_m), 0, 1)
    sleeve = 0.55 * np.clip(along / 0.2, 0, 1)
    loose = np.zeros(len(y))
    loose[labels == SHIRT] = (torso + points.arm * (sleeve - torso))[labels == SHIRT]
    loose[labels == TROUSERS] = 0.45 * np.clip((0.75 - y) / 0.3, 0, 1)[labels == TROUSERS]
    if outfit.hair_style.falls_to_m is not None:
        loose[labels == HAIR] = np.clip((1.58 - y) / 0.12, 0, 1)[labels == HAIR]
    return loose


class Cloth:
    """How far fabric is from where the skinned cloth is, at any time."""

    def __init__(self, fabric: Fabric, hang: Callable[[float], Hang]) -> None:
        """``hang`` gives the fabric as it only follows the skin, at a time."""
        self._fabric, self._hang = fabric, hang
        self._pieces: dict[int, _Piece] = {}
        self._lock = Lock()

    def lag(self, time_s: float) -> FloatArray:
        """Shape (n, 3), metres, world."""
        number = int(np.floor(time_s / PIECE_S))
        with self._lock:
            lag = self._piece(number).at(time_s)
            share = (time_s - number * PIECE_S) / FADE_S
            if share < 1:
                lag += (1 - share**2 * (3 - 2 * share)) * (self._piece(number - 1).at(time_s) - lag)
        return lag

    def _piece(self, number: int) -> _Piece:
        piece = self._pieces.pop(number, None) or _Piece(self._fabric, self._hang, number * PIECE_S - WARM_UP_S)
        self._pieces[number] = piece
        if len(self._pieces) > PIECES_KEPT:
            del self._pieces[next(iter(self._pieces))]
        return piece


class _Piece:
    """A simulation from a start at rest, taken as far as was asked for."""

    def __init__(self, fabric: Fabric, hang: Callable[[float], Hang], start_s: float) -> None:
        self._fabric, self._hang, self._start_s = fabric, hang, start_s
        self._hangs = [hang(start_s + k * STEP_S) for k in (-1, 0, 1)]
        lag = resting(fabric, self._hangs[1]).astype(np.float32)
        self._lag, self._velocity = [lag], [np.zeros_like(lag)]

    def at(self, time_s: float) -> FloatArray:
        """Lag, shape (n, 3): a cubic between steps."""
        position = (time_s - self._start_s) / STEP_S
        step = int(position)
        while len(self._lag) < step + 2:
            self._advance()
        s = position - step
        before, after = self._lag[step], self._lag[step + 1]
        slope = s * (1 - s) ** 2 * self._velocity[step] - s**2 * (1 - s) * self._velocity[step + 1]
        return np.asarray(before + s**2 * (3 - 2 * s) * (after - before) + STEP_S * slope, np.float64)

    def _advance(self) -> None:
        fabric = self._fabric
        self._hangs.append(self._hang(self._start_s + (len(self._lag) + 1) * STEP_S))
        first, here, there, last = (hang.at for hang in self._hangs)
        moves = [(there - first) / (2 * STEP_S), (last - here) / (2 * STEP_S)]
        pushes = [(there - 2 * here + first) / STEP_S**2, (last - 2 * there + here) / STEP_S**2]
        lag, velocity = self._lag[-1].astype(np.float64), self._velocity[-1].astype(np.float64)
        out, room_m = self._hangs[2].below(lag)
        fall = _fall(self._hangs[2])
        pull = (2 * np.pi * PULL_HZ) ** 2
        damping = 2 * DAMPING * np.sqrt(fabric.spring)
        dt = STEP_S / SUB_STEPS
        for sub in range(SUB_STEPS):
            share = (sub + 0.5) / SUB_STEPS
            move, push = (pair[0] + share * (pair[1] - pair[0]) for pair in (moves, pushes))
            force = fall - push - fabric.spring * lag - damping * velocity - DRAG_PER_S * (move + velocity)
            force += pull * (fabric.mean_of_neighbours @ lag - lag)
            velocity += dt * force
            lag += dt * velocity
            _keep_outside(lag, velocity, out, room_m)
        self._lag.append(lag.astype(np.float32))
        self._velocity.append(velocity.astype(np.float32))
        del self._hangs[0]


def resting(fabric: Fabric, hang: Hang) -> FloatArray:
    """Lag of fabric on somebody who has long stood like that, shape (n, 3), metres."""
    lag = np.zeros_like(hang.at)
    fall, pull = _fall(hang), (2 * np.pi * PULL_HZ) ** 2
    for _ in range(LOOKS):
        out, room_m = hang.below(lag)
        for _ in range(ROUNDS):
            lag = (fall + pull * (fabric.mean_of_neighbours @ lag)) / (fabric.spring + pull)
            _keep_outside(lag, np.zeros_like(lag), out, room_m)
    return lag


def _fall(hang: Hang) -> FloatArray:
    """What gravity does beyond what it did at rest, shape (n, 3), m/s2."""
    return np.asarray(GRAVITY - np.linalg.norm(GRAVITY) * hang.turned)


def _keep_outside(lag: FloatArray, velocity: FloatArray, out: FloatArray, room_m: FloatArray) -> None:
    """Push what sank into the skin out again, and stop it; nothing goes farther than cloth reaches."""
    sunk = np.maximum(SKIN_GAP_M - room_m - (lag * out).sum(axis=1, keepdims=True), 0)
    lag += sunk * out
    inward = np.minimum((velocity * out).sum(axis=1, keepdims=True), 0)
    velocity -= np.where(sunk > 0, inward, 0) * out
    lag *= np.minimum(1, FARTHEST_M / np.maximum(np.linalg.norm(lag, axis=1, keepdims=True), 1e-9))

"""Clothes and hair that swing: what they do on top of following the skin, lagging, overshooting and settling.

Each vertex hangs on a damped spring from where the skinned cloth is, is dragged by the air, pulls its neighbours along
and never sinks into the skin below. Simulated in pieces of a few seconds that each start a second early and fade into
each other, so that any time can be asked for, in any order, and gives the same answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

import numpy as np
from scipy.sparse import csr_array

from litdome.synth.outfit import HAIR, SHIRT, TROUSERS, label_points, vertex_points
from litdome.synth.subjects import Outfit
from litdome.template.model import FloatArray, IntArray, Template, load_template
from litdome.template.skinning import vertex_normals

STEP_S, SUB_STEPS = 0.04, 4
PIECE_S, WARM_UP_S, FADE_S = 4.0, 1.0, 0.24
PIECES_KEPT = 3
TIGHT_HZ = 5.0  # where cloth is held: the stiffest spring that a sub-step of 10 ms follows well
DAMPING = 0.3  # of the critical one
DRAG_PER_S = 4.0  # air
PULL_HZ = 5.0  # between neighbours
FARTHEST_M = 0.12
SKIN_GAP_M = 0.002


@dataclass(frozen=True, eq=False)
class Fabric:
    """The part of a person's surface that swings, n vertices of it.

    Attributes:
        vertices: Which of the template's, shape (n,).
        faces: Between them, shape (m, 3).
        spring: Of each vertex, shape (n, 1), 1/s2.
        room_m: Between each vertex and the skin below it, shape (n, 1).
        mean_of_neighbours: Shape (n, n); what does not swing counts as at rest.
    """

    vertices: IntArray
    faces: IntArray
    spring: FloatArray
    room_m: FloatArray
    mean_of_neighbours: csr_array


def make_fabric(person: Template, outfit: Outfit, offsets: FloatArray, sway_hz: float) -> Fabric:
    """What swings of a person's clothes and hair.

    Args:
        person: At rest.
        outfit: What they wear.
        offsets: Of clothes and hair over the skin, shape (vertex, 3), metres.
        sway_hz: How fast the loosest cloth swings by itself.
    """
    loose = _looseness(outfit)
    inside = loose > 0.02
    vertices = np.flatnonzero(inside).astype(np.int32)
    number = np.full(len(loose), -1, np.int32)
    number[vertices] = np.arange(len(vertices))
    edges = person.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    degree = np.bincount(edges[:, 0], minlength=len(loose))
    edges = edges[inside[edges].all(axis=1)]
    share = 1 / degree[edges[:, 0]]
    mean = csr_array((share, (number[edges[:, 0]], number[edges[:, 1]])), shape=(len(vertices), len(vertices)))
    hz = TIGHT_HZ * (sway_hz / TIGHT_HZ) ** loose[vertices]
    return Fabric(
        vertices=vertices,
        faces=number[person.faces[inside[person.faces].all(axis=1)]],
        spring=((2 * np.pi * hz) ** 2)[:, None],
        room_m=np.linalg.norm(offsets[vertices], axis=1, keepdims=True),
        mean_of_neighbours=mean,
    )


def _looseness(outfit: Outfit) -> FloatArray:
    """0 where nothing swings to 1 at the hem, shape (vertex,)."""
    template = load_template()
    points = vertex_points(template)
    labels, y = label_points(template, outfit, points), points.position[:, 1]
    along = points.along_arm(template)
    torso = np.clip((1.36 - y) / (1.36 - outfit.hem_m), 0, 1)
    sleeve = 0.8 * np.clip(along / 0.2, 0, 1)
    loose = np.zeros(len(y))
    loose[labels == SHIRT] = (torso + points.arm * (sleeve - torso))[labels == SHIRT]
    loose[labels == TROUSERS] = 0.45 * np.clip((0.75 - y) / 0.3, 0, 1)[labels == TROUSERS]
    if outfit.hair_style.falls_to_m is not None:
        loose[labels == HAIR] = np.clip((1.58 - y) / 0.12, 0, 1)[labels == HAIR]
    return loose


class Cloth:
    """How far fabric is from where the skinned cloth is, at any time."""

    def __init__(self, fabric: Fabric, skinned: Callable[[float], FloatArray]) -> None:
        """``skinned`` gives the fabric's vertices as they only follow the skin, shape (n, 3), at a time."""
        self._fabric, self._skinned = fabric, skinned
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
        piece = self._pieces.pop(number, None) or _Piece(self._fabric, self._skinned, number * PIECE_S - WARM_UP_S)
        self._pieces[number] = piece
        if len(self._pieces) > PIECES_KEPT:
            del self._pieces[next(iter(self._pieces))]
        return piece


class _Piece:
    """A simulation from a start at rest, taken as far as was asked for."""

    def __init__(self, fabric: Fabric, skinned: Callable[[float], FloatArray], start_s: float) -> None:
        self._fabric, self._skinned, self._start_s = fabric, skinned, start_s
        shape = (len(fabric.vertices), 3)
        self._lag, self._velocity = [np.zeros(shape, np.float32)], [np.zeros(shape, np.float32)]
        self._targets = [skinned(start_s + k * STEP_S) for k in (-1, 0, 1)]

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
        self._targets.append(self._skinned(self._start_s + (len(self._lag) + 1) * STEP_S))
        first, here, there, last = self._targets
        moves = [(there - first) / (2 * STEP_S), (last - here) / (2 * STEP_S)]
        pushes = [(there - 2 * here + first) / STEP_S**2, (last - 2 * there + here) / STEP_S**2]
        out = vertex_normals(there, fabric.faces)
        lag, velocity = self._lag[-1].astype(np.float64), self._velocity[-1].astype(np.float64)
        pull = (2 * np.pi * PULL_HZ) ** 2
        damping = 2 * DAMPING * np.sqrt(fabric.spring)
        dt = STEP_S / SUB_STEPS
        for sub in range(SUB_STEPS):
            share = (sub + 0.5) / SUB_STEPS
            move, push = (pair[0] + share * (pair[1] - pair[0]) for pair in (moves, pushes))
            force = -push - fabric.spring * lag - damping * velocity - DRAG_PER_S * (move + velocity)
            force += pull * (fabric.mean_of_neighbours @ lag - lag)
            velocity += dt * force
            lag += dt * velocity
            _keep_outside(lag, velocity, out, np.maximum(fabric.room_m - SKIN_GAP_M, 0))
        self._lag.append(lag.astype(np.float32))
        self._velocity.append(velocity.astype(np.float32))
        del self._targets[0]


def _keep_outside(lag: FloatArray, velocity: FloatArray, out: FloatArray, room_m: FloatArray) -> None:
    """Push what sank into the skin out again, and stop it; nothing goes farther than cloth reaches."""
    sunk = np.maximum(-(lag * out).sum(axis=1, keepdims=True) - room_m, 0)
    lag += sunk * out
    inward = np.minimum((velocity * out).sum(axis=1, keepdims=True), 0)
    velocity -= np.where(sunk > 0, inward, 0) * out
    lag *= np.minimum(1, FARTHEST_M / np.maximum(np.linalg.norm(lag, axis=1, keepdims=True), 1e-9))

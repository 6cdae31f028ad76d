"""Where each pixel of a relit frame is in the flat frames around it: motion of the second order, with what speaks
against it.

Positions at four flat frames make a cubic in time (Everett's formula): a fraction ``a`` of the step is

    a F - a (1 - a) ((2 - a) A + (1 + a) A') / 6

with the step F and the second differences A and A' at its start and end. A counts as far as the flows that it is made
of undo each other. Where the step's own flow is lost because the other flat frame hides the point, but the step on
the other side is not, the point goes on as it came.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from litdome.preprocess.flow import Step
from litdome.preprocess.motion import Float32Array, Motion, compose, inverse_part, resize_flow, warp

TOLERANCE_PX, TOLERANCE_PART = 1.0, 0.2  # flows undo each other within this and a fifth of the motion
OUTER_SHARE = 0.7  # of a point's motion that the step on its other side gives where its own is lost
FAVOUR = 0.2  # how much more than the other, midway, the flat picture counts whose flows are surer
SMOOTH_PX = 1.0  # of second differences, standard deviation
UNKNOWN_CHANGE = 0.3  # of the motion: how far it is taken to be unsteady where no step beside it is known


@dataclass(frozen=True, eq=False)
class RelitMotion:
    """Fields on the relit frame, px of their own size.

    Attributes:
        to_start, to_end: To the flat frames around it, shape (y, x, 2).
        near_end: Share of the end frame in a blend, shape (y, x), 0..1.
        astray_px: How far flow and flow back miss each other, on the worse side, shape (y, x).
        unsteady_px: How much the velocity changes, both sides together, shape (y, x).
    """

    to_start: Float32Array
    to_end: Float32Array
    near_end: Float32Array
    astray_px: Float32Array
    unsteady_px: Float32Array


@dataclass(frozen=True, eq=False)
class _Side:
    """One flat frame: flow into the segment and out of it on the other side, fields on that frame.

    Attributes:
        inner, outer: Flow to the segment's other flat frame, and to the neighbour beyond, shape (y, x, 2).
        astray_px: How far the inner flow is not undone, shape (y, x).
        inner_sure, outer_sure: How well each is undone, shape (y, x), 0..1.
    """

    inner: Float32Array
    outer: Float32Array | None
    astray_px: Float32Array
    inner_sure: Float32Array
    outer_sure: Float32Array

    @classmethod
    def of(cls, inner: Step, outer: Step | None) -> _Side:
        """Each step as flow from this frame and back to it."""
        astray, sure = _undone(*inner)
        outer_sure = np.zeros_like(sure) if outer is None else _undone(*outer)[1]
        return cls(inner[0], None if outer is None else outer[0], astray, sure, outer_sure)

    def change(self) -> Float32Array:
        """Second difference of the position, shape (y, x, 2); 0 as far as it is not known."""
        if self.outer is None:
            return np.zeros_like(self.inner)
        change = (self.inner + self.outer) * _twice(self.inner_sure * self.outer_sure)
        return np.asarray(cv2.GaussianBlur(change, (0, 0), SMOOTH_PX), np.float32)

    def path(self, part: float, change: Float32Array, other: Float32Array) -> Float32Array:
        """Displacement after ``part`` of the step, shape (y, x, 2), with second differences here and at its end."""
        bend = (2 - part) * change + (1 + part) * warp(other, self.inner)
        path = part * self.inner - np.float32(part * (1 - part) / 6) * bend
        if self.outer is None:
            return np.asarray(path, np.float32)
        lost = _twice(OUTER_SHARE * (1 - self.inner_sure) * self.outer_sure)
        return np.asarray(path - lost * (path + np.float32(part) * self.outer), np.float32)

    def unsteady_px(self) -> Float32Array:
        """Change of velocity, shape (y, x)."""
        if self.outer is None:
            return _length(self.inner) * np.float32(UNKNOWN_CHANGE)
        return _length(self.inner + self.outer)

    def sure(self) -> Float32Array:
        """How well the flows at this frame are undone, shape (y, x), 0..1."""
        return self.inner_sure if self.outer is None else self.inner_sure * self.outer_sure


def relit_motion(motion: Motion, size: tuple[int, int]) -> RelitMotion:
    """Motion from a relit frame to the flat frames around it, for fields of ``size`` = (width, height).

    A relit frame after the last flat one (``alpha`` above 1) continues the last known motion, of the first order.
    """
    segment = motion.segment
    forward, backward = resize_flow(segment.forward, size), resize_flow(segment.backward, size)
    before, after = (_resized(step, size) for step in (motion.before, motion.after))
    start = _Side.of((forward, backward), None if before is None else (before[1], before[0]))
    end = _Side.of((backward, forward), after)
    part = segment.alpha
    if part > 1:
        to_start, to_end = inverse_part(forward, part), inverse_part(backward, 1 - part)
        near_end = np.ones(forward.shape[:2], np.float32)
        astray, unsteady = end.astray_px, 2 * np.float32(part - 1) * warp(start.unsteady_px(), backward)
        return RelitMotion(to_start, to_end, near_end, warp(astray, to_end), warp(unsteady, to_end))
    changes = start.change(), end.change()
    if motion.before is None or motion.after is None:  # one known second difference stands for both
        changes = changes[0] + warp(changes[1], forward), changes[1] + warp(changes[0], backward)
    to_start = inverse_part(start.path(part, *changes), 1.0)
    to_end = inverse_part(end.path(1 - part, *changes[::-1]), 1.0)
    favour = np.float32(4 * FAVOUR * part * (1 - part)) * (warp(end.sure(), to_end) - warp(start.sure(), to_start))
    near_end = np.clip(part + favour, 0, 1)
    astray = np.maximum(warp(start.astray_px, to_start), warp(end.astray_px, to_end))
    unsteady = warp(start.unsteady_px(), to_start) + warp(end.unsteady_px(), to_end)
    return RelitMotion(to_start, to_end, np.asarray(near_end, np.float32), astray, unsteady)


def _resized(step: Step | None, size: tuple[int, int]) -> Step | None:
    return None if step is None else (resize_flow(step[0], size), resize_flow(step[1], size))


def _undone(there: Float32Array, back: Float32Array) -> tuple[Float32Array, Float32Array]:
    """How far ``back`` misses undoing ``there``, px, and as a measure from 1 (undone) to 0; each shape (y, x)."""
    error = _length(compose(there, back))
    allowed = TOLERANCE_PX**2 + (TOLERANCE_PART * _length(there)) ** 2
    return error, np.asarray(np.exp(-error * error / allowed), np.float32)


def _twice(values: Float32Array) -> Float32Array:
    """The same for x and y, shape (y, x, 2): arithmetic on equal shapes is ten times as fast as on (y, x, 1)."""
    return np.asarray(cv2.merge((values, values)), np.float32)


def _length(field: Float32Array) -> Float32Array:
    return np.asarray(cv2.magnitude(field[..., 0], field[..., 1]), np.float32)

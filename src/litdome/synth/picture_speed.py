"""How fast a person moves in the picture, and the same person at a speed that is asked for.

It is the mean movement of the visible surface from one frame to the next, weighted by its area in the picture, over
all cameras and the whole take, in px of a picture 1080 px high.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from litdome.errors import UsageError
from litdome.geometry import Camera, Rig
from litdome.synth.body import Body
from litdome.template.model import FloatArray
from litdome.template.skinning import vertex_normals

PICTURE_HEIGHT = 1080
MOMENTS = 10  # of a take that are measured
CLOSE_ENOUGH, ROUNDS = 0.02, 12
MOST_OFF = 0.1  # of what was asked
FASTEST_PX, FASTEST_SPEED = 40.0, 40.0


def measure_speed_px(body: Body, rig: Rig, times_s: Sequence[float], fps: float) -> float:
    """Mean movement from one frame to the next, px at a height of 1080.

    Args:
        body: Who moves.
        rig: Body cameras; those that film the face are left out.
        times_s: Moments of the take to measure at.
        fps: Frames per second.
    """
    moved, area = 0.0, 0.0
    for time_s in times_s:
        before, after = body.vertices(time_s), body.vertices(time_s + 1 / fps)
        normals = _area_normals(body, before)
        for camera in rig.cameras:
            if camera.role == "body":
                weight = _seen_area(camera, before, normals)
                shift = np.linalg.norm(camera.project(after) - camera.project(before), axis=1)
                moved += float(weight @ shift) * PICTURE_HEIGHT / camera.height
                area += float(weight.sum())
    return moved / area


def at_speed_px(body: Body, rig: Rig, span_s: tuple[float, float], fps: float, speed_px: float) -> tuple[Body, float]:
    """The body doing things as fast as gives a speed in the picture, and the speed that came out.

    Args:
        body: Who moves.
        rig: Who films.
        span_s: First and last time of the take.
        fps: Frames per second.
        speed_px: What is asked, px a frame at a height of 1080; 0: stands still.

    Raises:
        UsageError: Out of range, or nothing gives it: actions that blend into each other set a least.
    """
    if not 0 <= speed_px <= FASTEST_PX:
        raise UsageError(f"speed {speed_px:g} px a frame, must be within 0..{FASTEST_PX:g}", hint="--speed-px 4")
    times = np.linspace(*span_s, MOMENTS + 1)[:-1].tolist()
    stiff = replace(body, fabric=None)
    body = replace(body, speed=_speed_for(stiff, rig, times, fps, speed_px))
    found = measure_speed_px(body, rig, times, fps)
    if body.fabric is not None and speed_px:  # cloth that swings moves more or less than the skin: aim again
        body = replace(body, speed=_speed_for(stiff, rig, times, fps, speed_px * speed_px / found))
        found = measure_speed_px(body, rig, times, fps)
    if abs(found - speed_px) > MOST_OFF * speed_px:
        said = f"speed {speed_px:g} px a frame cannot be had of what is done: {found:.2f} px came out"
        raise UsageError(said, hint=f"--speed-px {found:.2f}, or without --actions")
    return body, found


def _speed_for(body: Body, rig: Rig, times_s: Sequence[float], fps: float, speed_px: float) -> float:
    """Of the body, at which the asked one comes out, by halving the range between too slow and too fast."""
    low, high = 0.0, 1.0
    if not speed_px:
        return 0.0
    while high < FASTEST_SPEED and measure_speed_px(replace(body, speed=high), rig, times_s, fps) < speed_px:
        low, high = high, 2 * high
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        found = measure_speed_px(replace(body, speed=middle), rig, times_s, fps)
        if abs(found - speed_px) <= CLOSE_ENOUGH * speed_px:
            return middle
        low, high = (middle, high) if found < speed_px else (low, middle)
    return (low + high) / 2


def _area_normals(body: Body, vertices: FloatArray) -> FloatArray:
    """Normals as long as the area around each vertex, shape (vertex, 3)."""
    faces = body.template.faces
    corners = vertices[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 6
    around = np.bincount(faces.ravel(), np.repeat(area, 3), len(vertices))
    return vertex_normals(vertices, faces) * around[:, None]


def _seen_area(camera: Camera, vertices: FloatArray, normals: FloatArray) -> FloatArray:
    """Area in the picture of the surface around each vertex, 0 where it faces away, shape (vertex,)."""
    toward = camera.centre - vertices
    distance = np.linalg.norm(toward, axis=1)
    return np.asarray(np.maximum((normals * toward).sum(axis=1), 0) / distance**3)

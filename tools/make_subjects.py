"""The pictures of docs/simulated-stage.md: python tools/make_subjects.py docs

``subjects.jpg``: every subject under flat light, under an HDRI, and moving; ``subjects-faces.jpg``: expressions.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from litdome.color import srgb_from_linear
from litdome.geometry import Camera, look_at
from litdome.synth.actions import PerformedAction, acted_motion
from litdome.synth.body import SUBJECTS, Body, make_body
from litdome.synth.hdris import make_hdri
from litdome.synth.render import Scene, cast_surface
from litdome.synth.shading import DirectionalLights, dome_lights, flat_lights, light_vertices, shade_vertices

Picture = npt.NDArray[np.uint8]
WALL = 0.02  # linear
LEDS = 96
MOMENTS = (2.6, 3.0, 3.4)
FACES = ("neutral", "brows up", "laugh", "anger", "surprise")


def camera_at(target: tuple[float, float, float], seen_m: float, height: int, width: int) -> Camera:
    """A camera 3 m in front, a little from the side, that sees so many metres of height."""
    centre = np.array(target) + 3 * np.array([np.sin(0.35), 0.08, np.cos(0.35)])
    focal = height * 3 / seen_m
    intrinsics = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    return Camera("front", width, height, intrinsics, np.zeros(8), look_at(centre, target))


def photograph(body: Body, time_s: float, camera: Camera, light: DirectionalLights) -> Picture:
    """An sRGB picture, shape (y, x, 3), without noise."""
    scene = Scene((body.mesh(time_s),))
    surface = cast_surface(scene, camera)
    shaded = shade_vertices(scene, surface, light_vertices(scene, (light,)), camera.centre)[0]
    over = surface.picture(shaded * surface.coverage[:, None])
    linear = over + WALL * (1 - surface.mask[..., None])
    return np.asarray(np.round(srgb_from_linear(np.clip(linear, 0, 1)) * 255), np.uint8)


def doing(body: Body, name: str, expression: str) -> Body:
    """The body in one action all the time."""
    actions = [PerformedAction(-10.0, 60.0, name, expression)]
    return replace(body, motion=acted_motion(body.template, actions, 0))


def main() -> None:
    """Read the command line."""
    out = Path(sys.argv[1])
    flat, relit = flat_lights(LEDS), dome_lights(make_hdri("sunset", 3), LEDS)
    bodies = [make_body(name) for name in SUBJECTS]
    whole, rows = camera_at((0.0, 0.95, 0.0), 2.15, 240, 130), []
    for body in bodies:
        jumping = doing(body, "jump", "laugh")
        still = doing(body, "talk", "smile")
        shots = [photograph(still, 2.0, whole, light) for light in (flat, relit)]
        rows.append(np.concatenate([*shots, *(photograph(jumping, t, whole, flat) for t in MOMENTS)], axis=1))
    pairs = [np.concatenate(rows[k : k + 2], axis=1) for k in (0, 2)]
    cv2.imwrite(str(out / "subjects.jpg"), np.concatenate(pairs)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 70])
    lines = []
    for body in bodies:
        eyes = float(body.template.joints[body.template.bone("eye.L"), 1])
        close = camera_at((0.0, eyes - 0.01, 0.05), 0.32, 170, 150)
        faces = [photograph(doing(body, "rest", name), 1.0, close, relit) for name in FACES]
        lines.append(np.concatenate(faces, axis=1))
    cv2.imwrite(str(out / "subjects-faces.jpg"), np.concatenate(lines)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 70])


if __name__ == "__main__":
    main()

"""A colour chart before every camera, and a white diffuser: charts/ID.png and charts/flat/ID.png, with their truth."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from litdome.color import COLORCHECKER_24
from litdome.geometry import Camera
from litdome.synth.dome import wall_picture
from litdome.synth.film import Film
from litdome.synth.render import Float32Array, camera_rays, sample_texture
from litdome.synth.sensors import expose
from litdome.synth.truth import made, write_png

FloatArray = npt.NDArray[np.float64]
PITCH_M, TEXELS = 0.042, 24  # from patch to patch
PATCH, RIM = 0.84, 0.3  # side of a patch, and the frame around the outer ones, pitches
FRAME, WHITE_FIELD = 0.04, 0.45  # albedo; linear light of the diffuser
FILL = 0.62  # of the picture's shorter side


def chart_texture() -> Float32Array:
    """Linear light of the chart under flat light, shape (v, u, 3); cyan's red is negative, as no display shows it."""
    rim = round(RIM * TEXELS)
    picture = np.full((4 * TEXELS + 2 * rim, 6 * TEXELS + 2 * rim, 3), FRAME, np.float32)
    gap = round((1 - PATCH) / 2 * TEXELS)
    for k, colour in enumerate(COLORCHECKER_24):
        y, x = rim + k // 6 * TEXELS, rim + k % 6 * TEXELS
        picture[y + gap : y + TEXELS - gap, x + gap : x + TEXELS - gap] = colour
    return picture


def chart_pose(camera: Camera, rng: np.random.Generator) -> FloatArray:
    """world_from_chart, shape (4, 4): before the camera, tilted and turned; x right, y down; origin in the middle."""
    width_m = (6 + 2 * RIM) * PITCH_M
    distance = camera.intrinsics[0, 0] * width_m / (FILL * min(camera.width, camera.height))
    pose = np.eye(4)
    pose[:3, :3], _ = cv2.Rodrigues(np.array([*rng.uniform(-0.35, 0.35, 2), rng.uniform(-0.4, 0.4)]))
    pose[:3, 3] = distance * np.array([*rng.uniform(-0.02, 0.02, 2), 1.0])
    return np.asarray(camera.world_from_camera @ pose)


def film_chart(camera: Camera, world_from_chart: FloatArray, background: Float32Array) -> Float32Array:
    """Linear light of the chart under flat light before a background, shape (y, x, 3); the lens distorts."""
    rays = camera_rays(camera, antialias=True)[1:]
    rotation = world_from_chart[:3, :3]
    origin = (rotation.T @ (camera.centre - world_from_chart[:3, 3])).astype(np.float32)
    seen = rays @ rotation.astype(np.float32)
    at = origin[:2] - origin[2] / seen[..., 2:] * seen[..., :2]
    size = np.array([6 + 2 * RIM, 4 + 2 * RIM], np.float32) * np.float32(PITCH_M)
    uv = at / size + np.float32(0.5)
    hit = ((uv >= 0) & (uv <= 1)).all(axis=-1)
    light = np.zeros((*hit.shape, 3), np.float32)
    light[hit] = sample_texture(chart_texture(), uv[hit])
    cover = hit.mean(axis=0, dtype=np.float32)[:, None]
    picture = light.mean(axis=0) + background.reshape(-1, 3) * (1 - cover)
    return np.asarray(picture.reshape(background.shape), np.float32)


def chart_corners(camera: Camera, world_from_chart: FloatArray) -> FloatArray:
    """Middles of the patches dark skin, bluish green, black and white in the picture, shape (4, 2), px."""
    points = np.array([(-2.5, -1.5, 0), (2.5, -1.5, 0), (2.5, 1.5, 0), (-2.5, 1.5, 0)]) * PITCH_M
    return camera.project(points @ world_from_chart[:3, :3].T + world_from_chart[:3, 3])


def write_charts(folder: Path, film: Film) -> None:
    """charts/ID.png, charts/flat/ID.png and the truth, truth/color.npz: matrix, black_level, falloff, corners."""
    corners = []
    for k, (camera, sensor) in enumerate(zip(film.rig.cameras, film.sensors, strict=True)):
        rng = np.random.default_rng([film.seed, 22, k])
        pose = chart_pose(camera, rng)
        corners.append(chart_corners(camera, pose))
        chart = film_chart(camera, pose, wall_picture(camera, film.flat))
        white = np.full_like(chart, WHITE_FIELD)
        write_png(folder / "charts" / f"{camera.id}.png", expose(chart, rng, sensor))
        write_png(folder / "charts" / "flat" / f"{camera.id}.png", expose(white, rng, sensor))
    np.savez(
        made(folder / "truth" / "color.npz"),
        corners=np.stack(corners),
        matrix=np.stack([sensor.response for sensor in film.sensors]),
        black_level=np.stack([sensor.black_level for sensor in film.sensors]),
        falloff=np.stack([sensor.falloff for sensor in film.sensors]),
    )

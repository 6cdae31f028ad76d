"""Takes of a ChArUco board: one camera at a time for the lenses, all in step for the poses, one still of the floor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from litdome.compute import run_units
from litdome.errors import UsageError
from litdome.geometry import Camera, Rig, rotation_about_y
from litdome.media.encode import VideoWriter
from litdome.media.planes import Codes
from litdome.progress import Progress
from litdome.synth.dome import wall_picture
from litdome.synth.film import Film
from litdome.synth.render import Float32Array, camera_rays, sample_texture
from litdome.synth.rig import FACE_SPAN_DEG, TARGET
from litdome.synth.sensors import Sensor, expose, person_depth
from litdome.synth.truth import made, write_png

FloatArray = npt.NDArray[np.float64]
TEXELS_PER_SQUARE = 40
MARGIN = 0.25  # white rim, squares
INTRINSIC_PICTURES, EXTRINSIC_FRAMES, BOARD_CRF = 12, 24, 12
WHITE, BLACK, BACK = 0.85, 0.03, 0.08  # albedo
LOWEST_PICTURE = 200  # px: below, no marker can be read
FLAT_SQUARE_PX = 11  # a board on the floor is filmed where its squares are no flatter: nobody could read its markers


@dataclass(frozen=True)
class BoardDesign:
    """A ChArUco board as recording.toml describes it; `columns` and `rows` count squares."""

    columns: int
    rows: int
    square_mm: float
    marker_mm: float
    dictionary: str = "DICT_4X4_100"

    @property
    def size_m(self) -> tuple[float, float]:
        """Width and height without the rim, metres."""
        return self.columns * self.square_mm / 1000, self.rows * self.square_mm / 1000


def board_for(height: int) -> BoardDesign:
    """A board about 0.9 m wide whose markers can still be read when pictures are ``height`` px high.

    Raises:
        UsageError: No marker could be read.
    """
    if height < LOWEST_PICTURE:
        raise UsageError(f"height {height} px: a board needs {LOWEST_PICTURE} px", hint="--no-boards, or larger")
    return BoardDesign(9, 7, 100.0, 75.0) if height >= 480 else BoardDesign(6, 5, 150.0, 112.5)


@lru_cache(maxsize=4)
def board_texture(design: BoardDesign, variant: str = "as printed") -> Float32Array:
    """Albedo of the board and its rim, linear, shape (v, u, 3); ``variant`` may name a legacy pattern and inverted."""
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, design.dictionary))
    squares = (design.columns, design.rows)
    board = cv2.aruco.CharucoBoard(squares, design.square_mm / 1000, design.marker_mm / 1000, dictionary)
    board.setLegacyPattern("legacy pattern" in variant)
    picture = board.generateImage((design.columns * TEXELS_PER_SQUARE, design.rows * TEXELS_PER_SQUARE))
    rim = round(MARGIN * TEXELS_PER_SQUARE)
    picture = cv2.copyMakeBorder(picture, rim, rim, rim, rim, cv2.BORDER_CONSTANT, value=255)
    picture = 255 - picture if "inverted" in variant else picture
    albedo = BLACK + (WHITE - BLACK) * (picture.astype(np.float32) / 255)
    return np.repeat(albedo[..., None], 3, axis=2)


def film_board(
    camera: Camera,
    design: BoardDesign,
    world_from_board: FloatArray,
    background: Float32Array,
    rng: np.random.Generator,
    *,
    sensor: Sensor | None = None,
    variant: str = "as printed",
) -> Codes:
    """A picture of the board under flat light, shape (y, x, 3), sRGB codes.

    Args:
        camera: Who looks; its lens distortion is honoured.
        design: The board.
        world_from_board: Shape (4, 4); board x right, y down, z away from whoever reads it; origin at the outer
            corner of the first square, as OpenCV's.
        background: What is seen behind it, linear, shape (y, x, 3).
        rng: Draws the sensor's noise.
        sensor: How the camera takes pictures, but for blur; None: exactly.
        variant: How it is printed and filmed: any of ``legacy pattern``, ``inverted`` and ``mirrored`` (the picture).
    """
    linear = background.reshape(-1, 3).copy()
    region = _seen_region(camera, design, world_from_board)
    rays = camera_rays(camera, antialias=True)[1:, region]
    albedo, hit = _trace_board(camera.centre, rays, design, world_from_board, variant)
    coverage = hit.mean(axis=0, dtype=np.float32)[:, None]
    linear[region] = albedo.mean(axis=0) + linear[region] * (1 - coverage)
    picture = expose(linear.reshape(camera.height, camera.width, 3), rng, sensor)
    return np.ascontiguousarray(picture[:, ::-1]) if "mirrored" in variant else picture


def _trace_board(
    centre: FloatArray, rays: Float32Array, design: BoardDesign, world_from_board: FloatArray, variant: str
) -> tuple[Float32Array, npt.NDArray[np.bool_]]:
    """Albedo, shape (sample, pixel, 3), and whether the ray hits the board, shape (sample, pixel)."""
    rotation = world_from_board[:3, :3]
    origin = (rotation.T @ (centre - world_from_board[:3, 3])).astype(np.float32)
    seen = rays @ rotation.astype(np.float32)
    reach = -origin[2] / np.where(np.abs(seen[..., 2]) < 1e-9, np.float32(1e-9), seen[..., 2])
    at = origin[:2] + reach[..., None] * seen[..., :2]
    rim, size = np.float32(MARGIN * design.square_mm / 1000), np.array(design.size_m, np.float32)
    uv = (at + rim) / (size + 2 * rim)
    hit = (reach > 0) & ((uv >= 0) & (uv <= 1)).all(axis=-1)
    albedo = np.zeros((*hit.shape, 3), np.float32)
    front = origin[2] < 0
    albedo[hit] = sample_texture(board_texture(design, variant), uv[hit]) if front else BACK
    return albedo, hit


def _seen_region(camera: Camera, design: BoardDesign, world_from_board: FloatArray) -> npt.NDArray[np.intp]:
    """Row-major pixels around the board; none when it reaches behind the camera or out of the picture."""
    rim, (width, height) = MARGIN * design.square_mm / 1000, design.size_m
    x, y = np.meshgrid(np.linspace(-rim, width + rim, 8), np.linspace(-rim, height + rim, 8))
    points = np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)])
    points = points @ world_from_board[:3, :3].T + world_from_board[:3, 3]
    pose = camera.camera_from_world
    if (points @ pose[2, :3] + pose[2, 3]).min() < 0.2:
        return np.zeros(0, np.intp)
    pixels = camera.project(points)
    x0, y0 = np.maximum(np.floor(pixels.min(axis=0)).astype(int) - 2, 0)
    x1, y1 = np.maximum(np.ceil(pixels.max(axis=0)).astype(int) + 3, 0)
    rows = np.arange(camera.height * camera.width).reshape(camera.height, camera.width)
    return np.asarray(rows[y0:y1, x0:x1].ravel())


def intrinsic_poses(camera: Camera, design: BoardDesign, count: int, rng: np.random.Generator) -> list[FloatArray]:
    """world_from_board of a take for one lens: all over the picture, tilted each time, near and far."""
    poses = []
    for k in range(count):
        across = np.array([0.24 + 0.26 * (k % 3), 0.2 + 0.6 * ((k * 7 % count) + 0.5) / count])
        pixel = across * [camera.width, camera.height] + rng.uniform(-0.03, 0.03, 2) * camera.width
        fill = rng.uniform(0.65, 1.0)  # of the picture's width
        distance = camera.intrinsics[0, 0] * design.size_m[0] / (fill * camera.width)
        ray = np.array([*((pixel - camera.intrinsics[:2, 2]) / camera.intrinsics[[0, 1], [0, 1]]), 1.0])
        tilt = np.radians(rng.uniform(15, 42)) * _on_circle(2 * np.pi * (k * 0.382 + rng.uniform(0, 0.1)))
        turn, _ = cv2.Rodrigues(np.array([*tilt, rng.uniform(-0.25, 0.25)]))
        poses.append(camera.world_from_camera @ _centred(turn, ray * distance, design))
    return poses


def extrinsic_poses(rig: Rig, design: BoardDesign, count: int, rng: np.random.Generator) -> list[FloatArray]:
    """world_from_board of the joint take: carried around the centre, turned past every body camera twice; then before
    the face cameras where there are any."""
    azimuths = [np.degrees(np.arctan2(c.centre[0], c.centre[2])) for c in rig.cameras if c.role == "body"]
    sweep = np.interp(np.arange(count) / max(count - 1, 1), [0, 0.5, 1], [min(azimuths), max(azimuths), min(azimuths)])
    poses = []
    for yaw in sweep:
        # upright board facing +z (its z axis points away from the reader), then pitched, rolled and turned
        pitch, roll = np.radians(rng.uniform(-22, 22)), np.radians(rng.uniform(-15, 15))
        tilt, _ = cv2.Rodrigues(np.array([pitch, 0.0, 0.0]))
        spin, _ = cv2.Rodrigues(np.array([0.0, 0.0, roll]))
        upright = np.diag([1.0, -1.0, -1.0])
        turn = rotation_about_y(float(yaw + rng.uniform(-12, 12))) @ tilt @ spin @ upright
        poses.append(_centred(turn, TARGET + rng.uniform(-1, 1, 3) * [0.2, 0.3, 0.2], design))
    close = [camera for camera in rig.cameras if camera.role == "face"]
    return [*poses, *_face_poses(close, design, count // 2, rng)] if close else poses


def _face_poses(close: Sequence[Camera], design: BoardDesign, count: int, rng: np.random.Generator) -> list[FloatArray]:
    """world_from_board at the height of the face and behind it, where long lenses see more of the board."""
    face = np.mean([camera.centre + person_depth(camera) * camera.world_from_camera[:3, 2] for camera in close], axis=0)
    poses = []
    for yaw in np.linspace(-0.4, 0.4, count) * FACE_SPAN_DEG:
        tilt, _ = cv2.Rodrigues(np.radians([rng.uniform(-22, 22), 0.0, 0.0]))
        spin, _ = cv2.Rodrigues(np.radians([0.0, 0.0, rng.uniform(-15, 15)]))
        turn = rotation_about_y(float(yaw)) @ tilt @ spin @ np.diag([1.0, -1.0, -1.0])
        poses.append(_centred(turn, face + rng.uniform([-0.15, -0.2, -1.0], [0.15, 0.2, -0.3]), design))
    return poses


def floor_pose(design: BoardDesign) -> FloatArray:
    """world_from_board of a board that lies on the floor: its middle at the origin, x along +x, y along +z, face up."""
    return _centred(np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]), np.zeros(3), design)


def can_read(camera: Camera, design: BoardDesign, world_from_board: FloatArray) -> bool:
    """Whether the inner corners are in the picture, the face to the camera, and the squares not too flat to read."""
    rotation, origin = world_from_board[:3, :3], world_from_board[:3, 3]
    if (rotation.T @ (camera.centre - origin))[2] > 0:
        return False
    right, down = design.columns - 1, design.rows - 1
    ends = [[1, 1], [right, 1], [right, down], [1, down]]
    middle = [[design.columns / 2 + x, design.rows / 2 + y] for x, y in ((0, 0), (1, 0), (0, 1))]
    points = np.pad(np.array([*ends, *middle]) * design.square_mm / 1000, ((0, 0), (0, 1)))
    pixels = camera.project(points @ rotation.T + origin)
    inside = ((pixels[:4] >= 0) & (pixels[:4] <= (camera.width - 1, camera.height - 1))).all()
    return bool(inside and np.linalg.svd(pixels[5:] - pixels[4], compute_uv=False)[-1] >= FLAT_SQUARE_PX)


def write_board_takes(folder: Path, film: Film, design: BoardDesign, workers: int, report: Progress) -> None:
    """Film the board under flat light: boards/intrinsic, boards/extrinsic, and a still of it on the floor in
    boards/floor for each camera that can read it there; the true poses in truth/boards.npz."""
    cameras = film.rig.cameras
    together = extrinsic_poses(film.rig, design, EXTRINSIC_FRAMES, np.random.default_rng([film.seed, 6]))
    floor = floor_pose(design)
    truth = made(folder / "truth" / "boards.npz")
    np.savez(truth, world_from_board=np.stack(together), floor_world_from_board=floor)

    def film_takes(k: int) -> None:
        camera, rng = cameras[k], np.random.default_rng([film.seed, 7, k])
        wall, sensor = wall_picture(camera, film.flat), film.sensor(k) or Sensor()
        alone = intrinsic_poses(camera, design, INTRINSIC_PICTURES, rng)
        for take, poses in (("intrinsic", alone), ("extrinsic", together)):
            path = folder / "boards" / take / f"{camera.id}.mp4"
            with VideoWriter(path, fps=5, crf=BOARD_CRF, bits=sensor.bits, codec=sensor.codec) as video:
                for pose in poses:
                    video.write(film_board(camera, design, pose, wall, rng, sensor=sensor))
        if can_read(camera, design, floor):
            noise = np.random.default_rng([film.seed, 8, k])
            still = film_board(camera, design, floor, wall, noise, sensor=sensor)
            write_png(folder / "boards" / "floor" / f"{camera.id}.png", still)

    report("boards", 0, len(cameras))
    run_units(
        film_takes,
        range(len(cameras)),
        workers=workers,
        on_done=lambda k: report("boards", k + 1, len(cameras)),
    )


def _centred(rotation: FloatArray, centre: FloatArray, design: BoardDesign) -> FloatArray:
    """A pose that puts the board's middle at ``centre``."""
    pose = np.eye(4)
    pose[:3, :3] = rotation
    pose[:3, 3] = centre - rotation @ [design.size_m[0] / 2, design.size_m[1] / 2, 0.0]
    return pose


def _on_circle(angle: float) -> FloatArray:
    return np.array([np.cos(angle), np.sin(angle)])

"""Pictures of a board as a lens and a sensor would give them, with the exact places of its corners."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from litdome.calib.boards import BoardSpec

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]
TEXELS = 60  # per square
FINER = 2  # times the picture's size, drawn and averaged
DARK, LIGHT, AROUND = 25.0, 210.0, 110.0


@lru_cache(maxsize=8)
def board_print(spec: BoardSpec, *, legacy: bool = False) -> UInt8Array:
    """The board as printed, with a white rim of half a square."""
    if spec.kind == "charuco":
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, spec.dictionary))
        board = cv2.aruco.CharucoBoard((spec.columns, spec.rows), spec.square_m, spec.marker_m, dictionary)
        board.setLegacyPattern(legacy)
        picture = board.generateImage((spec.columns * TEXELS, spec.rows * TEXELS))
    else:
        squares = (np.indices((spec.rows, spec.columns)).sum(axis=0) % 2 * 255).astype(np.uint8)
        picture = np.kron(squares, np.ones((TEXELS, TEXELS), np.uint8))
    rim = TEXELS // 2
    return cv2.copyMakeBorder(picture, rim, rim, rim, rim, cv2.BORDER_CONSTANT, value=255)


def photograph(
    spec: BoardSpec,
    rng: np.random.Generator,
    *,
    size: tuple[int, int] = (640, 480),
    square_px: float = 45.0,
    tilt_deg: float = 30.0,
    blur_px: float = 0.8,
    noise: float = 3.0,
    motion_px: int = 0,
    legacy: bool = False,
    at: tuple[float, float] = (0.0, 0.0),
) -> tuple[UInt8Array, FloatArray]:
    """A picture, shape (y, x), and where all inner corners truly are, shape (corner, 2), px.

    Args:
        spec: The board.
        rng: Draws the direction of tilt, a turn in the picture and the noise.
        size: (width, height), px.
        square_px: Edge of a square in the middle of the picture, were it not tilted.
        tilt_deg: Between the board's and the picture's plane.
        blur_px: Standard deviation of the lens's blur.
        noise: Standard deviation of the sensor's, grey levels.
        motion_px: How far the board moved to the side during the exposure.
        legacy: Printed with the legacy pattern.
        at: The board's middle against the picture's, of the picture's size.
    """
    width, height = size
    focal = 1.2 * width
    camera = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    axis = rng.uniform(0, 2 * np.pi)
    turn = cv2.Rodrigues(np.radians(tilt_deg) * np.array([np.cos(axis), np.sin(axis), 0]))[0]
    turn = turn @ cv2.Rodrigues(np.array([0, 0, rng.uniform(-0.3, 0.3)]))[0]
    depth = focal * spec.square_m / square_px
    middle = np.array([spec.columns, spec.rows, 0]) / 2 * spec.square_m
    place = np.array([at[0] * width / focal * depth, at[1] * height / focal * depth, depth]) - turn @ middle
    seen = (spec.points @ turn.T + place) @ camera.T
    texel_m, rim = spec.square_m / TEXELS, TEXELS // 2
    board_from_texel = np.array([[texel_m, 0, (0.5 - rim) * texel_m], [0, texel_m, (0.5 - rim) * texel_m], [0, 0, 1]])
    fine = np.array([[FINER, 0, (FINER - 1) / 2], [0, FINER, (FINER - 1) / 2], [0, 0, 1]])
    homography = fine @ camera @ np.column_stack([turn[:, :2], place]) @ board_from_texel
    drawn = DARK + (LIGHT - DARK) / 255 * board_print(spec, legacy=legacy).astype(np.float32)
    picture = cv2.warpPerspective(drawn, homography, (width * FINER, height * FINER), borderValue=AROUND)
    picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    picture = cv2.GaussianBlur(picture, (0, 0), blur_px)
    if motion_px:
        picture = cv2.blur(picture, (motion_px, 1))
    noisy = picture + rng.normal(0, noise, picture.shape)
    return np.clip(noisy + 0.5, 0, 255).astype(np.uint8), seen[:, :2] / seen[:, 2:]

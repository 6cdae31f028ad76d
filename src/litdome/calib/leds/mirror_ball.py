"""Photographs of a mirror ball into a lat-long map of the light around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from litdome.errors import CalibrationError
from litdome.lighting import HdriConvention, latlong_directions

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
RIM_PX = 3.0  # nearer to the outline the ball is squeezed below a pixel: the directions behind it stay unseen
DARKEST_BALL = 0.01  # reflectivity
SMALLEST_PX = 20.0  # radius: 80 texels of a whole sphere
STEPS = (
    30  # of the search for the point that mirrors a direction; each brings it nearer by the ball's distance in radii
)
WORK_PX = 800  # long side at which the ball is looked for
EDGE_RANGE = 0.06  # of the radius: how far from the first circle its edge is looked for
EDGE_SHARE = 0.6  # of the outline that must lie on one circle
EDGE_OFF = 0.01  # of the radius


@dataclass(frozen=True)
class BallOutline:
    """The circle that a ball's outline makes in a picture, px (pixel centres at integers)."""

    x: float
    y: float
    radius: float


@dataclass(frozen=True, eq=False)
class BallView:
    """One photograph of the ball.

    Attributes:
        picture: Linear RGB, shape (y, x, 3), undistorted.
        outline: Where the ball is.
        world_from_camera: Shape (3, 3) or (4, 4), OpenCV axes; only the turn counts.
        intrinsics: Shape (3, 3), px; None for a camera so far away that its rays are parallel.
    """

    picture: npt.NDArray[np.floating[Any]]
    outline: BallOutline
    world_from_camera: FloatArray
    intrinsics: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class BallMap:
    """What the ball shows.

    Attributes:
        radiance: Lat-long map, shape (v, u, 3), float32; 0 where nothing was seen.
        seen: Shape (v, u), bool; False behind the ball, where no view could see.
    """

    radiance: Float32Array
    seen: npt.NDArray[np.bool_]


def map_from_ball(
    views: Sequence[BallView], height: int, convention: HdriConvention = "physical", *, reflectivity: float = 1.0
) -> BallMap:
    """Lat-long map of the light around a mirror ball.

    Several views are blended by the square of the sine between the direction and the camera: where a ball shows the
    camera itself, and behind it, a view counts nothing against another.

    Args:
        views: Photographs of one ball at one place.
        height: Rows of the map; it is twice as wide.
        convention: Where the map's centre lies in the world.
        reflectivity: Of the ball; the map is brighter than the pictures by its inverse.

    Raises:
        CalibrationError: A ball that is too small, or reaches out of its picture, or shows nothing; a picture that is
            not finite; a reflectivity outside 0.01..1.
    """
    if not DARKEST_BALL <= reflectivity <= 1:
        raise CalibrationError(f"reflectivity {reflectivity:g}: {DARKEST_BALL:g} to 1 is possible")
    total = np.zeros((height, 2 * height, 4))
    for view in views:
        _check_outline(view)
        fine = max(1, int(np.ceil(np.pi * view.outline.radius / (2 * height))))  # a map as fine as the ball's pixels
        directions = np.asarray(latlong_directions(height * fine, 2 * height * fine, convention), np.float64)
        radiance, weight = _seen_by(view, directions)
        stacked = np.concatenate([radiance * weight[..., None], weight[..., None]], axis=2)
        total += stacked.reshape(height, fine, 2 * height, fine, 4).mean(axis=(1, 3))
    seen = total[..., 3] > 0
    if not seen.any():
        raise CalibrationError("the ball shows nothing from there", hint="correct --focal (px), or leave it out")
    total[seen] /= total[seen][:, 3:] * [1, 1, 1, 0] + [0, 0, 0, 1]
    return BallMap((total[..., :3] / reflectivity).astype(np.float32), seen)


def mirror_points(view: BallView, directions: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Where a ball mirrors directions into a view.

    Args:
        view: The photograph.
        directions: World, unit, shape (..., 3).

    Returns:
        Pixels, shape (..., 2), and the cosine at the ball between its normal and the camera, shape (...); pixels mean
        nothing where it is not above 0.
    """
    wanted = directions @ view.world_from_camera[:3, :3]  # in the camera's frame
    ball = view.outline
    if view.intrinsics is None:
        normal = _unit(wanted - [0, 0, 1])
        pixels = np.array([ball.x, ball.y]) + ball.radius * normal[..., :2]
        return pixels, -normal[..., 2]
    centre = _ball_centre(view.outline, view.intrinsics)
    to_camera = np.broadcast_to(-_unit(centre), wanted.shape)
    for _ in range(STEPS):
        normal = _unit(wanted + to_camera)
        to_camera = -_unit(centre + normal)
    point = (centre + normal) @ view.intrinsics.T
    return point[..., :2] / point[..., 2:], (normal * to_camera).sum(axis=-1)


def find_ball(picture: npt.NDArray[np.floating[Any]]) -> BallOutline:
    """The outline of the ball in a linear picture, shape (y, x, 3).

    Raises:
        CalibrationError: No circle that an edge follows for 60 % of its length, or values that are not finite.
    """
    if not np.isfinite(picture).all():
        raise CalibrationError("the picture holds NaN or infinite values", hint="export it again")
    scale = min(1.0, WORK_PX / max(picture.shape[:2]))
    grey = picture.astype(np.float32).mean(axis=2)
    level = max(float(np.quantile(grey, 0.9)), 1e-9)
    shown = np.clip(255 * (np.maximum(grey, 0) / (np.maximum(grey, 0) + level)) ** 0.5, 0, 255).astype(np.uint8)
    small = cv2.resize(shown, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), 2)
    least, most = int(0.05 * min(small.shape)), min(small.shape) // 2
    circles = cv2.HoughCircles(
        blurred, cv2.HOUGH_GRADIENT, 2, least, param1=60, param2=40, minRadius=least, maxRadius=most
    )
    hint = "give it: --ball X,Y,RADIUS (px)"
    for x, y, radius in [] if circles is None else circles[0][:10]:
        first = BallOutline(*(float(value / scale) for value in (x + 0.5, y + 0.5, radius)))
        found, share = _refined(shown.astype(np.float32), BallOutline(first.x - 0.5, first.y - 0.5, first.radius))
        if share >= EDGE_SHARE:
            return found
    raise CalibrationError("no mirror ball found in the picture", hint=hint)


def _refined(grey: Float32Array, start: BallOutline) -> tuple[BallOutline, float]:
    """The circle through the strongest edges near ``start``, and the share of its length where they lie on it."""
    ball, share = start, 0.0
    angle = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    for reach in (EDGE_RANGE, EDGE_RANGE, EDGE_RANGE / 3):
        steps = np.arange(-reach * ball.radius, reach * ball.radius, 0.25)
        radius = ball.radius + steps[None]
        x = (ball.x + radius * np.cos(angle)[:, None]).astype(np.float32)
        y = (ball.y + radius * np.sin(angle)[:, None]).astype(np.float32)
        profile = cv2.remap(cv2.GaussianBlur(grey, (0, 0), 1), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        at = np.abs(np.gradient(profile, axis=1)).argmax(axis=1)
        edge = ball.radius + steps[at]
        points = np.stack([ball.x + edge * np.cos(angle), ball.y + edge * np.sin(angle)], axis=1)
        ball, share = _circle(points, ball)
    return ball, share


def _circle(points: FloatArray, ball: BallOutline) -> tuple[BallOutline, float]:
    """The circle that most ``points``, shape (n, 2), lie on, and their share."""
    keep = np.ones(len(points), bool)
    for _ in range(8):
        columns = np.concatenate([2 * points[keep], np.ones((int(keep.sum()), 1))], axis=1)
        x, y, rest = np.linalg.lstsq(columns, (points[keep] ** 2).sum(axis=1))[0]
        ball = BallOutline(float(x), float(y), float(np.sqrt(max(rest + x * x + y * y, 1e-9))))
        off = np.abs(np.hypot(points[:, 0] - ball.x, points[:, 1] - ball.y) - ball.radius)
        keep = off <= max(EDGE_OFF * ball.radius, float(np.median(off)))
    return ball, float((off <= EDGE_OFF * ball.radius).mean())


def _seen_by(view: BallView, directions: FloatArray) -> tuple[Float32Array, FloatArray]:
    """(radiance, weight) of a view in world directions; weight 0 where the ball does not show them."""
    pixels, cosine = mirror_points(view, directions)
    rim = max(1 - RIM_PX / view.outline.radius, 0)
    inside = cosine > np.sqrt(1 - rim**2)
    x, y = np.where(inside[..., None], pixels, 0).astype(np.float32).transpose(2, 0, 1)
    picture = np.ascontiguousarray(view.picture, np.float32)
    radiance = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    weight = np.where(inside, np.maximum(4 * cosine**2 * (1 - cosine**2), 1e-6), 0)
    return np.asarray(radiance, np.float32), weight


def _ball_centre(outline: BallOutline, intrinsics: FloatArray) -> FloatArray:
    """Centre of a ball of radius 1 in the camera's frame, shape (3,): the axis of the cone through its outline."""
    around = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]]) * outline.radius + [outline.x, outline.y]
    rays = _unit(np.concatenate([around, np.ones((4, 1))], axis=1) @ np.linalg.inv(intrinsics).T)
    axis = np.linalg.lstsq(rays, np.ones(4))[0]  # rays . axis = 1, length 1 / cos(half angle)
    length = float(np.linalg.norm(axis))
    return cast(FloatArray, axis / np.sqrt(length**2 - 1))  # distance 1 / sin(half angle)


def _check_outline(view: BallView) -> None:
    ball, (height, width) = view.outline, view.picture.shape[:2]
    where = f"ball at {ball.x:.0f},{ball.y:.0f} of radius {ball.radius:.0f} px"
    if not np.isfinite(view.picture).all():
        raise CalibrationError(f"{where}: its picture holds NaN or infinite values", hint="export it again")
    if ball.radius < SMALLEST_PX:
        raise CalibrationError(f"{where}: at least {SMALLEST_PX:.0f} px are needed")
    inside = ball.radius - 1 <= ball.x <= width - ball.radius and ball.radius - 1 <= ball.y <= height - ball.radius
    if not inside:
        raise CalibrationError(f"{where} reaches out of its picture of {width}x{height}")


def _unit(vectors: FloatArray) -> FloatArray:
    return cast(FloatArray, vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))

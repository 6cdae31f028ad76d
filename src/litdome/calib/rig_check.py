"""Calibrations that cannot be, or that look wrong: lenses refused by name, doubtful rigs warned about."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import numpy.typing as npt

from litdome.calib.boards import BoardView
from litdome.errors import CalibrationError
from litdome.geometry import Camera, Rig

FloatArray = npt.NDArray[np.float64]
MAX_CENTRE_OFFSET = 0.3  # principal point from the picture's centre, of the picture's longer side
MAX_ASPECT = 0.1  # |fx / fy - 1|
FOCAL_RANGE = (0.2, 20.0)  # focal length, of the picture's longer side
MAX_TANGENTIAL = 0.2
RADIAL_STEPS = 400
MAX_PINHOLE_SLOPE = 5.0  # tangent of the widest angle that a pinhole model is followed to (79 degrees)
POSE_TOLERANCE = 1e-6
SAME_PLACE_M, SAME_VIEW_DEG = 0.01, 1.0  # closer than two lenses can stand, unless a mirror splits the light
STAGE_SPAN_M = (0.1, 100.0)  # largest distance between two cameras


def check_rig(rig: Rig) -> list[str]:
    """Refuse a rig with lenses that cannot be, and say what else looks wrong.

    Returns:
        Warnings in words, each naming its cameras: as `check_lenses`, two cameras at one place, a scale that no stage
        has.

    Raises:
        CalibrationError: As `check_lenses`.
    """
    return [*check_lenses(rig), *_same_place(rig), *_scale_warnings(rig)]


def check_lenses(rig: Rig) -> list[str]:
    """The same of the lenses alone: poses do not count.

    Returns:
        Warnings in words: lenses that fold in the corners of the picture.

    Raises:
        CalibrationError: Lenses that cannot be; all of them are named, with measured and allowed.
    """
    bad = [f"{camera.id}: {problem}" for camera in rig.cameras if (problem := lens_problem(camera)) is not None]
    if bad:
        hint = f"calibrate {'these cameras' if len(bad) > 1 else 'this camera'} again"
        raise CalibrationError(f"not to be believed: camera {'; camera '.join(bad)}", hint=hint)
    return _fold_warnings(rig)


def lens_problem(camera: Camera) -> str | None:
    """What makes a camera unbelievable, measured against allowed; None where nothing does."""
    numbers = np.concatenate([camera.intrinsics.ravel(), camera.distortion, camera.world_from_camera.ravel()])
    if not np.isfinite(numbers).all():
        return "its values are not finite"
    longer = max(camera.width, camera.height)
    focal_x, focal_y = camera.intrinsics[0, 0], camera.intrinsics[1, 1]
    if not FOCAL_RANGE[0] * longer <= min(focal_x, focal_y) <= max(focal_x, focal_y) <= FOCAL_RANGE[1] * longer:
        low, high = (share * longer for share in FOCAL_RANGE)
        return f"focal length {focal_x:.0f} x {focal_y:.0f} px, allowed {low:.0f} to {high:.0f}"
    if abs(focal_x / focal_y - 1) > MAX_ASPECT:
        return f"fx / fy = {focal_x / focal_y:.3f}, allowed 1 +- {MAX_ASPECT}"
    middle = np.array([camera.width - 1, camera.height - 1]) / 2
    offset = float(np.linalg.norm(camera.intrinsics[:2, 2] - middle))
    if offset > MAX_CENTRE_OFFSET * longer:
        x, y = camera.intrinsics[:2, 2]
        limit = MAX_CENTRE_OFFSET * longer
        return f"principal point ({x:.0f}, {y:.0f}) lies {offset:.0f} px from the picture's centre > {limit:.0f} px"
    tangential = float(np.abs(camera.distortion[2:4]).max()) if camera.model != "fisheye4" else 0.0
    if tangential > MAX_TANGENTIAL:
        return f"tangential distortion {tangential:.3f} > {MAX_TANGENTIAL}"
    fold, allowed = folds_at(camera), _whole_circle(camera)
    if fold < allowed:
        return f"its distortion folds the picture at {fold:.0%} of the way to the corner < {allowed:.0%}"
    return _pose_problem(camera.world_from_camera)


def folds_at(camera: Camera) -> float:
    """Where a lens stops mapping farther rays farther out, as a share of the way to the farthest corner of the picture.

    Beyond that radius two rays meet in one pixel, or none does, and nothing can be undistorted.

    Returns:
        In 0..1; 1 where the whole picture is mapped once.
    """
    corners = np.array([[x, y] for x in (0, camera.width - 1) for y in (0, camera.height - 1)], np.float64)
    focal = np.array([camera.intrinsics[0, 0], camera.intrinsics[1, 1]])
    corner = float(np.linalg.norm((corners - camera.intrinsics[:2, 2]) / focal, axis=1).max())
    mapped = _mapped_radius(camera, corner)
    step = np.diff(mapped)
    turn = int(np.argmax(step <= 0)) if (step <= 0).any() else len(step)
    return float(min(mapped[turn] / corner, 1.0))


def _whole_circle(camera: Camera) -> float:
    """Radius of the largest circle around the principal point that the picture holds, as a share of the way to the
    farthest corner: a fold inside it is no lens, one outside is a lens that was guessed where no board was."""
    x, y = camera.intrinsics[:2, 2]
    right, down = camera.width - 1 - x, camera.height - 1 - y
    return float(max(min(x, y, right, down), 0) / np.hypot(max(x, right), max(y, down)))


def _mapped_radius(camera: Camera, corner: float) -> FloatArray:
    """Distance from the principal point, in focal lengths, of rays ever farther off the axis."""
    k1, k2, _, _, k3, k4, k5, k6 = camera.distortion
    if camera.model == "fisheye4":
        angle = np.linspace(0, np.pi, RADIAL_STEPS)
        terms = camera.distortion[:4]
        return np.asarray(angle * (1 + sum(k * angle ** (2 * n + 2) for n, k in enumerate(terms))))
    slope = np.linspace(0, max(MAX_PINHOLE_SLOPE, 2 * corner), RADIAL_STEPS * 10)
    square = slope**2
    below = 1 + square * (k4 + square * (k5 + square * k6))
    return np.asarray(slope * (1 + square * (k1 + square * (k2 + square * k3))) / below)


def _pose_problem(pose: FloatArray) -> str | None:
    off = float(np.abs(pose[:3, :3] @ pose[:3, :3].T - np.eye(3)).max())
    if off > POSE_TOLERANCE or np.linalg.det(pose[:3, :3]) < 0:
        return f"its pose is no rotation (off by {off:.1e}, allowed {POSE_TOLERANCE:.0e}, not mirrored)"
    return None


def _fold_warnings(rig: Rig) -> list[str]:
    shares = {camera.id: folds_at(camera) for camera in rig.cameras}
    return [
        f"camera {id}: its distortion folds at {share:.0%} of the way to the corner of the picture, and nothing "
        "beyond can be undistorted: film the board out to the corners, or refine less"
        for id, share in shares.items()
        if share < 1
    ]


def _same_place(rig: Rig) -> list[str]:
    warnings = []
    for a, b in combinations(rig.cameras, 2):
        apart = float(np.linalg.norm(a.centre - b.centre))
        cosine = float(a.world_from_camera[:3, 2] @ b.world_from_camera[:3, 2])
        angle = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
        if apart < SAME_PLACE_M and angle < SAME_VIEW_DEG:
            text = (
                f"cameras {a.id} and {b.id} stand {1000 * apart:.1f} mm apart and look the same way ({angle:.2f} deg)"
            )
            warnings.append(f"{text}: is one of them the other's copy?")
    return warnings


def _scale_warnings(rig: Rig) -> list[str]:
    centres = np.stack([camera.centre for camera in rig.cameras])
    span = float(np.linalg.norm(centres[:, None] - centres[None], axis=-1).max())
    low, high = STAGE_SPAN_M
    if len(centres) < 2 or low <= span <= high:
        return []
    way = f"{span:.3g} m apart, expected {low:g} to {high:g} m"
    return [f"the cameras stand at most {way}: millimetres read as metres, or a wrong square size?"]


def check_copies(views: Mapping[str, Mapping[int, BoardView]]) -> None:
    """Refuse two cameras whose board takes are one and the same.

    Args:
        views: By camera id and view. Two cameras cannot see every corner at the same pixel.

    Raises:
        CalibrationError: Names the two cameras.
    """
    for a, b in combinations(views, 2):
        if (
            len(views[a])
            and len(views[a]) == len(views[b])
            and all(_is_copy(views[a][n], views[b].get(n)) for n in views[a])
        ):
            raise CalibrationError(
                f"cameras {a} and {b}: the same corners at the same pixels in all {len(views[a])} views",
                hint="one board take was copied under two names: give each camera its own",
            )


def _is_copy(one: BoardView, other: BoardView | None) -> bool:
    if other is None or len(one) != len(other) or not np.array_equal(one.ids, other.ids):
        return False
    return bool(np.allclose(one.pixels, other.pixels, rtol=0, atol=0.05))  # px: re-encoded, perhaps

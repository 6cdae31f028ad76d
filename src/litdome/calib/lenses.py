"""Lenses: intrinsics and distortion of one camera from views of a board; bad views are left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from litdome.calib.boards import BoardSpec, BoardView
from litdome.errors import CalibrationError

FloatArray = npt.NDArray[np.float64]
MIN_VIEWS = 3
BAD_VIEW_RATIO = 2.5  # a view this many times worse than the median of the others is left out ...
BAD_VIEW_PX = 0.3  # ... if it is also worse than this
FLAGS = cv2.CALIB_FIX_K3


@dataclass(frozen=True, eq=False)
class Lens:
    """Intrinsics of one camera.

    Attributes:
        size: (width, height) of the pictures, px.
        intrinsics: K, shape (3, 3), px.
        distortion: Shape (8,), OpenCV order; k3 and higher are 0.
        std: Standard deviations of fx, fy, cx, cy (px), k1, k2, p1, p2, shape (8,).
        rms_px: Root of the mean squared reprojection error per corner.
        view_rms_px: The same by view (picture index), of the views that were kept.
        rejected: Views left out.
    """

    size: tuple[int, int]
    intrinsics: FloatArray
    distortion: FloatArray
    std: FloatArray
    rms_px: float
    view_rms_px: Mapping[int, float]
    rejected: tuple[int, ...]


def calibrate_lens(
    views: Mapping[int, BoardView],
    spec: BoardSpec,
    size: tuple[int, int],
    *,
    max_rms_px: float = 2.0,
    name: str = "camera",
) -> Lens:
    """Fit fx, fy, cx, cy, k1, k2, p1, p2 to views of a board; the worst view goes as long as it stands out.

    Args:
        views: By picture index; at least 3.
        spec: The board.
        size: (width, height), px.
        max_rms_px: What is still believed.
        name: For messages.

    Raises:
        CalibrationError: Too few views, or the RMS stays above the limit.
    """
    kept = dict(views)
    while True:
        if len(kept) < MIN_VIEWS:
            raise CalibrationError(
                f"{name}: {len(kept)} usable board views of {len(views)} < {MIN_VIEWS}", hint="film the board longer"
            )
        lens = _fit(kept, spec, size, tuple(sorted(set(views) - set(kept))))
        worst = max(kept, key=lambda view: lens.view_rms_px[view])
        others = [rms for view, rms in lens.view_rms_px.items() if view != worst]
        limit = max(BAD_VIEW_RATIO * float(np.median(others)), BAD_VIEW_PX)
        if lens.view_rms_px[worst] <= limit or len(kept) == MIN_VIEWS:
            break
        del kept[worst]
    if lens.rms_px > max_rms_px:
        raise CalibrationError(
            f"{name}: lens reprojection {lens.rms_px:.2f} px > {max_rms_px:.2f} px over {len(kept)} views",
            hint="check [board] square counts; hold the board still",
        )
    return lens


def _fit(views: Mapping[int, BoardView], spec: BoardSpec, size: tuple[int, int], rejected: tuple[int, ...]) -> Lens:
    board = spec.points.astype(np.float32)
    objects = [board[view.ids] for view in views.values()]
    pixels = [view.pixels.astype(np.float32)[:, None] for view in views.values()]
    result = cv2.calibrateCameraExtended(objects, pixels, size, None, None, flags=FLAGS)
    rms, intrinsics, distortion, _, _, std, _, view_rms = result
    full = np.zeros(8)
    full[:5] = distortion.ravel()[:5]
    by_view = dict(zip(views, map(float, view_rms.ravel()), strict=True))
    return Lens(size, np.asarray(intrinsics, np.float64), full, std.ravel()[:8].copy(), float(rms), by_view, rejected)

"""Find out how a board is printed and filmed by trying: dictionary, legacy pattern, inverted colours, mirrored view.

Markers alone tell all of it: their ids say the dictionary, their places the layout. So a few pictures are searched for
markers, and the layout that puts most of them where they are is the board's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt

from litdome.calib.boards.detect import (
    FAMILY_SIZES,
    MARKER_SEARCH_PX,
    SQUARE_SEARCH_PX,
    as_printed,
    dictionary_of,
    marker_parameters,
    scaled_down,
)
from litdome.calib.boards.spec import BoardSpec, FloatArray
from litdome.errors import CalibrationError

UInt8Array = npt.NDArray[np.uint8]
FILMED = ("", "inverted", "mirrored", "inverted, mirrored")
FAMILIES = (
    *(f"DICT_{n}X{n}_1000" for n in (4, 5, 6, 7)),
    *("DICT_ARUCO_ORIGINAL", "DICT_ARUCO_MIP_36h12"),
    *(f"DICT_APRILTAG_{name}" for name in ("36h11", "36h10", "25h9", "16h5")),
)
WIDEST_BOARD = 26  # squares: boards up to this are tried when the given size does not fit
MORE_MARKERS = 3  # times those of the given board are looked for: it may be larger than given
NEAR_SQUARES = 0.25  # a marker's corner this near to where the layout puts it agrees
ENOUGH_MARKERS = 4  # in agreement beyond the first of each picture: clutter never gives as many


@dataclass(frozen=True, eq=False)
class Markers:
    """Markers in one picture: ids, shape (n,), and corners, shape (n, 4, 2), px."""

    ids: npt.NDArray[np.int32]
    corners: FloatArray


@dataclass(frozen=True)
class Layout:
    """How many markers agree with a board of so many columns, whose first square is white (legacy) or not.

    Attributes:
        columns: Squares.
        starts_white: Whether the first square is a white one: only the legacy pattern with an even number of rows.
        agreeing: Markers in their places, less the first of each picture.
        highest_id: Of the agreeing markers; -1 if there are none.
    """

    columns: int
    starts_white: bool
    agreeing: int
    highest_id: int


def recognise(
    pictures: Sequence[UInt8Array], spec: BoardSpec, *, all_families: bool, where: str
) -> tuple[BoardSpec, str] | None:
    """The board with its dictionary, and its variant, as a few pictures show it; None: no marker of it is seen.

    Args:
        pictures: Grey, each of shape (y, x).
        spec: The board as given, a charuco.
        all_families: Look for markers of every dictionary where the given ones are not seen.
        where: What the pictures are called in an error.

    Raises:
        CalibrationError: The markers lie as on a board of another size.
    """
    families = [spec.dictionary] if spec.dictionary else list(FAMILIES)
    for family in [*families, *(name for name in FAMILIES if all_families and name not in families)]:
        for filmed in FILMED:
            seen = [_find_markers(grey, family, spec, filmed) for grey in pictures]
            plain, white = (_agreement(seen, spec, spec.columns, starts_white) for starts_white in (False, True))
            layout = white if white.agreeing > plain.agreeing else plain
            shown = sum(max(len(markers.ids) - 1, 0) for markers in seen)
            if shown >= ENOUGH_MARKERS and (layout.agreeing < 0.75 * shown or layout.highest_id >= spec.markers):
                _refuse_other_size(seen, spec, layout, where)
            is_told = spec.rows % 2 == 1 or plain.agreeing != white.agreeing  # one row of markers is the same in both
            if layout.agreeing >= ENOUGH_MARKERS and is_told:
                if layout.starts_white and spec.rows % 2:
                    raise CalibrationError(
                        f"{where}: {spec} given, but its first square is white, as of a legacy board with even rows",
                        hint="count the rows of squares again",
                    )
                words = [word for word in ("legacy pattern" * layout.starts_white, filmed) if word]
                return replace(spec, dictionary=_name_in_family(family, spec)), ", ".join(words) or "as printed"
    return None


def fitting_chessboard(pictures: Sequence[UInt8Array]) -> tuple[int, int] | None:
    """(columns, rows), squares, the longer first, of the largest chessboard that two pictures show; or None."""
    flags = cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_EXHAUSTIVE | cv2.CALIB_CB_ACCURACY | cv2.CALIB_CB_LARGER
    votes: Counter[tuple[int, int]] = Counter()
    for grey in pictures:
        small, _ = scaled_down(grey, SQUARE_SEARCH_PX)
        found, _, grid = cv2.findChessboardCornersSBWithMeta(small, (3, 3), flags=flags)
        if found:
            short, long = sorted(grid.shape)
            votes[long + 1, short + 1] += 1
    return max((size for size, count in votes.items() if count > 1), key=lambda size: size[0] * size[1], default=None)


def _find_markers(grey: UInt8Array, family: str, spec: BoardSpec, filmed: str) -> Markers:
    small, _ = scaled_down(as_printed(grey, filmed), MARKER_SEARCH_PX)
    detector = cv2.aruco.ArucoDetector(
        dictionary_of(family, MORE_MARKERS * spec.markers), marker_parameters(max(small.shape))
    )
    corners, ids, _ = detector.detectMarkers(small)
    if ids is None:
        return Markers(np.zeros(0, np.int32), np.zeros((0, 4, 2)))
    return Markers(ids.ravel().astype(np.int32), np.stack(corners).reshape(-1, 4, 2).astype(np.float64))


def _agreement(seen: Sequence[Markers], spec: BoardSpec, columns: int, starts_white: bool) -> Layout:
    agreeing, highest = 0, -1
    for markers in seen:
        if len(markers.ids) < 2:
            continue
        places = _marker_corners(markers.ids, columns, starts_white, spec.marker_m / spec.square_m)
        pixels = markers.corners.reshape(-1, 2)
        square_px = np.sqrt(np.abs(cv2.contourArea(markers.corners[0].astype(np.float32)))) * spec.square_m
        near_px = max(NEAR_SQUARES * square_px / spec.marker_m, 1.0)
        homography, inside = cv2.findHomography(places, pixels, cv2.RANSAC, near_px, maxIters=100)
        if homography is None or np.linalg.det(homography) < 0:
            continue
        in_place = inside.reshape(-1, 4).all(axis=1)
        if in_place.sum() > 1:
            agreeing += int(in_place.sum()) - 1
            highest = max(highest, int(markers.ids[in_place].max()))
    return Layout(columns, starts_white, agreeing, highest)


def _marker_corners(ids: npt.NDArray[np.int32], columns: int, starts_white: bool, size: float) -> FloatArray:
    """Corners of markers on a board, squares, shape (4 n, 2): they fill the white squares row by row."""
    rows = int(ids.max()) * 2 // columns + 3
    y, x = np.divmod(np.arange(rows * columns), columns)
    white = np.flatnonzero((x + y) % 2 == (0 if starts_white else 1))[ids]
    middle = np.stack([white % columns, white // columns], axis=1) + 0.5
    around = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * size / 2
    return np.asarray(middle[:, None] + around).reshape(-1, 2)


def _refuse_other_size(seen: Sequence[Markers], spec: BoardSpec, given: Layout, where: str) -> None:
    """Raise where clearly more markers agree with a board of another size."""
    sizes = product(range(3, WIDEST_BOARD + 1), (False, True))
    best = max((_agreement(seen, spec, *size) for size in sizes), key=lambda layout: layout.agreeing)
    if best.agreeing > max(1.25 * given.agreeing, given.agreeing + 2):
        given = best
    elif given.highest_id < spec.markers or given.agreeing < ENOUGH_MARKERS:
        return
    rows = -(-2 * (given.highest_id + 1) // given.columns)
    raise CalibrationError(
        f"{where}: {spec} given, its markers lie as on one with {given.columns} columns and at least {rows} rows "
        f"(marker {given.highest_id} was seen)",
        hint=f"columns = {given.columns}, rows = {rows}: count squares, not inner corners",
    )


def _name_in_family(family: str, spec: BoardSpec) -> str:
    """The dictionary's name: of the given one's size if that holds all markers, else the smallest that does."""
    stem, _, size = family.rpartition("_")
    if family == spec.dictionary or not size.isdigit() or int(size) not in FAMILY_SIZES:
        return family
    wanted = spec.dictionary.rpartition("_")[2]
    sizes = [int(wanted)] if wanted.isdigit() and int(wanted) in FAMILY_SIZES else list(FAMILY_SIZES)
    return f"{stem}_{next((fits for fits in sizes if spec.markers <= fits), FAMILY_SIZES[-1])}"

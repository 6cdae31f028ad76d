"""Find a board's corners in one picture: markers or squares are found coarsely, corners fitted at full size."""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt

from litdome.calib.boards.corners import fit_corners
from litdome.calib.boards.spec import MIN_CORNERS, BoardSpec, BoardView, FloatArray
from litdome.color import srgb_from_linear
from litdome.media.planes import PictureCodes

UInt8Array = npt.NDArray[np.uint8]
IntArray = npt.NDArray[np.int32]
MARKER_SEARCH_PX = 1920  # markers are looked for at this size, then at full size if none are found
SMALLEST_MARKER_PX = 12  # edge: smaller ones cannot be read
SQUARE_SEARCH_PX = 960  # chessboards: faster and surer than at 4K
VARIANTS = tuple(
    ", ".join(word for word, is_so in zip(("legacy pattern", "inverted", "mirrored"), so, strict=True) if is_so)
    or "as printed"
    for so in product((False, True), repeat=3)
)
FAMILY_SIZES = (50, 100, 250, 1000)  # DICT_4X4_50 is the beginning of DICT_4X4_1000, and so on


def detect_board(grey: UInt8Array, spec: BoardSpec, variant: str = VARIANTS[0]) -> BoardView | None:
    """Corners of the board in a picture, shape (y, x), uint8; None where fewer than 6 can be believed.

    Args:
        grey: The picture.
        spec: The board; a ChArUco board with its dictionary.
        variant: How it is printed and filmed, one of `VARIANTS`. A chessboard is the same in all of them. Pixels of a
            mirrored picture are those of the picture as it is, so its board is seen as if from behind.

    A chessboard is found whole or not at all. Its corners start at the same end only if columns + rows is odd.
    """
    found = find_board(grey, spec, variant)
    return found and found[0]


def find_board(grey: UInt8Array, spec: BoardSpec, variant: str) -> tuple[BoardView, float] | None:
    """As `detect_board`, and the sharpness of the corners' edges, 1 / px."""
    upright = as_printed(grey, variant)
    coarse = _charuco_corners(upright, spec, variant) if spec.kind == "charuco" else _chessboard_corners(upright, spec)
    if coarse is None:
        return None
    ids, corners = coarse
    fitted = fit_corners(upright, corners, ids, spec)
    if spec.kind == "chessboard":
        if not fitted.believed.all():
            return None
        if fitted.contrast[0] > 0:  # a board starts at a dark square
            ids = ids[::-1].copy()
    ids, pixels = ids[fitted.believed], fitted.pixels[fitted.believed]
    if not _spread(ids, spec):
        return None
    if "mirrored" in variant:
        pixels[:, 0] = grey.shape[1] - 1 - pixels[:, 0]
    order = np.argsort(ids)
    sharpness = 1 / float(np.median(fitted.blur_px[fitted.believed]))
    return BoardView(ids[order], pixels[order]), sharpness


def as_printed(grey: UInt8Array, variant: str) -> UInt8Array:
    """The picture with inverted colours and mirroring undone."""
    grey = cv2.bitwise_not(grey) if "inverted" in variant else grey
    return cv2.flip(grey, 1) if "mirrored" in variant else grey


def grey_picture(codes: PictureCodes) -> UInt8Array:
    """Luma or grey of a decoded picture, shape (y, x), uint8."""
    picture = codes.picture
    if picture.dtype == np.float16:
        picture = (np.clip(srgb_from_linear(picture.astype(np.float32)), 0, 1) * 255).astype(np.uint8)
    if picture.ndim == 3:
        picture = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
    if picture.dtype == np.uint16:
        picture = cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)
    return np.ascontiguousarray(picture)


def scaled_down(grey: UInt8Array, longest_px: int) -> tuple[UInt8Array, FloatArray]:
    """The picture with its longer side at most ``longest_px``, and by how much it was scaled, shape (2,)."""
    height, width = grey.shape
    scale = min(1.0, longest_px / max(width, height))
    if scale == 1:
        return grey, np.ones(2)
    size = (round(width * scale), round(height * scale))
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.array(size) / (width, height)


def to_full_size(pixels: FloatArray, scale: FloatArray) -> FloatArray:
    """Pixels of a picture scaled down, shape (..., 2), in the full one (pixel centres at integers)."""
    return (pixels + 0.5) / scale - 0.5


def marker_parameters(longest_px: int) -> cv2.aruco.DetectorParameters:
    """How markers are looked for in a picture whose longer side is ``longest_px``."""
    parameters = cv2.aruco.DetectorParameters()
    parameters.minMarkerPerimeterRate = min(0.03, 4 * SMALLEST_MARKER_PX / longest_px)
    parameters.adaptiveThreshWinSizeStep = 20  # 2 windows for 7: a quarter of the time, the same markers
    return parameters


@lru_cache(maxsize=64)
def dictionary_of(name: str, markers: int) -> cv2.aruco.Dictionary:
    """The first ``markers`` markers of a dictionary (all, if it has fewer): faster, with fewer false ones."""
    family, _, size = name.rpartition("_")
    if size.isdigit() and int(size) in FAMILY_SIZES:  # smaller ones of a family correct more errors
        name = next((f"{family}_{fits}" for fits in FAMILY_SIZES if markers <= fits), name)
    whole = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, name))
    return cv2.aruco.Dictionary(whole.bytesList[:markers], whole.markerSize, whole.maxCorrectionBits)


def _charuco_corners(grey: UInt8Array, spec: BoardSpec, variant: str) -> tuple[IntArray, FloatArray] | None:
    dictionary = dictionary_of(spec.dictionary, spec.markers)
    board = cv2.aruco.CharucoBoard((spec.columns, spec.rows), spec.square_m, spec.marker_m, dictionary)
    board.setLegacyPattern("legacy" in variant)
    parameters = cv2.aruco.CharucoParameters()
    parameters.tryRefineMarkers = True
    for longest_px in (MARKER_SEARCH_PX, max(grey.shape)):
        small, scale = scaled_down(grey, longest_px)
        detector = cv2.aruco.CharucoDetector(board, parameters, marker_parameters(max(small.shape)))
        corners, ids, _, _ = detector.detectBoard(small)
        if ids is not None:
            found = ids.ravel().astype(np.int32)
            if _spread(found, spec):
                return found, to_full_size(corners.reshape(-1, 2).astype(np.float64), scale)
        if small is grey:
            break
    return None


def _chessboard_corners(grey: UInt8Array, spec: BoardSpec) -> tuple[IntArray, FloatArray] | None:
    shape = (spec.columns - 1, spec.rows - 1)
    small, scale = scaled_down(grey, SQUARE_SEARCH_PX)
    flags = cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_EXHAUSTIVE | cv2.CALIB_CB_ACCURACY
    found, corners = cv2.findChessboardCornersSB(small, shape, flags=flags)
    if not found:
        return None
    grid = to_full_size(corners.reshape(shape[1], shape[0], 2).astype(np.float64), scale)
    right, down = grid[0, -1] - grid[0, 0], grid[-1, 0] - grid[0, 0]
    if right[0] * down[1] - right[1] * down[0] < 0:  # the columns run backwards
        grid = grid[:, ::-1]
    return np.arange(shape[0] * shape[1], dtype=np.int32), grid.reshape(-1, 2)


def _spread(ids: IntArray, spec: BoardSpec) -> bool:
    """Whether there are corners enough, and not all in one row or column."""
    rows, columns = np.divmod(ids, spec.columns - 1)
    return len(ids) >= MIN_CORNERS and len(np.unique(rows)) > 1 and len(np.unique(columns)) > 1

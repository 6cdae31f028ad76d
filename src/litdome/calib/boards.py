"""Find the corners of a calibration board in pictures: ChArUco (as printed, inverted, or legacy) and chessboards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from litdome.color import srgb_from_linear
from litdome.errors import CalibrationError
from litdome.media.images import iter_source, probe_source
from litdome.media.planes import PictureCodes

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]
MIN_CORNERS = 6
SUBPIX_CRITERIA = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 30, 1e-4)
MAX_REFINE_WINDOW_PX = 11
SEARCH_SIZE_PX = 960  # chessboards are looked for at this size: faster and surer than at 4K
VARIANTS = ("as printed", "inverted", "legacy pattern", "legacy pattern, inverted")


@dataclass(frozen=True)
class BoardSpec:
    """A flat calibration board; columns and rows count squares.

    Attributes:
        kind: ``charuco`` or ``chessboard``.
        columns, rows: Squares.
        square_m, marker_m: Edges, metres; ``marker_m`` is 0 for a chessboard.
        dictionary: ArUco dictionary of a ChArUco board.
    """

    kind: Literal["charuco", "chessboard"]
    columns: int
    rows: int
    square_m: float
    marker_m: float = 0.0
    dictionary: str = ""

    @property
    def points(self) -> FloatArray:
        """Inner corners in the board's frame (x right, y down, z 0, metres), shape (corner, 3), row by row."""
        x, y = np.meshgrid(np.arange(1, self.columns), np.arange(1, self.rows))
        flat = np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)])
        return flat.astype(np.float64) * self.square_m


@dataclass(frozen=True, eq=False)
class BoardView:
    """What one picture shows of the board.

    Attributes:
        ids: Corners, indices into `BoardSpec.points`, shape (n,).
        pixels: Where they are, shape (n, 2), px.
    """

    ids: npt.NDArray[np.int32]
    pixels: FloatArray

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class BoardTake:
    """The board in the pictures of one camera.

    Attributes:
        size: (width, height) of the pictures, px.
        views: By picture index; pictures without a board are not in it.
        looked: Pictures that were searched.
        variant: How the board is printed, one of `VARIANTS`.
    """

    size: tuple[int, int]
    views: Mapping[int, BoardView]
    looked: int
    variant: str


def board_spec(attrs: Mapping[str, Any] | None) -> BoardSpec:
    """The board that ``[board]`` of recording.toml describes.

    Raises:
        CalibrationError: No board is described, or the description is incomplete or impossible.
    """
    if not attrs:
        hint = "write [board] into recording.toml and ingest again, or --import FILE"
        raise CalibrationError("the recording describes no board", hint=hint)
    spec = BoardSpec(
        kind=attrs["kind"],
        columns=int(attrs["columns"]),
        rows=int(attrs["rows"]),
        square_m=float(attrs["square_mm"]) / 1000,
        marker_m=float(attrs.get("marker_mm") or 0) / 1000,
        dictionary=str(attrs.get("dictionary") or ""),
    )
    if spec.kind == "charuco" and not (0 < spec.marker_m < spec.square_m and hasattr(cv2.aruco, spec.dictionary)):
        raise CalibrationError(
            f"board: marker_mm = {spec.marker_m * 1000:g} of square_mm = {spec.square_m * 1000:g}, dictionary "
            f"{spec.dictionary!r}; a ChArUco board needs 0 < marker < square and a known dictionary",
            hint='dictionary = "DICT_4X4_100"',
        )
    return spec


def detect_board(grey: UInt8Array, spec: BoardSpec, variant: str = VARIANTS[0]) -> BoardView | None:
    """Corners of the board in a picture, shape (y, x), uint8; None where fewer than 6 are found.

    A chessboard is found whole or not at all. Its corners start at the same end only if columns + rows is odd.
    """
    if "inverted" in variant:
        grey = cv2.bitwise_not(grey)
    found = _detect_charuco(grey, spec, variant) if spec.kind == "charuco" else _detect_chessboard(grey, spec)
    return found if found is not None and len(found) >= MIN_CORNERS else None


def detect_take(source: Path, spec: BoardSpec, *, max_pictures: int = 100) -> BoardTake:
    """Search the pictures of a video or folder, evenly thinned to ``max_pictures``.

    The first picture that shows the board tells how it is printed.

    Raises:
        CalibrationError: No board in any picture; says what was tried.
        InputError: The source cannot be decoded.
    """
    probe = probe_source(source)
    stride = -(-(probe.frames or 1) // max_pictures)
    variant: str | None = VARIANTS[0] if spec.kind == "chessboard" else None
    views: dict[int, BoardView] = {}
    looked = 0
    for n, codes in enumerate(iter_source(source)):
        if n % stride:
            continue
        looked += 1
        grey = grey_picture(codes)
        variant = variant or find_variant(grey, spec)
        view = detect_board(grey, spec, variant) if variant else None
        if view is not None:
            views[n] = view
    if variant is None or not views:
        tried = f" (tried {'; '.join(VARIANTS)})" if spec.kind == "charuco" else ""
        raise CalibrationError(
            f"{source}: no {spec.kind} of {spec.columns}x{spec.rows} squares {spec.dictionary} in {looked} "
            f"pictures{tried}",
            hint="check [board]: columns and rows count squares; another dictionary?",
        )
    return BoardTake((probe.width, probe.height), views, looked, variant)


def find_variant(grey: UInt8Array, spec: BoardSpec) -> str | None:
    """How a ChArUco board is printed: the variant that finds most corners in a picture; None if none finds it."""
    counts = [len(detect_board(grey, spec, variant) or ()) for variant in VARIANTS]
    return VARIANTS[int(np.argmax(counts))] if max(counts) else None


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


def _detect_charuco(grey: UInt8Array, spec: BoardSpec, variant: str) -> BoardView | None:
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, spec.dictionary))
    board = cv2.aruco.CharucoBoard((spec.columns, spec.rows), spec.square_m, spec.marker_m, dictionary)
    board.setLegacyPattern("legacy" in variant)
    markers = cv2.aruco.DetectorParameters()
    markers.adaptiveThreshWinSizeStep = 20
    detector = cv2.aruco.CharucoDetector(board, cv2.aruco.CharucoParameters(), markers)
    corners, ids, _, _ = detector.detectBoard(grey)
    if ids is None or len(ids) < MIN_CORNERS:
        return None
    ids = ids.ravel().astype(np.int32)
    return BoardView(ids, _refined(grey, corners.reshape(-1, 2), ids, spec))


def _detect_chessboard(grey: UInt8Array, spec: BoardSpec) -> BoardView | None:
    shape = (spec.columns - 1, spec.rows - 1)
    scale = min(1.0, SEARCH_SIZE_PX / max(grey.shape))
    small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    flags = cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_EXHAUSTIVE | cv2.CALIB_CB_ACCURACY
    found, corners = cv2.findChessboardCornersSB(small, shape, flags=flags)
    if not found:
        return None
    pixels = (corners.reshape(-1, 2).astype(np.float64) + 0.5) / scale - 0.5
    if _is_turned(grey, pixels, shape):
        pixels = pixels[::-1].copy()
    ids = np.arange(len(pixels), dtype=np.int32)
    return BoardView(ids, _refined(grey, pixels, ids, spec))


def _is_turned(grey: UInt8Array, pixels: FloatArray, shape: tuple[int, int]) -> bool:
    """Whether the first inner square is lighter than its neighbour: boards start at a dark one."""
    grid = pixels.reshape(shape[1], shape[0], 2)
    first, second = grid[:2, :2].mean(axis=(0, 1)), grid[:2, 1:3].mean(axis=(0, 1))
    levels = [grey[int(y), int(x)] for x, y in (first + 0.5, second + 0.5)]
    return bool(levels[0] > levels[1])


def _refined(
    grey: UInt8Array, corners: npt.NDArray[np.floating[Any]], ids: npt.NDArray[np.int32], spec: BoardSpec
) -> FloatArray:
    """Corners to a fraction of a pixel, in a window that holds no marker: those pull corners by up to 0.3 px."""
    per_row = spec.columns - 1
    order = np.argsort(ids)
    neighbours = [(a, b) for a, b in pairwise(order) if ids[b] - ids[a] == 1 and ids[b] % per_row]
    spacing = min((float(np.linalg.norm(corners[a] - corners[b])) for a, b in neighbours), default=12.0)
    clear = (1 - spec.marker_m / spec.square_m) / 2 if spec.kind == "charuco" else 0.4  # of a square, to its marker
    window = int(np.clip(spacing * clear - 1, 2, MAX_REFINE_WINDOW_PX))
    refined = cv2.cornerSubPix(grey, corners.astype(np.float32).copy(), (window, window), (-1, -1), SUBPIX_CRITERIA)
    return np.asarray(refined, np.float64).reshape(-1, 2)

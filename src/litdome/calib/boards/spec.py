"""What a calibration board is, and what pictures show of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from litdome.errors import CalibrationError

FloatArray = npt.NDArray[np.float64]
BOARD_EXAMPLES = "charuco:9x7:100:75:DICT_4X4_100 or chessboard:5x8:60"
NUMBER = r"\d+(?:\.\d*)?"
SIZES = rf"(\d{{1,3}})x(\d{{1,3}}):({NUMBER})"
CHARUCO_TEXT = re.compile(rf"charuco:{SIZES}:({NUMBER})(?::(\w+))?")
CHESSBOARD_TEXT = re.compile(rf"chessboard:{SIZES}")
MIN_CORNERS = 6  # of a view: fewer say little of where the board is


@dataclass(frozen=True)
class BoardSpec:
    """A flat calibration board; columns and rows count squares.

    Attributes:
        kind: ``charuco`` or ``chessboard``.
        columns, rows: Squares.
        square_m, marker_m: Edges, metres; ``marker_m`` is 0 for a chessboard.
        dictionary: ArUco dictionary of a ChArUco board; empty: to be found by trying.
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

    @property
    def markers(self) -> int:
        """Markers of a ChArUco board: one in every white square."""
        return self.columns * self.rows // 2 if self.kind == "charuco" else 0

    @property
    def same_upside_down(self) -> bool:
        """Whether nobody can tell the board from the same one turned by 180 degrees: good for lenses, not for poses."""
        return self.kind == "chessboard" and (self.columns + self.rows) % 2 == 0

    def __str__(self) -> str:
        return f"{self.kind} of {self.columns}x{self.rows} squares" + f" {self.dictionary}" * bool(self.dictionary)


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
        views: By picture number; pictures without a board are not in it.
        looked: Pictures that were searched.
        variant: How the board is printed and filmed, one of `litdome.calib.boards.detect.VARIANTS`.
        sharpness: Of the same pictures, 1/px: 1 / (blur of the corners' edges, standard deviation); 0.3 is blurred.
        spec: The board as found; its dictionary may be another than the given one.
        said: What was found other than given, in words; empty if nothing.
    """

    size: tuple[int, int]
    views: Mapping[int, BoardView]
    looked: int
    variant: str
    sharpness: Mapping[int, float]
    spec: BoardSpec
    said: str = ""


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
    return _believed(spec)


def parse_board(text: str) -> BoardSpec:
    """The board of a short text: ``charuco:COLUMNSxROWS:SQUARE_MM:MARKER_MM[:DICTIONARY]``, ``chessboard:5x8:60``.

    Raises:
        CalibrationError: Not such a text, or an impossible board.
    """
    charuco, chessboard = CHARUCO_TEXT.fullmatch(text), CHESSBOARD_TEXT.fullmatch(text)
    found = charuco or chessboard
    if found is None:
        raise CalibrationError(
            f"board {text!r}: not charuco:COLUMNSxROWS:SQUARE:MARKER[:DICTIONARY] or chessboard:COLUMNSxROWS:SQUARE",
            hint=f"for example {BOARD_EXAMPLES}: squares, edges in mm",
        )
    columns, rows, square_m = int(found[1]), int(found[2]), float(found[3]) / 1000
    if charuco is None:
        return _believed(BoardSpec("chessboard", columns, rows, square_m))
    return _believed(BoardSpec("charuco", columns, rows, square_m, float(charuco[4]) / 1000, charuco[5] or ""))


def _believed(spec: BoardSpec) -> BoardSpec:
    """The spec, if such a board can be printed and found."""
    corners = (spec.columns - 1) * (spec.rows - 1)
    fewest = 3 if spec.kind == "charuco" else 4
    if min(spec.columns, spec.rows) < fewest or corners < MIN_CORNERS or not spec.square_m > 0:
        raise CalibrationError(
            f"board: {spec.columns}x{spec.rows} squares of {spec.square_m * 1000:g} mm; at least {fewest}x4 and an "
            "edge above 0 are needed",
            hint="columns and rows count squares, not inner corners",
        )
    if spec.kind == "chessboard":
        return spec
    is_known = not spec.dictionary or (spec.dictionary.startswith("DICT_") and hasattr(cv2.aruco, spec.dictionary))
    if not (0 < spec.marker_m < spec.square_m and is_known):
        raise CalibrationError(
            f"board: marker_mm = {spec.marker_m * 1000:g} of square_mm = {spec.square_m * 1000:g}, dictionary "
            f"{spec.dictionary!r}; a ChArUco board needs 0 < marker < square and a known dictionary",
            hint='dictionary = "DICT_4X4_100", or none: it is found by trying',
        )
    if spec.dictionary:
        held = len(cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, spec.dictionary)).bytesList)
        if held < spec.markers:
            raise CalibrationError(f"board: {spec.markers} markers, {spec.dictionary} has {held}", hint="a larger one?")
    return spec

"""What the page says and shows about a session's calibration: residuals, coverage, space, parameters, colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from litdome.geometry import Camera, Rig
from litdome.report.calibration_charts import (
    THIRDS,
    arrow_factor,
    coverage,
    empty_thirds,
    histogram_reach,
    quiver,
    residual_histogram,
)
from litdome.report.calibration_tables import LensRow, PlaceRow, lens_table, place_table
from litdome.report.calibration_words import (
    calibration_found,
    calibration_headline,
    calibration_troubles,
    kept_lenses,
    measured,
)
from litdome.report.color_patches import ColorCard, color_cards
from litdome.report.frusta import make_scene, scene_json, scene_svg
from litdome.store.session import Session

Summary = Mapping[str, Any]
FloatArray = npt.NDArray[np.float64]
USED, CORNER_OUT, VIEW_OUT = 0, 1, 2  # calibration/corner_state
MANY_EMPTY = 4  # ninths of a picture without a corner: of more, the others are named
OPEN_CARDS = 12  # larger rigs show the cards of marked cameras, and the others when asked
IMPORTED = "This calibration was imported: it holds no board corners, so no residuals and no coverage can be shown."
OLDER = "This calibration was made before board corners were stored: residuals and coverage are not known."
BOARD_SIDE_M = 0.1  # of a board as drawn where nothing says how large it is


@dataclass(frozen=True, eq=False)
class Corners:
    """Board corners as calibrate stored them, all of length n; pixels of the board footage's own pictures.

    Attributes:
        camera, view: Row of the camera, number of the view, shape (n,).
        state: `USED`, `CORNER_OUT` or `VIEW_OUT`, shape (n,).
        pixels: Where they were seen, shape (n, 2).
        residuals: From there to where the calibration puts them, shape (n, 2), px.
        sizes: (width, height) of the pictures by camera.
    """

    camera: npt.NDArray[np.int32]
    view: npt.NDArray[np.int32]
    state: npt.NDArray[np.uint8]
    pixels: FloatArray
    residuals: FloatArray
    sizes: tuple[tuple[int, int], ...]

    @property
    def used(self) -> npt.NDArray[np.bool_]:
        """Corners that the calibration rests on, shape (n,)."""
        return np.asarray(self.state == USED)


@dataclass(frozen=True)
class CalibrationCard:
    """A camera's residuals and coverage; ``words`` below its name, ``notes`` what to look at."""

    id: str
    words: str
    notes: tuple[str, ...]
    charts: tuple[str, ...]


@dataclass(frozen=True)
class CalibrationSection:
    """The calibration for the page's template; what is not there is empty, and ``missing`` says what to type."""

    headline: str
    word: str
    facts: tuple[tuple[str, str], ...] = ()
    troubles: tuple[str, ...] = ()
    missing: str = ""
    command: str = ""
    space: str = ""
    scene: str = ""
    grid: str = ""
    cards: tuple[CalibrationCard, ...] = ()
    folded: tuple[CalibrationCard, ...] = ()
    arrows: str = ""
    lens_columns: tuple[str, ...] = ()
    lenses: tuple[LensRow, ...] = ()
    places: tuple[PlaceRow, ...] = ()
    colors: tuple[ColorCard, ...] = ()
    color_source: str = ""


def _lenses_alone(session: Session) -> CalibrationSection:
    """What is known before any camera has a pose."""
    summary: Summary = calibration_found(session) or {"cameras": list(session.cameras)}
    freed, weak = (summary.get(key) or {} for key in ("freed", "weak"))
    columns, lenses = lens_table(session.lenses, _known(session, "rig/intrinsics_std", 12), freed, weak)
    return CalibrationSection(
        headline=calibration_headline(summary) + ".",
        word="look",
        facts=_facts(summary),
        troubles=tuple(text for _, text, _ in calibration_troubles(summary)),
        missing="No poses yet, so nothing to draw in space.",
        lens_columns=columns,
        lenses=lenses,
    )


def calibration_section(session: Session) -> CalibrationSection:
    """Collect what is known of a calibration, whatever wrote it."""
    command = f"litdome calibrate {session.url}"
    if not session.has("rig/world_from_camera"):
        missing = "No lenses and no poses yet."
        known = _lenses_alone(session) if session.has("rig/intrinsics") else None
        return known or CalibrationSection("Not calibrated yet.", "look", missing=missing, command=command)
    summary: Summary = calibration_found(session) or {"cameras": list(session.cameras)}
    troubles = tuple(calibration_troubles(summary))
    marked = {camera for _, _, camera in troubles if camera}
    rig, corners = session.rig, _corners(session)
    cards = _cards(session.cameras, corners, summary, troubles) if corners is not None else ()
    few = len(cards) <= OPEN_CARDS
    imported = str(summary.get("source", "")).startswith("import")
    missing = "" if corners is not None else IMPORTED if imported else OLDER
    kept = kept_lenses(summary)
    weak = {id: names for id, names in (summary.get("weak") or {}).items() if id not in kept}
    columns, lenses = lens_table(rig, _known(session, "rig/intrinsics_std", 12), summary.get("freed") or {}, weak)
    colors, color_source = color_cards(session)
    scene = _scene(session, rig, corners, summary, marked)
    return CalibrationSection(
        headline=calibration_headline(summary) + ".",
        word="look" if troubles else "good",
        facts=_facts(summary),
        troubles=tuple(text for _, text, _ in troubles),
        missing=missing,
        command=command if missing == OLDER else "",
        space=scene_svg(scene, f"{len(rig.cameras)} cameras in space, seen from the front, the right and above"),
        scene=scene_json(scene),
        grid=f"{scene.step_m:g} m" if scene.lines["floor"] else "",
        cards=tuple(card for card in cards if few or card.notes),
        folded=tuple(card for card in cards if not few and not card.notes),
        arrows="" if corners is None else f"{_factor(corners):g}",
        lens_columns=columns,
        lenses=lenses,
        places=place_table(
            rig,
            _known(session, "rig/pose_std", 6),
            [_views_words(summary, id) for id in rig.ids],
            _known(session, "rig/reprojection_px", 1)[:, 0],
        ),
        colors=colors,
        color_source=color_source,
    )


def _corners(session: Session) -> Corners | None:
    """The stored corners; None where there are none, as after an import."""
    if not session.has("calibration/corner_px") or not session.array("calibration/corner_px").shape[0]:
        return None
    sizes = cast(Sequence[Sequence[int]], session.array("calibration/corner_px").attrs["sizes"])
    return Corners(
        camera=session.read("calibration/corner_camera"),
        view=session.read("calibration/corner_view"),
        state=session.read("calibration/corner_state"),
        pixels=session.read("calibration/corner_px").astype(np.float64),
        residuals=session.read("calibration/corner_residual_px").astype(np.float64),
        sizes=tuple((int(width), int(height)) for width, height in sizes),
    )


def _known(session: Session, path: str, length: int) -> FloatArray:
    """An array of the rig as (camera, length); NaN where it was not stored."""
    if not session.has(path):
        return np.full((len(session.cameras), length), np.nan)
    return session.read(path).astype(np.float64).reshape(len(session.cameras), length)


def _facts(summary: Summary) -> tuple[tuple[str, str], ...]:
    numbers = {
        "without the worst 2.5 %": ("trimmed_rms_px", "px"),
        "held-out views": ("held_out_rms_px", "px"),
        "board pair distances": ("pair_distance_mm", "mm"),
    }
    found = [
        (name, f"{value:.3f} {unit}")
        for name, (key, unit) in numbers.items()
        if (value := measured(summary, key)) is not None
    ]
    return (*((name, str(summary[name])) for name in ("source", "world") if summary.get(name)), *found)


def _views_words(summary: Summary, id: str) -> str:
    """``22 used, 2 left out (17, 40)``."""
    out = [int(view) for camera, view in summary.get("views_left_out") or () if camera == id]
    used = (summary.get("views") or {}).get(id)
    some = ", ".join(map(str, out[:4])) + (", ..." if len(out) > 4 else "")
    words = [] if used is None else [f"{used} used"]
    return ", ".join(words + ([f"{len(out)} left out ({some})"] if out else [])) or "–"


def _factor(corners: Corners) -> float:
    lengths = np.linalg.norm(corners.residuals, axis=1)
    return arrow_factor(lengths[corners.used if corners.used.any() else slice(None)], max(map(max, corners.sizes)))


def _cards(
    ids: Sequence[str], corners: Corners, summary: Summary, troubles: Sequence[tuple[str, str, str | None]]
) -> tuple[CalibrationCard, ...]:
    factor = _factor(corners)
    used = corners.residuals[corners.used]
    reach = histogram_reach(used if len(used) else corners.residuals)
    cards = []
    for row, id in enumerate(ids):
        own = corners.camera == row
        good = own & corners.used
        rms = float(np.sqrt(np.square(corners.residuals[good]).sum(axis=1).mean())) if good.any() else np.nan
        empty = empty_thirds(corners.sizes[row], corners.pixels[good])
        notes = [text for _, text, camera in troubles if camera == id]
        notes += [_coverage_words(empty)] if empty else []
        said = f"camera {id}: {rms:.2f} px over {int(good.sum())} corners"
        size, pixels, residuals = corners.sizes[row], corners.pixels, corners.residuals
        charts = (
            quiver(
                size, pixels[own], residuals[own], corners.used[own], factor=factor, what=f"Residual arrows, {said}"
            ),
            residual_histogram(residuals[good], reach=reach, what=f"Histogram of residuals, {said}"),
            coverage(
                size, pixels[good], what=f"Where corners fell, {said}; {notes[-1] if empty else 'every third seen'}"
            ),
        )
        out = int((own & (corners.state == CORNER_OUT)).sum())
        words = [f"{rms:.2f} px", f"{int(good.sum()):,} corners" + (f" and {out:,} left out" if out else "")]
        views = _views_words(summary, id)
        cards.append(CalibrationCard(id, ", ".join([*words, f"views: {views}"]), tuple(notes), charts))
    return tuple(cards)


def _coverage_words(empty: Sequence[str]) -> str:
    if len(empty) <= MANY_EMPTY:
        return f"no board corner: {', '.join(empty)}"
    return f"board corners only: {', '.join(name for row in THIRDS for name in row if name not in empty) or 'nowhere'}"


def _scene(session: Session, rig: Rig, corners: Corners | None, summary: Summary, marked: set[str]) -> Any:
    poses, views = _boards(session)
    outline = _outline(session, summary)
    row_of = {view: row for row, view in enumerate(views)}
    about = []
    rms = _known(session, "rig/reprojection_px", 1)[:, 0]
    for row, camera in enumerate(rig.cameras):
        seen: tuple[int, ...] = ()
        if corners is not None:
            own = np.unique(corners.view[(corners.camera == row) & (corners.state != VIEW_OUT)])
            seen = tuple(row_of[view] for view in own.tolist() if view in row_of)
        about.append((_camera_words(camera, float(rms[row]), len(seen)), seen, "look" if camera.id in marked else ""))
    boards = [outline @ pose[:3, :3].T + pose[:3, 3] for pose in poses]
    return make_scene(rig.cameras, boards, _lights(session, rig), about)


def _camera_words(camera: Camera, rms: float, boards: int) -> str:
    place = ", ".join(f"{value:.2f}" for value in camera.centre)
    words = [f"{camera.id}: at {place} m"]
    words += [f"{rms:.2f} px"] if np.isfinite(rms) else []
    words += [f"{boards} boards seen"] if boards else []
    return ", ".join(words)


def _boards(session: Session) -> tuple[FloatArray, list[int]]:
    """Poses of the board, shape (view, 4, 4), and the numbers of their views."""
    path = "calibration/world_from_board"
    if not session.has(path):
        return np.zeros((0, 4, 4)), []
    return session.read(path).astype(np.float64), [int(view) for view in cast(Any, session.array(path).attrs["views"])]


def _outline(session: Session, summary: Summary) -> FloatArray:
    """Corners of the board in its own frame, shape (4, 3), m; a small square where its size is not stored."""
    about = summary.get("board") or session.attrs.get("board")
    if not isinstance(about, Mapping) or not about.get("square_mm"):
        return np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * BOARD_SIDE_M / 2
    width, height = (float(about[name]) * float(about["square_mm"]) / 1000 for name in ("columns", "rows"))
    return np.array([[0, 0, 0], [width, 0, 0], [width, height, 0], [0, height, 0]])


def _lights(session: Session, rig: Rig) -> FloatArray:
    """Places of the LEDs that work, shape (led, 3), m: their directions, just beyond the farthest camera."""
    if not session.has("lights/directions"):
        return np.zeros((0, 3))
    beyond = 1.15 * max(float(np.linalg.norm(camera.centre)) for camera in rig.cameras)
    works = session.read("lights/valid").astype(bool) if session.has("lights/valid") else slice(None)
    return session.read("lights/directions").astype(np.float64)[works] * beyond

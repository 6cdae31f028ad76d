"""From takes of one camera at a time to lenses, without poses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from litdome.calib.boards import BoardSpec, BoardTake, check_mirrored, choose_views, coverage, empty_thirds
from litdome.calib.boards.footage import BoardFootage
from litdome.calib.boards.takes import search_takes
from litdome.calib.calibration import POSE_VALUES, BoardCorners, Calibration
from litdome.calib.rig_check import check_lenses
from litdome.calib.settings import SolveSettings
from litdome.calib.solve.lenses import ALWAYS, Lens, calibrate_lens
from litdome.calib.solve.projection import TERMS
from litdome.errors import CalibrationError
from litdome.geometry import Camera, Rig
from litdome.progress import Progress

LENS_VIEWS = 40  # of one camera's take for its lens alone; more say little new


def lenses_from_boards(
    footage: BoardFootage, spec: BoardSpec, ids: Sequence[str], settings: SolveSettings, progress: Progress
) -> Calibration:
    """Lenses from intrinsic takes alone; no camera gets a pose.

    Args:
        footage: Where the takes lie; every camera has an intrinsic one.
        spec: The board.
        ids: Cameras to calibrate, in this order.
        settings: What the user chose.
        progress: Told after each take that was searched.

    Raises:
        CalibrationError: A camera has no take, no board is found, the views of a lens are too few or contradict each
            other, or a lens cannot be.
        InputError: A take cannot be decoded.
    """
    lacking = [id for id in ids if footage.cameras[id].intrinsic is None]
    if lacking:
        raise CalibrationError(
            f"no lens take of camera{'s' if len(lacking) > 1 else ''} {', '.join(lacking)}, and no pose take of any",
            hint="film boards/intrinsic/<camera>, or boards/extrinsic/<camera> with all cameras in step",
        )
    _, takes = search_takes(footage, spec, settings.max_pictures, progress, with_lenses=True)
    found = [fit_lens(id, takes[id], settings) for id in ids]
    rig, lenses = Rig(tuple(camera for camera, _ in found)), [lens for _, lens in found]
    by_id = dict(zip(ids, lenses, strict=True))
    summary = {
        "board": board_summary(spec),
        "views": {id: len(lens.view_rms_px) for id, lens in by_id.items()},
        "views_left_out": [[id, view] for id, lens in by_id.items() for view in lens.rejected],
        "freed": {
            id: [name for name in TERMS[lens.model] if name not in _left_at_zero(lens)] for id, lens in by_id.items()
        },
        "weak": {id: list(_left_at_zero(lens)) for id, lens in by_id.items()},
    }
    said = [f"camera {id}: {take.said}" for id, take in takes.items() if take.said]
    return Calibration(
        rig=rig,
        source="lens takes",
        rms_px=np.array([lens.rms_px for lens in lenses]),
        intrinsics_std=np.stack([lens.std for lens in lenses]),
        pose_std=np.full((len(ids), POSE_VALUES), np.nan),
        corners=BoardCorners.none(),
        summary=summary,
        warnings=(*said, *check_mirrored(takes), *uncovered(takes), *check_lenses(rig)),
        has_poses=False,
    )


def _left_at_zero(lens: Lens) -> tuple[str, ...]:
    """The terms that a take knows too weakly to fit."""
    return tuple(name for name in lens.weak if name not in ALWAYS)


def uncovered(takes: Mapping[str, BoardTake]) -> list[str]:
    """One warning for all parts of pictures in which no lens take showed the board: the lens is guessed there."""
    places: dict[str, list[str]] = {}
    for id, take in takes.items():
        for third in empty_thirds(coverage(take)):
            places.setdefault(third, []).append(id)
    said = [f"the {third} third of {', '.join(ids)}" for third, ids in places.items()]
    return [f"no board in {'; '.join(said)}: lens distortion is guessed there"] if said else []


def board_summary(spec: BoardSpec) -> dict[str, float]:
    """The board as the record of calibrate tells it."""
    return {"columns": spec.columns, "rows": spec.rows, "square_mm": round(1000 * spec.square_m, 6)}


def fit_lens(id: str, take: BoardTake, settings: SolveSettings) -> tuple[Camera, Lens]:
    """A camera at the origin with the lens that its take shows, and how well that is known.

    Raises:
        CalibrationError: Too few views of the board, or they contradict each other.
    """
    views = {view: take.views[view] for view in choose_views(take, LENS_VIEWS)}
    model, limit = settings.model_of(id), settings.max_rms_px
    lens = calibrate_lens(views, take.spec, take.size, model=model, max_rms_px=limit, name=f"camera {id}")
    return Camera(id, *lens.size, lens.intrinsics, lens.distortion, np.eye(4), lens.model), lens

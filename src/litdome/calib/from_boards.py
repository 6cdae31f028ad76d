"""From board footage to lenses and poses: which pictures are searched, lens by lens, then all cameras together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from litdome.calib.boards import (
    BoardSpec,
    BoardTake,
    BoardView,
    check_mirrored,
    check_size,
    choose_joint_views,
    choose_views,
    detect_take,
)
from litdome.calib.boards.footage import BoardFootage
from litdome.calib.boards.takes import need_common_sizes, need_pose_takes, need_size, picture_size, search_takes
from litdome.calib.calibration import LENS_VALUES, BoardCorners, Calibration
from litdome.calib.fit import match_names
from litdome.calib.lens_takes import board_summary, fit_lens, lenses_from_boards, uncovered
from litdome.calib.rig_check import check_copies, check_rig
from litdome.calib.settings import SolveSettings
from litdome.calib.solve.poses import RigSolution, refined_terms, solve_rig
from litdome.errors import CalibrationError
from litdome.geometry import Camera, Rig
from litdome.progress import Progress, silent

FloatArray = npt.NDArray[np.float64]


def calibrate_from_boards(
    footage: BoardFootage,
    spec: BoardSpec,
    ids: Sequence[str],
    settings: SolveSettings,
    *,
    lenses: Rig | None = None,
    progress: Progress = silent,
) -> Calibration:
    """Lenses from the intrinsic takes (or, where a camera has none, its extrinsic one), poses from the extrinsic takes.

    Where no camera has an extrinsic take and lenses are not known either, lenses are all that is found.

    Args:
        footage: Where the takes lie.
        spec: The board.
        ids: Cameras to calibrate, in this order; each must have footage.
        settings: What the user chose.
        lenses: Cameras whose lenses are known already; lens takes are not searched then.
        progress: Told after each take that was searched.

    Raises:
        CalibrationError: A take is missing, sizes are mixed, no board is found, cameras do not see it together, or a
            camera's reprojection error is above the limit.
        InputError: A take cannot be decoded.
    """
    match_names(tuple(footage.cameras), ids, "the board footage")
    others = [id for id in footage.cameras if id not in ids]
    footage = replace(footage, cameras={id: footage.cameras[id] for id in ids})
    if lenses is None and not footage.shows_poses(ids):
        found = lenses_from_boards(footage, spec, ids, settings, progress)
        return replace(found, warnings=(*_not_asked_for(others), *found.warnings))
    need_pose_takes(footage)
    models = [settings.model_of(id) if lenses is None else lenses[id].model for id in ids]
    refined_terms(models, settings.refine)  # a slip of the pen is no reason to search for boards
    if spec.same_upside_down:
        raise CalibrationError(
            f"{spec} looks the same upside down: poses would be ambiguous",
            hint="use a board with columns + rows odd, or a charuco",
        )
    need_common_sizes(footage, lenses)
    joint, own = search_takes(footage, spec, settings.max_pictures, progress, with_lenses=lenses is None)
    for takes in (joint, own):
        check_copies({id: take.views for id, take in takes.items()})
    start, deviations, warnings = [], [], _not_asked_for(others)
    warnings += [f"camera {id}: {take.said}" for id, take in joint.items() if take.said]
    warnings += [*check_mirrored(joint), *check_size(joint)]
    if lenses is None:
        warnings += uncovered({id: own.get(id, joint[id]) for id in ids})
    for id in ids:
        camera, deviation, rejected = _lens(id, own.get(id, joint[id]), settings, lenses)
        start.append(camera)
        deviations.append(deviation)
        warnings += [f"camera {id}: board picture {view} left out of the lens" for view in rejected]
    progress("poses", 0, 1)
    lens_std = np.array(deviations)
    solution = solve_rig(start, best_views(joint, settings.max_views), spec, refine=settings.refine, lens_std=lens_std)
    progress("poses", 1, 1)
    _need_believable(ids, solution, settings.max_rms_px)
    warnings += [*check_rig(solution.rig), *solution.warnings]
    return _calibration(solution, joint, lens_std, tuple(dict.fromkeys(warnings)))


def best_views(takes: Mapping[str, BoardTake], count: int) -> dict[str, dict[int, BoardView]]:
    """Those views of the pose takes that show most: sharp ones, of the whole picture, that connect the cameras."""
    chosen = set(choose_joint_views(takes, count))
    return {id: {n: view for n, view in take.views.items() if n in chosen} for id, take in takes.items()}


def _not_asked_for(ids: Sequence[str]) -> list[str]:
    return [f"board footage of {id}: the session has no such camera" for id in ids]


def floor_views(footage: BoardFootage, spec: BoardSpec, rig: Rig) -> dict[str, BoardView]:
    """What the cameras of a rig see of the board on the floor, by camera id; the sharpest picture of each take counts.

    Raises:
        CalibrationError: No camera sees it, or its pictures have another size than the rig's.
    """
    found: dict[str, BoardView] = {}
    for camera in rig.cameras:
        take = _floor_take(footage, camera, spec)
        if take is not None:
            found[camera.id] = take.views[choose_views(take, 1)[0]]
    if not found:
        raise CalibrationError("no camera sees a board on the floor", hint="film boards/floor/<camera>, one will do")
    return found


def _floor_take(footage: BoardFootage, camera: Camera, spec: BoardSpec) -> BoardTake | None:
    filmed = footage.cameras.get(camera.id)
    if filmed is None or filmed.floor is None:
        return None
    need_size(camera.id, "floor", picture_size(filmed.floor), "rig", (camera.width, camera.height))
    try:
        return detect_take(filmed.floor, spec)
    except CalibrationError:  # most cameras of a ring see the floor board too flat: those that see it serve
        return None


def _lens(
    id: str, take: BoardTake, settings: SolveSettings, lenses: Rig | None
) -> tuple[Camera, FloatArray, tuple[int, ...]]:
    """A camera without a pose, its standard deviations, shape (12,), and the pictures that contradict it."""
    if lenses is not None:
        return replace(lenses[id], id=id, world_from_camera=np.eye(4)), np.full(LENS_VALUES, np.nan), ()
    camera, lens = fit_lens(id, take, settings)
    return camera, lens.std, lens.rejected


def _need_believable(ids: Sequence[str], solution: RigSolution, limit: float) -> None:
    bad = [f"{id}: {rms:.4g} px" for id, rms in zip(ids, solution.rms_px, strict=True) if not rms <= limit]
    if bad:
        raise CalibrationError(
            f"reprojection of camera {', '.join(bad)} > {limit:g} px",
            hint="hold the board still; are all cameras in step, are squares and edges right? (calibrate.max_rms_px)",
        )


def _calibration(
    solution: RigSolution, joint: Mapping[str, BoardTake], lens_std: FloatArray, warnings: tuple[str, ...]
) -> Calibration:
    """What was solved; a lens value that the poses' take left as it came is as well known as it came."""
    table, ids = solution.corners, solution.rig.ids
    corners = BoardCorners(
        table.camera.astype(np.int32),
        table.view.astype(np.int32),
        table.id.astype(np.int32),
        table.state.astype(np.uint8),
        table.pixels.astype(np.float32),
        table.residual_px.astype(np.float32),
        tuple(joint[id].size for id in ids),
        tuple(joint[id].variant for id in ids),
    )
    used = {id: len(np.unique(table.view[(table.camera == n) & (table.state < 2)])) for n, id in enumerate(ids)}
    summary = {
        "board": board_summary(joint[ids[0]].spec),
        "trimmed_rms_px": round(float(solution.trimmed_rms_px), 4),
        "all_rms_px": round(float(solution.all_rms_px), 4),
        "held_out_rms_px": round(float(solution.held_out_rms_px), 4),
        "pair_distance_mm": round(float(solution.pair_distance_mm), 4),
        "freed": {id: list(names) for id, names in solution.freed.items()},
        "weak": {id: list(names) for id, names in solution.weak.items()},
        "views": used,
        "views_left_out": [[id, int(view)] for id, view in solution.dropped],
    }
    summary = {name: value for name, value in summary.items() if not (isinstance(value, float) and np.isnan(value))}
    return Calibration(
        rig=solution.rig,
        source="boards",
        rms_px=np.asarray(solution.rms_px, np.float64),
        intrinsics_std=np.where(np.isnan(solution.intrinsics_std), lens_std, solution.intrinsics_std),
        pose_std=solution.pose_std,
        corners=corners,
        boards=solution.world_from_board,
        summary=summary,
        warnings=warnings,
    )

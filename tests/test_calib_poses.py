"""Poses of a rig from exact boards: the truth comes back, what contradicts is left out and named, deviations hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest
from exact_boards import MIDDLE, SPEC, board_poses, exact_rig, film, relative

from litdome.calib.boards import BoardView
from litdome.calib.solve.poses import solve_rig
from litdome.errors import CalibrationError
from litdome.geometry import Camera, LensModel, Rig


def without_poses(rig: Rig) -> list[Camera]:
    return [replace(camera, world_from_camera=np.eye(4)) for camera in rig.cameras]


def focal_off(rig: Rig, factors: Sequence[float]) -> list[Camera]:
    """The cameras with focal lengths wrong by so much."""
    cameras = []
    for camera, factor in zip(without_poses(rig), factors, strict=True):
        k = camera.intrinsics.copy()
        k[[0, 1], [0, 1]] *= 1 + factor
        cameras.append(replace(camera, intrinsics=k))
    return cameras


def centre_errors(found: Rig, truth: Rig) -> np.ndarray:
    """Distances of the centres from where they are, in the first camera's frame, metres."""
    pairs = zip(relative(found), relative(truth), strict=True)
    return np.array([np.linalg.norm(ours[:3, 3] - true[:3, 3]) for ours, true in pairs])


def angle_deg(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.linalg.norm(cv2.Rodrigues(a[:3, :3].T @ b[:3, :3])[0])))


@pytest.mark.parametrize("models", [("pinhole5",), ("pinhole8",), ("fisheye4",), ("pinhole5", "fisheye4", "pinhole8")])
def test_exact_boards_give_the_rig_back(models: tuple[LensModel, ...]) -> None:
    truth = exact_rig(4, models)
    found = solve_rig(without_poses(truth), film(truth, board_poses(12)), SPEC, refine="none")
    assert centre_errors(found.rig, truth).max() < 1e-5
    assert max(angle_deg(a, b) for a, b in zip(relative(found.rig), relative(truth), strict=True)) < 1e-3
    assert found.all_rms_px < 1e-3 and found.held_out_rms_px < 1e-3 and found.pair_distance_mm < 1e-3
    assert found.dropped == () and (found.corners.state == 0).all()
    np.testing.assert_array_equal(found.rig.cameras[0].world_from_camera, np.eye(4))


def test_lenses_that_come_in_wrong_are_put_right_where_the_take_knows_better() -> None:
    truth = exact_rig(4)
    views = film(truth, board_poses(30, spread_m=0.4), noise_px=0.1)
    start = focal_off(truth, [0.01, -0.01, 0.01, -0.01])
    found, kept = (solve_rig(start, views, SPEC, refine=refine) for refine in ("auto", "none"))
    assert all("f" in names for names in found.freed.values())
    for camera, true in zip(found.rig.cameras, truth.cameras, strict=True):
        assert camera.intrinsics[0, 0] == pytest.approx(true.intrinsics[0, 0], rel=2e-3)
    assert centre_errors(found.rig, truth).max() < 5e-3
    assert centre_errors(kept.rig, truth).max() > 10e-3  # the negative control
    assert kept.held_out_rms_px > 1.5 * found.held_out_rms_px and kept.freed == {id: () for id in truth.ids}
    np.testing.assert_array_equal(kept.rig.cameras[1].intrinsics, start[1].intrinsics)
    assert np.isnan(kept.intrinsics_std[:, :9]).all() and np.isfinite(found.intrinsics_std[:, :2]).all()


def test_what_the_take_hardly_sees_stays_and_is_named() -> None:
    truth = exact_rig(4)
    flat = np.diag([1.0, -1.0, -1.0, 1.0])
    flat[:3, 3] = MIDDLE - flat[:3, :3] @ [0.32, 0.24, 0]
    poses = []
    for n in range(6):  # hardly turned, hardly moved
        pose = flat.copy()
        pose[:3, :3] = flat[:3, :3] @ cv2.Rodrigues(np.array([0.0, 0.0, 0.05 * n]))[0]
        pose[:3, 3] += 0.01 * n
        poses.append(pose)
    found = solve_rig(without_poses(truth), film(truth, poses, noise_px=0.5), SPEC)
    assert all("f" in names and "cx" in names for names in found.weak.values())
    for camera, true in zip(found.rig.cameras, truth.cameras, strict=True):
        np.testing.assert_array_equal(camera.intrinsics, true.intrinsics)
    free = solve_rig(without_poses(truth), film(truth, poses, noise_px=0.5), SPEC, refine="f,cx,cy,k1,k2")
    assert centre_errors(found.rig, truth).max() < centre_errors(free.rig, truth).max() / 2  # why it is refused


def test_what_a_lens_take_knows_better_is_not_given_up_for_boards_far_away() -> None:
    truth = exact_rig(4)
    views = film(truth, board_poses(20, spread_m=0.1), noise_px=0.03)
    std = np.full((4, 12), np.nan)
    std[:, :9] = [0.3, 0.3, 0.3, 0.3, 1e-3, 1e-3, 1e-5, 1e-5, 1e-3]
    told, untold = (solve_rig(without_poses(truth), views, SPEC, lens_std=known) for known in (std, None))
    assert all({"k2", "p1", "k3"} <= set(names) for names in told.weak.values())
    assert all(("aspect" in names) == ("f" in names) for names in told.freed.values())
    kept, lost = (
        [_corner_error(camera, true) for camera, true in zip(found.rig.cameras, truth.cameras, strict=True)]
        for found in (told, untold)
    )
    assert max(kept) < 0.5 and max(lost) > 2 * max(kept)  # px in the corners of the picture, where no board was
    k3_unknown = std.copy()
    k3_unknown[:, 8] = np.nan
    still = solve_rig(without_poses(truth), views, SPEC, lens_std=k3_unknown)
    assert all("k3" in names for names in still.weak.values())


def _corner_error(found: Camera, true: Camera) -> float:
    """Largest difference in the corners of the picture, px; where the lens points does not count."""
    pixels = np.stack(np.meshgrid(np.linspace(20, 1060, 9), np.linspace(20, 1420, 9)), axis=-1).reshape(-1, 2)
    ours, theirs = (
        camera.ray_directions(pixels)
        for camera in (replace(found, world_from_camera=np.eye(4)), replace(true, world_from_camera=np.eye(4)))
    )
    turned = np.linalg.lstsq(ours, theirs, rcond=None)[0]
    return float(np.abs(ours @ turned - theirs).max() * true.intrinsics[0, 0])


def test_a_camera_out_of_step_for_a_while_is_survived_and_told() -> None:
    truth = exact_rig(4)
    views = film(truth, board_poses(24), noise_px=0.3)
    number, other = sorted(views["c02"])[:2]
    views["c02"][number] = replace(views["c02"][number], pixels=views["c02"][number].pixels + np.array([60.0, -20.0]))
    found = solve_rig(without_poses(truth), views, SPEC, refine="none")
    assert ("c02", number) in found.dropped and ("c02", other) not in found.dropped
    table = found.corners
    assert (table.state[(table.camera == 2) & (table.view == number)] == 2).all()
    assert centre_errors(found.rig, truth).max() < 5e-3
    assert found.rms_px == pytest.approx(0.3 * np.sqrt(2), rel=0.15)


def test_one_corner_read_wrongly_is_left_out_alone() -> None:
    truth = exact_rig(3)
    views = film(truth, board_poses(10), noise_px=0.1)
    number = sorted(views["c01"])[2]
    views["c01"][number].pixels[5] += [30, 0]
    found = solve_rig(without_poses(truth), views, SPEC, refine="none")
    table = found.corners
    left_out = np.flatnonzero(table.state)
    assert len(left_out) == 1 and found.dropped == ()
    at = left_out[0]
    assert (table.camera[at], table.view[at], table.id[at]) == (1, number, views["c01"][number].ids[5])
    assert table.residual_px[at] == pytest.approx([-30, 0], abs=1)
    assert found.all_rms_px > 2 * found.trimmed_rms_px and found.rms_px.max() < 0.2


def test_held_out_views_tell_a_lens_that_explains_only_what_it_was_fitted_to() -> None:
    truth = exact_rig(3)
    views = film(truth, board_poses(6), noise_px=0.5)
    honest = solve_rig(without_poses(truth), views, SPEC, refine="none")
    fitted = solve_rig(without_poses(truth), views, SPEC, refine="f,cx,cy,k1,k2")
    assert fitted.all_rms_px < honest.all_rms_px
    assert fitted.held_out_rms_px > honest.held_out_rms_px


def test_distances_are_judged_against_the_board() -> None:
    truth = exact_rig(3)
    views = film(truth, board_poses(10))
    wrong = focal_off(truth, [0.02, -0.02, 0.02])
    assert solve_rig(wrong, views, SPEC, refine="none").pair_distance_mm > 0.1
    assert solve_rig(without_poses(truth), views, SPEC, refine="none").pair_distance_mm < 1e-3


def test_cameras_that_share_no_view_are_named() -> None:
    truth = exact_rig(4)
    views = film(truth, board_poses(20))
    views["c03"] = {n + 1000: view for n, view in views["c03"].items()}
    views["c01"] = {n + 1000: view for n, view in views["c01"].items()}
    with pytest.raises(CalibrationError, match=r"cameras c01, c03 share no board view with the others \(c00, c02\)"):
        solve_rig(truth.cameras, views, SPEC)
    with pytest.raises(CalibrationError, match="share no board view"):
        solve_rig(truth.cameras, {}, SPEC)


def test_a_camera_that_contradicts_all_the_time_is_named() -> None:
    truth = exact_rig(4)
    views = film(truth, board_poses(20), noise_px=0.1)
    numbers = sorted(views["c02"])
    views["c02"] = {number: views["c02"][numbers[n - 3]] for n, number in enumerate(numbers)}  # three pictures late
    with pytest.raises(CalibrationError, match="cameras c02: their board views contradict the other cameras'"):
        solve_rig(without_poses(truth), views, SPEC, refine="none")


def test_boards_that_look_mirrored_from_afar_do_not_mislead() -> None:
    truth = exact_rig(4)
    far = [replace(camera, intrinsics=camera.intrinsics * [[0.25], [0.25], [1]]) for camera in truth.cameras]
    rig = Rig(tuple(far))  # a board of 80 px: noise decides which of its two poses fits better
    views = film(rig, board_poses(24), noise_px=0.5)
    found = solve_rig(without_poses(rig), views, SPEC, refine="none")
    assert centre_errors(found.rig, rig).max() < 0.03 and found.rms_px == pytest.approx(0.5 * np.sqrt(2), rel=0.15)
    assert len(found.dropped) <= 2


def test_a_pose_that_hardly_anything_checks_is_named() -> None:
    truth = exact_rig(4)
    views = film(truth, board_poses(20))
    shared = min(set(views["c03"]) & set(views["c02"]))
    views["c03"] = {shared: views["c03"][shared]}
    found = solve_rig(without_poses(truth), views, SPEC, refine="none")
    assert found.warnings == ("camera c03: its pose rests on 1 board view alone: nothing checks it, film more",)


def test_one_camera_alone_is_a_rig() -> None:
    truth = exact_rig(1)
    found = solve_rig(without_poses(truth), film(truth, board_poses(12)), SPEC, refine="none")
    assert found.all_rms_px < 1e-3 and np.isnan(found.pair_distance_mm)


def test_boards_without_a_shape_and_unknown_terms_are_refused() -> None:
    truth = exact_rig(2)
    views = film(truth, board_poses(8))
    line = {id: {n: BoardView(v.ids[:3], v.pixels[:3]) for n, v in of.items()} for id, of in views.items()}
    with pytest.raises(CalibrationError, match="share no board view"):
        solve_rig(without_poses(truth), line, SPEC)
    with pytest.raises(CalibrationError, match="'k9', 'zoom' unknown to these lenses"):
        solve_rig(without_poses(truth), views, SPEC, refine="f,zoom,k9")

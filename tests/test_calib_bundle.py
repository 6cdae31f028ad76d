"""The bundle: its Jacobian, its elimination of boards, its minimum."""

from __future__ import annotations

import numpy as np
from exact_boards import SPEC, board_poses, exact_rig, film

from litdome.calib.solve.bundle import (
    Estimate,
    Problem,
    camera_information,
    jacobians,
    moved,
    normal_equations,
    residuals,
    solve,
    with_used,
)
from litdome.calib.solve.pose_graph import gather_corners
from litdome.calib.solve.projection import lens_values

MODELS = ("pinhole5", "fisheye4", "pinhole8")


def scene(noise_px: float = 0.0) -> tuple[Problem, Estimate]:
    """Three cameras of three models and five boards, all of it as it truly is."""
    rig = exact_rig(3, MODELS)
    poses = board_poses(5)
    corners, numbers = gather_corners(rig.cameras, film(rig, poses, noise_px), SPEC, at_least=2)
    first = rig.cameras[0].camera_from_world
    free = np.ones((3, 18), bool)
    free[0, :6] = False
    for row, count in zip(free, (9, 8, 12), strict=True):
        row[6 + count :] = False
    truth = Estimate(
        np.array([lens_values(camera) for camera in rig.cameras]),
        np.array([camera.camera_from_world @ np.linalg.inv(first) for camera in rig.cameras]),
        np.array([first @ poses[number] for number in numbers]),
    )
    return Problem([camera.model for camera in rig.cameras], corners, free), truth


def test_the_jacobian_is_the_derivative() -> None:
    problem, truth = scene()
    corners = problem.corners
    by_camera, by_board = jacobians(problem, truth)
    none, still, step = np.zeros((3, 18)), np.zeros((len(truth.world_from_board), 6)), 1e-6
    for column in range(18):
        move = none.copy()
        move[:, column] = step
        there, back = (residuals(problem, moved(truth, sign * move, still)) for sign in (1, -1))
        numeric, ours = ((there - back) / (2 * step))[corners.used], by_camera[..., column][corners.used]
        np.testing.assert_allclose(ours, numeric, rtol=1e-6, atol=1e-6 * max(np.abs(numeric).max(), 1))
    for column in range(6):
        move = still.copy()
        move[:, column] = step
        there, back = (residuals(problem, moved(truth, none, sign * move)) for sign in (1, -1))
        numeric, ours = ((there - back) / (2 * step))[corners.used], by_board[..., column][corners.used]
        np.testing.assert_allclose(ours, numeric, rtol=1e-6, atol=1e-6 * np.abs(numeric).max())


def test_taking_boards_out_leaves_what_the_whole_matrix_knows_of_the_cameras() -> None:
    problem, truth = scene(noise_px=0.3)
    corners, views = problem.corners, len(truth.world_from_board)
    by_camera, by_board = jacobians(problem, truth)
    whole = np.zeros((*corners.used.shape, 2, 54 + 6 * views))
    for row, (camera, view) in enumerate(zip(corners.camera, corners.view, strict=True)):
        whole[row, ..., 18 * camera : 18 * camera + 18] = by_camera[row]
        whole[row, ..., 54 + 6 * view : 60 + 6 * view] = by_board[row]
    j = whole[corners.used].reshape(-1, whole.shape[-1])
    r = residuals(problem, truth)[corners.used].ravel()
    normal, gradient = j.T @ j, j.T @ r
    eliminated = normal[:54, 54:] @ np.linalg.inv(normal[54:, 54:])
    information, score = camera_information(problem, normal_equations(problem, truth, None))
    expected = normal[:54, :54] - eliminated @ normal[54:, :54]
    np.testing.assert_allclose(information, expected, rtol=1e-6, atol=1e-9 * np.abs(expected).max())
    np.testing.assert_allclose(score, gradient[:54] - eliminated @ gradient[54:], rtol=1e-5, atol=1e-3)


def test_exact_corners_lead_back_to_the_truth() -> None:
    problem, truth = scene()
    free = problem.free.copy()
    free[:, 10:] = False  # distortion as it is: how well 5 boards know it is not the question here
    problem = Problem(problem.models, problem.corners, free)
    rng = np.random.default_rng(0)
    start = moved(
        truth,
        np.where(free, rng.normal(0, 0.01, free.shape), 0),
        rng.normal(0, 0.02, (5, 6))[: len(truth.world_from_board)],
    )
    assert np.nanmax(np.abs(residuals(problem, start))) > 20  # px
    found = solve(problem, start)
    np.testing.assert_allclose(found.camera_from_world, truth.camera_from_world, atol=1e-5)
    np.testing.assert_allclose(found.lenses, truth.lenses, rtol=1e-5, atol=1e-3)


def test_a_corner_far_off_hardly_pulls_and_an_unused_one_does_not() -> None:
    problem, truth = scene()
    problem.corners.pixels[0, 0] += 50
    robust, squares = solve(problem, truth), solve(problem, truth, soft_px=None)
    errors = [np.abs(found.camera_from_world - truth.camera_from_world).max() for found in (robust, squares)]
    assert errors[0] < errors[1] / 3
    used = problem.corners.used.copy()
    used[0, 0] = False

    without = solve(with_used(problem, used), truth)
    assert np.abs(without.camera_from_world - truth.camera_from_world).max() < 1e-9

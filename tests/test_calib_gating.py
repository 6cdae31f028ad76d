"""What a solution knows, and which lens values it may change: deviations hold, weak values stay."""

from __future__ import annotations

import numpy as np
import pytest
from exact_boards import SPEC, board_poses, exact_rig, film

from litdome.calib.solve.bundle import SOFT_PX, Estimate, Problem, solve
from litdome.calib.solve.gating import (
    LENS_BELIEF,
    Precision,
    choose_terms,
    lens_belief,
    measure_precision,
    term_names,
    terms_named,
)
from litdome.calib.solve.pose_graph import gather_corners
from litdome.calib.solve.projection import TERMS, lens_values
from litdome.geometry import Rig


def problem_of(
    rig: Rig, terms: str, noise_px: float, seed: int = 0, jitter_m: float = 0.0, spread_m: float = 0.25
) -> tuple[Problem, Estimate]:
    """A rig's boards with poses and some lens terms free, and the truth to start from."""
    poses = board_poses(14, seed, spread_m)
    views = film(rig, poses, noise_px, seed, jitter_m)
    corners, numbers = gather_corners(rig.cameras, views, SPEC, at_least=2)
    free = terms_named(rig.cameras, terms.split(","))
    free[1:, :6] = True
    first = rig.cameras[0].camera_from_world
    truth = Estimate(
        np.array([lens_values(camera) for camera in rig.cameras]),
        np.array([camera.camera_from_world @ np.linalg.inv(first) for camera in rig.cameras]),
        np.array([first @ poses[number] for number in numbers]),
    )
    return Problem([camera.model for camera in rig.cameras], corners, free), truth


@pytest.mark.parametrize(("noise_px", "jitter_m", "least"), [(0.3, 0.0, 0.7), (0.2, 0.002, 0.5)])
def test_deviations_are_honest_even_where_whole_views_move(noise_px: float, jitter_m: float, least: float) -> None:
    rig = exact_rig(3)
    errors, together = [], []
    for seed in range(10):
        problem, truth = problem_of(rig, "f,cx,cy", noise_px, seed, jitter_m)
        found = solve(problem, truth)
        precision = measure_precision(problem, found, SOFT_PX)
        std = np.sqrt(np.diag(precision.covariance(problem.free))).reshape(3, 18)
        moved = found.camera_from_world[1:, :3, 3] - truth.camera_from_world[1:, :3, 3]
        errors.append([*(found.lenses[:, 0] / truth.lenses[:, 0] - 1) / std[:, 6], *(moved / std[1:, 3:6]).ravel()])
        together.append(precision.view_noise_px / precision.noise_px)
    # 90 numbers, some 50 of them independent: their root mean square is 1 +- 0.1; 0.7 to 1.4 is 3 and 4 of those.
    # The factor for views that move is one for all: it may promise less of what they hardly shift, never more.
    assert least < np.sqrt(np.mean(np.square(errors))) < 1.4
    if jitter_m:  # corners alone would promise much too little
        assert np.median(together) > 2 and np.sqrt(np.mean(np.square(errors))) * np.median(together) > 2
    else:
        assert np.median(together) < 1.2


@pytest.mark.parametrize("models", [("pinhole5",), ("pinhole8", "fisheye4", "pinhole5")])
def test_a_take_that_sees_everything_may_change_a_lot_and_one_that_sees_little_nothing(models) -> None:  # type: ignore[no-untyped-def]
    rig = exact_rig(3, models)
    candidates = terms_named(rig.cameras, TERMS["pinhole8"])
    candidates[1:, :6] = True
    freed = []
    for noise_px in (0.05, 20.0):
        problem, truth = problem_of(rig, "f", noise_px, spread_m=0.4)
        precision = measure_precision(problem, truth, None)
        freed.append(term_names(rig.cameras, choose_terms(rig.cameras, truth, precision, candidates)))
    assert all("f" in names for names in freed[0].values())
    for camera in rig.cameras:  # of a rational lens, k1 and k4 do nearly the same; these boards cannot tell them apart
        assert ("k1" in freed[0][camera.id]) == (camera.model != "pinhole8")
    assert freed[1] == {id: () for id in rig.ids}


def test_only_candidates_are_freed_and_a_known_focal_length_is_within_the_belief() -> None:
    rig = exact_rig(3)
    problem, truth = problem_of(rig, "f,k1", 0.1)
    precision = measure_precision(problem, truth, None)
    free = choose_terms(rig.cameras, truth, precision, problem.free)
    np.testing.assert_array_equal(free, problem.free)
    assert (np.sqrt(np.diag(precision.covariance(free)))[6::18] < LENS_BELIEF).all()
    rough = Precision(precision.information, 10.0, 10.0)  # the negative control: the same take, a hundred times noisier
    assert (np.sqrt(np.diag(rough.covariance(problem.free)))[6::18] > LENS_BELIEF).any()
    assert not choose_terms(rig.cameras, truth, rough, problem.free)[:, 6:].all()


def test_each_believed_value_moves_pixels_as_far_as_the_focal_length() -> None:
    rig = exact_rig(1)
    belief = lens_belief(rig.cameras, 0.01)[0]
    assert belief[6] == pytest.approx(0.01) and np.isinf(belief[:6]).all()
    # cx moves every pixel alike; a focal length wrong by 1 % moves them by 1 % of how far they are from the centre
    away = np.sqrt((1080**2 + 1440**2) / 12 + (545 - 539.5) ** 2 + (715 - 719.5) ** 2)
    assert belief[8] == pytest.approx(0.01 * away, rel=0.05)

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from preprocess_scene import HEIGHT, WIDTH, disc, texture

from litdome.preprocess.compensation import Compensated, compensate, expected_error_px
from litdome.preprocess.flow import Step
from litdome.preprocess.motion import Motion, Segment
from litdome.preprocess.relit_motion import relit_motion

RNG = np.random.default_rng(3)
PLATE, PERSON = texture(RNG, (70, 85, 90), (150, 160, 150)), texture(RNG, (120, 50, 30), (235, 140, 100))
SIZE = (WIDTH, HEIGHT)


def centre(time: float, bend_px: float = 0.0) -> np.ndarray:
    """Of the disc, ``time`` in flat steps of 8 px from the picture at time 0; ``bend_px`` is its second difference."""
    return np.array([110.0, 90.0]) + np.array([8.0, 2.0]) * time + np.array([0.0, bend_px / 2]) * time**2


def picture(time: float, bend_px: float = 0.0) -> np.ndarray:
    where = centre(time, bend_px)
    cover = disc(where)[..., None]
    move = np.array([[1, 0, where[0] - 110.0], [0, 1, where[1] - 90.0]])
    moved = cv2.warpAffine(PERSON, move, SIZE, borderMode=cv2.BORDER_REFLECT)
    return np.clip(PLATE * (1 - cover) + moved * cover + 0.5, 0, 255).astype(np.uint8)


def step(time: float, bend_px: float = 0.0) -> Step:
    """Exact flow from ``time`` to one flat step later and back; the plate stands still."""
    move = (centre(time + 1, bend_px) - centre(time, bend_px)).astype(np.float32)
    return tuple(  # type: ignore[return-value]
        (disc(centre(at, bend_px)) > 0.5)[..., None] * way for at, way in ((time, move), (time + 1, -move))
    )


def exact_motion(alpha: float, bend_px: float = 0.0) -> Motion:
    return Motion(Segment(0, 1, alpha, *step(0, bend_px)), step(-1, bend_px), step(1, bend_px))


def inside(time: float, bend_px: float = 0.0, radius_px: int = 24) -> np.ndarray:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    where = centre(time, bend_px)
    return np.hypot(x - where[0], y - where[1]) < radius_px


def misfit(found: Compensated, time: float, bend_px: float = 0.0) -> float:
    """Mean difference to the true picture on the disc, codes."""
    where = inside(time, bend_px)
    return float(np.abs(found.picture[where].astype(float) - picture(time, bend_px)[where]).mean())


@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.8])
def test_a_steadily_moving_disc_is_where_it_was_at_the_relit_time(alpha: float) -> None:
    found = compensate(exact_motion(alpha), picture(0), picture(1))
    assert misfit(found, alpha) < 1.5  # codes: bilinear lookups blur the texture
    still = np.abs(picture(0)[inside(alpha)].astype(float) - picture(alpha)[inside(alpha)]).mean()
    assert still > 4 * misfit(found, alpha)  # negative control: not moved
    assert np.median(found.shift_px[inside(alpha)]) == pytest.approx(alpha * np.hypot(8, 2), abs=0.2)


def test_a_disc_that_speeds_up_is_found_by_the_steps_beside_its_own() -> None:
    bend_px = 4.0  # half way it lags 4 / 8 px behind the middle of its step
    motion = exact_motion(0.5, bend_px)
    second, first = (relit_motion(m, SIZE) for m in (motion, replace(motion, before=None, after=None)))
    where = inside(0.5, bend_px, 16)
    wanted = centre(0, bend_px) - centre(0.5, bend_px)
    assert np.abs(np.median(second.to_start[where], axis=0) - wanted).max() < 0.1
    assert np.abs(np.median(first.to_start[where], axis=0) - wanted).max() > 0.4  # negative control: the half step
    for one in (replace(motion, before=None), replace(motion, after=None)):
        assert np.abs(np.median(relit_motion(one, SIZE).to_start[where], axis=0) - wanted).max() < 0.1


def test_the_motion_goes_on_after_the_last_flat_frame() -> None:
    motion = replace(exact_motion(1.5), after=None)
    found = compensate(motion, picture(1), None)
    assert misfit(found, 1.5) < 1.5
    assert np.median(found.shift_px[inside(1.5)]) == pytest.approx(0.5 * np.hypot(8, 2), abs=0.2)


def test_flow_that_lies_is_believed_less_than_flow_that_is_right() -> None:
    right = exact_motion(0.5)
    wrong = replace(right, segment=replace(right.segment, forward=-right.segment.forward))
    trusts = [compensate(motion, picture(0), picture(1)) for motion in (right, wrong)]
    where = inside(0.5, radius_px=16)
    assert np.median(trusts[0].reliability[where]) > 0.9 > 0.3 > np.median(trusts[1].reliability[where])
    assert np.median(trusts[1].weight_compensated[where]) < 0.5 * np.median(trusts[0].weight_compensated[where])


def test_a_raw_pair_weighs_little_where_it_moved_and_much_where_it_stands() -> None:
    found = compensate(exact_motion(0.5), picture(0), picture(1))
    away = ~inside(0.5, radius_px=60)
    assert np.median(found.weight[away]) > 0.9 and np.median(found.weight[inside(0.5)]) < 0.1
    assert np.median(found.weight_compensated[inside(0.5)]) > 0.8
    assert (found.weight <= found.weight_compensated + 1e-6).all()
    error_px = expected_error_px(np.linspace(-8, 8, 9, dtype=np.float32))
    assert (np.diff(error_px) > 0).all()


def test_shift_is_measured_in_px_of_the_full_picture_and_weighed_at_1080_rows() -> None:
    motion, twice = exact_motion(0.5), (2 * WIDTH, 2 * HEIGHT)
    small = compensate(motion, picture(0), picture(1))
    large = compensate(motion, *(cv2.resize(picture(time), twice) for time in (0, 1)))
    where, large_where = inside(0.5), cv2.resize(inside(0.5).astype(np.uint8), large.shift_px.shape[::-1]) > 0
    shifts = np.median(small.shift_px[where]), np.median(large.shift_px[large_where])
    assert shifts[1] == pytest.approx(2 * shifts[0], rel=0.02)
    assert np.median(large.weight[large_where]) == pytest.approx(np.median(small.weight[where]), rel=0.2)
    assert large.picture.shape == (2 * HEIGHT, 2 * WIDTH, 3)


def test_pictures_that_stand_still_are_averaged_and_sizes_need_not_divide() -> None:
    still = np.zeros((95, 143, 2), np.float32)
    found = compensate(
        Motion(Segment(0, 1, 0.25, still, still)),
        np.full((190, 285, 3), 100, np.uint8),
        np.full((190, 285, 3), 200, np.uint8),
    )
    assert (found.picture == 125).all() and found.shift_px.shape == (190, 285) and not found.shift_px.any()

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from preprocess_scene import HEIGHT, STEP, WIDTH, make_scene, write_session

from litdome.preprocess.flow import (
    FlatMotion,
    Flow,
    FlowConfig,
    coarse_flow,
    dense_flow,
    estimate_flow,
    normalise_brightness,
)
from litdome.preprocess.motion import resize_flow

SCENE = make_scene(5)


def luma(frame: int) -> np.ndarray:
    return SCENE.pictures[frame] @ np.array([0.299, 0.587, 0.114]) // 1


def test_flow_of_a_moving_disc_is_its_step_both_ways() -> None:
    first, second = (luma(frame).astype(np.uint8) for frame in (0, 2))
    forward, backward = estimate_flow(first, second)
    inside = SCENE.masks[0] == 255
    # 0.35 px: DIS on 8 px of motion with noise; a swapped axis or sign is off by more than 8 px
    assert np.abs(np.median(forward[inside], axis=0) - 2 * STEP).max() < 0.35
    assert np.abs(np.median(backward[SCENE.masks[2] == 255], axis=0) + 2 * STEP).max() < 0.35
    outside = SCENE.masks[:3].max(0) == 0
    assert np.median(np.linalg.norm(forward[outside], axis=-1)) < 0.2


def test_a_leap_that_is_lost_from_rest_is_found_from_a_guess() -> None:
    rng, side, leap_px = np.random.default_rng(3), 24, 60
    noise = [
        cv2.GaussianBlur(rng.random(shape).astype(np.float32), (0, 0), 1.3) for shape in ((240, 320), (side, side))
    ]
    plate, arm = (cv2.normalize(values, None, 20, 235, cv2.NORM_MINMAX).astype(np.uint8) for values in noise)
    where, later = (slice(90, 90 + side), slice(100, 100 + side)), (slice(90, 90 + side), slice(160, 160 + side))
    first, second, guess = plate.copy(), plate.copy(), np.zeros((240, 320, 2), np.float32)
    first[where], second[later] = arm, arm
    guess[80:124, 90:134] = leap_px, 0
    from_rest, from_guess = (estimate_flow(first, second, guesses=(start, None))[0] for start in (None, guess))
    assert np.median(from_guess[where][..., 0]) == pytest.approx(leap_px, abs=1.5)  # smoothness at its outline
    assert np.median(from_rest[where][..., 0]) < leap_px / 4


def test_a_step_is_the_same_wherever_the_work_begins(tmp_path: Path) -> None:
    session = write_session(tmp_path / "s.zarr", make_scene(11))
    through, at_once = (FlatMotion(session, "c00", 640) for _ in range(2))
    steps = [through.step(n) for n in range(4)]
    np.testing.assert_array_equal(at_once.step(3), steps[3])


def test_brighter_lamps_are_no_motion() -> None:
    first = luma(0).astype(np.uint8)
    brighter = np.clip(first * 1.25 + 6, 0, 255).astype(np.uint8)
    np.testing.assert_allclose(normalise_brightness(first).astype(float), normalise_brightness(brighter), atol=3)
    forward, _ = estimate_flow(first, brighter)
    assert np.percentile(np.linalg.norm(forward, axis=-1), 95) < 0.3


@pytest.mark.parametrize(("height", "width"), [(192, 288), (190, 285)])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_a_smooth_flow_survives_the_coarse_grid(height: int, width: int, scale: float) -> None:
    rows, columns = round(height * scale), round(width * scale)
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    # full-picture px at the pixel centres of the reduced picture: linear, so block means are exact
    full_x, full_y = (x + 0.5) * width / columns - 0.5, (y + 0.5) * height / rows - 0.5
    flow = np.stack([3 + 0.05 * full_x, -2 + 0.03 * full_y], -1)
    own = flow * np.array([columns / width, rows / height], np.float32)
    back = dense_flow(coarse_flow(own.astype(np.float32), 8, height, width), 8, height, width)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    wanted = np.stack([3 + 0.05 * x, -2 + 0.03 * y], -1)
    inner = slice(12, -12), slice(12, -12)  # the border repeats itself
    np.testing.assert_allclose(back[inner], wanted[inner], atol=0.06)  # 1/32 px lookup steps times the slope


def test_a_flow_expanded_to_another_size_is_in_its_pixels() -> None:
    coarse = np.full((2, 24, 36), 4.0, np.float32)
    half = dense_flow(coarse, 8, HEIGHT, WIDTH, (WIDTH // 2, HEIGHT // 2))
    assert half.shape == (HEIGHT // 2, WIDTH // 2, 2)
    np.testing.assert_allclose(half, 2.0)
    np.testing.assert_allclose(resize_flow(half, (WIDTH, HEIGHT)), 4.0)


def test_the_stage_stores_motion_both_ways_and_nan_where_a_flat_frame_is_missing(tmp_path: Path) -> None:
    session = write_session(tmp_path / "s.zarr", make_scene(9), absent=(4,))
    stage, config = Flow(), FlowConfig()
    for unit in stage.prepare(session, config):
        stage.run(session, config, unit)
    motion, backward = (session.read(f"{name}/c00").astype(np.float32) for name in ("motion", "motion_backward"))
    assert motion.shape == (4, 2, HEIGHT // 8, WIDTH // 8) and session.array("motion/c00").attrs["stride"] == 8
    known = np.isfinite(motion).all((1, 2, 3))
    assert known.tolist() == [True, False, False, True]  # frame 4 ends pair 1 and starts pair 2
    y, x = np.unravel_index(np.argmax(np.linalg.norm(motion[0], axis=0)), motion.shape[2:])
    np.testing.assert_allclose(motion[0][:, y, x], 2 * STEP, atol=1.0)
    np.testing.assert_allclose(motion[0].mean((1, 2)), -backward[0].mean((1, 2)), atol=0.3)
    assert stage.finish(session, config) == {"measured": 2, "pairs": 4}


def test_pairs_that_share_flat_frames_share_one_flow(tmp_path: Path) -> None:
    session = write_session(tmp_path / "s.zarr", make_scene(5, kinds="fhhhf"))
    stage, config = Flow(), FlowConfig()
    for unit in stage.prepare(session, config):
        stage.run(session, config, unit)
    motion = session.read("motion/c00")
    assert np.isfinite(motion).all()
    np.testing.assert_array_equal(motion[0], motion[2])

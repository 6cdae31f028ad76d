from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from preprocess_scene import HEIGHT, WIDTH, disc, texture

from litdome.preprocess.motion_edges import resize_motion, settle_edges
from litdome.preprocess.relit_motion import RelitMotion

RNG = np.random.default_rng(5)
PLATE, PERSON = (texture(RNG, (90,) * 3, (150,) * 3)[..., 0], texture(RNG, (20,) * 3, (230,) * 3)[..., 0])
CENTRE, HALF_STEP = np.array([110.0, 90.0]), np.array([4.0, 1.0], np.float32)
RADIUS_PX = float(np.sqrt((disc(CENTRE) > 0.5).sum() / np.pi))


def luma(time: float) -> np.ndarray:
    """The disc at the relit time, 0, or half a step of 8 px before or after it."""
    shift = HALF_STEP * time
    moved = cv2.warpAffine(PERSON, np.array([[1, 0, shift[0]], [0, 1, shift[1]]]), (WIDTH, HEIGHT))
    cover = disc(CENTRE + shift)
    return (PLATE * (1 - cover) + moved * cover + 0.5).astype(np.uint8)


def field(blur_px: float) -> RelitMotion:
    """The true motion at the relit time, as flow in patches gives it: blurred over the disc's rim."""
    inside = cv2.GaussianBlur((disc(CENTRE) > 0.5).astype(np.float32), (0, 0), blur_px)[..., None]
    none = np.zeros((HEIGHT, WIDTH), np.float32)
    return RelitMotion(-HALF_STEP * inside, HALF_STEP * inside, none + 0.5, none, none)


def rim() -> np.ndarray:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    far = np.hypot(x - CENTRE[0], y - CENTRE[1])
    return (far < RADIUS_PX - 1) & (far > RADIUS_PX - 4)


def errors_px(found: RelitMotion) -> np.ndarray:
    return np.linalg.norm(found.to_start + HALF_STEP, axis=-1)[rim()]


def test_the_rim_of_a_moving_disc_moves_with_it_where_the_pictures_say_so() -> None:
    blurred = field(2.5)
    settled = settle_edges(blurred, luma(-1), luma(1))
    assert errors_px(blurred).mean() > 0.7
    assert errors_px(settled).mean() < 0.5 * errors_px(blurred).mean()
    np.testing.assert_allclose(settled.to_end, -settled.to_start, atol=1e-5)  # both come from the same point


def test_pictures_that_agree_as_they_are_leave_the_motion_alone() -> None:
    blurred = field(2.5)
    settled = settle_edges(blurred, luma(0), luma(0))
    plain = np.full((HEIGHT, WIDTH), 128, np.uint8)
    for found in (
        settle_edges(replace(blurred, to_start=blurred.to_end), luma(0), luma(0)),
        settle_edges(blurred, plain, plain),
    ):
        np.testing.assert_array_equal(found.to_end, blurred.to_end)
    assert np.isfinite(settled.to_start).all()


def test_fields_of_another_size_are_in_its_px() -> None:
    grown = resize_motion(field(2.5), (2 * WIDTH, 2 * HEIGHT))
    y, x = (int(2 * place) for place in CENTRE[::-1])
    np.testing.assert_allclose(grown.to_end[y, x], 2 * HALF_STEP, atol=1e-3)
    assert grown.near_end[y, x] == 0.5

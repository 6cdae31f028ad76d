"""Pictures of any size in the model's frame, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from litdome.errors import UsageError
from litdome.train_plugins.fitting import UNIT_PX, WIDE, fit_into

SIDE = st.integers(1, 200)


@given(height=SIDE, width=SIDE)
def test_without_a_frame_every_pixel_comes_back_and_the_frame_is_whole_and_never_upright(
    height: int, width: int
) -> None:
    fit = fit_into((height, width))
    picture = np.random.default_rng(0).random((3, height, width), np.float32)
    placed = fit.place(picture, 0.5)
    assert placed.shape == (3, *fit.frame) and all(side % UNIT_PX == 0 for side in fit.frame)
    assert fit.frame[1] + UNIT_PX > min(width, height) and (width >= height or fit.frame[1] >= height * WIDE - 1)
    np.testing.assert_array_equal(fit.cut(placed), picture)
    outside = np.ones(fit.frame, bool)
    fit.cut(outside)[...] = False
    assert (placed[:, outside] == 0.5).all()


@given(height=SIDE, width=SIDE)
def test_in_a_frame_a_picture_keeps_its_aspect_and_never_grows(height: int, width: int) -> None:
    fit = fit_into((height, width), (80, 144))
    shown = np.array(fit.shown)
    assert ((shown <= fit.frame).all() and (shown <= (height, width)).all()) or fit.shown[0] == 2 or fit.shown[1] == 2
    scale = min(1, 80 / height, 144 / width)
    assert np.abs(shown - np.array([height, width]) * scale).max() <= 2  # px: even sizes, at least 2


def test_an_upright_film_stands_in_the_middle_of_the_wide_frame() -> None:
    fit = fit_into((1920, 1080), (704, 1280))
    assert (fit.shown, fit.top, fit.left) == ((704, 396), 0, 442)
    ramp = np.broadcast_to(np.linspace(0, 1, 1920, dtype=np.float32)[:, None], (3, 1920, 1080))
    back = fit.cut(fit.place(ramp, 0.0))
    assert (np.diff(back[0, :, 200]) > 0).all()  # still upright
    np.testing.assert_allclose(back[0, :, 200], (np.arange(704) + 0.5) / 704, atol=1e-3)


def test_a_frame_that_the_model_cannot_take_names_one_that_it_can() -> None:
    with pytest.raises(UsageError, match="100x100 px: not whole multiples of 16") as caught:
        fit_into((64, 64), (100, 100))
    assert caught.value.hint == "--size 112x112"

"""Measures of long videos, on made-up ones whose seams are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from litdome.datasets.metrics import color_drift, error_change, gradient_energy, induced_shift, score_seams
from litdome.datasets.metrics.seams import seam_steps

FRAMES, HEIGHT, WIDTH = 12, 48, 64
MOVES = 2  # px a frame, to the right
STARTS, OVERLAP = (4, 8), 2
_wide = cv2.GaussianBlur(np.random.default_rng(4).random((HEIGHT, WIDTH + 2 * FRAMES * MOVES, 3)), (0, 0), 2.0)
_wide = 0.2 + 0.6 * (_wide - _wide.min()) / (_wide.max() - _wide.min())


def paint(offset_px: float) -> np.ndarray:
    """The painted wall, moved to the right by ``offset_px``."""
    turn = np.array([[1, 0, offset_px - FRAMES * MOVES], [0, 1, 0]], np.float64)
    return np.asarray(cv2.warpAffine(_wide, turn, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC))


TRUTH = np.stack([paint(t * MOVES) for t in range(FRAMES)])
FLOW = np.zeros((FRAMES, HEIGHT, WIDTH, 2))
FLOW[..., 0] = -MOVES
MASK = np.zeros((FRAMES, HEIGHT, WIDTH))
MASK[:, 6:-6, 8:-8] = 1
ARGUMENTS = (TRUTH, FLOW, MASK, STARTS, OVERLAP)


def from_chunk(chunk_of_frame: np.ndarray, change: float) -> np.ndarray:
    """The truth with a brightness that steps from chunk to chunk."""
    return TRUTH + change * chunk_of_frame[:, None, None, None]


def test_seams_reach_from_a_chunks_first_picture_to_the_one_after_what_is_shared() -> None:
    assert np.flatnonzero(seam_steps(12, (4, 8), 2)).tolist() == [4, 5, 6, 8, 9, 10]
    assert np.flatnonzero(seam_steps(12, (4, 8), 0)).tolist() == [4, 8]


def test_the_truth_and_a_steady_error_have_no_seams() -> None:
    for video in (TRUTH, TRUTH + 0.1):
        found = score_seams(video, *ARGUMENTS)
        for value in (found.warped_seam, found.error_seam, found.error_inside):
            assert value == pytest.approx(0, abs=1e-6)
        assert found.shift_px < 1e-3  # flow works on 8-bit codes
        assert found.detail == pytest.approx(1, abs=1e-6)


def test_a_step_of_brightness_is_seen_at_its_seam_only() -> None:
    video = from_chunk(np.arange(FRAMES) >= 4, 0.06)
    found = score_seams(video, TRUTH, FLOW, MASK, (4,), 0)
    assert found.error_seam == pytest.approx(0.06, abs=1e-6) and found.error_inside == pytest.approx(0, abs=1e-6)
    assert found.warped_seam > 0.04 and abs(found.warped_inside) < 1e-6
    wrong = score_seams(video, TRUTH, FLOW, MASK, (7,), 0)  # negative control: seams elsewhere
    assert abs(wrong.error_seam) < 1e-6 and wrong.error_inside > 0.005


def test_drift_is_how_far_a_channel_has_gone_from_the_first_to_the_last_chunk() -> None:
    video = from_chunk(np.arange(FRAMES) // 4, 0.03)
    video[..., 1] = TRUTH[..., 1]
    first, last = ((video[at], TRUTH[at], MASK[at]) for at in (slice(0, 4), slice(8, 12)))
    assert color_drift(first, last) == pytest.approx(0.06, abs=1e-6)
    assert color_drift(last, last) == 0
    assert np.isnan(color_drift((*first[:2], first[2] * 0), last))


@pytest.mark.parametrize("jump_px", [0.5, 1.5])
def test_a_picture_that_jumps_is_displaced_by_that_much(jump_px: float) -> None:
    jumped = paint(5 * MOVES + jump_px)
    found = induced_shift(jumped, TRUTH[4], TRUTH[5], TRUTH[4], FLOW[5], MASK[5])
    assert found == pytest.approx(jump_px, abs=0.1)  # what dense flow finds of a known shift (docs/metrics.md)
    assert induced_shift(TRUTH[5], TRUTH[4], TRUTH[5], TRUTH[4], FLOW[5], MASK[5]) < 1e-6


def test_fading_two_that_do_not_agree_loses_detail_at_the_seam() -> None:
    video = TRUTH.copy()
    for start in STARTS:
        for t in (start, start + 1):
            video[t] = (TRUTH[t] + paint(t * MOVES + 4)) / 2
    assert score_seams(video, *ARGUMENTS).detail < 0.9


def test_gradient_energy_of_a_ramp_is_its_slope_squared() -> None:
    ramp = np.tile(np.arange(20)[None, :, None] * 0.02, (10, 1, 3))
    inner = np.zeros((10, 20))
    inner[:, 1:-1] = 1
    assert gradient_energy(ramp, inner) == pytest.approx(0.02**2)
    assert gradient_energy(ramp.transpose(1, 0, 2), inner.T) == pytest.approx(0.02**2)
    assert np.isnan(gradient_energy(ramp, inner * 0))


def test_a_change_towards_the_truth_is_a_change() -> None:
    pictures = TRUTH[5], TRUTH[4] + 0.1, TRUTH[5], TRUTH[4]
    assert error_change(*pictures, FLOW[5], MASK[5]) == pytest.approx(0.1, abs=1e-6)
    assert np.isnan(error_change(*pictures, FLOW[5], MASK[5] * 0))

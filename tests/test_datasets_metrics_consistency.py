from __future__ import annotations

import numpy as np
import pytest

from litdome.datasets.metrics import cross_inference, excess_warped_error, masked_psnr, view_consistency

RNG = np.random.default_rng(2)
BEFORE = RNG.random((30, 40, 3))
NOW = np.roll(BEFORE, 2, axis=1)  # everything moved right by 2 px
FLOW = np.zeros((30, 40, 2))
FLOW[..., 0] = -2  # where a pixel of now was before
MASK = np.zeros((30, 40))
MASK[5:25, 5:35] = 1


def test_spread_of_two_seeds_is_their_psnr() -> None:
    pictures = np.stack([NOW, np.clip(NOW + RNG.normal(0, 0.05, NOW.shape), 0, 1)])
    found = cross_inference(pictures, MASK)
    assert found.psnr == pytest.approx(masked_psnr(*pictures, MASK), abs=1e-9)
    assert found.variance == pytest.approx(((pictures[0] - pictures[1]) ** 2)[MASK > 0].mean() / 2, abs=1e-12)


def test_spread_of_four_seeds_is_that_of_all_pairs() -> None:
    pictures = NOW + RNG.normal(0, 0.05, (4, *NOW.shape))
    pairs = [((pictures[a] - pictures[b]) ** 2)[MASK > 0].mean() for a in range(4) for b in range(a)]
    assert cross_inference(pictures, MASK).psnr == pytest.approx(-10 * np.log10(np.mean(pairs)), abs=1e-9)
    assert np.isinf(cross_inference(np.stack([NOW] * 4), MASK).psnr)
    assert np.isnan(cross_inference(pictures, MASK * 0).variance)


def test_a_method_that_follows_exact_motion_has_no_excess_error() -> None:
    for gain in (1.0, 0.5):  # a steady error is no flicker
        assert excess_warped_error(NOW * gain, BEFORE * gain, NOW, BEFORE, FLOW, MASK) == pytest.approx(0, abs=1e-6)


def test_flicker_is_its_amplitude_and_the_truths_own_change_does_not_count() -> None:
    assert excess_warped_error(NOW + 0.1, BEFORE, NOW, BEFORE, FLOW, MASK) == pytest.approx(0.1, abs=1e-6)
    assert excess_warped_error(NOW + 0.1, BEFORE, NOW + 0.1, BEFORE, FLOW, MASK) == pytest.approx(0, abs=1e-6)
    assert excess_warped_error(NOW, BEFORE, NOW + 0.1, BEFORE, FLOW, MASK) == pytest.approx(-0.1, abs=1e-6)


def test_with_wrong_motion_a_sharp_method_looks_as_bad_as_the_truth() -> None:
    """Negative control: without the flow both errors are large, and cancel; without the truth it would be 0.3."""
    still = FLOW * 0
    assert excess_warped_error(NOW, BEFORE, NOW, BEFORE, still, MASK) == pytest.approx(0, abs=1e-6)
    grey = np.full_like(NOW, 0.5)
    assert excess_warped_error(NOW, BEFORE, grey, grey, still, MASK) > 0.2
    assert np.isnan(excess_warped_error(NOW, BEFORE, NOW, BEFORE, still + 100, MASK))


def test_views_agree_where_both_are_wrong_alike() -> None:
    x, y = RNG.integers(3, 37, 200), RNG.integers(0, 30, 200)
    here, there = np.column_stack([x, y]), np.column_stack([(x + 2) % 40, y])
    pictures, points = (BEFORE, NOW), (here.astype(float), there.astype(float))
    assert view_consistency(pictures, pictures, points) == 0
    assert view_consistency((BEFORE + 0.2, NOW + 0.2), pictures, points) == pytest.approx(0, abs=1e-6)
    assert view_consistency((BEFORE + 0.2, NOW), pictures, points) == pytest.approx(0.2, abs=1e-6)
    assert np.isnan(view_consistency(pictures, pictures, (np.zeros((0, 2)), np.zeros((0, 2)))))


def test_view_consistency_reads_many_points_between_pixels() -> None:
    ramp = np.tile(np.linspace(0, 1, 40)[None, :, None], (30, 1, 3))
    points = np.column_stack([RNG.uniform(0, 38, 40000), RNG.uniform(0, 29, 40000)])
    flat = np.zeros_like(ramp)
    moved = points + np.array([1.0, 0.0])
    found = view_consistency((ramp, ramp), (flat, flat), (points, moved))
    assert found == pytest.approx(1 / 39, abs=1e-3)  # cv2.remap interpolates in steps of 1/32 px

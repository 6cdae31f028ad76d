from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from preprocess_scene import STEP, make_scene, write_session

from litdome.preprocess.flow import Flow, FlowConfig
from litdome.preprocess.motion import (
    Carry,
    Segment,
    compose,
    consistency,
    displacements,
    inverse_part,
    read_segment,
    segment_from_flat,
    segment_of_pair,
    warp,
)
from litdome.store.session import Session

GRID = np.stack(np.meshgrid(np.arange(96, dtype=np.float32), np.arange(64, dtype=np.float32)), -1)
INNER = slice(12, -12), slice(12, -12)


def uniform(x: float, y: float) -> np.ndarray:
    return np.broadcast_to(np.float32([x, y]), GRID.shape).copy()


def test_warp_looks_up_where_the_displacement_points() -> None:
    ramp = GRID[..., 0].copy()
    np.testing.assert_allclose(warp(ramp, uniform(3.5, 0))[INNER], ramp[INNER] + 3.5, atol=0.04)


def test_a_composed_shift_is_the_sum() -> None:
    np.testing.assert_allclose(compose(uniform(3, 1), uniform(-1, 2))[INNER], uniform(2, 3)[INNER], atol=1e-3)


def test_the_inverse_of_a_part_of_an_expansion_is_exact_enough() -> None:
    flow = ((GRID - [48, 32]) * 0.2).astype(np.float32)  # a person turning: a fifth of a pixel a pixel
    back = inverse_part(flow, 0.5)
    wanted = -(GRID - [48, 32]) * (0.1 / 1.1)  # y + 0.1 y = x
    np.testing.assert_allclose(back[INNER], wanted[INNER], atol=0.1)
    assert np.abs(-0.5 * flow[INNER] - wanted[INNER]).max() > 0.25  # negative control: no inversion


@pytest.mark.parametrize("alpha", [0.25, 0.5, 1.5])
def test_displacements_lead_back_to_both_flat_frames(alpha: float) -> None:
    segment = Segment(0, 1, alpha, uniform(8, 2), uniform(-8, -2))
    to_start, to_end = displacements(segment)
    np.testing.assert_allclose(to_start[INNER], -alpha * uniform(8, 2)[INNER], atol=1e-4)
    np.testing.assert_allclose(to_end[INNER], (1 - alpha) * uniform(8, 2)[INNER], atol=1e-4)


def test_only_agreeing_flows_are_trusted() -> None:
    assert consistency(uniform(6, 0), uniform(-6, 0))[INNER].min() > 0.99
    assert consistency(uniform(6, 0), uniform(-2, 0))[INNER].max() < 0.01


def test_a_blend_weighs_the_nearer_flat_frame_more() -> None:
    carry = Carry.along(Segment(0, 1, 0.25, uniform(0, 0), uniform(0, 0)))
    start, end = np.full((64, 96, 3), 100, np.uint8), np.full((64, 96, 3), 200, np.uint8)
    assert (carry.blend(start, end) == 125).all()


def test_the_end_frame_alone_speaks_after_the_last_flat_frame() -> None:
    segment = Segment(0, 1, 1.5, uniform(6, 0), uniform(-6, 0))
    carry = Carry.along(segment)
    start, end = np.zeros((64, 96), np.uint8), np.full((64, 96), 200, np.uint8)
    assert (carry.blend(start, end) == 200).all()


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    path: Path = tmp_path_factory.mktemp("motion") / "s.zarr"
    session = write_session(path, make_scene(10), absent=(6,))
    for unit in Flow().prepare(session, FlowConfig()):
        Flow().run(session, FlowConfig(), unit)
    return session


def test_a_pair_without_a_next_flat_frame_continues_the_motion_before(session: Session) -> None:
    # flat frames 0 2 4 6 8, relit 1 3 5 7 9; the camera lost 6; 9 is last
    assert segment_of_pair(session, "c00", 0) == (0, 0.5)
    assert segment_of_pair(session, "c00", 2) == (1, 1.5)  # its next flat frame is lost
    assert segment_of_pair(session, "c00", 3) is None  # its own flat frame is lost
    assert segment_of_pair(session, "c00", 4) is None  # nothing was measured before it either
    assert segment_from_flat(session, "c00", 1) == 1 and segment_from_flat(session, "c00", 2) is None


def test_a_continued_segment_points_to_where_the_disc_was(session: Session) -> None:
    segment = read_segment(session, "c00", 2)
    assert segment is not None and (segment.start, segment.end) == (1, 2)
    _, to_end = displacements(segment)
    inside = make_scene(6).masks[5] == 255
    np.testing.assert_allclose(np.median(to_end[inside], axis=0), -STEP, atol=0.5)

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from preprocess_scene import STEP, Scene, make_scene, relight_gain, write_session

from litdome.preprocess.align import FIELDS, REASONS, Align, AlignConfig, judge, measure_reliability, measure_shift
from litdome.preprocess.deflicker import Deflicker, DeflickerConfig
from litdome.preprocess.flow import Flow, FlowConfig
from litdome.preprocess.motion import Carry, Segment
from litdome.preprocess.segment import Segment as SegmentStage
from litdome.preprocess.segment import SegmentConfig
from litdome.store.session import Session

PX_PER_FRAME = float(np.hypot(*STEP))


def process(session: Session, config: AlignConfig) -> dict[str, object]:
    stages = (
        (Flow(), FlowConfig()),
        (SegmentStage(), SegmentConfig()),
        (Deflicker(), DeflickerConfig()),
        (Align(), config),
    )
    for stage, settings in stages:
        for unit in stage.prepare(session, settings):
            stage.run(session, settings, unit)
        summary = stage.finish(session, settings)
    return summary


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene(12)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory, scene: Scene) -> Session:
    """Pairs 0..5; the camera lost relit frame 5; pair 5 has no next flat frame."""
    session = write_session(tmp_path_factory.mktemp("align") / "s.zarr", scene, absent=(5,))
    process(session, AlignConfig(max_shift_px=6))
    return session


def row(session: Session, name: str) -> np.ndarray:
    return session.read(f"quality/{name}")[0]


def test_shift_is_half_the_way_between_flat_frames(session: Session) -> None:
    shift = row(session, "shift_px")
    recorded = [0, 1, 3, 4, 5]
    # 15 %: an 8 px grid averages a disc of 69 px with the still background around it
    np.testing.assert_allclose(shift[recorded], PX_PER_FRAME, rtol=0.15)
    assert (row(session, "shift_p95_px")[recorded] >= shift[recorded]).all()


def test_a_good_pair_is_reliable_and_kept_and_a_lost_one_is_not(session: Session) -> None:
    keep, reason = row(session, "keep"), row(session, "reason")
    assert keep.tolist() == [True, True, False, True, True, True]
    assert reason[2] == 1 << REASONS.index("absent") and session.array("quality/reason").attrs["names"][0] == "absent"
    assert np.isnan([row(session, name)[2] for name in ("shift_px", "reliability", "sharpness", "clipped")]).all()
    good = [0, 1, 3, 4, 5]
    assert row(session, "reliability")[good].min() > 0.8 and row(session, "flicker")[good].max() < 0.1
    assert np.median(row(session, "sharpness")[good]) == pytest.approx(1)
    assert not np.asarray(session.array("compensated/c00")[2]).any()


def test_a_smaller_limit_drops_pairs_for_their_shift(tmp_path: Path, scene: Scene) -> None:
    session = write_session(tmp_path / "s.zarr", scene)
    summary = process(session, AlignConfig(max_shift_px=3))
    assert summary["kept"] == 0 and summary["shift"] == 6
    assert (row(session, "reason") == 1 << REASONS.index("shift")).all()


def test_the_compensated_picture_is_the_flat_one_at_the_relit_time(session: Session, scene: Scene) -> None:
    for pair in (0, 3, 5):
        relit = 2 * pair + 1
        wanted = scene.pictures[relit] / relight_gain(relit)  # what flat light would have shown
        inside = scene.masks[relit] == 255
        compensated, flat = session.array("compensated/c00")[pair], scene.pictures[relit - 1]
        errors = [np.abs(np.asarray(p, float) - wanted)[inside].mean() for p in (compensated, flat)]
        assert errors[0] < 0.6 * errors[1], pair  # noise of both pictures stays: about 3 codes


def test_a_flow_that_the_pictures_deny_is_unreliable(scene: Scene) -> None:
    start, end = (cv2.cvtColor(scene.pictures[f], cv2.COLOR_RGB2GRAY) for f in (0, 2))
    shape = (*start.shape, 2)
    right = Segment(0, 1, 0.5, np.full(shape, 2 * STEP, np.float32), np.full(shape, -2 * STEP, np.float32))
    wrong = Segment(0, 1, 0.5, np.full(shape, (-9, 6), np.float32), np.full(shape, (9, -6), np.float32))
    one_way = Segment(0, 1, 0.5, right.forward, np.zeros(shape, np.float32))
    inside = scene.masks[1] == 255
    scores = [measure_reliability(s, Carry.along(s), start, end, inside) for s in (right, wrong, one_way)]
    assert scores[0] > 0.95 and scores[1] < 0.7 and scores[2] == 0


def test_shift_scales_to_the_full_picture_and_counts_from_the_last_flat_frame() -> None:
    flow = np.full((20, 30, 2), (3, 4), np.float32)
    mask = np.ones((20, 30), bool)
    assert measure_shift(Segment(0, 1, 0.5, flow, -flow), mask, 2.0) == pytest.approx((5.0, 5.0))
    assert measure_shift(Segment(0, 1, 1.5, flow, -flow), mask, 2.0) == pytest.approx((5.0, 5.0))


def measured(**changes: float) -> np.ndarray:
    values = {
        "shift_px": 1.0,
        "shift_p95_px": 2.0,
        "reliability": 0.9,
        "sharpness": 0.1,
        "clipped": 0.0,
        "flicker": 0.02,
        "mask_part": 0.1,
        "flat_level": 80.0,
        "light_change": 20.0,
    }
    return np.array([{**values, **changes}[name] for name in FIELDS], np.float32)


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("no_mask", {"mask_part": 0.0}),
        ("no_flow", {"shift_px": np.nan, "reliability": np.nan}),
        ("mixed_light", {"flat_level": 55.0}),
        ("mixed_light", {"light_change": 0.4}),
        ("shift", {"shift_px": 4.2}),
        ("unreliable", {"reliability": 0.3}),
        ("clipped", {"clipped": 0.5}),
        ("absent", dict.fromkeys(FIELDS, np.nan)),
    ],
)
def test_each_fault_has_its_own_reason(reason: str, change: dict[str, float]) -> None:
    parts = np.stack([measured(), measured(**change), measured(), measured()])
    found = judge(parts, AlignConfig())
    assert found.tolist() == [0, 1 << REASONS.index(reason), 0, 0]


def test_a_relit_frame_whose_light_did_not_switch_is_mixed_light(tmp_path: Path) -> None:
    scene = make_scene(8)
    scene.pictures[3] = make_scene(8, kinds="ffffffff").pictures[3]  # flat where an HDRI was due
    session = write_session(tmp_path / "s.zarr", scene)
    process(session, AlignConfig(max_shift_px=6, min_light_change_codes=6))
    assert row(session, "reason").tolist() == [0, 1 << REASONS.index("mixed_light"), 0, 0]


def test_a_picture_that_ingest_saw_under_two_lights_is_mixed_light(tmp_path: Path, scene: Scene) -> None:
    session = write_session(tmp_path / "s.zarr", scene, absent=(5,))
    mixed = np.zeros((1, len(scene.pictures)), bool)
    mixed[0, [0, 5, 9]] = True  # flat of pair 0; relit of pair 2, which is absent; relit of pair 4
    session.write_small("schedule/mixed", mixed, ("camera", "frame"))
    repeated = np.zeros_like(mixed)
    repeated[0, 7] = True  # relit of pair 3
    session.write_small("schedule/repeated", repeated, ("camera", "frame"))
    summary = process(session, AlignConfig(max_shift_px=6))
    bits = {name: 1 << bit for bit, name in enumerate(REASONS)}
    assert row(session, "reason").tolist() == [
        bits["mixed_light"],
        0,
        bits["absent"],
        bits["repeated"],
        bits["mixed_light"],
        0,
    ]
    assert row(session, "keep").tolist() == [False, True, False, False, False, True] and summary["mixed_light"] == 2

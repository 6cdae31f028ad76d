from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from preprocess_scene import HEIGHT, STEP, Scene, make_scene, relight_gain, write_session

from litdome.geometry import REFERENCE_HEIGHT_PX
from litdome.preprocess.align import REASONS, Align, AlignConfig, judge
from litdome.preprocess.deflicker import Deflicker, DeflickerConfig
from litdome.preprocess.flow import Flow, FlowConfig
from litdome.preprocess.pair_measures import FIELDS
from litdome.preprocess.segment import Segment, SegmentConfig
from litdome.store.session import Session

PX_PER_FRAME = float(np.hypot(*STEP))
AT_REFERENCE = REFERENCE_HEIGHT_PX / HEIGHT
FAST = AlignConfig(max_shift_px=6 * AT_REFERENCE)


BEFORE = ((Flow(), FlowConfig()), (Segment(), SegmentConfig()), (Deflicker(), DeflickerConfig()))


def process(session: Session, config: AlignConfig, before: tuple = BEFORE) -> dict[str, object]:
    for stage, settings in (*before, (Align(), config)):
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
    process(session, FAST)
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
    summary = process(session, AlignConfig(max_shift_px=3 * AT_REFERENCE))
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


def test_a_limit_is_meant_at_a_height_of_1080() -> None:
    parts = np.stack([measured(shift_px=3.0)])
    for height, bits in ((540, 1 << REASONS.index("shift")), (1080, 0), (2160, 0)):
        assert judge(parts, AlignConfig(max_shift_px=4), height).tolist() == [bits], height
    assert judge(np.stack([measured(shift_px=7.9)]), AlignConfig(max_shift_px=4), 2160).tolist() == [0]


def test_what_moved_weighs_little_against_the_flat_picture_as_filmed(session: Session, scene: Scene) -> None:
    weights = {name: session.read(f"weights/c00/{name}") for name in ("flat", "compensated")}
    assert {values.shape for values in weights.values()} == {(6, *scene.masks.shape[1:])}
    assert all(values.dtype == np.uint8 and not values[2].any() for values in weights.values())  # absent
    for pair in (0, 1, 3, 4):
        disc = scene.masks[2 * pair + 1] == 255
        still = scene.masks[2 * pair : 2 * pair + 3].max(0) == 0
        raw, moved = weights["flat"][pair], weights["compensated"][pair]
        # the disc moves 4.1 px of a picture of 192 px, 23 px at the reference
        assert np.median(raw[disc]) < 64 < 200 < np.median(raw[still])
        assert np.median(moved[disc]) > 150 and np.median(moved[still]) > 200


def test_a_flow_that_the_pictures_deny_is_unreliable_and_dropped(tmp_path: Path) -> None:
    scene = make_scene(7)
    session = write_session(tmp_path / "s.zarr", scene)
    process(session, FAST)
    kept = row(session, "reliability").copy()
    for path in ("motion/c00", "motion_backward/c00"):
        flow = session.read(path)
        flow[1] = -flow[1]  # consistent both ways, and wrong
        session.write(path, 0, flow)
    process(session, FAST.model_copy(update={"min_reliability": 0.7}), before=())
    found = row(session, "reliability")
    assert found[1] < 0.5 * kept[1]
    assert row(session, "reason")[1] & 1 << REASONS.index("unreliable") and not row(session, "keep")[1]
    weights = session.read("weights/c00/compensated")
    assert weights[1][scene.masks[3] == 255].mean() < 0.5 * weights[0][scene.masks[1] == 255].mean()


def test_a_shift_by_region_is_that_of_its_labels(tmp_path: Path) -> None:
    scene = make_scene(8)
    session = write_session(tmp_path / "s.zarr", scene, absent=(5,))
    process(session, FAST)
    assert np.isnan(session.read("quality/region_shift_px")).all()  # a plate tells no parts apart
    parts = np.zeros_like(scene.relits[..., 0])
    parts[:, :84] = 1
    parts[:, 84:] = 2  # the disc's upper part is a hand, the rest cloth, nothing a face
    attrs = {"names": ["Background", "Left_Hand", "Torso"], "regions": ["", "hands", "clothes"]}
    session.create("cameras/c00/relit/parts", parts.shape, "u1", ("n", "y", "x"), attrs=attrs)
    session.write("cameras/c00/relit/parts", 0, parts)
    process(session, FAST, before=())
    array = session.array("quality/region_shift_px")
    found = np.asarray(array[:])[0]
    assert array.attrs["names"] == ["face", "hands", "body"] and found.shape == (4, 3)
    recorded = [0, 1, 3]
    assert np.isnan(found[:, 0]).all() and np.isnan(found[2]).all() and np.isfinite(found[recorded, 1:]).all()
    hands, body = found[recorded, 1], found[recorded, 2]
    shift = row(session, "shift_px")[recorded]
    assert ((np.minimum(hands, body) <= shift) & (shift <= np.maximum(hands, body))).all()
    np.testing.assert_allclose(found[recorded, 1:], PX_PER_FRAME, rtol=0.2)  # parts of a disc on an 8 px grid


def test_a_pair_whose_motion_nobody_knows_has_no_weight_and_its_own_picture(tmp_path: Path) -> None:
    scene = make_scene(2)  # one flat frame: no flow at all
    session = write_session(tmp_path / "s.zarr", scene)
    assert process(session, FAST) == {"kept": 0, "pairs": 1, "no_flow": 1}
    np.testing.assert_array_equal(session.read("compensated/c00")[0], scene.pictures[0])
    assert not session.read("weights/c00/flat").any() and not session.read("weights/c00/compensated").any()
    assert np.isnan(row(session, "shift_px")).all() and np.isfinite(row(session, "sharpness")).all()


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
        **dict.fromkeys(("face_shift_px", "hands_shift_px", "body_shift_px"), np.nan),
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
    found = judge(parts, AlignConfig(max_shift_px=4), REFERENCE_HEIGHT_PX)
    assert found.tolist() == [0, 1 << REASONS.index(reason), 0, 0]


def test_a_relit_frame_whose_light_did_not_switch_is_mixed_light(tmp_path: Path) -> None:
    scene = make_scene(8)
    scene.pictures[3] = make_scene(8, kinds="ffffffff").pictures[3]  # flat where an HDRI was due
    session = write_session(tmp_path / "s.zarr", scene)
    process(session, FAST.model_copy(update={"min_light_change_codes": 6.0}))
    assert row(session, "reason").tolist() == [0, 1 << REASONS.index("mixed_light"), 0, 0]


def test_a_picture_that_ingest_saw_under_two_lights_is_mixed_light(tmp_path: Path, scene: Scene) -> None:
    session = write_session(tmp_path / "s.zarr", scene, absent=(5,))
    mixed = np.zeros((1, len(scene.pictures)), bool)
    mixed[0, [0, 5, 9]] = True  # flat of pair 0; relit of pair 2, which is absent; relit of pair 4
    session.write_small("schedule/mixed", mixed, ("camera", "frame"))
    repeated = np.zeros_like(mixed)
    repeated[0, 7] = True  # relit of pair 3
    session.write_small("schedule/repeated", repeated, ("camera", "frame"))
    summary = process(session, FAST)
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

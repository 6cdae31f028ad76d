from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from preprocess_scene import HEIGHT, WIDTH, Scene, iou, make_scene, relight_gain, write_session

from litdome.preprocess.flow import Flow, FlowConfig, estimate_flow
from litdome.preprocess.motion import Carry, Segment
from litdome.preprocess.plates import Plate, person_color_odds, still_noise, vote_background, weighted_median
from litdome.preprocess.relit_masks import fit_gain, mask_relit_picture
from litdome.preprocess.segment import Segment as SegmentStage
from litdome.preprocess.segment import SegmentConfig
from litdome.preprocess.silhouettes import difference_to_plate, mask_flat_picture
from litdome.store.session import Session


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene(17)


@pytest.fixture(scope="module")
def plate(scene: Scene) -> Plate:
    return Plate.given(scene.plate, still_noise(list(scene.flats), scene.plate))


def motion(scene: Scene, relit: int) -> Segment:
    """Flow around the rig frame ``relit``."""
    first, second = (cv2.cvtColor(scene.pictures[f], cv2.COLOR_RGB2GRAY) for f in (relit - 1, relit + 1))
    return Segment(relit // 2, relit // 2 + 1, 0.5, *estimate_flow(first, second))


def test_flat_masks_are_the_disc_with_a_soft_edge(scene: Scene, plate: Plate) -> None:
    masks = [mask_flat_picture(picture, plate) for picture in scene.flats]
    # a wrong edge of half a pixel around a disc of 34 px costs 3 %
    assert min(iou(mask, truth) for mask, truth in zip(masks, scene.masks[0::2], strict=True)) > 0.95
    assert np.unique(masks[0]).size > 10 and masks[0].dtype == np.uint8
    assert abs(float(masks[0].sum()) / float(scene.masks[0].sum()) - 1) < 0.05


def test_an_empty_stage_has_an_empty_mask(scene: Scene, plate: Plate) -> None:
    rng = np.random.default_rng(5)
    empty = np.clip(scene.plate + rng.normal(0, 1.5, scene.plate.shape), 0, 255).astype(np.uint8)
    assert not mask_flat_picture(empty, plate).any()


def test_a_cast_shadow_is_forgiven_and_a_dark_person_is_not(scene: Scene, plate: Plate) -> None:
    shadow, dark = scene.plate.astype(np.float32), scene.plate.astype(np.float32)
    shadow[60:120, 60:120] *= 0.78
    dark[60:120, 60:120] *= 0.35
    assert not mask_flat_picture(shadow.astype(np.uint8), plate).any()
    mask = mask_flat_picture(dark.astype(np.uint8), plate)
    assert (mask[64:116, 64:116] > 127).all() and mask.sum() < 1.1 * 255 * 60 * 60


def test_a_gap_that_shows_the_background_stays_open(scene: Scene, plate: Plate) -> None:
    picture = scene.flats[0].copy()
    rows, columns = np.nonzero(scene.masks[0])
    y, x = round(rows.mean()), round(columns.mean())
    picture[y - 12 : y + 12, x - 12 : x + 12] = scene.plate[y - 12 : y + 12, x - 12 : x + 12]
    mask = mask_flat_picture(picture, plate)
    assert not mask[y - 8 : y + 8, x - 8 : x + 8].any() and mask[y, x - 20] == 255


def test_difference_counts_deviations_of_the_noise(scene: Scene, plate: Plate) -> None:
    still = difference_to_plate(scene.flats[0], plate)[scene.masks[0] == 0]
    assert np.percentile(still, 99) < 4.5  # the threshold: almost no still pixel reaches it
    loud = difference_to_plate(scene.flats[0], replace(plate, noise_codes=4 * plate.noise_codes))
    assert loud[scene.masks[0] == 255].mean() < difference_to_plate(scene.flats[0], plate)[scene.masks[0] == 255].mean()


def test_relit_masks_follow_the_disc_though_the_light_changes(scene: Scene, plate: Plate) -> None:
    results, stuck, direct = [], [], []
    for relit in range(1, 16, 2):
        before, after = (mask_flat_picture(scene.pictures[f], plate) for f in (relit - 1, relit + 1))
        carry = Carry.along(motion(scene, relit))
        carried = carry.blend(before, after)
        as_flat = carry.blend(scene.pictures[relit - 1], scene.pictures[relit + 1])
        truth = scene.masks[relit]
        results.append(iou(mask_relit_picture(scene.pictures[relit], carried, as_flat, plate), truth))
        stuck.append(iou(before, truth))
        direct.append(iou(mask_flat_picture(scene.pictures[relit], plate), truth))
    assert min(results) > 0.93  # half the flow of a rigid disc, then its outline: under one pixel of edge
    assert max(stuck) < 0.9  # negative control: the flat mask as it is, 4 px behind
    assert np.mean(direct) < 0.6  # and the plate without a fitted gain


def test_the_outline_is_corrected_where_the_carried_mask_is_late(scene: Scene, plate: Plate) -> None:
    late = np.roll(scene.masks[3], -2, axis=1)
    shifted = np.roll(scene.pictures[2], 4, axis=1)
    assert iou(mask_relit_picture(scene.pictures[3], late, shifted, plate), scene.masks[3]) > iou(late, scene.masks[3])


def test_the_gain_is_found_though_the_person_is_there(scene: Scene) -> None:
    gain = fit_gain(scene.pictures[1], scene.plate, scene.masks[1] > 0)
    wanted = np.broadcast_to(relight_gain(1), gain.shape)
    assert np.abs(gain / wanted - 1).max() < 0.03  # a linear fall is not quite a quadratic in the log
    blind = fit_gain(scene.pictures[1], np.zeros_like(scene.plate), scene.masks[1] > 0)
    assert (blind == 1).all()


def test_weighted_median_is_the_median_and_follows_the_weights() -> None:
    values = np.random.default_rng(0).integers(0, 256, (7, 20, 30), np.uint8)
    np.testing.assert_array_equal(weighted_median(values, np.ones((7, 1, 1), np.float32)), np.median(values, axis=0))
    heavy = np.full((7, 1, 1), 0.1, np.float32)
    heavy[3] = 1.0
    np.testing.assert_array_equal(weighted_median(values, heavy), values[3])


def test_the_plate_is_what_lies_behind_even_where_the_person_stood_most_of_the_time(scene: Scene) -> None:
    stops = [0] * 3 + [8] * 11 + [16] * 2  # eleven of sixteen frames in one place
    pictures = np.stack([scene.pictures[frame] for frame in stops])
    moving = np.stack([np.zeros((HEIGHT, WIDTH), bool)] * 16)
    for i in (2, 3, 13, 14):  # arriving and leaving, the motion shows
        moving[i] = scene.masks[stops[i]] > 0
    votes = vote_background(pictures, moving)
    shares = votes.shares[..., None]
    found = (shares * pictures).sum(0) / (shares.sum(0) + 1e-9)
    there = scene.masks[8] == 255
    assert np.abs(found[there] - scene.plate[there]).mean() < 4
    assert (
        np.abs(np.median(pictures, axis=0)[there] - scene.plate[there]).mean() > 40
    )  # a plain median keeps the person


def test_a_place_that_nobody_saw_is_known_to_be_unseen(scene: Scene) -> None:
    pictures = np.stack([scene.pictures[0]] * 8)
    pictures[4:] = scene.pictures[2]
    moving = np.stack([scene.masks[0 if i < 4 else 2] > 0 for i in range(8)])
    votes = vote_background(pictures, moving)
    always = np.minimum(scene.masks[0], scene.masks[2]) == 255
    assert votes.confidence[cv2.erode(always.astype(np.uint8), np.ones((7, 7))) > 0].mean() < 0.4
    assert votes.confidence[scene.masks[:4].max(0) == 0].mean() > 0.9


def test_colours_without_labels_say_nothing(scene: Scene) -> None:
    nothing = np.zeros(scene.flats.shape[:3], bool)
    assert not person_color_odds(scene.flats, nothing, ~nothing).any()


def run(session: Session) -> dict[str, object]:
    for stage, config in ((Flow(), FlowConfig()), (SegmentStage(), SegmentConfig())):
        for unit in stage.prepare(session, config):
            stage.run(session, config, unit)
        summary = stage.finish(session, config)
    return summary


@pytest.mark.parametrize("background", [True, False])
def test_the_stage_masks_every_recorded_picture(tmp_path: Path, background: bool) -> None:
    scene = make_scene(31, seed=3)
    session = write_session(tmp_path / "s.zarr", scene, background=background, absent=(7,))
    summary = run(session)
    assert summary["given_plates" if background else "made_plates"] == ["c00"] and summary["warnings"] == []
    flat, relit = (session.read(f"cameras/c00/{kind}/mask_raw") for kind in ("flat", "relit"))
    assert min(iou(mask, truth) for mask, truth in zip(flat, scene.masks[0::2], strict=True)) > 0.94
    recorded = [n for n in range(15) if n != 3]
    assert min(iou(relit[n], scene.masks[2 * n + 1]) for n in recorded) > 0.92
    assert not relit[3].any()  # frame 7 was lost
    plate = session.read("cameras/c00/background")
    assert np.abs(plate.astype(float) - scene.plate).mean() < 1.5
    assert session.array("cameras/c00/background").attrs["source"] == ("given" if background else "median")


def test_a_relit_picture_before_the_first_flat_one_has_an_empty_mask(tmp_path: Path) -> None:
    session = write_session(tmp_path / "s.zarr", make_scene(6, kinds="hfhhhf"))
    run(session)
    relit = session.read("cameras/c00/relit/mask_raw")
    assert len(relit) == 4 and not relit[0].any() and relit[1:].any((1, 2)).all()


def test_a_person_who_hides_the_background_all_along_is_warned_of(tmp_path: Path) -> None:
    scene = make_scene(9)
    shaken = scene.pictures.copy()
    for frame in range(0, 9, 2):  # it stays where it is and only trembles
        shaken[frame] = np.roll(scene.pictures[0], frame % 4, axis=1)
    session = write_session(tmp_path / "s.zarr", replace(scene, pictures=shaken), background=False)
    warnings = run(session)["warnings"]
    assert isinstance(warnings, list) and "camera c00" in warnings[0] and "background/c00.png" in warnings[0]

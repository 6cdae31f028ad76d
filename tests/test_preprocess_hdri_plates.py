from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from preprocess_scene import HEIGHT, WIDTH, Scene, iou, make_scene, relight_gain, write_session

from litdome.preprocess.flow import Flow, FlowConfig
from litdome.preprocess.hdri_plates import MAX_FRAMES, MIN_FRAMES, hdri_frames, make_hdri_plate, vote_under_hdri
from litdome.preprocess.plates import LitPlate, Plate
from litdome.preprocess.relit_masks import mask_relit_picture
from litdome.preprocess.segment import Segment, SegmentConfig
from litdome.store.session import Session


def one_light(frames: int) -> Scene:
    """A take whose relit frames are all under the same light."""
    scene = make_scene(frames)
    pictures = scene.pictures.astype(np.float32)
    for frame in range(1, frames, 2):
        pictures[frame] *= relight_gain(1) / relight_gain(frame)
    return Scene(np.clip(pictures + 0.5, 0, 255).astype(np.uint8), scene.masks, scene.plate, scene.kinds)


def segmented(session: Session) -> Session:
    for stage, config in ((Flow(), FlowConfig()), (Segment(), SegmentConfig())):
        for unit in stage.prepare(session, config):
            stage.run(session, config, unit)
    return session


def hidden(scene: Scene, frames: range) -> np.ndarray:
    return np.stack([cv2.dilate(scene.masks[frame], np.ones((9, 9))) > 0 for frame in frames])


def test_the_plate_is_the_background_under_that_light() -> None:
    scene, frames = one_light(41), range(1, 41, 2)
    picture, coverage = make_hdri_plate(lambda i: scene.pictures[frames[i]], hidden(scene, frames), (WIDTH, HEIGHT))
    seen = coverage > 0
    truth = scene.plate * relight_gain(1)
    assert seen.mean() > 0.97 and np.abs(picture - truth)[seen].mean() < 1  # code: noise of 1.5 over 20 frames
    assert not picture[~seen].any()
    assert np.abs(scene.plate - truth)[seen].mean() > 20  # negative control: the flat plate is another one


def test_coverage_counts_the_frames_that_show_the_background() -> None:
    scene, frames = one_light(11), range(1, 11, 2)
    behind = hidden(scene, frames)
    votes, coverage = vote_under_hdri(scene.pictures[list(frames)], behind)
    count = (~behind).sum(0)
    np.testing.assert_array_equal(coverage, np.where(count >= MIN_FRAMES, count, 0))
    assert (count < MIN_FRAMES).any() and not votes.shares[behind].any()


def test_a_few_frames_that_show_something_else_do_not_change_it() -> None:
    scene, frames = one_light(21), range(1, 21, 2)
    pictures, nowhere = scene.pictures[list(frames)].copy(), np.zeros((10, HEIGHT, WIDTH), bool)
    clean = (scene.plate * relight_gain(1)).astype(np.uint8)
    pictures[:] = clean
    pictures[2:5, 80:120, 60:90] = 255  # a missed hand in three of ten
    found, _ = make_hdri_plate(pictures.__getitem__, nowhere, (WIDTH, HEIGHT))
    assert np.abs(found.astype(int) - clean).max() <= 1
    assert np.abs(pictures.mean(0) - clean).max() > 30  # negative control: their mean


def test_too_few_frames_make_no_plate() -> None:
    scene, frames = one_light(5), range(1, 5, 2)
    picture, coverage = make_hdri_plate(lambda i: scene.pictures[frames[i]], hidden(scene, frames), (WIDTH, HEIGHT))
    assert picture.shape == (HEIGHT, WIDTH, 3) and not picture.any() and not coverage.any()


@pytest.mark.parametrize("background", [True, False])
def test_the_stage_writes_plate_and_coverage_of_every_hdri(tmp_path: Path, background: bool) -> None:
    scene = one_light(27)
    session = segmented(write_session(tmp_path / "s.zarr", scene, background=background, absent=(7,)))
    picture, coverage = (session.read(f"cameras/c00/{name}") for name in ("hdri_background", "hdri_coverage"))
    assert picture.shape == (1, HEIGHT, WIDTH, 3) and coverage.shape == (1, HEIGHT, WIDTH)
    assert session.array("cameras/c00/hdri_background").metadata.dimension_names == ("hdri", "y", "x", "channel")
    seen = coverage[0] > 0
    assert seen.mean() > 0.75 and coverage.max() == MAX_FRAMES
    assert np.abs(picture[0] - scene.plate * relight_gain(1))[seen].mean() < 2.5


def test_frames_without_both_flat_neighbours_are_left_out(tmp_path: Path) -> None:
    session = write_session(tmp_path / "s.zarr", one_light(18), absent=(5, 8))  # 17 is relit and last
    relit = session.pairs.relit_frame[hdri_frames(session, "c00", 0)]
    assert relit.tolist() == [1, 3, 11, 13, 15]


def test_a_relit_picture_is_compared_with_the_plate_of_its_light() -> None:
    scene = make_scene(5)
    stripes = np.where(np.arange(WIDTH) // 8 % 2, 0.3, 0.9)[:, None].astype(np.float32)  # no smooth gain fits them
    lit = (scene.plate * stripes + 0.5).astype(np.uint8)
    picture = np.where(scene.masks[3][..., None] > 127, scene.pictures[3], lit)
    late, shifted = np.roll(scene.masks[3], 4, 1), np.roll(scene.pictures[3], 4, 1)
    flat = Plate.given(scene.plate, 1.5)

    def masked(seen: bool | None) -> np.ndarray:
        plate = None if seen is None else LitPlate(lit, np.full((HEIGHT, WIDTH), seen))
        return mask_relit_picture(picture, late, shifted, flat, lit=plate)

    truth = scene.masks[3]
    assert iou(masked(True), truth) > iou(masked(None), truth) + 0.01
    np.testing.assert_array_equal(masked(False), masked(None))  # negative control: where no frame shows it


def test_a_smaller_plate_is_seen_where_all_of_a_pixel_is() -> None:
    seen = np.ones((4, 8), bool)
    seen[0, 3] = False
    small = LitPlate(np.full((4, 8, 3), 90, np.uint8), seen).shrunk((4, 2))
    np.testing.assert_array_equal(small.seen, [[True, False, True, True], [True, True, True, True]])
    assert (small.picture == 90).all()


def test_masks_and_plates_do_not_depend_on_the_order_of_units(tmp_path: Path) -> None:
    session = segmented(write_session(tmp_path / "s.zarr", one_light(35)))
    kinds, found = ("relit/mask_raw", "hdri_background"), []
    found.append([session.read(f"cameras/c00/{kind}") for kind in kinds])
    stage, config = Segment(), SegmentConfig()
    units = stage.prepare(session, config)
    for unit in reversed(units):
        stage.run(session, config, unit)
    found.append([session.read(f"cameras/c00/{kind}") for kind in kinds])
    assert len(units) > 1 and found[0][0].any()
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)

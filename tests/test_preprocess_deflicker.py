from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import DATA, need
from preprocess_scene import Scene, iou, make_scene, write_session

from litdome.errors import ConfigError
from litdome.preprocess.deflicker import Deflicker, DeflickerConfig, OneCamera, widen_mask
from litdome.preprocess.flow import Flow, FlowConfig, coarse_flow, dense_flow, estimate_flow
from litdome.preprocess.mask_votes import (
    deflicker_mask,
    deflicker_masks,
    disagreements,
    settle_mask,
    vote_on_outline,
)
from litdome.preprocess.motion import Segment, step_within
from litdome.store.session import Session

DAVIS_FRAMES = 24  # of 90: the whole sequence takes 8 s


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene(17)


@pytest.fixture(scope="module")
def flows(scene: Scene) -> list[tuple[np.ndarray, np.ndarray]]:
    lumas = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in scene.flats]
    return [estimate_flow(*two) for two in pairwise(lumas)]


def with_flicker(masks: np.ndarray) -> np.ndarray:
    """Every third frame loses a bite and gains a blob."""
    out = masks.copy()
    for n in range(1, len(out), 3):
        y, x = (int(v.mean()) for v in np.nonzero(out[n]))
        cv2.circle(out[n], (x + 10, y), 12, 0, -1)
        cv2.circle(out[n], (30, 150), 10, 255, -1)
    return out


def with_slit(masks: np.ndarray) -> np.ndarray:
    """A gap of 5 px that moves along, as between arm and body; a disc alone survives a median over time."""
    out = masks.copy()
    for mask in out:
        x = int(np.nonzero(mask)[1].mean())
        mask[:, x - 2 : x + 3] = 0
    return out


def test_flicker_goes_and_motion_stays(scene: Scene, flows: list) -> None:
    truth = with_slit(scene.masks[0::2])
    raw = with_flicker(truth)
    voted = deflicker_masks(raw, flows)
    plain = np.median(np.stack([raw[:-2], raw[1:-1], raw[2:]]), axis=0).astype(np.uint8)
    scores = [[iou(a, b) for a, b in zip(m, t, strict=True)] for m, t in ((voted[1:-1], truth[1:-1]), (raw, truth))]
    assert min(scores[0]) > 0.95 and min(scores[1]) < 0.85  # an edge of half a pixel costs 3 %
    still = [iou(a, b) for a, b in zip(plain, truth[1:-1], strict=True)]
    assert np.mean(scores[0]) > np.mean(still) + 0.02  # negative control: the median over time, 8 px a frame


def test_without_trusted_motion_the_raw_masks_stay(scene: Scene, flows: list) -> None:
    raw = with_flicker(scene.masks[0::2])
    np.testing.assert_array_equal(deflicker_masks(raw, [None] * (len(raw) - 1)), raw)
    wrong = [(there, there) for there, _ in flows]  # going twice the same way undoes nothing where it moves
    kept = deflicker_masks(raw, wrong)
    y, x = (int(v.mean()) for v in np.nonzero(scene.masks[2]))
    assert kept[1][y, x + 10] == 0  # the bite: nobody to trust there


def test_a_clean_mask_is_hardly_touched(scene: Scene, flows: list) -> None:
    truth = scene.masks[0::2]
    out = deflicker_masks(truth, flows)
    assert min(iou(a, b) for a, b in zip(out, truth, strict=True)) > 0.985
    np.testing.assert_array_equal(deflicker_masks(truth[:1], []), truth[:1])


def test_flows_must_fit_the_masks() -> None:
    with pytest.raises(ConfigError, match="3 flows for 3 masks, expected 2"):
        deflicker_masks(np.zeros((3, 8, 8), np.uint8), [None] * 3)


def test_motion_between_two_moments_of_a_segment() -> None:
    def flow(x: float) -> np.ndarray:
        return np.full((40, 60, 2), (x, 0), np.float32)

    there, back = step_within(Segment(0, 1, 0.5, flow(8), flow(-8)), 0.25, 0.75)
    np.testing.assert_allclose([there[20, 30], back[20, 30]], [(4, 0), (-4, 0)], atol=1e-3)
    there, back = step_within(Segment(0, 1, 1.5, flow(8), flow(-8)), 1, 1.5)  # the take ends without another flat
    np.testing.assert_allclose([there[20, 30], back[20, 30]], [(4, 0), (-4, 0)], atol=1e-3)


def box(*at: slice) -> np.ndarray:
    mask = np.zeros((200, 400), np.uint8)
    mask[at] = 255
    return mask


def voted(own: np.ndarray, before: np.ndarray, after: np.ndarray, trust: np.ndarray | None = None) -> np.ndarray:
    everywhere = np.full_like(own, 255) if trust is None else trust
    return settle_mask(own, before, after, everywhere)


def test_only_what_both_sides_contradict_over_a_thickness_changes() -> None:
    person = box(slice(50, 150), slice(100, 200))
    bitten, blobbed = person.copy(), person.copy()
    bitten[90:110, 180:200] = 0
    blobbed[20:40, 300:320] = 255
    np.testing.assert_array_equal(voted(bitten, person, person), person)
    np.testing.assert_array_equal(voted(blobbed, person, person), person)
    np.testing.assert_array_equal(voted(bitten, person, bitten), bitten)  # one side is not enough
    thin = box(slice(50, 150), slice(100, 202))  # an outline off by 2 px of 400
    np.testing.assert_array_equal(voted(thin, person, person), thin)
    np.testing.assert_array_equal(voted(bitten, thin, thin)[:, :200], person[:, :200])
    nowhere = np.zeros_like(person)
    np.testing.assert_array_equal(voted(bitten, person, person, nowhere), bitten)


def test_a_mask_that_both_neighbours_contradict_is_told_from_neighbours_that_disagree() -> None:
    person, aside = box(slice(50, 150), slice(100, 200)), box(slice(50, 150), slice(120, 220))
    inside, moved, nothing = person > 0, aside > 0, np.zeros_like(person, bool)
    everywhere, corner = np.ones_like(inside), nothing.copy()
    corner[:60, :120] = True
    assert disagreements(nothing, inside, inside, everywhere) == (1, 0)  # too dark to see anyone
    assert disagreements(inside, inside, moved, everywhere) == (0, pytest.approx(40 / 120))
    assert disagreements(nothing, inside, inside, corner) == (0, 1)  # motion is known nowhere: nothing is


def test_the_outline_leans_on_the_neighbours_as_far_as_told() -> None:
    person, thin = box(slice(50, 150), slice(100, 200)), box(slice(50, 150), slice(100, 198))
    everywhere = np.full_like(person, 255)
    np.testing.assert_array_equal(vote_on_outline(thin, person, person, everywhere, 0), person)
    np.testing.assert_array_equal(vote_on_outline(person, person, thin, everywhere, 0), person)  # two of three
    mixed = vote_on_outline(person, person, thin, everywhere, 0.5)
    assert (mixed[50:150, 198:200] == 192).all()  # half of 255, half of the mean
    np.testing.assert_array_equal(vote_on_outline(thin, person, person, 0 * everywhere, 1), thin)


def as_seen_in_the_dark(masks: np.ndarray) -> np.ndarray:
    """Blotches of the person are lost, and the outline frays, in each picture anew."""
    rng = np.random.default_rng(1)
    noise = np.stack([cv2.GaussianBlur(rng.normal(size=mask.shape), (0, 0), 3) for mask in masks])
    soft = np.stack([cv2.blur(mask, (9, 9)) for mask in masks])
    return ((soft / 255 + 4 * noise) > 0.5).astype(np.uint8) * 255


def test_masks_of_dark_pictures_get_most_of_what_they_lost_from_both_sides(scene: Scene, flows: list) -> None:
    flats, truth = scene.masks[0::2], scene.masks[1::2]
    raw = as_seen_in_the_dark(truth)
    scores: dict[bool, list[float]] = {True: [], False: []}
    for n, own in enumerate(raw):
        halves = [step_within(Segment(0, 1, 0.5, *flows[n]), *times) for times in ((0, 0.5), (0.5, 1))]
        three = [flats[n], own, flats[n + 1]]
        for is_dark, found in scores.items():
            found.append(iou(deflicker_mask(three.__getitem__, halves.__getitem__, 1, 3, is_dark=is_dark), truth[n]))
    lost = 1 - np.mean([iou(a, b) for a, b in zip(raw, truth, strict=True)])
    assert lost > 0.1 and 1 - np.mean(scores[True]) < lost / 4
    assert np.mean(scores[True]) > np.mean(scores[False]) + 0.005  # negative control: thick parts alone


def test_a_wide_mask_reaches_its_radius_and_an_empty_one_stays_empty(scene: Scene) -> None:
    mask = scene.masks[0]
    wide = widen_mask(mask, 5)
    assert set(np.unique(wide)) == {0, 255} and (wide[mask > 0] == 255).all()
    grown = np.sqrt((wide > 0).sum() / np.pi) - np.sqrt((mask > 127).sum() / np.pi)
    assert abs(grown - 5) < 0.7  # px: pixel centres on a circle
    assert not widen_mask(np.zeros_like(mask), 5).any()


def run_on(session: Session, masks: dict[str, np.ndarray], shard: int) -> None:
    """The stage over raw masks, with units of ``shard`` pictures."""
    for unit in Flow().prepare(session, FlowConfig()):
        Flow().run(session, FlowConfig(), unit)
    for kind, values in masks.items():
        session.create(f"cameras/c00/{kind}/mask_raw", values.shape, "u1", ("n", "y", "x"))
        session.write(f"cameras/c00/{kind}/mask_raw", 0, values)
    stage, config = Deflicker(), DeflickerConfig()
    for unit in stage.prepare(session, config):
        stage.run(session, config, unit)


def test_the_stage_votes_across_the_borders_of_shards(tmp_path: Path) -> None:
    scene = make_scene(37)  # 19 flat and 18 relit pictures: two shards
    masks = {"flat": with_flicker(scene.masks[0::2]), "relit": with_flicker(scene.masks[1::2])}
    session = write_session(tmp_path / "s.zarr", scene)
    run_on(session, masks, 16)
    for kind, truth in (("flat", scene.masks[0::2]), ("relit", scene.masks[1::2])):
        found, wide = (session.read(f"cameras/c00/{kind}/{name}") for name in ("mask", "mask_wide"))
        # the ends have one neighbour and keep what they have; frames 15 and 16 lie at the border
        scores = [iou(a, b) for a, b in zip(found[1:-1], truth[1:-1], strict=True)]
        assert min(scores) > 0.94, kind
        assert all((wide[n][found[n] > 127] == 255).all() for n in range(len(truth)))


def test_the_stage_knows_a_dark_picture_by_the_flat_one_before_it(tmp_path: Path) -> None:
    scene = make_scene(9)
    dim = scene.pictures.copy()
    dim[5] = dim[4] // 2
    dim[3] = (dim[2] * 0.8).astype(np.uint8)
    raw = {"flat": scene.masks[0::2], "relit": as_seen_in_the_dark(scene.masks[1::2])}
    session = write_session(tmp_path / "s.zarr", replace(scene, pictures=dim))
    run_on(session, raw, 16)
    one = OneCamera(session, "c00")
    assert [one.is_dark(one.place["relit", n]) for n in (1, 2)] == [False, True]
    found = session.read("cameras/c00/relit/mask")
    assert iou(found[2], scene.masks[5]) > 0.93 > 0.9 > iou(raw["relit"][2], scene.masks[5])


def davis(kind: str) -> np.ndarray:
    folder = need(DATA / "masks" / "dance-twirl" / kind)
    flag = cv2.IMREAD_GRAYSCALE
    pictures = [cv2.imread(str(path), flag) for path in sorted(folder.iterdir())[:DAVIS_FRAMES]]
    return np.stack(pictures) if kind == "frames" else (np.stack(pictures) > 0).astype(np.uint8) * 255


@pytest.fixture(scope="module")
def davis_flows() -> list[tuple[np.ndarray, np.ndarray]]:
    """As a session holds them."""
    frames = davis("frames")
    height, width = frames.shape[1:]
    flows = []
    for two in pairwise(frames):
        coarse = [coarse_flow(flow, 8, height, width).astype(np.float16) for flow in estimate_flow(*two)]
        flows.append(tuple(dense_flow(flow, 8, height, width, (640, 360)) for flow in coarse))
    return flows


@pytest.mark.parametrize(("kind", "gain"), [("osvos", 0.0), ("rvos", 0.0), ("dropouts", 0.038), ("truth", -0.006)])
def test_real_flickering_masks_never_get_worse(davis_flows: list, kind: str, gain: float) -> None:
    raw, truth = davis(kind), davis("truth")
    voted = deflicker_masks(raw, davis_flows)
    odd = slice(1, None, 2)  # where the dropouts were drawn
    before, after = (np.mean([iou(a, b) for a, b in zip(m[odd], truth[odd], strict=True)]) for m in (raw, voted))
    assert after >= before + gain

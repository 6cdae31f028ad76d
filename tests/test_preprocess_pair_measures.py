"""A simulated person who walks: the flat picture at the relit time and every point's motion are known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from litdome.pipeline import ingest_recording
from litdome.preprocess.flow import Flow, FlowConfig
from litdome.preprocess.motion import read_motion
from litdome.preprocess.pair_measures import PairMeasures, View, measure_pair
from litdome.store.session import Session
from litdome.synth import make_recording

PAIRS = 4


@pytest.fixture(scope="module")
def take(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One camera at 8 frames a second, so that a step is over a pixel; the grid is as fine as large pictures have."""
    folder = tmp_path_factory.mktemp("walking")
    size = {"cameras": 1, "pairs": PAIRS, "width": 144, "height": 256, "hdris": 2, "lights": 16}
    make_recording(folder / "take", **size, fps=8.0, boards=False, workers=1)
    ingest_recording(folder / "take", str(folder / "take.zarr"), {})
    session, flow, config = Session.open(str(folder / "take.zarr"), writable=True), Flow(), FlowConfig(stride_px=2)
    for unit in flow.prepare(session, config):
        flow.run(session, config, unit)
    return folder


@pytest.fixture(scope="module")
def session(take: Path) -> Session:
    return Session.open(str(take / "take.zarr"))


def true_masks(take: Path) -> np.ndarray:
    """Shape (frame, y, x)."""
    return np.load(take / "take" / "truth" / "masks" / "c00.npz")["mask"]


def views(take: Path, session: Session, pair: int) -> tuple[View, View | None, View]:
    masks = true_masks(take)
    flat = View(session.read_rgb("c00", "flat", pair), masks[session.pairs.flat_frame[pair]])
    relit = View(session.read_rgb("c00", "relit", pair), masks[session.pairs.relit_frame[pair]])
    if session.pairs.next_flat[pair] < 0:
        return flat, None, relit
    return flat, View(session.read_rgb("c00", "next_flat", pair), masks[session.pairs.next_flat_frame[pair]]), relit


def test_the_compensated_picture_is_nearer_to_what_flat_light_would_have_shown(take: Path, session: Session) -> None:
    for pair in range(PAIRS):
        frame = int(session.pairs.relit_frame[pair])
        true = cv2.imread(str(take / "take" / "truth" / "flat_at_relit" / "c00" / f"{frame:06d}.png"))[..., ::-1]
        flat, next_flat, relit = views(take, session, pair)
        _, found = measure_pair(read_motion(session, "c00", pair), flat, next_flat, relit)
        assert found is not None
        errors = [np.abs(np.asarray(p, float) - true)[relit.inside].mean() for p in (found.picture, flat.picture)]
        # the last one is continued motion, and the noise of the pictures stays
        assert errors[0] < (0.75 if next_flat is not None else 0.9) * errors[1], pair


def test_the_shift_is_how_far_each_point_really_moved(take: Path, session: Session) -> None:
    motion = np.load(take / "take" / "truth" / "motion" / "c00.npz")["to_relit"].astype(np.float32)
    true, estimated = [], []
    for pair in range(PAIRS - 1):
        measured, found = measure_pair(read_motion(session, "c00", pair), *views(take, session, pair))
        assert found is not None and found.shift_px.shape == motion.shape[2:]
        y, x = np.nonzero(np.isfinite(motion[pair, 0]) & (true_masks(take)[session.pairs.flat_frame[pair]] == 255))
        dx, dy = motion[pair][:, y, x]
        arrived = np.stack([x + dx, y + dy], axis=-1).astype(np.float32)[None]
        there = cv2.remap(found.shift_px, arrived, None, cv2.INTER_LINEAR)[0]
        true.append(np.hypot(dx, dy))
        estimated.append(there)
        assert measured.shift_px == pytest.approx(true[-1].mean(), rel=0.35)
    true_px, estimated_px = np.concatenate(true), np.concatenate(estimated)
    assert np.corrcoef(true_px, estimated_px)[0, 1] > 0.5  # 0.59: cloth without texture hides its motion from any flow
    assert np.corrcoef(true_px, np.random.default_rng(0).permutation(estimated_px))[0, 1] < 0.1


def test_nobody_in_the_picture_is_nothing_to_measure(take: Path, session: Session) -> None:
    flat, next_flat, relit = views(take, session, 0)
    empty = View(relit.picture, np.zeros_like(relit.mask))
    measured, found = measure_pair(read_motion(session, "c00", 0), flat, next_flat, empty)
    assert found is not None
    np.testing.assert_equal(measured, PairMeasures(mask_part=0.0))

"""A knocked lens is found in the background, whoever walks in front of it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from litdome.calib.drift import background_shift, check_drift
from litdome.pipeline import ingest_recording
from litdome.store.session import Session
from litdome.synth import make_recording

SIZE = (320, 240)


def wall(seed: int = 0) -> np.ndarray:
    """A wall with panels, (y, x) uint8, larger than the picture."""
    rng = np.random.default_rng(seed)
    grey = cv2.resize(rng.uniform(40, 120, (12, 16)).astype(np.float32), (400, 320), interpolation=cv2.INTER_NEAREST)
    return cv2.GaussianBlur(grey, (0, 0), 1.0)


def through(lens: np.ndarray, person_at: int | None = None, noise: float = 1.0, seed: int = 1) -> np.ndarray:
    """The wall through a lens, matrix (2, 3); a person, a textured box, stands before it at ``person_at`` px."""
    picture = cv2.warpAffine(wall(), lens, SIZE, flags=cv2.INTER_CUBIC)
    rng = np.random.default_rng(seed)
    if person_at is not None:
        texture = cv2.GaussianBlur(np.random.default_rng(5).uniform(0, 255, (150, 60)).astype(np.float32), (0, 0), 1.5)
        picture[60:210, person_at : person_at + 60] = texture
    return np.clip(picture + rng.normal(0, noise, picture.shape), 0, 255).round().astype(np.uint8)


def lens(right: float = 0, down: float = 0, turn_deg: float = 0, zoom: float = 1) -> np.ndarray:
    """The wall's middle in the picture's, then moved."""
    at = cv2.getRotationMatrix2D((200, 160), -turn_deg, zoom)
    at[:, 2] += np.array([(SIZE[0] - 1) / 2 - 200 + right, (SIZE[1] - 1) / 2 - 160 + down])
    return at


def test_a_still_background_is_still_to_a_twentieth_of_a_pixel() -> None:
    found = background_shift(through(lens(), 60), through(lens(), 130, seed=2))
    assert found is not None and found.size_px < 0.05


@pytest.mark.parametrize(
    "knock",
    [{"right": 2.0, "down": -1.0}, {"turn_deg": 0.4}, {"zoom": 1.01}, {"right": 0.6, "turn_deg": -0.1, "zoom": 0.998}],
)
def test_shift_turn_and_zoom_are_measured(knock: dict[str, float]) -> None:
    found = background_shift(through(lens(), 60), through(lens(**knock), 130, seed=2))
    assert found is not None
    assert found.right_px == pytest.approx(knock.get("right", 0), abs=0.05)
    assert found.down_px == pytest.approx(knock.get("down", 0), abs=0.05)
    assert found.turn_deg == pytest.approx(knock.get("turn_deg", 0), abs=0.03)
    assert found.zoom == pytest.approx(knock.get("zoom", 1), abs=5e-4)
    assert found.size_px > 0.5


def test_a_person_alone_before_an_empty_wall_says_nothing() -> None:
    empty = np.full(SIZE[::-1], 30, np.uint8)
    assert background_shift(empty, empty) is None
    usable = np.ones(SIZE[::-1], bool)
    usable[50:220, 50:210] = False
    one, other = through(lens(), 60), through(lens(), 130)
    walled = background_shift(one, other, usable)
    assert walled is not None and walled.size_px < 0.1
    assert background_shift(one, other, ~usable) is None  # only the person, who walked, and the wall behind


def test_a_take_names_the_camera_that_was_knocked_and_when(tmp_path: Path) -> None:
    make_recording(
        tmp_path / "take",
        cameras=2,
        pairs=6,
        width=240,
        height=320,
        hdris=2,
        lights=64,
        boards=False,
        faults=("knocked-lens",),
    )
    ingest_recording(tmp_path / "take", str(tmp_path / "take.zarr"), {})
    still, knocked = check_drift(Session.open(str(tmp_path / "take.zarr")))
    assert still.frame is None and "still to" in still.text
    assert knocked.camera == "c01" and knocked.frame == 6
    assert knocked.largest is not None and knocked.largest.size_px == pytest.approx(3.0, abs=0.1)
    assert "c01: background off by 3.0 px > 0.5 px from frame 6 on: +2.6 px right, -1.5 px down" in knocked.text

from __future__ import annotations

import base64
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_report_status import CAMERAS, HEIGHT, WIDTH, make_session

from litdome.lighting import tone_map_ldr
from litdome.media.encode import VideoWriter
from litdome.report.sheets import (
    COMPENSATED,
    FLAT,
    MASK,
    OUTLINE,
    RELIT,
    jpeg_uri,
    light_tiles,
    outline_mask,
    pair_tiles,
    shrink,
    tile_grid,
    video_frames,
)
from litdome.store.session import Session


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return make_session(tmp_path / "take07.zarr")


def decode(uri: str) -> np.ndarray:
    codes = np.frombuffer(base64.b64decode(uri.split(",")[1]), np.uint8)
    return np.asarray(cv2.imdecode(codes, cv2.IMREAD_COLOR_RGB))


def test_outline_lies_on_the_edge_of_the_mask_and_nowhere_else() -> None:
    mask = np.zeros((60, 80), np.uint8)
    mask[20:40, 30:50] = 255
    drawn = outline_mask(np.full((60, 80, 3), 100, np.uint8), mask)
    changed = (drawn != 100).any(axis=-1)
    expected = np.zeros_like(changed)
    expected[19:41, 29:51], expected[21:39, 31:49] = True, False
    assert tuple(drawn[20, 40]) == OUTLINE and (changed == expected).all()


def test_an_embedded_picture_decodes_to_itself() -> None:
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[:, :24] = (250, 10, 10)
    found = decode(jpeg_uri(picture)).astype(int)
    assert found.shape == picture.shape
    assert np.abs(found - picture)[:, [4, 40]].max() <= 8  # codes: JPEG at quality 88, away from the edge


def test_tiles_show_what_is_there_at_each_step(session: Session) -> None:
    assert set(pair_tiles(session, "c00", 1, 24)) == {FLAT, RELIT}
    mask = np.zeros((session.count("relit"), HEIGHT, WIDTH), np.uint8)
    mask[:, 16:48, 12:36] = 255
    session.write_small("cameras/c00/relit/mask_raw", mask, ("n", "y", "x"))
    moved = np.full((len(session.pairs), HEIGHT, WIDTH, 3), 77, np.uint8)
    session.write_small("compensated/c00", moved, ("pair", "y", "x", "channel"))
    tiles = pair_tiles(session, "c00", 1, 24)
    assert {name: tile.shape for name, tile in tiles.items()} == dict.fromkeys(
        (FLAT, RELIT, MASK, COMPENSATED), (32, 24, 3)
    )
    assert tuple(tiles[COMPENSATED][1, 1]) == (77, 77, 77) and tuple(tiles[RELIT][1, 1]) == (150, 90, 40)


def test_a_picture_that_was_not_recorded_has_no_tile(session: Session) -> None:
    assert set(pair_tiles(session, "c01", 1, 24)) == {FLAT}


def test_lights_are_tone_mapped_as_the_relighter_gets_them(session: Session) -> None:
    view = np.full((2, 4, 8, 3), 0.5, np.float16)
    session.write_small("hdri_views/c01/ldr", view, ("hdri", "v", "u", "channel"))
    latlong, views = light_tiles(session, 1, CAMERAS, 8)
    assert latlong.shape == (4, 8, 3)
    assert abs(int(latlong[2, 2, 0]) - 255 * float(tone_map_ldr(np.float32([2.0]))[0])) <= 1  # codes: rounding
    assert list(views) == ["c01"] and views["c01"][0, 0, 0] == 128


def test_shrink_never_enlarges() -> None:
    assert shrink(np.zeros((10, 20, 3), np.uint8), 40).shape == (10, 20, 3)
    assert shrink(np.zeros((10, 20), np.uint8), 10).shape == (5, 10)


def test_grid_fills_rows_of_columns() -> None:
    tiles = [np.full((4, 6, 3), 10 * n, np.uint8) for n in range(5)]
    grid = tile_grid(tiles, 3, gap_px=1)
    assert grid.shape == (9, 20, 3)
    assert grid[0, 14, 0] == 20 and grid[5, 7, 0] == 40 and grid[5, 14, 0] == 128


def test_frames_of_a_video_are_evenly_spaced(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "ramp.mp4", fps=10) as writer:
        for n in range(11):
            writer.write(np.full((32, 64, 3), 20 * n + 20, np.uint8))
    frames = video_frames(tmp_path / "ramp.mp4", 3, 32)
    assert [frame.shape for frame in frames] == [(16, 32, 3)] * 3
    assert np.abs([frame.mean() for frame in frames] - np.array([20, 120, 220])).max() < 4  # codes: lossy video

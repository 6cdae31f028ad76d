"""Board footage in our layout and in caliscope's: which file is which camera, which picture which instant."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import DATA, need

from litdome.calib.boards.footage import BoardFootage, read_footage
from litdome.errors import CalibrationError
from litdome.media.encode import VideoWriter

BOARD = """columns = 4
rows = 5
board_height = 11.0
board_width = 8.5
dictionary = "DICT_4X4_1000"
units = "inch"
aruco_scale = 0.75
square_size_override_cm = 5.4
inverted = true
"""


def film(path: Path, pictures: int = 4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, fps=6, crf=30) as video:
        for level in range(pictures):
            video.write(np.full((32, 48, 3), 40 * level, np.uint8))


def project(folder: Path, table: str | None, *, board: str = BOARD, pictures: int = 4) -> Path:
    """A caliscope project with two cameras."""
    for name in ("cam_0", "port_10"):
        film(folder / f"calibration/extrinsic/{name}.mp4", pictures)
    (folder / "charuco.toml").write_text(board)
    if table is not None:
        (folder / "calibration/extrinsic/timestamps.csv").write_text(table)
    return folder


def views(footage: BoardFootage) -> dict[str, list[int] | None]:
    return {id: None if c.view_of is None else c.view_of.tolist() for id, c in footage.cameras.items()}


def test_our_layout_takes_videos_folders_and_single_pictures(tmp_path: Path) -> None:
    boards = tmp_path / "boards"
    film(boards / "intrinsic/c00.mp4")
    (boards / "extrinsic/c01").mkdir(parents=True)
    (boards / "floor").mkdir()
    for file in ("extrinsic/c01/000000.png", "floor/c00.png"):
        cv2.imwrite(str(boards / file), np.zeros((8, 8), np.uint8))
    (boards / "extrinsic/notes.txt").write_text("board 3")
    for given in (boards, tmp_path):
        footage = read_footage(given)
        assert list(footage.cameras) == ["c00", "c01"] and footage.board is None
        first, second = footage.cameras.values()
        assert (first.intrinsic, first.extrinsic) == (boards / "intrinsic/c00.mp4", None)
        assert first.floor == boards / "floor/c00.png" and second.extrinsic == boards / "extrinsic/c01"
        assert footage.files_of("intrinsic", "extrinsic") == [
            boards / "extrinsic/c01/000000.png",
            boards / "intrinsic/c00.mp4",
        ]
    assert footage.cameras["c01"].picture_of([3, 5]) == {3: 3, 5: 5}


def test_the_board_of_the_recording_is_the_footages(tmp_path: Path) -> None:
    film(tmp_path / "boards/extrinsic/c00.mp4")
    (tmp_path / "recording.toml").write_text(
        'fps = 25.0\n[board]\nkind = "chessboard"\ncolumns = 8\nrows = 5\nsquare_mm = 60.0\n'
    )
    board = read_footage(tmp_path / "boards").board
    assert board is not None and (board.kind, board.columns, board.rows, board.square_m) == ("chessboard", 8, 5, 0.06)


def test_a_plain_folder_of_videos_is_all_cameras_in_step(tmp_path: Path) -> None:
    film(tmp_path / "left.mp4")
    film(tmp_path / "right.mkv")
    footage = read_footage(tmp_path)
    assert {id: camera.extrinsic for id, camera in footage.cameras.items()} == {
        "left": tmp_path / "left.mp4",
        "right": tmp_path / "right.mkv",
    }


def test_a_recording_without_boards_is_no_footage(tmp_path: Path) -> None:
    film(tmp_path / "cameras/c00.mp4")
    (tmp_path / "recording.toml").write_text("fps = 25.0\n")
    (tmp_path / "background").mkdir()
    cv2.imwrite(str(tmp_path / "background/c00.png"), np.zeros((8, 8), np.uint8))
    with pytest.raises(CalibrationError, match="no board takes in it"):
        read_footage(tmp_path)


def test_caliscopes_sync_index_says_which_pictures_belong_together(tmp_path: Path) -> None:
    table = "sync_index,cam_id,frame_time\n" + "".join(
        f"{sync},{camera},{sync / 6}\n"
        for camera, syncs in ((10, (7, 8, 9, 11)), (0, (7, 9, 10, 11)))
        for sync in syncs
    )
    folder = project(tmp_path, table)
    for given in (folder, folder / "calibration", folder / "calibration" / "extrinsic"):
        footage = read_footage(given)
        assert views(footage) == {"cam_0": [7, 9, 10, 11], "cam_10": [7, 8, 9, 11]}
    assert footage.cameras["cam_10"].picture_of([8, 10, 11]) == {1: 8, 3: 11}
    board = footage.board
    assert board is not None and footage.variant == "inverted"
    assert (board.columns, board.rows, board.dictionary) == (4, 5, "DICT_4X4_1000")
    assert (board.square_m, board.marker_m) == pytest.approx((0.054, 0.0405))


def test_without_a_table_the_number_of_the_picture_counts(tmp_path: Path) -> None:
    assert views(read_footage(project(tmp_path, None))) == {"cam_0": None, "cam_10": None}


def test_frame_index_counts_where_pictures_are_missing_in_the_table(tmp_path: Path) -> None:
    table = "sync_index,cam_id,frame_index,frame_time\n7,0,0,1.0\n9,0,2,1.4\n5,10,0,1\n6,10,1,1\n7,10,2,1\n8,10,3,1\n"
    assert views(read_footage(project(tmp_path, table))) == {"cam_0": [7, -1, 9, -1], "cam_10": [5, 6, 7, 8]}


def test_the_edge_is_what_fits_the_sheet_where_nobody_measured_it(tmp_path: Path) -> None:
    board = read_footage(project(tmp_path, None, board=BOARD.replace("square_size_override_cm = 5.4", ""))).board
    assert board is not None and board.square_m == pytest.approx(min(8.5 / 4, 11 / 5) * 0.0254)


@pytest.mark.parametrize(
    "table",
    [
        "sync_index,frame_time\n1,2\n",
        "sync_index,cam_id,frame_time\n1,zero,2\n",
        "sync_index,cam_id,frame_time\n,0,2\n",
        "",
        "\x00\x01",
        "sync_index,cam_id,frame_time\n1,0,2\n1,0,3\n2,0,3\n3,0,4\n",  # one instant twice
        "sync_index,cam_id,frame_time\n1,0,2\n",  # one row, four pictures
        "sync_index,cam_id,frame_index,frame_time\n1,0,9,2\n",  # picture 9 of four
        f"sync_index,cam_id,frame_time\n{'9' * 400},0,2\n",
    ],
)
def test_a_spoilt_table_is_one_clear_error(tmp_path: Path, table: str) -> None:
    with pytest.raises(CalibrationError, match=r"timestamps\.csv"):
        read_footage(project(tmp_path, table))


@pytest.mark.parametrize(
    "board",
    [
        BOARD.replace("columns = 4", ""),
        BOARD.replace("columns = 4", "columns = 0"),
        BOARD.replace("0.75", "1.75"),
        BOARD.replace("0.75", "nan"),
        BOARD.replace('"DICT_4X4_1000"', '"DICT_9"'),
        BOARD.replace("5.4", "inf"),
        BOARD.replace("5.4", '"wide"'),
        "columns = [",
        "",
    ],
)
def test_a_spoilt_board_description_is_one_clear_error(tmp_path: Path, board: str) -> None:
    with pytest.raises(CalibrationError):
        read_footage(project(tmp_path, None, board=board))


def test_two_takes_of_one_camera_and_no_folder_are_refused(tmp_path: Path) -> None:
    film(tmp_path / "extrinsic/c00.mp4")
    film(tmp_path / "extrinsic/c00.mkv")
    with pytest.raises(CalibrationError, match=r"c00\.mkv and c00\.mp4 are both takes of c00"):
        read_footage(tmp_path)
    with pytest.raises(CalibrationError, match="no such folder"):
        read_footage(tmp_path / "nowhere")


def test_names_that_differ_but_for_case_are_the_sessions(tmp_path: Path) -> None:
    film(tmp_path / "extrinsic/Cam1.mp4")
    assert list(read_footage(tmp_path).called(["cam1"]).cameras) == ["cam1"]
    assert list(read_footage(tmp_path).called(["other"]).cameras) == ["Cam1"]


@pytest.mark.parametrize(("name", "first", "count"), [("charuco_calibration", 26, 111), ("post_optimization", 35, 57)])
def test_real_caliscope_sessions_are_read(name: str, first: int, count: int) -> None:
    footage = read_footage(need(DATA / "charuco" / name))
    assert list(footage.cameras) == ["cam_0", "cam_1", "cam_2", "cam_3"] and footage.variant == "inverted"
    for camera in footage.cameras.values():
        assert camera.view_of is not None and camera.view_of.tolist() == list(range(first, first + count))


def test_a_camera_that_the_table_lists_and_nobody_copied_is_named(tmp_path: Path) -> None:
    rows = "".join(f"{sync},{camera},0\n" for camera in (0, 3, 10) for sync in range(4))
    folder = project(tmp_path, "sync_index,cam_id,frame_time\n" + rows)
    with pytest.raises(CalibrationError, match=r"timestamps\.csv: lists cam_3, but .*extrinsic holds no such video"):
        read_footage(folder)
    film(folder / "calibration/extrinsic/cam_3.mp4")
    assert list(read_footage(folder).cameras) == ["cam_0", "cam_3", "cam_10"]

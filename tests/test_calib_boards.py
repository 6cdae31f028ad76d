"""Boards in pictures: every print is recognised and said, corners lie where they truly are, views are well chosen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from board_pictures import photograph

from litdome.calib.boards import (
    BoardSpec,
    BoardTake,
    BoardView,
    board_spec,
    check_mirrored,
    check_size,
    choose_joint_views,
    choose_views,
    coverage,
    coverage_words,
    detect_board,
    detect_take,
    parse_board,
)
from litdome.calib.boards.detect import dictionary_of
from litdome.calib.boards.footage import BoardFootage, CameraFootage
from litdome.calib.boards.pictures import BoardPictures
from litdome.calib.boards.takes import search_takes
from litdome.calib.lens_takes import uncovered
from litdome.errors import CalibrationError
from litdome.media.encode import VideoWriter
from litdome.progress import silent

CHARUCO = BoardSpec("charuco", 7, 6, 0.05, 0.0375, "DICT_4X4_100")
CHESSBOARD = BoardSpec("chessboard", 8, 5, 0.05)


def write_take(folder: Path, spec: BoardSpec, *, count: int = 2, legacy: bool = False, change: str = "") -> np.ndarray:
    """Pictures 0, 1, ... of a board, filmed as ``change`` says; where its corners are, shape (picture, corner, 2)."""
    folder.mkdir()
    rng, truth = np.random.default_rng(3), []
    for n in range(count):
        picture, pixels = photograph(spec, rng, legacy=legacy)
        if "inverted" in change:
            picture = 255 - picture
        if "mirrored" in change:
            picture = picture[:, ::-1]
            pixels = np.column_stack([picture.shape[1] - 1 - pixels[:, 0], pixels[:, 1]])
        cv2.imwrite(str(folder / f"{n:03d}.png"), picture)
        truth.append(pixels)
    return np.array(truth)


def errors_px(take: BoardTake, truth: np.ndarray) -> np.ndarray:
    return np.concatenate([np.linalg.norm(view.pixels - truth[n][view.ids], axis=1) for n, view in take.views.items()])


@pytest.mark.parametrize("change", ["", "inverted", "mirrored", "inverted, mirrored"])
@pytest.mark.parametrize("legacy", [False, True])
def test_any_print_of_a_charuco_is_recognised_and_said(tmp_path: Path, change: str, legacy: bool) -> None:
    truth = write_take(tmp_path / "take", CHARUCO, legacy=legacy, change=change)
    take = detect_take(tmp_path / "take", CHARUCO)
    assert take.variant == (", ".join(["legacy pattern"] * legacy + [change] * bool(change)) or "as printed")
    assert take.spec == CHARUCO and take.said == "" and take.size == (640, 480)
    assert len(take.views) == 2 and all(len(view) == 30 for view in take.views.values())
    assert errors_px(take, truth).max() < 0.15  # px; a corner taken for its neighbour is 45 px off


@pytest.mark.parametrize(
    ("printed", "given", "found"),
    [
        ("DICT_5X5_100", "DICT_4X4_1000", "DICT_5X5_1000"),
        ("DICT_6X6_50", "DICT_4X4_50", "DICT_6X6_50"),
        ("DICT_APRILTAG_36h11", "DICT_4X4_100", "DICT_APRILTAG_36h11"),
        ("DICT_7X7_100", "", "DICT_7X7_50"),
    ],
)
def test_another_dictionary_is_found_and_said(tmp_path: Path, printed: str, given: str, found: str) -> None:
    board = BoardSpec("charuco", 7, 6, 0.05, 0.0375, printed)
    truth = write_take(tmp_path / "take", board, change="inverted")
    take = detect_take(tmp_path / "take", BoardSpec("charuco", 7, 6, 0.05, 0.0375, given))
    assert take.said == f"{given or 'no dictionary'} given, {found} found"
    assert take.variant == "inverted" and take.spec.dictionary == found
    assert errors_px(take, truth).max() < 0.15


def test_small_dictionaries_are_the_beginning_of_large_ones() -> None:
    for bits in (4, 5, 6, 7):
        small, large = dictionary_of(f"DICT_{bits}X{bits}_1000", 21), dictionary_of(f"DICT_{bits}X{bits}_1000", 1000)
        assert len(small.bytesList) == 21 and (large.bytesList[:21] == small.bytesList).all()


@pytest.mark.parametrize("given", [(6, 7), (6, 5), (9, 8)])
def test_a_wrong_size_is_refused_with_the_one_that_fits(tmp_path: Path, given: tuple[int, int]) -> None:
    write_take(tmp_path / "take", CHARUCO)
    with pytest.raises(CalibrationError, match=r"7 columns and at least 6 rows \(marker 20 was seen\)") as caught:
        detect_take(tmp_path / "take", BoardSpec("charuco", *given, 0.05, 0.0375, "DICT_4X4_100"))
    assert caught.value.hint == "columns = 7, rows = 6: count squares, not inner corners"
    assert str(tmp_path / "take") in caught.value.message


def test_the_variant_of_another_camera_is_a_hint_only(tmp_path: Path) -> None:
    write_take(tmp_path / "take", CHARUCO, change="inverted")
    assert detect_take(tmp_path / "take", CHARUCO, variant="inverted").variant == "inverted"
    assert detect_take(tmp_path / "take", CHARUCO, variant="as printed").variant == "inverted"


def test_no_board_is_one_error_that_says_what_was_tried(tmp_path: Path) -> None:
    (tmp_path / "take").mkdir()
    clutter = np.random.default_rng(0).integers(0, 255, (12, 16), np.uint8)
    for n in range(2):
        cv2.imwrite(str(tmp_path / f"take/{n}.png"), np.kron(np.roll(clutter, n), np.ones((20, 20), np.uint8)))
    with pytest.raises(CalibrationError, match=r"no charuco of 7x6 squares DICT_4X4_100 in 2 pictures .*inverted"):
        detect_take(tmp_path / "take", CHARUCO)
    with pytest.raises(CalibrationError, match="no chessboard of 8x5 squares in 2 pictures"):
        detect_take(tmp_path / "take", CHESSBOARD)


def test_inner_corners_given_for_squares_of_a_chessboard_are_noticed(tmp_path: Path) -> None:
    write_take(tmp_path / "take", CHESSBOARD)
    with pytest.raises(CalibrationError, match=r"no chessboard of 7x4 squares .* one of 8x5 squares seems to be there"):
        detect_take(tmp_path / "take", BoardSpec("chessboard", 7, 4, 0.05))


def test_pictures_of_two_sizes_are_refused(tmp_path: Path) -> None:
    write_take(tmp_path / "take", CHARUCO, count=2)
    cv2.imwrite(str(tmp_path / "take/001.png"), np.full((240, 320), 128, np.uint8))
    with pytest.raises(CalibrationError, match="picture 1 is 320x240 px, the ones before it 640x480"):
        detect_take(tmp_path / "take", CHARUCO)


def test_views_have_the_numbers_of_their_pictures(tmp_path: Path) -> None:
    write_take(tmp_path / "take", CHARUCO, count=2)
    (tmp_path / "take/001.png").rename(tmp_path / "take/007.png")
    assert sorted(detect_take(tmp_path / "take", CHARUCO).views) == [0, 7]
    assert sorted(detect_take(tmp_path / "take", CHARUCO, pictures=[3, 7]).views) == [7]
    rng, film = np.random.default_rng(0), tmp_path / "take.mp4"
    empty = np.full((480, 640, 3), 110, np.uint8)
    with VideoWriter(film, fps=5, crf=12) as video:
        for n in range(30):
            shown = photograph(CHARUCO, rng)[0] if n in (4, 11, 25) else None
            video.write(empty if shown is None else np.repeat(shown[..., None], 3, axis=2))
    take = detect_take(film, CHARUCO)
    assert sorted(take.views) == [4, 11, 25] and take.looked == 30
    some = detect_take(film, CHARUCO, pictures=[0, 11, 12, 25, 40])
    assert sorted(some.views) == [11, 25] and some.looked == 4
    np.testing.assert_array_equal(some.views[11].pixels, take.views[11].pixels)


@pytest.mark.parametrize("spec", [CHARUCO, CHESSBOARD], ids=lambda spec: spec.kind)
@pytest.mark.parametrize(
    ("square_px", "tilt_deg", "blur_px", "noise", "mean_px", "p95_px"),
    [  # limits: about twice what is measured here; the corner finders of OpenCV are 0.05 to 0.1 px off
        (45, 30, 0.8, 3, 0.02, 0.05),
        (45, 55, 0.8, 3, 0.02, 0.05),
        (24, 20, 0.6, 3, 0.025, 0.06),
        (45, 30, 1.8, 5, 0.05, 0.1),
    ],
)
def test_corners_lie_where_they_truly_are(
    spec: BoardSpec, square_px: float, tilt_deg: float, blur_px: float, noise: float, mean_px: float, p95_px: float
) -> None:
    rng, errors = np.random.default_rng(5), []
    for _ in range(3):
        picture, truth = photograph(spec, rng, square_px=square_px, tilt_deg=tilt_deg, blur_px=blur_px, noise=noise)
        view = detect_board(picture, spec)
        assert view is not None
        errors.append(view.pixels - truth[view.ids])
    error = np.linalg.norm(np.concatenate(errors), axis=1)
    assert len(error) > 40
    assert error.mean() < mean_px and np.quantile(error, 0.95) < p95_px
    assert np.abs(np.concatenate(errors).mean(axis=0)).max() < 0.02  # px: no half-pixel shift


def test_corners_of_a_4k_picture_are_found_coarsely_and_fitted_at_full_size() -> None:
    picture, truth = photograph(CHARUCO, np.random.default_rng(1), size=(3840, 2160), square_px=180, blur_px=1.0)
    view = detect_board(picture, CHARUCO)
    assert view is not None and len(view) == 30
    assert np.linalg.norm(view.pixels - truth[view.ids], axis=1).max() < 0.06
    far, truth = photograph(CHARUCO, np.random.default_rng(1), size=(3840, 2160), square_px=34, tilt_deg=10)
    view = detect_board(far, CHARUCO)  # too small at half the size
    assert view is not None and len(view) > 20
    assert np.linalg.norm(view.pixels - truth[view.ids], axis=1).max() < 0.15


def test_a_board_half_out_of_the_picture_gives_the_corners_that_are_in_it() -> None:
    picture, truth = photograph(CHARUCO, np.random.default_rng(2), at=(0.45, 0.0))
    view = detect_board(picture, CHARUCO)
    assert view is not None and 6 <= len(view) < 30
    assert np.linalg.norm(view.pixels - truth[view.ids], axis=1).max() < 0.15


def test_a_corner_under_glare_is_left_out_and_its_neighbours_stay() -> None:
    picture, truth = photograph(CHARUCO, np.random.default_rng(2))
    hidden = 14
    x, y = truth[hidden].round().astype(int)
    cv2.circle(picture, (int(x) + 6, int(y)), 14, 255, -1)
    view = detect_board(picture, CHARUCO)
    assert view is not None and hidden not in view.ids and len(view) > 20
    assert np.linalg.norm(view.pixels - truth[view.ids], axis=1).max() < 0.15


def test_a_board_in_motion_is_less_sharp(tmp_path: Path) -> None:
    (tmp_path / "take").mkdir()
    rng = np.random.default_rng(4)
    for n, motion_px in enumerate((0, 3, 6)):
        cv2.imwrite(str(tmp_path / f"take/{n}.png"), photograph(CHARUCO, rng, motion_px=motion_px)[0])
    sharpness = detect_take(tmp_path / "take", CHARUCO).sharpness
    assert sharpness[0] > 1.3 * sharpness[1] > 1.3**2 * sharpness[2]


@pytest.mark.parametrize(("columns", "rows"), [(5, 6), (6, 5)])
def test_a_chessboard_starts_at_the_same_end_however_it_is_turned(columns: int, rows: int) -> None:
    spec = BoardSpec("chessboard", columns, rows, 0.05)
    picture, truth = photograph(spec, np.random.default_rng(0), size=(640, 640), square_px=50)
    size = np.array(picture.shape[::-1]) - 1
    for quarter in range(4):
        view = detect_board(np.ascontiguousarray(np.rot90(picture, -quarter)), spec)
        assert view is not None
        found = view.pixels
        for _ in range(quarter):
            found = np.column_stack([found[:, 1], size[1] - found[:, 0]])
        assert np.linalg.norm(found - truth[view.ids], axis=1).max() < 0.1


def test_boards_that_look_the_same_upside_down_are_told() -> None:
    assert BoardSpec("chessboard", 8, 6, 0.05).same_upside_down
    assert not CHESSBOARD.same_upside_down and not BoardSpec("charuco", 8, 6, 0.05, 0.04).same_upside_down


def made_view(spec: BoardSpec, middle: tuple[float, float], square_px: float = 30.0, squash: float = 1.0) -> BoardView:
    board = spec.points[:, :2] / spec.square_m - [spec.columns / 2, spec.rows / 2]
    return BoardView(np.arange(len(board), dtype=np.int32), board * [square_px * squash, square_px] + middle)


def made_take(views: dict[int, BoardView], sharpness: dict[int, float] | None = None) -> BoardTake:
    return BoardTake((640, 480), views, len(views), "as printed", sharpness or dict.fromkeys(views, 1.0), CHARUCO)


def test_chosen_views_cover_the_picture_and_show_many_sides() -> None:
    corners = [(110, 90), (530, 90), (110, 390), (530, 390)]
    views = {n: made_view(CHARUCO, (320, 240)) for n in range(20)}
    views |= {20 + n: made_view(CHARUCO, at) for n, at in enumerate(corners)}
    views[24] = made_view(CHARUCO, (320, 240), squash=0.5)
    views[25] = made_view(CHARUCO, (320, 240), square_px=60)
    chosen = choose_views(made_take(views), 7)
    assert set(chosen) > {20, 21, 22, 23, 24, 25} and chosen == tuple(sorted(chosen))
    assert chosen == choose_views(made_take(dict(reversed(views.items()))), 7)
    assert choose_views(made_take(views), 100) == tuple(range(26))
    assert choose_views(made_take({}), 5) == ()


def test_of_two_alike_views_the_sharper_is_chosen() -> None:
    views = {n: made_view(CHARUCO, (320, 240)) for n in range(4)}
    assert choose_views(made_take(views, {0: 0.9, 1: 0.5, 2: 1.1, 3: 0.6}), 1) == (2,)


def test_joint_views_connect_every_camera() -> None:
    here = made_view(CHARUCO, (320, 240))
    takes = {
        "c00": made_take(dict.fromkeys(range(30), here)),
        "c01": made_take(dict.fromkeys(range(29), here)),
        "c02": made_take({3: here, 29: here, 31: here}),
    }
    chosen = choose_joint_views(takes, 4)
    assert 3 in chosen and 29 in chosen  # the only views that tie c02 to the others
    assert 31 not in chosen and len(chosen) == 4


def test_what_the_first_take_shows_of_the_board_is_told_once_and_believed_of_the_others(tmp_path: Path) -> None:
    for id in ("c00", "c01"):
        write_take(tmp_path / id, CHARUCO, change="inverted")
    footage = BoardFootage({id: CameraFootage(None, tmp_path / id) for id in ("c00", "c01")})
    given = replace(CHARUCO, dictionary="DICT_5X5_100")
    joint, _ = search_takes(footage, given, 10, silent, with_lenses=True)
    assert [take.spec.dictionary for take in joint.values()] == ["DICT_4X4_100"] * 2
    assert [take.variant for take in joint.values()] == ["inverted"] * 2
    assert [take.said for take in joint.values()] == ["DICT_5X5_100 given, DICT_4X4_100 found", ""]


def test_sharp_views_are_chosen_from_a_take_that_is_mostly_blurred() -> None:
    rng = np.random.default_rng(5)
    places = rng.uniform([120, 100], [520, 380], (60, 2))
    views = {n: made_view(CHARUCO, (float(x), float(y))) for n, (x, y) in enumerate(places)}
    sharp = set(range(0, 60, 4))
    takes = {id: made_take(views, {n: 1.0 if n in sharp else 0.2 for n in views}) for id in ("c00", "c01")}
    assert set(choose_joint_views(takes, 40)) == sharp == set(choose_views(takes["c00"], 40))
    alike = {id: made_take(views, dict.fromkeys(views, 0.2)) for id in takes}
    assert len(choose_joint_views(alike, 40)) == 40  # a camera that is never sharper than that
    views_of_third = {n: views[n] for n in (1, 2, 3, 5)}
    takes["c02"] = made_take(views_of_third, dict.fromkeys(views_of_third, 0.5))
    assert len({1, 2, 3, 5} & set(choose_joint_views(takes, 40))) == 3  # blurred, and all that connects c02


def test_a_part_of_the_picture_without_a_board_is_named_once_for_all_cameras() -> None:
    right = made_take({n: made_view(CHARUCO, (480, 80 + 60 * n)) for n in range(6)})
    whole = made_take({n: made_view(CHARUCO, (80 + 60 * n, 60 + 45 * n), 60) for n in range(9)})
    assert uncovered({"c00": whole}) == []
    said = uncovered({"c00": right, "c01": whole, "c02": right})
    assert said == ["no board in the left third of c00, c02: lens distortion is guessed there"]


def test_a_rig_that_mirrors_in_part_is_refused_and_one_that_mirrors_wholly_is_told() -> None:
    plain = made_take({0: made_view(CHARUCO, (320, 240))})
    mirrored = replace(plain, variant="inverted, mirrored")
    with pytest.raises(CalibrationError, match=r"camera c01: mirrored pictures, the others' are not"):
        check_mirrored({"c00": plain, "c01": mirrored})
    assert check_mirrored({"c00": plain, "c01": plain}) == ()
    assert "left and right" in check_mirrored({"c00": mirrored, "c01": mirrored})[0]


def test_a_board_of_which_the_last_row_is_never_seen_is_told() -> None:
    whole = made_take({n: made_view(CHARUCO, (320, 240)) for n in range(10)})
    assert check_size({"c00": whole}) == ()
    taller = replace(CHARUCO, rows=CHARUCO.rows + 1)
    (warning,) = check_size({"c00": replace(whole, spec=taller)})
    assert f"beyond {CHARUCO.columns}x{CHARUCO.rows} squares" in warning
    few = replace(whole, spec=taller, views={0: whole.views[0]})
    assert check_size({"c00": few}) == ()


def test_a_video_without_a_frame_count_is_searched_whole(tmp_path: Path) -> None:
    """A Matroska file promises no number of frames."""
    rng, film = np.random.default_rng(0), tmp_path / "take.mkv"
    with VideoWriter(film, fps=5, crf=12) as video:
        for _ in range(5):
            video.write(np.repeat(photograph(CHARUCO, rng)[0][..., None], 3, axis=2))
    assert BoardPictures.of(film).numbers == (0, 1, 2, 3, 4)
    assert sorted(detect_take(film, CHARUCO).views) == [0, 1, 2, 3, 4]


def test_an_uncovered_third_is_named() -> None:
    right = made_take({0: made_view(CHARUCO, (430, 120)), 1: made_view(CHARUCO, (430, 360), 50)})
    counts = coverage(right)
    assert counts.shape == (8, 8) and counts.sum() == 60
    assert coverage_words(counts) == "the left third was never covered"
    assert coverage_words(np.ones((8, 8), int)) == ""
    assert coverage_words(coverage(made_take({}))) == "no part of the picture was covered"
    almost = np.ones((8, 8), int)
    almost[:3] = 0
    almost[2, 5] = 1
    assert coverage_words(almost) == "the upper third was hardly covered"


def test_a_board_is_read_from_a_short_text() -> None:
    assert parse_board("charuco:9x7:100:75:DICT_4X4_100") == BoardSpec("charuco", 9, 7, 0.1, 0.075, "DICT_4X4_100")
    assert parse_board("charuco:9x7:100:75") == BoardSpec("charuco", 9, 7, 0.1, 0.075, "")
    assert parse_board("chessboard:5x8:60.5") == BoardSpec("chessboard", 5, 8, 0.0605)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("9x7:100:75", "not charuco:COLUMNSxROWS"),
        ("chessboard:5x8:60:45", "not charuco:COLUMNSxROWS"),
        ("charuco:9x7:100", "not charuco:COLUMNSxROWS"),
        ("charuco:9x7:-100:75", "not charuco:COLUMNSxROWS"),
        ("charuco:9x7:75:100", "0 < marker < square"),
        ("charuco:9x7:100:75:DICT_9X9_50", "known dictionary"),
        ("charuco:19x17:100:75:DICT_4X4_100", "161 markers, DICT_4X4_100 has 100"),
        ("charuco:2x8:60:45", "at least 3x4"),
        ("chessboard:3x8:60", "at least 4x4"),
        ("chessboard:5x8:0", "an edge above 0"),
    ],
)
def test_an_impossible_board_is_refused(text: str, said: str) -> None:
    with pytest.raises(CalibrationError, match=said):
        parse_board(text)


def test_a_recording_without_a_board_says_what_to_write() -> None:
    with pytest.raises(CalibrationError, match="no board") as caught:
        board_spec(None)
    assert "[board]" in str(caught.value.hint)
    attrs = {"kind": "charuco", "columns": 8, "rows": 6, "square_mm": 30, "marker_mm": 22.5, "dictionary": None}
    assert board_spec(attrs) == BoardSpec("charuco", 8, 6, 0.03, 0.0225, "")


def test_a_real_inverted_board_is_recognised(real_walk: Path) -> None:
    film = real_walk.parent / "charuco/post_optimization/calibration/extrinsic/cam_2.mp4"
    take = detect_take(film, parse_board("charuco:4x5:54:40.5:DICT_5X5_250"), max_pictures=8)
    assert take.variant == "inverted" and take.said == "DICT_5X5_250 given, DICT_4X4_250 found"
    assert take.looked == 8 and len(take.views) >= 6

"""The calibrate stage and command on a small recording with board takes, on imports, and on rigs without a take."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import DATA, need

from litdome.calib.exchange import write_calibration
from litdome.calib.settings import CalibrateConfig
from litdome.calib.stage import Calibrate
from litdome.capture.check import IngestConfig
from litdome.capture.ingest import Ingest
from litdome.capture.recording import read_recording, session_attrs
from litdome.cli import run
from litdome.cli.console import Stopped
from litdome.compute import Threads
from litdome.errors import CalibrationError
from litdome.geometry import Camera, Rig, invert_rigid, look_at
from litdome.media.encode import VideoWriter
from litdome.pipeline import calibrate_new_rig, run_stage, stage_status, wanted_fingerprint
from litdome.store.session import Session

COLUMNS, ROWS, SQUARE_M, TEXELS = 7, 5, 0.12, 48
SIZE = (360, 480)
BOARD = """[board]
kind = "charuco"
columns = 7
rows = 5
square_mm = 120.0
marker_mm = 90.0
dictionary = "DICT_4X4_50"
"""


def truth() -> Rig:
    cameras = []
    for n, degrees in enumerate((-40, 0, 40)):
        angle = np.radians(degrees)
        k = np.array([[600.0 + 10 * n, 0, 178 + n], [0, 600.0 + 10 * n, 241 - n], [0, 0, 1]])
        pose = look_at([3 * np.sin(angle), 1.0 + 0.2 * n, 3 * np.cos(angle)], [0, 0.92, 0])
        cameras.append(Camera(f"c{n:02d}", *SIZE, k, np.zeros(8), pose))
    return Rig(tuple(cameras))


def board_picture() -> np.ndarray:
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    board = cv2.aruco.CharucoBoard((COLUMNS, ROWS), SQUARE_M, SQUARE_M * 0.75, dictionary)
    return cv2.copyMakeBorder(
        board.generateImage((COLUMNS * TEXELS, ROWS * TEXELS)), *[TEXELS // 3] * 4, cv2.BORDER_CONSTANT, value=255
    )


def photograph(camera: Camera, world_from_board: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """The board's picture seen by a camera without lens distortion, on grey (a homography; drawn at twice the size)."""
    metres = SQUARE_M / TEXELS
    rim = TEXELS // 3 + 0.5  # texel centres
    board_from_texel = np.array(
        [[metres, 0, (0.5 - rim) * metres + 0.5 * metres], [0, metres, (1 - rim) * metres], [0, 0, 1]]
    )
    plane = (camera.camera_from_world @ world_from_board)[:3][:, [0, 1, 3]]
    double = np.array([[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1.0]])
    large = (2 * SIZE[0], 2 * SIZE[1])
    homography = double @ camera.intrinsics @ plane @ board_from_texel
    seen = cv2.warpPerspective(picture, homography, large, flags=cv2.INTER_AREA, borderValue=110)
    return cv2.resize(seen, SIZE, interpolation=cv2.INTER_AREA)


def board_pose(rng: np.random.Generator, around: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """A board near ``around`` whose front faces ``towards``, tilted."""
    facing = look_at(around, 2 * around - towards)  # its z axis points away from who looks
    turn = facing[:3, :3] @ cv2.Rodrigues(rng.uniform(-0.5, 0.5, 3))[0]
    pose = np.eye(4)
    pose[:3, :3] = turn
    pose[:3, 3] = around - turn @ [COLUMNS * SQUARE_M / 2, ROWS * SQUARE_M / 2, 0]
    return pose


def make_take(folder: Path) -> Path:
    for camera in truth().cameras:
        with_path = folder / f"cameras/{camera.id}.mp4"
        with VideoWriter(with_path, fps=25, crf=30) as video:
            for level in (200, 90, 200, 70):
                video.write(np.full((SIZE[1], SIZE[0], 3), level, np.uint8))
    (folder / "lights.csv").write_text("frame,kind,hdri\n0,flat,\n1,dark,\n2,flat,\n3,dark,\n")
    (folder / "recording.toml").write_text(f"fps = 25.0\n{BOARD}")
    make_pose_take(folder / "boards", pictures=10)
    make_lens_take(folder / "boards", pictures=6)
    return folder


def make_pose_take(boards: Path, pictures: int) -> None:
    rng, picture = np.random.default_rng(0), board_picture()
    for n in range(pictures):
        pose = board_pose(rng, np.array([0, 0.92, 0]) + rng.uniform(-0.15, 0.15, 3), np.array([0, 1, 3.0]))
        for camera in truth().cameras:
            save(boards / f"extrinsic/{camera.id}/{n:03d}.png", photograph(camera, pose, picture))


def make_lens_take(boards: Path, pictures: int) -> None:
    rng, picture = np.random.default_rng(1), board_picture()
    for camera in truth().cameras:
        middle = camera.centre + 1.5 * camera.world_from_camera[:3, 2]
        for n in range(pictures):
            pose = board_pose(rng, middle + rng.uniform(-0.25, 0.25, 3), camera.centre)
            save(boards / f"intrinsic/{camera.id}/{n:03d}.png", photograph(camera, pose, picture))


def save(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)


@pytest.fixture(scope="module")
def take(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording with board takes of three cameras; its session take.zarr beside it, ingested and not calibrated."""
    folder = make_take(tmp_path_factory.mktemp("stage") / "take")
    recording = read_recording(folder)
    session = Session.new(str(folder.parent / "take.zarr"), session_attrs(recording))
    run_stage(session, Ingest(recording), IngestConfig(), inputs={"recording": "x"}, executor=Threads(1))
    return folder


@pytest.fixture(scope="module")
def rig_url(take: Path) -> str:
    """The rig of the board takes, calibrated before any take."""
    folder, url = take.parent / "disk", str(take.parent / "morning.zarr")
    folder.mkdir()
    for name in ("boards", "recording.toml"):
        (folder / name).symlink_to(take / name)
    assert run(["-q", "calibrate", url, "--boards", str(folder / "boards")]) == 0
    return url


@pytest.fixture
def session(take: Path, tmp_path: Path) -> Session:
    """The take's session, not calibrated."""
    shutil.copytree(take.parent / "take.zarr", tmp_path / "take.zarr")
    return Session.open(str(tmp_path / "take.zarr"), writable=True)


def content(url: str) -> dict[str, bytes]:
    """Every file of a store but records, whose times differ."""
    root = Path(url)
    files = [path for path in root.rglob("*") if path.is_file() and "steps" not in path.relative_to(root).parts]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_boards_give_the_rig_back(session: Session) -> None:
    with pytest.raises(CalibrationError, match="not calibrated"):
        _ = session.rig
    record = run_stage(session, Calibrate(), CalibrateConfig())
    found, true = session.rig, truth()
    assert max(record.summary["rms_px"]) < 0.3 and session.array("rig/size").attrs["models"] == ["pinhole5"] * 3
    for ours, theirs in zip(found.cameras, true.cameras, strict=True):
        assert ours.intrinsics[0, 0] == pytest.approx(theirs.intrinsics[0, 0], rel=0.01)
        relative = invert_rigid(found.cameras[0].world_from_camera) @ ours.world_from_camera
        expected = invert_rigid(true.cameras[0].world_from_camera) @ theirs.world_from_camera
        assert np.linalg.norm(relative[:3, 3] - expected[:3, 3]) < 0.02  # of 2 m and 3.9 m
        assert np.linalg.norm(ours.centre - theirs.centre) < 0.05  # the level world is the true one here
    assert session.read("rig/pose_std").shape == (3, 6) and session.read("rig/intrinsics_std").shape == (3, 12)


def test_a_relative_folder_is_the_same_footage_from_another_directory(
    take: Path, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(take.parent)
    (tmp_path / "near").mkdir()
    write_calibration(take.parent / "rig.json", truth(), "nerfstudio")
    points = points_file(take.parent)
    for options in (["--import", "rig.json"], ["--import", "rig.json", "--points", points.name]):
        assert run(["-q", "calibrate", session.url, *options]) == 0
    record = session.record("calibrate")
    monkeypatch.chdir(tmp_path / "near")
    up = Path(os.path.relpath(take.parent))
    options = ["--import", str(up / "rig.json"), "--points", str(up / points.name)]
    assert ".." in str(up) and run(["-q", "calibrate", session.url, *options]) == 0
    assert session.record("calibrate") == record
    monkeypatch.chdir(take)
    config = CalibrateConfig(boards_dir="boards", intrinsics_file="../rig.json")
    files = [config.boards_dir, config.intrinsics_file]
    assert files == [str(take / "boards"), str(take.parent / "rig.json")]
    assert wanted_fingerprint(session, Calibrate(), config) == wanted_fingerprint(
        session, Calibrate(), CalibrateConfig(boards_dir=str(take / "boards"), intrinsics_file=files[1])
    )


def test_what_the_rig_rests_on_is_kept(rig_url: str) -> None:
    session = Session.open(rig_url)
    record = session.record("calibrate")
    assert record is not None and record.finished
    names = {"source", "cameras", "rms_px", "trimmed_rms_px", "all_rms_px", "held_out_rms_px", "pair_distance_mm"}
    assert set(record.summary) == names | {"freed", "weak", "views", "views_left_out", "world", "board"}
    camera, view, id, state = (session.read(f"calibration/corner_{name}") for name in ("camera", "view", "id", "state"))
    assert len(camera) == len(view) == len(id) > 500 and set(state) <= {0, 1, 2}
    attrs = session.array("calibration/corner_px").attrs
    assert attrs["sizes"] == [list(SIZE)] * 3 and attrs["variant"] == ["as printed"] * 3
    views = session.array("calibration/world_from_board").attrs["views"]
    placed = dict(zip(views, session.read("calibration/world_from_board"), strict=True))
    board = np.array([[x, y, 0] for y in range(1, ROWS) for x in range(1, COLUMNS)]) * SQUARE_M
    residual, pixels = session.read("calibration/corner_residual_px"), session.read("calibration/corner_px")
    for n in range(0, len(camera), 37):  # projected through the stored rig, a board corner lies where it was seen
        world = placed[view[n]] @ np.append(board[id[n]], 1)
        seen = session.rig.cameras[camera[n]].project(world[None, :3])[0]
        np.testing.assert_allclose(seen - pixels[n], residual[n], atol=2e-3)


def test_a_rig_without_a_take_opens_everywhere(
    rig_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Session.open(rig_url).is_rig_only
    assert run(["-q", "status", rig_url, "--check"]) == 0
    out = capsys.readouterr().out
    assert "a rig of 3 cameras, no take" in out and "ingest" not in out
    assert run(["-q", "status", rig_url, "--json"]) == 0
    assert [line["name"] for line in json.loads(capsys.readouterr().out)["stages"]] == ["calibrate"]
    assert run(["-q", "report", rig_url, "-o", str(tmp_path / "page.html")]) == 0
    assert run(["-q", "rig", "export", rig_url, str(tmp_path / "transforms.json")]) == 0
    assert run(["-q", "session", "verify", rig_url]) == 0
    assert run(["-q", "calibrate", rig_url, "--check"]) == 0
    before = content(rig_url)
    assert run(["-q", "calibrate", rig_url, "--boards", str(Path(rig_url).parent / "disk/boards")]) == 0
    assert content(rig_url) == before
    assert run(["-q", "pairs", rig_url]) == 5  # it has none: one clear line, no traceback


def test_check_finds_a_rig_that_cannot_be(rig_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = str(tmp_path / "spoilt.zarr")
    shutil.copytree(rig_url, url)
    session = Session.open(url, writable=True)
    lenses = session.read("rig/intrinsics")
    lenses[1, 1, 2] = -4430
    session.write_small("rig/intrinsics", lenses, ("camera", "row", "column"))
    capsys.readouterr()
    assert run(["-q", "calibrate", url, "--check"]) == 1
    assert "c01: principal point" in capsys.readouterr().out


def test_a_rig_is_taken_over_by_a_take(rig_url: str, session: Session) -> None:
    record = run_stage(session, Calibrate(), CalibrateConfig(source="import", import_file=rig_url))
    rig = Session.open(rig_url)
    for ours, theirs in zip(session.rig.cameras, rig.rig.cameras, strict=True):
        np.testing.assert_array_equal(ours.world_from_camera, theirs.world_from_camera)
        np.testing.assert_array_equal(ours.intrinsics, theirs.intrinsics)
    for path in ("rig/intrinsics_std", "rig/pose_std", "rig/reprojection_px", "calibration/corner_px"):
        np.testing.assert_array_equal(session.read(path), rig.read(path))
    morning = rig.record("calibrate")
    assert morning is not None and record.summary["views"] == morning.summary["views"]
    assert record.summary["source"] == "import morning.zarr" and "the cameras' own" in record.summary["world"]


def test_a_part_of_a_rig_in_another_order_is_taken_over_with_its_corners(rig_url: str, tmp_path: Path) -> None:
    from litdome.calib.stage import import_calibration, stored_cameras

    whole = Session.open(rig_url)
    first, _, third = stored_cameras(whole)
    found = import_calibration(Path(rig_url), [third, first])
    assert found.rig.ids == ("c02", "c00") and set(found.corners.camera) == {0, 1}
    own = whole.read("calibration/corner_px")[whole.read("calibration/corner_camera") == 2]
    np.testing.assert_array_equal(found.corners.pixels[found.corners.camera == 0], own)
    np.testing.assert_array_equal(found.pose_std, whole.read("rig/pose_std")[[2, 0]])
    assert set(found.summary["views"]) == {"c00", "c02"}


def test_an_import_is_fitted_to_the_session(session: Session, tmp_path: Path) -> None:
    write_calibration(tmp_path / "transforms.json", truth(), "nerfstudio")
    config = CalibrateConfig(source="import", import_file=str(tmp_path / "transforms.json"))
    record = run_stage(session, Calibrate(), config)
    for ours, theirs in zip(session.rig.cameras, truth().cameras, strict=True):
        np.testing.assert_allclose(ours.world_from_camera, theirs.world_from_camera, atol=1e-9)
        np.testing.assert_allclose(ours.intrinsics, theirs.intrinsics, atol=1e-9)
    assert record.summary["source"] == "import transforms.json" and np.isnan(session.read("rig/reprojection_px")).all()
    assert "rms_px" not in record.summary and session.read("calibration/corner_px").shape == (0, 2)
    other = Rig(tuple(replace(camera, width=500) for camera in truth().cameras))
    write_calibration(tmp_path / "other.json", other, "nerfstudio")
    with pytest.raises(CalibrationError, match="500x480"):
        run_stage(session, Calibrate(), CalibrateConfig(source="import", import_file=str(tmp_path / "other.json")))


def test_known_lenses_are_kept_and_only_poses_are_solved(take: Path, session: Session, tmp_path: Path) -> None:
    write_calibration(tmp_path / "transforms.json", truth(), "nerfstudio")
    config = CalibrateConfig(intrinsics_file=str(tmp_path / "transforms.json"), refine="none")
    record = run_stage(session, Calibrate(), config)
    for ours, theirs in zip(session.rig.cameras, truth().cameras, strict=True):
        np.testing.assert_allclose(ours.intrinsics, theirs.intrinsics, atol=1e-9)
        assert np.linalg.norm(ours.centre - theirs.centre) < 0.02
    assert max(record.summary["rms_px"]) < 0.3
    assert set(record.inputs) == {"ingest", "files"}


def points_file(folder: Path) -> Path:
    """Three crosses on the floor, a metre east of where the level world has its origin."""
    lines = []
    for n, place in enumerate(([0, 0, 0], [0.5, 0, 0], [0, 0, 0.5])):
        lines += [f"[points.p{n}]", f"world_m = {[place[0] + 1.0, *place[1:]]}"]
        for camera in truth().cameras:
            lines.append(f"{camera.id} = {camera.project(np.array([place], float))[0].tolist()}")
    file = folder / "points.toml"
    file.write_text("\n".join(lines))
    return file


def test_aligning_moves_the_rig_and_needs_no_footage_again(
    rig_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url, disk = str(tmp_path / "rig.zarr"), Path(rig_url).parent / "disk"
    shutil.copytree(rig_url, url)
    level, before = content(url), Session.open(url).rig
    disk.rename(disk.with_name("elsewhere"))
    request.addfinalizer(lambda: disk.with_name("elsewhere").rename(disk))
    align = ["-q", "calibrate", url, "--align"]
    assert run([*align, "--points", str(points_file(tmp_path))]) == 0
    after = Session.open(url).rig
    for ours, theirs, true in zip(after.cameras, before.cameras, truth().cameras, strict=True):
        np.testing.assert_array_equal(ours.intrinsics, theirs.intrinsics)
        np.testing.assert_allclose(ours.centre, true.centre + np.array([1, 0, 0]), atol=0.03)
    marked = content(url)
    assert run([*align, "--points", str(tmp_path / "points.toml")]) == 0 and content(url) == marked
    assert run([*align, "--world", "cameras"]) == 0
    changed = {name for name, value in content(url).items() if level.get(name) != value}
    assert changed == set()
    assert run([*align, "--world", "floor"]) == 6 and content(url) == level
    assert run([*align, "--boards", str(disk / "boards")]) == 2


def test_a_board_on_the_floor_is_the_world(rig_url: str, take: Path, tmp_path: Path) -> None:
    folder = tmp_path / "take"
    shutil.copytree(take / "boards/extrinsic", folder / "boards/extrinsic")
    shutil.copy(take / "recording.toml", folder / "recording.toml")
    lying = np.eye(4)  # face up: its +y points to world +z, its z into the floor
    lying[:3, :3] = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    lying[:3, 3] = [0.3 - COLUMNS * SQUARE_M / 2, 0, -0.2 - ROWS * SQUARE_M / 2]
    for camera in truth().cameras[1:]:
        save(folder / f"boards/floor/{camera.id}.png", photograph(camera, lying, board_picture()))
    save(folder / "boards/floor/c00.png", np.full((SIZE[1], SIZE[0]), 110, np.uint8))  # does not see it
    assert run(["-q", "calibrate", str(tmp_path / "rig.zarr"), "--boards", str(folder / "boards")]) == 0
    for ours, true in zip(Session.open(str(tmp_path / "rig.zarr")).rig.cameras, truth().cameras, strict=True):
        np.testing.assert_allclose(ours.centre, true.centre - [0.3, 0, -0.2], atol=0.04)  # at 3 m
        assert ours.world_from_camera[:3, 2] @ true.world_from_camera[:3, 2] > np.cos(np.radians(0.7))


def grey(path: Path, size: tuple[int, int] = SIZE) -> None:
    save(path, np.full((size[1], size[0]), 110, np.uint8))


def no_board(boards: Path) -> None:
    for picture in (boards / "extrinsic/c01").iterdir():
        grey(picture)


def mixed_sizes(boards: Path) -> None:
    for picture in (boards / "intrinsic/c02").iterdir():
        save(picture, cv2.resize(cv2.imread(str(picture), cv2.IMREAD_GRAYSCALE), (240, 320)))


def never_together(boards: Path) -> None:
    for n, picture in enumerate(sorted((boards / "extrinsic/c02").iterdir())):
        grey(picture) if n < 6 else None
    for id in ("c00", "c01"):
        for picture in sorted((boards / f"extrinsic/{id}").iterdir())[6:]:
            grey(picture)


def copied_lens_take(boards: Path) -> None:
    shutil.rmtree(boards / "intrinsic/c02")
    shutil.copytree(boards / "intrinsic/c00", boards / "intrinsic/c02")


def copied(boards: Path) -> None:
    shutil.rmtree(boards / "extrinsic/c02")
    shutil.copytree(boards / "extrinsic/c00", boards / "extrinsic/c02")


def no_footage(boards: Path) -> None:
    for kind in ("intrinsic", "extrinsic"):
        (boards / kind / "c02").rename(boards / kind / "left")


def only_lenses(boards: Path) -> None:
    shutil.rmtree(boards / "extrinsic/c01")


def other_board(boards: Path) -> None:
    pass  # the setting says another one


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (no_board, r"extrinsic/c01: no charuco"),
        (mixed_sizes, r"camera c02: intrinsic take 240x320 px, extrinsic take 360x480 px"),
        (never_together, r"c02"),
        (copied, r"cameras c00 and c02: the same corners"),
        (copied_lens_take, r"cameras c00 and c02: the same corners"),
        (no_footage, r"no camera c02 in it \(it holds c00, c01, left\)"),
        (only_lenses, r"no extrinsic board take of camera c01"),
        (other_board, r"charuco of 5x7 squares.*7 columns"),
    ],
)
def test_bad_boards_are_one_clear_error_and_change_nothing(
    spoil: Callable[[Path], None],
    message: str,
    rig_url: str,
    take: Path,
    session: Session,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_stage(session, Calibrate(), CalibrateConfig(source="import", import_file=rig_url))
    before, record = content(session.url), session.record("calibrate")
    boards = tmp_path / "spoilt" / "boards"
    shutil.copytree(take / "boards", boards)
    spoil(boards)
    if spoil not in (mixed_sizes, only_lenses, copied_lens_take):
        shutil.rmtree(boards / "intrinsic")
    board = "charuco:5x7:120:90:DICT_4X4_50" if spoil is other_board else "charuco:7x5:120:90:DICT_4X4_50"
    capsys.readouterr()
    arguments = ["--boards", str(boards), "--board", board]
    assert run(["-q", "calibrate", session.url, *arguments]) == 6
    (line,) = capsys.readouterr().err.strip().splitlines()

    assert re.search(message, line) and "; try: " in line
    assert content(session.url) == before and session.record("calibrate") == record
    assert stage_status(session, Calibrate()).state == "done"
    fresh = tmp_path / "fresh.zarr"
    left = set(tmp_path.iterdir())
    if spoil is mixed_sizes:
        assert run(["-q", "calibrate", str(fresh), *arguments]) == 6
    assert set(tmp_path.iterdir()) == left


@pytest.mark.parametrize("content_of_file", [b"", b"\x00\xff\x10", b"{", b'{"frames": []}', b"<calibration/>"])
def test_an_unreadable_import_is_one_clear_error(
    content_of_file: bytes, session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rig.json"
    file.write_bytes(content_of_file)
    capsys.readouterr()
    assert run(["-q", "calibrate", session.url, "--import", str(file)]) == 6
    assert "rig.json" in capsys.readouterr().err and not session.has("rig/world_from_camera")
    assert run(["-q", "calibrate", str(tmp_path / "new.zarr"), "--import", str(file)]) == 6
    assert not (tmp_path / "new.zarr").exists()


def test_without_board_takes_the_error_says_what_to_type(session: Session, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="no such folder of board takes") as caught:
        run_stage(session, Calibrate(), CalibrateConfig(boards_dir=str(tmp_path / "nowhere")))
    assert "--import FILE" in str(caught.value.hint)


def test_a_calibration_that_is_stopped_changes_nothing(
    rig_url: str, take: Path, session: Session, tmp_path: Path
) -> None:
    def stop(what: str, done: int, total: int) -> None:
        if done:
            raise Stopped("stopped; nothing was changed")

    run_stage(session, Calibrate(), CalibrateConfig(source="import", import_file=rig_url))
    before = {path: path.read_bytes() for path in Path(session.url).rglob("*") if path.is_file()}
    boards = str(take / "boards")
    with pytest.raises(Stopped):
        run_stage(session, Calibrate(stop), CalibrateConfig(boards_dir=boards))
    assert {path: path.read_bytes() for path in Path(session.url).rglob("*") if path.is_file()} == before
    left = set(tmp_path.iterdir())
    with pytest.raises(Stopped):
        calibrate_new_rig(str(tmp_path / "new.zarr"), {"calibrate": {"boards_dir": boards}}, progress=stop)
    assert set(tmp_path.iterdir()) == left


def test_a_real_caliscope_session_through_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, url = need(DATA / "charuco" / "charuco_calibration"), str(tmp_path / "rig.zarr")
    lenses, fewer = ["--intrinsics", str(folder / "camera_array.toml")], ["--set", "calibrate.max_pictures=24"]
    assert run(["-q", "calibrate", url, "--boards", str(folder), *lenses, *fewer]) == 0
    table, numbers = capsys.readouterr().out.split("boards, ")
    assert [line.split()[0] for line in table.splitlines()] == ["camera", "cam_0", "cam_1", "cam_2", "cam_3"]
    assert numbers.startswith("lenses from camera_array.toml, held-out ")
    record = Session.open(url).record("calibrate")
    assert record is not None and record.summary["trimmed_rms_px"] <= 1.267  # rigid board, shipped lenses: README there
    assert Session.open(url).array("calibration/corner_px").attrs["variant"] == ["inverted"] * 4


def test_a_mistyped_session_without_a_source_is_no_new_rig(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options in ([], ["--check"], ["--align"]):
        capsys.readouterr()
        assert run(["-q", "calibrate", str(tmp_path / "take1.zarr"), *options]) == 5
        assert "take1.zarr: no session here" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "calibrate.refine=f,kk1"], r"'kk1' unknown to these lenses"),
        (["--set", "calibrate.refine=k4"], r"'k4' unknown to these lenses"),
        (["--set", "calibrate.model=pinhole8", "--set", "calibrate.refine=k7"], r"'k7' unknown"),
        (
            ["--intrinsics", "s3://bucket/rig.zarr"],
            r"this machine's disk; try: litdome session copy s3://bucket/rig.zarr",
        ),
        (["--set", "calibrate.models.c09=fisheye4"], r"no camera c09"),
    ],
)
def test_a_slip_of_the_pen_is_noticed_before_boards_are_searched(
    options: list[str], said: str, take: Path, session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(session.url)
    capsys.readouterr()
    assert run(["calibrate", session.url, *options]) == 6
    err = capsys.readouterr().err
    assert re.search(said, err) and "boards  " not in err
    assert content(session.url) == before
    assert run(["-q", "calibrate", session.url, "--import", "memory://rig.zarr"]) == 6
    assert "litdome session copy memory://rig.zarr" in capsys.readouterr().err


def test_options_that_exclude_each_other_are_refused(session: Session, tmp_path: Path) -> None:
    for options in (
        ["--check", "--align"],
        ["--import", "a.json", "--boards", "boards"],
        ["--align", "--import", "a.json"],
        ["--boards", "boards", "--intrinsics", "a.json", "--model", "fisheye4"],
        ["--check", "--set", "calibrate.max_rms_px=3"],
    ):
        assert run(["-q", "calibrate", session.url, *options]) == 2
    assert run(["-q", "calibrate", session.url, "--align"]) == 2  # not calibrated yet: nothing to place anew
    assert run(["-q", "calibrate", session.url, "--set", "calibrate.models.c00=wide"]) == 3


def test_a_calibration_of_an_earlier_version_is_stale_and_no_error(session: Session, rig_url: str) -> None:
    run_stage(session, Calibrate(), CalibrateConfig(source="import", import_file=rig_url))
    record = session.record("calibrate")
    assert record is not None
    session.write_record(replace(record, version=1, config={"refine_lenses": True}))
    assert stage_status(session, Calibrate()).state == "stale"

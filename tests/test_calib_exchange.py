"""The door to other programs' calibrations: formats told apart, round trips, spoilt files in one line."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from litdome.calib.exchange import FORMATS, files_read, format_of_name, read_calibration, recognise, write_calibration
from litdome.errors import CalibrationError
from litdome.geometry import Camera, LensModel, Rig, look_at

LENSES: dict[LensModel, list[float]] = {
    "pinhole5": [-0.1, 0.02, 1e-3, -2e-3, 0.004, 0, 0, 0],
    "pinhole8": [-0.1, 0.02, 1e-3, -2e-3, 0.004, 0.03, -0.02, 0.001],
    "fisheye4": [0.05, -0.01, 0.004, -0.002, 0, 0, 0, 0],
}
HOLDS: dict[str, tuple[LensModel, ...]] = {
    "qualisys": ("pinhole5",),
    "opencv": ("pinhole5", "pinhole8"),
    "colmap": ("pinhole5", "pinhole8", "fisheye4"),
    "colmap-binary": ("pinhole5", "pinhole8", "fisheye4"),
    "metashape": ("pinhole5", "fisheye4"),
    "nerfstudio": ("pinhole5", "fisheye4"),
    "aniposelib": ("pinhole5", "fisheye4"),
    "caliscope": ("pinhole5", "fisheye4"),
    "actorshq": (),
    "humanolat": ("pinhole5", "pinhole8"),
    "goliath": ("pinhole5", "pinhole8"),
}
FILE = {"opencv": "intri.yml", "colmap": "cameras.txt", "colmap-binary": "cameras.bin"}


def some_rig(model: LensModel | None, count: int = 4) -> Rig:
    """Cameras around a person; without a model plain pinholes."""
    rng = np.random.default_rng(3)
    cameras = []
    for n in range(count):
        k = np.array([[700.3 + n, 0, 320 + rng.normal(0, 5)], [0, 702.1, 239 + rng.normal(0, 5)], [0, 0, 1]])
        bent = np.zeros(8) if model is None else np.array(LENSES[model])
        angle = 2 * np.pi * n / count + 0.3
        pose = look_at([3 * np.sin(angle), rng.uniform(0.4, 2), 3 * np.cos(angle)], [0, 1, 0])
        pose[:3, :3] = pose[:3, :3] @ look_at([0, 0, 0], np.array([0, 0, 1]) + rng.normal(0, 0.1, 3))[:3, :3]
        cameras.append(Camera(f"cam_{n}", 640, 481, k, bent, pose, model or "pinhole5"))
    return Rig(tuple(cameras))


def combinations() -> Iterator[tuple[str, LensModel | None]]:
    for name in FORMATS:
        yield name, None
        for model in HOLDS[name]:
            yield name, model


@pytest.mark.parametrize(("name", "model"), list(combinations()))
def test_a_rig_survives_writing_and_reading(tmp_path: Path, name: str, model: LensModel | None) -> None:
    rig = some_rig(model)
    target = tmp_path / FILE.get(name, "rig.file")
    files = write_calibration(target, rig, name)
    assert all(file.is_file() for file in files) and not list(tmp_path.glob("*.partial"))
    assert recognise(target) == ("colmap" if name == "colmap-binary" else name)  # by content: the suffix says nothing
    points = np.array([0, 1, 0]) + np.random.default_rng(0).uniform(-0.8, 0.8, (40, 3))
    for path in {target, *files[:1], *([tmp_path] if name in FILE else [])}:
        again = read_calibration(path)
        assert again.ids == rig.ids
        for ours, theirs in zip(rig.cameras, again.cameras, strict=True):
            assert (theirs.width, theirs.height, theirs.model) == (640, 481, ours.model)
            np.testing.assert_allclose(theirs.intrinsics, ours.intrinsics, atol=1e-9)
            np.testing.assert_allclose(theirs.distortion, ours.distortion, atol=1e-12)
            np.testing.assert_allclose(theirs.world_from_camera, ours.world_from_camera, atol=1e-9)
            np.testing.assert_allclose(theirs.project(points), ours.project(points), atol=1e-6)
    assert set(files_read(target)) == {file for file in files if "points3D" not in file.name}
    first = {file: file.read_bytes() for file in files}
    assert write_calibration(target, rig, name) == files
    assert first == {file: file.read_bytes() for file in files}


@pytest.mark.parametrize("name", FORMATS)
def test_a_lens_that_a_format_cannot_hold_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    for model in LENSES:
        if model not in HOLDS[name]:
            with pytest.raises(CalibrationError, match="cam_0"):
                write_calibration(tmp_path / FILE.get(name, "rig.file"), some_rig(model), name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_files_is_written_into_a_folder(tmp_path: Path) -> None:
    files = write_calibration(tmp_path / "out", some_rig(None), "opencv")
    assert files == (tmp_path / "out" / "intri.yml", tmp_path / "out" / "extri.yml")
    write_calibration(tmp_path / "scene" / "sparse" / "0", some_rig(None), "colmap-binary")
    assert read_calibration(tmp_path / "scene").ids == ("cam_0", "cam_1", "cam_2", "cam_3")
    with pytest.raises(
        CalibrationError, match=r"rig.yml: EasyMocap and EasyVolcap: files called intri.yml, extri.yml belong into"
    ):
        write_calibration(tmp_path / "rig.yml", some_rig(None), "opencv")


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("Calib.qca.txt", "qualisys"),
        ("intri.yml", "opencv"),
        ("images.bin", "colmap-binary"),
        ("cameras.txt", "colmap"),
        ("cameras.xml", "metashape"),
        ("transforms.json", "nerfstudio"),
        ("camera_calibration.json", "goliath"),
        ("camera_array.toml", "caliscope"),
        ("calibration.toml", "aniposelib"),
        ("calibration.csv", "actorshq"),
        ("cameras.calib", "humanolat"),
        ("out", None),
        ("rig.pdf", None),
    ],
)
def test_a_name_says_what_is_written(name: str, format: str | None) -> None:
    assert format_of_name(Path(name)) == format


def test_names_that_caliscope_cannot_hold_become_numbers(tmp_path: Path) -> None:
    rig = some_rig(None)
    renamed = Rig(tuple(Camera(f"c{n:02d}", *_rest(camera)) for n, camera in enumerate(rig.cameras)))
    write_calibration(tmp_path / "camera_array.toml", renamed, "caliscope")
    assert read_calibration(tmp_path / "camera_array.toml").ids == ("cam_0", "cam_1", "cam_2", "cam_3")


def _rest(camera: Camera) -> tuple[int, int, np.ndarray, np.ndarray, np.ndarray, LensModel]:
    return (
        camera.width,
        camera.height,
        camera.intrinsics,
        camera.distortion,
        camera.world_from_camera,
        camera.model,
    )


def test_qualisys_values_are_px_times_64_and_millimetres_z_up(real_walk: Path) -> None:
    rig = read_calibration(real_walk / "calibration/Calib.qca.txt")
    focal = [round(float(camera.intrinsics[0, 0]), 1) for camera in rig.cameras]
    assert focal == [1681.2, 1673.7, 1681.6, 1675.2]  # the data's README
    assert rig.ids == ("c01", "c02", "c03", "c04") and (rig["c01"].width, rig["c01"].height) == (1088, 1920)
    np.testing.assert_allclose(rig["c01"].centre, [1.46023, 1.89651, 1.90916], atol=1e-5)
    ups = np.array([-camera.world_from_camera[:3, 1] for camera in rig.cameras])
    assert (ups[:, 1] > 0.8).all()  # the pictures are upright


def test_what_litdome_writes_for_qualisys_is_what_qualisys_wrote(real_walk: Path, tmp_path: Path) -> None:
    source = real_walk / "calibration/Calib.qca.txt"
    write_calibration(tmp_path / "again.qca.txt", read_calibration(source), "qualisys")
    theirs, ours = (ElementTree.parse(file).getroot() for file in (source, tmp_path / "again.qca.txt"))
    for one, other in zip(theirs.iter("camera"), ours.iter("camera"), strict=True):
        for tag, unknown in (("transform", ()), ("fov_video", ()), ("intrinsic", ("focallength",))):
            found, written = one.find(tag), other.find(tag)
            assert found is not None and written is not None
            for name in set(found.attrib) - set(unknown):
                # 2e-3 mm: the file's own rotations are rounded and made exact on the way
                assert float(written.attrib[name]) == pytest.approx(float(found.attrib[name]), abs=2e-3), name


def test_real_caliscope_sessions_have_their_cameras_upright(real_walk: Path) -> None:
    sessions = real_walk.parent / "charuco"
    for name in ("charuco_calibration", "post_optimization"):
        for file in ("camera_array.toml", "config.toml"):
            rig = read_calibration(sessions / name / file)
            assert rig.ids == ("cam_0", "cam_1", "cam_2", "cam_3")
            assert rig["cam_0"].intrinsics[0, 0] == 903.550124089999 and rig["cam_0"].width == 1280
            ups = np.array([-camera.world_from_camera[:3, 1] for camera in rig.cameras])
            assert (ups[:, 1] > 0.7).all()  # webcams on tripods
    shipped = read_calibration(sessions / "post_optimization" / "camera_array.toml")
    baseline = np.linalg.norm(shipped["cam_0"].centre - shipped["cam_1"].centre)
    assert 0.5 < baseline < 3  # metres


def transforms(**changes: object) -> str:
    frame = {"file_path": "images/c05.png", "transform_matrix": np.eye(4).tolist(), "w": 640, "h": 480, "fl_x": 500.0}
    return json.dumps({"frames": [{**frame, **changes}]})


def test_numbered_pictures_take_their_folders_name(tmp_path: Path) -> None:
    pose = np.eye(4).tolist()
    frames = [
        {"file_path": f"cameras/{id}/{frame}.png", "transform_matrix": pose}
        for id in ("c00", "camera12")
        for frame in ("000000", "frame_00001")
    ]
    frames.append({"file_path": "images/0007.png", "transform_matrix": pose})
    (tmp_path / "t.json").write_text(json.dumps({"w": 64, "h": 48, "fl_x": 50.0, "frames": frames}))
    assert read_calibration(tmp_path / "t.json").ids == ("0007", "c00", "camera12")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", r"t.json: not a whole JSON file"),
        ("[1, 2]", r"t.json: of no format that litdome knows"),
        ("", r"t.json: of no format that litdome knows"),
        ("<a><b/></a>", r"t.json: of no format that litdome knows"),
        ("<a><b></a>", r"t.json: not a whole XML file \(mismatched tag"),
        ("[cam_0]\nname = ", r"t.json: not a whole TOML file"),
        ('{"frames": []}', r"t.json: no cameras"),
        ('{"KRT": 3}', r"t.json: not a KRT file: 'int' object is not iterable"),
        ('{"frames": [{"file_path": "a.png"}]}', r"t.json: camera a: it has no w"),
        (transforms(camera_model="EQUIRECTANGULAR"), r"camera c05: lens model EQUIRECTANGULAR is not supported"),
        (transforms(k4=0.1), r"camera c05: k4 = 0.1 of an OPENCV lens is not supported"),
        (transforms(fl_x="far"), r"camera c05: could not convert string to float: 'far'"),
        (transforms(fl_x=float("nan")), r"camera c05: values that are not finite numbers"),
        (transforms(fl_x=-500), r"camera c05: focal lengths -500 and -500 px"),
        (transforms(w=0), r"camera c05: its pictures are 0x480 px"),
        (transforms(w=10**9), r"camera c05: its pictures are 1000000000x480 px"),
        (transforms(transform_matrix=[[1, 2], [3, 4]]), r"camera c05: 4 numbers where 16 belong"),
        (transforms(transform_matrix=np.diag([1.0, 1, -1, 1]).tolist()), r"camera c05: .*mirrored"),
        (
            transforms(transform_matrix=np.diag([1.0, 1.1, 1, 1]).tolist()),
            r"camera c05: its rotation is off by 2.1e-01",
        ),
        (transforms(transform_matrix=[[1e400] * 4] * 4), r"camera c05: values that are not finite numbers"),
    ],
)
def test_what_is_not_a_calibration_is_refused_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(CalibrationError, match=says) as error:
        read_calibration(tmp_path / "t.json")
    assert error.value.exit_code == 6 and "\n" not in str(error.value)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"missing.json: no such calibration file"):
        read_calibration(tmp_path / "missing.json")
    with pytest.raises(CalibrationError, match=r"a folder without intri.yml and without a COLMAP model"):
        read_calibration(tmp_path)
    write_calibration(tmp_path, some_rig(None), "colmap")
    (tmp_path / "images.txt").unlink()
    with pytest.raises(CalibrationError, match=r"images.txt: not there"):
        read_calibration(tmp_path)


def test_two_cameras_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cameras.txt").write_text("1 PINHOLE 64 48 50 50 32 24\n2 PINHOLE 64 48 50 50 32 24\n")
    (tmp_path / "images.txt").write_text("1 1 0 0 0 0 0 3 1 a/left.png\n\n2 1 0 0 0 0 0 3 2 b/left.png\n\n")
    with pytest.raises(CalibrationError, match=r"camera left: pictures of two cameras have this name"):
        read_calibration(tmp_path)
    write_calibration(tmp_path / "rig.csv", some_rig(None), "actorshq")
    text = (tmp_path / "rig.csv").read_text().replace("cam_1", "cam_0")
    (tmp_path / "rig.csv").write_text(text)
    with pytest.raises(CalibrationError, match=r"cameras called alike or not at all: 'cam_0'"):
        read_calibration(tmp_path / "rig.csv")


def spoilt(data: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    """Cut short, junk in the middle, bits turned, numbers replaced by what is none or is absurd, lines lost."""
    yield b""
    yield bytes(rng.integers(0, 256, 200, np.uint8))
    for part in np.linspace(0.02, 0.99, 25):
        yield data[: int(part * len(data))]
    for _ in range(40):
        changed = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            changed[place] ^= 1 << int(rng.integers(0, 8))
        yield bytes(changed)
    for word in (b"nan", b"inf", b"1e999", b"-7", b"0", b"x", b"18446744073709551615", b""):
        words = data.split(b" ")
        for place in rng.integers(0, len(words), 4):
            yield b" ".join([*words[:place], word, *words[place + 1 :]])
    lines = data.split(b"\n")
    for place in rng.integers(0, len(lines), 12):
        yield b"\n".join([*lines[:place], *lines[place + 1 :]])


@pytest.mark.parametrize("name", FORMATS)
def test_a_spoilt_file_gives_a_sound_rig_or_one_line_that_names_it(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(sorted(FORMATS).index(name))
    files = write_calibration(tmp_path / FILE.get(name, "rig.file"), some_rig(None, 2), name)
    refused = 0
    for file in files[:2]:
        whole = file.read_bytes()
        for data in spoilt(whole, rng):
            file.write_bytes(data)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")  # numpy's warnings would be further lines
                    rig = read_calibration(file)
            except CalibrationError as error:
                refused += 1
                assert str(tmp_path) in str(error) and "\n" not in str(error), str(error)
            else:
                for camera in rig.cameras:
                    pose = camera.world_from_camera
                    numbers = np.concatenate([camera.intrinsics.ravel(), camera.distortion, pose.ravel()])
                    assert np.isfinite(numbers).all() and camera.width > 0
                    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-9)
        file.write_bytes(whole)
    assert refused > 20  # the spoiling does spoil

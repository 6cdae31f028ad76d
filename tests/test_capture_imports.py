"""Captures of HumanOLAT and Goliath, laid out as their documents say, become recordings that the whole way takes."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from calibrated_rig import ring

from litdome import open_session
from litdome.calib.exchange import write_calibration
from litdome.capture.imports.humanolat import light_rows
from litdome.cli import run
from litdome.geometry import Rig
from litdome.media.folders import read_picture

SIZE = (64, 36)
FRAMES = 38


def small_rig(ids: tuple[str, ...]) -> Rig:
    return Rig(tuple(replace(camera.scaled(*SIZE), id=id) for camera, id in zip(ring(len(ids)), ids, strict=True)))


def picture(level: int, side: int = 16) -> np.ndarray:
    """A person-like bright box on black, at its own place so that pictures can be told apart."""
    shown = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    shown[6:30, 20 : 20 + side] = level
    return shown


def humanolat_pose(root: Path) -> Path:
    pose = root / "SUBJECT_C003" / "POSE_00"
    for camera in ("Cam00", "Cam01"):
        images = pose / "images_processed" / camera
        images.mkdir(parents=True)
        for frame in range(FRAMES):
            level = 200 if frame in (0, 14, 34) else 60 + frame
            cv2.imwrite(str(images / f"A003_C001.{frame:06d}.avif"), picture(level), [cv2.IMWRITE_AVIF_QUALITY, 100])
        masks = pose / "segmentations" / "masks" / "000"
        masks.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(masks / f"{camera}.png"), (picture(255) > 0)[..., 0].astype(np.uint8) * 255)
    shared = pose.parent / "shared"
    shared.mkdir()
    write_calibration(shared / "cameras.calib", small_rig(("Cam00", "Cam01")), "humanolat")
    (shared / "LSX3_light_z_spiral.txt").write_text("\n".join(map(str, range(331, 0, -1))) + "\n")
    maps = root / "maps"
    maps.mkdir()
    for name in ("pisa", "bedroom"):
        cv2.imwrite(str(maps / f"{name}.hdr"), np.random.default_rng(1).random((64, 128, 3), np.float32) * 3)
    return pose


def test_a_pose_of_humanolat_goes_the_whole_way_to_masked_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pose = humanolat_pose(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert run(["import", str(pose), "c003", "--hdris", "maps"]) == 0
    said = capsys.readouterr().out
    assert "2 cameras, 38 frames (3 flat, 33 pattern, 2 hdri)" in said
    commands = [line.split()[1:] for line in said.splitlines() if line.startswith("litdome ")]
    for command in commands[:2]:
        assert run(command) == 0, command
    assert run(["flow", "c003.zarr"]) == 0
    assert run(commands[2]) == 0
    session = open_session("c003.zarr")
    assert session.attrs["subject"] == "C003"
    assert session.hdri_names == ("bedroom", "pisa")
    assert [tuple(map(int, row)) for row in zip(session.pairs.flat_frame, session.pairs.relit_frame, strict=True)] == [
        (0, 3),
        (0, 4),
    ]
    assert list(session.pairs.next_flat_frame) == [14, 14]
    np.testing.assert_allclose(
        session.rig["Cam01"].intrinsics, small_rig(("Cam00", "Cam01"))["Cam01"].intrinsics, atol=1e-6
    )
    for kind in ("flat", "relit"):
        mask = session.read_at(f"cameras/Cam01/{kind}/mask_raw", 1)
        assert (mask[6:30, 20:36] == 255).all() and mask.sum() == 255 * 24 * 16
    assert abs(int(session.read_rgb("Cam00", "relit", 1)[20, 28, 1]) - 64) <= 1


def test_lights_follow_the_published_schedule() -> None:
    rows = light_rows(364, {}, 3, list(range(1, 332)))
    assert [n for n, row in enumerate(rows) if row.kind == "flat"] == [0, *[14, *range(34, 350, 21)], 362, 363]
    assert [row.which for row in rows[15:17]] == ["1", "2"]
    assert rows[361].which == "331"


def goliath_capture(root: Path, *, extra: str = "") -> Path:
    capture = root / "m--20230306--0707--AXE977--pilot--ProjectGoliath--Head"
    for part in ("image", "segmentation_fgbg", "per_view_background", "lights"):
        (capture / part).mkdir(parents=True)
    write_calibration(capture / "camera_calibration.json", small_rig(("400870", "401031")), "goliath")
    numbers = (100, 103, 106, 109)
    for id in ("400870", "401031"):
        with zipfile.ZipFile(capture / "image" / f"cam{id}.zip", "w") as archive:
            for number in numbers:
                _, code = cv2.imencode(".avif", picture(number), [cv2.IMWRITE_AVIF_QUALITY, 100])
                archive.writestr(f"cam{id}/{number:06d}.avif", code.tobytes())
            if extra:
                archive.writestr(extra, b"escaped")
        with zipfile.ZipFile(capture / "segmentation_fgbg" / f"cam{id}.zip", "w") as archive:
            mask = (picture(1) > 0)[..., 0].astype(np.uint8)
            archive.writestr(f"cam{id}/000100.png", cv2.imencode(".png", mask)[1].tobytes())
    with zipfile.ZipFile(capture / "per_view_background" / "per_view_background.zip", "w") as archive:
        archive.writestr("400870.png", cv2.imencode(".png", picture(9))[1].tobytes())
    listed = [[number, index] for number, index in zip(range(100, 112), [0, 1, 2] * 4, strict=True)]
    (capture / "lights" / "light_pattern_per_frame.json").write_text(json.dumps(listed))
    lit = [[[n, 331] for n in range(20)], [[3, 331]], [[4, 331]]]
    patterns = [{"name": str(n), "light_index_durations": one} for n, one in enumerate(lit)]
    (capture / "lights" / "light_pattern_metadata.json").write_text(json.dumps({"light_patterns": patterns}))
    return capture


def test_a_goliath_capture_is_numbered_from_its_first_frame(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = tmp_path / "head"
    assert run(["import", str(goliath_capture(tmp_path)), str(recording), "--cameras", "400870"]) == 0
    assert "1 cameras, 4 frames (4 flat)" in capsys.readouterr().out
    assert (recording / "frames.csv").read_text().splitlines()[1:] == ["0,100", "1,103", "2,106", "3,109"]
    assert (recording / "background" / "400870.png").is_file()
    assert [path.name for path in (recording / "masks" / "400870").iterdir()] == ["000000.png"]
    url = str(tmp_path / "head.zarr")
    assert run(["ingest", str(recording), url]) == 0
    assert run(["calibrate", url, "--import", str(recording / "calibration" / "camera_calibration.json")]) == 0
    session = open_session(url)
    assert session.count("flat") == 4 and session.attrs["subject"] == "AXE977"
    assert session.attrs["consent"]["uses"] == ["research", "train"]


def test_names_inside_a_zip_lead_nowhere(tmp_path: Path) -> None:
    capture = goliath_capture(tmp_path, extra="../../../000107.avif")
    assert run(["import", str(capture), str(tmp_path / "take" / "head")]) == 0
    inside = sorted(path.name for path in (tmp_path / "take" / "head" / "cameras" / "400870").iterdir())
    assert inside == [f"{n:06d}.avif" for n in range(5)]
    assert not list(tmp_path.glob("*.avif")) and not list((tmp_path / "take").glob("*.avif"))


def test_what_is_neither_is_refused_and_nothing_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "holiday").mkdir()
    assert run(["import", str(tmp_path / "holiday"), str(tmp_path / "out")]) == 4
    capture = goliath_capture(tmp_path)
    (capture / "image" / "cam400870.zip").write_bytes(b"PK\x03\x04 not a zip")
    assert run(["import", str(capture), str(tmp_path / "out")]) == 4
    assert "cam400870.zip" in capsys.readouterr().err
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))
    pose = humanolat_pose(tmp_path)
    for name in "abcdefghijkl":
        cv2.imwrite(str(tmp_path / "maps" / f"{name}.hdr"), np.ones((64, 128, 3), np.float32))
    assert run(["import", str(pose), str(tmp_path / "out"), "--hdris", str(tmp_path / "maps")]) == 4
    assert "14 maps from frame 3 on" in capsys.readouterr().err


def test_a_disk_that_refuses_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert run(["import", str(goliath_capture(tmp_path)), str(tmp_path / "file" / "out")]) == 5
    assert "file/out: " in capsys.readouterr().err


@pytest.mark.parametrize("part", ["image/cam400870", "segmentation_fgbg/cam401031", "per_view_background/*"])
def test_a_damaged_zip_is_named(part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capture = goliath_capture(tmp_path)
    (archive,) = capture.glob(f"{part}.zip")
    with zipfile.ZipFile(archive) as opened:
        held = {name: opened.read(name) for name in opened.namelist()}
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in held.items():
            packed.writestr(name, content)
    said = bytearray(archive.read_bytes())
    start = 30 + len(next(iter(held)))  # what follows the first name
    said[start : start + 8] = b"\xff" * 8
    archive.write_bytes(said)
    assert run(["import", str(capture), str(tmp_path / "out")]) == 4
    assert f"{archive.name}: cannot be read" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_maps_that_no_frame_can_have_shown_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pose, out, maps = humanolat_pose(tmp_path), str(tmp_path / "out"), tmp_path / "maps"
    asked = ["import", str(pose), out, "--hdris", str(maps), "--first-hdri"]
    assert run([*asked, "0"]) == 4  # where white is
    assert "frame 0 is white" in capsys.readouterr().err
    for path in pose.glob("images_processed/*/*"):
        if int(path.stem.rpartition(".")[2]) >= 4:
            path.unlink()
    assert run([*asked, "3"]) == 4  # a part of the archive
    assert "2 maps from frame 3 on, of 4" in capsys.readouterr().err
    (maps / "pisa.exr").write_bytes(b"")
    assert run([*asked, "2"]) == 4
    assert "pisa.exr and pisa.hdr: which?" in capsys.readouterr().err and not Path(out).exists()


def test_an_option_of_the_other_kind_of_capture_is_no_silent_wish(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pose, goliath, out = humanolat_pose(tmp_path), goliath_capture(tmp_path), str(tmp_path / "out")
    for capture, option, value, words in (
        (pose, "--cameras", "Cam00", "for captures of Goliath"),
        (goliath, "--hdris", str(tmp_path / "maps"), "for captures of HumanOLAT"),
        (goliath, "--first-hdri", "3", "for captures of HumanOLAT"),
        (pose, "--first-hdri", "-4", "-4 is not in the range"),
    ):
        assert run(["import", str(capture), out, option, value]) == 2
        assert words in capsys.readouterr().err and not Path(out).exists()


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_avif_of_every_depth_fills_its_codes(tmp_path: Path, bits: int) -> None:
    ramp = np.linspace(0, 2**bits - 1, 64 * 48).reshape(48, 64).astype(np.uint8 if bits == 8 else np.uint16)
    options = [cv2.IMWRITE_AVIF_QUALITY, 100, cv2.IMWRITE_AVIF_DEPTH, bits]
    assert cv2.imwrite(str(tmp_path / "000000.avif"), np.repeat(ramp[..., None], 3, axis=-1), options)
    read = read_picture(tmp_path / "000000.avif")
    assert read.dtype == ramp.dtype
    full = 255 if bits == 8 else 65535
    assert read.max() == full
    np.testing.assert_allclose(read[..., 1] / full, ramp / (2**bits - 1), atol=1 / 2**bits)

"""litdome rig: sessions as other programs' files, one program's file as another's, what a file holds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from calibrated_rig import ring, write_rig

from litdome.calib.exchange import read_calibration, write_calibration
from litdome.cli import run
from litdome.geometry import Rig


def test_a_sessions_rig_is_written_for_another_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cameras = ring(3)
    write_rig(tmp_path / "rig.zarr", cameras)
    target = tmp_path / "cameras.xml"
    assert run(["rig", "export", str(tmp_path / "rig.zarr"), str(target)]) == 0
    assert capsys.readouterr().out.splitlines() == [str(target)]
    again = read_calibration(target)
    assert again.ids == ("c00", "c01", "c02")
    for ours, theirs in zip(cameras, again.cameras, strict=True):
        np.testing.assert_allclose(theirs.world_from_camera, ours.world_from_camera, atol=1e-9)
    before = target.read_bytes()
    assert run(["rig", "export", str(tmp_path / "rig.zarr"), str(target)]) == 2
    assert "exists already" in capsys.readouterr().err and target.read_bytes() == before


def test_one_programs_file_becomes_anothers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_calibration(tmp_path / "Calib.qca.txt", Rig(tuple(ring(2))), "qualisys")
    out = tmp_path / "model"
    assert run(["rig", "export", str(tmp_path / "Calib.qca.txt"), str(out), "--format", "colmap-binary"]) == 0
    assert sorted(file.name for file in out.iterdir()) == ["cameras.bin", "images.bin", "points3D.bin"]
    assert run(["rig", "export", str(out), str(tmp_path / "camera_array.toml")]) == 0
    assert capsys.readouterr().err.splitlines() == ["c00 is called cam_0 there", "c01 is called cam_1 there"]


def test_what_a_file_holds_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_calibration(tmp_path / "transforms.json", Rig(tuple(ring(2))), "nerfstudio")
    assert run(["rig", "show", str(tmp_path / "transforms.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:6] == ["camera", "width", "height", "lens", "fx", "fy"]
    assert " ".join(lines[1].split()) == "c00 1280 720 pinhole5 1200.0 1200.0 639.5 359.5 0.0 1.0 3.0"
    assert run(["rig", "show", str(tmp_path / "transforms.json"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["cameras"][1]
    assert (shown["id"], shown["width"], shown["model"]) == ("c01", 1280, "pinhole5")
    np.testing.assert_allclose(shown["world_from_camera"], ring(2)[1].world_from_camera, atol=1e-12)


def test_wrong_usage_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_calibration(tmp_path / "rig.json", Rig(tuple(ring(2))), "nerfstudio")
    source = str(tmp_path / "rig.json")
    for arguments, code, says in (
        (["export", source, str(tmp_path / "out")], 2, "its name does not say a format"),
        (["export", source, str(tmp_path / "out"), "--format", "maya"], 2, "--format maya: not one of qualisys"),
        (["export", source, str(tmp_path / "rig.csv")], 6, "ActorsHQ holds no lens distortion"),
        (["export", str(tmp_path / "no.zarr"), str(tmp_path / "rig.csv")], 5, "no.zarr"),
        (["show", str(tmp_path)], 6, "a folder without intri.yml"),
    ):
        assert run(["rig", *arguments]) == code
        error = capsys.readouterr().err
        assert says in error and len(error.splitlines()) == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["rig.json"]

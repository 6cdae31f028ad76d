"""Bad input: one line that says what, where and what to type, the contract's exit code, nothing left behind."""

from __future__ import annotations

import json
import shlex
import signal
from dataclasses import replace
from pathlib import Path

import click
import cv2
import numpy as np
import pytest
import zarr

from litdome import open_session
from litdome.cli import cli, run
from litdome.cli.console import interruptible
from litdome.media.hdr import write_hdr
from litdome.report.status import session_status


def write_recording(folder: Path, *, lights: str = "", lengths: tuple[int, ...] = (6, 6)) -> Path:
    """Two cameras of PNG pictures, flat and hdri in turn, one HDRI called sky."""
    rng = np.random.default_rng(0)
    for camera, length in enumerate(lengths):
        pictures = folder / "cameras" / f"c{camera:02d}"
        pictures.mkdir(parents=True)
        for frame in range(length):
            level = 160 if frame % 2 == 0 else 90
            picture = np.clip(rng.normal(level, 8, (48, 32, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(pictures / f"{frame:06d}.png"), picture)
    (folder / "hdris").mkdir()
    write_hdr(folder / "hdris" / "sky.exr", np.ones((32, 64, 3), np.float32))
    rows = lights or "frame,kind,hdri\n" + "".join(f"{i},{'hdri,sky' if i % 2 else 'flat,'}\n" for i in range(6))
    (folder / "lights.csv").write_text(rows)
    (folder / "recording.toml").write_text('name = "tiny"\nfps = 25.0\n')
    return folder


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write_recording(tmp_path / "take")


def fails(capsys: pytest.CaptureFixture[str], code: int, *arguments: object) -> str:
    """Run a command that must fail with ``code`` and one line on stderr; gives the line."""
    capsys.readouterr()
    assert run(["-q", *map(str, arguments)]) == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_a_missing_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.zarr"
    line = fails(capsys, 4, "ingest", tmp_path / "nothing", out)
    assert "nothing: no such recording folder" in line and "try: litdome ingest" in line
    assert not out.exists()


def test_an_empty_video(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (recording / "cameras" / "c02.mp4").write_bytes(b"")
    out = recording.parent / "out.zarr"
    line = fails(capsys, 4, "ingest", recording, out)
    assert "c02" in line and "--skip-camera c02" in line and not out.exists()
    assert run(["-q", "ingest", str(recording), str(out), "--skip-camera", "c02"]) == 0


def test_an_unknown_hdri_in_lights_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    take = write_recording(tmp_path / "take", lights="frame,kind,hdri\n0,flat,\n1,hdri,skie\n2,flat,\n")
    out = tmp_path / "out.zarr"
    line = fails(capsys, 4, "ingest", take, out)
    assert "skie" in line and "lights.csv" in line and "sky" in line and not out.exists()


def test_a_shorter_camera_is_kept_with_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    take = write_recording(tmp_path / "take", lengths=(6, 4))
    out = tmp_path / "out.zarr"
    assert run(["-q", "ingest", str(take), str(out)]) == 0
    assert "c01" in capsys.readouterr().err
    assert run(["-q", "status", str(out), "--json"]) == 0
    cameras = json.loads(capsys.readouterr().out)["cameras"]
    assert cameras == [{"id": "c00", "absent": []}, {"id": "c01", "absent": [4, 5]}]


def test_a_typo_in_the_settings(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = recording.parent / "out.zarr"
    line = fails(capsys, 3, "ingest", recording, out, "--set", "deflicker.wide_permile=5")
    assert "deflicker.wide_permile: unknown key" in line and "did you mean wide_permille?" in line
    assert not out.exists()


def test_a_mistake_in_a_settings_file_names_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[ingest]\nscael = 0.5\n")
    assert run(["ingest", str(tmp_path), str(tmp_path / "out.zarr"), "-c", str(file)]) == 3
    assert f"{file}: ingest.scael: unknown key; try: did you mean scale?" in capsys.readouterr().err


def test_a_store_that_is_not_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zarr.create_group(tmp_path / "other.zarr")
    assert "not a litdome-session" in fails(capsys, 5, "status", tmp_path / "other.zarr")
    assert "no session here" in fails(capsys, 5, "flow", tmp_path / "none.zarr")
    assert "no dataset here" in fails(capsys, 5, "train", "relighter", tmp_path / "other")
    assert "not a run" in fails(capsys, 5, "evaluate", tmp_path)


def test_an_output_that_exists(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = recording.parent / "out.zarr"
    out.mkdir()
    (out / "mine.txt").write_text("keep me")
    line = fails(capsys, 2, "ingest", recording, out)
    assert "out.zarr: exists already, and is no session" in line and (out / "mine.txt").read_text() == "keep me"


def test_the_same_ingest_twice_is_fine_and_another_one_is_refused(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = recording.parent / "out.zarr"
    assert run(["-q", "ingest", str(recording), str(out)]) == 0
    assert run(["-q", "ingest", str(recording), str(out)]) == 0
    line = fails(capsys, 2, "ingest", recording, out, "--scale", "0.5")
    assert "exists already" in line


def test_a_stage_before_its_needs_names_the_command(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = recording.parent / "out.zarr"
    run(["-q", "ingest", str(recording), str(out)])
    assert f"try: litdome flow {out}" in fails(capsys, 2, "segment", out)
    assert "not calibrated" in fails(capsys, 6, "dataset", "build", out, "-o", recording.parent / "data")
    assert not (recording.parent / "data").exists()


def test_status_says_what_to_type_next_and_check_exits_1(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = recording.parent / "out.zarr"
    run(["-q", "ingest", str(recording), str(out)])
    capsys.readouterr()
    assert run(["-q", "status", str(out), "--check", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == 1
    stages = {stage["name"]: stage for stage in found["stages"]}
    assert stages["ingest"]["state"] == "done" and stages["flow"]["state"] == "missing"
    assert stages["flow"]["next_command"] == f"litdome flow {out}"


def test_pairs_as_json(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = recording.parent / "out.zarr"
    run(["-q", "ingest", str(recording), str(out)])
    capsys.readouterr()
    assert run(["-q", "pairs", str(out), "--json"]) == 0
    pairs = json.loads(capsys.readouterr().out)["pairs"]
    assert [(p["flat_frame"], p["relit_frame"], p["next_flat_frame"]) for p in pairs] == [
        (0, 1, 2),
        (2, 3, 4),
        (4, 5, -1),
    ]
    assert pairs[0]["hdri"] == "sky" and pairs[0]["gap_ms"] == pytest.approx(40.0)
    assert pairs[0]["cameras"]["c00"]["keep"] is True


def test_an_error_with_json_is_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["-q", "status", str(tmp_path / "none.zarr"), "--json"]) == 5
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "store" and "no session here" in error["message"] and error["hint"]


@pytest.mark.parametrize("arguments", [["nothing"], ["ingest"], ["pairs", "a", "--wrong"]])
def test_wrong_usage_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    fails(capsys, 2, *arguments)


def test_a_dry_run_writes_nothing(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = recording.parent / "out.zarr"
    assert run(["-q", "run", str(recording), str(out), "--dry-run"]) == 0
    assert "flow        to do" in capsys.readouterr().out and not out.exists()


def test_ctrl_c_says_the_command_as_it_was_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    @click.argument("words", nargs=-1)
    @click.option("--scale")
    def work(words: tuple[str, ...], scale: str) -> None:
        with interruptible() as should_stop:
            signal.raise_signal(signal.SIGINT)
            assert should_stop()

    monkeypatch.setitem(cli.commands, "work", work)
    assert run(["-q", "work", "take 2", "take 2.zarr", "--scale", "0.5"]) == 130
    assert "try: litdome -q work 'take 2' 'take 2.zarr' --scale 0.5" in capsys.readouterr().err


def test_what_to_type_next_can_be_typed_where_names_have_spaces(tmp_path: Path) -> None:
    recording = write_recording(tmp_path / "take 2")
    out = str(tmp_path / "take 2.zarr")
    assert run(["-q", "ingest", str(recording), out]) == 0
    command = session_status(open_session(out)).next_command
    assert command is not None and shlex.split(command) == ["litdome", "calibrate", out]


def test_what_status_says_to_type_goes_on_with_the_settings_of_the_ingest(tmp_path: Path) -> None:
    recording, out = write_recording(tmp_path / "take 2"), str(tmp_path / "out.zarr")
    wanted = ["--skip-camera", "c01", "--crop", "0,0,16,16", "--set", "ingest.compression=lz4-1"]
    assert run(["-q", "ingest", str(recording), out, *wanted]) == 0
    session = open_session(out, writable=True)
    record = session.record("ingest")
    assert record is not None
    session.write_record(replace(record, finished=""))
    command = session_status(open_session(out)).next_command
    assert command is not None
    assert run(["-q", "ingest", str(recording), out]) == 2  # without them it would be another ingest
    assert run(["-q", *shlex.split(command)[1:]]) == 0
    assert open_session(out).record("ingest").finished

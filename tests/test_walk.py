"""A small simulated take, walked from the recording to a relit clip: each room on what the room before it made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import litdome
from litdome.calib.exchange import write_transforms
from litdome.cli import run
from litdome.datasets.build import build_dataset, existing_summary
from litdome.datasets.check import check_dataset
from litdome.datasets.spec import DatasetSpec
from litdome.datasets.views import DatasetView, open_dataset
from litdome.errors import StoreError, UsageError
from litdome.media.images import iter_source
from litdome.store.decisions import Decision, add_decision
from litdome.synth import make_recording

SPEC = DatasetSpec.model_validate({"size": {"height": 48, "width": 96}, "splits": {"motion_from": None}})  # 12 pairs


@pytest.fixture(scope="module")
def take(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with take/ (3 cameras, 12 pairs) and take.zarr, run up to align with the true rig imported."""
    folder = tmp_path_factory.mktemp("walk")
    truth = make_recording(
        folder / "take", cameras=3, pairs=12, width=72, height=128, hdris=4, lights=32, boards=False, workers=1
    )
    write_transforms(folder / "transforms.json", truth.rig)
    arguments = ["-q", "run", str(folder / "take"), str(folder / "take.zarr"), "--workers", "1"]
    small_views = ["--set", "hdri.height=44", "--set", "hdri.width=80"]
    assert run([*arguments, *small_views, "--import-calibration", str(folder / "transforms.json")]) == 0
    return folder


@pytest.fixture(scope="module")
def data(take: Path) -> DatasetView:
    session = litdome.open_session(str(take / "take.zarr"))
    summary = build_dataset([session], take / "data", SPEC, workers=1)
    assert summary is not None and summary.samples == sum(summary.splits.values())
    return open_dataset(take / "data")


def test_an_imported_rig_is_the_true_one(take: Path) -> None:
    truth = json.loads((take / "take" / "truth" / "rig.json").read_text())["cameras"]
    for camera, true in zip(litdome.open_session(str(take / "take.zarr")).rig.cameras, truth, strict=True):
        np.testing.assert_allclose(camera.world_from_camera, true["world_from_camera"], atol=1e-6)
        np.testing.assert_allclose(camera.intrinsics, true["intrinsics"], atol=1e-6)


def test_everything_is_done_and_running_again_changes_nothing(take: Path) -> None:
    url = str(take / "take.zarr")
    before = {p: p.stat().st_mtime_ns for p in Path(url).rglob("*") if p.is_file()}
    assert run(["-q", "run", str(take / "take"), url]) == 0
    assert run(["-q", "status", url, "--check"]) == 0
    assert {p: p.stat().st_mtime_ns for p in Path(url).rglob("*") if p.is_file()} == before


def test_a_read_picture_is_the_decoded_one(take: Path) -> None:
    session = litdome.open_session(str(take / "take.zarr"))
    frame = int(session.pairs.relit_frame[5])
    codes = list(iter_source(take / "take" / "cameras" / "c01.mp4"))[frame]
    np.testing.assert_array_equal(session.read_luma("c01", "relit", 5), codes.luma)
    picture = session.read_rgb("c01", "relit", 5)
    assert picture.shape == (128, 72, 3) and picture.dtype == np.uint8
    half = session.read_rgb("c01", "relit", 5, region=(0, 0, 36, 64), size=(18, 32), dtype="float32", linear=True)
    assert half.shape == (32, 18, 3) and half.dtype == np.float32 and half.min() >= 0 and half.max() <= 1


def test_masks_cover_the_true_person(take: Path) -> None:
    session = litdome.open_session(str(take / "take.zarr"))
    scores = []
    for camera in session.cameras:
        true = np.load(take / "take" / "truth" / "masks" / f"{camera}.npz")
        stack = true[true.files[0]]
        for pair in range(len(session.pairs)):
            for kind, frame in (("flat", session.pairs.flat_frame[pair]), ("relit", session.pairs.relit_frame[pair])):
                found = session.read_mask(camera, kind, pair) > 127
                person = stack[frame] > 127
                scores.append((found & person).sum() / max((found | person).sum(), 1))
    assert np.mean(scores) > 0.75  # IoU at 128 rows, where a pixel of outline is several per cent


def test_samples_have_the_documented_shapes_and_ranges(data: DatasetView) -> None:
    sample = data[0]
    shapes = {key: tuple(value.shape) for key, value in sample.items()}
    for key in ("flat", "relit", "flat_compensated", "env_ldr", "env_log", "env_direction"):
        assert shapes[key] == (1, 3, 48, 96)
    for key in ("mask", "mask_flat", "mask_wide", "weight"):
        assert shapes[key] == (1, 1, 48, 96)
    assert shapes["background"] == (3, 48, 96) and shapes["intrinsics"] == (1, 3, 3)
    assert shapes["world_from_camera"] == (1, 4, 4) and shapes["time_relit"] == (1,)
    for key, value in sample.items():
        low = -1.0 if key.startswith("env_") else 0.0
        if value.dtype.is_floating_point and value.dim() >= 3 and key not in ("intrinsics", "world_from_camera"):
            assert low <= float(value.min()) and float(value.max()) <= 1
    assert set(sample) == set(data.keys)
    outside = sample["weight"][0, 0] == 0
    assert float(sample["relit"][0][:, outside].abs().max()) == 0 and float(sample["mask"][0, 0][outside].max()) == 0


def test_baked_pixels_lie_where_the_baked_camera_projects_them(take: Path, data: DatasetView) -> None:
    session = litdome.open_session(str(take / "take.zarr"))
    for camera_index, camera in enumerate(session.rig.cameras):
        view = data.where(camera=camera_index)
        sample = view[0]
        pair = int(sample["pair"][0])
        mask = session.read_mask(camera.id, "relit", pair)
        rows, columns = np.nonzero(mask > 127)
        rays = camera.ray_directions(np.column_stack([columns, rows]).astype(float))
        seen = rays @ camera.world_from_camera[:3, :3]
        pixels = seen / seen[:, 2:] @ sample["intrinsics"][0].numpy().astype(float).T
        baked = sample["mask"][0, 0].numpy()
        centre = (np.array(np.nonzero(baked > 0.5))[::-1]).mean(axis=1)
        np.testing.assert_allclose(pixels[:, :2].mean(axis=0), centre, atol=0.5)  # px


def test_a_built_dataset_has_no_findings(data: DatasetView) -> None:
    assert check_dataset(data.path) == []


def test_the_same_spec_gives_the_same_arrays_and_another_is_refused(take: Path, data: DatasetView) -> None:
    session = litdome.open_session(str(take / "take.zarr"))
    again = build_dataset([session], take / "again", SPEC, workers=2)
    assert again is not None and again.fingerprint == data.fingerprint
    chunks = [p for p in data.path.rglob("*") if p.is_file() and p.name != "zarr.json"]
    assert len(chunks) > 30
    for path in chunks:
        assert path.read_bytes() == (take / "again" / path.relative_to(data.path)).read_bytes(), path
    with pytest.raises(UsageError, match="exists already"):
        build_dataset([session], data.path, DatasetSpec.model_validate({"size": {"height": 64, "width": 96}}))


def test_an_interrupted_build_leaves_no_dataset_and_goes_on(take: Path) -> None:
    session = litdome.open_session(str(take / "take.zarr"))
    out = take / "stopped"
    calls: list[int] = []
    assert (
        build_dataset([session], out, SPEC, workers=1, should_stop=lambda: len(calls) > 3 or calls.append(1) or False)
        is None
    )
    assert not out.exists()
    with pytest.raises(StoreError, match="no dataset here"):
        open_dataset(out)
    assert build_dataset([session], out, SPEC, workers=1) == existing_summary(out)


def test_a_dropped_pair_is_in_no_split(take: Path) -> None:
    url = str(take / "take.zarr")
    add_decision(url, Decision("drop", ("c00",), ((2, 4),), "test", "tester"))
    try:
        summary = build_dataset([litdome.open_session(url)], take / "dropped", SPEC, workers=1)
        assert summary is not None
        view = open_dataset(take / "dropped")
        assert not [i for i in range(len(view)) if _ids(view, i) in ((0, 2), (0, 3))]
        assert [i for i in range(len(view)) if _ids(view, i)[0] == 0]
    finally:
        for path in (take / "take.decisions").iterdir():
            path.unlink()


def test_train_relight_evaluate_and_report(take: Path, data: DatasetView, capsys: pytest.CaptureFixture[str]) -> None:
    out = take / "run"
    tiny = {"base": "random", "mode": "full", "steps": 2, "batch": 1}
    shape = {"network.heads": 1, "network.head_dim": 24, "network.blocks": 1, "network.adaln_dim": 8}
    settings = [part for key, value in {**tiny, **shape}.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    assert run(["-q", "train", "relighter", str(data.path), "--out", str(out), "--device", "cpu", *settings]) == 0
    hdri = next((take / "take" / "hdris").iterdir())
    relit = ["-q", "relight", str(out), "--hdri", str(hdri), "-o", str(take / "relit.mp4")]
    assert run([*relit, "--rotate", "0:90"]) == 0
    frames = list(iter_source(take / "relit.mp4"))
    held_out = next(name for name in data.splits if "camera" in name)
    camera = _ids(data.split(held_out), 0)[0]
    assert len(frames) == len(data.where(camera=camera)) == 12 and frames[0].size == (96, 48)
    assert run([*relit[:-1], str(take / "x.mp4"), "--clip", "c77"]) == 2 and not (take / "x.mp4").exists()
    assert run(relit) == 2  # the output exists
    capsys.readouterr()
    assert run(["-q", "evaluate", str(out), "--limit", "1", "--json"]) == 0
    table: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert set(table) == set(data.splits) - {"train"}
    for row in table.values():
        assert {"flat copied", "colour ratio", "autoencoder", "relighter"} <= set(row)
        assert row["autoencoder"]["psnr"] > 60 and row["relighter"]["lpips"] is None
    assert run(["-q", "report", str(out)]) == 0
    assert "evaluation" in Path(capsys.readouterr().out.strip()).read_text().lower()


def _ids(view: DatasetView, index: int) -> tuple[int, int]:
    sample = view.read(index, ["camera", "pair"])
    return int(sample["camera"][0]), int(sample["pair"][0])


def test_the_written_report_shows_the_take(take: Path) -> None:
    assert run(["-q", "report", str(take / "take.zarr"), "-o", str(take / "page.html")]) == 0
    page = (take / "page.html").read_text()
    assert "take" in page and page.count("data:image/jpeg") >= 6

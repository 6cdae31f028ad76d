"""Four real, unequal, portrait cameras, from the recording to a relit clip; skipped where the data is not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import litdome
from litdome.cli import run
from litdome.datasets.check import check_dataset
from litdome.datasets.views import open_dataset
from litdome.media.images import iter_source


def test_real_walk_from_recording_to_relit_clip(
    real_walk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session, dataset = tmp_path / "walk.zarr", tmp_path / "data"
    calibration = real_walk / "calibration" / "Calib.qca.txt"
    small = {"ingest.scale": 0.2, "hdri.height": 44, "hdri.width": 80}
    baked = {"dataset.size.height": 64, "dataset.size.width": 96}
    settings = [part for key, value in {**small, **baked}.items() for part in ("--set", f"{key}={value}")]
    command = ["-q", "run", str(real_walk), str(session), "--import-calibration", str(calibration), *settings]
    assert run([*command, "--dataset", str(dataset)]) == 0

    take = litdome.open_session(str(session))
    assert take.cameras == ("c01", "c02", "c03", "c04") and len(take.pairs) == 50
    assert take.size("c01") == (216, 384) and take.size("c03") == (218, 384)
    focal = take.rig["c01"].intrinsics[0, 0] / 216 * 1080
    assert focal == pytest.approx(107599.67 / 64 * 1080 / 1088, rel=2e-3)  # scaled from 1088 columns, as declared
    keep = take.read("quality/keep")
    assert keep.mean() > 0.5
    areas = [np.mean(take.read_mask(id, "relit", 12) > 127) for id in take.cameras]
    assert all(0.01 < area < 0.25 for area in areas)  # a person 2 to 4 m away

    assert check_dataset(dataset) == []
    assert len(open_dataset(dataset).split("train")) >= 20
    tiny = {"base": '"random"', "mode": '"full"', "steps": 2, "batch": 1, "network.blocks": 1, "network.heads": 1}
    settings = [part for key, value in tiny.items() for part in ("--set", f"{key}={value}")]
    assert run(["-q", "train", "relighter", str(dataset), "--out", str(tmp_path / "run"), *settings]) == 0
    hdri = real_walk / "hdris" / "venice_sunset_1k.exr"
    out = tmp_path / "relit.mp4"
    assert run(["-q", "relight", str(tmp_path / "run"), "--hdri", str(hdri), "-o", str(out), "--gain", "0.5"]) == 0
    frames = list(iter_source(out))
    assert len(frames) >= 10 and frames[0].size == (96, 64)
    capsys.readouterr()
    assert run(["-q", "pairs", str(session), "--json"]) == 0
    pairs = json.loads(capsys.readouterr().out)["pairs"]
    assert len(pairs) == 50 and pairs[0]["hdri"] == "venice_sunset_1k"

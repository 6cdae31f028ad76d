"""Datasets with corrected colours: what is baked, and that the choice is off unless asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from color_scene import HEIGHT, WIDTH, ColorScene, make_scene

from litdome.calib.color.stage import Color, ColorConfig
from litdome.color import srgb_from_linear
from litdome.datasets.build import build_dataset
from litdome.datasets.freeze import freeze_spec
from litdome.datasets.spec import DatasetSpec, Size, Splits
from litdome.datasets.views import open_dataset
from litdome.errors import CalibrationError
from litdome.pipeline import run_stage

SPEC = DatasetSpec(
    size=Size(height=HEIGHT, width=192, fit="full"), splits=Splits(lights=0, motion_from=None, cameras=0)
)
CORRECTED = SPEC.model_copy(update={"colors": "corrected"})


def take(path: Path) -> ColorScene:
    """One pair of chart pictures by each of two calibrated cameras without distortion, masks over all of them."""
    scene = make_scene(path, cameras=2)
    session = scene.session
    for name, values in (
        ("intrinsics", [camera.intrinsics for camera in scene.rig.cameras]),
        ("distortion", [np.zeros(8) for _ in scene.rig.cameras]),
        ("world_from_camera", [camera.world_from_camera for camera in scene.rig.cameras]),
    ):
        session.write_small(f"rig/{name}", np.stack(values), ("camera", "row", "column")[: np.ndim(values)])
    session.write_small("schedule/time_ns", np.array([0, 40_000_000]), ("frame",))
    session.write_small("frames/relit", np.array([1], np.int32), ("relit",))
    session.write_small("hdris/sky", np.ones((4, 8, 3), np.float32), ("v", "u", "channel"))
    for id in session.cameras:
        flat = session.read_frame(id, "flat", 0)
        session.create(f"cameras/{id}/relit/rgb", (1, *flat.shape), "u1", ("n", "y", "x", "channel"), shard=1)
        session.write(f"cameras/{id}/relit/rgb", 0, flat[None])
        session.write_small(f"cameras/{id}/background", flat, ("y", "x", "channel"))
        for kind in ("flat", "relit"):
            session.create(f"cameras/{id}/{kind}/mask_raw", (1, HEIGHT, WIDTH), "u1", ("n", "y", "x"), shard=1)
            session.write(f"cameras/{id}/{kind}/mask_raw", 0, np.full((1, HEIGHT, WIDTH), 255, np.uint8))
    return scene


def test_corrected_dataset_shows_what_a_perfect_camera_sees(tmp_path: Path) -> None:
    scene = take(tmp_path)
    run_stage(scene.session, Color(), ColorConfig(charts_dir=str(scene.folder)))
    build_dataset([scene.session], tmp_path / "plain", SPEC, workers=1)
    build_dataset([scene.session], tmp_path / "corrected", CORRECTED, workers=1)
    plain, corrected = (open_dataset(tmp_path / name)[1] for name in ("plain", "corrected"))
    truth = np.clip(srgb_from_linear(scene.charts["c01"]), 0, 1)
    lit = truth.min(axis=2) > 0.3  # the patches
    edge = (192 - WIDTH) // 2
    for key in ("flat", "relit"):
        seen, as_shot = (np.asarray(sample[key])[0, :, :, edge:-edge] for sample in (corrected, plain))
        assert np.median(np.abs(seen.transpose(1, 2, 0) - truth)[lit]) < 0.008  # two codes
        assert np.median(np.abs(as_shot.transpose(1, 2, 0) - truth)[lit]) > 0.02
    np.testing.assert_allclose(np.asarray(corrected["background"]), np.asarray(corrected["flat"])[0], atol=0.01)


def test_camera_without_colour_is_named_before_anything_is_baked(tmp_path: Path) -> None:
    scene = take(tmp_path)
    (scene.folder / "c01.png").unlink()
    run_stage(scene.session, Color(), ColorConfig(charts_dir=str(scene.folder)))
    with pytest.raises(CalibrationError, match="camera c01 has no colour calibration"):
        build_dataset([scene.session], tmp_path / "data", CORRECTED, workers=1)
    assert not (tmp_path / "data").exists() and not (tmp_path / "data.partial").exists()


def test_colours_found_later_change_only_datasets_that_use_them(tmp_path: Path) -> None:
    scene = take(tmp_path)
    before = freeze_spec([scene.session], SPEC).fingerprint
    run_stage(scene.session, Color(), ColorConfig(charts_dir=str(scene.folder)))
    assert freeze_spec([scene.session], SPEC).fingerprint == before
    corrected = freeze_spec([scene.session], CORRECTED).fingerprint
    run_stage(scene.session, Color(), ColorConfig(charts_dir=str(scene.folder), reference="c00"))
    assert freeze_spec([scene.session], SPEC).fingerprint == before
    assert freeze_spec([scene.session], CORRECTED).fingerprint != corrected

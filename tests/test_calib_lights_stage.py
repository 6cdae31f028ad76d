from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import zarr

from litdome.calib.leds.drive import drive_hdri, measure_light, probe_normals
from litdome.calib.leds.drive_files import drive_table, write_drives
from litdome.calib.leds.stage import Lights, LightsConfig
from litdome.datasets.build import build_dataset
from litdome.datasets.spec import DatasetSpec
from litdome.errors import CalibrationError, InputError, StoreError, UsageError
from litdome.geometry import look_at
from litdome.lighting import HdriEntry, latlong_directions
from litdome.lighting.led_set import LedSet, led_set, leds_as_json
from litdome.pipeline import run_stage, stage_status
from litdome.preprocess.hdri import Hdri, HdriConfig
from litdome.store.provenance import StageRecord
from litdome.store.session import Session
from litdome.synth.led_dome import ring_dome

ENTRIES = (HdriEntry("day"), HdriEntry("night", 90.0))


def maps() -> dict[str, np.ndarray]:
    up = latlong_directions(64, 128)[..., 1:2]
    day = (np.where(up > 0, [0.3, 0.5, 0.9], [0.2, 0.2, 0.1])).astype(np.float32)
    day[20, 40] = 9000
    night = np.full((64, 128, 3), 0.01, np.float32)
    night[30:32, 100:102] = 60
    return {"day": day, "night@90": night}


def finished(stage: str) -> StageRecord:
    return StageRecord(stage, 1, f"as-{stage}", {}, {}, started="2026-01-01", finished="2026-01-01")


@pytest.fixture
def session(tmp_path: Path) -> Session:
    session = Session.new(str(tmp_path / "take.zarr"), {"name": "take", "hdri_convention": "physical"})
    attrs = {"camera_ids": ["c00"], "roles": ["body"], "models": ["pinhole5"]}
    session.write_small("rig/size", np.array([[320, 240]], np.int32), ("camera", "axis"), attrs=attrs)
    session.write_small("rig/intrinsics", np.array([[[300.0, 0, 160], [0, 300, 120], [0, 0, 1]]]), ("camera", "3", "4"))
    session.write_small("rig/distortion", np.zeros((1, 8)), ("camera", "8"))
    session.write_small("rig/world_from_camera", look_at([0, 1, 3], [0, 1, 0])[None], ("camera", "4", "5"))
    kept = {"entries": [asdict(entry) for entry in ENTRIES]}
    session.write_small("schedule/hdri", np.full(2, -1, np.int32), ("frame",), attrs=kept)
    session.write_small("schedule/kind", np.ones(2, np.uint8), ("frame",))
    for name, hdr in maps().items():
        session.write_small(f"hdris/{name}", hdr, ("v", "u", "channel"))
    for stage in ("ingest", "calibrate"):
        session.write_record(finished(stage))
    return session


def stage_leds() -> LedSet:
    return led_set(ring_dome(200)).without([7])


@pytest.fixture
def leds_file(tmp_path: Path) -> str:
    path = tmp_path / "lights.json"
    path.write_text(json.dumps(leds_as_json(stage_leds())))
    return str(path)


def test_every_entry_gets_the_map_that_its_leds_make(session: Session, leds_file: str) -> None:
    record = run_stage(session, Lights(), LightsConfig(leds_file=leds_file))
    assert record.summary["entries"] == ["day", "night@90"] and record.summary["leds"] == 199
    assert list(session.array("hdris_effective/day").attrs) and session.root["hdris_effective"].attrs["names"] == [
        "day",
        "night@90",
    ]
    for index, hdr in enumerate(maps().values()):
        effective = session.read_hdri(index, effective=True)
        assert effective.shape == hdr.shape and effective.dtype == np.float32
        wanted, given = (measure_light(one, "physical").irradiance for one in (hdr, effective))
        off = np.abs(given - wanted) / wanted.max(axis=0)
        assert np.quantile(off, 0.95) < 0.03  # 200 LEDs, 14 degrees apart
        np.testing.assert_array_equal(session.read_hdri(index), hdr)
    intensity = session.read("lights/intensity")
    assert not intensity[:, 7].any() and not session.read("lights/valid")[7]
    driven = np.maximum(probe_normals() @ session.read("lights/directions").T, 0) @ intensity[0]
    errors = dict(zip(session.array("lights/errors").attrs["measures"], session.read("lights/errors")[0], strict=True))
    wanted = measure_light(maps()["day"], "physical").irradiance
    assert errors["worst"] >= 0.99 * np.median(np.abs(driven - wanted) / wanted.max(axis=0))
    assert record.summary["percent"]["worst"][0] == pytest.approx(100 * errors["worst"], abs=1e-3)


def test_a_drive_file_says_what_was_given_not_what_would_be_best(session: Session, tmp_path: Path) -> None:
    leds = stage_leds()
    solved = {name: drive_hdri(measure_light(hdr, "physical"), leds).intensity for name, hdr in maps().items()}
    table, _ = drive_table({**solved, "day": 0.5 * solved["day"]}, leds, gain="each")
    write_drives(tmp_path / "drive.json", table, leds)
    record = run_stage(session, Lights(), LightsConfig(drive_file=str(tmp_path / "drive.json")))
    assert record.summary["source"] == "as driven"
    worst = record.summary["percent"]["worst"]
    assert worst[0] > 40 > 10 > worst[1]  # half of the day's light is missing
    np.testing.assert_allclose(
        session.read("lights/intensity")[0], 0.5 * solved["day"], atol=1e-4 * solved["day"].max()
    )


def test_entries_without_a_drive_are_named_and_nothing_is_written(session: Session, tmp_path: Path) -> None:
    leds = stage_leds()
    table, _ = drive_table({"dai": np.ones((200, 3))}, leds)
    write_drives(tmp_path / "drive.json", table, leds)
    with pytest.raises(CalibrationError, match="no drive of day") as caught:
        run_stage(session, Lights(), LightsConfig(drive_file=str(tmp_path / "drive.json")))
    assert "dai" in str(caught.value.hint) and not session.has("lights/directions")


def test_leds_or_drives_must_be_given(session: Session, leds_file: str) -> None:
    for config in (LightsConfig(), LightsConfig(leds_file=leds_file, drive_file=leds_file)):
        with pytest.raises(UsageError, match="give the LEDs or"):
            run_stage(session, Lights(), config)


def test_a_black_hdri_is_refused_by_name(session: Session, leds_file: str) -> None:
    session.write_small("hdris/night@90", np.zeros((64, 128, 3), np.float32), ("v", "u", "channel"))
    with pytest.raises(InputError, match="night@90: all black"):
        run_stage(session, Lights(), LightsConfig(leds_file=leds_file))


def test_hdri_projects_what_was_asked_for(session: Session, leds_file: str) -> None:
    small = {"height": 32, "width": 64}
    run_stage(session, Hdri(), HdriConfig(**small))
    requested = session.read("hdri_views/c00/log")
    with pytest.raises(UsageError, match="needs lights, which has not been run") as caught:
        run_stage(session, Hdri(), HdriConfig(**small, project="effective"))
    assert "litdome lights effective" in str(caught.value.hint)
    run_stage(session, Lights(), LightsConfig(leds_file=leds_file))
    assert stage_status(session, Hdri()).state == "done"  # what was requested does not depend on the LEDs
    record = run_stage(session, Hdri(), HdriConfig(**small, project="effective"))
    assert "lights" in record.inputs
    assert np.abs(session.read("hdri_views/c00/log").astype(float) - requested).max() > 0.1
    run_stage(session, Lights(), LightsConfig(leds_file=leds_file, axes="y-up"))
    assert stage_status(session, Hdri()).state == "stale"


def test_a_dataset_is_baked_with_the_light_that_was_asked_for(leds_file: str, tmp_path: Path) -> None:
    url = str(tmp_path / "walk.zarr")
    shutil.copytree(Path(__file__).with_name("stores") / "walk-1.0" / "take.zarr", url)
    walk, size = Session.open(url, writable=True), {"height": 32, "width": 48}
    effective = DatasetSpec.model_validate({"size": size, "hdris": "effective"})
    with pytest.raises(StoreError, match="what the LEDs gave is not known"):
        build_dataset([walk], tmp_path / "early", effective)
    assert not list(tmp_path.glob("early*"))
    run_stage(walk, Lights(), LightsConfig(leds_file=leds_file))
    for name, spec in (("asked", DatasetSpec.model_validate({"size": size})), ("given", effective)):
        build_dataset([walk], tmp_path / name, spec)
    asked, given = (zarr.open_group(str(tmp_path / name), mode="r") for name in ("asked", "given"))
    names = [name for name, node in asked.members(max_depth=None) if isinstance(node, zarr.Array)]
    other = [name for name in names if not np.array_equal(asked[name][:], given[name][:])]
    assert other and all(name.startswith("hdri_views/walk/") for name in other)


def test_settings_of_earlier_versions_keep_their_fingerprints() -> None:
    assert "project" not in HdriConfig().recorded()
    assert HdriConfig(project="effective").recorded()["project"] == "effective"
    assert DatasetSpec().fingerprint != DatasetSpec(hdris="effective").fingerprint


def test_effective_light_that_is_not_there_is_refused(session: Session) -> None:
    with pytest.raises(StoreError, match="not known"):
        session.read_hdri(0, effective=True)

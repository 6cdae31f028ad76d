from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from litdome.geometry import look_at
from litdome.lighting import (
    HdriEntry,
    ToneMap,
    convert_hdri,
    environment_maps,
    project_hdri,
    tone_map_ldr,
    tone_map_log,
    view_directions,
)
from litdome.preprocess.hdri import Hdri, HdriConfig, prefilter_hdri
from litdome.store.session import Session

POSES = {"c00": look_at([0, 1, 3], [0, 1, 0]), "c01": look_at([3, 1, 0], [0, 1, 0])}


def one_light(u: float, v: float) -> np.ndarray:
    """A dim map with one bright texel block at (u, v)."""
    hdr = np.full((64, 128, 3), 0.05, np.float32)
    hdr[int(v * 64) - 1 : int(v * 64) + 2, int(u * 128) - 1 : int(u * 128) + 2] = 50.0
    return hdr


@pytest.fixture
def session(tmp_path: Path) -> Session:
    session = Session.new(str(tmp_path / "s.zarr"), {"name": "light", "hdri_convention": "physical"})
    attrs = {"camera_ids": list(POSES), "roles": ["body"] * 2, "models": ["pinhole5"] * 2}
    session.write_small("rig/size", np.array([[320, 240]] * 2, np.int32), ("camera", "axis"), attrs=attrs)
    k = np.array([[300.0, 0, 159.5], [0, 300.0, 119.5], [0, 0, 1]])
    session.write_small("rig/intrinsics", np.stack([k] * 2), ("camera", "3", "3"))
    session.write_small("rig/distortion", np.zeros((2, 8)), ("camera", "8"))
    session.write_small("rig/world_from_camera", np.stack(list(POSES.values())), ("camera", "4", "4"))
    entries = [HdriEntry(f"map{n:02d}") for n in range(18)]
    session.write_small("schedule/kind", np.ones(2, np.uint8), ("frame",))
    kept = {"entries": [asdict(entry) for entry in entries]}
    session.write_small("schedule/hdri", np.full(2, -1, np.int32), ("frame",), attrs=kept)
    for n, entry in enumerate(entries):
        session.write_small(f"hdris/{entry.entry}", one_light(0.1 + 0.04 * n, 0.4), ("v", "u", "channel"))
    return session


def run(session: Session, config: HdriConfig) -> None:
    stage = Hdri()
    for unit in stage.prepare(session, config):
        stage.run(session, config, unit)
    assert stage.finish(session, config) == {"entries": 18, "cameras": 2}


def test_views_are_the_projection_and_its_tone_maps(session: Session) -> None:
    run(session, HdriConfig(height=88, width=160))
    for camera, pose in POSES.items():
        for entry in (0, 17):  # first and second shard
            radiance = project_hdri(session.read_hdri(entry), pose, 88, 160)
            for kind, tone_map in (("ldr", tone_map_ldr), ("log", tone_map_log)):
                found = session.array(f"hdri_views/{camera}/{kind}")[entry]
                assert found.dtype == np.float16 and found.min() >= 0 and found.max() <= 1
                np.testing.assert_allclose(found, tone_map(radiance), atol=5e-4)  # half float near 1
    np.testing.assert_allclose(session.read("hdri_views/direction"), view_directions(88, 160), atol=5e-4)


def test_the_same_light_lies_elsewhere_for_another_camera(session: Session) -> None:
    run(session, HdriConfig(height=88, width=160))
    columns = []
    for camera in POSES:
        view = session.array(f"hdri_views/{camera}/ldr")[10].astype(np.float32)
        columns.append(int(np.unravel_index(view.sum(-1).argmax(), view.shape[:2])[1]))
    # the second camera stands a quarter turn to the right: a quarter of the map's 160 columns; the light is 4 wide
    assert min(abs((columns[0] - columns[1]) % 160 - shift) for shift in (40, 120)) <= 4


def test_prefiltering_keeps_the_mean_and_finds_a_sun_of_one_texel() -> None:
    hdr = np.zeros((512, 1024, 3), np.float32)
    hdr[200, 301] = 4000.0
    small = prefilter_hdri(hdr, 64, 128)
    assert small.shape == (64, 128, 3) and small.mean() == pytest.approx(hdr.mean(), rel=1e-4)
    pose = look_at([0, 1, 3], [0, 1, 0])
    assert project_hdri(small, pose, 64, 128).max() > 10
    assert project_hdri(hdr, pose, 64, 128).max() < 10  # negative control: bilinear lookups miss it
    assert prefilter_hdri(hdr, 352, 640) is hdr


def stored(session: Session, camera: str, entry: int) -> tuple[np.ndarray, np.ndarray]:
    ldr, log = (np.asarray(session.array(f"hdri_views/{camera}/{kind}")[entry]) for kind in ("ldr", "log"))
    return ldr, log


def test_there_is_one_view_for_each_camera_and_hdri_however_many_pairs(session: Session) -> None:
    session.write_small("pairs/hdri", np.zeros(1000, np.int32), ("pair",))
    run(session, HdriConfig(height=16, width=32))
    assert session.array("hdri_views/c00/ldr").shape == (len(session.hdri_names), 16, 32, 3)


def test_session_gain_multiplies_the_hdri_before_it_is_projected(session: Session) -> None:
    session.set_attrs("", light_gain=3.0)
    session.refresh()
    run(session, HdriConfig(height=16, width=32))
    for entry in (0, 17):
        hdr = session.read_hdri(entry)
        assert hdr.max() == 50  # stored as it was requested
        for found, wanted, plain in zip(
            stored(session, "c00", entry),
            environment_maps(3 * hdr, POSES["c00"], 16, 32),
            environment_maps(hdr, POSES["c00"], 16, 32),
            strict=True,
        ):
            np.testing.assert_array_equal(found, wanted.astype(np.float16))
            assert np.abs(found - plain).mean() > 0.05


def test_another_tone_map_changes_the_ldr_map_alone(session: Session) -> None:
    run(session, HdriConfig(height=16, width=32, tone_map="photographic", white=4.0, key=0.4))
    ldr, log = stored(session, "c01", 3)
    tone_map = ToneMap("photographic", 4.0, 0.4)
    wanted = environment_maps(session.read_hdri(3), POSES["c01"], 16, 32, tone_map=tone_map)
    usual = environment_maps(session.read_hdri(3), POSES["c01"], 16, 32)
    np.testing.assert_array_equal(ldr, wanted[0].astype(np.float16))
    np.testing.assert_array_equal(log, usual[1].astype(np.float16))
    assert np.abs(ldr - usual[0]).mean() > 0.05


def test_records_hold_only_the_settings_that_the_maps_depend_on() -> None:
    assert HdriConfig().recorded() == {"height": 352, "width": 640, "prefilter": False}
    assert HdriConfig(white=3.0, key=0.5).recorded() == HdriConfig().recorded()
    simple = HdriConfig(tone_map="simple", project="effective").recorded()
    assert simple["tone_map"] == "simple" and simple["project"] == "effective"


def test_the_session_s_convention_is_used(session: Session) -> None:
    run(session, HdriConfig(height=16, width=32))
    before = stored(session, "c00", 5)
    for n, name in enumerate(session.hdri_names):
        hdr = convert_hdri(session.read_hdri(n), "physical", "openexr")
        session.write_small(f"hdris/{name}", hdr, ("v", "u", "channel"))
    run(session, HdriConfig(height=16, width=32))
    assert np.abs(stored(session, "c00", 5)[0] - before[0]).max() > 0.3  # half a turn away
    session.set_attrs("", hdri_convention="openexr")
    session.refresh()
    run(session, HdriConfig(height=16, width=32))
    for found, wanted in zip(stored(session, "c00", 5), before, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-3)  # half floats

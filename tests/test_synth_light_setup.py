"""What is lit when: HDRIs and one LED at a time, dark frames, session gain; and that a session can be made of it."""

from __future__ import annotations

import csv
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from conftest import DATA, need

from litdome.capture.check import IngestConfig
from litdome.capture.ingest import Ingest
from litdome.capture.recording import read_recording, session_attrs
from litdome.capture.schedule import read_patterns
from litdome.cli import run
from litdome.compute import Threads
from litdome.errors import UsageError
from litdome.lighting import KIND_CODES, latlong_solid_angles
from litdome.lighting.led_set import read_leds
from litdome.media.hdr import read_hdr
from litdome.pipeline import run_stage
from litdome.store.session import Session
from litdome.synth import RecordingTruth, make_recording
from litdome.synth.ground_truth import read_truth
from litdome.synth.light_setup import DARK, FLAT, LightPlan, LightSetup, plan_light
from litdome.synth.lights import bearings
from litdome.synth.recording import plan_take

SMALL = {"cameras": 1, "width": 48, "height": 80, "boards": False, "seed": 2}
OLAT = LightSetup(leds=12, take="olat", dark_frames=2)


def plan(setup: LightSetup = LightSetup(), **change: object) -> LightPlan:  # noqa: B008  frozen
    values: dict[str, object] = {"pairs": None, "interleave": None, "hdris": 3, "hdri_gain": 0.5, "session_gain": 1.0}
    return plan_light(setup, **{**values, **change}, seed=1, rng=np.random.default_rng(1))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def olat(tmp_path_factory: pytest.TempPathFactory) -> RecordingTruth:
    return make_recording(tmp_path_factory.mktemp("olat") / "take", light=OLAT, **SMALL)  # type: ignore[arg-type]


def test_one_led_at_a_time_is_interleaved_as_on_the_real_stage() -> None:
    real = json.loads(need(DATA / "lights/light_pattern_per_frame.json").read_text())
    made = plan(LightSetup(leds=331, take="olat")).pattern
    assert len(made) == len(real) == 349
    np.testing.assert_array_equal(made == FLAT, np.array(real)[:, 1] == FLAT)
    assert sorted(made[made != FLAT]) == list(range(1, 332))


@pytest.mark.parametrize(("interleave", "pairs"), [(None, 6), (2, 5), (20, 43)])
def test_takes_begin_and_end_flat_with_so_many_relit_frames_between(interleave: int | None, pairs: int) -> None:
    made = plan(LightSetup(dark_frames=1), interleave=interleave, pairs=pairs)
    *lit, last = made.pattern
    assert last == DARK and lit[0] == lit[-1] == FLAT and made.schedule.kind[-1] == KIND_CODES["dark"]
    runs = "".join(".*"[int(number != FLAT)] for number in lit).strip(".").split(".")
    assert [len(run) for run in runs[:-1]] == [interleave or 1] * (len(runs) - 1)
    assert sum(map(len, runs)) == pairs
    assert set(made.schedule.hdri[made.pattern > FLAT]) == {0, 1, 2}
    assert not made.by_frame[-1].intensity.any() and made.by_frame[0] is made.lit[FLAT]


def test_leds_alone_can_take_turns_with_flat_frames() -> None:
    made = plan(LightSetup(leds=12, take="olat"), interleave=1).pattern
    assert len(made) == 25 and not made[::2].any() and made[1::2].all()


def test_session_gain_is_in_all_light_and_in_no_map() -> None:
    dim, bright = plan(), plan(LightSetup(gain=2.0))
    for one, other in zip(dim.lit, bright.lit, strict=True):
        np.testing.assert_allclose(2 * one.intensity, other.intensity)
    np.testing.assert_allclose(dim.env_effective(1), bright.env_effective(1), rtol=1e-6)
    sums = [(m * latlong_solid_angles(*m.shape[:2])[..., None]).sum() for m in (dim.maps[1], dim.env_effective(1))]
    assert sums[1] == pytest.approx(0.5 * sums[0], rel=1e-4)  # the entry's own gain


@pytest.mark.parametrize(
    ("setup", "change", "message"),
    [
        (LightSetup(leds=0), {}, "leds = 0"),
        (LightSetup(far_lights=0), {}, "lights = 0"),
        (LightSetup(leds=24, positions=Path("x.json")), {}, "both by leds and by positions"),
        (LightSetup(leds=24, far_lights=128), {}, "both by leds and by far_lights"),
        (LightSetup(take="flash"), {}, "'flash' is not one of hdri, olat"),  # type: ignore[arg-type]
        (LightSetup(gain=0.0), {}, "light_gain = 0"),
        (LightSetup(gain=float("inf")), {}, "light_gain = inf"),
        (LightSetup(dark_frames=-1), {}, "dark_frames = -1"),
        (LightSetup(leds=12, take="olat"), {"pairs": 13}, "12 LEDs"),
    ],
)
def test_lights_that_cannot_be_are_refused(setup: LightSetup, change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan(setup, **change)


def test_a_stage_has_331_leds_in_reach_unless_it_is_told_otherwise() -> None:
    assert len(plan().leds) == 331 and plan().lit[FLAT].positions is not None
    assert len(plan(LightSetup(far_lights=128)).leds) == 128


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--leds", "0"], "leds = 0, must be within 12..4096"),
        (["--far-lights", "0"], "far_lights = 0, must be within 12..4096"),
        (["--leds", "24", "--far-lights", "24"], "both by leds and by far_lights"),
        (["--light-positions", "x.json", "--far-lights", "24"], "both by positions and by far_lights"),
    ],
)
def test_the_command_takes_its_lights_from_one_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    assert run(["-q", "synth", str(tmp_path / "take"), *options]) == 2
    assert says in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_cameras_outside_the_dome_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "lights.json"
    light = plan(LightSetup(leds=24))
    near = (light.leds.positions_m * 400).tolist()
    file.write_text(json.dumps({"light_axes": "y-up", "light_positions": near}))
    with pytest.raises(UsageError, match=r"camera c00 3.*LEDs are 1\.44 m away"):
        plan_take(tmp_path / "take", cameras=1, pairs=1, width=48, height=80, light=LightSetup(positions=file))


def test_a_take_of_single_leds_is_ingested_from_either_description(olat: RecordingTruth, tmp_path: Path) -> None:
    with (olat.folder / "lights.csv").open(newline="") as stream:
        listed = [int(row["hdri"] or 0) for row in csv.DictReader(stream)]
    drive = np.load(olat.folder / "truth/drive.npz")
    np.testing.assert_array_equal(listed[:-2], drive["pattern"][:-2])
    by_frame, flat = read_patterns(olat.folder / "lights.json")
    assert flat == {FLAT} and list(by_frame.values())[:-2] == listed[:-2]
    leds = read_leds(olat.folder / "lights.json")
    np.testing.assert_allclose(leds.positions_m, drive["positions_m"], atol=1e-6)
    recording = read_recording(olat.folder)
    session = Session.new(str(tmp_path / "take.zarr"), session_attrs(recording))
    run_stage(session, Ingest(recording), IngestConfig(), inputs={"recording": "x"}, executor=Threads(1))
    np.testing.assert_array_equal(session.read("schedule/kind"), [1, *[3] * 12, 1, 0, 0])
    np.testing.assert_array_equal(session.read("schedule/pattern")[1:13], drive["pattern"][1:13])


def test_motion_is_told_of_pairs_only(olat: RecordingTruth) -> None:
    with np.load(olat.folder / "truth/motion/c00.npz") as told:
        assert len(told["to_relit"]) == len(told["to_next_flat"]) == 0
    film = plan_take(olat.folder, cameras=1, width=48, height=80, pairs=5, interleave=2, hdris=1, lights=16).film
    assert [film.moves_to(frame) for frame in (0, 3, 6, 8)] == [[1, 2, 3], [4, 5, 6], [7, 8], []]
    single = plan_take(olat.folder, cameras=1, width=48, height=80, light=OLAT).film
    assert not any(single.moves_to(frame) for frame in range(len(single.lights)))


def test_drives_of_single_leds_add_up_to_flat_light_by_their_durations(olat: RecordingTruth) -> None:
    drive = np.load(olat.folder / "truth/drive.npz")["drive"]
    patterns = json.loads((olat.folder / "lights.json").read_text())["light_patterns"]
    durations = np.zeros((len(patterns), 12))
    for number, pattern in enumerate(patterns):
        for light, duration in pattern["light_index_durations"]:
            durations[number, light] = duration
    np.testing.assert_array_equal(durations[1:13], np.eye(12))
    assert patterns[13]["name"] == "dark" and not durations[13].any()
    np.testing.assert_allclose(np.einsum("k,klc->lc", durations[0], drive[1:]), drive[0], rtol=1e-5)


def test_a_recording_says_its_session_gain_and_what_its_leds_made(tmp_path: Path) -> None:
    light = LightSetup(leds=24, gain=0.7)
    take = make_recording(tmp_path / "take", light=light, pairs=1, hdris=1, hdri_gain=0.5, **SMALL)  # type: ignore[arg-type]
    table = tomllib.loads((take.folder / "recording.toml").read_text())
    assert table["lights"]["light_gain"] == 0.7 and read_recording(take.folder).light_gain == 0.7
    name = take.schedule.entries[0].name
    truth = read_truth(take.folder)
    requested, made = truth.env_requested(name), truth.env_effective(name)
    np.testing.assert_array_equal(requested, read_hdr(take.folder / "hdris" / f"{name}.exr") * np.float32(0.5))
    solid_angle = latlong_solid_angles(*made.shape[:2])[..., None]
    np.testing.assert_allclose((made * solid_angle).sum((0, 1)), (requested * solid_angle).sum((0, 1)), rtol=1e-4)
    assert np.abs(made - requested).mean() > 0.05 * requested.mean()


def test_lights_at_infinity_light_all_points_alike_and_leds_do_not() -> None:
    points, up = np.array([(0, 0.92, 0), (0, 1.9, 0)], np.float32), np.array([(0, 1, 0)] * 2, np.float32)
    made = [plan(setup) for setup in (LightSetup(far_lights=48), LightSetup(leds=48))]
    for near, light in enumerate(plan.lit[FLAT] for plan in made):
        seen = bearings(light, points)
        irradiance = seen.gather(np.maximum(seen.cosines(up), 0))[:, 0]
        assert len(light.intensity) == 48 and (irradiance[0] == irradiance[1]) == (not near)
    toward = made[1].leds.positions_m - points[1]  # from a metre nearer to the top of the dome
    away = np.linalg.norm(toward, axis=1)
    radius_m = np.linalg.norm(made[1].leds.positions_m - points[0], axis=1)
    expected = np.maximum(toward[:, 1] / away, 0) * (radius_m / away) ** 2 @ made[1].lit[FLAT].intensity[:, 0]
    assert irradiance[1] == pytest.approx(expected, rel=1e-5) and irradiance[1] > 1.05 * irradiance[0]

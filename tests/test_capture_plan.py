"""A plan: every light as often, held-out ones apart, actions without a gap, and the same from the same seed."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from collections import Counter
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litdome.calib.leds.drive_files import read_drives
from litdome.capture.actions import action_of_frames, read_actions, read_repertoire
from litdome.capture.forecast import expected_shifts, shift_in_words, storage_needed, walking_speed
from litdome.capture.plan import PlanSettings, TakePlan, draw_order, draw_plan
from litdome.capture.plan_files import actions_csv, lights_csv, plan_files
from litdome.capture.schedule import read_lighting
from litdome.cli import run
from litdome.datasets.plan import pair_splits
from litdome.datasets.selection import light_groups
from litdome.datasets.spec import DatasetSpec, Splits
from litdome.datasets.splits import HeldOut, pair_factors, pair_reach, split_pairs
from litdome.errors import ConfigError, InputError, UsageError
from litdome.lighting import KIND_CODES, HdriEntry, content_groups, rotate_hdri
from litdome.media.hdr import write_hdr
from litdome.pairs import PairTable, make_pairs
from litdome.store.files import appearing_folder
from litdome.store.session import Session

REPERTOIRE = read_repertoire()
LIGHTS = {f"sky_{n:02d}": f"sky_{n:02d}" for n in range(20)}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def plan(groups: dict[str, str] | None = None, **changes: object) -> TakePlan:
    about = {"cameras": 4, "size": (640, 480), "minutes": 2.0, **changes}
    return draw_plan(PlanSettings(**about), REPERTOIRE, LIGHTS if groups is None else groups)


plans = st.builds(
    lambda lights, minutes, interleave, rotations, held_out, fps, seed: plan(
        {f"map{n}": f"map{n // 2 * 2}" for n in range(lights)},
        minutes=minutes,
        interleave=interleave,
        rotations=rotations,
        held_out=held_out,
        fps=fps,
        seed=seed,
    ),
    st.integers(3, 12),
    st.floats(0.3, 2.0),
    st.sampled_from([1, 3, 20]),
    st.integers(1, 5),
    st.sampled_from([0.0, 0.1, 0.5, 0.9]),
    st.sampled_from([12.5, 25.0, 29.97]),
    st.integers(0, 1000),
)


@settings(max_examples=40, deadline=None)
@given(plans)
def test_every_light_shines_as_often_and_at_each_rotation(found: TakePlan) -> None:
    entries, lit = found.schedule.entries, found.schedule.hdri[found.schedule.hdri >= 0]
    by_map = Counter(entries[n].name for n in lit)
    assert set(by_map) == set(found.groups) and max(by_map.values()) - min(by_map.values()) <= 1
    by_entry = Counter(lit.tolist())
    assert set(by_entry) == set(range(len(entries)))
    for name, times in by_map.items():
        turns = [by_entry[n] for n, entry in enumerate(entries) if entry.name == name]
        assert len(turns) == min(times, found.settings.rotations) and max(turns) - min(turns) <= 1
    assert [entry.entry for entry in entries] == sorted(entry.entry for entry in entries)


@settings(max_examples=40, deadline=None)
@given(plans)
def test_the_phase_never_breaks_and_the_take_is_as_long_as_asked(found: TakePlan) -> None:
    about = found.settings
    flats = np.flatnonzero(found.schedule.kind == KIND_CODES["flat"])
    assert flats[0] == 0 and flats[-1] == about.frames - 1
    assert (np.diff(flats) == about.interleave + 1).all()
    assert 0 <= about.frames - round(about.fps * 60 * about.minutes) <= about.interleave
    assert np.isfinite(make_pairs(found.schedule, np.arange(about.frames)).alpha).all()


@settings(max_examples=40, deadline=None)
@given(plans)
def test_what_is_held_out_is_whole_contents_by_the_rule_of_the_datasets(found: TakePlan) -> None:
    groups = found.groups
    contents, share = set(groups.values()), found.settings.held_out
    held = {groups[name] for name in found.held_out}
    expected = max(1, min(round(share * len(contents)), len(contents) - 1)) if share else 0
    assert len(held) == expected
    assert set(found.held_out) == {name for name in groups if groups[name] in held}


@settings(max_examples=40, deadline=None)
@given(plans)
def test_held_out_lights_are_spread_over_time_and_actions(found: TakePlan) -> None:
    names = [entry.name for entry in found.schedule.entries]
    relit = np.flatnonzero(found.schedule.kind == KIND_CODES["hdri"])
    tests = np.array([names[n] in found.held_out for n in found.schedule.hdri[relit]])
    for action in found.actions:
        inside = tests[(relit >= action.start_frame) & (relit < action.end_frame)]
        assert abs(inside.sum() - tests.mean() * len(inside)) <= 1
        assert np.abs(np.diff(inside.astype(int), prepend=0, append=0)).sum() <= 2  # one run
    reached = np.cumsum(tests)
    longest = max((relit >= a.start_frame).sum() - (relit >= a.end_frame).sum() for a in found.actions)
    assert np.abs(reached - tests.mean() * np.arange(1, len(tests) + 1)).max() <= longest  # never an action behind


@settings(max_examples=40, deadline=None)
@given(plans)
def test_actions_cover_the_take_and_no_two_neighbours_are_alike(found: TakePlan) -> None:
    actions = found.actions
    assert actions[0].start_frame == 0 and actions[-1].end_frame == found.settings.frames
    assert all(a.end_frame == b.start_frame and a.name != b.name for a, b in pairwise(actions))
    assert [action.number for action in actions] == list(range(1, len(actions) + 1))
    moving = [action for action in actions if action.name != "rest"]
    assert all(a.name != b.name and a.expression != b.expression for a, b in pairwise(moving))
    faces = Counter(action.expression for action in moving)
    counts = [faces[face.name] for face in REPERTOIRE.expressions]
    assert max(counts) - min(counts) <= 1 and sum(counts) == len(moving)


@given(st.integers(1, 9), st.integers(0, 60), st.integers(0, 99))
def test_an_order_is_balanced_and_repeats_nothing_at_once(count: int, length: int, seed: int) -> None:
    order = draw_order(count, length, np.random.default_rng(seed)).tolist()
    times = [order.count(n) for n in range(count)]
    assert len(order) == length and max(times) - min(times) <= 1
    assert count == 1 or all(a != b for a, b in pairwise(order))


def test_the_same_seed_gives_the_same_files_and_another_seed_others() -> None:
    files = [written(plan(seed=seed)) for seed in (7, 7, 8)]
    assert files[0] == files[1]
    assert all(files[0][name] != files[2][name] for name in files[0])


def written(found: TakePlan) -> dict[str, str]:
    shifts = expected_shifts(found, 100.0, 4.0)
    return plan_files(found, storage_needed(found, {}), shifts, 100.0)


def test_ingest_reads_what_the_plan_writes(tmp_path: Path) -> None:
    found = plan(interleave=3)
    (tmp_path / "lights.csv").write_text(lights_csv(found))
    (tmp_path / "actions.csv").write_text(actions_csv(found))
    schedule = read_lighting(tmp_path / "lights.csv", LIGHTS).schedule
    assert np.array_equal(schedule.kind, found.schedule.kind) and np.array_equal(schedule.hdri, found.schedule.hdri)
    assert schedule.entries == found.schedule.entries
    assert read_actions(tmp_path / "actions.csv") == found.actions
    numbers = action_of_frames(found.actions, found.settings.frames + 5)
    assert numbers[0] == 1 and (np.diff(numbers[:-5]) >= 0).all() and not numbers[-5:].any()


def reach_of(pairs: PairTable) -> tuple[np.ndarray, np.ndarray]:
    """Frames that each pair reads when masks look at three flat frames each way."""
    flats = np.union1d(pairs.flat_frame, pairs.next_flat_frame)
    return pair_reach(pairs.flat_frame, pairs.next_flat_frame, flats, 3)


def test_training_uses_the_held_out_lights_and_can_afford_all_of_them() -> None:
    found = plan(minutes=10.0)
    tables = tomllib.loads(written(found)["splits.toml"])
    assert DatasetSpec.model_validate(tables).splits.lights == found.held_out
    pairs = make_pairs(found.schedule, np.arange(found.settings.frames))
    names = [entry.name for entry in found.schedule.entries]
    held = HeldOut(frozenset(n for n, name in enumerate(names) if name in found.held_out), len(pairs))
    splits = np.array(split_pairs(pairs.hdri, *reach_of(pairs), held))
    wanted = np.array(pair_factors(pairs.hdri, held))
    assert (splits[wanted == "light"] == "light").all()
    assert (splits[wanted == "train"] == "train").mean() > 0.8


def scattered(found: TakePlan) -> np.ndarray:
    """The plan's lights in an order that knows nothing of held-out ones."""
    return np.random.default_rng(0).permutation(found.schedule.hdri[found.schedule.hdri >= 0])


def test_scattered_over_the_take_most_tests_would_be_lost() -> None:
    found = plan(minutes=10.0)
    pairs = make_pairs(found.schedule, np.arange(found.settings.frames))
    names = [entry.name for entry in found.schedule.entries]
    held = HeldOut(frozenset(n for n, name in enumerate(names) if name in found.held_out), len(pairs))
    splits = np.array(split_pairs(scattered(found), *reach_of(pairs), held))
    assert (splits == "light").sum() < 0.6 * np.isin(scattered(found), sorted(held.lights)).sum()


def test_misalignment_is_speed_times_the_time_from_flat_to_relit() -> None:
    for interleave, gaps in ((1, 1.0), (3, 2.0), (20, 10.5)):
        found = plan(interleave=interleave, minutes=10.0)
        shifts = {shift.action: shift for shift in expected_shifts(found, 50.0, 4.0)}
        assert shifts["walk on the spot"].mean_px == pytest.approx(50 * gaps / 25, abs=0.06)  # px, rounded to 0.1
        assert shifts["jog on the spot"].mean_px == pytest.approx(2 * 50 * gaps / 25, abs=0.06)
        assert shifts["rest"].px_per_s == pytest.approx(4 * 25 / gaps, abs=0.06)
    assert walking_speed(PlanSettings(size=(1080, 1920))) == pytest.approx(165, abs=1)  # px/s, as on the real walk
    words = [shift_in_words(px, 4.0) for px in (4.0, 8.0, 12.0)]
    assert words[0] == "fine" and "2.0 times slower" in words[1] and words[2].startswith("too fast")


def test_room_grows_with_everything_that_is_stored() -> None:
    found = plan(cameras=4, size=(640, 480))
    room = storage_needed(found, dict.fromkeys(LIGHTS, 1000))
    assert room.codes == 4 * 640 * 480 * found.settings.frames * 1.5
    assert room.ingested == pytest.approx(room.codes * 0.33 + 1000 * len(found.schedule.entries))
    assert storage_needed(plan(cameras=8), {}).aligned > room.aligned > room.ingested


def test_maps_that_differ_by_rotation_and_gain_are_one_content() -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.random((16, 32, 3)).astype(np.float32) for _ in range(2))
    maps = [("a", first), ("b", second), ("c", 3 * rotate_hdri(first, 77.0)), ("d", second[::-1])]
    assert content_groups(maps) == ["a", "b", "a", "d"]


REFUSED = [
    (["--size", "4k"], 2, "expected WIDTHxHEIGHT"),
    (["--size", "9999999x2"], 2, "16 to 65535"),
    (["--fps", "0"], 2, "0.01 to 10000"),
    (["--fps", "nan"], 2, "0.01 to 10000"),
    (["--fps", "0.01"], 2, "has no frame"),
    (["--minutes", "1e9"], 2, "is possible"),
    (["--interleave", "0"], 2, "1 to 1000"),
    (["--held-out", "1"], 2, "0 to 0.9"),
    (["--speed", "-3"], 2, "must be above 0"),
    (["--subject", "a/b"], 2, "no slash"),
    (["--leds", "leds.json"], 2, "--leds without --hdris"),
    (["--mix", "chart.csv"], 2, "--mix without --leds"),
    (["--axes", "y-up"], 2, "--axes without --leds"),
    (["--hdris", "nowhere"], 4, "no such folder"),
    (["--hdris", "."], 4, "no HDRIs"),
    (["--hdris", "one"], 2, "none can be held out"),
    (["--hdris", "one", "--held-out", "0", "--minutes", "0.05", "--fps", "0.4"], 2, "some would never be lit"),
    (["--hdris", "broken"], 4, "not a readable"),
    (["--actions", "nothing.csv"], 4, "cannot be read"),
    (["--actions", "columns.csv"], 4, "unknown column 'speed'"),
    (["--actions", "kinds.csv"], 4, "unknown kind 'acton'"),
    (["--actions", "numbers.csv"], 4, "seconds is 'long'"),
    (["--actions", "single.csv"], 4, "1 actions and 0 rests"),
    (["--actions", "moments.csv"], 4, "seconds is '0.001'"),
]


@pytest.mark.parametrize(("arguments", "code", "words"), REFUSED, ids=[" ".join(r[0]) for r in REFUSED])
def test_what_cannot_be_planned_is_one_line_and_no_folder(
    arguments: list[str],
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("one", "broken"):
        Path(folder).mkdir()
    write_hdr(Path("one/sky.exr"), np.ones((32, 64, 3), np.float32))
    Path("broken/sky.exr").write_bytes(b"nothing")
    head = "kind,name,seconds,pace,cue\n"
    Path("columns.csv").write_text("kind,name,speed\n")
    Path("kinds.csv").write_text(head + "acton,jump,4,,\n")
    Path("numbers.csv").write_text(head + "action,jump,long,,\n")
    Path("moments.csv").write_text(head + "action,jump,0.001,,\naction,run,0.001,,\n")
    Path("single.csv").write_text(head + "action,jump,4,,\n")
    before = sorted(tmp_path.rglob("*"))
    assert run(["plan", "out", *arguments]) == code
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and "litdome:" in error
    assert sorted(tmp_path.rglob("*")) == before


def test_a_plan_with_leds_drives_every_frame(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    for name in ("noon", "dusk"):
        (tmp_path / "hdris").mkdir(exist_ok=True)
        write_hdr(tmp_path / f"hdris/{name}.exr", rng.random((32, 64, 3)).astype(np.float32))
    (tmp_path / "leds.json").write_text(leds_json())
    options = ["--hdris", str(tmp_path / "hdris"), "--leds", str(tmp_path / "leds.json"), "--axes", "y-up"]
    assert run(["-q", "plan", str(tmp_path / "out"), *options, "--minutes", "0.2", "--rotations", "2"]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(tmp_path / "out") and "held out: " in said.err
    table = read_drives(tmp_path / "out/drive.json")
    schedule = read_lighting(tmp_path / "out/lights.csv", ["noon", "dusk"]).schedule
    assert table.names == ("flat", *(entry.entry for entry in schedule.entries))
    assert np.array_equal(table.order, schedule.hdri + 1) and table.fps == 25
    assert run(["plan", str(tmp_path / "out")]) == 2  # it is there


def leds_json(count: int = 48) -> str:
    """LEDs evenly over a sphere."""
    n = np.arange(count) + 0.5
    y = 1 - 2 * n / count
    around = np.pi * (1 + 5**0.5) * n
    flat = np.sqrt(1 - y**2)
    positions = 1500 * np.stack([flat * np.cos(around), y, flat * np.sin(around)], axis=1)
    return json.dumps({"light_positions": positions.tolist()})


ACTIONS_REFUSED = [
    ("start_frame,end_frame\n0,9\n", "no column 'action'"),
    ("start_frame,end_frame,action\n", "no actions in it"),
    ("start_frame,end_frame,action\n5,5,jump\n", "frames 5 to 5"),
    ("start_frame,end_frame,action\n0,9,jump\n8,12,run\n", "ends at 9"),
    ("number,start_frame,end_frame,action\n2,0,9,jump\n", "number 2, but it is row 1"),
    ("start_frame,end_frame,action\n0,9,\n", "action is ''"),
]


@pytest.mark.parametrize(("text", "words"), ACTIONS_REFUSED, ids=[words for _, words in ACTIONS_REFUSED])
def test_an_impossible_list_of_actions_is_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "actions.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        read_actions(tmp_path / "actions.csv")


def test_a_plan_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError), appearing_folder(tmp_path / "out") as partial:
        (partial / "actions.csv").write_text("half")
        raise UsageError("no")
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_holds_out_every_rotation_of_a_map_that_is_named_by_its_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sky, sun = (rng.random((16, 32, 3)).astype(np.float32) for _ in range(2))
    entries = (HdriEntry("sky", 45.0), HdriEntry("sky", 90.0), HdriEntry("sun", 45.0))
    kind = np.array([1, 2] * 30, np.uint8)
    hdri = np.where(kind == 2, np.arange(60) // 20, -1).astype(np.int32)
    session = Session.new(str(tmp_path / "take.zarr"), {"hdri_convention": "physical"})
    listed = {"entries": [asdict(entry) for entry in entries]}
    session.write_small("schedule/kind", kind, ("frame",))
    session.write_small("schedule/hdri", hdri, ("frame",), attrs=listed)
    session.write_small("schedule/present", np.ones((1, 60), bool), ("camera", "frame"))
    session.write_small("frames/flat", np.arange(0, 60, 2, dtype=np.int32), ("flat",))
    for name, values in vars(make_pairs(session.schedule, np.arange(60, dtype=np.int64))).items():
        session.write_small(f"pairs/{name}", values, ("pair",))
    for entry, hdr in zip(entries, (sky, rotate_hdri(sky, 45.0), sun), strict=True):
        session.write_small(f"hdris/{entry.entry}", hdr, ("v", "u", "channel"))
    for named in ("sky", "sky@90"):
        spec = DatasetSpec(splits=Splits(lights=(named,), motion_from=None))
        (found,) = pair_splits([session], spec, light_groups([session], ["take"]))
        assert found[True] == ["light"] * 20 + ["train"] * 10
    with pytest.raises(ConfigError, match="moon is not there"):
        pair_splits([session], DatasetSpec(splits=Splits(lights=("moon",))), light_groups([session], ["take"]))


def shown(page: Path, keys: str, budget_ms: int) -> str:
    """Text of the prompter's page after some keys and some time."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no chromium here (apt-get install chromium)")
    press = "dispatchEvent(new KeyboardEvent('keydown', {key: k === 'space' ? ' ' : k}))"
    script = f"<script>for (const k of {keys.split()!r}) {press};</script></body>"
    copy = page.with_name("pressed.html")
    copy.write_text(page.read_text().replace("</body>", script))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--virtual-time-budget={budget_ms}", "--dump-dom"]
    done = subprocess.run([browser, *flags, copy.as_uri()], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_the_prompter_shows_the_action_that_is_typed_and_counts_down(tmp_path: Path) -> None:
    found = plan()
    page = tmp_path / "prompter.html"
    page.write_text(written(found)["prompter.html"])
    assert "http" not in page.read_text()  # nothing is fetched
    third, fourth = found.actions[2], found.actions[3]
    waiting = shown(page, "", 500)
    assert found.actions[0].name in waiting and "PRESS SPACE TO START" in waiting
    running = shown(page, "3 Enter space", 2500)
    assert f'<h1 id="name">{third.name}</h1>' in running and f"Next: <b>{fourth.name}</b>" in running
    seconds = (third.end_frame - third.start_frame) / 25
    left = int(running.split('<div id="count">')[1].split("<")[0])
    assert seconds - 4 < left < seconds and "action 3 of" in running

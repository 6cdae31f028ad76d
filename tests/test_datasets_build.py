"""What a build selects, splits and bakes: over several sessions, with weights, crops, filters; what it refuses."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from baked_take import HEIGHT, SIDE, WIDTH, make_take, sky, square
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from litdome.cli import run
from litdome.datasets.build import build_dataset
from litdome.datasets.check import check_dataset
from litdome.datasets.freeze import freeze_spec, session_names
from litdome.datasets.leaks import leaks
from litdome.datasets.plan import plan_dataset
from litdome.datasets.samples import SampleTable
from litdome.datasets.selection import frames_read, light_groups, usable_pairs
from litdome.datasets.spec import DatasetSpec
from litdome.datasets.views import open_dataset
from litdome.errors import CalibrationError, ConfigError, ConsentError, UsageError
from litdome.geometry import Camera
from litdome.lighting import rotate_hdri, tone_map_log
from litdome.store.arrays import ArrayStore
from litdome.store.decisions import Decision, add_decision
from litdome.store.session import Session

FULL = {"size": {"height": HEIGHT - 8, "width": WIDTH + 8, "fit": "full"}}
NOTHING_HELD = {"lights": 0, "motion_from": None, "cameras": 0}


def spec_of(**tables: Any) -> DatasetSpec:
    return DatasetSpec.model_validate({**FULL, **tables})


def built(sessions: list[Session], out: Path, **tables: Any) -> ArrayStore:
    assert build_dataset(sessions, out, spec_of(**tables), workers=1) is not None
    return ArrayStore(str(out), zarr.open_group(out, mode="r"), writable=False)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Session]:
    """Two takes on one rig; a light of the second is a turned, dimmed and finer copy of one of the first."""
    folder = tmp_path_factory.mktemp("two")
    first = {"sky": sky(1), "sun": sky(2), "room": sky(3)}
    second = {"dusk": rotate_hdri(sky(2, 32), 90.0) * np.float32(0.3), "sky": sky(4), "hall": sky(5)}
    return [
        make_take(folder / "one.zarr", lights=first, seed=1),
        make_take(folder / "two.zarr", lights=second, seed=2, cameras=("c00", "c01", "c02", "f00"), pairs=30),
    ]


def test_lights_are_grouped_by_content_over_all_sessions(two: list[Session]) -> None:
    groups = light_groups(two, ["one", "two"])
    assert groups == [["one/room", "one/sky", "one/sun"], ["one/sun", "two/hall", "two/sky"]]
    assert two[1].hdri_names == ("dusk", "hall", "sky")  # named as one of the first, but another light


def test_a_light_that_is_held_out_of_one_session_is_trained_on_in_none(two: list[Session], tmp_path: Path) -> None:
    store = built(two, tmp_path / "data", splits={"lights": ["sun"], "motion_from": None, "cameras": ["c02"]})
    table = SampleTable.of(store)
    by_light = {table.light(i): set[str]() for i in range(len(table))}
    for i in range(len(table)):
        by_light[table.light(i)].add(table.names[table.split[i]])
    assert by_light["one/sun"] == by_light["two/dusk"] == {"test_light", "test_light_camera"}
    assert by_light["one/sky"] == by_light["two/sky"] == {"train", "test_camera"}
    assert leaks(store, table) == []
    held = {table.place(i) for i in range(len(table)) if "camera" in table.names[table.split[i]]}
    assert held == {"one/c02", "two/c02"}


splits = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 5),
        "lights": st.sampled_from([0, 0.1, 0.5, ["sun"], ["hall", "room"]]),
        "motion_from": st.sampled_from([None, 0.5, 0.8, 20, {"one": 0.5, "two": 28}]),
        "cameras": st.sampled_from([0, 0.1, 0.5, ["c01"]]),
    }
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=splits, where=st.sampled_from(["", "shift_px < 3", "camera != c00"]))
def test_train_shares_no_frame_no_light_and_no_camera_with_its_tests(
    two: list[Session], table: dict[str, Any], where: str
) -> None:
    """Frames are those that a pair's masks, motion and compensation read: flats t-2 to t+4."""
    spec = freeze_spec(two, spec_of(splits=table, select={"where": where}))
    plans = plan_dataset(two, spec, workers=1)
    assert plans is not None
    trained_lights, held_lights, trained_cameras, held_cameras = (set[str]() for _ in range(4))
    for plan in plans:
        first, last = frames_read(plan.session)
        assert (last - first).max() == 6  # frames: three flats further than from flat to next flat
        trained, tested = set[int](), set[int]()
        for (c, p), name in np.ndenumerate(plan.splits):
            frames = range(first[p], last[p] + 1)
            group, id = plan.groups[plan.session.pairs.hdri[p]], plan.session.cameras[c]
            if name == "train":
                trained.update(frames)
                trained_lights.add(group)
                trained_cameras.add(id)
            elif name:
                if "camera" not in name:
                    tested.update(frames)
                held_lights |= {group} if "light" in name else set()
                held_cameras |= {id} if "camera" in name else set()
        assert not trained & tested
    assert not trained_lights & held_lights and not trained_cameras & held_cameras
    assert "f00" not in held_cameras


def test_motion_is_held_out_by_session_name(two: list[Session], tmp_path: Path) -> None:
    table = {"lights": 0, "cameras": 0, "motion_from": {"one": 10}}
    samples = SampleTable.of(built(two, tmp_path / "data", splits=table))
    motion = samples.split == samples.names.index("test_motion")
    assert samples.pair[motion & (samples.session == 0)].min() == 10
    assert samples.pair[motion & (samples.session == 1)].min() == 24  # 0.8 of 30 pairs
    with pytest.raises(ConfigError, match="no session three"):
        built(two, tmp_path / "x", splits={"motion_from": {"three": 4}})


def test_a_lost_flat_picture_widens_what_a_pair_reads(tmp_path: Path) -> None:
    whole = make_take(tmp_path / "a.zarr", cameras=("c00",), pairs=8)
    lost = make_take(tmp_path / "b.zarr", cameras=("c00",), pairs=8, lost=(8,))
    first, last = frames_read(whole)
    assert (first[3], last[3]) == (4, 10)  # flats 6 and 8, one more each way
    assert frames_read(lost)[0][3] == 2  # flat 8 is lost: the motion from 4 to 6 goes on, and its neighbour is read


def test_weights_are_baked_and_never_zero_inside(two: list[Session], tmp_path: Path) -> None:
    store = built(two[:1], tmp_path / "data", splits=NOTHING_HELD)
    weight, moved = (store.read_at(f"cameras/one/c00/{name}", 3) for name in ("weight", "weight_compensated"))
    rows, columns = np.nonzero(weight)
    assert (rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1) == (
        48,
        60,
    )  # px: of 48x61.7, whose outer columns lie beyond the last centres
    inside = slice(columns[0], columns[-1] + 1)
    assert set(np.unique(weight[:, :9])) == {0} and weight[:, inside].min() == 1
    assert weight[24, columns[0] + 5] == 1 and weight[24, columns[-1] - 5] == 255
    assert moved[24, columns[0] + 5] == 128 and moved[24, columns[-1] - 5] == 255
    plain = make_take(tmp_path / "plain.zarr", cameras=("c00",), aligned=False)
    other = built([plain], tmp_path / "unaligned", splits=NOTHING_HELD)
    assert set(np.unique(other.read_at("cameras/plain/c00/weight", 3))) == {0, 255}
    assert not other.has("cameras/plain/c00/weight_compensated") and np.isnan(other.read("samples/shift_px")).all()


def test_scores_travel_with_the_samples(two: list[Session], tmp_path: Path) -> None:
    store = built(two, tmp_path / "data", splits=NOTHING_HELD, select={"where": "shift_px < 2 and reliability > 0.5"})
    table = SampleTable.of(store)
    shift, sure = store.read("samples/shift_px"), store.read("samples/reliability")
    assert len(table) > 20 and shift.max() < 2 and sure.min() > 0.5
    wanted = [(s.read("quality/shift_px") < 2) & (s.read("quality/reliability") > 0.5) for s in two]
    assert len(table) == sum(int(each.sum()) for each in wanted)
    for n, session in enumerate(two):
        own = table.session == n
        scores = session.read("quality/shift_px")
        np.testing.assert_array_equal(shift[own], scores[table.camera[own], table.pair[own]])


def test_crops_show_the_recorded_pixels_and_their_camera_says_where(tmp_path: Path) -> None:
    session = make_take(tmp_path / "take.zarr", cameras=("c00",), pairs=10, parts=True)
    store = built([session], tmp_path / "data", splits=NOTHING_HELD, crops={"face": 24})
    group = "cameras/take/c00/crops/face"
    rig = session.rig["c00"]
    assert store.array(f"{group}/intrinsics").attrs["scale"] == 1.0
    for row in range(10):
        intrinsics = store.read(f"{group}/intrinsics")[row]
        x, y = (rig.intrinsics - intrinsics)[:2, 2].round().astype(int)
        frame = int(session.pairs.flat_frame[row])
        for name, kind in (("flat", "flat"), ("relit", "relit")):
            seen = store.read_at(f"{group}/{name}", row)
            np.testing.assert_array_equal(seen, session.read_rgb("c00", kind, row)[y : y + 24, x : x + 24])
        rows, columns = square(frame, 0)
        middle = (x + 11.5, y + 11.5)  # of the window; the face is the left half of the square, above the hands
        assert abs(middle[0] - (columns.start + 3.5)) < 4 and abs(middle[1] - (rows.start + 6.5)) < 2
        assert set(np.unique(store.read_at(f"{group}/mask", row))) == {0, 255}
    assert check_dataset(tmp_path / "data") == []


def test_regions_have_masks_where_a_network_labelled_them(tmp_path: Path) -> None:
    session = make_take(tmp_path / "take.zarr", cameras=("c00",), pairs=6, parts=True)
    store = built([session], tmp_path / "data", splits=NOTHING_HELD)
    names = session.array("cameras/c00/relit/parts").attrs["regions"]
    for region in ("face", "hands"):
        baked = store.read_at(f"cameras/take/c00/mask_{region}", 3) > 127
        person = store.read_at("cameras/take/c00/mask", 3) > 127
        share = (session.read_at("cameras/c00/relit/parts", 3) == names.index(region)).sum() / SIDE**2
        assert (person | ~baked).all()
        assert baked.sum() / person.sum() == pytest.approx(share, rel=0.2)
    assert {"mask_face", "mask_hands"} <= set(open_dataset(tmp_path / "data").keys)
    bare = built([make_take(tmp_path / "bare.zarr", cameras=("c00",))], tmp_path / "x", splits=NOTHING_HELD)
    assert not bare.has("cameras/bare/c00/mask_face")


def test_a_part_larger_than_its_crop_is_scaled_to_fit(tmp_path: Path) -> None:
    session = make_take(tmp_path / "take.zarr", cameras=("c00",), pairs=6, parts=True)
    store = built([session], tmp_path / "data", splits=NOTHING_HELD, crops={"hands": 16})
    group = "cameras/take/c00/crops/hands"
    scale = store.array(f"{group}/intrinsics").attrs["scale"]
    assert scale == pytest.approx(16 / (1.25 * SIDE))  # the hands are as wide as the square
    crop = Camera(
        "crop", 16, 16, store.read(f"{group}/intrinsics")[2], np.zeros(8), session.rig["c00"].world_from_camera
    )
    rows, columns = square(int(session.pairs.flat_frame[2]), 0)
    corner = np.array([[columns.start - 0.5, rows.stop - 0.5], [columns.stop - 0.5, rows.stop - 0.5]])
    rays = session.rig["c00"].ray_directions(corner) + session.rig["c00"].centre
    ends = crop.project(rays)
    mask = store.read_at(f"{group}/mask", 2)  # of the relit frame, one px (0.8 here) to the right
    assert ends[1, 0] - ends[0, 0] == pytest.approx(scale * SIDE)
    last_row = np.flatnonzero((mask > 127).any(axis=1))[-1]
    assert abs(last_row + 0.5 - ends[0, 1]) < 1 and 11 <= (mask[last_row] > 127).sum() <= 14
    with pytest.raises(UsageError, match="no part labels of face"):
        built([make_take(tmp_path / "bare.zarr", cameras=("c00",))], tmp_path / "x", crops={"face": 32})


def test_environment_is_multiplied_by_the_session_gain(tmp_path: Path) -> None:
    session = make_take(tmp_path / "take.zarr", lights={"sky": np.full((8, 16, 3), 2.0)}, cameras=("c00",), pairs=4)
    bright = make_take(
        tmp_path / "bright.zarr", lights={"sky": np.full((8, 16, 3), 2.0)}, cameras=("c00",), pairs=4, seed=3
    )
    bright.set_attrs("", light_gain=3.0)
    bright = Session.open(bright.url)
    store = built([session, bright], tmp_path / "data", splits=NOTHING_HELD)
    for name, gain in (("take", 1.0), ("bright", 3.0)):
        expected = float(tone_map_log(np.float32(2.0 * gain)))
        assert store.root[f"rig/{name}"].attrs["light_gain"] == gain
        np.testing.assert_allclose(store.read_at(f"hdri_views/{name}/c00/log", 0), expected, atol=1e-3)  # float16


def test_the_codec_changes_files_and_no_values(two: list[Session], tmp_path: Path) -> None:
    stores = [built(two[:1], tmp_path / codec, store={"codec": codec}) for codec in ("zstd", "lz4")]
    paths = ("cameras/one/c01/relit", "hdri_views/one/c00/ldr")
    for path in paths:
        np.testing.assert_array_equal(*(store.read(path) for store in stores))
    sizes = [sum(p.stat().st_size for p in (tmp_path / codec).rglob("c/*/*/*/*")) for codec in ("zstd", "lz4")]
    assert sizes[0] < sizes[1]


def test_use_without_consent_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    for n, consent in enumerate(
        ({"uses": ["research"]}, {"uses": ["train"], "expires": "2020-01-01"}, {"withdrawn": "2025-05-05"})
    ):
        session = make_take(tmp_path / f"take{n}.zarr", cameras=("c00",), pairs=2, consent=consent)
        shutil.rmtree(tmp_path / f"take{n}.zarr" / "rig")  # what is read first would be missing
        with pytest.raises(ConsentError, match="subject s0"):
            build_dataset([session], tmp_path / "data", spec_of())
        assert not list(tmp_path.glob("data*"))


def test_a_recording_comes_once(two: list[Session], tmp_path: Path) -> None:
    shutil.copytree(two[0].url, tmp_path / "copy.zarr")
    for other in (two[0], Session.open(str(tmp_path / "copy.zarr"))):
        with pytest.raises(UsageError, match="hold the same recording"):
            build_dataset([two[0], other], tmp_path / "data", spec_of())


def test_sessions_of_one_name_are_told_apart() -> None:
    assert session_names(["a/take.zarr", "b/other.zarr"]) == ["take", "other"]
    assert session_names(["a/take.zarr", "b/take.zarr/", "take-0"]) == ["take-1", "take-2", "take-0"]


def test_bad_input_is_one_line_and_leaves_nothing(
    two: list[Session], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lensless = make_take(tmp_path / "lensless.zarr", cameras=("c00",), pairs=2)
    for name in ("intrinsics", "distortion", "world_from_camera"):
        lensless.remove(f"rig/{name}")
    with pytest.raises(CalibrationError, match="not calibrated"):
        build_dataset([lensless], tmp_path / "data", spec_of())
    url = two[0].url
    bare = make_take(tmp_path / "bare.zarr", cameras=("c00",), aligned=False, seed=9).url
    (tmp_path / "spec.toml").write_text('[select]\nwere = "pair < 3"\n')
    (tmp_path / "taken").mkdir()
    cases = [
        ([url, "--set", "select.cameras=['c77']"], 2, "no camera c77"),
        ([url, "--set", "select.where=shift < 3"], 2, "shift_px"),
        ([url, "--set", "select.where=shift_px < -1"], 2, "nothing to bake"),
        ([url, "--spec", str(tmp_path / "spec.toml")], 3, "did you mean where?"),
        ([url, "--set", "splits.lights=['moon']"], 3, "moon is not there"),
        ([url, "--set", "crops.feet=64"], 3, "feet"),
        ([url, "--set", "select.pairs=[5, 5]"], 3, "one after the last"),
        ([url, "--set", "select.pairs=[-3, 5]"], 3, "from 0 on"),
        ([url, "--set", "splits.lights=3"], 3, "a share is from 0.0 to 1.0"),
        ([url, "--set", "splits.cameras=-0.1"], 3, "a share is from 0.0 to 1.0"),
        ([url, "--set", "splits.motion_from=-2"], 3, "pairs are counted from 0"),
        ([url, "--set", "splits.motion_from={one=1.5}"], 3, "a share is from 0.0 to 1.0"),
        ([url, "--workers", "-2"], 2, "-2 is not in the range"),
        ([url, bare], 2, "not aligned"),
        ([str(tmp_path / "nothing.zarr")], 5, "no session here"),
    ]
    for arguments, code, words in cases:
        assert run(["-q", "dataset", "build", *arguments, "-o", str(tmp_path / "data")]) == code, arguments
        said = capsys.readouterr().err
        assert words in said and "Traceback" not in said, (arguments, said)
        assert not list(tmp_path.glob("data*"))
    assert run(["-q", "dataset", "build", url, "-o", str(tmp_path / "taken")]) == 2
    assert "is no dataset" in capsys.readouterr().err
    assert run(["-q", "dataset", "build", url, "-o", f"{url}/data"]) == 2
    assert "lies inside" in capsys.readouterr().err and not (Path(url) / "data").exists()


def test_samples_under_a_light_that_nobody_named_are_counted(tmp_path: Path) -> None:
    session = make_take(tmp_path / "take.zarr", lights={"sky": sky(1), "sun": sky(2)}, seed=1)
    session.root["pairs/hdri"][2] = -1
    made = build_dataset([Session.open(session.url)], tmp_path / "data", spec_of(), workers=1)
    assert made is not None
    held = open_dataset(made.path).where(hdri=-1)
    assert len(held) > 0 and set(held.column("pair")) == {2}
    assert [note for note in made.notes if note.startswith(f"{len(held)} samples under a light that nobody named")]


def test_an_empty_split_is_named(two: list[Session], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--set", "size.height=48", "--set", "size.width=80", "--set", "splits.motion_from=0"]
    assert run(["-q", "dataset", "build", two[0].url, "-o", str(tmp_path / "data"), *small]) == 0
    assert "no training sample" in capsys.readouterr().err
    late = ["--set", "select.pairs=[0,8]", "--set", "size.height=48", "--set", "size.width=80"]
    assert run(["-q", "dataset", "build", two[0].url, "-o", str(tmp_path / "late"), *late]) == 0
    assert "no test of a held-out motion" in capsys.readouterr().err


BUILD = """
import sys
from pathlib import Path
from litdome import open_session
from litdome.datasets.build import build_dataset
from litdome.datasets.views import open_dataset
from litdome.datasets.spec import DatasetSpec
spec = DatasetSpec.model_validate_json(sys.argv[3])
build_dataset([open_session(sys.argv[1])], Path(sys.argv[2]), spec, workers=1)
"""


def test_a_killed_build_goes_on_to_the_same_bytes(two: list[Session], tmp_path: Path) -> None:
    spec = spec_of()
    build_dataset([two[0]], tmp_path / "whole", spec, workers=2)
    command = [sys.executable, "-c", BUILD, two[0].url, str(tmp_path / "killed"), spec.model_dump_json()]
    process = subprocess.Popen(command)
    first = tmp_path / "killed.partial" / "cameras" / "one" / "c01" / "flat" / "c" / "0"
    while process.poll() is None and not first.exists():
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (tmp_path / "killed.partial").exists() and not (tmp_path / "killed").exists()
    begun = {p: p.stat().st_mtime_ns for p in (tmp_path / "killed.partial").rglob("relit/c/0/0/0/0")}
    build_dataset([two[0]], tmp_path / "killed", spec, workers=1)
    files = {p.relative_to(tmp_path / "whole") for p in (tmp_path / "whole").rglob("*") if p.is_file()}
    assert files == {p.relative_to(tmp_path / "killed") for p in (tmp_path / "killed").rglob("*") if p.is_file()}
    for name in sorted(files):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes(), name
    kept = [p for p, moment in begun.items() if "c00" in p.parts]
    assert kept and all(
        (tmp_path / "killed" / p.relative_to(tmp_path / "killed.partial")).stat().st_mtime_ns == begun[p] for p in kept
    )


def test_a_decision_made_after_the_spec_was_frozen_changes_no_selection(tmp_path: Path) -> None:
    session = make_take(tmp_path / "take.zarr", cameras=("c00",), pairs=6)
    frozen = freeze_spec([session], DatasetSpec())
    before = usable_pairs(session, "take", frozen)
    add_decision(session.url, Decision("drop", None, ((0, 6),), "all of it", "somebody"))
    np.testing.assert_array_equal(usable_pairs(session, "take", frozen), before)
    assert before.any() and not usable_pairs(session, "take", freeze_spec([session], DatasetSpec())).any()

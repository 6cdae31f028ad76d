"""Faults by name: each does what it says to the camera it says, to no other, and combinations that hide are refused."""

from __future__ import annotations

import csv
import json
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from litdome.color import linear_from_srgb
from litdome.errors import InputError, UsageError
from litdome.media.images import iter_source, probe_source
from litdome.media.planes import rgb_from_planes
from litdome.synth import RecordingTruth, make_recording
from litdome.synth.faults import FAULTS, NOTHING_SEEN, draw_faults
from litdome.synth.film import Shot, shoot
from litdome.synth.recording import Take, plan_take, write_take
from litdome.synth.spoil import spoil_file

FRAMES = 13
CAMERAS = ("c00", "c01", "c02")


@pytest.fixture(scope="module")
def filmed() -> tuple[Take, list[tuple[Shot, ...]]]:
    """A take without faults, and its shots."""
    take = plan_take(Path("take"), cameras=3, pairs=6, width=48, height=80, hdris=3, lights=16, seed=2)
    return take, list(shoot(take.film, 1))


@pytest.fixture
def store(filmed: tuple[Take, list[tuple[Shot, ...]]], tmp_path: Path):
    """Stores the same shots with some faults."""

    def stored(*names: str) -> RecordingTruth:
        take, shots = filmed
        folder = tmp_path / "-".join(("take", *names))
        truth = replace(take.truth, folder=folder, faults=draw_faults(names, CAMERAS, FRAMES))
        write_take(folder, replace(take, truth=truth), iter(shots))
        return truth

    return stored


def pictures(truth: RecordingTruth, camera: str) -> list[npt.NDArray[np.uint8]]:
    codes = iter_source(truth.folder / "cameras" / f"{camera}.mp4")
    return [rgb_from_planes(code.luma, code.chroma, matrix="bt709") for code in codes]


def apart(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
    """Mean difference, codes."""
    return float(np.abs(one.astype(int) - other).mean())


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize(
    ("fault", "camera", "left"),
    [
        ("drop-frame", "c01", [*range(6), *range(7, 13)]),
        ("late-camera", "c02", [*range(3, 13)]),
        ("short-camera", "c02", [*range(8)]),
    ],
)
def test_pictures_that_were_never_stored_leave_the_others_as_filmed(
    store, filmed, fault: str, camera: str, left: list[int]
) -> None:
    truth, shots = store(fault), filmed[1]
    k = CAMERAS.index(camera)
    assert truth.stored(k) == left and [len(truth.stored(n)) for n in range(3) if n != k] == [FRAMES] * 2
    shown = pictures(truth, camera)
    assert len(shown) == len(left)
    for picture, frame in zip(shown, left, strict=True):
        distances = [apart(picture, shots[other][k].rgb) for other in range(FRAMES)]
        assert np.argmin(distances) == frame


def test_a_doubled_picture_stands_in_place_of_the_next_one(store, filmed) -> None:
    truth, shots = store("duplicate-frame"), filmed[1]
    (frame,) = truth.faults[0].frames
    shown = pictures(truth, "c01")
    assert len(shown) == FRAMES and frame == 4
    distances = [apart(shown[frame], shots[other][1].rgb) for other in range(FRAMES)]
    assert np.argmin(distances) == frame - 1
    assert np.argmin([apart(shown[frame + 1], shots[other][1].rgb) for other in range(FRAMES)]) == frame + 1


def test_mixed_light_shows_the_next_light_in_the_lower_rows_only(store, filmed) -> None:
    truth, shots = store("mixed-light"), filmed[1]
    shown, hit = pictures(truth, "c01"), truth.faults[0].frames
    assert hit == (8, 9, 10, 11)
    for frame in range(FRAMES - 1):
        this, following = shots[frame][1].rgb, shots[frame + 1][1].rgb
        upper = apart(shown[frame][:32], this[:32]) < apart(shown[frame][:32], following[:32])
        lower = apart(shown[frame][-32:], this[-32:]) < apart(shown[frame][-32:], following[-32:])
        assert upper and lower == (frame not in hit), frame


def test_an_underexposed_camera_shows_an_eighth_of_the_light(store, filmed) -> None:
    truth, shots = store("underexposed"), filmed[1]
    for frame, picture in enumerate(pictures(truth, "c01")):
        whole = linear_from_srgb(shots[frame][1].rgb / 255.0)
        bright = (whole.max(axis=-1) < 0.9) & (whole.min(axis=-1) > 0.1)
        ratio = linear_from_srgb(picture / 255.0)[bright].mean() / whole[bright].mean()
        assert ratio == pytest.approx(1 / 8, rel=0.15)  # H.264 and its rounding in the dark
    table = tomllib.loads((truth.folder / "recording.toml").read_text())["cameras"]
    assert table["c01"]["exposure_ms"] == table["c00"]["exposure_ms"] / 8


def test_a_camera_out_of_focus_has_weaker_edges_and_the_same_light(store, filmed) -> None:
    truth, shots = store("out-of-focus"), filmed[1]
    for frame, picture in enumerate(pictures(truth, "c01")):
        sharp = shots[frame][1].rgb.astype(float)
        assert picture.mean() == pytest.approx(sharp.mean(), rel=0.1)
        edges = [np.abs(np.diff(p.astype(float), axis=0)).mean() for p in (picture, sharp)]
        assert edges[0] < 0.9 * edges[1]


def test_a_skewed_clock_is_an_hour_ahead_and_fast(store) -> None:
    rows = rows_of(store("clock-skew").folder / "timestamps.csv")
    times = {id: np.array([int(row["time_ns"]) for row in rows if row["camera"] == id]) for id in CAMERAS}
    assert times["c01"][0] - times["c00"][0] == pytest.approx(3.6e12, abs=1e6)
    assert np.diff(times["c01"]).mean() == pytest.approx(1.02 * 40e6, rel=2e-3)
    assert np.diff(times["c02"]).mean() == pytest.approx(40e6, rel=2e-3)


def test_broken_files_are_those_of_the_last_camera(store, filmed) -> None:
    missing, cut, noisy = store("missing-camera"), store("truncated"), store("garbled")
    assert not (missing.folder / "cameras/c02.mp4").exists()
    assert "c02" in tomllib.loads((missing.folder / "recording.toml").read_text())["cameras"]
    with pytest.raises(InputError):
        probe_source(cut.folder / "cameras/c02.mp4")
    assert probe_source(noisy.folder / "cameras/c02.mp4").frames == FRAMES  # its header is whole
    for truth in (missing, cut, noisy):
        for k, id in enumerate(CAMERAS[:2]):
            shown = pictures(truth, id)
            assert len(shown) == FRAMES
            assert max(apart(picture, shots[k].rgb) for picture, shots in zip(shown, filmed[1], strict=True)) < 3


def test_noise_lies_in_the_middle_of_a_garbled_file_and_is_the_same_every_time(tmp_path: Path) -> None:
    files = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    for file in files:
        file.write_bytes(bytes(10_000))
        spoil_file(file, draw_faults(["garbled"], CAMERAS, FRAMES))
    one, two = (np.frombuffer(file.read_bytes(), np.uint8) for file in files)
    np.testing.assert_array_equal(one, two)
    hit = np.flatnonzero(one)
    assert len(one) == 10_000 and 4000 <= hit[0] <= hit[-1] < 5000 and len(hit) > 950


def test_the_tables_of_the_rig(store) -> None:
    swapped, unlit, untimed = store("swap-phase"), store("no-lights"), store("no-timestamps")
    said, true = (rows_of(swapped.folder / name) for name in ("lights.csv", "truth/lights.csv"))
    assert [row["kind"] for row in true] == ["flat", "hdri"] * 6 + ["flat"]
    assert [row["kind"] for row in said[:-1]] == [row["kind"] for row in true[1:]]
    assert not (unlit.folder / "lights.csv").exists() and (unlit.folder / "truth/lights.csv").is_file()
    assert "schedule" not in tomllib.loads((unlit.folder / "recording.toml").read_text())["lights"]
    assert not (untimed.folder / "timestamps.csv").exists() and (unlit.folder / "timestamps.csv").is_file()


def test_faults_of_different_kinds_compose_and_the_truth_lists_them(store) -> None:
    names = (
        "drop-frame",
        "duplicate-frame",
        "underexposed",
        "out-of-focus",
        "late-camera",
        "no-timestamps",
        "swap-phase",
    )
    truth = store(*names)
    listed = json.loads((truth.folder / "truth/rig.json").read_text())["faults"]
    assert {fault["name"] for fault in listed} == set(names)
    assert {fault["name"]: fault["camera"] for fault in listed}["late-camera"] == "c02"
    assert [len(pictures(truth, id)) for id in CAMERAS] == [13, 12, 10]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("melt",), "no fault 'melt'"),
        (("no-lights", "swap-phase"), "contradict"),
        (("no-timestamps", "clock-skew"), "contradict"),
        (("truncated", "late-camera"), "truncated hides late-camera of camera c02"),
        (("missing-camera", "garbled"), "missing-camera hides garbled"),
    ],
)
def test_faults_that_hide_each_other_are_refused(names: tuple[str, ...], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        draw_faults(names, CAMERAS, FRAMES)


def test_the_docs_have_a_row_for_every_fault() -> None:
    text = (Path(__file__).resolve().parents[1] / "docs" / "recording.md").read_text().partition("to practise on")[2]
    assert [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")] == list(FAULTS)


def test_every_fault_can_be_drawn_and_hits_frames_of_the_take() -> None:
    for name in FAULTS:
        (fault,) = draw_faults([name], CAMERAS, FRAMES)
        assert fault.name == name and all(0 <= frame < FRAMES for frame in fault.frames)
        assert fault.camera in (None, *CAMERAS)
    with pytest.raises(UsageError, match="too few"):
        draw_faults(["late-camera"], CAMERAS, 3)
    assert set(NOTHING_SEEN) < set(FAULTS)


def test_one_flat_frame_in_21_under_dim_lights(tmp_path: Path) -> None:
    small = {"cameras": 1, "pairs": 50, "width": 48, "height": 80, "hdris": 2, "lights": 16}
    bright, dim = (plan_take(tmp_path, interleave=20, hdri_gain=gain, **small) for gain in (1.0, 0.125))
    assert np.flatnonzero(dim.truth.schedule.kind == 1).tolist() == [0, 21, 42, 53]
    assert (dim.truth.schedule.kind == 2).sum() == 50 and dim.truth.schedule.entries[0].gain == 0.125
    np.testing.assert_allclose(dim.film.lights[1].intensity, bright.film.lights[1].intensity / 8, rtol=1e-5)
    np.testing.assert_array_equal(dim.film.flat.intensity, bright.film.flat.intensity)
    with pytest.raises(UsageError, match="interleave = 0"):
        plan_take(tmp_path, interleave=0, **small)


def test_motion_truth_leads_to_each_relit_frame_of_a_longer_interleave(tmp_path: Path) -> None:
    small = {"cameras": 1, "pairs": 3, "interleave": 2, "width": 90, "height": 160, "hdris": 1, "lights": 16}
    truth = make_recording(tmp_path / "take", hdri_gain=0.5, boards=False, workers=1, **small)
    assert [row["gain"] for row in rows_of(truth.folder / "lights.csv")] == ["", "0.5", "0.5", "", "0.5", ""]
    motion = np.load(truth.folder / "truth/motion/c00.npz")
    camera = truth.rig.cameras[0]
    for pair, flat, relit, next_flat in ((0, 0, 1, 3), (1, 0, 2, 3), (2, 3, 4, 5)):
        for name, then in (("to_relit", relit), ("to_next_flat", next_flat)):
            now, later = (camera.project(truth.body.vertices(truth.time_s(frame))) for frame in (flat, then))
            at = np.round(now).astype(int)
            seen = ((at >= 0) & (at < [camera.width, camera.height])).all(axis=1)
            field = motion[name][pair][:, at[seen, 1], at[seen, 0]].T.astype(np.float64)
            shown = np.isfinite(field).all(axis=1)
            # vertices on the far side count too: the median is the claim, px
            assert np.median(np.linalg.norm(field - (later - now)[seen], axis=1)[shown]) < 0.1

"""The simulated recording: its layout, its exact truth, its faults, its light."""

from __future__ import annotations

import csv
import tomllib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from litdome.color import linear_from_srgb
from litdome.errors import UsageError
from litdome.geometry import Camera, look_at
from litdome.media.images import iter_source
from litdome.media.planes import rgb_from_planes
from litdome.synth import RecordingTruth, make_recording
from litdome.synth.body import make_body
from litdome.synth.film import Film, shoot
from litdome.synth.rig import Rig, make_rig
from litdome.synth.shading import dome_lights, flat_lights

SMALL = {"cameras": 2, "pairs": 4, "width": 90, "height": 160, "hdris": 2, "lights": 32, "boards": False, "seed": 4}


@pytest.fixture(scope="module")
def take(tmp_path_factory: pytest.TempPathFactory) -> RecordingTruth:
    return make_recording(tmp_path_factory.mktemp("synth") / "take", **SMALL)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> RecordingTruth:
    folder = tmp_path_factory.mktemp("synth") / "faulty"
    faults = ("drop-frame", "late-camera")
    return make_recording(folder, faults=faults, **{**SMALL, "cameras": 3})  # type: ignore[arg-type]


def pictures(truth: RecordingTruth, camera: str) -> list[npt.NDArray[np.uint8]]:
    codes = iter_source(truth.folder / "cameras" / f"{camera}.mp4")
    return [rgb_from_planes(code.luma, code.chroma, matrix="bt709") for code in codes]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_pair_has_a_next_flat_and_every_light_is_lit(take: RecordingTruth) -> None:
    rows = rows_of(take.folder / "lights.csv")
    assert [row["kind"] for row in rows] == ["flat", "hdri"] * 4 + ["flat"]
    lit = {row["hdri"] for row in rows if row["hdri"]}
    assert lit == {path.stem for path in (take.folder / "hdris").iterdir()} and len(lit) == 2


def test_description_lists_what_lies_in_the_folder(take: RecordingTruth) -> None:
    table = tomllib.loads((take.folder / "recording.toml").read_text())
    assert set(table["cameras"]) == {"c00", "c01"} == set(take.rig.ids)
    for id, camera in table["cameras"].items():
        assert (take.folder / camera["source"]).is_file()
        assert (take.folder / "background" / f"{id}.png").is_file()
    assert table["transfer"] == "srgb" and table["subject"] == "s1"
    assert len(pictures(take, "c00")) == len(rows_of(take.folder / "lights.csv")) == 9


def test_projected_vertices_fall_into_the_mask_and_nothing_else_is_in_it(take: RecordingTruth) -> None:
    masks = np.load(take.folder / "truth/masks/c01.npz")["mask"]
    camera = take.rig["c01"]
    for frame in (0, 5):
        pixels = np.round(camera.project(take.body.vertices(take.time_s(frame)))).astype(int)
        inside = ((pixels >= 0) & (pixels < [camera.width, camera.height])).all(axis=1)
        drawn = np.zeros(masks.shape[1:], bool)
        drawn[pixels[inside, 1], pixels[inside, 0]] = True
        square = np.ones((3, 3), np.uint8)
        assert cv2.dilate(masks[frame], square)[drawn].all()  # outline vertices may round to the next pixel
        assert (masks[frame][drawn] > 0).mean() > 0.95
        grown = cv2.dilate(drawn.astype(np.uint8), square)
        assert (masks[frame][grown == 0] > 0).mean() < 0.002


@pytest.mark.parametrize(("name", "ahead"), [("to_relit", 1), ("to_next_flat", 2)])
def test_motion_equals_the_reprojected_surface(take: RecordingTruth, name: str, ahead: int) -> None:
    motion = np.load(take.folder / "truth/motion/c00.npz")[name]
    camera = take.rig["c00"]
    for pair in range(4):
        now, then = (camera.project(take.body.vertices(take.time_s(2 * pair + k))) for k in (0, ahead))
        at = np.round(now).astype(int)
        seen = ((at >= 0) & (at < [camera.width, camera.height])).all(axis=1)
        field = motion[pair][:, at[seen, 1], at[seen, 0]].T.astype(np.float64)
        shown = np.isfinite(field).all(axis=1)
        error = np.linalg.norm(field - (then - now)[seen], axis=1)[shown]
        # half a pixel of rounding, and vertices on the far side: the median is the claim
        assert np.median(error) < 0.1
        moving = np.linalg.norm((then - now)[seen][shown], axis=1)
        assert np.median(np.linalg.norm(-field - (then - now)[seen], axis=1)[shown]) > np.median(moving)


def test_flat_pictures_show_albedo_where_nothing_shades_it(take: RecordingTruth) -> None:
    picture = linear_from_srgb(pictures(take, "c00")[0] / 255.0)
    albedo = linear_from_srgb(cv2.imread(str(take.folder / "truth/albedo/c00/000000.png"))[..., ::-1] / 255.0)
    mask = np.load(take.folder / "truth/masks/c00.npz")["mask"][0]
    inside = (cv2.erode(mask, np.ones((3, 3), np.uint8)) == 255) & (albedo.min(axis=-1) > 0.05)
    ratio = (picture[inside] / albedo[inside])[:, 1]
    # 1 and a few per cent of highlight in the open, less between limbs
    assert 0.9 < np.quantile(ratio, 0.9) < 1.2
    assert ratio.min() < 0.85


def test_clean_plate_is_the_background_of_flat_pictures(take: RecordingTruth) -> None:
    plate = cv2.imread(str(take.folder / "background/c01.png"))[..., ::-1].astype(int)
    away = np.load(take.folder / "truth/masks/c01.npz")["mask"][0] == 0
    away = cv2.erode(away.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    flat, relit = (np.abs(picture - plate)[away].mean() for picture in pictures(take, "c01")[:2])
    assert flat < 3  # codes: noise and compression
    assert relit > 2 * flat  # the wall shows the light


def test_flat_at_relit_is_the_relit_moment_in_flat_light(take: RecordingTruth) -> None:
    mask = np.load(take.folder / "truth/masks/c00.npz")["mask"][1] == 255
    twin = cv2.imread(str(take.folder / "truth/flat_at_relit/c00/000001.png"))[..., ::-1].astype(int)
    shown = pictures(take, "c00")
    assert np.abs(twin - shown[0])[mask].mean() < 0.5 * np.abs(twin - shown[1])[mask].mean()


def test_the_video_holds_what_was_filmed_and_the_same_seed_films_it_again(take: RecordingTruth) -> None:
    flat = flat_lights(32)
    film = Film(take.rig, take.body, take.start_s, take.fps, [flat], flat, 4)
    first, again = (next(shoot(film, 1))[0].rgb for _ in range(2))
    np.testing.assert_array_equal(first, again)
    decoded = pictures(take, "c00")[0].astype(int)
    assert np.abs(first - decoded).mean() < 2.5  # codes: H.264 and its chroma at half size


def test_dropped_and_late_pictures_are_missing_from_the_file_and_seen_in_the_timestamps(
    faulty: RecordingTruth,
) -> None:
    rows = rows_of(faulty.folder / "timestamps.csv")
    first = min(int(row["time_ns"]) for row in rows)
    for k, id in enumerate(faulty.rig.ids):
        mine = [row for row in rows if row["camera"] == id]
        assert [int(row["frame"]) for row in mine] == list(range(len(pictures(faulty, id))))
        rig_frames = [round((int(row["time_ns"]) - first) * faulty.fps / 1e9) for row in mine]
        assert rig_frames == faulty.stored(k)
    assert faulty.lost == (("c01", 4),)
    assert [len(faulty.stored(k)) for k in range(3)] == [9, 8, 6]


def test_after_a_dropped_picture_the_file_goes_on_with_the_next_one(faulty: RecordingTruth) -> None:
    shown, stored = pictures(faulty, "c01"), faulty.stored(1)
    truth = faulty.folder / "truth/flat_at_relit/c01"
    wall = np.load(faulty.folder / "truth/masks/c01.npz")["mask"].max(axis=0) == 0
    for index, frame in enumerate(stored):
        is_relit = (truth / f"{frame:06d}.png").is_file()
        assert is_relit == (frame % 2 == 1)
        change = np.abs(shown[index].astype(int) - shown[0])[wall].mean()
        assert (change > 4) == is_relit, (index, frame)  # codes; noise and compression are below 2


def test_without_timestamps_a_late_camera_says_its_offset(tmp_path: Path) -> None:
    small = {**SMALL, "pairs": 2}
    faults = ("late-camera", "no-timestamps")
    truth = make_recording(tmp_path / "take", faults=faults, **small)  # type: ignore[arg-type]
    table = tomllib.loads((truth.folder / "recording.toml").read_text())
    assert table["cameras"]["c01"]["frame_offset"] == 3 and "frame_offset" not in table["cameras"]["c00"]
    assert not (truth.folder / "timestamps.csv").exists()


def test_an_existing_recording_is_never_overwritten(take: RecordingTruth) -> None:
    with pytest.raises(UsageError, match="exists"):
        make_recording(take.folder)


def test_an_interrupted_recording_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(what: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_recording(tmp_path / "take", progress=stop, **SMALL)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"faults": ("melt",)}, "no fault 'melt'"),
        ({"subject": "s9"}, "s9"),
        ({"boards": True}, "200 px"),
        ({"cameras": 1, "faults": ("late-camera",)}, "2 cameras"),
        ({"pairs": 0}, "pairs = 0"),
    ],
)
def test_arguments_that_cannot_be_are_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_recording(tmp_path / "take", **{**SMALL, **change})  # type: ignore[arg-type]


def test_light_from_camera_right_brightens_the_persons_right_side_in_the_picture() -> None:
    front = make_rig(1, width=90, height=160).cameras[0]
    camera = Camera(front.id, 90, 160, front.intrinsics, front.distortion, look_at((0, 0.9, 3.2), (0, 0.9, 0)))
    hdr = np.full((32, 64, 3), 0.02, np.float32)
    hdr[12:20, 45:51] = 20.0  # world +x
    flat = flat_lights(64)
    film = Film(Rig((camera,)), make_body("s1"), 0.0, 25.0, [dome_lights(hdr, 64)], flat, 0)
    shot = next(shoot(film, 1))[0]
    assert shot.flat is not None
    inside = shot.mask == 255
    ratio = linear_from_srgb(shot.rgb / 255.0).sum(-1) / np.maximum(linear_from_srgb(shot.flat / 255.0).sum(-1), 0.01)
    # of every row, the outer thirds of the person
    left, right = [], []
    for y in np.flatnonzero(inside.sum(axis=1) >= 9):
        x = np.flatnonzero(inside[y])
        left.append(ratio[y, x[: len(x) // 3]].mean())
        right.append(ratio[y, x[-len(x) // 3 :]].mean())
    assert np.median(right) > 3 * np.median(left)

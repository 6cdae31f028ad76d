"""Exports of a dataset: read back with other code than ours, pictures and cameras are the dataset's own."""

from __future__ import annotations

import csv
import json
import shutil
import tarfile
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from exported_data import CONSENT, make_dataset

from litdome import open_session
from litdome.calib.exchange import read_calibration
from litdome.cli import run
from litdome.datasets.export import FORMATS, export_dataset
from litdome.datasets.export.clips import runs_of
from litdome.datasets.export.shots import Selection, select_shots
from litdome.datasets.export.webdataset import jobs as shard_jobs
from litdome.datasets.views import DatasetView, open_dataset
from litdome.errors import ConsentError, UsageError
from litdome.media.hdr import write_hdr
from litdome.preprocess.segmenters.imported import find_masks, read_mask
from litdome.store.session import Session

MIDDLE = np.s_[15:33, 40:56]  # rows, columns within the person
POINTS = np.array([[0.1, 1.2, 0.05], [-0.2, 0.7, 0.1], [0.0, 1.6, -0.2]])  # m, on and around the person


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DatasetView:
    return make_dataset(tmp_path_factory.mktemp("export"))


@pytest.fixture(scope="module")
def selection(data: DatasetView) -> Selection:
    return select_shots(data)


@pytest.fixture(scope="module")
def exported(data: DatasetView) -> dict[str, Path]:
    """The dataset in every format."""
    for name in FORMATS:
        assert export_dataset(data, data.path.parent / name, name, workers=2) is not None
    return {name: data.path.parent / name for name in FORMATS}


def baked(data: DatasetView, sample: int, key: str) -> npt.NDArray[np.uint8]:
    """A stored picture or mask, from the sample that trainers see."""
    values = np.asarray(data.read(sample, [key])[key])[0]
    codes = np.rint(values * 255).astype(np.uint8)
    return codes[0] if len(codes) == 1 else codes.transpose(1, 2, 0)


def rgb(content: bytes) -> npt.NDArray[np.uint8]:
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    return np.asarray(picture[..., ::-1] if picture.ndim == 3 else picture)


def test_the_scene_has_all_that_splits_can_do(selection: Selection) -> None:
    assert set(selection.splits) == {"train", "test_light", "test_camera", "test_light_camera"}
    assert {shot.moment_split for shot in selection.shots if shot.is_held_out_camera} == {"train", "test_light"}


@pytest.mark.parametrize("name", ["nerfstudio", "colmap"])
def test_moments_hold_the_baked_pictures_and_binary_masks(
    name: str, data: DatasetView, exported: dict[str, Path], selection: Selection
) -> None:
    suffix = ".png.png" if name == "colmap" else ".png"
    for shot in selection.shots:
        for light, mask in (("flat", "mask_flat"), ("relit", "mask")):
            folder = exported[name] / shot.moment_split / "take" / f"{light}_{shot.pair:06d}"
            seen = rgb((folder / "images" / f"{shot.camera}.png").read_bytes())
            np.testing.assert_array_equal(seen, baked(data, shot.sample, light))
            covered = rgb((folder / "masks" / f"{shot.camera}{suffix}").read_bytes())
            np.testing.assert_array_equal(covered == 255, baked(data, shot.sample, mask) > 127)
            assert set(np.unique(covered)) == {0, 255}


def test_nerfstudio_sees_points_where_the_dataset_does(exported: dict[str, Path], selection: Selection) -> None:
    """nerfstudio's convention by its own words: OpenGL camera, world z up, pixel centres at halves."""
    folder = exported["nerfstudio"] / "train" / "take" / "relit_000000"
    content = json.loads((folder / "transforms.json").read_text())
    turned = np.column_stack([POINTS, np.ones(3)]) @ np.array(content["applied_transform"]).T
    np.testing.assert_allclose(turned[:, 2], POINTS[:, 1])  # up
    assert {frame["camera"] for frame in content["frames"]} == {"c00", "c01", "c02"}
    for frame in content["frames"]:
        pose = np.array(frame["transform_matrix"])
        x, y, z = ((turned - pose[:3, 3]) @ pose[:3, :3]).T
        u = frame["fl_x"] * x / -z + frame["cx"] - 0.5
        v = frame["fl_y"] * y / z + frame["cy"] - 0.5
        camera = selection.cameras["take", frame["camera"]]
        np.testing.assert_allclose(np.column_stack([u, v]), camera.project(POINTS), atol=1e-6)  # px
        assert (frame["w"], frame["h"]) == (camera.width, camera.height) == (96, 48)


def test_colmap_sees_points_where_the_dataset_does(exported: dict[str, Path], selection: Selection) -> None:
    model = exported["colmap"] / "train" / "take" / "flat_000000" / "sparse" / "0"
    lenses = [line.split() for line in (model / "cameras.txt").read_text().splitlines() if line[0] != "#"]
    poses = [line.split() for line in (model / "images.txt").read_text().splitlines() if line and line[0] != "#"]
    assert len(lenses) == len(poses) == 3
    for lens, image in zip(lenses, poses, strict=True):
        w, *axis = map(float, image[1:5])
        a = np.array(axis)
        cross = np.array([[0, -a[2], a[1]], [a[2], 0, -a[0]], [-a[1], a[0], 0]])
        rotation = np.eye(3) + 2 * w * cross + 2 * cross @ cross  # of a unit quaternion
        seen = POINTS @ rotation.T + list(map(float, image[5:8]))
        fx, fy, cx, cy = map(float, lens[4:])
        pixels = seen[:, :2] / seen[:, 2:] * [fx, fy] + [cx - 0.5, cy - 0.5]
        camera = selection.cameras["take", image[9].removesuffix(".png")]
        np.testing.assert_allclose(pixels, camera.project(POINTS), atol=1e-6)  # px
        assert lens[1] == "PINHOLE" and lens[0] == image[8]


def test_held_out_cameras_are_the_test_views_of_their_moments(
    exported: dict[str, Path], data: DatasetView, selection: Selection
) -> None:
    for split in ("train", "test_light"):
        pair = next(shot.pair for shot in selection.shots if shot.split == split)
        content = json.loads(
            (exported["nerfstudio"] / split / "take" / f"relit_{pair:06d}" / "transforms.json").read_text()
        )
        assert content["test_filenames"] == content["val_filenames"] == ["images/c02.png"]
        assert content["train_filenames"] == ["images/c00.png", "images/c01.png"]
        listed = exported["colmap"] / split / "take" / f"relit_{pair:06d}" / "sparse" / "0" / "test.txt"
        assert listed.read_text() == "c02.png\n"
    out = data.path.parent / "only-train"
    export_dataset(data, out, "nerfstudio", splits=["train"], workers=1)
    content = json.loads((out / "train" / "take" / "relit_000000" / "transforms.json").read_text())
    assert "test_filenames" not in content and not list(out.rglob("c02.png"))


def test_a_moving_scene_runs_from_0_to_1_and_names_files_that_are_there(exported: dict[str, Path]) -> None:
    place = exported["nerfstudio"] / "train" / "take"
    frames = {light: json.loads((place / f"{light}.json").read_text())["frames"] for light in ("flat", "relit")}
    assert all(
        (place / frame[key]).is_file() for f in frames.values() for frame in f for key in ("file_path", "mask_path")
    )
    first = min(frame["time"] for frame in frames["flat"])
    assert first == 0
    by_pair = {frame["pair"]: frame["time"] for frame in frames["relit"]}
    last = json.loads((exported["nerfstudio"] / "test_light" / "take" / "relit.json").read_text())["frames"][-1]
    assert by_pair[0] == pytest.approx(1 / 11) and last["time"] == 1  # frames 1 and 11 of 0 to 11


def test_webdataset_shards_hold_whole_samples_of_one_split(
    exported: dict[str, Path], data: DatasetView, selection: Selection
) -> None:
    found: dict[int, dict[str, bytes]] = {}
    for path in sorted(exported["webdataset"].glob("*.tar")):
        with tarfile.open(path) as shard:
            keys = [member.name.partition(".")[0] for member in shard]
            runs = 1 + sum(a != b for a, b in pairwise(keys))
            assert runs == len(set(keys))  # the files of a sample lie together
            for member in shard:
                key, _, suffix = member.name.partition(".")
                stream = shard.extractfile(member)
                assert stream is not None
                found.setdefault(int(key), {})[suffix] = stream.read()
                about = json.loads(found[int(key)].get("json", b"{}"))
                assert not about or path.name.startswith(about["split"] + "-")
    assert sorted(found) == [shot.sample for shot in selection.shots] == list(range(len(data)))
    for shot in selection.shots:
        sample = found[shot.sample]
        for key in ("flat", "relit", "mask", "mask_flat", "mask_wide", "weight"):
            np.testing.assert_array_equal(rgb(sample[f"{key}.png"]), baked(data, shot.sample, key))
        for key in ("env_ldr", "env_log"):
            true = np.asarray(data.read(shot.sample, [key])[key])[0].transpose(1, 2, 0) / 2 + 0.5
            np.testing.assert_allclose(rgb(sample[f"{key}.png"]) / 255, true, atol=0.5 / 255 + 1e-6)  # half a code
        about = json.loads(sample["json"])
        assert (about["camera"], about["pair"], about["hdri"]) == (shot.camera, shot.pair, shot.hdri)
        np.testing.assert_allclose(about["intrinsics"], np.asarray(data.read(shot.sample)["intrinsics"])[0], rtol=1e-6)


def test_webdataset_bytes_are_the_same_again_and_shards_have_a_size(
    exported: dict[str, Path], data: DatasetView, selection: Selection, tmp_path: Path
) -> None:
    export_dataset(data, tmp_path / "again", "webdataset", workers=1)
    shards = sorted(exported["webdataset"].glob("*.tar"))
    assert len(shards) == 4
    for path in shards:
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    for job in shard_jobs(selection, tmp_path, shard_samples=1):
        job()
    names = sorted(path.name for path in tmp_path.glob("train-*.tar"))
    assert names == [f"train-{n:06d}.tar" for n in range(selection.splits["train"])]


def test_hugging_face_rows_name_their_pictures_and_agree_on_columns(
    exported: dict[str, Path], data: DatasetView, selection: Selection
) -> None:
    columns, seen = set(), 0
    for split, count in selection.splits.items():
        folder = exported["huggingface"] / split
        rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
        assert len(rows) == count
        for row in rows:
            columns.add(tuple((key, type(value)) for key, value in row.items()))
            files = {key.removesuffix("_file_name"): row[key] for key in row if key.endswith("_file_name")}
            assert {"flat", "relit", "mask", "env_ldr", "env_log"} <= set(files)
            assert row["split"] == split and all((folder / name).is_file() for name in files.values())
            sample = int(Path(files["relit"]).stem)
            np.testing.assert_array_equal(rgb((folder / files["relit"]).read_bytes()), baked(data, sample, "relit"))
            seen += 1
    assert len(columns) == 1 and seen == len(data)
    card = (exported["huggingface"] / "README.md").read_text()
    assert card.startswith("---\n") and all(f"  - split: {split}\n" in card for split in selection.splits)


def test_humanolat_folders_are_what_our_imports_read(
    exported: dict[str, Path], data: DatasetView, selection: Selection, tmp_path: Path
) -> None:
    subject = exported["humanolat"] / "SUBJECT_take"
    rig = read_calibration(subject / "shared" / "cameras.calib")
    assert rig.ids == ("Cam01", "Cam02", "Cam03")
    for camera, id in zip(rig.cameras, ("c00", "c01", "c02"), strict=True):
        ours = selection.cameras["take", id]
        assert (camera.width, camera.height) == (ours.width, ours.height)
        np.testing.assert_allclose(camera.project(POINTS), ours.project(POINTS), atol=1e-6)  # px
    with (subject / "POSE_00" / "lights.csv").open() as lines:
        lit = {int(row["frame"]): (row["kind"], row["hdri"]) for row in csv.DictReader(lines)}
    session = Session.new(str(tmp_path / "again.zarr"), {"name": "again"})
    about = {"camera_ids": list(rig.ids), "roles": ["body"] * 3, "models": ["pinhole5"] * 3}
    session.write_small("rig/size", np.tile(np.int32([96, 48]), (3, 1)), ("camera", "axis"), attrs=about)
    for kind, word in (("flat", "flat"), ("relit", "hdri")):
        frames = np.array([n for n, (found, _) in sorted(lit.items()) if found == word], np.int32)
        session.write_small(f"frames/{kind}", frames, (kind,))
    found = find_masks(session, subject / "POSE_00" / "segmentations")
    times = sorted({shot.times[kind] for shot in selection.shots for kind in ("flat", "relit")})
    for shot in selection.shots:
        name = f"Cam{1 + int(shot.camera[1:]):02d}"
        number = times.index(shot.times["relit"])
        assert lit[number] == ("hdri", shot.hdri)
        n = int(np.searchsorted(session.frames("relit"), number))
        mask = read_mask(found[name].by_kind["relit"][n], (96, 48))
        np.testing.assert_array_equal(mask == 255, baked(data, shot.sample, "mask") > 127)
        picture = subject / "POSE_00" / "images_processed" / name / f"take.{number:03d}.png"
        np.testing.assert_array_equal(rgb(picture.read_bytes()), baked(data, shot.sample, "relit"))


def test_a_humanolat_folder_is_a_recording_with_the_same_consent(exported: dict[str, Path], tmp_path: Path) -> None:
    pose = shutil.copytree(exported["humanolat"] / "SUBJECT_take" / "POSE_00", tmp_path / "POSE_00")
    (pose / "hdris").mkdir()
    for entry in ("park", "street"):
        write_hdr(pose / "hdris" / f"{entry}.exr", np.ones((32, 64, 3), np.float32))
    assert run(["-q", "ingest", str(pose), str(tmp_path / "again.zarr"), "--workers", "1"]) == 0
    session = open_session(str(tmp_path / "again.zarr"))
    assert list(session.cameras) == ["Cam01", "Cam02", "Cam03"] and session.attrs["subject"] == "s03"
    kept = {key: value for key, value in session.attrs["consent"].items() if value is not None}
    assert kept == CONSENT
    first = exported["nerfstudio"] / "train" / "take" / "relit_000000" / "images" / "c00.png"
    np.testing.assert_array_equal(session.read_rgb("Cam01", "relit", 0), rgb(first.read_bytes()))


def test_frames_that_a_humanolat_folder_leaves_out_bring_no_others_together(data: DatasetView, tmp_path: Path) -> None:
    export_dataset(data, tmp_path / "out", "humanolat", pairs=1, workers=1)  # pairs 0, 3 and 4
    pose = tmp_path / "out" / "SUBJECT_take" / "POSE_00"
    (pose / "hdris").mkdir()
    for entry in ("park", "street"):
        write_hdr(pose / "hdris" / f"{entry}.exr", np.ones((32, 64, 3), np.float32))
    assert run(["-q", "ingest", str(pose), str(tmp_path / "again.zarr"), "--workers", "1"]) == 0
    session = open_session(str(tmp_path / "again.zarr"))
    assert session.read("pairs/relit_frame").tolist() == [1, 7, 9]
    assert session.read("pairs/next_flat_frame").tolist() == [6, 8, -1]
    assert session.read("pairs/alpha")[0] == pytest.approx(1 / 6)


def test_humanolat_lists_each_split_in_a_file_of_its_own(exported: dict[str, Path], selection: Selection) -> None:
    pose = exported["humanolat"] / "SUBJECT_take" / "POSE_00"
    for split, count in selection.splits.items():
        frames = json.loads((pose / f"transforms_{split}.json").read_text())["frames"]
        assert len(frames) == 2 * count and all((pose / frame["file_path"]).is_file() for frame in frames)
    frame = frames[0]
    camera = selection.cameras["take", ("c00", "c01", "c02")[frame["cam_idx"]]]
    pose_of = np.array(frame["transform_matrix"])
    x, y, z = ((POINTS - pose_of[:3, 3]) @ pose_of[:3, :3]).T  # Blender's camera: looks along -z, y up
    cx, cy, fx, fy = frame["camera_intrinsics"]
    pixels = np.column_stack([fx * x / -z + cx - 0.5, fy * y / z + cy - 0.5])
    np.testing.assert_allclose(pixels, camera.project(POINTS), atol=1e-6)  # px


def test_clips_show_the_pairs_in_step_and_say_their_colours(
    exported: dict[str, Path], data: DatasetView, selection: Selection
) -> None:
    place = exported["mp4"] / "test_light_camera"
    lines = [json.loads(line) for line in (place / "clips.jsonl").read_text().splitlines()]
    assert [line["pairs"] for line in lines] == [[3, 4, 5]] and lines[0]["fps"] == pytest.approx(12.5)
    samples = {(shot.camera, shot.pair): shot.sample for shot in selection.shots}
    for key in ("flat", "relit", "mask"):
        with av.open(str(place / lines[0]["clip"] / f"{key}.mp4")) as video:
            stream = video.streams.video[0]
            context = stream.codec_context
            tags = context.color_range, context.colorspace, context.color_primaries, context.color_trc
            assert tags == (1, 1, 1, 13)  # limited, bt709, bt709, sRGB
            assert stream.average_rate == 12.5
            frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(stream)]
        assert len(frames) == 3
        for frame, pair in zip(frames, lines[0]["pairs"], strict=True):
            true = baked(data, samples["c02", pair], key)
            true = true if true.ndim == 3 else np.repeat(true[..., None], 3, axis=2)
            assert 10 * np.log10(255**2 / np.mean((frame.astype(float) - true) ** 2)) > 32  # dB; 4:2:0 blurs hard edges
            if key != "mask":
                np.testing.assert_allclose(frame[MIDDLE].mean(axis=(0, 1)), true[MIDDLE].mean(axis=(0, 1)), atol=4)
                blue = [baked(data, samples["c02", p], key)[MIDDLE][..., 2].mean() for p in lines[0]["pairs"]]
                assert int(np.argmin(np.abs(blue - frame[MIDDLE][..., 2].mean()))) == pair - 3  # 20 codes a pair


def test_a_missing_pair_ends_a_clip(selection: Selection) -> None:
    whole = [shot for shot in selection.shots if shot.split == "test_light_camera"]
    assert [[s.pair for s in run] for run in runs_of(whole)] == [[3, 4, 5]]
    assert [[s.pair for s in run] for run in runs_of([whole[0], whole[2]])] == [[3], [5]]


def test_every_export_says_whose_pictures_it_holds_and_no_path(
    exported: dict[str, Path], data: DatasetView, selection: Selection
) -> None:
    for name, out in exported.items():
        text = (out / "export.json").read_text()
        about = json.loads(text)
        assert about["format"] == "litdome-export" and about["layout"] == name and not about["publish"]
        assert about["fingerprint"] == data.fingerprint and about["splits"] == selection.splits
        assert about["sessions"][0]["subject"] == "s03" and about["sessions"][0]["consent"] == CONSENT
        assert str(data.path.parent) not in text
        card = (out / "README.md").read_text()
        assert "| take | s03 | 2026-01 | research, train | 2099-01-01 |" in card and "Not to be given away" in card


@pytest.mark.parametrize(
    ("consent", "publish", "words"),
    [
        ({"uses": ["research"]}, False, "not for train"),
        ({"uses": ["research", "train"]}, True, "not for publish"),
        (None, True, "no consent to publish was recorded"),
        ({"uses": ["train"], "expires": "2020-01-01"}, False, "ended on 2020-01-01"),
        ({"uses": ["train"], "withdrawn": "2026-02-03"}, False, "withdrew consent on 2026-02-03"),
    ],
)
def test_a_use_without_consent_is_refused_and_leaves_nothing(
    consent: dict[str, object] | None, publish: bool, words: str, data: DatasetView, tmp_path: Path
) -> None:
    attrs = {**data.attrs, "sessions": [{**data.attrs["sessions"][0], "consent": consent}]}
    copy = copied(data, tmp_path / "copy", attrs)
    with pytest.raises(ConsentError, match=words) as refused:
        export_dataset(copy, tmp_path / "out", "colmap", publish=publish)
    assert refused.value.exit_code == 2 and "s03" in refused.value.message
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_publishing_with_consent_is_said(data: DatasetView, tmp_path: Path) -> None:
    sessions = [{**data.attrs["sessions"][0], "consent": {"version": "1", "uses": ["train", "publish"]}}]
    copy = copied(data, tmp_path / "copy", {**data.attrs, "sessions": sessions})
    assert export_dataset(copy, tmp_path / "out", "colmap", pairs=1, publish=True, workers=1) is not None
    assert json.loads((tmp_path / "out" / "export.json").read_text())["publish"] is True
    assert "To be given away" in (tmp_path / "out" / "README.md").read_text()


def test_a_limit_counts_pairs_so_that_moments_keep_their_cameras(data: DatasetView) -> None:
    few = select_shots(data, pairs=1)
    assert few.splits == {"train": 2, "test_light": 2, "test_camera": 1, "test_light_camera": 1}
    assert {(shot.pair, shot.moment_split) for shot in few.shots if not shot.is_held_out_camera} == {
        (0, "train"),
        (min(shot.pair for shot in few.shots if shot.split == "test_light"), "test_light"),
    }


def test_wrong_words_are_refused_before_anything_is_written(data: DatasetView, tmp_path: Path) -> None:
    for format, splits, words in (
        ("tfrecord", None, "not one of nerfstudio, webdataset"),
        ("colmap", ["test_moon"], "no split test_moon"),
    ):
        with pytest.raises(UsageError, match=words):
            export_dataset(data, tmp_path / "out", format, splits=splits)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="exists"):
        export_dataset(data, tmp_path / "there", "colmap")
    with pytest.raises(UsageError, match="lies inside"):
        export_dataset(data, Path(data.path) / "out", "colmap")
    assert not (Path(data.path) / "out").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["there", "mine.txt"]


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_stopped_or_failed_export_leaves_nothing(name: str, data: DatasetView, tmp_path: Path) -> None:
    asked: list[int] = []
    stopped = export_dataset(
        data, tmp_path / "out", name, workers=1, should_stop=lambda: bool(asked) or bool(asked.append(1))
    )
    assert stopped is None and list(tmp_path.iterdir()) == []

    def broken(what: str, done: int, total: int) -> None:
        if done:
            raise RuntimeError("progress failed")

    with pytest.raises(RuntimeError, match="progress failed"):
        export_dataset(data, tmp_path / "out", name, workers=1, progress=broken)
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_counts_and_refuses_what_is_there(
    data: DatasetView, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["-q", "dataset", "export", str(data.path), str(tmp_path / "out"), "--format", "webdataset"]
    assert run([*command, "--split", "train", "--workers", "1"]) == 0
    assert "webdataset, train" in capsys.readouterr().out
    assert run(command) == 2 and run([*command[:-1], "tfrecord"]) == 2
    assert run(["-q", "dataset", "export", str(tmp_path / "none"), str(tmp_path / "x"), "--format", "mp4"]) == 5


def copied(data: DatasetView, path: Path, attrs: dict[str, object]) -> DatasetView:
    """The dataset at another path with other attributes."""
    import zarr

    shutil.copytree(data.path, path)
    zarr.open_group(path, mode="r+").attrs.update(attrs)
    return open_dataset(path)

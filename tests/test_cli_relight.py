"""``litdome relight``: every form in, every form out, stopped and gone on with; real files, a random network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import get_args

import av
import cv2
import numpy as np
import pytest
import zarr
from small_run import CONSENT, moving_block, one_lamp, small_run

from litdome.cli import run
from litdome.cli.relight import CONVENTIONS
from litdome.color import linear_from_srgb
from litdome.datasets.withdrawal import find_derived
from litdome.lighting import HdriConvention
from litdome.media.folders import read_matte, read_picture
from litdome.media.hdr import read_exr_tags, read_hdr
from litdome.media.png import read_png_tags, write_png

torch = pytest.importorskip("torch")
EIGHT_BITS = (np.linspace(0, 255, 32 * 64 * 3).round() / 255).astype(np.float32).reshape(32, 64, 3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("relight")
    small_run(folder)
    one_lamp(folder / "lamp.exr")
    moving_block(folder / "walk.mp4", 11)
    return folder


def relight(trained: Path, output: Path, *options: str, clip: str | Path | None = None, hdri: str = "lamp.exr") -> int:
    chosen = [] if clip is None else ["--clip", str(clip)]
    light = str(trained / hdri)
    return run(["-q", "relight", str(trained / "run"), *chosen, "--hdri", light, "-o", str(output), *options])


def pictures_of(path: Path) -> np.ndarray:
    if path.is_dir():
        return np.stack([read_picture(file) for file in sorted(path.iterdir()) if file.suffix != ".json"])
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_a_video_becomes_a_video_of_its_size_length_and_rate_that_says_what_it_is(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--rotate", "0:360", "--gain", "1:2")
    assert relight(trained, tmp_path / "out.mp4", *options, clip=trained / "walk.mp4") == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(tmp_path / "out.mp4") and "padded to 48x32 px" in said.err
    assert pictures_of(tmp_path / "out.mp4").shape == (11, 30, 44, 3)
    assert pictures_of(tmp_path / "out-preview.mp4").shape == (11, 30, 88, 3)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].average_rate == 30
        about = json.loads(container.metadata["comment"])["litdome"]
    assert about["synthetic"] is True and about["subjects"] == ["s03"] and about["consent"] == [CONSENT, CONSENT]
    assert about["rotate_deg"] == [0, 360] and about["gain"] == [1, 2] and about["hdri"] == "lamp.exr"
    assert json.loads((tmp_path / "out.json").read_text())["litdome"] == about
    assert read_png_tags(tmp_path / "out-sheet.png")["litdome"] == json.dumps(about)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "out-preview.mp4",
        "out-sheet.png",
        "out.json",
        "out.mp4",
    ]
    assert [(one.kind, one.subjects) for one in find_derived([tmp_path])] == [("video", ("s03",))] * 2


def test_pictures_with_alpha_keep_it_and_what_lies_under_alpha_0_changes_nothing(trained: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    colours = rng.integers(0, 256, (3, 32, 48, 3), np.uint8)
    alpha = np.zeros((32, 48), np.uint8)
    alpha[8:24, 10:40], alpha[8:24, 8:10] = 255, 100
    for name, under in (("a", 0), ("b", 255)):
        (tmp_path / name).mkdir()
        for k, picture in enumerate(colours):
            hidden = np.where(alpha[..., None] == 0, np.uint8(under), picture)
            write_png(tmp_path / name / f"{k:03d}.png", np.dstack([hidden, alpha]), {})
        assert relight(trained, tmp_path / f"{name}-relit", clip=tmp_path / name) == 0
    np.testing.assert_array_equal(pictures_of(tmp_path / "a-relit"), pictures_of(tmp_path / "b-relit"))
    for file in sorted((tmp_path / "a-relit").glob("*.png")):
        np.testing.assert_array_equal(read_matte(file), alpha)
        assert json.loads(read_png_tags(file)["litdome"])["synthetic"] is True
    assert relight(trained, tmp_path / "black", "--backdrop", "black", clip=tmp_path / "a") == 0
    assert (pictures_of(tmp_path / "black") != pictures_of(tmp_path / "a-relit")).any()
    (about,) = [one for one in find_derived([tmp_path / "a-relit"])]
    assert (about.kind, about.subjects) == ("pictures", ("s03",))


def test_exr_is_the_inverse_of_srgb_in_half_floats_premultiplied(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    alpha = np.tile(np.linspace(0, 255, 48).astype(np.uint8), (32, 1))
    grey = np.full((32, 48, 3), 128, np.uint8)
    write_png(tmp_path / "flat" / "0.png", np.dstack([grey, alpha]), {})
    for output in ("png", "out.exr"):
        assert relight(trained, tmp_path / output, clip=tmp_path / "flat") == 0
    codes = pictures_of(tmp_path / "png")[0] / np.float32(255)
    exr = tmp_path / "out.exr" / "000000.exr"
    wanted = linear_from_srgb(codes.astype(np.float32)) * (alpha / 255)[..., None]
    np.testing.assert_allclose(read_hdr(exr), wanted, atol=0.005)  # half a code of the png, at white
    np.testing.assert_allclose(read_matte(exr), alpha / 255, atol=0.0005)  # a step of half floats below 1
    assert json.loads(read_exr_tags(exr)["litdome"])["synthetic"] is True


@pytest.mark.parametrize("output", ["whole.mp4", "whole", "whole.exr"])
def test_stopped_after_any_picture_the_same_command_gives_the_same_pictures(
    trained: Path, tmp_path: Path, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from litdome.train_plugins.relit import Unfinished

    walk, turn = trained / "walk.mp4", ("--rotate", "0:90")
    assert relight(trained, tmp_path / output, *turn, clip=walk) == 0
    (tmp_path / "again").mkdir()
    stopped = tmp_path / "again" / output
    add = Unfinished.add
    for last in (0, 5, 6):

        def stop(self: Unfinished, *args: object, last: int = last) -> None:
            add(self, *args)
            if self.done == last + 1:
                raise KeyboardInterrupt

        monkeypatch.setattr(Unfinished, "add", stop)
        assert relight(trained, stopped, *turn, clip=walk) == 130
        assert not stopped.exists()
        assert len(list((tmp_path / "again" / f"{output}.unfinished" / "pictures").iterdir())) == last + 1
    monkeypatch.undo()
    assert relight(trained, stopped, "--rotate", "0:91", clip=walk) == 2
    assert relight(trained, stopped, *turn, clip=walk) == 0
    np.testing.assert_array_equal(pictures_of(stopped), pictures_of(tmp_path / output))
    assert not (tmp_path / "again" / f"{output}.unfinished").exists()


def test_a_camera_of_the_dataset_and_its_flat_pictures_in_a_folder_give_the_same(trained: Path, tmp_path: Path) -> None:
    codes = zarr.open_group(trained / "data", mode="r")["cameras/two/c01/flat"][1:4]
    (tmp_path / "flat").mkdir()
    for k, picture in enumerate(codes):
        write_png(tmp_path / "flat" / f"{k}.png", picture, {})
    pose = zarr.open_group(trained / "data", mode="r")["rig/two/world_from_camera"][1]
    assert relight(trained, tmp_path / "camera", clip="two/c01:1:4") == 0
    assert relight(trained, tmp_path / "folder", clip=tmp_path / "flat") == 0
    about = json.loads((tmp_path / "camera" / "relit.json").read_text())["litdome"]
    np.testing.assert_allclose(about["world_from_camera"], pose, atol=1e-8)
    assert (pictures_of(tmp_path / "camera") != pictures_of(tmp_path / "folder")).any()  # another pose, another light
    assert relight(trained, tmp_path / "first", clip="c00") == 0 and len(pictures_of(tmp_path / "first")) == 6


def test_part_of_a_video_is_relit_where_it_is_told(trained: Path, tmp_path: Path) -> None:
    assert relight(trained, tmp_path / "part", clip=f"{trained / 'walk.mp4'}:2:7") == 0
    about = json.loads((tmp_path / "part" / "relit.json").read_text())["litdome"]
    assert len(pictures_of(tmp_path / "part")) == about["pictures"] == 5 and about["clip_part"] == [2, 7]


def test_a_network_that_needs_a_gpu_says_what_it_would_need(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained / "run", tmp_path / "run")
    config = (tmp_path / "run" / "config.toml").read_text()
    large = config.replace("heads = 1", "heads = 2").replace("head_dim = 24", "head_dim = 64")
    (tmp_path / "run" / "config.toml").write_text(large.replace("blocks = 1\n", "blocks = 6000\n"))
    light = str(trained / "lamp.exr")
    command = ["relight", str(tmp_path / "run"), "--hdri", light, "-o", str(tmp_path / "o.mp4"), "--device", "cpu"]
    assert run(command) == 8
    assert "no GPU here, and base random has 1.2" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_bad_input_is_one_line_with_its_exit_code_and_leaves_nothing(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    walk = trained / "walk.mp4"
    (tmp_path / "empty").mkdir()
    (tmp_path / "mixed").mkdir()
    for k, height in enumerate((32, 16)):
        write_png(tmp_path / "mixed" / f"{k}.png", np.zeros((height, 48, 3), np.uint8), {})
    (tmp_path / "cut.mp4").write_bytes(walk.read_bytes()[:-600])
    (tmp_path / "noise.mp4").write_bytes(b"noise" * 100)
    (tmp_path / "there.mp4").write_bytes(b"")
    cv2.imwrite(str(tmp_path / "eight.hdr"), EIGHT_BITS)
    (tmp_path / "lamp.png").write_bytes(b"")
    shutil.copy(trained / "lamp.exr", tmp_path / "lamp.exr")
    before = sorted(tmp_path.rglob("*"))
    cases: list[tuple[int, str, dict[str, str], tuple[str, ...]]] = [
        (2, "exists already", {"output": "there.mp4"}, ()),
        (2, ".gif is not written", {"output": "out.gif"}, ()),
        (2, "no such camera, folder or video", {"clip": "c77"}, ()),
        (2, "no pairs in 90:95", {"clip": "c00:90:95"}, ()),
        (2, "expected CAMERA, FOLDER or VIDEO, with :START:STOP", {"clip": "c00:1"}, ()),
        (2, "expected CAMERA, FOLDER or VIDEO", {"clip": ""}, ()),
        (2, "no pictures 9:12, it holds 11", {"clip": f"{walk}:9:12"}, ()),
        (4, "no pictures in it", {"clip": str(tmp_path / "empty")}, ()),
        (4, "48x16 px, the first picture is 48x32", {"clip": str(tmp_path / "mixed")}, ()),
        (4, "cut.mp4", {"clip": str(tmp_path / "cut.mp4")}, ()),
        (4, "noise.mp4", {"clip": str(tmp_path / "noise.mp4")}, ()),
        (4, "no such HDRI", {"hdri": str(tmp_path / "no.exr")}, ()),
        (4, "8-bit steps", {"hdri": str(tmp_path / "eight.hdr")}, ()),
        (4, "a picture holds no radiance", {"hdri": str(tmp_path / "lamp.png")}, ()),
        (2, "expected A or A:B", {}, ("--rotate", "0:1:2")),
        (2, "below 0", {}, ("--gain", "-1")),
        (2, "not finite", {}, ("--rotate", "nan")),
        (2, "not whole multiples of 16", {}, ("--size", "100x100")),
        (2, "not here", {}, ("--device", "cuda:7")),
        (2, "of the cameras of a dataset it is known", {"clip": "c00"}, ("--fps", "24")),
        (4, "no such rig", {}, ("--camera-pose", "nowhere.zarr:c00")),
    ]
    for code, words, change, options in cases:
        clip, output = change.get("clip", str(walk)), tmp_path / change.get("output", "out.mp4")
        assert relight(trained, output, *options, clip=clip, hdri=change.get("hdri", "lamp.exr")) == code, words
        error = capsys.readouterr().err
        assert words in error and "Traceback" not in error, error
    left = [path for path in sorted(tmp_path.rglob("*")) if path not in before]
    assert left == []


def test_a_run_that_relights_nothing_or_is_none_is_refused(trained: Path, tmp_path: Path) -> None:
    light = str(trained / "lamp.exr")
    assert run(["relight", str(tmp_path), "--hdri", light, "-o", str(tmp_path / "out.mp4")]) == 5
    shutil.copytree(trained / "run", tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-000001")
    assert run(["relight", str(tmp_path / "run"), "--hdri", light, "-o", str(tmp_path / "out.mp4")]) == 8


def test_without_its_dataset_a_run_relights_videos_and_says_what_it_does_not_know(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained / "run", tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps({**record, "dataset": str(tmp_path / "gone")}))
    command = [
        "-q",
        "relight",
        str(tmp_path / "run"),
        "--hdri",
        str(trained / "lamp.exr"),
        "-o",
        str(tmp_path / "o.mp4"),
    ]
    assert run(command) == 2
    assert run([*command, "--clip", str(trained / "walk.mp4")]) == 0
    assert "consent and picture size are not known" in capsys.readouterr().err
    about = json.loads((tmp_path / "o.json").read_text())["litdome"]
    assert about["consent"] is None and about["subjects"] == ["s03"] and about["frame"] == [32, 48]


def test_withdrawn_consent_is_refused(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(trained, tmp_path / "all")
    record = json.loads((tmp_path / "all" / "run" / "run.json").read_text())
    text = json.dumps({**record, "dataset": str(tmp_path / "all" / "data")})
    (tmp_path / "all" / "run" / "run.json").write_text(text)
    assert run(["withdraw", "s03", str(tmp_path / "all")]) == 0
    assert relight(tmp_path / "all", tmp_path / "out.mp4", clip=trained / "walk.mp4") == 2
    assert "withdrew consent" in capsys.readouterr().err and not (tmp_path / "out.mp4").exists()


def test_the_conventions_of_the_option_are_all_there_are() -> None:
    assert get_args(HdriConvention) == CONVENTIONS

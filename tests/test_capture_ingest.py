"""Ingest: every picture lands at its rig frame, whatever was dropped; broken recordings are refused whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

from litdome.capture.check import IngestConfig, check_recording
from litdome.capture.ingest import Ingest
from litdome.capture.recording import read_recording, session_attrs
from litdome.capture.space import needed_bytes
from litdome.compute import Threads
from litdome.errors import ConfigError, FrameAbsentError, InputError, StoreError, UsageError
from litdome.lighting import rotate_hdri
from litdome.media.encode import VideoWriter
from litdome.media.hdr import write_hdr
from litdome.media.planes import rgb_from_planes
from litdome.media.video import iter_planes
from litdome.pipeline import ingest_recording, run_stage
from litdome.store.provenance import StageRecord
from litdome.store.session import Session

FRAMES = 20
HDR = np.random.default_rng(0).random((32, 64, 3)).astype(np.float32) + 0.1


def grey(frame: int) -> int:
    """Level that tells which rig frame a picture shows."""
    return 30 + 9 * frame


def film(path: Path, frames: Iterable[int], size: tuple[int, int] = (48, 32)) -> None:
    with VideoWriter(path, fps=25, crf=0) as video:
        for frame in frames:
            video.write(np.full((size[1], size[0], 3), grey(frame), np.uint8))


def make_take(folder: Path, dropped: dict[str, set[int]] | None = None, *, toml: str = "", kinds: str = "fr") -> Path:
    """A take of two cameras whose pictures show their rig frame, with time stamps. Kinds by letter."""
    dropped = dropped or {}
    rows = ["camera,frame,time_ns"]
    for id in ("c00", "c01"):
        kept = [frame for frame in range(FRAMES) if frame not in dropped.get(id, set())]
        film(folder / f"cameras/{id}.mp4", kept)
        rows += [f"{id},{n},{10**15 + frame * 40_000_000}" for n, frame in enumerate(kept)]
    (folder / "timestamps.csv").write_text("\n".join(rows) + "\n")
    words = {"f": "flat,,,", "r": "hdri,field,,", "d": "dark,,,", "p": "pattern,7,,"}
    lights = [f"{frame},{words[kinds[frame % len(kinds)]]}" for frame in range(FRAMES)]
    (folder / "lights.csv").write_text("\n".join(["frame,kind,hdri,rotation_deg,gain", *lights]) + "\n")
    (folder / "hdris").mkdir(exist_ok=True)
    write_hdr(folder / "hdris/field.exr", HDR)
    (folder / "recording.toml").write_text(f'fps = 25.0\nsubject = "s1"\n{toml}')
    return folder


def ingest(folder: Path, out: Path, **settings: object) -> tuple[Session, StageRecord]:
    recording = read_recording(folder)
    session = Session.new(str(out), session_attrs(recording))
    config, inputs = IngestConfig(**settings), {"recording": "x"}
    record = run_stage(session, Ingest(recording), config, inputs=inputs, executor=Threads(2))
    return session, record


def shown_frame(session: Session, camera: str, kind: str, n: int) -> float:
    return (float(session.read_frame(camera, kind, n).mean()) - grey(0)) / 9


def test_drops_leave_holes_and_shift_nothing(tmp_path: Path) -> None:
    whole, _ = ingest(make_take(tmp_path / "a"), tmp_path / "a.zarr")
    holed, record = ingest(make_take(tmp_path / "b", {"c01": {3, 4, 11}}), tmp_path / "b.zarr")
    for session in (whole, holed):
        for camera in session.cameras:
            for kind in ("flat", "relit"):
                for n, frame in enumerate(session.frames(kind)):
                    if session is holed and camera == "c01" and frame in (3, 4, 11):
                        assert not session.is_present(camera, kind, n)
                        with pytest.raises(FrameAbsentError):
                            session.read_frame(camera, kind, n)
                    else:
                        assert shown_frame(session, camera, kind, n) == pytest.approx(frame, abs=0.25)
    for field, values in vars(whole.pairs).items():
        np.testing.assert_array_equal(values, getattr(holed.pairs, field))
    assert record.summary["frames_present"] == [20, 17] and record.summary["frames_absent"] == [0, 3]
    assert any("c01: 3 rig frames absent: 3, 4, 11" in warning for warning in record.warnings)
    assert (np.asarray(holed.array("cameras/c01/flat/luma")[2]) == 0).all()


def test_without_time_stamps_the_same_drop_would_shift(tmp_path: Path) -> None:
    folder = make_take(tmp_path / "a", {"c01": {3}})
    (folder / "timestamps.csv").unlink()
    session, _ = ingest(folder, tmp_path / "a.zarr")
    assert shown_frame(session, "c01", "flat", 5) == pytest.approx(11, abs=0.25)  # rig frame 10 is asked for


def test_the_store_says_what_the_recording_said(tmp_path: Path) -> None:
    folder = make_take(tmp_path / "a", kinds="fdrp")
    (folder / "background").mkdir()
    plate = np.random.default_rng(1).integers(0, 256, (32, 48, 3), np.uint8)
    cv2.imwrite(str(folder / "background/c00.png"), plate[..., ::-1])
    session, record = ingest(folder, tmp_path / "a.zarr")
    assert [session.count(kind) for kind in ("flat", "dark", "relit")] == [5, 5, 5]
    assert session.read("schedule/pattern").tolist() == [-1, -1, -1, 7] * 5
    assert session.read("schedule/time_ns")[:2].tolist() == [10**15, 10**15 + 40_000_000]
    np.testing.assert_array_equal(session.read("cameras/c00/background"), plate)
    np.testing.assert_array_equal(session.read_hdri(0), HDR)
    assert session.hdri_names == ("field",) and list(session.root["hdris"].attrs["names"]) == ["field"]
    assert record.summary["pattern_frames_left"] == 5 and record.summary["pairs"] == 5
    attrs = session.array("cameras/c00/flat/luma").attrs
    assert (attrs["matrix"], attrs["range"], attrs["subsampling"], attrs["bits"]) == ("bt709", "limited", "420", 8)
    for path in (
        "rig/size",
        "schedule/present",
        "frames/flat",
        "pairs/alpha",
        "cameras/c00/relit/chroma",
        "hdris/field",
    ):
        assert session.array(path).metadata.dimension_names


def test_planes_are_stored_code_for_code(tmp_path: Path) -> None:
    folder = make_take(tmp_path / "a")
    session, _ = ingest(folder, tmp_path / "a.zarr")
    for frame, codes in enumerate(iter_planes(folder / "cameras/c00.mp4")):
        group = f"cameras/c00/{'relit' if frame % 2 else 'flat'}"
        np.testing.assert_array_equal(session.array(f"{group}/luma")[frame // 2], codes.luma)
        np.testing.assert_array_equal(session.array(f"{group}/chroma")[frame // 2], codes.chroma)


def test_rotations_and_gains_are_applied_to_the_pixels(tmp_path: Path) -> None:
    folder = make_take(tmp_path / "a")
    text = (folder / "lights.csv").read_text().replace("1,hdri,field,,", "1,hdri,field,90,2")
    (folder / "lights.csv").write_text(text)
    session, _ = ingest(folder, tmp_path / "a.zarr")
    turned = next(n for n, entry in enumerate(session.schedule.entries) if entry.rotation_deg)
    np.testing.assert_allclose(session.read_hdri(turned), 2 * rotate_hdri(HDR, 90.0), rtol=1e-6)
    assert session.pairs.hdri[0] == turned and session.pairs.hdri[1] != turned


def test_few_broken_texels_are_mended_and_said(tmp_path: Path) -> None:
    folder = make_take(tmp_path / "a")
    hdr = HDR.copy()
    hdr[3, 4, 0], hdr[5, 6] = np.nan, np.inf
    write_hdr(folder / "hdris/field.exr", hdr)
    session, record = ingest(folder, tmp_path / "a.zarr")
    found = session.read_hdri(0)
    assert found[3, 4, 0] == 0 and (found[5, 6] == 65504).all()
    assert [text.split("field.exr: ")[1] for text in record.warnings if "field.exr" in text] == [
        "1 NaN texels set to 0",
        "1 infinite texels set to 65504",
    ]


def test_a_map_that_is_no_sphere_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    folder = make_take(tmp_path / "a")
    write_hdr(folder / "hdris/field.exr", HDR[:, :-3])
    with pytest.raises(InputError, match=r"field\.exr: 61x32"):
        ingest_recording(folder, str(tmp_path / "a.zarr"), {})
    assert not (tmp_path / "a.zarr").exists()


def test_convention_and_session_gain_come_from_the_recording(tmp_path: Path) -> None:
    toml = '[lights]\nhdri_convention = "openexr"\nlight_gain = 0.25\n'
    session, _ = ingest(make_take(tmp_path / "a", toml=toml), tmp_path / "a.zarr")
    assert session.hdri_convention == "openexr" and session.light_gain == 0.25
    plain, _ = ingest(make_take(tmp_path / "b"), tmp_path / "b.zarr")
    assert plain.hdri_convention == "physical" and plain.light_gain == 1.0
    for wrong in ('hdri_convention = "blender"', "light_gain = 0", "light_gain = nan"):
        with pytest.raises(ConfigError, match=wrong.split(" ")[0]):
            read_recording(make_take(tmp_path / "c", toml=f"[lights]\n{wrong}\n"))
        shutil.rmtree(tmp_path / "c")


def test_a_missing_or_broken_camera_is_named_before_anything_is_written(tmp_path: Path) -> None:
    cameras = '[cameras.c00]\nsource = "cameras/c00.mp4"\n[cameras.c07]\nsource = "cameras/c07.mp4"\n'
    folder = make_take(tmp_path / "a", toml=cameras)
    with pytest.raises(InputError, match="camera c07") as caught:
        check_recording(read_recording(folder), IngestConfig())
    assert caught.value.exit_code == 4 and "--skip-camera c07" in str(caught.value.hint)
    (folder / "cameras/c07.mp4").write_bytes((folder / "cameras/c00.mp4").read_bytes()[:300])
    with pytest.raises(InputError, match="camera c07"):
        check_recording(read_recording(folder), IngestConfig())
    session, record = ingest(folder, tmp_path / "a.zarr", skip_cameras=("c07",))
    assert session.cameras == ("c00",) and "camera c07: skipped as asked" in record.warnings
    with pytest.raises(UsageError, match="no camera c9"):
        check_recording(read_recording(folder), IngestConfig(skip_cameras=("c9",)))


def test_short_cameras_are_kept_and_long_ones_reported(tmp_path: Path) -> None:
    folder = make_take(tmp_path / "a")
    (folder / "timestamps.csv").unlink()
    film(folder / "cameras/c00.mp4", range(15))
    film(folder / "cameras/c01.mp4", range(23))
    session, record = ingest(folder, tmp_path / "a.zarr")
    assert record.summary["frames_present"] == [15, 20]
    assert shown_frame(session, "c00", "flat", 7) == pytest.approx(14, abs=0.25)
    assert any("c00: 5 rig frames absent" in warning for warning in record.warnings)
    assert any("c01: 3 pictures outside the schedule" in warning for warning in record.warnings)


def test_a_schedule_that_goes_on_after_all_cameras_is_said_once(tmp_path: Path) -> None:
    folder = make_take(tmp_path / "a")
    _, whole = ingest(folder, tmp_path / "whole.zarr")
    assert not any("no camera has a picture" in warning for warning in whole.warnings)
    with (folder / "lights.csv").open("a") as lights:
        lights.writelines(f"{frame},flat,\n" for frame in range(FRAMES, FRAMES + 4))
    _, record = ingest(folder, tmp_path / "a.zarr", trust="file")
    text = "lights.csv lists 24 frames, no camera has a picture after rig frame 19: the rest is absent"
    assert text in record.warnings


def test_scale_resizes_planes_and_keeps_colours(tmp_path: Path) -> None:
    folder = make_take(tmp_path / "a")
    session, _ = ingest(folder, tmp_path / "a.zarr", scale=0.5)
    assert session.size("c00") == (24, 16) and session.array("rig/size").attrs["recorded_sizes"] == [[48, 32]] * 2
    assert session.read_frame("c00", "flat", 1).shape == (16, 24, 3)
    assert shown_frame(session, "c00", "flat", 4) == pytest.approx(8, abs=0.25)


@pytest.mark.parametrize(("suffix", "dtype"), [(".png", np.uint16), (".jpg", np.uint8), (".exr", np.float16)])
def test_picture_folders_become_rgb_arrays(tmp_path: Path, suffix: str, dtype: type) -> None:
    folder = make_take(tmp_path / "a")
    (folder / "timestamps.csv").unlink()
    for id in ("c00", "c01"):
        (folder / f"cameras/{id}.mp4").unlink()
        (folder / f"cameras/{id}").mkdir()
        for frame in range(FRAMES):
            level = grey(frame) / 255
            path = folder / f"cameras/{id}/{frame:06d}{suffix}"
            picture = np.full((32, 48, 3), level, np.float32)
            if suffix == ".exr":
                write_hdr(path, picture)
            else:
                cv2.imwrite(str(path), np.round(picture * np.iinfo(dtype).max).astype(dtype))
    session, _ = ingest(folder, tmp_path / "a.zarr")
    array = session.array("cameras/c01/relit/rgb")
    assert array.dtype == dtype and array.shape == (10, 32, 48, 3)
    top = 1 if suffix == ".exr" else np.iinfo(dtype).max
    assert float(array[4].astype(np.float64).mean()) / top == pytest.approx(grey(9) / 255, abs=0.003)


def test_a_number_that_a_folder_leaves_out_is_a_lost_frame_and_a_broken_picture_is_undecodable(tmp_path: Path) -> None:
    folder = make_take(tmp_path / "a")
    (folder / "timestamps.csv").unlink()
    (folder / "cameras/c01.mp4").unlink()
    pictures = folder / "cameras/c01"
    pictures.mkdir()
    for frame in set(range(20)) - {5}:
        cv2.imwrite(str(pictures / f"{frame:06d}.png"), np.full((32, 48, 3), grey(frame), np.uint8))
    (pictures / "000009.png").write_bytes(b"")
    _, record = ingest(folder, tmp_path / "a.zarr", trust="file")
    counts = {"container": 19, "claimed": None, "decoded": 18, "undecodable": 1, "left_out": 0}
    assert record.summary["counts"]["c01"] == counts
    texts = [text for text in record.warnings if text.startswith("camera c01: ")]
    assert "camera c01: 1 picture cannot be decoded: rig frame 9" in texts
    assert "camera c01: 2 rig frames absent: 5, 9" in texts


def test_without_a_schedule_the_light_is_found_by_looking(tmp_path: Path) -> None:
    folder = make_take(tmp_path / "a")
    (folder / "lights.csv").unlink()
    rng = np.random.default_rng(3)
    for id in ("c00", "c01"):
        with VideoWriter(folder / f"cameras/{id}.mp4", fps=25, crf=0) as video:
            for frame in range(FRAMES):
                level = 180 if frame % 2 else rng.integers(40, 140)
                video.write(np.full((32, 48, 3), level, np.uint8))
    session, record = ingest(folder, tmp_path / "a.zarr")
    assert session.frames("flat").tolist() == list(range(1, FRAMES, 2))
    assert (session.pairs.hdri == -1).all() and "found by looking" in record.summary["lights"]


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    folder = make_take(tmp_path / "a", {"c01": {5}})
    for name in ("one.zarr", "two.zarr"):
        ingest(folder, tmp_path / name)
    one, two = tmp_path / "one.zarr", tmp_path / "two.zarr"
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(two) for path in two.rglob("*") if path.is_file())
    for file in files:
        if file.name != "zarr.json" or "steps" not in file.parts:
            assert (one / file).read_bytes() == (two / file).read_bytes(), file


def test_an_unfinished_camera_is_all_that_a_second_call_does(tmp_path: Path) -> None:
    recording = read_recording(make_take(tmp_path / "a"))
    session = Session.new(str(tmp_path / "a.zarr"), session_attrs(recording))
    stage, config = Ingest(recording), IngestConfig()
    first, second = stage.prepare(session, config)
    stage.run(session, config, first)
    again = Ingest(recording)
    assert again.prepare(session, config) == [first, second]
    again.run(session, config, second)
    assert again.finish(session, config)["frames_present"] == [20, 20]
    assert shown_frame(session, "c00", "relit", 3) == pytest.approx(7, abs=0.25)


def test_the_real_recording_goes_in(real_walk: Path, tmp_path: Path) -> None:
    others = ("c02", "c03", "c04")
    session, record = ingest(real_walk, tmp_path / "walk.zarr", skip_cameras=others, scale=0.25)
    assert len(session.pairs) == 50 and session.size("c01") == (270, 480) and len(session.hdri_names) == 3
    assert record.summary["frames_present"] == [100] and np.nanmax(np.abs(session.pairs.alpha - 0.5)) < 1e-6
    codes = next(iter_planes(real_walk / "cameras/c01.mp4"))
    whole = rgb_from_planes(codes.luma, codes.chroma)
    small = cv2.resize(whole, (270, 480), interpolation=cv2.INTER_AREA)
    assert np.abs(session.read_frame("c01", "flat", 0).astype(int) - small).mean() < 2


def test_small_blocks_make_the_arrays_of_one_block(tmp_path: Path) -> None:
    folder = make_long_take(tmp_path / "a")
    whole, _ = ingest(folder, tmp_path / "whole.zarr")
    parts, record = ingest(folder, tmp_path / "parts.zarr", block_frames=16)
    assert len(parts.done("ingest")) > 4 and len(whole.done("ingest")) == 2
    paths = [f"cameras/{c}/{k}/{p}" for c in ("c00", "c01") for k in ("flat", "relit") for p in ("luma", "chroma")]
    for path in (*paths, "schedule/present", "looks/grid", "looks/fingerprint", "looks/motion_px"):
        np.testing.assert_array_equal(whole.read(path), parts.read(path), err_msg=path)
    assert record.summary["counts"]["c00"] == {
        "container": 100,
        "claimed": 100,
        "decoded": 100,
        "undecodable": 0,
        "left_out": 0,
    }


def make_long_take(folder: Path) -> Path:
    """A hundred frames in an interleave without a beat, a camera with drops."""
    kinds = np.random.default_rng(3).integers(0, 2, 100)
    kinds[0] = 0
    rows = ["camera,frame,time_ns"]
    for id, dropped in (("c00", ()), ("c01", (17, 18, 63))):
        kept = [frame for frame in range(100) if frame not in dropped]
        with VideoWriter(folder / f"cameras/{id}.mp4", fps=25, crf=20) as video:
            for frame in kept:
                rng = np.random.default_rng(frame)
                video.write(rng.integers(0, 255, (32, 48, 3), np.uint8))
        rows += [f"{id},{n},{10**15 + frame * 40_000_000}" for n, frame in enumerate(kept)]
    (folder / "timestamps.csv").write_text("\n".join(rows) + "\n")
    lights = [f"{frame},{'hdri,field' if kind else 'flat,'}" for frame, kind in enumerate(kinds)]
    (folder / "lights.csv").write_text("\n".join(["frame,kind,hdri", *lights]) + "\n")
    (folder / "hdris").mkdir()
    write_hdr(folder / "hdris/field.exr", HDR)
    (folder / "recording.toml").write_text("fps = 25.0\n")
    return folder


def test_a_crop_stores_the_codes_inside_it(tmp_path: Path) -> None:
    folder = make_take(tmp_path / "a")
    whole, _ = ingest(folder, tmp_path / "whole.zarr")
    cut, _ = ingest(folder, tmp_path / "cut.zarr", crop=(8, 4, 40, 28))
    assert cut.size("c00") == (32, 24) and cut.array("rig/size").attrs["crops"] == [[8, 4, 40, 28]] * 2
    luma, chroma = (whole.read(f"cameras/c00/flat/{plane}") for plane in ("luma", "chroma"))
    np.testing.assert_array_equal(cut.read("cameras/c00/flat/luma"), luma[:, 4:28, 8:40])
    np.testing.assert_array_equal(cut.read("cameras/c00/flat/chroma"), chroma[:, :, 2:14, 4:20])
    with pytest.raises(ConfigError, match="camera c00: crop 8,4,50,28 px is not inside 48x32 px"):
        ingest(folder, tmp_path / "out.zarr", crop=(8, 4, 50, 28))
    with pytest.raises(ConfigError, match="cuts through chroma"):
        ingest(folder, tmp_path / "odd.zarr", crop=(7, 4, 39, 28))


def test_a_take_that_will_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_take(tmp_path / "a")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6, 1000))
    with pytest.raises(StoreError, match=r"needs about [\d.]+ kB, 1 kB are free") as caught:
        ingest_recording(folder, str(tmp_path / "a.zarr"), {})
    assert caught.value.exit_code == 5 and not (tmp_path / "a.zarr").exists()


def test_the_estimate_of_the_room_is_near_what_is_taken(tmp_path: Path) -> None:
    folder = make_long_take(tmp_path / "a")
    stage = Ingest(read_recording(folder))
    expected = needed_bytes(stage.plan(IngestConfig()), stage.recording)
    half = Ingest(stage.recording, frozenset({"c01"}))
    assert needed_bytes(half.plan(IngestConfig()), half.recording) == pytest.approx(expected, rel=0.05)
    ingest(folder, tmp_path / "a.zarr")
    stored = [*(tmp_path / "a.zarr/cameras").rglob("c/**/*"), *(tmp_path / "a.zarr/hdris").rglob("c/**/*")]
    taken = sum(path.stat().st_size for path in stored if path.is_file())
    assert taken == pytest.approx(expected, rel=0.15)


def test_undecodable_pictures_are_counted_and_shift_nothing(tmp_path: Path) -> None:
    folder = make_long_take(tmp_path / "a")
    whole, _ = ingest(folder, tmp_path / "whole.zarr")
    file = folder / "cameras/c00.mp4"
    codes = bytearray(file.read_bytes())
    middle = len(codes) // 2
    codes[middle : middle + 4000] = bytes(4000)
    file.write_bytes(codes)
    broken, record = ingest(folder, tmp_path / "broken.zarr")
    lost = np.flatnonzero(~broken.read("schedule/present")[0])
    assert 0 < len(lost) < 60
    kept = {"decoded": 100 - len(lost), "undecodable": len(lost), "left_out": 0}
    assert record.summary["counts"]["c00"] == {"container": 100, "claimed": 100, **kept}
    assert any(f"c00: {len(lost)} pictures cannot be decoded: rig frames {lost[0]}" in text for text in record.warnings)
    for kind in ("flat", "relit"):
        for n, frame in enumerate(broken.frames(kind)):
            if frame not in lost:
                path = f"cameras/c00/{kind}/luma"
                np.testing.assert_array_equal(broken.array(path)[n], whole.array(path)[n])


def test_how_each_camera_was_set_is_kept(tmp_path: Path) -> None:
    tables = '[cameras.c00]\nsource = "cameras/c00.mp4"\nexposure_ms = 4.0\nlens = "50 mm prime"\n'
    folder = make_take(tmp_path / "a", toml=tables + '[cameras.c01]\nsource = "cameras/c01.mp4"\n')
    session, _ = ingest(folder, tmp_path / "a.zarr")
    first, second = session.array("rig/size").attrs["capture"]
    assert first == {"exposure_ms": 4.0, "lens": "50 mm prime"} and second == {}


def test_each_camera_keeps_the_transfer_of_its_files(tmp_path: Path) -> None:
    folder = make_take(tmp_path / "a")
    (folder / "cameras/c01.mp4").unlink()
    for frame in range(FRAMES):
        light = np.full((32, 48, 3), (grey(frame) / 255) ** 2.2, np.float32)
        (folder / "cameras/c01").mkdir(exist_ok=True)
        write_hdr(folder / f"cameras/c01/{frame:06d}.exr", light)
    session, _ = ingest(folder, tmp_path / "a.zarr")
    assert [session.transfer(camera) for camera in session.cameras] == ["srgb", "linear"]
    video, linear = (session.read_frame(camera, "flat", 3).mean() for camera in session.cameras)
    assert linear == pytest.approx(video, abs=2)  # the sRGB curve is near to a power of 2.2

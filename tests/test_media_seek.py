"""Any stretch of any source comes with exact numbers and codes, and damage shifts nothing."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from media_clips import CLIPS, HEIGHT, PICTURES, WIDTH, X264, Clip, plain_decode, scrolled_planes, write_clip

from litdome.errors import InputError
from litdome.media.images import iter_pictures, probe_source
from litdome.media.index import index_source
from litdome.media.planes import PictureCodes

Planes = list[np.ndarray]
CLOSED, PRORES = CLIPS[0], next(clip for clip in CLIPS if clip.name == "prores.mov")


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every clip of `CLIPS`."""
    folder = tmp_path_factory.mktemp("clips")
    for clip in CLIPS:
        write_clip(folder / clip.name, clip, scrolled_planes(clip.pix_fmt))
    return folder


def planes(codes: PictureCodes) -> Planes:
    return [codes.picture] if codes.chroma is None else [codes.picture, *codes.chroma]


def same(first: Planes, second: Planes) -> bool:
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def pictures(path: Path, start: int = 0, stop: int | None = None) -> dict[int, Planes]:
    return {number: planes(codes) for number, codes in iter_pictures(path, index_source(path), start, stop)}


def packets(path: Path) -> list[tuple[int, int, int]]:
    """(place in the file, size, pts) of each packet, in file order."""
    with av.open(str(path)) as container:
        return [(p.pos, p.size, p.pts) for p in container.demux(container.streams.video[0]) if p.size]


def damaged(path: Path, copy: Path, packet: int, share: float = 1.0) -> Path:
    """A copy in which the first part of one packet is lost: zeros, as a bad block reads."""
    place, size, _ = packets(path)[packet]
    raw = bytearray(path.read_bytes())
    raw[place : place + round(size * share)] = bytes(round(size * share))
    copy.write_bytes(raw)
    return copy


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.name)
def test_every_picture_comes_code_for_code(clips: Path, clip: Clip) -> None:
    path = clips / clip.name
    written = scrolled_planes(clip.pix_fmt)
    truth = dict(enumerate(written)) if clip.lossless else plain_decode(path)
    found = pictures(path)
    assert list(found) == list(range(PICTURES)) and len(index_source(path)) == PICTURES
    if index_source(path).times_ns is not None:  # else the plain decode has no times to sort it by
        assert all(same(found[n], truth[n]) for n in range(PICTURES))
    probe, layout = probe_source(path), av.VideoFormat(clip.pix_fmt, WIDTH, HEIGHT)
    assert (probe.width, probe.height, probe.subsampling[:1]) == (WIDTH, HEIGHT, "4")
    assert probe.bits >= layout.components[0].bits  # a ProRes 4444 decodes to 12 bits
    assert found[0][0].dtype == probe.dtype
    for n in range(PICTURES):
        apart = found[n][0] / 2.0**probe.bits - written[n][0] / 2.0 ** layout.components[0].bits
        assert np.abs(apart).mean() < 0.1  # lossy; the neighbours are 0.3 apart


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.name)
def test_a_stretch_is_bit_equal_to_decoding_from_the_beginning(clips: Path, clip: Clip) -> None:
    path = clips / clip.name
    whole = pictures(path)
    for start, stop in ((1, 2), (5, 9), (6, 8), (11, 12), (13, 20), (19, None), (7, 7)):
        part = pictures(path, start, stop)
        assert list(part) == list(range(start, PICTURES if stop is None else stop))
        assert all(same(part[n], whole[n]) for n in part)


def test_the_clips_hold_what_makes_seeking_hard(clips: Path) -> None:
    for name, has_leading in (("h264-closed.mp4", False), ("h264-open.mkv", True), ("hevc-open.mp4", True)):
        pts = [row[2] for row in packets(clips / name)]
        assert pts != sorted(pts)  # B-frames
        table = index_source(clips / name).packets
        keys = np.flatnonzero(table.is_key)
        leading = any((table.pts[key:] < table.pts[key]).any() for key in keys[1:])
        assert leading == has_leading
    with av.open(str(clips / "h264-refresh.mp4")) as container:
        stream = container.streams.video[0]
        container.seek(round(6 / 25 / stream.time_base), stream=stream)
        assert next(container.decode(stream)).pts * stream.time_base * 25 > 6  # the key's picture does not come out


@pytest.mark.parametrize("name", ["h264.avi", "h264.mxf"])
def test_a_source_with_decoding_times_only_is_counted(clips: Path, name: str) -> None:
    index = index_source(clips / name)
    assert index.times_ns is None and index.slots is None
    assert len(index) == PICTURES and index_source(clips / CLOSED.name).times_ns is not None


def test_times_against_the_decoders_order_are_refused(clips: Path) -> None:
    path = clips / CLOSED.name
    index = index_source(path)
    wrong = index.packets.picture.copy()
    wrong[[1, 2]] = wrong[[2, 1]]
    with pytest.raises(InputError, match=r"h264-closed\.mp4: picture .* comes after"):
        list(iter_pictures(path, replace(index, packets=replace(index.packets, picture=wrong))))


@pytest.mark.parametrize("packet", [0, 2, 7, 19])
def test_a_lost_intra_picture_is_left_out_alone(clips: Path, tmp_path: Path, packet: int) -> None:
    whole = pictures(clips / PRORES.name)
    for share in (0.1, 1.0):
        found = pictures(damaged(clips / PRORES.name, tmp_path / "cut.mov", packet, share))
        assert sorted(set(whole) - set(found)) == [packet]
        assert all(same(found[n], whole[n]) for n in found)


@pytest.mark.parametrize("packet", [0, 1, 6, 7, 11])
def test_a_lost_packet_takes_what_is_predicted_from_it_and_shifts_nothing(
    clips: Path, tmp_path: Path, packet: int
) -> None:
    path = damaged(clips / CLOSED.name, tmp_path / "cut.mp4", packet)
    whole, found = pictures(clips / CLOSED.name), pictures(path)
    order = np.argsort(np.argsort([row[2] for row in packets(path)]))
    group = packet // 6 * 6
    assert set(whole) - set(found) == {int(n) for n in order[packet : group + 6]}
    assert all(same(found[n], whole[n]) for n in found)
    for start in range(0, PICTURES, 4):
        part = pictures(path, start, start + 4)
        assert list(part) == [n for n in range(start, start + 4) if n in found]
        assert all(same(part[n], whole[n]) for n in part)


def test_the_decoder_alone_would_show_wrong_pictures_behind_a_lost_packet(clips: Path, tmp_path: Path) -> None:
    whole, shown = pictures(clips / CLOSED.name), plain_decode(damaged(clips / CLOSED.name, tmp_path / "cut.mp4", 7))
    assert [n for n in shown if not same(shown[n], whole[n])] == [9, 11]


def test_a_file_cut_at_the_end_gives_what_is_there(clips: Path, tmp_path: Path) -> None:
    whole = pictures(clips / "hevc-open.mp4")
    front = tmp_path / "front.mp4"
    clip = next(clip for clip in CLIPS if clip.name == "hevc-open.mp4")
    write_clip(front, clip, scrolled_planes(clip.pix_fmt), options={"movflags": "faststart"})
    place, size, _ = packets(front)[14]
    front.write_bytes(front.read_bytes()[: place + size // 2])
    index = index_source(front)
    assert index.claimed == PICTURES
    found = pictures(front)
    assert 12 <= len(found) <= len(index) <= 15 and all(same(found[n], whole[n]) for n in found)
    for name in ("hevc-closed.mkv", "h264.ts"):
        short = tmp_path / name
        raw = (clips / name).read_bytes()
        short.write_bytes(raw[: len(raw) // 2])
        part, full = pictures(short), pictures(clips / name)
        assert 0 < len(part) <= len(index_source(short)) < PICTURES
        assert all(same(part[n], full[n]) for n in part)
    headless = tmp_path / "headless.mp4"
    headless.write_bytes((clips / CLOSED.name).read_bytes()[:9000])
    with pytest.raises(InputError, match=r"headless\.mp4"):
        index_source(headless)


def test_a_source_with_no_sound_picture_is_refused_but_a_stretch_of_it_is_empty(clips: Path, tmp_path: Path) -> None:
    path = tmp_path / "lost.mov"
    raw = bytearray((clips / PRORES.name).read_bytes())
    for place, size, _ in packets(clips / PRORES.name):
        raw[place : place + size] = bytes(size)
    path.write_bytes(raw)
    index = index_source(path)
    assert list(iter_pictures(path, index, 3, 5)) == []
    with pytest.raises(InputError, match=r"lost\.mov: not one picture"):
        list(iter_pictures(path, index))


def test_a_source_that_vanishes_is_named(clips: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(clips / CLOSED.name, tmp_path))
    index = index_source(path)
    path.unlink()
    with pytest.raises(InputError, match=r"h264-closed\.mp4: no such file"):
        list(iter_pictures(path, index))


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the ffmpeg program is not installed")
@pytest.mark.parametrize("name", ["prores.mov", "h264-422.mov", "hevc-444.ts", "vp9.webm"])
def test_codes_are_those_of_the_ffmpeg_program(clips: Path, name: str) -> None:
    command = ["ffmpeg", "-v", "error", "-i", str(clips / name), "-f", "rawvideo", "-fps_mode", "passthrough", "-"]
    theirs = subprocess.run(command, check=True, capture_output=True).stdout
    ours = b"".join(
        np.ascontiguousarray(plane).tobytes() for found in pictures(clips / name).values() for plane in found
    )
    assert ours == theirs


SMALL = Clip("small.mp4", "libx264", "yuv420p", {**X264, "qp": "30"})


@pytest.fixture(scope="session")
def small_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("small")
    found = {}
    for suffix in (".mp4", ".mkv", ".ts"):
        path = write_clip(folder / f"small{suffix}", SMALL, scrolled_planes("yuv420p", 8))
        found[suffix] = path.read_bytes()
    return found


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_mutated_video_gives_fewer_pictures_or_a_named_error(
    small_files: dict[str, bytes], tmp_path: Path, data: st.DataObject
) -> None:
    suffix = data.draw(st.sampled_from(sorted(small_files)))
    raw = bytearray(small_files[suffix])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(
            st.one_of(st.integers(0, 200), st.integers(0, len(raw) - 1), st.integers(len(raw) - 900, len(raw) - 1))
        )
        noise = data.draw(st.binary(min_size=1, max_size=16))
        raw[place : place + len(noise)] = noise
    path = tmp_path / f"mutated{suffix}"
    path.write_bytes(raw[: data.draw(st.integers(len(raw) // 2, len(raw)))])
    try:
        probe, index = probe_source(path), index_source(path)
        numbers = [number for number, _ in iter_pictures(path, index)]
    except InputError as error:
        assert path.name in error.message
        return
    assert probe.width > 0 and 0 < len(numbers) <= len(index)
    assert numbers == sorted(set(numbers)) and numbers[-1] < len(index)

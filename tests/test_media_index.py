"""What a container holds is known without decoding: numbers, times, promises, timecode."""

from __future__ import annotations

import pickle
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_clips import CLIPS, PICTURES, Clip, plain_decode, scrolled_planes, write_clip

from litdome.errors import InputError
from litdome.media.images import iter_pictures, probe_source
from litdome.media.index import index_source

CLOSED = CLIPS[0]
STEP_NS = 40_000_000


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("index") / CLOSED.name, CLOSED, scrolled_planes(CLOSED.pix_fmt))


def remuxed(path: Path, copy: Path, *, shift: int = 0, options: dict[str, str] | None = None) -> Path:
    """The same packets in another file, ``shift`` pictures earlier."""
    with av.open(str(path)) as source, av.open(str(copy), "w", options=options or {}) as target:
        stream = source.streams.video[0]
        out = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.size:
                ticks = round(shift / 25 / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - ticks, packet.dts - ticks, out
                target.mux(packet)
    return copy


def test_times_rise_by_the_frame_and_an_index_travels_to_workers(clip: Path) -> None:
    index = pickle.loads(pickle.dumps(index_source(clip)))
    assert len(index) == index.claimed == PICTURES
    np.testing.assert_array_equal(index.times_ns, np.arange(PICTURES) * STEP_NS)
    np.testing.assert_array_equal(index.slots, np.arange(PICTURES))
    assert next(iter_pictures(clip, index, 7, 8))[0] == 7


def test_a_gap_in_even_times_is_a_jump_of_slots_and_uneven_times_have_none(tmp_path: Path) -> None:
    ffv1, written = next(clip for clip in CLIPS if clip.codec == "ffv1"), scrolled_planes("yuv420p12le", 8)
    gapped = index_source(write_clip(tmp_path / "gap.mkv", ffv1, written, times=[0, 1, 2, 5, 6, 7, 9, 10]))
    assert len(gapped) == 8 and gapped.slots.tolist() == [0, 1, 2, 5, 6, 7, 9, 10]
    smooth = Clip("vfr.mp4", "libx264", "yuv420p", {**CLOSED.options, "bf": "3"})
    times = [0, 2, 5, 6, 10, 12, 15, 16]
    path = write_clip(tmp_path / "vfr.mp4", smooth, scrolled_planes("yuv420p", 8), times=times)
    uneven = index_source(path)
    assert uneven.slots is None
    np.testing.assert_array_equal(uneven.times_ns, np.array(times) * STEP_NS)
    truth = plain_decode(path)
    for n, codes in iter_pictures(path, uneven, 3):
        np.testing.assert_array_equal(codes.luma, truth[times[n]][0])


def test_rounded_times_of_29_97_are_even(tmp_path: Path) -> None:
    path = tmp_path / "ntsc.mkv"  # Matroska's ticks are 1 ms
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(30000, 1001))
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        for n in range(400):
            frame = av.VideoFrame(16, 16, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.pts = n
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    index = index_source(path)
    assert len(set(np.diff(index.times_ns))) == 2  # 33 and 34 ms
    np.testing.assert_array_equal(index.slots, np.arange(400))


def test_an_edit_list_takes_pictures_from_the_front(clip: Path, tmp_path: Path) -> None:
    path = remuxed(clip, tmp_path / "edited.mp4", shift=3, options={"avoid_negative_ts": "disabled"})
    assert b"elst" in path.read_bytes()
    index = index_source(path)
    assert (len(index), index.claimed, index.times_ns[0]) == (PICTURES - 3, PICTURES - 3, 0)
    truth = plain_decode(clip)
    for start in (0, 1, 4, 9):
        found = dict(iter_pictures(path, index, start))
        assert list(found) == list(range(start, PICTURES - 3))
        for n, codes in found.items():
            np.testing.assert_array_equal(codes.luma, truth[n + 3][0])


def test_a_fragmented_file_promises_nothing_and_holds_all(clip: Path, tmp_path: Path) -> None:
    path = remuxed(clip, tmp_path / "live.mp4", options={"movflags": "frag_keyframe+empty_moov"})
    index = index_source(path)
    assert (len(index), index.claimed) == (PICTURES, None)
    truth = plain_decode(clip)
    for n, codes in iter_pictures(path, index, 13):
        np.testing.assert_array_equal(codes.luma, truth[n][0])
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"moof", len(whole) // 2) - 4])  # still being written
    assert 0 < len(index_source(path)) < PICTURES
    assert len(list(iter_pictures(path, index_source(path)))) == len(index_source(path))


def test_the_timecode_and_the_cameras_tags_come_along(tmp_path: Path) -> None:
    tags = {"timecode": "10:00:07:12", "title": "c17", "comment": "ISO 800, 1/50 s"}
    path = write_clip(tmp_path / "tagged.mov", CLOSED, scrolled_planes("yuv420p", 4), metadata=tags)
    probe, index = probe_source(path), index_source(path)
    assert probe.timecode == index.timecode == "10:00:07:12"
    assert probe.metadata["comment"] == "ISO 800, 1/50 s"
    bare = write_clip(tmp_path / "bare.mov", CLOSED, scrolled_planes("yuv420p", 4))
    assert probe_source(bare).timecode is None and index_source(bare).timecode is None


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    empty, text, sound, folder = (tmp_path / name for name in ("empty.mp4", "text.mp4", "sound.wav", "folder"))
    empty.touch()
    text.write_text("not a video\n" * 100)
    folder.mkdir()
    playlist = tmp_path / "list.mp4"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        samples.rate = 8000
        container.mux(stream.encode(samples))
    for path in (empty, text, sound, folder, playlist, tmp_path / "missing.mp4"):
        with pytest.raises(InputError, match=path.name):
            index_source(path)
        with pytest.raises(InputError, match=path.name):
            probe_source(path)

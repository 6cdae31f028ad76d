"""Pictures in and out: codes survive, colours are right, broken files are named."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from media_clips import video_frame

from litdome.errors import ConfigError, InputError, UsageError
from litdome.media.encode import VideoWriter
from litdome.media.hdr import read_hdr, write_hdr
from litdome.media.images import iter_source, probe_source, read_picture
from litdome.media.planes import CHROMA_STEPS, PictureCodes, cropped, planes_from_rgb, rgb_from_planes, scaled
from litdome.media.video import PLANAR_TWINS, codes_of_frame, iter_planes, probe_video

PATCHES = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [224, 172, 140]], np.uint8)


def patches(size: int = 32) -> np.ndarray:
    """Six flat squares side by side, RGB uint8."""
    return np.repeat(np.repeat(PATCHES[None], size, 0), size, 1)


def centres(rgb: np.ndarray, size: int = 32) -> np.ndarray:
    return rgb[size // 2, size // 2 :: size].astype(float)


def lossless(path: Path, frames: np.ndarray, pix_fmt: str, codec: str = "ffv1") -> Path:
    """Write planes given as PyAV ndarrays of ``pix_fmt``, losslessly."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        first = av.VideoFrame.from_ndarray(frames[0], format=pix_fmt)
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, pix_fmt
        for n, planes in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(planes, format=pix_fmt)
            frame.pts = n
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("range", ["limited", "full"])
def test_written_video_is_tagged_and_reads_back_in_the_right_colours(tmp_path: Path, matrix: str, range: str) -> None:
    path = tmp_path / "patches.mp4"
    with VideoWriter(path, fps=25, crf=4, matrix=matrix, range=range) as video:
        for _ in np.arange(3):
            video.write(patches())
    probe = probe_video(path)
    assert (probe.matrix, probe.range, probe.bits, probe.subsampling) == (matrix, range, 8, "420")
    assert (probe.width, probe.height, probe.frames, probe.fps) == (192, 32, 3, 25.0)
    for codes in iter_planes(path):
        rgb = rgb_from_planes(codes.luma, codes.chroma, matrix=matrix, range=range)
        np.testing.assert_allclose(centres(rgb), PATCHES, atol=4)  # crf 4 plus 8-bit rounding


def test_the_same_pictures_give_the_same_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ground = cv2.GaussianBlur(rng.integers(0, 256, (112, 64, 3)).astype(np.uint8), (0, 0), 2)
    frames = [np.roll(ground, 2 * k, axis=1) // (1 + k % 2) for k in range(30)]
    for name in "abcd":
        with VideoWriter(tmp_path / name, fps=25, crf=14) as video:
            for frame in frames:
                video.write(frame)
    assert len({(tmp_path / name).read_bytes() for name in "abcd"}) == 1


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_ten_bits_keep_steps_that_eight_bits_lose(tmp_path: Path, codec: str) -> None:
    shades = np.arange(640, 672)  # codes of 1023: 32 neighbours, each a flat stripe
    ramp = np.repeat(np.repeat(shades[None, :, None], 16, 1), 3, 2).repeat(64, 0)
    deep, flat = (ramp * 65535 / 1023).round().astype(np.uint16), (ramp * 255 / 1023).round().astype(np.uint8)
    found = {}
    for bits, picture in ((10, deep), (8, flat)):
        path = tmp_path / f"{bits}.mp4"
        with VideoWriter(path, fps=25, crf=1, bits=bits, codec=codec) as video:
            video.write(picture)
        probe = probe_video(path)
        assert (probe.bits, probe.matrix, probe.transfer) == (bits, "bt709", "srgb")
        codes = next(iter_planes(path))
        rgb = rgb_from_planes(codes.luma, codes.chroma, matrix="bt709", bits=bits, dtype="float32")
        found[bits] = rgb[16, 8::16, 1] * 1023
    # half a code of 876 luma codes, and the encoder's own quarter
    np.testing.assert_allclose(found[10], shades, atol=1.0)
    assert len(np.unique(found[10].round())) > 24 > 12 > len(np.unique(found[8].round()))


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_short_hevc_videos_keep_their_frames_and_times(tmp_path: Path, frames: int) -> None:
    path = tmp_path / "short.mp4"
    for _ in range(4):  # B frames let one in three of the shortest fail
        with VideoWriter(path, fps=25, bits=10, codec="hevc") as video:
            for k in range(frames):
                video.write(np.full((64, 64, 3), 9000 * k, np.uint16))
        with av.open(str(path)) as container:
            times = [frame.time * 25 for frame in container.decode(container.streams.video[0])]
        np.testing.assert_allclose(times, range(frames), atol=1e-6)


def test_a_writer_refuses_bits_and_pictures_that_do_not_fit(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match="HEVC needs 64"),
        VideoWriter(tmp_path / "a.mp4", fps=25, codec="hevc") as video,
    ):
        video.write(np.zeros((48, 80, 3), np.uint8))
    with pytest.raises(UsageError, match="9 bits"):
        VideoWriter(tmp_path / "a.mp4", fps=25, bits=9)
    with (
        pytest.raises(UsageError, match="10 bits need uint16"),
        VideoWriter(tmp_path / "a.mp4", fps=25, bits=10) as video,
    ):
        video.write(patches())
    assert list(tmp_path.iterdir()) == []


def test_the_wrong_matrix_shows_as_a_colour_cast() -> None:
    luma, chroma = planes_from_rgb(patches(), matrix="bt709")
    wrong = rgb_from_planes(luma, chroma, matrix="bt601")
    assert np.abs(centres(wrong) - PATCHES).max() > 15


def test_black_and_white_follow_the_standard_codes() -> None:
    luma = np.array([[16, 235]], np.uint8).repeat(2, 0)
    chroma = np.full((2, 1, 1), 128, np.uint8)
    assert rgb_from_planes(luma, chroma).reshape(-1, 3).tolist() == [[0] * 3, [255] * 3] * 2
    assert rgb_from_planes(luma, chroma, range="full")[0].tolist() == [[16] * 3, [235] * 3]
    ten = rgb_from_planes(luma.astype(np.uint16) * 4, chroma.astype(np.uint16) * 4, bits=10, dtype="float32")
    np.testing.assert_allclose(ten[0], [[0] * 3, [1] * 3], atol=1e-6)


def test_the_fast_path_is_within_one_code_of_the_formula() -> None:
    rng = np.random.default_rng(0)
    luma, chroma = rng.integers(16, 256, (64, 64), np.uint8), rng.integers(0, 256, (2, 32, 32), np.uint8)
    fast = rgb_from_planes(luma, chroma).astype(int)
    exact = rgb_from_planes(luma, chroma, dtype="float32") * 255
    assert np.abs(fast - exact).max() <= 1


@pytest.mark.parametrize("subsampling", ["420", "422", "444"])
@pytest.mark.parametrize("chroma_filter", ["nearest", "linear"])
def test_a_region_equals_the_same_cut_of_the_whole(subsampling: str, chroma_filter: str) -> None:
    rng = np.random.default_rng(1)
    luma = rng.integers(16, 236, (40, 60), np.uint8)
    shape = {"420": (2, 20, 30), "422": (2, 40, 30), "444": (2, 40, 60)}[subsampling]
    settings = {"subsampling": subsampling, "matrix": "bt709", "chroma_filter": chroma_filter}
    chroma = rng.integers(16, 240, shape, np.uint8)
    whole = rgb_from_planes(luma, chroma, **settings)
    for x0, y0, x1, y1 in [(0, 0, 60, 40), (7, 3, 22, 31), (13, 8, 60, 39), (1, 1, 2, 2)]:
        cut = rgb_from_planes(luma, chroma, region=(x0, y0, x1, y1), **settings)
        np.testing.assert_array_equal(cut, whole[y0:y1, x0:x1])


@pytest.mark.parametrize(("pix_fmt", "top", "dtype"), [("yuv420p", 255, np.uint8), ("yuv420p10le", 1023, np.uint16)])
def test_planes_arrive_code_for_code(tmp_path: Path, pix_fmt: str, top: int, dtype: type) -> None:
    rng = np.random.default_rng(2)
    planar = rng.integers(0, top + 1, (4, 48, 36)).astype(dtype)  # 32 rows of luma, 16 of chroma
    path = lossless(tmp_path / "noise.mkv", planar, pix_fmt)
    probe = probe_video(path)
    assert (probe.bits, probe.dtype, probe.matrix) == (10 if top > 255 else 8, np.dtype(dtype).name, "bt601")
    found = list(iter_planes(path, threads=2))
    assert len(found) == 4
    for codes, given in zip(found, planar, strict=True):
        np.testing.assert_array_equal(codes.luma, given[:32])
        np.testing.assert_array_equal(codes.chroma.reshape(-1), given[32:].reshape(-1))


def test_an_rgb_video_stays_rgb(tmp_path: Path) -> None:
    frames = np.random.default_rng(3).integers(0, 256, (2, 16, 24, 3), np.uint8)
    path = lossless(tmp_path / "rgb.mov", frames, "rgb24", codec="png")
    assert probe_video(path).subsampling == "rgb"
    found = np.stack([codes.rgb for codes in iter_planes(path)])
    np.testing.assert_array_equal(found, frames)


@pytest.mark.parametrize(
    ("tag", "name"), [(2, None), (1, "bt709"), (8, "linear"), (13, "srgb"), (16, "pq"), (18, "hlg")]
)
def test_the_transfer_is_named_as_tagged(tmp_path: Path, tag: int, name: str | None) -> None:
    path = tmp_path / "tagged.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "4"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p10le"
        stream.codec_context.color_trc = tag
        grey = [np.full((32, 32), 500, np.uint16), *np.full((2, 16, 16), 512, np.uint16)]
        container.mux(stream.encode(video_frame(grey, "yuv420p10le", 0)))
        container.mux(stream.encode())
    assert probe_video(path).transfer == name


@pytest.mark.parametrize("pix_fmt", sorted(PLANAR_TWINS))
def test_interleaved_planes_are_taken_apart_code_for_code(pix_fmt: str) -> None:
    rng, deep = np.random.default_rng(5), pix_fmt.startswith("p")
    frame = av.VideoFrame(32, 16, pix_fmt)
    bits = frame.format.components[0].bits
    for plane in frame.planes:
        codes = rng.integers(0, 1 << bits, plane.buffer_size // (2 if deep else 1))
        plane.update((codes.astype(np.uint16) << (16 - bits)).tobytes() if deep else codes.astype(np.uint8).tobytes())
    rows = [
        np.frombuffer(bytes(plane), np.uint16 if deep else np.uint8).reshape(plane.height, -1) for plane in frame.planes
    ]
    if len(rows) == 1:  # packed 4:2:2
        packed, at = rows[0][:, :64], 0 if pix_fmt == "yuyv422" else 1
        luma, blue, red = packed[:, at::2], packed[:, 1 - at :: 4], packed[:, 3 - at :: 4]
    else:
        width = 32 * (2 if pix_fmt == "nv24" else 1)
        luma, blue, red = rows[0][:, :32], rows[1][:, 0:width:2], rows[1][:, 1:width:2]
        blue, red = (red, blue) if pix_fmt == "nv21" else (blue, red)
    found = codes_of_frame(frame, Path("x"))
    shift = 16 - bits if deep else 0
    np.testing.assert_array_equal(found.luma, luma >> shift)
    np.testing.assert_array_equal(found.chroma, np.stack([blue, red]) >> shift)


@pytest.mark.parametrize("subsampling", ["420", "422", "444"])
def test_a_crop_and_a_reduction_keep_luma_and_chroma_together(subsampling: str) -> None:
    rows, columns = CHROMA_STEPS[subsampling]
    ramp = np.add.outer(np.arange(48), np.arange(64)).astype(np.uint16) * 9
    small = ramp[::rows, ::columns]
    codes = PictureCodes(luma=ramp, chroma=np.stack([small, small + 1]))
    part = cropped(codes, (8, 4, 40, 28), subsampling)
    np.testing.assert_array_equal(part.luma, ramp[4:28, 8:40])
    np.testing.assert_array_equal(part.chroma[1], part.luma[::rows, ::columns] + 1)
    half = scaled(codes, (32, 24), subsampling)
    assert half.luma.dtype == np.uint16 and half.chroma.shape == (2, 24 // rows, 32 // columns)
    np.testing.assert_allclose(half.luma, ramp[::2, ::2] + 9, atol=1)
    for region in ((0, 0, 65, 8), (8, 8, 8, 9), (-2, 0, 8, 8)) + (((1, 0, 9, 8),) if columns == 2 else ()):
        with pytest.raises(ConfigError, match="crop"):
            cropped(codes, region, subsampling)


def test_an_untagged_real_video_reads_as_opencv_reads_it(real_walk: Path) -> None:
    path = real_walk / "cameras/c01.mp4"
    codes = next(iter_planes(path))
    theirs = cv2.VideoCapture(str(path)).read()[1][..., ::-1]

    def distance(matrix: str) -> float:
        ours = rgb_from_planes(codes.luma, codes.chroma, matrix=matrix)
        return float(np.abs(ours.astype(int) - theirs).mean())

    assert distance("bt601") < 1.3  # swscale's default path is about one code too dark
    assert distance("bt709") > 1.15 * distance("bt601")  # the picture is nearly grey, so it shows little


def test_a_video_to_be_shown_turned_comes_upright_as_opencv_shows_it(tmp_path: Path) -> None:
    path = tmp_path / "turned.mp4"
    ramp = np.zeros((32, 48, 3), np.uint8)
    ramp[:16, :16, 0], ramp[16:, :16, 1], ramp[:16, 32:, 2] = 200, 200, 200
    with VideoWriter(path, fps=25, crf=4) as video:
        video.write(ramp)
    raw = bytearray(path.read_bytes())
    track = raw.index(b"tkhd") + 4 + 40
    quarter = [0, 1, 0, -1, 0, 0, 0, 0, 1]  # a quarter turn, as phones write it
    fixed = [value << (30 if n % 3 == 2 else 16) for n, value in enumerate(quarter)]
    raw[track : track + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in fixed)
    path.write_bytes(raw)
    codes = next(iter_planes(path))
    assert codes.size == (32, 48) == (probe_video(path).width, probe_video(path).height)
    theirs = cv2.VideoCapture(str(path)).read()[1][..., ::-1]
    ours = rgb_from_planes(codes.luma, codes.chroma, matrix="bt709")
    assert np.abs(ours.astype(int) - theirs).mean() < 10  # a wrong turn differs by tens


def test_broken_files_are_named(tmp_path: Path, real_walk: Path) -> None:
    missing, text, cut, sound = (tmp_path / name for name in ("a.mp4", "b.mp4", "c.mp4", "d.wav"))
    text.write_text("not a video")
    cut.write_bytes((real_walk / "cameras/c01.mp4").read_bytes()[:20000])
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        samples.rate = 8000
        container.mux(stream.encode(samples))
    for path in (missing, text, cut, sound):
        with pytest.raises(InputError, match=path.name) as caught:
            probe_video(path)
        assert caught.value.exit_code == 4


def test_red_footage_is_told_to_be_exported(tmp_path: Path) -> None:
    (tmp_path / "c00.R3D").write_bytes(b"RED2")
    with pytest.raises(InputError, match="RED's own SDK"):
        probe_source(tmp_path / "c00.R3D")


def test_an_interrupted_write_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with pytest.raises(RuntimeError, match="stop"), VideoWriter(path, fps=25) as video:
        video.write(patches())
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="31x32"), VideoWriter(path, fps=25) as video:
        video.write(patches()[:, :31])


def test_a_video_that_cannot_take_its_place_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Is a directory"), VideoWriter(tmp_path / "clip.mp4", fps=24) as writer:
        writer.write(np.zeros((64, 64, 3), np.uint8))
        (tmp_path / "clip.mp4").mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize(("suffix", "dtype"), [(".png", np.uint8), (".png", np.uint16), (".tif", np.uint16)])
def test_picture_folders_keep_every_code(tmp_path: Path, suffix: str, dtype: type) -> None:
    rgb = np.random.default_rng(4).integers(0, np.iinfo(dtype).max + 1, (3, 20, 30, 3)).astype(dtype)
    for n, picture in enumerate(rgb):
        cv2.imwrite(str(tmp_path / f"{n:06d}{suffix}"), picture[..., ::-1])
    (tmp_path / "notes.txt").write_text("not a picture")
    probe = probe_source(tmp_path)
    assert (probe.width, probe.height, probe.frames, probe.dtype) == (30, 20, 3, np.dtype(dtype).name)
    found = np.stack([codes.rgb for codes in iter_source(tmp_path)])
    np.testing.assert_array_equal(found, rgb)


def test_ten_bit_dpx_fills_sixteen_bits(tmp_path: Path) -> None:
    path = tmp_path / "000000.dpx"
    ten = np.array([[[0, 512, 1023]] * 16] * 16, np.uint16)
    with av.open(str(path), "w", format="image2") as container:
        stream = container.add_stream("dpx", rate=1)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "gbrp10le"
        frame = av.VideoFrame(16, 16, "gbrp10le")
        for plane, channel in zip(frame.planes, (1, 2, 0), strict=True):
            rows = np.zeros((16, plane.line_size // 2), np.uint16)
            rows[:, :16] = ten[..., channel]
            plane.update(rows.tobytes())
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert read_picture(path)[3, 3].tolist() == [0, 512 * 64 + 512 // 16, 65535]


def test_hdr_files_keep_a_sun_beyond_half_floats(tmp_path: Path, real_walk: Path) -> None:
    puresky = read_hdr(real_walk / "hdris/autumn_field_puresky_1k.hdr")
    assert puresky.shape == (512, 1024, 3) and puresky.dtype == np.float32
    assert puresky.max() == pytest.approx(123904)  # the figure in the data's README
    write_hdr(tmp_path / "copy.exr", puresky)
    np.testing.assert_array_equal(read_hdr(tmp_path / "copy.exr"), puresky)
    sunset = read_hdr(real_walk / "hdris/venice_sunset_1k.exr")
    assert sunset.shape == (512, 1024, 3) and np.isfinite(sunset).all()
    (tmp_path / "bad.exr").write_bytes(b"nothing")
    (tmp_path / "bad.hdr").write_bytes(b"nothing")
    for name in ("bad.exr", "bad.hdr", "missing.exr"):
        with pytest.raises(InputError, match=name):
            read_hdr(tmp_path / name)

"""What the store costs: a video to planes against decoding, PNG and naive Zarr; random crops against PNG and video.

    .venv/bin/python benchmarks/store.py [--frames 48] [--size 3840x2160] [--repeats 3] [--crops 48] [--tiles ...]

CPU time (user + system), one thread each, every step in its own process; ratios are medians over repeats of one run.
Clips (a textured figure with shot noise, flat and relit by turns) are made once, in the temporary folder. Prints
Markdown for docs/benchmarks.md. Needs Linux and ffmpeg.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

SEED, GOP, SHARD = 5, 25, 16
CROP, OUT = (2560, 1408), (1280, 704)  # width, height, px
PLANES = ("luma", "chroma")


def film(frames: int, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """A textured figure that walks before a plain wall, flat and relit by turns, with noise; RGB uint8."""
    width, height = size
    rng = np.random.default_rng(SEED)
    wall = cv2.GaussianBlur(rng.uniform(60, 90, (height, width, 3)).astype(np.float32), (0, 0), height / 40)
    cloth = rng.uniform(20, 235, (height, width, 3)).astype(np.float32)
    cloth = 0.4 * cloth + 0.6 * cv2.GaussianBlur(cloth, (0, 0), 3)
    noise = rng.normal(0, 1, (4, height, width, 1)).astype(np.float32)
    for n in range(frames):
        picture = np.where(figure(n, size)[..., None] > 0, np.roll(cloth, 3 * n, axis=1), wall)
        if n % 2:
            picture = picture * np.linspace(0.4, 1.3, width, dtype=np.float32)[:, None] * np.float32([1.0, 0.85, 0.7])
        shift = int(rng.integers(0, height))
        picture = picture + np.roll(noise[n % 4], shift, axis=0) * np.sqrt(0.05 * picture + 1)
        yield np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def figure(n: int, size: tuple[int, int]) -> np.ndarray:
    """Coverage of the figure in frame ``n``, 0 or 255."""
    width, height = size
    mask = np.zeros((height, width), np.uint8)
    centre = (int(width * (0.45 + 0.002 * n)), height // 2)
    cv2.ellipse(mask, centre, (width // 9, int(height * 0.42)), 4.0, 0, 360, 255, -1)
    cv2.circle(mask, (centre[0], height // 9), height // 10, 255, -1)
    return mask


def make_clip(path: Path, frames: int, size: tuple[int, int], codec: str, pixels: str) -> None:
    """Encode the film at crf 18, one slice a picture as cameras do."""
    import av

    options = {"crf": "18", "preset": "veryfast", "g": str(GOP)}
    options |= {"x264-params": "sliced-threads=0"} if codec == "libx264" else {"x265-params": "log-level=none"}
    partial = path.with_name(f"partial-{path.name}")
    with av.open(str(partial), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        for rgb in film(frames, size):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())
    partial.rename(path)


# steps; each runs in a process of its own and gives what it counted


def begin_ingest(clip: Path, out: str, compression: str, tile: str) -> None:
    """A session in which the pictures of a clip are still missing, and the stage that will write them, beside it."""
    from litdome.capture.check import IngestConfig
    from litdome.capture.ingest import Ingest
    from litdome.capture.recording import read_recording, session_attrs
    from litdome.media.hdr import write_hdr
    from litdome.media.index import index_source
    from litdome.store.session import Session

    for path in (Path(out), Path(out).with_suffix(".take")):
        shutil.rmtree(path, ignore_errors=True)
    take = Path(out).with_suffix(".take")
    for name in ("cameras", "hdris"):
        (take / name).mkdir(parents=True)
    os.link(clip, take / "cameras/c00.mp4")
    write_hdr(take / "hdris/sky.exr", np.ones((8, 16, 3), np.float32))
    lights = [f"{n},{'hdri,sky' if n % 2 else 'flat,'}" for n in range(len(index_source(clip)))]
    (take / "lights.csv").write_text("\n".join(["frame,kind,hdri", *lights]))
    recording = read_recording(take)
    stage, config = Ingest(recording), IngestConfig(compression=compression, trust="file")
    plan, session = stage.plan(config), Session.new(out, session_attrs(recording))
    probe = plan.probes["c00"]
    shapes = {"luma": (probe.height, probe.width), "chroma": (2, probe.height // 2, probe.width // 2)}
    dims = {"luma": ("n", "y", "x"), "chroma": ("n", "cbcr", "y2", "x2")}
    for plane, chunk in tiles(tile, shapes).items():  # arrays that are there keep their tiles
        for kind, code in (("flat", 1), ("relit", 2)):
            shape = (int((plan.lighting.schedule.kind == code).sum()), *shapes[plane])
            path, given = f"cameras/c00/{kind}/{plane}", {"chunk": chunk, "compression": compression}
            session.create(path, shape, probe.dtype, dims[plane], shard=SHARD, **given)
    Path(out).with_suffix(".job").write_bytes(pickle.dumps((stage, config, stage.prepare(session, config))))


def ingest(out: str) -> None:
    """All units of `litdome ingest`: decode, measure, write."""
    from litdome.store.session import Session

    stage, config, units = pickle.loads(Path(out).with_suffix(".job").read_bytes())
    session = Session.open(out, writable=True)
    for unit in units:
        stage.run(session, config, unit)


def tiles(tile: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...] | None]:
    """Chunks for ``tile``: ``default``, or ROWSxCOLUMNS of luma (0 columns: strips) with half as much of chroma."""
    if tile == "default":
        return dict.fromkeys(PLANES)
    rows, columns = (int(part) for part in tile.split("x"))
    height, width = shapes["luma"]
    rows, columns = rows or height, columns or width
    return {"luma": (1, rows, columns), "chroma": (1, 2, -(-rows // 2), -(-columns // 2))}


def naive(clip: str, out: str) -> None:
    """What one writes first: cv2.VideoCapture into a Zarr array with default settings."""
    import zarr

    shutil.rmtree(out, ignore_errors=True)
    video = cv2.VideoCapture(clip)
    count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    shape = (int(video.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(video.get(cv2.CAP_PROP_FRAME_WIDTH)), 3)
    array = zarr.create_array(out, shape=(count, *shape), chunks=(1, *shape), dtype=np.uint8)
    for n in range(count):
        array[n] = video.read()[1][..., ::-1]


def write_pngs(clip: str, ffmpeg_folder: Path, cv2_folder: Path, frames: int, size: tuple[int, int]) -> None:
    """The clip and the figure's masks as PNG files, written by ffmpeg and again by cv2, each with its defaults."""
    ffmpeg_folder.mkdir()
    run_ffmpeg("-i", clip, f"{ffmpeg_folder}/%06d.png")
    partial = cv2_folder.with_name("partial-png")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for n in range(frames):
        cv2.imwrite(f"{partial}/{n + 1:06d}.png", cv2.imread(f"{ffmpeg_folder}/{n + 1:06d}.png"))
        for folder in (ffmpeg_folder, partial):
            cv2.imwrite(f"{folder}/mask-{n + 1:06d}.png", figure(n, size))
    partial.rename(cv2_folder)


def add_masks(out: str, frames: int, size: tuple[int, int], compression: str) -> None:
    """The figure's masks, as the stages would write them."""
    from litdome.store.session import Session

    session = Session.open(out, writable=True)
    for first, kind in enumerate(("flat", "relit")):
        masks = np.stack([figure(n, size) for n in range(first, frames, 2)])
        path = f"cameras/c00/{kind}/mask"
        session.create(path, masks.shape, np.uint8, ("n", "y", "x"), shard=SHARD, compression=compression)
        session.write(path, 0, masks)


def crops_of_session(out: str, regions: list[list[int]]) -> None:
    """Random crops of pairs: flat, relit and mask, at training size."""
    from litdome.store.session import Session

    session, size = Session.open(out), training_size(regions)
    for pair, *region in regions:
        box = (region[0], region[1], region[2], region[3])
        for kind in ("flat", "relit"):
            session.read_rgb("c00", kind, pair, region=box, size=size)
        cv2.resize(session.read_mask("c00", "relit", pair, region=box), size, interpolation=cv2.INTER_AREA)


def crops_of_png(out: str, regions: list[list[int]]) -> None:
    """The same from a folder of PNG files."""
    size = training_size(regions)
    for pair, x0, y0, x1, y1 in regions:
        for n in (2 * pair + 1, 2 * pair + 2):
            rgb = cv2.imread(f"{out}/{n:06d}.png")[y0:y1, x0:x1, ::-1]
            cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        mask = cv2.imread(f"{out}/mask-{2 * pair + 2:06d}.png", cv2.IMREAD_GRAYSCALE)[y0:y1, x0:x1]
        cv2.resize(mask, size, interpolation=cv2.INTER_AREA)


def crops_of_video(clip: str, regions: list[list[int]]) -> None:
    """The same by seeking in the video (the mask left out, for want of a video of masks)."""
    import av

    size = training_size(regions)
    with av.open(clip) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        step = 1 / (stream.average_rate * stream.time_base)
        for pair, x0, y0, x1, y1 in regions:
            container.seek(int(2 * pair * step), stream=stream)
            wanted = [int(n * step) for n in (2 * pair, 2 * pair + 1)]
            for frame in container.decode(stream):
                if frame.pts in wanted:
                    rgb = frame.to_ndarray(format="rgb24", threads=1)[y0:y1, x0:x1]
                    cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
                if frame.pts >= wanted[-1]:
                    break


def training_size(regions: list[list[int]]) -> tuple[int, int]:
    """Half of the crop: 2560x1408 to 1280x704."""
    _, x0, y0, x1, y1 = regions[0]
    return (x1 - x0) // 2, (y1 - y0) // 2


STEPS: dict[str, Callable[..., None]] = {
    step.__name__: step for step in (ingest, naive, crops_of_session, crops_of_png, crops_of_video)
}


def child(name: str, arguments: list[Any]) -> None:
    """Run a step in this process and print its CPU seconds and peak memory, its imports not counted."""
    cv2.setNumThreads(1)
    import av  # noqa: F401
    import zarr  # noqa: F401

    from litdome.capture import ingest as stage  # noqa: F401
    from litdome.store import session  # noqa: F401

    before = resource.getrusage(resource.RUSAGE_SELF)
    STEPS[name](*arguments)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(json.dumps([cpu, int(status["VmHWM"].split()[0]) / 1024]))  # ru_maxrss would count the parent's


# measuring


def run_step(name: str, *arguments: Any) -> tuple[float, float]:
    """CPU seconds of a step in its own process, and its peak memory in MB."""
    command = [sys.executable, __file__, "child", name, json.dumps(arguments)]
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    cpu, peak = json.loads(out.stdout.splitlines()[-1])
    return cpu, peak


def run_ffmpeg(*arguments: str) -> tuple[float, float]:
    """CPU seconds of an ffmpeg command with one thread; no memory."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", "-threads", "1", *arguments], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 0.0


def compare(steps: dict[str, Callable[[], tuple[float, float]]], repeats: int) -> dict[str, list[tuple[float, float]]]:
    """Each step ``repeats`` times, by turns, so that a busy neighbour meets all of them."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            found[name].append(step())
    return found


def table(found: dict[str, list[tuple[float, float]]], per: int, unit: str) -> None:
    """A Markdown table: CPU ms, and how many times as fast as each other row (median of paired ratios)."""
    names = list(found)
    print(f"| | CPU ms/{unit} | peak MB | " + " | ".join(f"x {name}" for name in names) + " |")
    print("|---" * (len(names) + 3) + "|")
    for name in names:
        ratios = [
            median(b[0] / a[0] for a, b in zip(found[name], found[other], strict=True)) if other != name else 1.0
            for other in names
        ]
        cpu, peak = median(run[0] for run in found[name]) * 1000 / per, max(run[1] for run in found[name])
        shown = f"{peak:.0f}" if peak else "-"
        print(f"| {name} | {cpu:.1f} | {shown} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")
    print()


def random_regions(count: int, pairs: int, size: tuple[int, int]) -> list[list[int]]:
    """Random (pair, x0, y0, x1, y1), a crop of 2560x1408 at 4K and in proportion below."""
    rng = np.random.default_rng(SEED)
    width, height = CROP[0] * size[0] // 3840 // 2 * 2, CROP[1] * size[1] // 2160 // 2 * 2
    found = []
    for _ in range(count):
        x, y = int(rng.integers(0, size[0] - width + 1)), int(rng.integers(0, size[1] - height + 1))
        found.append([int(rng.integers(0, pairs)), x, y, x + width, y + height])
    return found


def main() -> None:
    """Make the clips, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--size", default="3840x2160")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--crops", type=int, default=48)
    parser.add_argument("--tiles", nargs="*", default=[], help="other tiles: ROWSxCOLUMNS of luma; 0: all of them")
    chosen = parser.parse_args()
    size = tuple(int(part) for part in chosen.size.split("x"))
    frames, repeats = chosen.frames, chosen.repeats
    folder = Path(tempfile.gettempdir(), f"litdome-benchmark-{chosen.size}-{frames}")
    folder.mkdir(exist_ok=True)
    clips = {8: folder / "h264.mp4", 10: folder / "hevc10.mp4"}
    for bits, codec, pixels in ((8, "libx264", "yuv420p"), (10, "libx265", "yuv420p10le")):
        if not clips[bits].exists():
            make_clip(clips[bits], frames, size, codec, pixels)
    clip, png, cv2_png = str(clips[8]), folder / "png", folder / "png-cv2"
    stores = {name: str(folder / f"{name}.zarr") for name in ("zstd-1", "lz4-1", "none")}
    if not cv2_png.exists():
        shutil.rmtree(png, ignore_errors=True)
        write_pngs(clip, png, cv2_png, frames, size)
    load = os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f}; {frames} frames of {chosen.size}, ", end="")
    print(f"h264 {clips[8].stat().st_size / 1e6:.0f} MB, hevc 10 bit {clips[10].stat().st_size / 1e6:.0f} MB\n")
    null = lambda path: run_ffmpeg("-i", str(path), "-f", "null", "-")  # noqa: E731

    def ours(path: Path, name: str, tile: str = "default") -> tuple[float, float]:
        begin_ingest(path, stores[name], name, tile)
        return run_step("ingest", stores[name])

    found = compare(
        {
            "ffmpeg -f null": lambda: null(clip),
            **{f"planes {name}": (lambda name=name: ours(clips[8], name)) for name in stores},
            "naive cv2 + zarr": lambda: run_step("naive", clip, str(folder / "naive.zarr")),
            "ffmpeg to PNG": lambda: run_ffmpeg("-i", clip, f"{png}/%06d.png"),
        },
        repeats,
    )
    table(found, frames, "frame")
    ten = {"ffmpeg -f null": lambda: null(clips[10]), "10 bit zstd-1": lambda: ours(clips[10], "zstd-1")}
    table(compare(ten, repeats), frames, "frame")
    regions = random_regions(chosen.crops, frames // 2, size)
    readers: dict[str, Callable[[], tuple[float, float]]] = {}
    for name in stores:
        ours(clips[8], name)
        add_masks(stores[name], frames, size, name)
        readers[f"planes {name}"] = lambda name=name: run_step("crops_of_session", stores[name], regions)  # type: ignore[misc]
    readers["PNG folder (cv2)"] = lambda: run_step("crops_of_png", str(cv2_png), regions)
    readers["PNG folder (ffmpeg)"] = lambda: run_step("crops_of_png", str(png), regions)
    readers["video seek"] = lambda: run_step("crops_of_video", clip, regions)
    table(compare(readers, repeats), chosen.crops, "pair crop")
    for tile in chosen.tiles:
        for name in ("zstd-1", "lz4-1"):
            written = [ours(clips[8], name, tile) for _ in range(repeats)]
            add_masks(stores[name], frames, size, name)
            read = [run_step("crops_of_session", stores[name], regions) for _ in range(repeats)]
            size_mb = sum(path.stat().st_size for path in Path(stores[name]).rglob("luma/c/*/*/*")) / 1e6
            cost = median(run[0] for run in written) * 1000 / frames
            crop = median(run[0] for run in read) * 1000 / chosen.crops
            print(f"tiles {tile} {name}: ingest {cost:.1f} ms/frame, pair crop {crop:.1f} ms, luma {size_mb:.0f} MB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2], json.loads(sys.argv[3]))
    else:
        main()

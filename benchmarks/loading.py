"""What reading a dataset costs: a pair at 704x1280 against a PNG folder; what two spawned workers deliver.

    .venv/bin/python benchmarks/loading.py [--pairs 32] [--reads 64] [--repeats 3] [--footage ../shared/data/real-walk]

CPU time (user + system), cv2 and torch with one thread, every step in its own process, page cache warm; ratios are
medians over repeats of one run. Pictures: real footage at its own sharpness (halves of two cameras, filling the frame),
the noisy film of benchmarks/store.py, and that film with a sensor's noise; maps of the recording's HDRIs.
Prints Markdown for docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from store import figure

HEIGHT, WIDTH, SEED = 704, 1280, 5
CODECS = ("zstd-1", "lz4-1", "none")
PAIR_KEYS = ("flat", "relit", "mask")
RELIGHTER_KEYS = ("flat", "relit", "mask", "weight", "env_ldr", "env_log")
Pictures = dict[str, np.ndarray]


def filmed(pairs: int) -> Pictures:
    """The film at 1.5 times the size through h264, reduced, and the figure as mask."""
    import av
    from store import make_clip

    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder, "film.mp4")
        make_clip(clip, 2 * pairs, (WIDTH * 3 // 2, HEIGHT * 3 // 2), "libx264", "yuv420p")
        with av.open(str(clip)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    rgb = np.stack([cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for frame in frames])
    mask = np.stack([figure(2 * n + 1, (WIDTH, HEIGHT)) for n in range(pairs)])
    return {"flat": rgb[::2], "relit": rgb[1::2], "mask": mask}


def noisy(pictures: Pictures) -> Pictures:
    """With noise of three codes, as a camera without compression has it."""
    rng = np.random.default_rng(SEED)
    noise = {key: rng.normal(0, 3, pictures[key].shape[1:]).astype(np.float32) for key in ("flat", "relit")}
    shown = {
        key: np.stack([np.clip(picture + np.roll(noise[key], 97 * n, axis=0) + 0.5, 0, 255) for n, picture in rows])
        for key, rows in ((key, enumerate(pictures[key])) for key in noise)
    }
    return {**pictures, **{key: values.astype(np.uint8) for key, values in shown.items()}}


def footage(recording: Path, pairs: int) -> Pictures:
    """The same rows of two cameras side by side, at recorded sharpness; the mask is where c01 and c02 move."""
    import av

    halves = []
    for camera in ("c01", "c02"):
        with av.open(str(recording / f"cameras/{camera}.mp4")) as container:
            frames = [f.to_ndarray(format="rgb24") for f in islice(container.decode(video=0), 2 * pairs)]
        rgb = np.stack(frames)
        top, left = (rgb.shape[1] - HEIGHT) // 2, (rgb.shape[2] - WIDTH // 2) // 2
        halves.append(rgb[:, top : top + HEIGHT, left : left + WIDTH // 2])
    rgb = np.concatenate(halves, axis=2)
    still = np.median(rgb[:: max(1, pairs // 8)], axis=0).astype(np.uint8)
    moved = [cv2.absdiff(picture, still).max(axis=2) > 24 for picture in rgb[1::2]]
    mask = np.stack([cv2.morphologyEx(m.astype(np.uint8) * 255, cv2.MORPH_CLOSE, np.ones((9, 9))) for m in moved])
    return {"flat": rgb[::2], "relit": rgb[1::2], "mask": mask}


def bake(path: Path, pictures: Pictures, recording: Path, compression: str) -> None:
    """A finished dataset of one camera, arrays as `litdome dataset build` lays them out."""
    import zarr

    from litdome.lighting import project_hdri, tone_map_ldr, tone_map_log, view_directions
    from litdome.media.hdr import read_hdr
    from litdome.store.arrays import ArrayStore

    store, pairs = ArrayStore(str(path), zarr.create_group(path, overwrite=True), writable=True), len(pictures["flat"])
    lights = [read_hdr(hdri) for hdri in sorted((recording / "hdris").iterdir())]
    views = [project_hdri(light, np.eye(4), HEIGHT, WIDTH) for light in lights]
    arrays: Pictures = {f"cameras/take/c00/{name}": values for name, values in pictures.items()}
    arrays["cameras/take/c00/weight"] = np.full_like(pictures["mask"], 255)
    for name, tone_map in (("ldr", tone_map_ldr), ("log", tone_map_log)):
        arrays[f"hdri_views/take/c00/{name}"] = np.stack([tone_map(view) for view in views]).astype(np.float16)
    for name, values in arrays.items():
        dims = ("n", "y", "x", "channel")[: values.ndim]
        store.create(name, values.shape, values.dtype, dims, chunk=(1, *values.shape[1:]), compression=compression)
        store.write(name, 0, values)
    tables = {"session": 0 * np.arange(pairs), "camera": 0 * np.arange(pairs), "pair": np.arange(pairs)}
    tables |= {"hdri": np.arange(pairs) % len(views), "split": 0 * np.arange(pairs)}
    for name, values in tables.items():
        store.write_small(f"samples/{name}", values.astype(np.int32), ("sample",))
    store.write_small("pairs/take/pair", np.arange(pairs, dtype=np.int32), ("n",))
    store.write_small("hdri_views/direction", view_directions(HEIGHT, WIDTH).astype(np.float16), ("v", "u", "channel"))
    head = {"format": "litdome-dataset", "schema": "1.0", "fingerprint": "", "finished": True, "splits": ["train"]}
    store.set_attrs("", **head, sessions=[{"name": "take", "cameras": ["c00"]}])


def write_pngs(folder: Path, pictures: Pictures) -> None:
    """A folder of PNG files, level 3."""
    folder.mkdir(parents=True)
    for key, values in pictures.items():
        for n, picture in enumerate(values):
            bgr = picture[..., ::-1] if picture.ndim == 3 else picture
            cv2.imwrite(str(folder / f"{key}-{n:04d}.png"), bgr, [cv2.IMWRITE_PNG_COMPRESSION, 3])


# steps; each runs in a process of its own and prints what it used


def read_png(folder: str, as_floats: bool) -> Callable[[int], Any]:
    """Pairs of a PNG folder: decoded, or the tensors of a sample."""
    if as_floats:
        return PngPairs(folder).__getitem__
    return lambda n: [cv2.imread(f"{folder}/{key}-{n:04d}.png", -1) for key in PAIR_KEYS]


def read_dataset(path: str, as_floats: bool) -> Callable[[int], Any]:
    """Pairs of a dataset: codes, or the tensors of a sample."""
    from litdome.datasets.views import open_dataset

    view = open_dataset(Path(path))
    return lambda n: view.read(n, PAIR_KEYS) if as_floats else [view.codes(n, key) for key in PAIR_KEYS]


def read_zarr(path: str, as_floats: bool) -> Callable[[int], Any]:
    """The same codes through zarr-python."""
    import zarr

    arrays = [zarr.open_array(f"{path}/cameras/take/c00/{key}", mode="r") for key in PAIR_KEYS]
    return lambda n: [np.asarray(array[n]) for array in arrays]


@dataclass(frozen=True)
class PngPairs:
    """A PNG folder as pairs, as one would write it; `compact` as those of a dataset are."""

    folder: str
    compact: bool = False

    def __len__(self) -> int:
        return len(list(Path(self.folder).glob("flat-*.png")))

    def __getitem__(self, index: Any) -> dict[str, Any]:
        from litdome.datasets.tensors import as_floats, planes

        n = index if isinstance(index, int) else index[0]
        read = {key: cv2.imread(f"{self.folder}/{key}-{n:04d}.png", -1) for key in PAIR_KEYS}
        colours = {key: cv2.cvtColor(read[key], cv2.COLOR_BGR2RGB) for key in PAIR_KEYS[:2]}
        sample = {key: planes(values)[None] for key, values in (read | colours).items()}
        return sample if self.compact else as_floats(sample)


def load(path: str, count: int, workers: int) -> None:
    """``count`` samples by a DataLoader after a warm-up of as many as it reads ahead; prints the rate as well."""
    from litdome.datasets.batches import Batches
    from litdome.datasets.loading import RandomPairs
    from litdome.datasets.order import ResumableSampler
    from litdome.datasets.views import open_dataset

    is_png = not Path(path, "zarr.json").exists()
    samples: Any = PngPairs(path) if is_png else RandomPairs(open_dataset(Path(path)), RELIGHTER_KEYS)
    sampler = ResumableSampler(samples, SEED)
    loader: Any = Batches(samples, sampler, workers=workers)
    seen, started, before = 0, 0.0, 0.0
    warm = 4 * max(1, workers)
    while seen < warm + count:
        for _ in loader:
            sampler.advance(1)
            seen += 1
            if seen == warm:
                started, before = time.monotonic(), cpu_seconds(workers_of(loader))
            if seen == warm + count:
                break
    wall, cpu = time.monotonic() - started, cpu_seconds(workers_of(loader)) - before
    print(json.dumps({"rate": count / wall, "cpu": cpu / count}))


def workers_of(loader: Any) -> list[int]:
    """Process ids of a loader's workers."""
    return [worker.pid for worker in getattr(loader._loader._iterator, "_workers", [])]


def cpu_seconds(processes: list[int]) -> float:
    """CPU time of this process and of ``processes`` so far."""
    ticks = 0
    for process in processes:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime + ticks / os.sysconf("SC_CLK_TCK")


READERS = {reader.__name__: reader for reader in (read_png, read_dataset, read_zarr)}


def child(name: str, arguments: list[Any]) -> None:
    """Run one step; readers print their CPU time a pair, what opening costs not counted."""
    import torch

    from litdome.datasets.batches import keep_freed_memory

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    if name == "load":
        load(*arguments)
        return
    path, order, as_floats = arguments
    keep_freed_memory()  # as in any process that has handled larger arrays; PNG gains as well
    read = READERS[name](path, as_floats)
    for n in order[:4]:
        read(n)
    before = cpu_seconds([])
    for n in order:
        read(n)
    print(json.dumps({"cpu": (cpu_seconds([]) - before) / len(order)}))


def run_step(name: str, *arguments: Any) -> dict[str, float]:
    """A step in its own process."""
    command = [sys.executable, __file__, "child", name, json.dumps(arguments)]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    return dict(json.loads(done.stdout))


def compare_reads(stores: dict[str, str], png: str, order: list[int], repeats: int) -> None:
    """The table of pairs: ratios are of runs that followed each other."""
    steps = {"PNG folder": ("read_png", png)}
    for codec, path in stores.items():
        steps[f"dataset {codec}"] = ("read_dataset", path)
        steps[f"zarr-python {codec}"] = ("read_zarr", path)
    print("| read | uint8 ms | x PNG | sample (float32) ms | x PNG |\n|---|---|---|---|---|")
    found: dict[tuple[str, bool], list[float]] = {}
    for _ in range(repeats):
        for as_floats in (False, True):
            for name, (step, path) in steps.items():
                if as_floats and step == "read_zarr":
                    continue
                found.setdefault((name, as_floats), []).append(run_step(step, path, order, as_floats)["cpu"] * 1000)
    for name in steps:
        cells = []
        for as_floats in (False, True):
            if (name, as_floats) not in found:
                cells += ["", ""]
                continue
            runs, against = found[name, as_floats], found["PNG folder", as_floats]
            ratio = median(png_ms / ms for png_ms, ms in zip(against, runs, strict=True))
            cells += [f"{median(runs):.1f}", f"{ratio:.1f}"]
        print(f"| {name} | " + " | ".join(cells) + " |")
    print()


def main() -> None:
    """Make pictures, bake, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=32)
    parser.add_argument("--reads", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--footage", type=Path, default=Path("../shared/data/real-walk"))
    chosen = parser.parse_args()
    order = np.random.default_rng(SEED).integers(0, chosen.pairs, chosen.reads).tolist()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {chosen.pairs} pairs of ", end=""
    )
    print(f"{HEIGHT}x{WIDTH}, {chosen.reads} random reads, {chosen.repeats} repeats\n")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, make in (
            ("footage", lambda: footage(chosen.footage, chosen.pairs)),
            ("film", lambda: filmed(chosen.pairs)),
        ):
            pictures, stores, png = make(), {}, folder / name / "png"
            raw = sum(values.nbytes for values in pictures.values()) / chosen.pairs / 1e6
            write_pngs(png, pictures)
            sizes = {"PNG": sum(file.stat().st_size for file in png.iterdir())}
            for codec in CODECS:
                stores[codec] = str(folder / name / codec)
                bake(Path(stores[codec]), pictures, chosen.footage, codec)
                shards = [p for key in PAIR_KEYS for p in Path(stores[codec], f"cameras/take/c00/{key}/c").rglob("*")]
                sizes[codec] = sum(file.stat().st_size for file in shards if file.is_file())
            shown = ", ".join(f"{kind} {size / chosen.pairs / 1e6:.2f}" for kind, size in sizes.items())
            print(f"{name}: MB a pair of {raw:.1f} MB: {shown}\n")
            compare_reads(stores, str(png), order, chosen.repeats)
            print("| loader, two spawned workers | samples/s | CPU ms a sample |\n|---|---|---|")
            for kind, path in (
                ("PNG folder (flat, relit, mask)", str(png)),
                *((f"dataset {c}", stores[c]) for c in CODECS),
            ):
                runs = [run_step("load", path, chosen.reads, 2) for _ in range(chosen.repeats)]
                rate, cpu = median(run["rate"] for run in runs), median(run["cpu"] for run in runs)
                print(f"| {kind} | {rate:.1f} | {cpu * 1000:.1f} |")
            print(f"\nload at the end {os.getloadavg()[0]:.1f}\n")
            shutil.rmtree(folder / name)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2], json.loads(sys.argv[3]))
    else:
        main()

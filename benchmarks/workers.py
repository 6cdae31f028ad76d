"""What worker processes cost over threads: CPU seconds of the same units, all processes counted, warm.

    .venv/bin/python benchmarks/workers.py [--pictures 64] [--workers 2] [--repeats 3] [--stages shrink flow]

Units read 4K pictures from a session and write 720p ones (shrink), or measure optical flow (the real stage). Each row
is a process with all its children; one unit a worker is run before the clock starts. "dask's memory" is the control:
worker processes with the allocator set as dask's nanny sets it.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import psutil

from litdome.compute import Threads, open_executor
from litdome.lighting import HdriEntry, LightingSchedule
from litdome.pairs import frames_of_kind, make_pairs
from litdome.pipeline import StageWork
from litdome.preprocess.flow import Flow
from litdome.stage import SessionLike, Stage, StageConfig, Summary, Unit
from litdome.store.session import Session

WIDTH, HEIGHT, SMALL = 3840, 2160, (1280, 720)
DEPTH = 4  # pictures of a unit
DASKS_OWN = {"MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_MMAP_THRESHOLD_": "131072"}


class Shrink:
    """4K to 720p: little arithmetic, much memory."""

    name: ClassVar[str] = "shrink"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "shrink pictures"
    needs: ClassVar[tuple[str, ...]] = ()
    Config: ClassVar[type[StageConfig]] = StageConfig

    def prepare(self, session: SessionLike, config: StageConfig) -> list[Unit]:
        count = session.count("flat")
        shape = (count, SMALL[1], SMALL[0], 3)
        session.create("small", shape, "u1", ("n", "y", "x", "channel"), shard=DEPTH)
        return [Unit("c00", start, min(start + DEPTH, count)) for start in range(0, count, DEPTH)]

    def run(self, session: SessionLike, config: StageConfig, unit: Unit) -> None:
        pictures = (session.read_frame("c00", "flat", n) for n in range(unit.start, unit.stop))
        small = [cv2.resize(picture, SMALL, interpolation=cv2.INTER_AREA) for picture in pictures]
        session.write("small", unit.start, np.stack(small))

    def finish(self, session: SessionLike, config: StageConfig) -> Summary:
        return {}


STAGES: dict[str, Callable[[], Stage]] = {"shrink": Shrink, "flow": Flow}


def film(path: Path, pictures: int) -> None:
    """A session of one 4K camera: a textured picture that moves, with noise; a flat and a relit one by turns."""
    rng = np.random.default_rng(0)
    lit = np.resize(np.uint8([1, 2]), 2 * pictures)
    hdri = np.where(lit == 2, 0, -1).astype(np.int32)
    schedule = LightingSchedule(lit, hdri, (HdriEntry("sky"),))
    session = Session.new(str(path), {"name": "bench", "hdri_convention": "physical", "transfer": "srgb"})
    about = {"camera_ids": ["c00"], "roles": ["body"], "models": ["pinhole5"]}
    session.write_small("rig/size", np.int32([[WIDTH, HEIGHT]]), ("camera", "axis"), attrs=about)
    session.write_small("schedule/kind", lit, ("frame",))
    entries = {"entries": [asdict(entry) for entry in schedule.entries]}
    session.write_small("schedule/hdri", hdri, ("frame",), attrs=entries)
    session.write_small("schedule/present", np.ones((1, len(lit)), bool), ("camera", "frame"))
    for name, values in vars(make_pairs(schedule, np.arange(len(lit), dtype=np.int64) * 20_000_000)).items():
        session.write_small(f"pairs/{name}", values, ("pair",))
    for kind, word in (("flat", "flat"), ("relit", "hdri")):
        session.write_small(f"frames/{kind}", frames_of_kind(schedule, word), (kind,))
    plain = {"subsampling": "420", "matrix": "bt709", "range": "limited", "transfer": "srgb", "bits": 8}
    texture = cv2.GaussianBlur(rng.integers(16, 235, (HEIGHT + 256, WIDTH + 256), np.uint8), (0, 0), 3)
    noise = rng.integers(-2, 3, (HEIGHT, WIDTH), np.int8)
    luma = session.create("cameras/c00/flat/luma", (pictures, HEIGHT, WIDTH), "u1", ("n", "y", "x"), attrs=plain)
    shape = (pictures, 2, HEIGHT // 2, WIDTH // 2)
    session.create("cameras/c00/flat/chroma", shape, "u1", ("n", "cbcr", "y2", "x2"), attrs=plain)
    depth = (luma.shards or luma.chunks)[0]
    for start in range(0, pictures, depth):
        steps = range(start, min(start + depth, pictures))
        stack = [texture[n % 200 :, (3 * n) % 200 :][:HEIGHT, :WIDTH] + np.roll(noise, n).view(np.uint8) for n in steps]
        session.write("cameras/c00/flat/luma", start, np.stack(stack))
        session.write("cameras/c00/flat/chroma", start, np.full((len(stack), *shape[1:]), 128, np.uint8))


def row(path: Path, stage_name: str, place: str, workers: int) -> float:
    """CPU seconds of all units in this process and its children, after one unit a worker to warm up."""
    stage = STAGES[stage_name]()
    session = Session.open(str(path), writable=True)
    config = stage.Config()
    units = stage.prepare(session, config)
    if stage_name == "flow":
        units = units[:1] * 6  # as if there were six cameras
    job = StageWork(session, stage, config, units)
    with nullcontext(Threads(workers)) if place == "threads" else open_executor(workers) as executor:
        executor.run(job, range(workers), on_done=lambda index: None)
        family = [psutil.Process(), *psutil.Process().children(recursive=True)]
        before = sum(sum(process.cpu_times()[:2]) for process in family)
        executor.run(job, range(len(units)), on_done=lambda index: None)
        return sum(sum(process.cpu_times()[:2]) for process in family) - before


def measure(arguments: list[str], environment: dict[str, str]) -> float:
    """A row in a process of its own."""
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, check=True, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)
    return float(done.stdout)


def main() -> None:
    """Film, measure by turns, print; with ``--row`` measure one row in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--stages", nargs="+", default=list(STAGES), choices=list(STAGES))
    parser.add_argument("--row", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.row:
        path, stage, place = given.row
        print(row(Path(path), stage, place, given.workers))
        return
    load = os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f}, python {platform.python_version()}")
    rows: list[tuple[str, str, dict[str, str]]] = [("threads", "threads", {}), ("workers", "cluster", {})]
    rows.append(("workers, dask's memory", "cluster", DASKS_OWN))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "take.zarr"
        film(path, given.pictures)
        print(f"{given.pictures} pictures, {given.workers} workers, median of {given.repeats}: CPU s, ratio")
        for stage in given.stages:
            found: dict[str, list[float]] = {name: [] for name, *_ in rows}
            for _ in range(given.repeats):
                for name, place, environment in rows:
                    arguments = ["--workers", str(given.workers), "--row", str(path), stage, place]
                    found[name].append(measure(arguments, environment))
            reference = statistics.median(found["threads"])
            for name, seconds in found.items():
                median = statistics.median(seconds)
                print(f"{stage:8} {name:24} {median:8.2f} {median / reference:8.2f}")


if __name__ == "__main__":
    main()

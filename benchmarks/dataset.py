"""What building a dataset costs a pair, step by step, and checking it: from a session of 4K planes to 704x1280.

    .venv/bin/python benchmarks/dataset.py [--pairs 16] [--size 3840 2160] [--codec zstd]

CPU time (user + system) of this process, one worker, cv2 with one thread, page cache warm. The session is made by hand:
an ellipse that moves over noise of two codes, stored as ingest stores 4:2:0 planes. Prints Markdown for
docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import zarr

from litdome.datasets.bake import bake, bake_units
from litdome.datasets.build import build_dataset
from litdome.datasets.check import check_dataset
from litdome.datasets.freeze import freeze_spec
from litdome.datasets.plan import plan_dataset
from litdome.datasets.spec import DatasetSpec
from litdome.datasets.tables import create_arrays
from litdome.geometry import look_at
from litdome.lighting import HdriEntry, LightingSchedule
from litdome.pairs import frames_of_kind, make_pairs
from litdome.store.arrays import ArrayStore
from litdome.store.session import Session

SEED = 3


def make_session(path: Path, pairs: int, size: tuple[int, int]) -> Session:
    """One calibrated camera with distortion, segmented and aligned, two lights of 1024x512."""
    width, height = size
    rng = np.random.default_rng(SEED)
    kind = np.array([1, 2] * pairs + [1], np.uint8)
    entries = (HdriEntry("a"), HdriEntry("b"))
    hdri = np.where(kind == 2, np.arange(len(kind)) // 2 % 2, -1).astype(np.int32)
    schedule, time_ns = LightingSchedule(kind, hdri, entries), np.arange(len(kind), dtype=np.int64) * 40_000_000
    session = Session.new(str(path), {"hdri_convention": "physical", "transfer": "srgb", "subject": "s1"})
    about = {"camera_ids": ["c00"], "roles": ["body"], "models": ["pinhole5"]}
    session.write_small("rig/size", np.array([size], np.int32), ("camera", "2"), attrs=about)
    focal = 1.1 * width
    intrinsics = np.array([[[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]]])
    session.write_small("rig/intrinsics", intrinsics, ("camera", "row", "column"))
    session.write_small("rig/distortion", np.array([[-0.1, 0.05, 0.001, 0, 0, 0, 0, 0]]), ("camera", "k"))
    session.write_small("rig/world_from_camera", look_at([0, 1, 3], [0, 1, 0])[None], ("camera", "row", "column"))
    session.write_small("schedule/kind", kind, ("frame",))
    session.write_small("schedule/hdri", hdri, ("frame",), attrs={"entries": [asdict(entry) for entry in entries]})
    session.write_small("schedule/time_ns", time_ns, ("frame",))
    session.write_small("schedule/present", np.ones((1, len(kind)), bool), ("camera", "frame"))
    for name, values in vars(make_pairs(schedule, time_ns)).items():
        session.write_small(f"pairs/{name}", values, ("pair",))
    for entry in entries:
        radiance = rng.gamma(0.5, 2.0, (512, 1024, 3)).astype(np.float32)
        session.write_small(f"hdris/{entry.entry}", radiance, ("v", "u", "channel"))
    session.create("compensated/c00", (pairs, height, width, 3), "u1", ("pair", "y", "x", "channel"))
    for word, name in (("flat", "flat"), ("hdri", "relit")):
        _film(session, name, frames_of_kind(schedule, word), size, rng)
    for start, stop in session.shards(pairs):
        moved = np.stack([session.read_frame("c00", "flat", n) for n in range(start, stop)])
        session.write("compensated/c00", start, moved)
    coarse = np.full((pairs, 360, 640), 200, np.uint8)
    for kind_of_weight in ("flat", "compensated"):
        session.create(f"weights/c00/{kind_of_weight}", coarse.shape, "u1", ("pair", "y", "x"))
        session.write(f"weights/c00/{kind_of_weight}", 0, coarse)
    return session


def _film(session: Session, kind: str, frames: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> None:
    width, height = size
    session.write_small(f"frames/{kind}", frames, (kind,))
    attrs = {"subsampling": "420", "matrix": "bt601", "range": "limited", "bits": 8}
    count, group = len(frames), f"cameras/c00/{kind}"
    small = (count, 2, height // 2, width // 2)
    session.create(f"{group}/luma", (count, height, width), "u1", ("n", "y", "x"), attrs=attrs)
    session.create(f"{group}/chroma", small, "u1", ("n", "cbcr", "y2", "x2"), attrs=attrs)
    for name in ("mask_raw", "mask", "mask_wide"):
        session.create(f"{group}/{name}", (count, height, width), "u1", ("n", "y", "x"))
    noise = rng.integers(-2, 3, (height + 64, width)).astype(np.int16)
    for start, stop in session.shards(count):
        masks = np.zeros((stop - start, height, width), np.uint8)
        for row, frame in enumerate(frames[start:stop]):
            centre = (width // 2 + int(frame) % 40 * width // 400, height // 2)
            cv2.ellipse(masks[row], centre, (width // 10, height * 2 // 5), 8, 0, 360, 255, -1, cv2.LINE_AA)
        luma = np.clip(60 + masks // 3 + np.stack([noise[n % 64 :][:height] for n in range(stop - start)]), 16, 235)
        session.write(f"{group}/luma", start, luma.astype(np.uint8))
        chroma = np.full((stop - start, 2, height // 2, width // 2), 128, np.uint8)
        session.write(f"{group}/chroma", start, chroma)
        for name in ("mask_raw", "mask", "mask_wide"):
            session.write(f"{group}/{name}", start, masks)


def cpu_ms(start: float, count: int) -> str:
    """CPU time since ``start`` by count, ms."""
    return f"{(time.process_time() - start) / max(count, 1) * 1000:.0f}"


def main() -> None:
    """Build once whole and once step by step, and check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--size", type=int, nargs=2, default=(3840, 2160), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--codec", choices=("zstd", "lz4"), default="zstd")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{machine}; {given.size}, {given.pairs} pairs")
    with tempfile.TemporaryDirectory() as folder:
        session = make_session(Path(folder, "take.zarr"), given.pairs, tuple(given.size))
        nothing_held = {"lights": 0, "motion_from": None, "cameras": 0}
        spec = DatasetSpec.model_validate({"splits": nothing_held, "store": {"codec": given.codec}})
        frozen = freeze_spec([session], spec)
        start = time.process_time()
        plans = plan_dataset([session], frozen, workers=1)
        assert plans is not None
        plan = plans[0]
        print("\n| step | CPU ms |\n|---|---|")
        print(f"| frame the camera: union of the masks, maps; a pair | {cpu_ms(start, given.pairs)} |")
        store = ArrayStore(str(Path(folder, "steps")), _group(Path(folder, "steps")), writable=True)
        create_arrays(store, plan, frozen)
        units = bake_units(store, plan)
        for is_light, what, count in ((True, "a light of one camera", 2), (False, "a pair of one camera", given.pairs)):
            start = time.process_time()
            for unit in units:
                if unit.is_light == is_light:
                    bake(store, unit, frozen)
            print(f"| bake {what} | {cpu_ms(start, count)} |")
        start, clock = time.process_time(), time.perf_counter()
        build_dataset([session], Path(folder, "data"), spec)
        wall = (time.perf_counter() - clock) / given.pairs * 1000
        print(f"| the whole build, a pair, all cores | {cpu_ms(start, given.pairs)} ({wall:.0f} wall) |")
        start = time.process_time()
        findings = check_dataset(Path(folder, "data"))
        print(f"| check, a sample ({len(findings)} findings) | {cpu_ms(start, given.pairs)} |")


def _group(path: Path) -> zarr.Group:

    return zarr.create_group(path, zarr_format=3)


if __name__ == "__main__":
    main()

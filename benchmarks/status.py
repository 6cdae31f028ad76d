"""What ``litdome status`` costs on a large take: the whole process, imports included.

    .venv/bin/python benchmarks/status.py [--cameras 40] [--pairs 20000] [--losses 200]

The session has every array and record of an ingested and processed take in its real shape, but no pictures. Prints the
machine, its load, CPU and wall seconds, and ratios against a Python that only imports zarr.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from litdome.lighting import HdriEntry, LightingSchedule
from litdome.pairs import frames_of_kind, make_pairs
from litdome.pipeline import processing_stages, wanted_fingerprint
from litdome.store.provenance import StageRecord
from litdome.store.session import Session

SIZE = (4096, 2160)
LIGHTS, BLOCK, POINTS = 1015, 1024, 24
SAMPLES = 3


def build(path: Path, cameras: int, pairs: int, losses: int) -> Session:
    """A take of ``cameras`` and ``pairs``, every stage finished, ``losses`` gaps of one to three frames."""
    ids = [f"c{n:02d}" for n in range(cameras)]
    session = Session.new(str(path), {"name": "take02", "subject": "s03", "fps": 50.0, "recording": "/stage/take02"})
    about = {"camera_ids": ids, "roles": ["body"] * cameras, "models": ["pinhole5"] * cameras}
    session.write_small("rig/size", np.tile(np.int32(SIZE), (cameras, 1)), ("camera", "axis"), attrs=about)
    _write_schedule(session, pairs, losses)
    for id in ids:
        for kind in ("flat", "relit"):
            width, height = SIZE
            for name, shape in (("luma", (height, width)), ("chroma", (2, height // 2, width // 2))):
                dims = ("n", "y", "x") if name == "luma" else ("n", "cbcr", "y2", "x2")
                session.create(f"cameras/{id}/{kind}/{name}", (pairs, *shape), "u1", dims)
            session.create(f"cameras/{id}/{kind}/mask_raw", (pairs, height, width), "u1", ("n", "y", "x"))
        session.create(f"compensated/{id}", (pairs, height, width, 3), "u1", ("pair", "y", "x", "channel"))
    blocks = -(-2 * pairs // BLOCK)
    _finish(session, "ingest", cameras * blocks, summary(ids, pairs))
    for name, stage in processing_stages().items():
        _finish(session, name, cameras * -(-pairs // session.shard_frames), {}, stage)
    return session


def summary(ids: list[str], pairs: int) -> dict[str, object]:
    """The record of ingest as a real take leaves it."""
    places = [int(place) for place in np.linspace(0, 2 * pairs, POINTS, endpoint=False)]
    level = {"exposure_stops": 0.1, "clipped": 0.001, "clipped_relit": 0.01, "black": 0.2}
    focus = {"sharpness": 0.4, "focus": 0.9, "noise": 1.5}
    series = {name: [0.4] * POINTS for name in ("exposure_stops", "clipped", "clipped_relit", "sharpness", "noise")}
    quality = {id: {**level, **focus, "series": series} for id in ids}
    lights = {"lights": LIGHTS, "dark_lights": [], "unpaired_lights": []}
    light = {"confidence": 0.99, "contradicting_frames": [], "offsets": dict.fromkeys(ids, 0)}
    return {
        "cameras": ids,
        "quality": {"frames": places, "cameras": quality, **lights},
        "light": {**light, "mixed_light": {ids[0]: list(range(50))}, "duplicates": {}},
        "counts": {id: {"container": 2 * pairs, "decoded": 2 * pairs} for id in ids},
    }


def _write_schedule(session: Session, pairs: int, losses: int) -> None:
    frames = 2 * pairs
    kind = np.resize(np.uint8([1, 2]), frames)
    hdri = np.where(kind == 2, np.arange(frames) // 2 % LIGHTS, -1).astype(np.int32)
    schedule = LightingSchedule(kind, hdri, tuple(HdriEntry(f"map{n:04d}") for n in range(LIGHTS)))
    time_ns = np.arange(frames, dtype=np.int64) * 20_000_000
    session.write_small("schedule/kind", kind, ("frame",))
    entries = {"entries": [asdict(entry) for entry in schedule.entries], "source": "lights.csv"}
    session.write_small("schedule/hdri", hdri, ("frame",), attrs=entries)
    session.write_small("schedule/time_ns", time_ns, ("frame",))
    present = np.ones((len(session.cameras), frames), bool)
    rng = np.random.default_rng(0)
    for start in rng.integers(0, frames, losses):
        present[rng.integers(len(present)), start : start + rng.integers(1, 4)] = False
    chunk = (1, min(BLOCK, frames))
    session.create("schedule/present", present.shape, bool, ("camera", "frame"), shard=None, chunk=chunk)
    session.array("schedule/present")[...] = present
    for stored, word in (("flat", "flat"), ("relit", "hdri")):
        session.write_small(f"frames/{stored}", frames_of_kind(schedule, word), (stored,))
    for name, values in vars(make_pairs(schedule, time_ns)).items():
        session.write_small(f"pairs/{name}", values, ("pair",))


def _finish(session: Session, name: str, units: int, found: dict[str, object], stage: object = None) -> None:
    times = ("2025-01-01T10:00:00+00:00", "2025-01-01T11:00:00+00:00")
    if stage is None:
        record = StageRecord(name, 1, "f0", {}, {}, *times, summary=found)
    else:
        config = stage.Config()  # type: ignore[attr-defined]
        wanted = wanted_fingerprint(session, stage, config)  # type: ignore[arg-type]
        record = StageRecord(name, stage.version, str(wanted), {}, config.model_dump(mode="json"), *times)  # type: ignore[attr-defined]
    session.write_record(record)
    session.write_small(f"steps/{name}/done", np.ones(units, bool), ("unit",))


def measured(command: list[str]) -> tuple[float, float]:
    """CPU and wall seconds of a process, the least of `SAMPLES`."""
    costs = []
    for _ in range(SAMPLES):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        costs.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall))
    return min(cpu for cpu, _ in costs), min(wall for _, wall in costs)


def main() -> None:
    """Build the take, measure, print Markdown."""
    parser = argparse.ArgumentParser()
    for name, value in (("cameras", 40), ("pairs", 20_000), ("losses", 200)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        session = build(Path(folder) / "take02.zarr", options.cameras, options.pairs, options.losses)
        status = [sys.executable, "-m", "litdome", "status", session.url]
        found = json.loads(subprocess.run([*status, "--json"], capture_output=True, check=True, text=True).stdout)
        assert all(stage["state"] == "done" for stage in found["stages"]), "the take is not a finished one"
        rows = {
            "python that imports zarr": measured([sys.executable, "-c", "import zarr"]),
            "litdome --help": measured([sys.executable, "-m", "litdome", "--help"]),
            "litdome status": measured(status),
            "litdome status --json": measured([*status, "--json"]),
        }
    load = os.getloadavg()[0]
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {load:.1f}")
    print(f"{options.cameras} cameras x {options.pairs} pairs, {len(found['losses'])} gaps\n")
    print("| command | CPU s | against importing zarr | wall s |\n|---|---|---|---|")
    bare = rows["python that imports zarr"][0]
    for name, (cpu, wall) in rows.items():
        print(f"| {name} | {cpu:.2f} | {cpu / bare:.1f} | {wall:.2f} |")


if __name__ == "__main__":
    main()

"""What exports cost: time, size and, for clips, what H.264 changes, of a dataset of real frames at 704x1280.

    .venv/bin/python benchmarks/exports.py [--pairs 16] [--workers 1]

One camera films DAVIS dance-twirl (854x480, enlarged), even frames as flat, odd ones as relit, with its true masks.
Prints Markdown for docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import av
import cv2
import numpy as np

from litdome.datasets.build import build_dataset
from litdome.datasets.export import FORMATS, export_dataset
from litdome.datasets.export.shots import select_shots
from litdome.datasets.spec import DatasetSpec
from litdome.datasets.views import DatasetView, open_dataset
from litdome.geometry import look_at
from litdome.lighting import HdriEntry, LightingSchedule
from litdome.pairs import frames_of_kind, make_pairs
from litdome.store.provenance import StageRecord
from litdome.store.session import Session

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("LITDOME_DATA", ROOT.parent / "shared" / "data")) / "masks" / "dance-twirl"
SPEC = {"size": {"fit": "full"}, "select": {"filter": "all"}}
HELD = {"splits": {"lights": 0, "motion_from": None, "cameras": 0}}


def make_dataset(folder: Path, pairs: int) -> DatasetView:
    """The dataset, in ``folder``."""
    session = Session.new(str(folder / "dance.zarr"), {"fps": 25.0, "transfer": "srgb", "hdri_convention": "physical"})
    about = {"camera_ids": ["c00"], "roles": ["body"], "models": ["pinhole5"]}
    session.write_small("rig/size", np.int32([[854, 480]]), ("camera", "axis"), attrs=about)
    session.write_small("rig/intrinsics", np.array([[[900.0, 0, 426], [0, 900, 239], [0, 0, 1]]]), ("camera", "r", "c"))
    session.write_small("rig/distortion", np.zeros((1, 8)), ("camera", "coefficient"))
    session.write_small("rig/world_from_camera", look_at([0, 1, 3], [0, 1, 0])[None], ("camera", "r", "c"))
    kind = np.tile(np.uint8([1, 2]), pairs)
    schedule = LightingSchedule(kind, np.where(kind == 2, 0, -1).astype(np.int32), (HdriEntry("stage"),))
    times = np.arange(2 * pairs) * 40_000_000
    session.write_small("schedule/kind", kind, ("frame",))
    session.write_small("schedule/hdri", schedule.hdri, ("frame",), attrs={"entries": [asdict(HdriEntry("stage"))]})
    session.write_small("schedule/time_ns", times, ("frame",))
    session.write_small("schedule/present", np.ones((1, 2 * pairs), bool), ("camera", "frame"))
    for name, values in vars(make_pairs(schedule, times)).items():
        session.write_small(f"pairs/{name}", values, ("pair",))
    session.write_small("hdris/stage", np.ones((16, 32, 3), np.float32), ("v", "u", "channel"))
    for first, (stored, word) in enumerate((("flat", "flat"), ("relit", "hdri"))):
        session.write_small(f"frames/{stored}", frames_of_kind(schedule, word), (stored,))
        numbers = range(first, 2 * pairs, 2)
        pictures = [cv2.imread(str(DATA / "frames" / f"{n:05d}.jpg"))[..., ::-1] for n in numbers]
        masks = [cv2.imread(str(DATA / "truth" / f"{n:05d}.png"), 0) for n in numbers]
        session.write_small(f"cameras/c00/{stored}/rgb", np.stack(pictures), ("n", "y", "x", "channel"))
        for name in ("mask_raw", "mask"):
            session.write_small(f"cameras/c00/{stored}/{name}", np.uint8(np.stack(masks) > 0) * 255, ("n", "y", "x"))
    for stage in ("ingest", "calibrate", "segment", "deflicker"):
        session.write_record(StageRecord(stage, 1, stage, {}, {}, started="a", finished="b"))
    build_dataset([session], folder / "data", DatasetSpec.model_validate({**SPEC, **HELD}), workers=1)
    return open_dataset(folder / "data")


def clip_psnr(view: DatasetView, out: Path) -> dict[str, float]:
    """PSNR of the decoded clips against the dataset, dB, over all frames."""
    selection = select_shots(view)
    clip = out / "train" / json.loads((out / "train" / "clips.jsonl").read_text().splitlines()[0])["clip"]
    found = {}
    for name in ("flat", "relit", "mask"):
        with av.open(str(clip / f"{name}.mp4")) as video:
            frames = [frame.to_ndarray(format="rgb24").astype(np.float32) for frame in video.decode(video=0)]
        stored = [selection.picture(shot, name) for shot in selection.shots]
        true = [np.repeat(p[..., None], 3, axis=2) if p.ndim == 2 else p for p in stored]
        error = np.mean([np.mean((a - b) ** 2) for a, b in zip(frames, true, strict=True)])
        found[name] = float(10 * np.log10(255**2 / error))
    return found


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--pairs", type=int, default=16)
    arguments.add_argument("--workers", type=int, default=1)
    chosen = arguments.parse_args()
    cv2.setNumThreads(1)
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {chosen.workers} workers\n")
    print("| format | wall ms a sample | CPU ms a sample | MB a sample | files |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        view = make_dataset(Path(place), chosen.pairs)
        for name in FORMATS:
            wall, used = time.perf_counter(), time.process_time()
            made = export_dataset(view, Path(place) / name, name, workers=chosen.workers)
            wall, used = time.perf_counter() - wall, time.process_time() - used
            assert made is not None
            figures = (
                f"{wall / len(view) * 1e3:.0f} | {used / len(view) * 1e3:.0f} | {made.bytes / len(view) / 1e6:.2f}"
            )
            print(f"| {name} | {figures} | {made.files} |")
        quality = ", ".join(f"{name} {psnr:.1f} dB" for name, psnr in clip_psnr(view, Path(place) / "mp4").items())
    print(f"\nmp4 against the dataset: {quality}")


if __name__ == "__main__":
    main()

"""What a simulated take costs: time, memory and bytes.

    python benchmarks/synth.py                 the take of 13 cameras and 48 pairs at 128x224
    python benchmarks/synth.py --pairs 4       in small
    python benchmarks/synth.py --scenes 8      scenes without people, for the relighter's base

Every take is filmed in its own process, so that its peak of memory is its own.
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
from pathlib import Path


def film(arguments: dict[str, object]) -> dict[str, float]:
    """Wall and CPU seconds, peak MB and bytes of truth of one take."""
    from litdome.synth import make_recording

    with tempfile.TemporaryDirectory() as folder:
        take = Path(folder) / "take"
        started, busy = time.perf_counter(), time.process_time()
        make_recording(take, boards=False, **arguments)  # type: ignore[arg-type]
        wall, cpu = time.perf_counter() - started, time.process_time() - busy
        truth = sum(path.stat().st_size for path in (take / "truth").rglob("*") if path.is_file())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"wall": wall, "cpu": cpu, "peak": peak, "truth": truth / 1e6}


def film_apart(**arguments: object) -> dict[str, float]:
    """`film` in a process of its own."""
    command = [sys.executable, __file__, "--one", json.dumps(arguments)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(json.loads(out.splitlines()[-1]))


def measure_scenes(count: int) -> None:
    """Scenes of objects, as the relighter's base sees them."""
    from litdome.synth.scenes import render_scene

    busy = time.process_time()
    for seed in range(count):
        render_scene(seed, height=128, width=224)
    print(f"scenes without people, 128x224: {(time.process_time() - busy) / count:.2f} s CPU each, {count} scenes")


def main() -> None:
    """Print what each take costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--cameras", type=int, default=13)
    parser.add_argument("--pairs", type=int, default=48)
    parser.add_argument("--scenes", type=int, default=4)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(film(json.loads(options.one))))
        return
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    size = {"cameras": options.cameras, "width": 128, "height": 224}
    pairs = options.pairs
    takes: dict[str, dict[str, object]] = {
        f"{options.cameras} cameras, {pairs} pairs": {**size, "pairs": pairs},
        f"{options.cameras} cameras, {max(pairs // 4, 1)} pairs": {**size, "pairs": max(pairs // 4, 1)},
        "... with 128 lights at infinity": {**size, "pairs": max(pairs // 4, 1), "lights": 128},
        "... with a bounce": {**size, "pairs": max(pairs // 4, 1), "bounce": True},
        "... with full truth": {**size, "pairs": max(pairs // 4, 1), "truth": "full"},
        "1 camera, 2 pairs, 704x1280": {"cameras": 1, "pairs": 2, "width": 704, "height": 1280},
    }
    print("| take | wall s | CPU s | peak MB | truth MB |\n|---|---|---|---|---|", flush=True)
    for name, arguments in takes.items():
        cost = film_apart(**arguments)
        row = f"| {name} | {cost['wall']:.1f} | {cost['cpu']:.1f} | {cost['peak']:.0f} | {cost['truth']:.1f} |"
        print(row, flush=True)
    measure_scenes(options.scenes)


if __name__ == "__main__":
    main()

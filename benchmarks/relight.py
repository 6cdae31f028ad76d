"""Peak memory and time of ``litdome relight`` on short and long clips; ``--pictures 16 64`` is the small form.

    python benchmarks/relight.py [RUN] [--pictures 32 512] [--size 176x320] [-o frames]

RUN is any run of the relighter; without one a small random network is trained for one step.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))


def main() -> None:
    """Print peak memory and time of clips of several lengths."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--pictures", type=int, nargs="+", default=[32, 512])
    parser.add_argument("--size", default="176x320")
    parser.add_argument("-o", "--output", default="out.mp4")
    given = parser.parse_args()
    from small_run import one_lamp, small_run

    from litdome.media.encode import VideoWriter

    height, width = map(int, given.size.split("x"))
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print("pictures  seconds  ms a picture  peak MB")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = given.run or small_run(folder)
        lamp = one_lamp(folder / "lamp.exr")
        for count in given.pictures:
            clip = folder / f"{count}.mp4"
            with VideoWriter(clip, fps=25) as video:
                for k in range(count):
                    picture = np.full((height, width, 3), 60, np.uint8)
                    picture[height // 4 : -height // 4, k % (width // 2) : k % (width // 2) + width // 4] = 180
                    video.write(picture)
            output = folder / str(count) / given.output
            output.parent.mkdir()
            command = [
                sys.executable,
                "-m",
                "litdome",
                "-q",
                "relight",
                str(run),
                "--clip",
                str(clip),
                "--size",
                given.size,
            ]
            command += ["--hdri", str(lamp), "--rotate", "0:360", "-o", str(output)]
            start = time.perf_counter()
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _, status, usage = os.wait4(child.pid, 0)
            seconds = time.perf_counter() - start
            if status:
                raise SystemExit(f"failed: {' '.join(command)}")
            print(
                f"{count:8d}  {seconds:7.1f}  {1000 * seconds / count:12.0f}  {usage.ru_maxrss / 1024:7.0f}", flush=True
            )


if __name__ == "__main__":
    main()

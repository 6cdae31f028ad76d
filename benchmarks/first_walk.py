"""The figures of the first walk: what ``--help`` costs, how long each step of the demo takes, what it scores.

    .venv/bin/python benchmarks/first_walk.py [FOLDER]     FOLDER: a finished or new demo, by default demo

Prints Markdown for docs/benchmarks.md.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path


def help_cpu_seconds() -> float:
    """CPU seconds of ``litdome --help``, the least of five."""
    costs = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "litdome", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(costs)


def main() -> None:
    """Run the demo where it is missing, and print its figures."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    subprocess.run([sys.executable, "-m", "litdome", "demo", str(folder)], check=True)
    about = json.loads((folder / "demo.json").read_text())
    scores = json.loads((folder / about["run"] / "evaluation.json").read_text())["splits"]
    print(f"`litdome --help`: {help_cpu_seconds():.2f} s of CPU\n")
    print("| step of the demo | seconds |\n|---|---|")
    for step, seconds in about["timings"].items():
        print(f"| {step} | {seconds:.0f} |")
    print(f"| all | {sum(about['timings'].values()):.0f} |\n")
    methods = list(next(iter(scores.values())))
    print("| method, masked PSNR dB / SSIM | " + " | ".join(f"{s} (n={r[methods[0]]['n']})" for s, r in scores.items()))
    print("|---|" + "---|" * len(scores))
    for method in methods:
        cells = [f"{row[method]['psnr']:.2f} / {row[method]['ssim']:.3f}" for row in scores.values()]
        print(f"| {method} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()

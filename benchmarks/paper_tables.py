"""The paper's experiments in miniature, on the simulated stage: train, score, compare with what was expected.

    python benchmarks/paper_tables.py [--only E1 E4] [--out DIR] [--full] [--seeds N] [--tables --page docs/evidence.md]

What is there is not done again, so it may be stopped at any time; ``results.md`` and ``results.json`` in DIR are of
what has been run by then, written again after every seed of an experiment. ``--tables`` only writes them. What is
expected of it lies in expected.toml and was written first. Prints the machine and its load.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from pathlib import Path

import cv2
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

from paper.arms import EXPERIMENTS, FEWER_SEEDS, FLAT, IC_LIGHT, REFERENCES, Trial, plan
from paper.runs import Runs
from paper.scoring import input_rows, score
from paper.sheets import update_page
from paper.tables import write_tables
from paper.takes import FULL, SMALL, Stage


def main() -> None:
    """Make what is missing, then the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=EXPERIMENTS, default=EXPERIMENTS)
    parser.add_argument("--out", type=Path, default=Path("paper-tables"))
    parser.add_argument("--base", default="tiny")
    parser.add_argument("--still-base", help="a base that never saw clips, for E3's control")
    parser.add_argument("--ic-light", type=Path, help="IC-Light's weights, beside those of Stable Diffusion 1.5")
    parser.add_argument("--full", action="store_true", help="overnight, not minutes")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--tables", action="store_true", help="of what was run; run nothing")
    parser.add_argument("--page", type=Path, help="put results and pictures into this page: docs/evidence.md")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    scale = FULL if given.full else SMALL
    references = REFERENCES if given.ic_light is None else (*REFERENCES, IC_LIGHT)
    todo = plan(scale, tuple(given.only), still_base=given.still_base, references=references)
    runs = Runs(Stage(given.out, scale), todo, given.base, given.ic_light)
    if not given.tables:
        for seed in range(given.seeds or scale.seeds):
            for trial in todo.trials:
                if seed == 0 or (
                    not isinstance(trial.method, str) and seed < FEWER_SEEDS.get(trial.experiment, seed + 1)
                ):
                    _run(runs, trial, seed)
                if trial is last_of(todo.trials, trial.experiment):
                    write_tables(runs, given.out)
    results = write_tables(runs, given.out)
    if given.page is not None:
        update_page(given.page, results, runs)


def _run(runs: Runs, trial: Trial, seed: int) -> None:
    began = time.monotonic()
    if trial.experiment == "E4" and trial.method == FLAT:
        input_rows(runs, trial.data, trial.person)
    rows = score(runs, trial, seed)
    mean = sum(float(row["psnr"]) for row in rows if "psnr" in row) / max(1, sum("psnr" in row for row in rows))
    what = f"{trial.experiment} {trial.arms[0]}, {trial.person}, seed {seed}"
    print(f"{time.strftime('%H:%M:%S')} {what}: {mean:.2f} dB, {time.monotonic() - began:.0f} s", flush=True)


def last_of(trials: tuple[Trial, ...], experiment: str) -> Trial:
    """The last trial of an experiment."""
    return [trial for trial in trials if trial.experiment == experiment][-1]


if __name__ == "__main__":
    main()

"""Several processes by one command, and the script for Slurm: its command line runs as it stands."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from exported_data import make_dataset

from litdome.cli import run
from litdome.train_plugins.launch import Launch, slurm_script

SETTINGS = ["base=random", "mode=full", "network.heads=2", "network.head_dim=12", "network.blocks=1"]
SETTINGS += ["network.adaln_dim=4", "steps=2", "batch=2", "validation.samples=0", "tensorboard=false"]
# what Slurm would bring: srun runs the command on each node, here on one
STANDINS = {"srun": 'shift\nexec "$@"', "scontrol": "echo localhost"}


def test_a_script_for_slurm_trains_and_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, script, place = make_dataset(tmp_path).path, tmp_path / "job.sh", tmp_path / "a run"
    settings = [part for value in SETTINGS for part in ("--set", value)]
    train = ["-q", "train", "relighter", str(data), "--device", "cpu"]
    arguments = [*train, "--out", str(place), "--gpus", "1", "--submit-script", str(script), *settings]
    assert run(arguments) == 0
    assert capsys.readouterr().out == f"sbatch {script}\n"
    assert not list((place / "checkpoints").iterdir())
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0
    for name, body in STANDINS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    place_of_job = {"SLURM_JOB_NODELIST": "localhost", "SLURM_JOB_ID": str(os.getpid()), "OMP_NUM_THREADS": "1"}
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", str(script)], env={**os.environ, **place_of_job, "PATH": path}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"{place}\n"), done.stderr
    assert [folder.name for folder in (place / "checkpoints").iterdir()] == ["step-000002"]
    assert run(arguments) == 2  # the script is there


def test_a_script_asks_for_what_it_runs_on(tmp_path: Path) -> None:
    found = slurm_script(["train", "relighter", "my data"], Launch(8, 2, "", "cuda"), tmp_path / "run")
    for line in ("#SBATCH --nodes=2", "#SBATCH --gpus-per-node=8", "#SBATCH --ntasks-per-node=1"):
        assert line in found.splitlines()
    assert "'my data'" in found and "--gpus 8 --nodes 2 --rendezvous" in found
    assert "--gpus-per-node" not in slurm_script(["train"], Launch(1, 1, "", "cpu"), tmp_path / "run")


def test_what_cannot_run_is_refused_before_a_run_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = make_dataset(tmp_path).path
    train = ["train", "relighter", str(data), "--out", str(tmp_path / "run"), "--device", "cpu"]
    for options, hint in ((["--gpus", "0"], "--gpus 1"), (["--gpus", "2", "--nodes", "2"], "--submit-script FILE")):
        assert run([*train, *options]) == 2
        assert hint in capsys.readouterr().err
    assert not (tmp_path / "run").exists()

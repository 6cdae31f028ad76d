"""Start a training in several processes, on this machine and on others, and the script that asks Slurm to do so.

torch's elastic launcher, which torchrun is, starts and watches the processes; there is no scheduler here.
"""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from litdome.errors import UsageError

STOP_SECONDS = 600  # for the step under way and a checkpoint
PORT = 29500


@dataclass(frozen=True)
class Launch:
    """Where a training runs.

    Attributes:
        processes: On each node, one a GPU.
        nodes: Machines; each runs the same command.
        rendezvous: ``HOST:PORT`` of one of them, at which they meet; empty for a single node.
        device: cuda or cpu.
    """

    processes: int
    nodes: int
    rendezvous: str
    device: str

    @property
    def world(self) -> int:
        """Processes in all."""
        return self.processes * self.nodes


@dataclass(frozen=True)
class Ended:
    """How the processes of this node ended.

    Attributes:
        code: Exit code of the first that failed; 0 if none did.
        said: The last words of one that failed and does not write to the terminal.
    """

    code: int
    said: str = ""


def need_devices(launch: Launch) -> None:
    """Make sure that this node has what is asked for.

    Raises:
        UsageError: It has not.
    """
    if launch.processes < 1 or launch.nodes < 1:
        raise UsageError(f"--gpus {launch.processes} --nodes {launch.nodes}: both are at least 1", hint="--gpus 1")
    if launch.nodes > 1 and not launch.rendezvous:
        raise UsageError(
            f"--nodes {launch.nodes}: the nodes have to know where to meet", hint=f"--rendezvous HOST:{PORT}"
        )
    if launch.device == "cpu":
        return
    import torch

    here = torch.cuda.device_count()
    if here < launch.processes:
        raise UsageError(
            f"--gpus {launch.processes}: {here} here",
            hint=f"--gpus {here}" if here else "--device cpu, or fewer --gpus",
        )


def run_processes(arguments: Sequence[str], launch: Launch, logs: Path) -> Ended:
    """Run ``litdome`` with these arguments in every process and wait for all.

    A process knows its place by RANK, LOCAL_RANK and WORLD_SIZE. Only the first of each node writes to the terminal;
    what the others say goes below ``logs``. Ctrl-C reaches all of them.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    redirects = {local: Std.ALL for local in range(1, launch.processes)}
    config = LaunchConfig(
        min_nodes=launch.nodes,
        max_nodes=launch.nodes,
        nproc_per_node=launch.processes,
        run_id=logs.parent.name,
        rdzv_backend="c10d",
        rdzv_endpoint=launch.rendezvous or "localhost:0",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=str(logs), redirects=redirects),
        shutdown_timeout=STOP_SECONDS,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "litdome", *arguments)
    except SignalException as stopped:
        return Ended(130 if stopped.sigval == signal.SIGINT else 128 + stopped.sigval)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return Ended(
            failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode, _last_words(logs, failure.local_rank)
        )
    return Ended(0)


def slurm_script(arguments: Sequence[str], launch: Launch, run: Path) -> str:
    """A script for ``sbatch`` that goes on with a run; submitted again, it goes on again.

    Args:
        arguments: Of ``litdome``, without where it runs.
        launch: Where it runs; nodes meet at the first one.
        run: The run's folder, which every node sees.
    """
    gpus = f"#SBATCH --gpus-per-node={launch.processes}\n" if launch.device != "cpu" else ""
    device = " --device cpu" if launch.device == "cpu" else ""
    command = shlex.join([sys.executable, "-m", "litdome", *arguments])
    return f"""#!/bin/bash
# Goes on with {run} on {launch.nodes} node(s) with {launch.processes} process(es) each.
# Submit it again to resume after a time limit, a failure or Ctrl-C.
#SBATCH --job-name={shlex.quote("litdome-" + run.name)}
#SBATCH --nodes={launch.nodes}
#SBATCH --ntasks-per-node=1
{gpus}#SBATCH --output={shlex.quote(str(run / "slurm-%j.txt"))}
#SBATCH --time=24:00:00
#SBATCH --signal=INT@{STOP_SECONDS}
#SBATCH --requeue
# The signal comes before the time limit: the step under way ends and a checkpoint is written.
# Add what your cluster asks for: --partition, --account, --cpus-per-task, --mem.
set -euo pipefail
cd {shlex.quote(str(Path.cwd()))}
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 20000))
srun --kill-on-bad-exit=1 {command} \\
  --gpus {launch.processes} --nodes {launch.nodes} --rendezvous "$first:$port"{device}
"""


def _last_words(logs: Path, local_rank: int) -> str:
    """The last line that a process wrote on stderr, if it did not write to the terminal."""
    if local_rank == 0:
        return ""
    files = sorted(logs.rglob(f"{local_rank}/stderr.log"), key=lambda file: file.stat().st_mtime)
    lines = files[-1].read_text(encoding="utf-8", errors="replace").split("\n") if files else []
    return next((line for line in reversed(lines) if line.strip()), "")

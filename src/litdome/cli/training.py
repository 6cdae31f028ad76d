"""The command that trains a plugin on a dataset."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from litdome.cli.console import Stopped, progress_bars, settings_options
from litdome.cli.plugin import load_plugin
from litdome.errors import PluginError, UsageError
from litdome.progress import silent

if TYPE_CHECKING:
    from litdome.train_plugins.launch import Launch
    from litdome.train_plugins.protocol import Trainer


@click.command()
@click.argument("plugin_name", metavar="PLUGIN")
@click.argument("dataset_path", metavar="DATASET", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder; runs/PLUGIN-N by default.")
@click.option("--resume", type=click.Path(path_type=Path), help="Go on with this run.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda or auto.")
@click.option("--gpus", metavar="N", type=int, help="Processes on each node, one a GPU.")
@click.option("--nodes", metavar="M", type=int, default=1, show_default=True, help="Machines that run this command.")
@click.option("--rendezvous", metavar="HOST:PORT", default="", help="Where several nodes meet: one of them.")
@click.option(
    "--submit-script",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Train nothing: prepare the run and write a script for sbatch, with --gpus and --nodes.",
)
@click.option("--dry-run", is_flag=True, help="Check data and settings, say what a step costs, train nothing.")
@settings_options
def train(
    plugin_name: str,
    dataset_path: Path,
    out: Path | None,
    resume: Path | None,
    device: str,
    gpus: int | None,
    nodes: int,
    rendezvous: str,
    submit_script: Path | None,
    dry_run: bool,
    config_file: Path | None,
    assignments: tuple[str, ...],
) -> int | None:
    """Train a plugin on a dataset.

    Example: litdome train relighter take01-data --set steps=300 --out runs/take01
    """
    from litdome.config import build_config, load_tables
    from litdome.datasets.views import open_dataset
    from litdome.datasets.withdrawal import need_consent, subjects_of
    from litdome.train_plugins.devices import best_device
    from litdome.train_plugins.launch import Launch, need_devices
    from litdome.train_plugins.run import RunFolder

    trainer = load_plugin(plugin_name)
    data = open_dataset(dataset_path)
    need_consent(data.attrs["sessions"], "train", data.path)
    table = load_tables([config_file] if config_file else [], assignments)
    again = f"litdome train {plugin_name} {dataset_path} --resume"
    if resume is not None and (table or out):
        raise UsageError("--resume goes on with the run's own settings", hint=f"{again} {resume}")
    if submit_script is not None and submit_script.exists():
        raise UsageError(f"{submit_script}: exists", hint="another --submit-script, or delete it")
    if nodes > 1 and resume is None and submit_script is None and not dry_run:
        raise UsageError("several nodes go on with one run, which has to be there", hint="--submit-script FILE first")
    existing = None if resume is None else RunFolder.open(resume)
    if existing is not None and existing.record.dataset_fingerprint != data.fingerprint:
        raise UsageError(f"{resume}: was trained on another dataset", hint=f"it used {existing.record.dataset}")
    config = (
        existing.config(trainer.Config) if existing else build_config(trainer.Config, plugin_name, {plugin_name: table})
    )
    split = data.split("train") if "train" in data.splits else data
    rank, is_worker = int(os.environ.get("RANK", "0")), "TORCHELASTIC_RUN_ID" in os.environ
    launch = None if gpus is None or is_worker else Launch(gpus, nodes, rendezvous, best_device(device))
    if dry_run:
        for line in trainer.cost(split, config, launch.world if launch else 1) if hasattr(trainer, "cost") else ():
            click.echo(line)
    if not is_worker:
        _stop_on_problems(trainer, split, config)
    if dry_run:
        click.echo(f"{plugin_name}: settings and {len(data)} samples are fine")
        return None
    if launch is not None and submit_script is None:
        need_devices(launch)
    place = resume or out or _next_run(plugin_name)
    if existing is None:
        RunFolder.create(
            place,
            plugin=plugin_name,
            config=config,
            dataset=str(dataset_path.resolve()),
            dataset_fingerprint=data.fingerprint,
            subjects=subjects_of(data.attrs["sessions"]),
            device=best_device(device),
        )
    if submit_script is not None:
        chosen = launch or Launch(1, nodes, rendezvous, best_device(device))
        _write_script(submit_script, plugin_name, dataset_path, place, chosen)
        return None
    if launch is not None:
        return _launch(launch, plugin_name, dataset_path, place, f"{again} {place} --gpus {gpus}")
    with progress_bars() if rank == 0 else nullcontext(silent) as progress:
        run = RunFolder.open(place, device=best_device(device), progress=progress, writes=rank == 0)
        with run:
            trainer.fit(split, config, run)
            stopped = run.should_stop()
    if stopped:
        raise Stopped("stopped; a checkpoint is kept", hint=f"{again} {place}")
    if rank == 0:
        click.echo(str(place))
    return None


def _launch(launch: Launch, plugin_name: str, dataset_path: Path, place: Path, again: str) -> int:
    from litdome.train_plugins.launch import run_processes

    root: dict[str, Any] = click.get_current_context().find_root().obj
    quiet = ["-q"] if root["quiet"] else []
    arguments = ["train", plugin_name, str(dataset_path), "--resume", str(place), "--device", launch.device]
    ended = run_processes([*quiet, *arguments], launch, place / "logs")
    if ended.code == Stopped.exit_code:
        raise Stopped("stopped; a checkpoint is kept", hint=again)
    if ended.said:
        click.echo(ended.said, err=True)
    return ended.code


def _write_script(file: Path, plugin_name: str, dataset_path: Path, place: Path, launch: Launch) -> None:
    from litdome.train_plugins.launch import slurm_script

    arguments = ["train", plugin_name, str(dataset_path.resolve()), "--resume", str(place.resolve())]
    file.write_text(slurm_script(arguments, launch, place.resolve()), encoding="utf-8")
    click.echo(f"sbatch {file}")


def _stop_on_problems(trainer: Trainer, data: Any, config: Any) -> None:
    for problem in trainer.check(data, config):
        if problem.severity == "error":
            raise PluginError(problem.message, hint=problem.hint)
        click.echo(f"litdome: {problem.message}; try: {problem.hint}", err=True)


def _next_run(name: str) -> Path:
    runs = Path("runs")
    number = next(n for n in range(1, 10**6) if not (runs / f"{name}-{n}").exists())
    return runs / f"{name}-{number}"


COMMANDS = [train]

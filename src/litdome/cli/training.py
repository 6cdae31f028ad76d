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
    from pydantic import BaseModel

    from litdome.datasets.views import DatasetView
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
    from litdome.config import load_tables
    from litdome.datasets.views import open_dataset
    from litdome.datasets.withdrawal import need_consent
    from litdome.train_plugins.devices import best_device
    from litdome.train_plugins.launch import Launch, need_devices

    trainer = load_plugin(plugin_name)
    data = open_dataset(dataset_path)
    need_consent(data.attrs["sessions"], "train", data.path)
    table = load_tables([config_file] if config_file else [], assignments)
    again = f"litdome train {plugin_name} {dataset_path} --resume"
    is_worker = "TORCHELASTIC_RUN_ID" in os.environ
    if resume is not None and (table or out):
        raise UsageError("--resume goes on with the run's own settings", hint=f"{again} {resume}")
    if submit_script is not None and submit_script.exists():
        raise UsageError(f"{submit_script}: exists", hint="another --submit-script, or delete it")
    if (nodes > 1 or is_worker) and resume is None and submit_script is None and not dry_run:
        message = "several nodes or processes go on with one run, which has to be there"
        raise UsageError(message, hint="--submit-script FILE first")
    config = _settings(plugin_name, trainer, data, resume, table)
    split = data.split("train") if "train" in data.splits else data
    where = best_device(device)
    launch = None if gpus is None or is_worker else Launch(gpus, nodes, rendezvous, where)
    if dry_run:
        for line in trainer.cost(split, config, launch.world if launch else 1) if hasattr(trainer, "cost") else ():
            click.echo(line)
    if not is_worker:
        _stop_on_problems(trainer, split, config)
    if dry_run:
        click.echo(f"{plugin_name}: settings and {len(split)} samples are fine")
        return None
    if launch is not None and submit_script is None:
        need_devices(launch)
    place = resume or _new_run(out or _next_run(plugin_name), plugin_name, config, data, where)
    if submit_script is not None:
        _write_script(submit_script, plugin_name, dataset_path, place, launch or Launch(1, nodes, rendezvous, where))
        return None
    if launch is not None:
        return _launch(launch, plugin_name, dataset_path, place, f"{again} {place} --gpus {gpus}")
    _fit(trainer, split, config, place, where, again)
    return None


def _settings(name: str, trainer: Trainer, data: DatasetView, resume: Path | None, table: dict[str, Any]) -> BaseModel:
    """Those of the run that is resumed, or of a new one.

    Raises:
        UsageError: The run was trained on another dataset.
    """
    from litdome.config import build_config
    from litdome.train_plugins.run import RunFolder

    if resume is None:
        return build_config(trainer.Config, name, {name: table})
    existing = RunFolder.open(resume)
    if existing.record.dataset_fingerprint != data.fingerprint:
        raise UsageError(f"{resume}: was trained on another dataset", hint=f"it used {existing.record.dataset}")
    return existing.config(trainer.Config)


def _new_run(place: Path, name: str, config: BaseModel, data: DatasetView, device: str) -> Path:
    from litdome.datasets.withdrawal import subjects_of
    from litdome.train_plugins.run import RunFolder

    RunFolder.create(
        place,
        plugin=name,
        config=config,
        dataset=str(data.path.resolve()),
        dataset_fingerprint=data.fingerprint,
        subjects=subjects_of(data.attrs["sessions"]),
        device=device,
    )
    return place


def _fit(trainer: Trainer, split: DatasetView, config: BaseModel, place: Path, device: str, again: str) -> None:
    """Train in this process; of several the first one writes and speaks."""
    from litdome.train_plugins.run import RunFolder

    is_first = int(os.environ.get("RANK", "0")) == 0
    with progress_bars() if is_first else nullcontext(silent) as progress:
        run = RunFolder.open(place, device=device, progress=progress, writes=is_first)
        with run:
            trainer.fit(split, config, run)
            stopped = run.should_stop()
    if stopped:
        raise Stopped("stopped; a checkpoint is kept", hint=f"{again} {place}")
    if is_first:
        click.echo(str(place))


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

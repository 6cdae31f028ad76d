"""The command that trains a plugin on a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from litdome.cli.console import progress_bars, settings_options
from litdome.cli.plugin import load_plugin
from litdome.errors import PluginError, UsageError

if TYPE_CHECKING:
    from litdome.train_plugins.protocol import Trainer


@click.command()
@click.argument("plugin_name", metavar="PLUGIN")
@click.argument("dataset_path", metavar="DATASET", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder; runs/PLUGIN-N by default.")
@click.option("--resume", type=click.Path(path_type=Path), help="Go on with this run.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda or auto.")
@click.option("--dry-run", is_flag=True, help="Check data and settings, train nothing.")
@settings_options
def train(
    plugin_name: str,
    dataset_path: Path,
    out: Path | None,
    resume: Path | None,
    device: str,
    dry_run: bool,
    config_file: Path | None,
    assignments: tuple[str, ...],
) -> None:
    """Train a plugin on a dataset.

    Example: litdome train relighter take01-data --set steps=300 --out runs/take01
    """
    from litdome.config import build_config, load_tables
    from litdome.datasets.views import open_dataset
    from litdome.datasets.withdrawal import need_consent, subjects_of
    from litdome.train_plugins.devices import best_device
    from litdome.train_plugins.run import RunFolder

    trainer = load_plugin(plugin_name)
    data = open_dataset(dataset_path)
    need_consent(data.attrs["sessions"], "train", data.path)
    table = load_tables([config_file] if config_file else [], assignments)
    if resume is not None and (table or out):
        raise UsageError(
            "--resume goes on with the run's own settings",
            hint=f"litdome train {plugin_name} {dataset_path} --resume {resume}",
        )
    existing = None if resume is None else RunFolder.open(resume)
    config = (
        existing.config(trainer.Config) if existing else build_config(trainer.Config, plugin_name, {plugin_name: table})
    )
    _stop_on_problems(trainer, data, config)
    if dry_run:
        click.echo(f"{plugin_name}: settings and {len(data)} samples are fine")
        return
    place = resume or out or _next_run(plugin_name)
    with progress_bars() as progress:
        if existing is not None:
            run = RunFolder.open(place, device=best_device(device), progress=progress)
        else:
            run = RunFolder.create(
                place,
                plugin=plugin_name,
                config=config,
                dataset=str(dataset_path.resolve()),
                dataset_fingerprint=data.fingerprint,
                subjects=subjects_of(data.attrs["sessions"]),
                device=best_device(device),
                progress=progress,
            )
        if existing is not None and existing.record.dataset_fingerprint != data.fingerprint:
            raise UsageError(f"{place}: was trained on another dataset", hint=f"it used {existing.record.dataset}")
        with run:
            trainer.fit(data.split("train"), config, run)
            stopped = run.should_stop()
    if stopped:
        from litdome.cli.console import Stopped

        raise Stopped(
            "stopped; a checkpoint is kept", hint=f"litdome train {plugin_name} {dataset_path} --resume {place}"
        )
    click.echo(str(place))


def _stop_on_problems(trainer: Trainer, data: Any, config: Any) -> None:
    for problem in trainer.check(data.split("train") if "train" in data.splits else data, config):
        if problem.severity == "error":
            raise PluginError(problem.message, hint=problem.hint)
        click.echo(f"litdome: {problem.message}; try: {problem.hint}", err=True)


def _next_run(name: str) -> Path:
    runs = Path("runs")
    number = next(n for n in range(1, 10**6) if not (runs / f"{name}-{n}").exists())
    return runs / f"{name}-{number}"


COMMANDS = [train]

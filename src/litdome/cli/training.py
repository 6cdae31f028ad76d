"""Commands from a dataset to a relit video: train, relight."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from litdome.cli.console import progress_bars, read_map, settings_options
from litdome.cli.plugin import load_plugin
from litdome.errors import InputError, PluginError, UsageError

if TYPE_CHECKING:
    from litdome.datasets.views import DatasetView
    from litdome.train_plugins.protocol import Trainer
    from litdome.train_plugins.relighting import Clip


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


@click.command()
@click.argument("run_path", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--hdri", "hdri_file", required=True, type=click.Path(path_type=Path), help="Lat-long HDRI: .hdr or .exr."
)
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Video to write.")
@click.option(
    "--clip", help="Camera of the run's dataset, with pairs if you like: c05 or c05:0:24; a held-out one by default."
)
@click.option("--rotate", "rotate_deg", default=0.0, show_default=True, help="Turn the light over the clip, degrees.")
@click.option("--gain", default=1.0, show_default=True, help="Multiplies the HDRI.")
@click.option("--seed", default=0, show_default=True, help="Of the noise that sampling starts from.")
@click.option("--side-by-side", "beside", is_flag=True, help="Show the flat-lit clip to the left.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda or auto.")
def relight(
    run_path: Path,
    hdri_file: Path,
    output: Path,
    clip: str | None,
    rotate_deg: float,
    gain: float,
    seed: int,
    beside: bool,
    device: str,
) -> None:
    """Light a flat-lit clip with any HDRI.

    Example: litdome relight runs/take01 --hdri sunset.exr -o sunset.mp4
    """
    from litdome.datasets.views import open_dataset
    from litdome.datasets.withdrawal import need_consent, video_comment
    from litdome.media.encode import VideoWriter
    from litdome.train_plugins.relighting import relight_clip, side_by_side
    from litdome.train_plugins.run import RunFolder

    if output.exists():
        raise UsageError(f"{output}: exists already", hint="give another -o, or remove it")
    if not hdri_file.exists():
        raise InputError(f"{hdri_file}: no such HDRI", hint="check the path after --hdri")
    run = RunFolder.open(run_path)
    data = open_dataset(Path(run.record.dataset))
    need_consent(data.attrs["sessions"], None, data.path)
    found = _clip(data, clip)
    hdr = read_map(hdri_file, found.convention)
    renderer = load_plugin(run.record.plugin).load(run, best_device(device))
    with progress_bars() as progress:
        relit = relight_clip(renderer, found, hdr, gain=gain, rotate_deg=rotate_deg, seed=seed, progress=progress)
    comment = video_comment(run_path, data.attrs["sessions"], hdri_file.name)
    with VideoWriter(output, fps=found.fps, comment=comment) as writer:
        for frame in side_by_side([found.flat, relit] if beside else [relit]):
            writer.write(frame)
    click.echo(str(output))


def _clip(data: DatasetView, text: str | None) -> Clip:
    from litdome.train_plugins.relighting import dataset_clip

    if text is None:
        return dataset_clip(data)
    camera, *rest = text.split(":")
    if rest and (len(rest) != 2 or not all(part.isdigit() for part in rest)):
        raise UsageError(f"--clip {text}: expected CAMERA or CAMERA:START:STOP", hint="--clip c05:0:24")
    return dataset_clip(data, camera, (int(rest[0]), int(rest[1])) if rest else None)


def _stop_on_problems(trainer: Trainer, data: Any, config: Any) -> None:
    for problem in trainer.check(data.split("train") if "train" in data.splits else data, config):
        if problem.severity == "error":
            raise PluginError(problem.message, hint=problem.hint)
        click.echo(f"litdome: {problem.message}; try: {problem.hint}", err=True)


def _next_run(name: str) -> Path:
    runs = Path("runs")
    number = next(n for n in range(1, 10**6) if not (runs / f"{name}-{n}").exists())
    return runs / f"{name}-{number}"


def best_device(wanted: str) -> str:
    """The device of ``--device``; ``auto`` is the GPU if there is one."""
    if wanted != "auto":
        return wanted
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


COMMANDS = [train, relight]

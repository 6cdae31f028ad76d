"""The command that writes a dataset as other programs read it."""

from __future__ import annotations

from pathlib import Path

import click

from litdome.cli.console import interruptible, progress_bars


@click.command("export")
@click.argument("path", metavar="DATASET", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_name",
    required=True,
    metavar="NAME",
    help="nerfstudio, webdataset, colmap, humanolat, mp4 or huggingface.",
)
@click.option("--split", "splits", multiple=True, metavar="NAME", help="Only this split; may be given again.")
@click.option("--pairs", type=click.IntRange(min=1), metavar="N", help="At most N pairs of each session and split.")
@click.option("--publish", is_flag=True, help="To be given away; needs the subjects' consent to that.")
@click.option("--workers", type=click.IntRange(min=1), help="Threads; all cores by default.")
def dataset_export(
    path: Path,
    out: Path,
    format_name: str,
    splits: tuple[str, ...],
    pairs: int | None,
    publish: bool,
    workers: int | None,
) -> None:
    """Write a dataset as another program reads it (docs/exports.md).

    The folder appears when it is whole. Splits stay apart, and README.md and export.json in it say whose pictures it
    shows and what those people agreed to.

    Example: litdome dataset export take01-data take01-nerf --format nerfstudio --split train
    """
    from litdome.datasets.export import export_dataset
    from litdome.datasets.views import open_dataset
    from litdome.store.files import size_in_words

    view = open_dataset(path)
    with progress_bars() as progress, interruptible("nothing is left of the export") as should_stop:
        summary = export_dataset(
            view,
            out,
            format_name,
            splits=splits or None,
            pairs=pairs,
            publish=publish,
            workers=workers,
            progress=progress,
            should_stop=should_stop,
        )
    if summary is not None:
        counts = ", ".join(f"{name} {count}" for name, count in summary.splits.items())
        click.echo(f"{out}: {format_name}, {counts}; {summary.files} files, {size_in_words(summary.bytes)}")

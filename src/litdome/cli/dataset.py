"""Commands about datasets: build, show, check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from litdome.cli.console import interruptible, json_option, print_json, print_table, progress_bars

if TYPE_CHECKING:
    from litdome.datasets.spec import DatasetSpec


@click.group()
def dataset() -> None:
    """Frozen training data: build, check, show."""


@dataset.command("build")
@click.argument("sessions", nargs=-1, required=True)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The dataset to make.")
@click.option("--spec", "spec_file", type=click.Path(dir_okay=False, path_type=Path), help="Spec (TOML).")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Set one value: size.height=704.")
@click.option("--workers", type=int, help="Threads; all cores by default.")
def dataset_build(
    sessions: tuple[str, ...], output: Path, spec_file: Path | None, assignments: tuple[str, ...], workers: int | None
) -> None:
    """Select, split and bake sessions into a dataset.

    Example: litdome dataset build take01.zarr -o take01-data --set size.height=176 --set size.width=320
    """
    from litdome.config import build_config, load_tables
    from litdome.datasets.spec import DatasetSpec

    tables = {"dataset": load_tables([spec_file] if spec_file else [], assignments)}
    build_and_say(list(sessions), output, build_config(DatasetSpec, "dataset", tables), workers)


@dataset.command("show")
@click.argument("path", type=click.Path(path_type=Path))
@json_option
def dataset_show(path: Path, as_json: bool) -> None:
    """What a dataset holds.

    Example: litdome dataset show take01-data
    """
    from litdome.datasets.views import open_dataset

    view = open_dataset(path)
    counts = {name: len(view.split(name)) for name in view.splits}
    attrs = view.attrs
    if as_json:
        print_json({"fingerprint": view.fingerprint, "splits": counts, "keys": list(view.keys), "spec": attrs["spec"]})
        return
    size = attrs["spec"]["size"]
    click.echo(f"{path}: {len(view)} samples at {size['height']}x{size['width']}, {attrs['left_out']} left out")
    for session in attrs["sessions"]:
        cameras, lights = len(session["cameras"]), len(session["hdris"])
        click.echo(f"{session['name']}: subject {session['subject']}, {cameras} cameras, {lights} lights")
    print_table(["split", "samples"], [[name, count] for name, count in counts.items()])


@dataset.command("check")
@click.argument("path", type=click.Path(path_type=Path))
def dataset_check(path: Path) -> int:
    """Read every sample and look for leaks between train and the tests; exit 1 with findings.

    Example: litdome dataset check take01-data
    """
    from litdome.datasets.check import check_dataset

    with progress_bars() as progress:
        findings = check_dataset(path, progress=progress)
    for finding in findings:
        click.echo(finding)
    click.echo(f"{path}: {len(findings)} findings")
    return 1 if findings else 0


def build_and_say(urls: list[str], output: Path, spec: DatasetSpec, workers: int | None) -> None:
    """Bake a dataset with a bar, and say on stdout what it holds."""
    from litdome import open_session
    from litdome.datasets.build import build_dataset

    sessions = [open_session(url) for url in urls]
    with progress_bars() as progress, interruptible() as should_stop:
        summary = build_dataset(sessions, output, spec, workers=workers, progress=progress, should_stop=should_stop)
    if summary is not None:
        counts = ", ".join(f"{name} {count}" for name, count in summary.splits.items())
        click.echo(f"{summary.path}: {summary.samples} samples ({counts}), {summary.left_out} left out")


COMMANDS = [dataset]

"""Commands about datasets: build, show, check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from litdome.cli.console import interruptible, json_option, print_json, print_table, progress_bars
from litdome.cli.dataset_export import dataset_export

if TYPE_CHECKING:
    from litdome.datasets.spec import DatasetSpec


@click.group()
def dataset() -> None:
    """Frozen training data: build, check, show, export."""


@dataset.command("build")
@click.argument("sessions", nargs=-1, required=True)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The dataset to make.")
@click.option("--spec", "spec_file", type=click.Path(dir_okay=False, path_type=Path), help="Spec (TOML).")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Set one value: size.height=704.")
@click.option("--workers", type=click.IntRange(min=1), help="Threads; all cores by default.")
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
@click.option("--sheet", type=click.Path(dir_okay=False, path_type=Path), help="Write a contact sheet to this PNG.")
@json_option
def dataset_show(path: Path, sheet: Path | None, as_json: bool) -> None:
    """What a dataset holds: splits, subjects and their consent, lights, how much it moves; with --sheet, pictures.

    Example: litdome dataset show take01-data --sheet take01.png
    """
    from litdome.datasets.contact_sheet import write_sheet
    from litdome.datasets.views import open_dataset

    view = open_dataset(path)
    counts = {name: len(view.split(name)) for name in view.splits}
    attrs = view.attrs
    if sheet is not None:
        write_sheet(path, sheet)
    if as_json:
        told = {"spec": attrs["spec"], "sessions": attrs["sessions"], "statistics": attrs.get("statistics")}
        print_json({"fingerprint": view.fingerprint, "splits": counts, "keys": list(view.keys), **told})
        return
    size = attrs["spec"]["size"]
    click.echo(f"{path}: {len(view)} samples at {size['height']}x{size['width']}, {attrs['left_out']} left out")
    for session in attrs["sessions"]:
        click.echo(_session_line(session))
    for note in attrs.get("notes", ()):
        click.echo(note)
    print_table(["split", "samples"], [[name, count] for name, count in counts.items()])
    if attrs.get("statistics"):
        _print_statistics(attrs["statistics"])
    if sheet is not None:
        click.echo(sheet)


def _session_line(session: dict[str, Any]) -> str:
    consent = session.get("consent") or {}
    uses = f"consent {', '.join(consent['uses'])}" if consent.get("uses") is not None else "no consent recorded"
    until = f" until {consent['expires']}" if consent.get("expires") else ""
    counted = f"{len(session['cameras'])} cameras, {len(session['hdris'])} lights"
    return f"{session['name']}: subject {session['subject']}, {counted}, {uses}{until}"


def _print_statistics(found: dict[str, Any]) -> None:
    columns = ("p5", "p50", "p95")
    named = {"shift_px": "shift, px", "reliability": "reliability", "mask_part": "person, share of picture"}
    rows = [[text, *(found[key][c] for c in columns)] for key, text in named.items() if found.get(key)]
    click.echo()
    print_table(["", *columns], rows)
    click.echo()
    header = ["person", *(f"{what} {channel}" for what in ("mean", "std") for channel in "RGB")]
    print_table(header, [[kind, *each["mean"], *each["std"]] for kind, each in found["person"].items()])
    click.echo()
    rows = [
        [light["light"], light["samples"], "" if light["level"] is None else light["level"]]
        for light in found["lights"]
    ]
    print_table(["light", "samples", "level against flat"], rows)


@dataset.command("check")
@click.argument("path", type=click.Path(path_type=Path))
def dataset_check(path: Path) -> int:
    """Read every sample; look for leaks, duplicates, sessions that changed, consent that ended; exit 1 with findings.

    Example: litdome dataset check take01-data
    """
    from litdome.datasets.check import check_dataset

    with progress_bars() as progress:
        findings = check_dataset(path, progress=progress)
    for finding in findings:
        click.echo(finding)
    click.echo(f"{path}: {len(findings)} finding{'' if len(findings) == 1 else 's'}")
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
        for note in summary.notes:
            click.echo(f"litdome: {note}", err=True)


dataset.add_command(dataset_export)

COMMANDS = [dataset]

"""Command color: every camera's colours brought to one reference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from litdome.cli.capture import read_tables
from litdome.cli.console import print_table, settings_options
from litdome.errors import UsageError

if TYPE_CHECKING:
    from litdome.store.provenance import StageRecord


@click.command()
@click.argument("session", type=str)
@click.option(
    "--charts",
    type=click.Path(path_type=Path),
    help="Folder with a chart picture by camera, c00.png, and flat/ with flat fields; the recording's by default.",
)
@click.option(
    "--corners", type=click.Path(path_type=Path), help="TOML with the chart's corners by camera, where it is not found."
)
@click.option("--person", is_flag=True, help="No charts: gains from what cameras see of the same person.")
@click.option("--reference", help="The camera whose colours all others get; by default the chart's own colours.")
@click.option("--like", help="A session of the same stage whose colours are taken over, at this one's light level.")
@settings_options
def color(
    session: str,
    charts: Path | None,
    corners: Path | None,
    person: bool,
    reference: str | None,
    like: str | None,
    config_file: Path | None,
    assignments: tuple[str, ...],
) -> None:
    """Colour of all cameras brought to one reference, in linear light, from pictures of a colour chart.

    Example: litdome color take01.zarr --charts charts
    """
    from litdome import open_session
    from litdome.pipeline import config_for, run_stage, side_stages

    if (like is not None) + person + (corners is not None) > 1 or (like is not None and (charts or reference)):
        raise UsageError("--like, --person and charts exclude each other", hint="give one of them")
    source = "person" if person else None
    given = {"charts_dir": charts, "corners_file": corners, "reference": reference, "like": like, "source": source}
    tables = read_tables(session, config_file, assignments)
    tables["color"] = {**tables.get("color", {}), **{key: str(value) for key, value in given.items() if value}}
    stage = side_stages()["color"]
    record = run_stage(open_session(session, writable=True), stage, config_for(stage, tables))
    for warning in record.warnings:
        click.echo(f"litdome: color: {warning}", err=True)
    _say_color(record)


def _say_color(record: StageRecord) -> None:
    """Camera by camera: CIEDE2000 before and after, and what it rests on."""
    summary = record.summary
    click.echo(summary["source"])
    if "delta_e_before" not in summary:
        return
    columns = ("cameras", "delta_e_before", "delta_e_after", "white_balance", "patches")
    rows = [_cells(*row) for row in zip(*(summary[name] for name in columns), strict=True)]
    print_table(["camera", "dE2000 before", "after", "white balance", "rests on"], rows)
    falloff = ", ".join(f"{id} {100 * share:.0f} %" for id, share in summary["vignetting"].items())
    click.echo(f"black level: {summary['black_level']}; light in the corners: {falloff or 'not measured'}")


def _cells(id: str, before: float | None, after: float | None, balance: list[float | None], words: str) -> list[Any]:
    if before is None or after is None:
        return [id, "-", "-", "-", words]
    return [id, f"{before:.2f}", f"{after:.2f}", " ".join("-" if g is None else f"{g:.3f}" for g in balance), words]


COMMANDS = [color]

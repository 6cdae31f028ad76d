"""Commands about a session: status, report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from litdome.cli.console import json_option, print_json, print_table

if TYPE_CHECKING:
    from litdome.report.status import CameraLine, SessionStatus

SHOWN_LOSSES = 20


@click.command()
@click.argument("session", type=str)
@click.option("--check", is_flag=True, help="Exit 1 when work remains.")
@json_option
@click.pass_context
def status(context: click.Context, session: str, check: bool, as_json: bool) -> int:
    """Whether the take is good, what is done, what is missing, and the next command to type.

    Example: litdome status take01.zarr
    """
    from litdome import open_session
    from litdome.report.status import session_status

    found = session_status(open_session(session))
    if as_json:
        print_json(found.as_json())
    else:
        _print_status(found)
    return 1 if check and not found.complete else 0


def _print_status(found: SessionStatus) -> None:
    click.echo(found.verdict.headline)
    click.echo(found.headline)
    for finding in found.verdict.findings:
        click.echo(f"  {finding.severity:<4}  {finding.topic:<8}  {finding.text}")
    if found.verdict.unmeasured:
        click.echo(f"  not measured: {', '.join(found.verdict.unmeasured)}")
    click.echo()
    print_table(
        ["camera", "frames", "absent", "exposure", "clipped", "focus", "noise", "light"],
        [_camera_cells(camera) for camera in found.cameras],
    )
    click.echo()
    print_table(
        ["stage", "state", "done", "total", "next"],
        [[s.name, s.state, s.done, s.total, s.next_command or ""] for s in found.stages],
    )
    told = {finding.text for finding in found.verdict.findings}
    losses = [text for loss in found.losses if (text := str(loss)) not in told]
    if losses:
        click.echo()
        click.echo("\n".join(losses[:SHOWN_LOSSES]))
    if len(losses) > SHOWN_LOSSES:
        click.echo(f"and {len(losses) - SHOWN_LOSSES:,} gaps more; --json lists all")
    for text in found.strays:
        click.echo(text)


def _camera_cells(camera: CameraLine) -> list[object]:
    """Exposure in stops, clipped in percent, focus in percent of its beginning, noise in codes."""
    numbers = (
        "-" if camera.exposure_stops is None else f"{camera.exposure_stops:+.1f}",
        "-" if camera.clipped is None else f"{100 * camera.clipped:.1f} %",
        "-" if camera.focus is None else f"{100 * camera.focus:.0f} %",
        "-" if camera.noise is None else f"{camera.noise:.1f}",
    )
    return [camera.id, camera.frames, len(camera.absent), *numbers, camera.light]


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="HTML file; beside SOURCE by default."
)
def report(source: Path, output: Path | None) -> None:
    """A page to look at, of a session, a run, a demo, or a folder with a day's takes: verdict, pictures, scores.

    Example: litdome report take01.zarr -o take01.html
    """
    from litdome.report.page import write_report

    click.echo(str(write_report(source, output)))


COMMANDS = [status, report]

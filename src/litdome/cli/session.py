"""Commands about a session: status, pairs, decide, report."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from litdome.cli.console import json_option, print_json, print_table
from litdome.errors import UsageError

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
@click.argument("session", type=str)
@json_option
def pairs(session: str, as_json: bool) -> None:
    """Every flat/relit pair with its scores per camera.

    Example: litdome pairs take01.zarr
    """
    from litdome import open_session
    from litdome.report.status import pair_rows

    rows = pair_rows(open_session(session))
    if as_json:
        print_json({"pairs": rows})
        return
    table = []
    for row in rows:
        kept = [id for id, scores in row["cameras"].items() if scores["keep"]]
        shifts = [s["shift_px"] for s in row["cameras"].values() if s.get("shift_px") is not None]
        worst = f"{max(shifts):.2f}" if shifts else "-"
        kept_text = f"{len(kept)}/{len(row['cameras'])}"
        table.append([row["pair"], row["flat_frame"], row["relit_frame"], row["hdri"], worst, kept_text])
    print_table(["pair", "flat", "relit", "hdri", "worst shift px", "kept"], table)


@click.command()
@click.argument("session", type=str)
@click.argument("action", type=click.Choice(["keep", "drop"]))
@click.option("--cameras", help="Cameras: c03,c17; all by default.")
@click.option("--pairs", "pair_range", help="Half-open range of pairs: 12:15; all by default.")
@click.option("--reason", required=True, help="Why.")
@click.option("--author", default=None, help="Who; your login name by default.")
def decide(
    session: str, action: str, cameras: str | None, pair_range: str | None, reason: str, author: str | None
) -> None:
    """Keep or drop pairs, with a reason; recorded beside the session, never applied to its arrays.

    Example: litdome decide take01.zarr drop --pairs 12:15 --reason "hand behind the back"
    """
    from litdome import open_session
    from litdome.store.decisions import Decision, add_decision

    opened = open_session(session)
    ids = None if cameras is None else tuple(cameras.split(","))
    for id in ids or ():
        opened.size(id)
    ranges: tuple[tuple[int, int], ...] = ()
    if pair_range is not None:
        start, colon, stop = pair_range.partition(":")
        count = len(opened.pairs)
        if not (colon and start.isdigit() and stop.isdigit() and int(start) < int(stop) <= count):
            raise UsageError(f"--pairs {pair_range}: expected START:STOP within 0:{count}", hint="--pairs 0:10")
        ranges = ((int(start), int(stop)),)
    decision = Decision("keep" if action == "keep" else "drop", ids, ranges, reason, author or getpass.getuser())
    click.echo(add_decision(session, decision))


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


COMMANDS = [status, pairs, decide, report]

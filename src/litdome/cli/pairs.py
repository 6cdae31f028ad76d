"""Commands about pairs: what they are worth, and a curator's decisions about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from litdome.cli.console import json_option, print_json, print_table
from litdome.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from litdome.store.decisions import Action
    from litdome.store.pair_columns import PairColumns

    BoolArray = npt.NDArray[np.bool_]


def where_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--where FILTER``."""
    text = "Only those that a filter lets through: 'shift_px > 6 and region == \"hands\"'."
    return click.option("--where", default="", metavar="FILTER", help=text)(function)


@click.command()
@click.argument("session", type=str)
@where_option
@click.option("--by", type=click.Choice(["pair", "camera"]), default="pair", help="A row for each pair, or camera too.")
@click.option("--sort", metavar="SCORE", help="The doubtful ones first, by this score; by time without.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N rows; all by default.")
@json_option
def pairs(session: str, where: str, by: str, sort: str | None, limit: int | None, as_json: bool) -> None:
    """Every flat/relit pair with its scores per camera; filtered and sorted, doubtful ones first.

    Example: litdome pairs take01.zarr --where 'shift_px > 6 and kept' --sort shift_px --limit 20
    """
    from litdome import open_session
    from litdome.report.pair_rows import pair_rows, table_by_camera, table_by_pair
    from litdome.store.pair_columns import pair_columns
    from litdome.store.pair_filter import parse_filter

    if as_json and (by != "pair" or sort or limit):
        raise UsageError("--json gives every pair that fits, in the order of time", hint="leave --by, --sort, --limit")
    opened, fits = open_session(session), parse_filter(where)
    columns = pair_columns(opened)
    chosen = fits.select(columns)
    _tell_strays(columns)
    if as_json:
        print_json({"pairs": pair_rows(columns, opened.pairs, chosen)})
        return
    if by == "pair":
        header, rows = table_by_pair(columns, opened.pairs, chosen, sort)
    else:
        header, rows = table_by_camera(columns, chosen, sort)
    print_table(header, rows[:limit])
    fit = f"{chosen.any(0).sum():,} of {chosen.shape[1]:,} pairs fit"
    by_camera = f"by camera {chosen.sum():,} of {chosen.size:,}, of which {(chosen & columns.keep).sum():,} are kept"
    more = f"; {len(rows) - limit:,} rows more" if limit is not None and limit < len(rows) else ""
    click.echo(f"litdome: {fit}, {by_camera}{more}", err=True)


@click.command()
@click.argument("session", type=str)
@click.argument("action", type=click.Choice(["keep", "drop"]))
@click.option("--where", metavar="FILTER", help="About those that a filter lets through; all by default.")
@click.option("--cameras", help="Cameras: c03,c17; all by default.")
@click.option("--pairs", "pair_ranges", help="Half-open ranges of pairs: 12:15,40:60; all by default.")
@click.option("--reason", required=True, help="Why.")
@click.option("--author", default=None, help="Who; your login name by default.")
@click.option("--dry-run", is_flag=True, help="Only say how many would change.")
def decide(
    session: str,
    action: Action,
    where: str | None,
    cameras: str | None,
    pair_ranges: str | None,
    reason: str,
    author: str | None,
    dry_run: bool,
) -> None:
    """Keep or drop pairs, with a reason; recorded beside the session, never applied to its arrays.

    What a filter lets through now is what is recorded: scores that change later change no decision.

    Example: litdome decide take01.zarr drop --pairs 12:15 --reason "hand behind the back"
    """
    from litdome import open_session
    from litdome.store.decisions import DecisionLog, decisions_about, decisions_folder
    from litdome.store.lock import login_name
    from litdome.store.pair_columns import pair_columns
    from litdome.store.pair_filter import parse_filter

    if not reason.strip():
        raise UsageError("--reason is empty", hint='--reason "hand behind the back"')
    if where is not None and not where.strip():
        raise UsageError("--where is empty and would let everything through", hint="leave it out to mean every pair")
    opened, fits = open_session(session), parse_filter(where or "")
    columns = pair_columns(opened)
    chosen = fits.select(columns) & _named(columns, cameras, pair_ranges)
    _tell_strays(columns)
    changed = int((chosen & (columns.keep != (action == "keep"))).sum())
    word = "kept" if action == "keep" else "dropped"
    told = f"{chosen.sum():,} of {chosen.size:,} by camera; {changed:,} change, the others were {word} before"
    if dry_run:
        click.echo(f"would {action} {told}; nothing was recorded")
        return
    log = DecisionLog(session)
    log.read()
    for decision in decisions_about(chosen, columns.cameras, action, reason, author or login_name()):
        log.add(decision)
    where_to = f"recorded in {decisions_folder(session)}" if chosen.any() else "nothing was recorded"
    click.echo(f"{action} {told}; {where_to}")


def _named(columns: PairColumns, cameras: str | None, pair_ranges: str | None) -> BoolArray:
    """Which (camera, pair) ``--cameras`` and ``--pairs`` name."""
    import numpy as np

    ids = columns.cameras if cameras is None else tuple(cameras.split(","))
    for id in ids:
        if id not in columns.cameras:
            raise UsageError(f"--cameras {id}: no such camera", hint=f"cameras: {', '.join(columns.cameras)}")
    count = columns.shape[1]
    wanted = np.full(count, pair_ranges is None)
    for text in () if pair_ranges is None else pair_ranges.split(","):
        start, colon, stop = text.partition(":")
        if not (colon and start.isdecimal() and stop.isdecimal() and int(start) < int(stop) <= count):
            raise UsageError(f"--pairs {text}: expected START:STOP within 0:{count}", hint="--pairs 0:10,20:30")
        wanted[int(start) : int(stop)] = True
    named: BoolArray = np.isin(columns.cameras, ids)[:, None] & wanted
    return named


def _tell_strays(columns: PairColumns) -> None:
    from litdome.store.decisions import strays

    for text in strays(columns.decisions, columns.cameras, columns.shape[1]):
        click.echo(f"litdome: {text}", err=True)


COMMANDS = [pairs, decide]

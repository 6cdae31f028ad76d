"""The command for a subject who takes consent back."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import click

from litdome.cli.console import json_option, print_json, print_table
from litdome.errors import UsageError


@click.command()
@click.argument("subject")
@click.argument("places", nargs=-1, type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only list.")
@json_option
def withdraw(subject: str, places: tuple[Path, ...], dry_run: bool, as_json: bool) -> None:
    """List everything derived from a subject below PLACES (here by default), and mark it as withdrawn.

    Marked sessions and datasets refuse to be built, exported and trained from. Nothing is deleted.

    Example: litdome withdraw s03 /takes /datasets /runs
    """
    from litdome.datasets.withdrawal import find_derived, mark_withdrawn

    found = find_derived(places or (Path(),))
    theirs = [one for one in found if subject in one.subjects]
    if not theirs:
        known = sorted({name for one in found for name in one.subjects if name})
        raise UsageError(
            f"{subject}: nothing derived from this subject below {', '.join(map(str, places or (Path(),)))}",
            hint=f"subjects there: {', '.join(known) or 'none'}; name other places",
        )
    today = date.today()
    for one in () if dry_run else theirs:
        mark_withdrawn(one, subject, today)
    unknown = [one for one in found if not any(one.subjects)]
    if as_json:
        fields = ("kind", "source", "subjects", "withdrawn")
        rows = [{name: getattr(one, name) for name in fields} | {"path": str(one.path)} for one in theirs]
        others = [str(one.path) for one in unknown]
        print_json({"subject": subject, "marked": not dry_run, "derived": rows, "unknown": others})
        return
    print_table(["kind", "path", "made from"], [[one.kind, one.path, one.source] for one in theirs])
    click.echo()
    if dry_run:
        click.echo(f"{len(theirs)} things; nothing was marked")
    else:
        click.echo(f"{len(theirs)} things; sessions and datasets among them are marked as withdrawn on {today}")
    if any(one.kind == "recording" and not one.withdrawn for one in theirs):
        click.echo(f"recordings are never written to: add  withdrawn = {today}  to [consent] in their recording.toml")
    for one in unknown:
        click.echo(f"{one.path}: does not say whom it shows", err=True)


COMMANDS = [withdraw]

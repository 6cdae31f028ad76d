"""Commands about a session as files: copy it with checksums, verify it."""

from __future__ import annotations

import click

from litdome.cli.console import interruptible, progress_bars
from litdome.errors import StoreError


@click.group()
def session() -> None:
    """Move sessions and check that they are whole."""


@session.command()
@click.argument("source", type=str)
@click.argument("target", type=str)
def copy(source: str, target: str) -> None:
    """Copy a session and its decisions to any path or URL; every file is read back and compared.

    Run again, it goes on where it stopped. TARGET appears when it is whole.

    Example: litdome session copy take01.zarr s3://archive/take01.zarr
    """
    from litdome.store.copy import copy_session

    with interruptible() as should_stop, progress_bars() as progress:
        report = copy_session(source, target, progress, should_stop)
    click.echo(f"{target}: {report.copied} files copied and compared, {report.left} were there, {report.size:,} bytes")


@session.command()
@click.argument("source", metavar="SESSION", type=str)
def verify(source: str) -> None:
    """Read every byte of a session against its checksums; exits 5 and names what is damaged or missing.

    Example: litdome session verify take01.zarr
    """
    from litdome.store.verify import verify_session

    with progress_bars() as progress:
        found = verify_session(source, progress)
    for damage in found:
        click.echo(f"{damage.array}: {damage.file}: {damage.what}")
    if found:
        raise StoreError(
            f"{source}: {len(found)} files damaged or missing, {found[0].file} first",
            hint="copy them again from another copy, or run the stage that makes them",
        )
    click.echo(f"{source}: whole")


COMMANDS = [session]

"""The curator's page."""

from __future__ import annotations

import os
import webbrowser
from typing import TYPE_CHECKING

import click

from litdome.cli.console import interruptible, progress_bars
from litdome.errors import MissingPackageError, StoreError

if TYPE_CHECKING:
    from litdome.web.review import Review


@click.command()
@click.argument("session", type=str)
@click.option("--camera", "cameras", multiple=True, help="Only this camera: c03; may be given again.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of 127.0.0.1; any free one by default.")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option("--prepare", is_flag=True, help="Only make the thumbnails, on every core, before curators come.")
@click.option("--author", default=None, help="Who decides; your login name by default.")
def review(
    session: str, cameras: tuple[str, ...], port: int, no_browser: bool, prepare: bool, author: str | None
) -> None:
    """A page to look at every pair, keep or drop it: grid, blink, masks, histograms; Ctrl-C ends it.

    Example: litdome review take01.zarr --camera c03
    """
    from litdome import open_session
    from litdome.store.lock import login_name

    try:
        from litdome.web.review import Review
        from litdome.web.serve import serve_review
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise MissingPackageError(f"{error.name} is not installed", hint="pip install 'litdome[web]'") from error

    def ready(address: str) -> None:
        click.echo(address)
        here = "DISPLAY" in os.environ or "SSH_CONNECTION" not in os.environ
        if not here:
            found = address.partition("//")[2].partition("/")[0]
            click.echo(f"litdome: from your machine: ssh -L {found.rpartition(':')[2]}:{found} HOST", err=True)
        if here and not no_browser:
            webbrowser.open(address)

    made = Review(open_session(session), author=author or login_name(), cameras=cameras or None)
    if prepare:
        _prepare(made)
        return
    serve_review(made, port=port, ready=ready)
    click.echo("litdome: the review has ended; every decision shown as saved is on disk", err=True)


def _prepare(review: Review) -> None:
    from litdome.web.thumbnails import Thumbnails

    thumbnails = Thumbnails(review.session, review.cameras, review.table.pairs)
    with interruptible() as should_stop, progress_bars() as progress:
        thumbnails.prepare(progress, should_stop)
    if thumbnails.trouble:
        raise StoreError(thumbnails.trouble, hint="mend that, then the same command goes on where it stopped")
    click.echo(str(thumbnails.folder))


COMMANDS = [review]

"""The command that brings an HDRI into another program's convention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from litdome.cli.console import read_map
from litdome.errors import UsageError

CONVENTIONS = ("physical", "cosmos", "openexr", "goliath", "skylibs")


@click.command("convert")
@click.argument("hdri", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The .exr to write."
)
@click.option("--from", "source", required=True, type=click.Choice(CONVENTIONS), help="Convention of the HDRI.")
@click.option("--to", "target", required=True, type=click.Choice(CONVENTIONS), help="Convention of what is written.")
def convert(hdri: Path, output: Path, source: Any, target: Any) -> None:
    """Bring an HDRI from one program's convention into another's: texels change places, none is resampled.

    Example: litdome lights convert sky.exr -o sky-openexr.exr --from physical --to openexr
    """
    from litdome.lighting import convert_hdri
    from litdome.media.hdr import write_hdr

    if output.exists():
        raise UsageError(f"{output}: exists already", hint="give another -o, or remove it")
    if not output.parent.is_dir():
        raise UsageError(f"{output}: no such folder {output.parent}", hint="make it first")
    write_hdr(output, convert_hdri(read_map(hdri, source), source, target))
    click.echo(str(output))

"""Commands about rigs as other programs write them: export one, show what a file holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from litdome.cli.console import json_option, print_json, print_table
from litdome.errors import UsageError

if TYPE_CHECKING:
    from litdome.geometry import Rig

SESSION_FILE = "zarr.json"


@click.group()
def rig() -> None:
    """Write rigs for other programs and read theirs (docs/conventions.md)."""


@rig.command()
@click.argument("source", metavar="SESSION", type=str)
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--format", "format_name", metavar="NAME", help="Whose file it is; by default its name says so.")
def export(source: str, target: Path, format_name: str | None) -> None:
    """Write a session's rig, at the size of its stored pictures, as another program's file.

    SESSION may also be another program's calibration: so one format becomes another. Formats of several files (COLMAP,
    EasyMocap) go into a folder. Lenses that a format cannot hold are refused.

    Example: litdome rig export take01.zarr cameras.xml
    """
    from litdome.calib.exchange import calibration_files, read_calibration, write_calibration

    name = _format(target, format_name)
    found = rig_of(source)
    there = [file for file in calibration_files(target, found, name) if file.exists()]
    if there:
        raise UsageError(f"{there[0]}: exists already", hint="give another name, or remove it")
    for file in write_calibration(target, found, name):
        click.echo(str(file))
    for before, after in zip(found.ids, read_calibration(target).ids, strict=True):
        if before != after:
            click.echo(f"{before} is called {after} there", err=True)


@rig.command()
@click.argument("source", type=str)
@json_option
def show(source: str, as_json: bool) -> None:
    """The cameras of another program's calibration, or of a session: lenses in px, positions in metres, +y up.

    Example: litdome rig show Calib.qca.txt
    """
    found = rig_of(source)
    if as_json:
        keys = ("id", "width", "height", "model", "role")
        arrays = ("intrinsics", "distortion", "world_from_camera")
        cameras = [
            {key: getattr(c, key) for key in keys} | {key: getattr(c, key).tolist() for key in arrays}
            for c in found.cameras
        ]
        print_json({"cameras": cameras})
        return
    rows: list[list[object]] = []
    for camera in found.cameras:
        k = camera.intrinsics
        lens = [round(float(value), 2) for value in (k[0, 0], k[1, 1], k[0, 2], k[1, 2])]
        rows.append([camera.id, camera.width, camera.height, camera.model, *lens, *camera.centre.round(4).tolist()])
    print_table(["camera", "width", "height", "lens", "fx", "fy", "cx", "cy", "x m", "y m", "z m"], rows)


def rig_of(source: str) -> Rig:
    """The rig of a session or of another program's calibration."""
    from litdome import open_session
    from litdome.calib.exchange import read_calibration

    path = Path(source)
    is_calibration = path.is_file() or (path.is_dir() and not (path / SESSION_FILE).is_file())
    return read_calibration(path) if is_calibration else open_session(source).rig


def _format(target: Path, name: str | None) -> str:
    from litdome.calib.exchange import FORMATS, format_of_name

    known = ", ".join(FORMATS)
    if name is not None and name not in FORMATS:
        raise UsageError(f"--format {name}: not one of {known}", hint="litdome rig export SESSION FILE --format colmap")
    found = name or format_of_name(target)
    if found is None:
        raise UsageError(f"{target}: its name does not say a format; there are {known}", hint="--format NAME")
    return found


COMMANDS = [rig]

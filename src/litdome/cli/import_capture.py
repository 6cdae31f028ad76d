"""The command that turns a public capture into a recording."""

from __future__ import annotations

from pathlib import Path

import click

from litdome.cli.console import interruptible, progress_bars
from litdome.errors import InputError, UsageError

FIRST_HDRI = 3  # of HumanOLAT's published schedule


@click.command("import")
@click.argument("capture", type=click.Path(path_type=Path))
@click.argument("recording", type=click.Path(path_type=Path))
@click.option("--hdris", type=click.Path(path_type=Path), help="HumanOLAT: folder with the maps that were shown.")
@click.option("--first-hdri", type=click.IntRange(0), help="HumanOLAT: frame of the first map; 3 by default.")
@click.option("--cameras", help="Goliath: cameras to take, 400870,401031; all by default.")
def import_capture(
    capture: Path, recording: Path, hdris: Path | None, first_hdri: int | None, cameras: str | None
) -> None:
    """Lay out a capture of HumanOLAT (SUBJECT_X/POSE_Y) or Goliath as a recording folder.

    Example: litdome import SUBJECT_C003/POSE_00 c003 --hdris example_envmaps
    """
    from litdome.capture.imports.goliath import import_goliath, is_goliath
    from litdome.capture.imports.humanolat import import_humanolat, is_humanolat
    from litdome.store.files import appearing_folder, refusals

    if not (is_humanolat(capture) or is_goliath(capture)):
        raise InputError(
            f"{capture}: neither a pose of HumanOLAT (images_processed/) nor a capture of Goliath (image/, "
            "camera_calibration.json)",
            hint="name the folder that holds them",
        )
    asked = {"--cameras": cameras} if is_humanolat(capture) else {"--hdris": hdris, "--first-hdri": first_hdri}
    for option, value in asked.items():
        if value is not None:
            kind, other = ("HumanOLAT", "Goliath") if is_humanolat(capture) else ("Goliath", "HumanOLAT")
            raise UsageError(f"{option}: for captures of {other}, and {capture} is one of {kind}", hint="leave it out")
    first = FIRST_HDRI if first_hdri is None else first_hdri
    with (
        interruptible() as should_stop,
        progress_bars() as progress,
        refusals(str(recording)),
        appearing_folder(recording) as folder,
    ):
        if is_humanolat(capture):
            made = import_humanolat(
                capture, folder, hdris=hdris, first_hdri=first, progress=progress, should_stop=should_stop
            )
        else:
            chosen = None if cameras is None else cameras.split(",")
            made = import_goliath(capture, folder, cameras=chosen, progress=progress, should_stop=should_stop)
        if made is None:
            raise KeyboardInterrupt
    lit = ", ".join(f"{count} {kind}" for kind, count in made.lit.items())
    click.echo(f"{recording}: {len(made.cameras)} cameras, {made.frames} frames ({lit})")
    for note in made.notes:
        click.echo(f"  {note}")
    session = f"{recording.name}.zarr"
    click.echo(f"litdome ingest {recording} {session}")
    if made.calibration is not None:
        click.echo(f"litdome calibrate {session} --import {recording / made.calibration.relative_to(folder)}")
    if made.masks is not None:
        masks = recording / made.masks.relative_to(folder)
        click.echo(f"litdome segment {session} --set segment.source=import --set segment.masks={masks}")


COMMANDS = [import_capture]

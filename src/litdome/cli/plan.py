"""Command plan: everything about a take that can be settled before it is filmed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from litdome.cli.lights import axes_option, convention_option
from litdome.errors import InputError, UsageError

if TYPE_CHECKING:
    from litdome.capture.forecast import Shift, Storage
    from litdome.capture.plan import TakePlan

DRIVE_FILE = "drive.json"


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--hdris", "hdri_folder", type=click.Path(path_type=Path), help="Folder of HDRIs to light; without: none."
)
@click.option(
    "--actions",
    "repertoire_file",
    type=click.Path(path_type=Path),
    help="Your own actions and expressions (CSV); litdome's by default.",
)
@click.option("--subject", default="s01", show_default=True, help="A pseudonym.")
@click.option("--cameras", default=40, show_default=True, help="Cameras of the rig.")
@click.option("--size", default="4096x2160", show_default=True, help="Of a picture, WIDTHxHEIGHT, px.")
@click.option("--fps", default=25.0, show_default=True, help="Rig frames per second.")
@click.option("--minutes", default=10.0, show_default=True, help="Length of the take.")
@click.option("--interleave", default=1, show_default=True, help="Relit frames from one flat frame to the next.")
@click.option("--held-out", default=0.1, show_default=True, help="Share of the HDRIs that training will never see.")
@click.option("--rotations", default=8, show_default=True, help="Angles at which each HDRI is lit.")
@click.option("--speed", type=float, help="Mean motion of a walking person in the pictures, px/s; guessed by height.")
@click.option("--leds", "leds_file", type=click.Path(path_type=Path), help="Lights json with positions: drive them.")
@click.option("--mix", "mix_file", type=click.Path(path_type=Path), help="Chart readings (CSV) of RGBAW LEDs.")
@axes_option
@convention_option
@click.option("--seed", default=0, show_default=True, help="Draws everything.")
def plan(
    out: Path,
    hdri_folder: Path | None,
    repertoire_file: Path | None,
    subject: str,
    cameras: int,
    size: str,
    fps: float,
    minutes: float,
    interleave: int,
    held_out: float,
    rotations: int,
    speed: float | None,
    leds_file: Path | None,
    mix_file: Path | None,
    axes: Any,
    convention: Any,
    seed: int,
) -> None:
    """Plan a take: actions with a prompter's page, lights with those held out, LED drive, room, expected misalignment.

    Example: litdome plan take07-plan --hdris hdris --leds lights.json
    """
    from litdome.capture.actions import REPERTOIRE, read_repertoire
    from litdome.capture.forecast import expected_shifts, storage_needed, walking_speed
    from litdome.capture.plan import PlanSettings, draw_plan
    from litdome.capture.plan_files import plan_files
    from litdome.geometry import REFERENCE_HEIGHT_PX
    from litdome.preprocess.align import AlignConfig
    from litdome.store.files import appearing_folder

    if leds_file is not None and hdri_folder is None:
        raise UsageError("--leds without --hdris: nothing to drive them with", hint="--hdris DIR")
    unused = [option for option, given in (("--mix", mix_file), ("--axes", axes)) if given and leds_file is None]
    if unused:
        raise UsageError(f"{unused[0]} without --leds: no LEDs to drive", hint="--leds FILE")
    pixels = _size(size)
    settings = PlanSettings(subject, cameras, pixels, fps, minutes, interleave, held_out, rotations, seed)
    speed_px_s = walking_speed(settings) if speed is None else speed
    if not 0 < speed_px_s <= 1e6:
        raise UsageError(f"--speed {speed_px_s:g}: must be above 0, at most 1e6 px/s", hint="leave it out")
    with appearing_folder(out) as partial:
        repertoire = read_repertoire(repertoire_file or REPERTOIRE)
        files = {} if hdri_folder is None else _hdri_files(hdri_folder)
        groups, sizes = _looked_at(files, convention)
        drawn = draw_plan(settings, repertoire, groups)
        storage = storage_needed(drawn, sizes)
        limit_px = AlignConfig().max_shift_px * pixels[1] / REFERENCE_HEIGHT_PX
        shifts = expected_shifts(drawn, speed_px_s, limit_px)
        for name, text in plan_files(drawn, storage, shifts, speed_px_s).items():
            (partial / name).write_text(text, encoding="utf-8")
        if leds_file is not None:
            _write_drives(partial / DRIVE_FILE, drawn, files, leds_file, mix_file, axes, convention)
    for line in _in_words(drawn, storage, shifts):
        click.echo(line, err=True)
    click.echo(str(out))


def _size(text: str) -> tuple[int, int]:
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal() and max(len(width), len(height)) < 10):
        raise UsageError(f"--size {text}: expected WIDTHxHEIGHT", hint="--size 4096x2160")
    return int(width), int(height)


def _hdri_files(folder: Path) -> dict[str, Path]:
    from litdome.capture.recording import hdri_files

    found = hdri_files(folder)
    if not found:
        why = "no HDRIs (.hdr, .exr) in it" if folder.is_dir() else "no such folder"
        raise InputError(f"{folder}: {why}", hint="--hdris DIR")
    return found


def _looked_at(files: Mapping[str, Path], convention: Any) -> tuple[dict[str, str], dict[str, int]]:
    """Content group and bytes of each HDRI by name; each is read once."""
    from litdome.cli.console import read_map
    from litdome.lighting import content_groups

    sizes = {}

    def read() -> Any:
        for name, path in files.items():
            hdr = read_map(path, convention)
            sizes[name] = hdr.nbytes
            yield name, hdr

    return dict(zip(files, content_groups(read()), strict=True)), sizes


def _write_drives(
    path: Path,
    drawn: TakePlan,
    files: Mapping[str, Path],
    leds_file: Path,
    mix_file: Path | None,
    axes: Any,
    convention: Any,
) -> None:
    """16-bit codes of every LED for every entry of the schedule, frame by frame; pattern 0 is flat."""
    from litdome.calib.leds.drive import drive_hdri, measure_light
    from litdome.calib.leds.drive_files import drive_table, write_drives
    from litdome.calib.leds.mixing import read_mix_chart
    from litdome.cli.console import progress_bars
    from litdome.lighting.led_set import read_leds
    from litdome.media.latlong import read_latlong

    leds = read_leds(leds_file, axes=axes)
    mix = None if mix_file is None else read_mix_chart(mix_file)
    intensities = {}
    entries = drawn.schedule.entries
    with progress_bars() as progress:
        for name in sorted({entry.name for entry in entries}):
            light = measure_light(read_latlong(files[name])[0], convention, str(files[name]))
            for entry in (entry for entry in entries if entry.name == name):
                solved = drive_hdri(light, leds, rotation_deg=entry.rotation_deg)
                intensities[entry.entry] = solved.intensity * entry.gain
                progress("drive", len(intensities), len(entries))
    in_order = {entry.entry: intensities[entry.entry] for entry in entries}
    order = (drawn.schedule.hdri + 1).tolist()  # -1, no HDRI: flat
    table, _ = drive_table(in_order, leds, mix=mix, order=order, fps=drawn.settings.fps)
    write_drives(path, table, leds)


def _in_words(drawn: TakePlan, storage: Storage, shifts: tuple[Shift, ...]) -> list[str]:
    from litdome.store.files import size_in_words

    settings, rests = drawn.settings, sum(not action.expression for action in drawn.actions)
    lines = [f"{settings.frames:,} frames, {len(drawn.actions) - rests} actions, {rests} rests"]
    if drawn.schedule.entries:
        held = ", ".join(drawn.held_out) or "none"
        lines.append(f"{len(drawn.groups)} HDRIs, {len(drawn.schedule.entries)} with their rotations; held out: {held}")
    else:
        lines.append("no lights: give --hdris")
    sizes = [size_in_words(size) for size in (storage.ingested, storage.aligned, storage.codes)]
    lines.append(f"room: about {sizes[0]} after ingest, {sizes[1]} after align ({sizes[2]} of pictures uncompressed)")
    fast = [shift for shift in shifts if shift.words != "fine"]
    worst = shifts[0]
    lines.append(f"misalignment: {worst.action} {worst.mean_px:g} px: {worst.words}")
    if len(fast) > 1:
        lines.append(f"{len(fast)} of {len(shifts)} actions are faster than {worst.px_per_s:g} px/s: see plan.toml")
    return lines


COMMANDS = [plan]

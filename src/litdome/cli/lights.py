"""Commands lights ...: LED drive values from HDRIs, colour mixing, mirror balls, what the LEDs gave in a take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from litdome.cli.capture import read_tables
from litdome.cli.console import print_table, read_map, settings_options
from litdome.cli.light_maps import CONVENTIONS, convert
from litdome.errors import CalibrationError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from litdome.calib.leds.drive import DriveSolution, MapLight
    from litdome.calib.leds.drive_files import DriveTable, Gain
    from litdome.lighting import HdriConvention
    from litdome.lighting.led_set import LedSet

COARSE = 256  # codes: a LED at fewer is off by more than 0.2 %
axes_option = click.option(
    "--axes", type=click.Choice(["y-up", "y-down", "z-up"]), help="Of the LED file, where it does not say them itself."
)
convention_option = click.option(
    "--convention",
    type=click.Choice(CONVENTIONS),
    default="physical",
    show_default=True,
    help="Where an HDRI's centre lies and which way it turns (docs/conventions.md).",
)


@click.group()
def lights() -> None:
    """LEDs: drive values from HDRIs, colour mixing, mirror balls, and what the LEDs gave in a take."""


@lights.command()
@click.argument("hdris", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--leds", "leds_file", required=True, type=click.Path(path_type=Path), help="Lights json with positions.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Drive file: .json or .cbor.")
@click.option(
    "--mix", "mix_file", type=click.Path(path_type=Path), help="Chart readings (CSV) of RGBAW and other LEDs."
)
@click.option(
    "--rotation", "rotations", type=float, multiple=True, help="Turn of the light, deg; several make several."
)
@click.option(
    "--gain", default="shared", show_default=True, help="shared, each, or a number: full drive per intensity."
)
@click.option("--without", "dark", default="", help="LEDs that stay dark: 3,17,200-205.")
@click.option("--centre", help="Where the subject stands, X,Y,Z in the file's axes, mm; the LEDs' middle by default.")
@click.option("--fps", type=float, default=25.0, show_default=True, help="Frames per second of the drive file.")
@axes_option
@convention_option
def drive(
    hdris: tuple[Path, ...],
    leds_file: Path,
    output: Path | None,
    mix_file: Path | None,
    rotations: tuple[float, ...],
    gain: str,
    dark: str,
    centre: str | None,
    fps: float,
    axes: Any,
    convention: Any,
) -> None:
    """What to drive every LED with so that the subject is lit as by an HDRI, and how near that comes.

    Errors are percent of the HDRI's strongest irradiance, of the worst colour channel; `cells` is the baseline.

    Example: litdome lights drive hdris/*.hdr --leds lights.json -o drive.json
    """
    import math

    import numpy as np

    from litdome.calib.leds.drive_files import check_drive_path, drive_table, write_drives
    from litdome.calib.leds.mixing import read_mix_chart
    from litdome.lighting.led_set import read_leds

    if output is not None:
        check_drive_path(output)
    chosen = _gain(gain)
    if not all(map(math.isfinite, rotations)):
        raise UsageError("--rotation: expected degrees", hint="--rotation 90")
    if not 0.01 <= fps <= 1e4:
        raise UsageError(f"--fps {fps:g}: 0.01 to 10000 is possible", hint="--fps 25")
    centre_mm = None if centre is None else np.array(_numbers("--centre", centre, 3))
    leds = read_leds(leds_file, axes=axes, centre_mm=centre_mm).without(_indices(dark))
    mix = None if mix_file is None else read_mix_chart(mix_file)
    solved = _solved(hdris, rotations or (0.0,), leds, convention)
    intensities = {name: one.solution.intensity for name, one in solved.items()}
    table, mixtures = drive_table(intensities, leds, mix=mix, gain=chosen, fps=fps)
    header = ["hdri", "p95 %", "worst %", "below %", "local p95 %", "lobe %", "cells p95 %", "cells worst %"]
    header += ["cells lobe %", "clipped %", *(["out of gamut %", "chart off %"] if mix else []), "gain"]
    rows = []
    for n, (name, one) in enumerate(solved.items(), start=1):
        shares = [*one.shares(leds, table.intensity(n)), float(table.clipped[n])]
        if mix is not None:
            share_of_light = one.solution.intensity.sum(axis=1) / one.solution.intensity.sum()
            shares += [
                float(share_of_light @ mixtures[name].out_of_gamut),
                float(share_of_light @ mixtures[name].residual),
            ]
        rows.append([name, *map(_percent, shares), f"{table.gains[n]:.4g}"])
    print_table(header, rows)
    click.echo(_leds_in_words(leds))
    for warning in _drive_warnings(table, [one.solution.errors.p95 for one in solved.values()]):
        click.echo(f"litdome: {warning}", err=True)
    if output is not None:
        write_drives(output, table, leds)
        click.echo(str(output))


@lights.command()
@click.argument("chart", type=click.Path(path_type=Path))
@click.option("--neutral", default="white", show_default=True, help="The patch that an RGB value means.")
def mix(chart: Path, neutral: str) -> None:
    """How well LED channels together show a colour chart in white light, from readings of it under each channel.

    Example: litdome lights mix chart.csv
    """
    import numpy as np

    from litdome.calib.leds.mixing import mix_chart, mix_lights, read_mix_chart

    found = read_mix_chart(chart, neutral=neutral)
    rows = []
    for count in range(3, len(found.channels) + 1):
        part = mix_chart(
            found.channels[:count], found.patches, found.response[..., :count], found.target, neutral=neutral
        )
        white = mix_lights(np.ones(3), part)
        brightest = float(white.weights.max())
        weights = " ".join(f"{weight / brightest:.3f}" for weight in white.weights)
        told = "out of gamut" if white.out_of_gamut else f"{100 * float(white.residual):.2f}"
        rows.append([" ".join(part.channels), weights, told])
    print_table(["channels", "drive in white light", "chart off %"], rows)
    if found.target is None:
        click.echo("no chart in the target light: only the neutral patch is matched")


@lights.command()
@click.argument("photos", nargs=-1, required=True)
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="CSV of readings.")
@click.option("--corners", help="X,Y of dark skin, bluish green, black and white, px, where the chart is not found.")
def chart(photos: tuple[str, ...], output: Path, corners: str | None) -> None:
    """Readings of a 24-patch chart from photographs, one under each LED channel: LIGHT=PHOTO, and target=PHOTO.

    Example: litdome lights chart red=r.exr green=g.exr blue=b.exr amber=a.exr white=w.exr target=day.exr -o chart.csv
    """
    import numpy as np

    from litdome.calib.leds.drive_files import check_new_file
    from litdome.calib.leds.mix_photos import read_chart_photos, write_readings

    check_new_file(output)
    given = {}
    for photo in photos:
        light, equals, path = photo.partition("=")
        if not (light and equals and path) or light in given:
            raise UsageError(f"{photo}: expected LIGHT=PHOTO, each light once", hint="red=red.exr")
        given[light] = Path(path)
    by_hand = None if corners is None else np.array(_numbers("--corners", corners, 8)).reshape(4, 2)
    readings = read_chart_photos(given, by_hand)
    write_readings(output, readings)
    patches = int(np.isfinite(next(iter(readings.values()))).all(axis=1).sum())
    click.echo(f"{patches} of 24 patches in {len(readings)} lights")
    click.echo(str(output))


@lights.command()
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Map: .exr.")
@click.option("--look", "looks", multiple=True, help="Where each camera looks: azimuth from -z towards +x, elevation.")
@click.option("--ball", "balls", multiple=True, help="The ball in each photo: X,Y,RADIUS, px; looked for by default.")
@click.option("--focal", type=float, help="Focal length, px; without it the camera is taken for far away.")
@click.option("--height", type=click.IntRange(16, 4096), default=512, show_default=True, help="Rows of the map.")
@click.option("--reflectivity", type=float, default=1.0, show_default=True, help="Of the ball.")
@convention_option
def ball(
    photos: tuple[Path, ...],
    output: Path,
    looks: tuple[str, ...],
    balls: tuple[str, ...],
    focal: float | None,
    height: int,
    reflectivity: float,
    convention: Any,
) -> None:
    """A lat-long map from photographs of a mirror ball (linear: .exr or .hdr), taken by upright cameras.

    Example: litdome lights ball front.exr right.exr --look 0,0 --look 90,0 -o room.exr
    """
    from litdome.calib.leds.drive_files import check_new_file
    from litdome.calib.leds.mirror_ball import BallOutline, find_ball, map_from_ball
    from litdome.media.hdr import HDR_SUFFIXES, read_hdr, write_hdr

    for name, given in (("--look", looks), ("--ball", balls)):
        if given and len(given) != len(photos):
            raise UsageError(f"{len(given)} {name} for {len(photos)} photos", hint=f"one {name} for each photo")
    if len(photos) > 1 and not looks:
        raise UsageError("several photos, but not where their cameras look", hint="--look 0,0 --look 90,0")
    check_new_file(output)
    if output.suffix.lower() != ".exr":
        raise UsageError(f"{output}: HDRIs are written as .exr only", hint=f"-o {output.with_suffix('.exr')}")
    if focal is not None and not 0 < focal < float("inf"):
        raise UsageError(f"--focal {focal:g}: must be above 0, px", hint="leave it out")
    views = []
    for n, path in enumerate(photos):
        if path.suffix.lower() not in HDR_SUFFIXES:
            raise UsageError(f"{path}: a ball is photographed in linear light", hint="give .exr or .hdr")
        picture = read_hdr(path)
        try:
            outline = BallOutline(*_numbers("--ball", balls[n], 3)) if balls else find_ball(picture)
        except CalibrationError as error:
            raise CalibrationError(f"{path}: {error.message}", hint=error.hint) from error
        views.append(_ball_view(picture, outline, looks[n] if looks else "0,0", focal))
        click.echo(f"{path}: ball at {outline.x:.1f},{outline.y:.1f}, radius {outline.radius:.1f} px")
    found = map_from_ball(views, height, convention, reflectivity=reflectivity)
    write_hdr(output, found.radiance)
    click.echo(f"unseen, and black: {100 * _unseen(found.seen):.1f} % of the sphere")
    click.echo(str(output))


@lights.command()
@click.argument("session", type=str)
@click.option(
    "--leds", "leds_file", type=click.Path(path_type=Path), help="Lights json: the drive is solved from HDRIs."
)
@click.option(
    "--drive", "drive_file", type=click.Path(path_type=Path), help="Drive json: what the LEDs were driven with."
)
@axes_option
@settings_options
def effective(
    session: str,
    leds_file: Path | None,
    drive_file: Path | None,
    axes: str | None,
    config_file: Path | None,
    assignments: tuple[str, ...],
) -> None:
    """What the LEDs made of each HDRI of a take: its effective environment map, beside the requested one.

    Example: litdome lights effective take01.zarr --drive drive.json
    """
    from litdome import open_session
    from litdome.pipeline import config_for, run_stage, side_stages

    given = {"leds_file": leds_file, "drive_file": drive_file, "axes": axes}
    tables = read_tables(session, config_file, assignments)
    tables["lights"] = {**tables.get("lights", {}), **{key: str(value) for key, value in given.items() if value}}
    stage = side_stages()["lights"]
    record = run_stage(open_session(session, writable=True), stage, config_for(stage, tables))
    found = record.summary
    names = ["p95", "worst", "uncovered", "local_p95", "specular"]
    columns = [found["percent"][name] for name in names]
    rows = [
        [entry, *("-" if cell is None else f"{cell:.2f}" for cell in row)]
        for entry, *row in zip(found["entries"], *columns, strict=True)
    ]
    print_table(["hdri", "p95 %", "worst %", "below %", "local p95 %", "lobe %"], rows)
    click.echo(f"{found['source']}, {found['leds']} LEDs")


@dataclass(frozen=True, eq=False)
class _Solved:
    """An HDRI at one turn, and its drive."""

    light: MapLight
    rotation_deg: float
    solution: DriveSolution

    def shares(self, leds: LedSet, intensity: npt.NDArray[np.float64]) -> list[float]:
        """Errors of the light that is given in the end, and of the cells alone."""
        from litdome.calib.leds.drive import judge_drive

        errors = judge_drive(self.light, leds, intensity, rotation_deg=self.rotation_deg)
        cells = self.solution.start_errors
        told = [errors.p95, errors.worst, errors.uncovered, errors.local_p95, errors.specular]
        return [*told, cells.p95, cells.worst, cells.specular]


def _solved(
    hdris: Sequence[Path], rotations: Sequence[float], leds: LedSet, convention: HdriConvention
) -> dict[str, _Solved]:
    """Drives by the name of their HDRI entry."""
    from litdome.calib.leds.drive import drive_hdri, measure_light
    from litdome.lighting import HdriEntry

    found: dict[str, _Solved] = {}
    for path in hdris:
        light = measure_light(read_map(path, convention), convention, str(path))
        for turn in rotations:
            name = HdriEntry(path.stem, turn).entry
            if name in found:
                raise UsageError(f"{name}: given twice", hint="HDRIs need different names")
            found[name] = _Solved(light, turn, drive_hdri(light, leds, rotation_deg=turn))
    return found


def _ball_view(picture: npt.NDArray[Any], outline: Any, look: str, focal: float | None) -> Any:
    import numpy as np

    from litdome.calib.leds.mirror_ball import BallView
    from litdome.geometry import look_at

    azimuth, elevation = np.radians(_numbers("--look", look, 2))
    if abs(elevation) > np.radians(89):
        raise UsageError(f"--look {look}: elevation within -89..89", hint="--look 90,0")
    level = np.cos(elevation)
    ahead = [level * np.sin(azimuth), np.sin(elevation), -level * np.cos(azimuth)]
    height, width = picture.shape[:2]
    intrinsics = None
    if focal is not None:
        intrinsics = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    return BallView(picture, outline, look_at([0, 0, 0], ahead), intrinsics)


def _unseen(seen: npt.NDArray[np.bool_]) -> float:
    from litdome.lighting import latlong_solid_angles

    area = latlong_solid_angles(*seen.shape)
    return float((area * ~seen).sum() / (area.sum() * seen.shape[1]))


def _percent(share: float) -> str:
    return "-" if share != share else f"{100 * share:.2f}"  # NaN: the LEDs cover no normal


def _leds_in_words(leds: LedSet) -> str:
    import numpy as np

    lowest = np.degrees(np.arcsin(leds.directions[leds.valid][:, 1].min()))
    return f"{int(leds.valid.sum())} LEDs, {np.degrees(leds.spacing):.1f} degrees apart, the lowest at {lowest:.0f}"


def _drive_warnings(table: DriveTable, p95: Sequence[float]) -> list[str]:
    told = []
    if all(share != share for share in p95):  # NaN
        told.append("the LEDs cover no normal, so there is nothing to judge the drive by; is the centre right (mm)?")
    for name, codes in zip(table.names[1:], table.codes[1:], strict=True):
        if codes.max() < COARSE:
            told.append(f"{name}: its brightest LED gets {codes.max()} of 65535, so rounding shows; try: --gain each")
    return told


def _gain(text: str) -> Gain:
    import math

    if text == "shared" or text == "each":
        return "shared" if text == "shared" else "each"
    try:
        gain = float(text)
    except ValueError:
        gain = math.nan
    if not 0 < gain < math.inf:
        raise UsageError(f"--gain {text}: expected shared, each, or a number above 0", hint="--gain shared")
    return gain


def _numbers(option: str, text: str, count: int) -> list[float]:
    import math

    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count or not all(map(math.isfinite, values)):
        raise UsageError(
            f"{option} {text}: expected {count} number{'s' if count > 1 else ''}", hint="separate by commas"
        )
    return values


def _indices(text: str) -> list[int]:
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, dash, last = part.partition("-")
        is_range = first.isdecimal() and (not dash or last.isdecimal()) and max(len(first), len(last)) < 7
        if not is_range or int(last or first) < int(first):
            raise UsageError(f"--without {text}: expected numbers and ranges", hint="--without 3,17,200-205")
        found += range(int(first), int(last or first) + 1)
    return found


lights.add_command(convert)
COMMANDS = [lights]

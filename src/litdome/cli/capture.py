"""Commands from a recording to a finished session: synth, ingest, the stages, run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from litdome.cli.console import interruptible, place_options, progress_bars, settings_files, settings_options
from litdome.compute import open_executor
from litdome.errors import ConfigError, UsageError
from litdome.synth.camera_setup import CAMERA_SETTINGS, parse_camera_setup
from litdome.synth.faults import FAULTS
from litdome.synth.subjects import SUBJECTS

if TYPE_CHECKING:
    from litdome.compute import Executor
    from litdome.pipeline import Selection
    from litdome.store.provenance import StageRecord
    from litdome.store.session import Session

STAGES = {
    "flow": "Optical flow from each flat picture to the next one.",
    "segment": "Raw masks: the clean plate for flat pictures, carried and refined ones for relit pictures.",
    "deflicker": "Masks without single-frame flicker, and over-estimated masks.",
    "hdri": "Environment maps in every camera's view, tone-mapped as DiffusionRenderer does.",
    "align": "Misalignment of each pair, keep or drop, and flat pictures compensated to the relit time.",
}


def _choices(title: str, texts: Mapping[str, str]) -> str:
    return f"\b\n{title}:\n" + "\n".join(f"  {name:<18} {text}" for name, text in texts.items())


@click.command(
    epilog=_choices("Subjects", {name: who.summary for name, who in SUBJECTS.items()})
    + "\n\n"
    + _choices("Camera settings", CAMERA_SETTINGS)
    + "\n\n"
    + _choices("Faults", FAULTS)
)
@click.argument("recording", type=click.Path(path_type=Path))
@click.option("--cameras", default=6, show_default=True, help="Cameras around the subject.")
@click.option("--face-cameras", type=int, help="Cameras with long lenses on the face; else as many as the subject had.")
@click.option(
    "--camera",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="How cameras are set, shutter_ms=8 for one (see below); more than once.",
)
@click.option("--pairs", type=int, show_default="24, or every LED once", help="Flat/relit pairs, or LEDs lit alone.")
@click.option("--subject", default="s1", show_default=True, help="Who is filmed (see below).")
@click.option("--actions", type=click.Path(path_type=Path), help="actions.csv; takes of 8 s and more draw their own.")
@click.option("--speed-px", type=float, help="Mean movement in the picture, px a frame at a height of 1080.")
@click.option(
    "--interleave", type=int, show_default="1; olat: 20", help="Relit frames from one flat frame to the next."
)
@click.option(
    "--take",
    type=click.Choice(["hdri", "olat"]),
    default="hdri",
    show_default=True,
    help="What is lit between flat frames: HDRIs, or one LED at a time.",
)
@click.option("--leds", type=int, show_default="331", help="LEDs on a dome of real size, seen behind the subject.")
@click.option("--light-positions", type=click.Path(path_type=Path), help="Lights json to take the LEDs from instead.")
@click.option("--far-lights", type=int, help="So many lights at infinity instead (128): half the time.")
@click.option("--spectral", is_flag=True, help="Red, green, blue, amber and white LEDs with their spectra.")
@click.option("--light-gain", type=float, show_default="the subject's", help="Session gain: how bright all light is.")
@click.option("--dark-frames", default=0, help="Frames without light after the take.")
@click.option("--fault", "faults", multiple=True, metavar="NAME", help="What goes wrong (see below); more than once.")
@click.option("--width", default=360, show_default=True, help="Picture width, px.")
@click.option("--height", default=640, show_default=True, help="Picture height, px.")
@click.option("--boards/--no-boards", default=True, show_default=True, help="Film board takes too.")
@click.option("--bounce", is_flag=True, help="The person also lights itself, by one diffuse bounce.")
@click.option(
    "--truth",
    type=click.Choice(["minimal", "full"]),
    default="minimal",
    show_default=True,
    help="full: depth, normals, parts, materials, light and flow of every picture too (large).",
)
@click.option("--seed", default=0, show_default=True, help="Draws noise, lights and motion.")
@click.option("--color-spread", default=0.0, help="How much cameras differ in colour (0.1); then photographs charts.")
def synth(
    recording: Path,
    cameras: int,
    face_cameras: int | None,
    settings: tuple[str, ...],
    pairs: int | None,
    subject: str,
    actions: Path | None,
    speed_px: float | None,
    interleave: int | None,
    take: Literal["hdri", "olat"],
    leds: int | None,
    light_positions: Path | None,
    far_lights: int | None,
    spectral: bool,
    light_gain: float | None,
    dark_frames: int,
    faults: tuple[str, ...],
    width: int,
    height: int,
    boards: bool,
    bounce: bool,
    truth: Literal["minimal", "full"],
    seed: int,
    color_spread: float,
) -> None:
    """Film on a simulated light stage: a recording folder with the exact truth beside it.

    Example: litdome synth take01 --cameras 6 --pairs 24
    """
    from litdome.synth import make_recording
    from litdome.synth.light_setup import LightSetup

    light = LightSetup(
        leds, light_positions, far_lights, spectral=spectral, take=take, dark_frames=dark_frames, gain=light_gain
    )
    camera = parse_camera_setup(settings, face_cameras)
    with progress_bars() as progress:
        make_recording(
            recording,
            cameras=cameras,
            camera=camera,
            pairs=pairs,
            subject=subject,
            actions=actions,
            speed_px=speed_px,
            interleave=interleave,
            light=light,
            faults=faults,
            width=width,
            height=height,
            boards=boards,
            bounce=bounce,
            truth=truth,
            seed=seed,
            color_spread=color_spread,
            progress=progress,
        )
    click.echo(str(recording))


@click.command()
@click.argument("recording", type=click.Path(path_type=Path))
@click.argument("session", type=str)
@click.option("--scale", type=float, help="Store pictures at this scale.")
@click.option("--crop", metavar="X0,Y0,X1,Y1", help="Store this part of the recorded pictures, px, half-open.")
@click.option(
    "--trust",
    multiple=True,
    type=click.Choice(["timestamps", "offset", "file", "pixels"]),
    help="Which to believe where they contradict: times or offsets, the lighting file or the pixels; one of each.",
)
@click.option("--skip-camera", "skip_cameras", multiple=True, metavar="ID", help="Go on without a camera.")
@click.option("--follow", is_flag=True, help="The recording is still being written: take cameras as they come.")
@place_options
@settings_options
def ingest(
    recording: Path,
    session: str,
    scale: float | None,
    crop: str | None,
    trust: tuple[str, ...],
    skip_cameras: tuple[str, ...],
    follow: bool,
    workers: int | None,
    scheduler: str | None,
    config_file: Path | None,
    assignments: tuple[str, ...],
) -> None:
    """Read a recording into a new session: pictures as decoded, schedule, pairs, HDRIs.

    Example: litdome ingest take01 take01.zarr
    """
    tables = read_tables(session, config_file, assignments)
    region = None if crop is None else _region(crop)
    given = {"scale": scale, "crop": region, "trust": list(trust) or None, "skip_cameras": list(skip_cameras) or None}
    tables["ingest"] = {**tables.get("ingest", {}), **{key: value for key, value in given.items() if value is not None}}
    with open_executor(workers, scheduler) as executor:
        _ingest(recording, session, tables, executor, follow=follow)
    click.echo(session)


def _stage_command(name: str, help_text: str) -> click.Command:
    @click.command(name, help=f"{help_text}\n\nExample: litdome {name} take01.zarr")
    @click.argument("session", type=str)
    @click.option("--cameras", help="Only these cameras: c03,c17.")
    @click.option("--pairs", help="Only this half-open range of pairs (or pictures): 0:200.")
    @place_options
    @settings_options
    def command(
        session: str,
        cameras: str | None,
        pairs: str | None,
        workers: int | None,
        scheduler: str | None,
        config_file: Path | None,
        assignments: tuple[str, ...],
    ) -> None:
        tables = read_tables(session, config_file, assignments)
        with open_executor(workers, scheduler) as executor:
            _run_stages(session, [name], tables, executor, cameras=cameras, pairs=pairs)
        click.echo(session)

    return command


@click.command()
@click.argument("source", type=str)
@click.argument("session", type=str, required=False)
@click.option("--import-calibration", "import_file", type=click.Path(path_type=Path), help="Calibrate from this file.")
@click.option("--until", default="align", show_default=True, help="The last stage to run.")
@click.option("--dataset", "dataset_path", type=click.Path(path_type=Path), help="Then bake a dataset.")
@click.option("--dry-run", is_flag=True, help="Say what would be run, and do nothing.")
@place_options
@settings_options
def run(
    source: str,
    session: str | None,
    import_file: Path | None,
    until: str,
    dataset_path: Path | None,
    dry_run: bool,
    workers: int | None,
    scheduler: str | None,
    config_file: Path | None,
    assignments: tuple[str, ...],
) -> None:
    """The whole way from a recording (or a session) to aligned pairs, and to a dataset.

    Example: litdome run take01 take01.zarr --dataset take01-data
    """
    from litdome.config import build_config
    from litdome.datasets.spec import DatasetSpec
    from litdome.pipeline import ORDER

    if until not in ORDER:
        from litdome.config import nearest

        raise UsageError(f"--until {until}: no such stage", hint=nearest(until, ORDER))
    target = session or source
    tables = read_tables(target, config_file, assignments)
    if import_file is not None:
        tables["calibrate"] = {**tables.get("calibrate", {}), "source": "import", "import_file": str(import_file)}
    spec = build_config(DatasetSpec, "dataset", tables)
    stages = list(ORDER[1 : ORDER.index(until) + 1])
    if dry_run:
        _print_plan(source, session, stages, tables, dataset_path)
        return
    with open_executor(workers, scheduler) as executor:
        if session is not None:
            _ingest(Path(source), session, tables, executor)
        _run_stages(target, stages, tables, executor, keep_unset=True)
    if dataset_path is not None:
        from litdome.cli.dataset import build_and_say

        build_and_say([target], dataset_path, spec, workers)
    else:
        click.echo(target)


def read_tables(session: str | None, config_file: Path | None, assignments: tuple[str, ...]) -> dict[str, Any]:
    """All settings of the stages, checked: unknown tables and keys are refused before anything runs."""
    from litdome.config import load_tables

    files = settings_files(session, config_file)
    for file in files:  # each alone, so that the error can name it
        found = load_tables([file])
        try:
            _check_settings(found)
        except ConfigError as error:
            raise ConfigError(f"{file}: {error.message}", hint=error.hint) from error
    tables = load_tables(files, assignments)
    _check_settings(tables)
    return tables


def _check_settings(tables: dict[str, Any]) -> None:
    from litdome.config import build_config, check_tables
    from litdome.pipeline import config_models

    models = config_models()
    check_tables(tables, [*models, "dataset", "relighter"])
    for name, model in models.items():
        build_config(model, name, tables)


def _region(crop: str) -> list[int]:
    parts = crop.split(",")
    if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
        raise UsageError(f"--crop {crop}: expected X0,Y0,X1,Y1", hint="--crop 0,0,3840,2160")
    return [int(part) for part in parts]


def _ingest(recording: Path, url: str, tables: dict[str, Any], executor: Executor, *, follow: bool = False) -> None:
    from litdome.following import follow_recording
    from litdome.pipeline import ingest_recording

    read = follow_recording if follow else ingest_recording
    with progress_bars() as progress, interruptible() as should_stop:
        record = read(recording, url, tables, executor=executor, progress=progress, should_stop=should_stop)
    if record is not None:
        say_warnings(record)
        _say_verdict(url)


def _say_verdict(url: str) -> None:
    """Is the take good? On stderr, while the subject is still on stage."""
    from litdome import open_session
    from litdome.report.verdict import verdict

    found = verdict(open_session(url))
    click.echo(found.headline, err=True)
    for trouble in found.troubles[1:]:
        click.echo(f"  {trouble.text}", err=True)


def _run_stages(
    url: str,
    names: list[str],
    tables: dict[str, Any],
    executor: Executor,
    *,
    cameras: str | None = None,
    pairs: str | None = None,
    keep_unset: bool = False,
) -> None:
    from litdome import open_session
    from litdome.pipeline import config_for, config_of_last_run, processing_stages, run_stage

    session = open_session(url, writable=True)
    select = _selection(session, cameras, pairs)
    stages = processing_stages()
    for name in names:
        settled = config_of_last_run(session, stages[name]) if keep_unset and name not in tables else None
        config = settled or config_for(stages[name], tables)
        with progress_bars() as progress, interruptible() as should_stop:
            record = run_stage(
                session,
                stages[name],
                config,
                select=select,
                executor=executor,
                progress=progress,
                should_stop=should_stop,
            )
        say_warnings(record)


def say_warnings(record: StageRecord) -> None:
    """The warnings of a stage's record, on stderr."""
    for warning in record.warnings:
        click.echo(f"litdome: {record.stage}: {warning}", err=True)


def _selection(session: Session, cameras: str | None, pairs: str | None) -> Selection:
    from litdome.pipeline import Selection

    ids = None if cameras is None else tuple(cameras.split(","))
    for id in ids or ():
        session.size(id)
    if pairs is None:
        return Selection(ids)
    start, colon, stop = pairs.partition(":")
    if not (colon and start.isdigit() and stop.isdigit()):
        raise UsageError(f"--pairs {pairs}: expected START:STOP", hint="--pairs 0:200")
    return Selection(ids, (int(start), int(stop)))


def _print_plan(
    source: str, session: str | None, stages: list[str], tables: dict[str, Any], dataset_path: Path | None
) -> None:
    from litdome import open_session
    from litdome.pipeline import config_for, processing_stages, session_exists, stage_status

    target = session or source
    opened = open_session(target) if session_exists(target) else None
    if session is not None:
        click.echo(f"ingest      {'to do' if opened is None else 'done'}")
    known = processing_stages()
    to_do: set[str] = set()
    for name in stages:
        config = config_for(known[name], tables) if name in tables else None
        is_done = opened is not None and stage_status(opened, known[name], config).state == "done"
        if not is_done or to_do & set(known[name].needs):
            to_do.add(name)
        click.echo(f"{name:<11} {'to do' if name in to_do else 'done'}")
    if dataset_path is not None:
        click.echo(f"dataset     {'exists' if dataset_path.exists() else 'to do'}")


COMMANDS = [synth, ingest, *(_stage_command(name, text) for name, text in STAGES.items()), run]

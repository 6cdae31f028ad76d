"""The command that calibrates a rig, checks a calibration, or places it anew in the world."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from litdome.cli.capture import read_tables, say_warnings
from litdome.cli.console import Stopped, interruptible, print_table, progress_bars, settings_options
from litdome.errors import UsageError

if TYPE_CHECKING:
    from litdome.calib.drift import Drift
    from litdome.store.provenance import StageRecord
    from litdome.store.session import Session

NO_WORLD = "none yet, no camera has a pose"
WORLDS = ("auto", "floor", "points", "cameras", "file")


@click.command()
@click.argument("session", type=str)
@click.option("--boards", type=click.Path(path_type=Path), help="Folder with board takes; default the recording's.")
@click.option("--intrinsics", type=str, help="Lenses from this file or session, poses from the boards.")
@click.option("--import", "import_file", type=str, help="Another program's file, or a session.")
@click.option("--board", metavar="KIND:COLUMNSxROWS:MM...", help="The board: charuco:9x7:100:75:DICT_4X4_100.")
@click.option("--model", type=click.Choice(["pinhole5", "pinhole8", "fisheye4"]), help="Lens model of all cameras.")
@click.option("--check", is_flag=True, help="Only look: was a lens knocked, can the rig be? Exit 1 with findings.")
@click.option("--align", is_flag=True, help="Only place the rig anew in the world (--world, --points).")
@click.option("--world", type=click.Choice(WORLDS), help="What says where up, floor and origin are.")
@click.option("--points", type=click.Path(path_type=Path), help="TOML file of marked points.")
@settings_options
def calibrate(
    session: str,
    boards: Path | None,
    intrinsics: str | None,
    import_file: str | None,
    board: str | None,
    model: str | None,
    check: bool,
    align: bool,
    world: str | None,
    points: Path | None,
    config_file: Path | None,
    assignments: tuple[str, ...],
) -> int:
    """Lenses and poses of all cameras, from board takes or from a file; docs/calibration.md explains every number.

    A SESSION that does not exist yet becomes one that holds only the rig: calibrate in the morning, and import it
    into the day's takes.

    Example: litdome calibrate rig.zarr --boards boards && litdome calibrate take01.zarr --import rig.zarr
    """
    if check and align:
        raise UsageError("--check and --align exclude each other", hint="give one of them")
    source = {
        "boards_dir": boards and str(boards),
        "intrinsics_file": intrinsics,
        "import_file": import_file,
        "board": board,
        "model": model,
    }
    given = {key: value for key, value in source.items() if value is not None}
    placed = {key: value for key, value in {"world": world, "world_points": points and str(points)}.items() if value}
    if check:
        if given or placed or assignments:
            raise UsageError("--check takes no other option: it changes nothing", hint=f"litdome calibrate {session}")
        return _check(session)
    if import_file is not None and (boards is not None or intrinsics is not None):
        raise UsageError("--import and --boards exclude each other", hint="--boards DIR --intrinsics FILE")
    if model is not None and (import_file is not None or intrinsics is not None):
        raise UsageError("--model is for lenses from boards, not from a file", hint="leave out --model")
    if import_file is not None:
        given["source"] = "import"
    elif boards is not None:
        given["source"] = "boards"
    tables = read_tables(session, config_file, assignments)
    if align:
        if given:
            raise UsageError(f"--align keeps how {session} was calibrated", hint="leave out --align to calibrate anew")
        given = _settings_to_keep(session)
    tables["calibrate"] = {**tables.get("calibrate", {}), **given, **placed}
    record = _calibrate(session, tables)
    say_warnings(record)
    _say_calibration(session, record)
    click.echo(session)
    return 0


def _calibrate(url: str, tables: dict[str, Any]) -> StageRecord:
    from litdome import open_session
    from litdome.calib.stage import Calibrate
    from litdome.pipeline import calibrate_new_rig, config_for, run_stage, session_exists

    typed = click.get_current_context().find_root().obj["typed"]
    with progress_bars() as bars, interruptible() as should_stop:

        def progress(what: str, done: int, total: int) -> None:
            bars(what, done, total)
            if should_stop():
                raise Stopped("stopped; nothing was changed", hint=typed)

        named = tables.get("calibrate", {})
        if not session_exists(url) and (named.get("boards_dir") or named.get("import_file")):
            return calibrate_new_rig(url, tables, progress=progress)
        stage = Calibrate(progress)
        return run_stage(open_session(url, writable=True), stage, config_for(stage, tables))


def _settings_to_keep(url: str) -> dict[str, Any]:
    """Those that the session was calibrated with, but for where its world comes from."""
    from litdome import open_session
    from litdome.calib.settings import WORLD_SETTINGS
    from litdome.calib.stage import Calibrate
    from litdome.pipeline import config_of_last_run

    config = config_of_last_run(open_session(url), Calibrate())
    if config is None:
        raise UsageError(f"{url}: not calibrated by this version yet", hint=f"litdome calibrate {url}")
    return {key: value for key, value in config.recorded().items() if key not in WORLD_SETTINGS}


def _say_calibration(url: str, record: StageRecord) -> None:
    """Camera by camera, then over all: what was found and how well it is known."""
    from litdome import open_session

    opened = open_session(url)
    print_table(
        ["camera", "size", "f px", "RMS px", "views", "left out", "refined", "weakly seen"], _rows(opened, record)
    )
    summary = record.summary
    numbers = {
        "held-out": ("held_out_rms_px", "px"),
        "without the worst 2.5 %": ("trimmed_rms_px", "px"),
        "all corners": ("all_rms_px", "px"),
        "board's pair distances": ("pair_distance_mm", "mm"),
    }
    said = [f"{name} {summary[key]:.3f} {unit}" for name, (key, unit) in numbers.items() if key in summary]
    click.echo(", ".join([str(summary["source"]), *said]))
    click.echo(f"world: {summary.get('world', NO_WORLD)}")


def _rows(session: Session, record: StageRecord) -> list[list[object]]:
    summary, deviations = record.summary, session.read("rig/intrinsics_std")
    left_out = Counter(id for id, _ in summary.get("views_left_out", ()))
    rows = []
    for n, camera in enumerate(session.lenses.cameras):
        deviation = f" ± {deviations[n, 0]:.2f}" if deviations[n, 0] == deviations[n, 0] else ""
        rows.append(
            [
                camera.id,
                f"{camera.width}x{camera.height}",
                f"{camera.intrinsics[0, 0]:.1f}{deviation}",
                f"{summary['rms_px'][n]:.3f}" if "rms_px" in summary else "-",
                summary.get("views", {}).get(camera.id, "-"),
                left_out[camera.id] if "views" in summary else "-",
                *(" ".join(summary.get(key, {}).get(camera.id, ())) or "-" for key in ("freed", "weak")),
            ]
        )
    return rows


def _check(url: str) -> int:
    """What looks wrong with a calibrated session: its rig, and lenses knocked during the take."""
    from litdome import open_session
    from litdome.calib.drift import check_drift
    from litdome.calib.rig_check import check_lenses, check_rig, lens_problem
    from litdome.calib.stage import NO_POSES

    opened = open_session(url)
    has_poses = opened.has("rig/world_from_camera")
    rig = opened.rig if has_poses else opened.lenses
    problems = [f"{camera.id}: {problem}" for camera in rig.cameras if (problem := lens_problem(camera)) is not None]
    findings = problems or (check_rig(rig) if has_poses else [*check_lenses(rig), NO_POSES])
    for finding in findings:
        click.echo(finding)
    drifts: tuple[Drift, ...] = ()
    if not opened.is_rig_only:
        with progress_bars() as progress:
            drifts = check_drift(opened, progress=progress)
    for drift in drifts:
        click.echo(drift.text)
    count = len(findings) + sum(drift.frame is not None for drift in drifts)
    click.echo(f"{url}: {count} finding{'' if count == 1 else 's'}")
    return 1 if count else 0


COMMANDS = [calibrate]

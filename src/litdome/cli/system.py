"""Commands about the installation: demo, doctor, config."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from litdome.cli.console import json_option, print_json, print_table
from litdome.errors import UsageError


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default="demo")
@click.option("--pairs", default=32, show_default=True, help="Flat/relit pairs of the simulated take.")
@click.option("--cameras", default=6, show_default=True, help="Cameras of the simulated stage.")
@click.option("--steps", default=400, show_default=True, help="Training steps of the LoRA.")
def demo(folder: Path, pairs: int, cameras: int, steps: int) -> None:
    """The whole way on a simulated take, ending in a report to open; run again, it does only what is missing.

    Example: litdome demo demo
    """
    from litdome.cli.walk import walk_demo

    click.echo(str(walk_demo(folder, cameras=cameras, pairs=pairs, steps=steps)))


@click.command()
@json_option
def doctor(as_json: bool) -> int:
    """Is this installation whole? Exit 1 with findings.

    Example: litdome doctor
    """
    from litdome.report.doctor import examine

    findings = examine()
    if as_json:
        print_json({"checks": [asdict(finding) for finding in findings], "ok": all(f.ok for f in findings)})
    else:
        print_table(["check", "ok", "found"], [[f.name, "yes" if f.ok else "NO", f.found] for f in findings])
        for finding in findings:
            if not finding.ok:
                click.echo(f"{finding.name}: {finding.hint}")
    return 0 if all(finding.ok for finding in findings) else 1


@click.group()
def config() -> None:
    """Settings: show defaults, check a file."""


@config.command("show")
@click.argument("stage", required=False)
def config_show(stage: str | None) -> None:
    """Settings of a stage (or all) with their defaults and meaning, as TOML.

    Example: litdome config show align
    """
    from litdome.config import describe_config, nearest
    from litdome.pipeline import config_models

    models = config_models()
    if stage is not None and stage not in models:
        raise UsageError(f"no stage {stage}", hint=nearest(stage, models))
    for name, model in models.items():
        if stage in (None, name):
            click.echo(describe_config(name, model))


@config.command("check")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def config_check(file: Path) -> None:
    """Check a settings file.

    Example: litdome config check litdome.toml
    """
    from litdome.cli.capture import read_tables

    read_tables(None, file, ())
    click.echo(f"{file}: fine")


COMMANDS = [demo, doctor, config]

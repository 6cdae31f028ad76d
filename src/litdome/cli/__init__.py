"""The ``litdome`` command: the only place that catches errors, prints and exits."""

from __future__ import annotations

import json
import logging
import shlex
import sys
import traceback
from pathlib import Path

import click

from litdome import __version__
from litdome.cli import (
    calibrate,
    capture,
    color,
    dataset,
    evaluate,
    import_capture,
    lights,
    pairs,
    plan,
    plugin,
    relight,
    review,
    rig,
    session,
    store,
    system,
    training,
    weights,
    withdraw,
)
from litdome.errors import LitdomeError

BUG, INTERRUPTED = 70, 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
@click.option("--log", "log_file", type=click.Path(dir_okay=False, path_type=Path), help="Write a log to FILE.")
@click.version_option(__version__, prog_name="litdome")
@click.pass_context
def cli(context: click.Context, verbose: bool, quiet: bool, log_file: Path | None) -> None:
    """From light-stage recordings to relightable avatars."""
    context.obj["quiet"] = quiet
    level = logging.DEBUG if verbose else logging.WARNING
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if log_file is not None:
        handlers.append(logging.FileHandler(log_file))
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", handlers=handlers)


for _topic in (
    *(plan, import_capture, capture, calibrate, rig, color, lights, session, pairs, review, store),
    *(dataset, plugin, weights, training, relight, evaluate, withdraw, system),
):
    for _command in _topic.COMMANDS:
        cli.add_command(_command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with the contract's code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    sys.exit(run(arguments))


def run(arguments: list[str]) -> int:
    """Run the command line; gives the exit code. An error is one line on stderr (and one object with ``--json``)."""
    try:
        typed = {"typed": shlex.join(["litdome", *arguments])}
        result = cli.main(args=arguments, prog_name="litdome", standalone_mode=False, obj=typed)
        return result if isinstance(result, int) else 0
    except LitdomeError as error:
        _say(error.code, error.message, error.hint, arguments)
        return error.exit_code
    except click.exceptions.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f"{context.command_path} --help" if context else None
        _say("usage", error.format_message().replace("\n", " "), hint, arguments)
        return 2
    except KeyboardInterrupt:
        click.echo("litdome: stopped; run the same command again to go on", err=True)
        return INTERRUPTED
    except OSError as error:
        if error.filename is None:
            return _bug(error)
        _say("disk", f"{error.filename}: {error.strerror}", None, arguments)
        return 5
    except Exception as error:
        return _bug(error)


def _say(code: str, message: str, hint: str | None, arguments: list[str]) -> None:
    if "--json" in arguments:
        click.echo(json.dumps({"error": {"code": code, "message": message, "hint": hint}}))
    click.echo(f"litdome: {message}" + (f"; try: {hint}" if hint else ""), err=True)


def _bug(error: BaseException) -> int:
    log = Path.cwd() / "litdome-error.log"
    text = "".join(traceback.format_exception(error))
    try:
        log.write_text(text)
        where = f"the traceback is in {log}"
    except OSError:
        where = text
    click.echo(f"litdome: a bug: {type(error).__name__}: {error}; {where}", err=True)
    return BUG

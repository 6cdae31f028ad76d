"""Commands about training plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from litdome.cli.console import print_table
from litdome.errors import MissingPackageError

if TYPE_CHECKING:
    from litdome.train_plugins.protocol import Trainer


@click.group()
def plugin() -> None:
    """Training plugins: list, show their settings, check."""


@plugin.command("list")
def plugin_list() -> None:
    """Installed training plugins.

    Example: litdome plugin list
    """
    from litdome.train_plugins.registry import list_plugins

    print_table(["plugin", "summary"], [[found.name, found.summary or found.problem] for found in list_plugins()])


@plugin.command("config")
@click.argument("name")
def plugin_config(name: str) -> None:
    """A plugin's settings with their defaults, as TOML.

    Example: litdome plugin config relighter > relighter.toml
    """
    import tomli_w

    config = load_plugin(name).Config()
    click.echo(tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)), nl=False)


@plugin.command("check")
@click.argument("name")
def plugin_check(name: str) -> int:
    """Run the conformance kit on a plugin; exit 1 with findings.

    Example: litdome plugin check relighter
    """
    from litdome.train_plugins.checks import check_plugin

    findings = check_plugin(name)
    for finding in findings:
        click.echo(finding)
    click.echo(f"{name}: {len(findings)} findings")
    return 1 if findings else 0


def load_plugin(name: str) -> Trainer:
    """The trainer called ``name``, with its packages there.

    Raises:
        UsageError: No such plugin.
        MissingPackageError: One of its packages is not installed.
    """
    from importlib.util import find_spec

    from litdome.train_plugins.registry import load_trainer

    trainer = load_trainer(name)
    missing = [package for package in trainer.packages if find_spec(package) is None]
    if missing:
        raise MissingPackageError(f"{name} needs {', '.join(missing)}", hint="pip install 'litdome[train]'")
    return trainer


COMMANDS = [plugin]

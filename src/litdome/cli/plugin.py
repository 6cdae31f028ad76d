"""Commands about training plugins and the weights that they start from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from litdome.cli.console import json_option, print_json, print_table
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


@click.group()
def weights() -> None:
    """Weights: compare this machine's numbers with NVIDIA's code."""


@weights.command("parity")
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
def weights_parity(folder: Path, as_json: bool) -> int:
    """Run network, sampler, conditions and environment maps against recorded numbers; exit 1 above tolerance.

    Example: litdome weights parity fixtures/relighter --json
    """
    from litdome.train_plugins.relighter.parity import parity

    found = parity(folder)
    if as_json:
        print_json({"max_abs_diff": found.max_abs_diff, "mean_abs_diff": found.mean_abs_diff})
    else:
        rows = [[k, f"{v:.2e}", f"{found.mean_abs_diff[k]:.2e}"] for k, v in found.max_abs_diff.items()]
        print_table(["part", "worst", "mean"], rows)
    return 0 if found.within_tolerance else 1


COMMANDS = [plugin, weights]

"""Which training plugins are installed: every package may add one to the entry-point group ``litdome.trainers``."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from litdome.config import nearest
from litdome.errors import PluginError, UsageError
from litdome.train_plugins.protocol import CONTRACT, ENTRY_POINT_GROUP, Trainer

_ATTRIBUTES = ("name", "summary", "contract", "needs", "packages", "Config", "check", "fit", "load")


@dataclass(frozen=True)
class Plugin:
    """What is known of a plugin without running it.

    Attributes:
        name: Name of its entry point.
        package: Distribution that it came with.
        summary: Its own words; empty where it is broken.
        problem: Why it cannot be used; empty where it can.
    """

    name: str
    package: str
    summary: str
    problem: str


def list_plugins() -> list[Plugin]:
    """All installed plugins by name; a broken one is listed with its problem and breaks nothing else."""
    return [_describe(entry) for entry in sorted(_entries(), key=lambda entry: entry.name)]


def load_trainer(name: str) -> Trainer:
    """A new trainer.

    Raises:
        UsageError: No plugin of that name.
        PluginError: The plugin is broken or keeps another contract.
    """
    found = {entry.name: entry for entry in _entries()}
    if name not in found:
        raise UsageError(f"no plugin {name}", hint=nearest(name, found) if found else "pip install litdome")
    return _load(found[name])


def _entries() -> list[EntryPoint]:
    return list(entry_points(group=ENTRY_POINT_GROUP))


def _describe(entry: EntryPoint) -> Plugin:
    package = entry.dist.name if entry.dist is not None else ""
    try:
        return Plugin(entry.name, package, str(_load(entry).summary), "")
    except PluginError as error:
        return Plugin(entry.name, package, "", error.message)


def _load(entry: EntryPoint) -> Trainer:
    try:
        trainer = entry.load()()
    except Exception as error:  # someone else's code: whatever it raises, the plugin is broken
        raise PluginError(
            f"plugin {entry.name} ({entry.value}): broken: {type(error).__name__}: {error}",
            hint=f"pip install --upgrade {entry.dist.name if entry.dist is not None else entry.name}",
        ) from error
    missing = [attribute for attribute in _ATTRIBUTES if not hasattr(trainer, attribute)]
    if missing:
        raise PluginError(f"plugin {entry.name} ({entry.value}): broken: has no {', '.join(missing)}")
    if trainer.contract != CONTRACT:
        raise PluginError(
            f"plugin {entry.name}: contract {trainer.contract}, this litdome keeps {CONTRACT}",
            hint=f"pip install --upgrade litdome {entry.name}",
        )
    return cast(Trainer, trainer)

"""Plugins come in by entry points; a broken one breaks nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from litdome.errors import PluginError, UsageError
from litdome.train_plugins.registry import list_plugins, load_trainer


def install(folder: Path, module: str, body: str) -> None:
    """A package with a plugin, as pip would leave it."""
    (folder / f"{module}.py").write_text(body)
    about = folder / f"{module}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[litdome.trainers]\n{module} = {module}:Trainer\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


def test_the_relighter_is_listed_and_loads() -> None:
    found = {plugin.name: plugin for plugin in list_plugins()}
    assert found["relighter"].package == "litdome" and not found["relighter"].problem
    assert load_trainer("relighter").name == "relighter"


def test_a_broken_plugin_is_listed_with_its_reason(site: Path) -> None:
    install(site, "dome_broken", "import no_such_module_anywhere")
    found = {plugin.name: plugin for plugin in list_plugins()}
    assert "no_such_module_anywhere" in found["dome_broken"].problem
    assert not found["relighter"].problem
    with pytest.raises(PluginError, match="broken"):
        load_trainer("dome_broken")


def test_another_contract_and_missing_methods_are_refused(site: Path) -> None:
    members = "name = summary = 'x'; contract = {}; needs = packages = (); Config = dict; check = fit = load = None\n"
    install(site, "dome_newer", f"class Trainer:\n    {members.format(2)}")
    install(site, "dome_partial", "class Trainer:\n    name = 'x'\n")
    problems = {plugin.name: plugin.problem for plugin in list_plugins()}
    assert "contract 2" in problems["dome_newer"]
    assert "has no summary" in problems["dome_partial"]


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        load_trainer("relighte")
    assert "relighter" in (caught.value.hint or "")

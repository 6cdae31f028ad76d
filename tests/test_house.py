"""The rules of the house: who imports whom, what ``--help`` costs, what the docs say."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from litdome.cli import cli

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "litdome"
FOUNDATION = {"errors", "config", "progress", "geometry", "lighting", "color", "pairs", "media", "template"}
FOUNDATION |= {"compute", "cluster", "consent", "camera_formats", "weights"}
UNDER_STORE = FOUNDATION | {"stage"}
STEPS = {"capture", "calib", "preprocess", "synth"}
ALLOWED = {
    **{room: FOUNDATION for room in FOUNDATION},
    "stage": FOUNDATION,
    "store": UNDER_STORE,
    **{room: UNDER_STORE | {"store"} for room in STEPS},
    "pipeline": UNDER_STORE | {"store"} | STEPS,
    "datasets": UNDER_STORE | {"store"},
    "train_plugins": FOUNDATION | {"datasets"},
    "web": UNDER_STORE | {"store"},
    "report": UNDER_STORE | {"store", "datasets", "pipeline", "train_plugins"},
}
HEAVY = {"torch", "diffusers", "transformers", "open3d", "mediapipe", "face_alignment", "peft"}
NOT_FOR_HELP = {"torch", "cv2", "zarr", "dask", "av", "numpy", "scipy"}


def rooms_imported(source: str) -> Iterator[str]:
    """Rooms of litdome that a module's source imports anywhere (relative imports are not used here)."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [
                f"{node.module}.{alias.name}" if node.module == "litdome" else str(node.module) for alias in node.names
            ]
        for name in names:
            parts = name.split(".")
            if parts[0] == "litdome" and len(parts) > 1 and parts[1] not in ("__version__", "LitdomeError"):
                yield parts[1]


def violations(room: str, source: str) -> list[str]:
    """Rooms that ``source``, a module of ``room``, may not import."""
    if room not in ALLOWED:
        return []
    return sorted({found for found in rooms_imported(source) if found != room and found not in ALLOWED[room]})


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_run_downward(path: Path) -> None:
    room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    assert violations(room, path.read_text()) == []


def test_the_import_rule_bites() -> None:
    assert violations("preprocess", "from litdome.calib.stage import Calibrate") == ["calib"]
    assert violations("train_plugins", "def f():\n    import litdome.store.session") == ["store"]
    assert violations("geometry", "from litdome import store") == ["store"]
    assert violations("datasets", "from litdome.store.session import Session") == []
    assert violations("web", "from litdome.report.sheets import shrink") == ["report"]


def top_level_imports(source: str) -> set[str]:
    """Packages imported when the module is imported (not in functions, not under TYPE_CHECKING)."""
    found: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_heavy_packages_stay_out_of_the_foundation_and_the_steps() -> None:
    assert top_level_imports("import torch.nn\ndef f():\n    import peft") == {"torch"}
    model_only = {SOURCE / "train_plugins" / "relighter", SOURCE / "preprocess" / "raft"}
    for path in modules():
        if not model_only & set(path.parents):
            assert not top_level_imports(path.read_text()) & HEAVY, path


def test_no_vague_module_names() -> None:
    vague = {"utils", "helpers", "common", "core", "base", "manager"}
    assert not [path for path in modules() if path.stem in vague]


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from litdome.cli import run; run(['--help']); print(sorted(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = {name.strip("'[] ").split(".")[0] for name in out.splitlines()[-1].split(",")}
    assert "click" in loaded and not loaded & NOT_FOR_HELP


def commands(group: click.Group, prefix: str = "litdome") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        path = f"{prefix} {name}"
        if isinstance(command, click.Group):
            yield from commands(command, path)
        else:
            yield path, command


@pytest.mark.parametrize(
    ("path", "command"), list(commands(cli)), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_command_has_help_an_example_and_a_line_in_the_docs(path: str, command: click.Command) -> None:
    assert command.help and f"Example: {path}" in command.help
    assert f"`{path}" in (ROOT / "docs" / "commands.md").read_text()
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path} {parameter.name}"


def test_docs_name_no_command_that_is_not_there() -> None:
    known = {path for path, _ in commands(cli)}
    text = (ROOT / "docs" / "commands.md").read_text()
    for line in text.splitlines():
        if line.startswith("| `litdome "):
            words = line.split("`")[1].split()
            assert " ".join(words[:2]) in known or " ".join(words[:3]) in known, line


def test_stage_names_are_the_same_everywhere() -> None:
    from litdome.pipeline import ORDER, config_models, processing_stages, side_stages

    assert list(config_models()) == [*ORDER, *side_stages()]
    assert list(processing_stages()) == list(ORDER[1:])
    assert {*ORDER, *side_stages()} <= set(cli.commands)

"""What is where: there, missing, damaged; and what to do about it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from litdome.cli import run
from litdome.weights import PUBLISHED, SHIPPED_BASE, Weights, look_for_weights


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LITDOME_WEIGHTS", str(tmp_path))
    return tmp_path


def state_of(name: str) -> tuple[str, str]:
    found = look_for_weights((name,), whole=True)[0]
    return found.state, found.detail


def test_of_an_empty_folder_all_but_the_shipped_base_is_missing(folder: Path) -> None:
    states = {found.weights.name: found.state for found in look_for_weights(whole=True)}
    assert states.pop("tiny") == "there"
    assert set(states.values()) == {"missing"}


def test_every_set_has_a_licence_a_way_to_get_it_and_a_command_that_uses_it(folder: Path) -> None:
    for found in look_for_weights():
        assert found.weights.licence and found.weights.use
        for text in (found.weights.get, found.weights.say):
            assert "{" not in text.format(path=found.path, parent=found.path.parent)
        assert found.weights.say.startswith("litdome ")
        assert found.weights.shipped or "{path}" in found.weights.get


def test_a_file_of_another_hash_is_damaged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"weights of a network"
    start = hashlib.sha256(content).hexdigest()[:8]
    made = Weights("net.pth", "a test", "none", "{path}", "litdome {path}", start)
    monkeypatch.setattr("litdome.weights.PUBLISHED", (*PUBLISHED, made))
    (folder / "net.pth").write_bytes(content)
    assert state_of("net.pth")[0] == "there"
    (folder / "net.pth").write_bytes(content[:-1])
    assert state_of("net.pth")[0] == "damaged"


@pytest.mark.parametrize("content", [b"<!DOCTYPE html>", b"PK\x03\x04 cut"])
def test_a_page_and_a_cut_file_are_damaged(folder: Path, content: bytes) -> None:
    (folder / "alex.pth").write_bytes(content)
    assert state_of("alex.pth")[0] == "damaged"


def test_a_hub_folder_needs_its_configuration_and_whole_tensors(folder: Path) -> None:
    hub = folder / "sapiens2-seg-0.4b"
    hub.mkdir()
    assert state_of(hub.name) == ("damaged", "no config.json in it")
    (hub / "config.json").write_text("{}")
    save_file({"a": torch.zeros(100)}, hub / "model.safetensors")
    assert state_of(hub.name)[0] == "there"
    (hub / "model.safetensors").write_bytes((hub / "model.safetensors").read_bytes()[:-1])
    assert state_of(hub.name) == ("damaged", "model.safetensors is cut short")


def test_one_changed_byte_of_a_base_is_found(folder: Path) -> None:
    base = shutil.copytree(SHIPPED_BASE, folder / "cosmos-7b")
    assert state_of("cosmos-7b")[0] == "there"
    file = next(base.rglob("*.safetensors"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert "sha256" in state_of("cosmos-7b")[1]
    file.unlink()
    assert "is missing" in state_of("cosmos-7b")[1]


def test_doctor_exits_1_and_says_what_to_type(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["-q", "weights", "doctor", "tiny"]) == 0
    assert run(["-q", "weights", "doctor"]) == 1
    assert f"litdome weights convert forward/model.pt --tokenizer tokenizer --dtype bfloat16 -o {folder}/cosmos-7b" in (
        capsys.readouterr().out
    )
    assert run(["-q", "weights", "doctor", "cosmos-8b"]) == 2


def test_list_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["weights", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["weights"]}
    assert rows["cosmos-7b"]["state"] == "missing" and "NVIDIA" in rows["cosmos-7b"]["licence"]
    assert rows["tiny"]["state"] == "there" and rows["tiny"]["bytes"] > 1_000_000

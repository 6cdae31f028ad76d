"""The port against numbers from the original program, and against broken copies of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from litdome.errors import InputError, MissingWeightsError
from litdome.train_plugins.relighter.parity import PARTS, parity


def test_every_part_agrees_with_the_original(relighter_fixture: Path) -> None:
    report = parity(relighter_fixture)
    assert set(report.max_abs_diff) == set(report.mean_abs_diff) == set(PARTS)
    assert report.within_tolerance
    assert report.max_abs_diff["network"] < 2e-5  # float32 rounding of outputs with a spread of 1.7
    assert report.max_abs_diff["conditions"] == 0


def test_a_missing_file_leaves_its_part_out(relighter_fixture: Path, tmp_path: Path) -> None:
    shutil.copy(relighter_fixture / "conditions.safetensors", tmp_path)
    assert list(parity(tmp_path).max_abs_diff) == ["conditions"]


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError):
        parity(tmp_path)


@pytest.mark.parametrize("wrong", [1e-3, float("nan")])
def test_wrong_numbers_are_noticed(relighter_fixture: Path, tmp_path: Path, wrong: float) -> None:
    numbers = load_file(relighter_fixture / "conditions.safetensors")
    numbers["latent_condition"][0, 20, 0, 0, 0] += wrong
    save_file(numbers, tmp_path / "conditions.safetensors")
    assert not parity(tmp_path).within_tolerance


def test_swapped_weights_are_noticed(relighter_fixture: Path, tmp_path: Path) -> None:
    state = torch.load(relighter_fixture / "model.pt", weights_only=True)
    first, second = (f"net.blocks.block{i}.blocks.2.block.layer1.weight" for i in (0, 1))
    state[first], state[second] = state[second], state[first]
    torch.save(state, tmp_path / "model.pt")
    shutil.copy(relighter_fixture / "net_io_single.safetensors", tmp_path)
    report = parity(tmp_path)
    assert list(report.max_abs_diff) == ["network_single"]
    assert report.max_abs_diff["network_single"] > 1e-2


def test_a_foreign_checkpoint_names_the_tensor(relighter_fixture: Path, tmp_path: Path) -> None:
    state = torch.load(relighter_fixture / "model.pt", weights_only=True)
    torch.save(state | {"net.context_embedding.weight": torch.zeros(16, 24)}, tmp_path / "model.pt")
    shutil.copy(relighter_fixture / "net_io.safetensors", tmp_path)
    with pytest.raises(InputError, match="context_embedding"):
        parity(tmp_path)

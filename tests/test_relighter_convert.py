"""Names and shapes of converted checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from litdome.errors import InputError
from litdome.train_plugins.relighter.convert import check_state, convert_network_state, network_shape
from litdome.train_plugins.relighter.network import NetworkShape, build_network


def test_the_released_7b_layout_fits_the_diffusers_model(relighter_fixture: Path) -> None:
    shapes = json.loads((relighter_fixture / "keys_7b.json").read_text())
    state = convert_network_state({key: torch.empty(shape, device="meta") for key, shape in shapes.items()})
    shape = network_shape(state)
    assert shape == NetworkShape(channels=16, heads=32, head_dim=128, blocks=28, adaln_dim=256, context_dim=1024)
    with torch.device("meta"):
        check_state(state, build_network(shape).state_dict(), "7B")


def test_a_tensor_of_another_shape_is_named() -> None:
    state = build_network(NetworkShape(4, 2, 12, 1, 4, 0, (8, 16, 16))).state_dict()
    wrong = state | {"proj_out.weight": torch.zeros(3, 3)}
    with pytest.raises(InputError, match=r"proj_out\.weight has shape \(3, 3\)"):
        check_state(wrong, state, "base")

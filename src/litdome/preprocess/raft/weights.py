"""Published weights of RAFT, read by the names that their authors or torchvision gave them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from litdome.errors import ConfigError, InputError, MissingWeightsError
from litdome.preprocess.raft.network import LARGE, SMALL, SMALLEST_PX, STEP, Raft
from litdome.stage import UInt8Array

Float32Array = npt.NDArray[np.float32]
HINT = (
    "download raft_large_C_T_SKHT_V2-ff5fadd5.pth or raft_small_C_T_V2-01064c6d.pth from "
    "https://download.pytorch.org/models/ (BSD-3-Clause), or take raft-things.pth of princeton-vl/RAFT (BSD-3-Clause); "
    "--set flow.weights=FILE"
)
Names = Sequence[tuple[str, str]]
TORCHVISION: Names = (
    (r"^feature_encoder\.", "features."),
    (r"^context_encoder\.", "context."),
    (r"\bconvnormrelu\.", "stem."),
    (r"convnormrelu([123])\.", r"steps.\1."),
    (r"^((?:features|context)\.)conv\.", r"\1last."),
    (r"^update_block\.motion_encoder\.convcorr([12])\.0\.", r"correlation.\1."),
    (r"^update_block\.motion_encoder\.convflow([12])\.0\.", r"motion.\1."),
    (r"^update_block\.motion_encoder\.conv\.0\.", "joined.1."),
    (r"^update_block\.recurrent_block\.convgru([12])\.conv([zrq])\.", r"memory.\1.\2."),
    (r"^update_block\.flow_head\.conv([12])\.", r"head.\1."),
    (r"^mask_predictor\.convrelu\.0\.", "upsampling.1."),
    (r"^mask_predictor\.conv\.", "upsampling.2."),
)
AUTHORS: Names = (
    (r"^module\.", ""),  # saved from several GPUs
    (r"^fnet\.", "features."),
    (r"^cnet\.", "context."),
    (r"^((?:features|context)\.)conv1\.", r"\1stem.0."),
    (r"^((?:features|context)\.)norm1\.", r"\1stem.1."),
    (r"^((?:features|context)\.)conv2\.", r"\1last."),
    (r"(layer\d\.\d\.)conv([123])\.", r"\1steps.\2.0."),
    (r"(layer\d\.\d\.)norm([12])\.", r"\1steps.\2.1."),
    (r"^update_block\.encoder\.convc([12])\.", r"correlation.\1."),
    (r"^update_block\.encoder\.convf([12])\.", r"motion.\1."),
    (r"^update_block\.encoder\.conv\.", "joined.1."),
    (r"^update_block\.gru\.conv([zrq])([12])\.", r"memory.\2.\1."),
    (r"^update_block\.gru\.conv([zrq])\.", r"memory.1.\1."),
    (r"^update_block\.flow_head\.conv([12])\.", r"head.\1."),
    (r"^update_block\.mask\.0\.", "upsampling.1."),
    (r"^update_block\.mask\.2\.", "upsampling.2."),
)
GATES = {"z": "update", "r": "reset", "q": "propose"}
IGNORED = re.compile(r"num_batches_tracked$|\.layer\d\.0\.norm3\.")  # a counter; what downsample.1 holds once more


def own_name(name: str, names: Names) -> str:
    """The name of a tensor in `litdome.preprocess.raft.network`; as it came where ``names`` know nothing of it."""
    for pattern, replacement in names:
        name = re.sub(pattern, replacement, name)
    name = re.sub(r"layer(\d)\.(\d)\.", lambda m: f"blocks.{2 * (int(m[1]) - 1) + int(m[2])}.", name)
    name = name.replace(".downsample.", ".shortcut.")
    name = re.sub(r"\bsteps\.(\d)", lambda m: f"steps.{int(m[1]) - 1}", name)
    name = re.sub(r"^memory\.(\d)\.([zrq])", lambda m: f"memory.{int(m[1]) - 1}.{GATES[m[2]]}", name)
    return re.sub(
        r"^(correlation|motion|joined|head|upsampling)\.([12])", lambda m: f"{m[1]}.{2 * (int(m[2]) - 1)}", name
    )


class RaftFlow:
    """A network with its weights."""

    def __init__(self, network: Raft, device: str) -> None:
        """``network``: from `load_raft`, on ``device``."""
        self._network, self.device = network, device

    def __call__(
        self, picture: UInt8Array, other: UInt8Array, corrections: int = 20
    ) -> tuple[Float32Array, Float32Array]:
        """Dense motion between two pictures, both ways.

        Args:
            picture, other: RGB, shape (y, x, 3).
            corrections: How often the motion is corrected; the authors take 20 for films.

        Returns:
            Forward (``picture`` to ``other``) and backward, each shape (y, x, 2), px, x before y.
        """
        height, width = picture.shape[:2]
        both = torch.from_numpy(np.stack([picture, other])).to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        right, below = (max(-n % STEP, SMALLEST_PX - n) for n in (width, height))
        padded = functional.pad(both, (0, right, 0, below), mode="replicate")
        with torch.inference_mode():
            flow = self._network(padded, corrections)[:, :, :height, :width].permute(0, 2, 3, 1).cpu().numpy()
        return np.ascontiguousarray(flow[0]), np.ascontiguousarray(flow[1])


def load_raft(weights: Path, *, device: str = "auto") -> RaftFlow:
    """The network whose weights a file holds, large or small.

    Args:
        weights: Of torchvision (raft_large, raft_small) or of the authors (raft-things.pth and others).
        device: As torch names it; ``auto`` is the GPU where there is one.

    Raises:
        ConfigError: torch knows no such device.
        InputError: Weights of something else, or some missing.
        MissingWeightsError: No such file.
    """
    if not weights.is_file():
        raise MissingWeightsError(f"{weights}: no such file, and RAFT needs its weights", hint=HINT)
    place = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    network = Raft(SMALL)
    state = _read(weights)
    names = TORCHVISION if any(name.startswith("feature_encoder.") for name in state) else AUTHORS
    renamed = {own_name(name, names): tensor for name, tensor in state.items() if not IGNORED.search(name)}
    if any(name.startswith("upsampling.") for name in renamed):
        network = Raft(LARGE)
    _check(weights, network, renamed)
    network.load_state_dict(renamed, strict=False)  # all but the counters
    try:
        return RaftFlow(network.eval().requires_grad_(False).to(place), place)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"flow.device = {device}: {str(error).splitlines()[0]}", hint="cpu or cuda") from error


def _read(weights: Path) -> dict[str, Tensor]:
    try:
        state: Any = torch.load(weights, map_location="cpu", weights_only=True)
    except (RuntimeError, UnpicklingError, EOFError, ValueError) as error:
        raise InputError(f"{weights}: no weights, or more than weights: not opened", hint=HINT) from error
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise InputError(f"{weights}: no table of weights by name", hint=HINT)
    return state


def _check(weights: Path, network: Raft, state: dict[str, Tensor]) -> None:
    """Raises InputError unless ``state`` is the network's, tensor by tensor."""
    wanted = {name: tensor.shape for name, tensor in network.state_dict().items() if not IGNORED.search(name)}
    faults = (
        ("of the network are not in it", sorted(wanted.keys() - state.keys())),
        ("are not the network's", sorted(state.keys() - wanted.keys())),
        ("have another shape", sorted(n for n in wanted.keys() & state.keys() if wanted[n] != state[n].shape)),
    )
    for what, names in faults:
        if names:
            raise InputError(f"{weights}: no weights of RAFT: {len(names)} {what}, {names[0]} among them", hint=HINT)

"""What moves the weights, and how its state travels through checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.parallel import like


def build_optimizers(weights: Mapping[str, nn.Parameter], config: RelighterConfig) -> list[Optimizer]:
    """AdamW for everything, or Muon for the matrices inside the blocks and AdamW for the rest."""
    inside = {name: value for name, value in weights.items() if value.ndim == 2 and "transformer_blocks" in name}
    muon = inside if config.optimizer == "muon" else {}
    rest = [value for name, value in weights.items() if name not in muon]
    decay = config.weight_decay
    made: list[Optimizer] = [torch.optim.AdamW(rest, lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=decay)]
    if muon:
        matrices = list(muon.values())
        made.append(
            torch.optim.Muon(matrices, lr=config.learning_rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
        )
    return made


def set_rate(optimizers: Sequence[Optimizer], rate: float) -> None:
    """Give every optimizer this learning rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate


def optimizer_tensors(optimizers: Sequence[Optimizer], weights: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """All state of the optimizers as ``<weight>.<state>``, shared among processes as the weights are."""
    tensors = {}
    for optimizer in optimizers:
        for name, value in weights.items():
            for key, state in optimizer.state.get(value, {}).items():
                tensors[f"{name}.{key}"] = torch.as_tensor(state).detach()
    return tensors


def restore_optimizers(
    optimizers: Sequence[Optimizer], weights: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]
) -> None:
    """Put back what `optimizer_tensors` gave, made whole.

    Raises:
        KeyError: State of a weight that is not there.
    """
    owners = {id(p): optimizer for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    for full_name, tensor in tensors.items():
        name, _, key = full_name.rpartition(".")
        value = weights[name]
        # AdamW keeps its step count on the CPU
        owners[id(value)].state[value][key] = tensor.clone() if key == "step" else like(tensor, value)

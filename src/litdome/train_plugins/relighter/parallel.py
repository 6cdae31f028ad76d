"""The processes that train together: one, or those that torchrun (or accelerate) started."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import torch
from torch import Tensor, nn

from litdome.errors import ConfigError
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.network import RelighterNetwork

TIMEOUT = timedelta(hours=2)  # one process may write a checkpoint or encode while the others wait


@dataclass(frozen=True)
class Processes:
    """Which process this is.

    Attributes:
        rank: From 0; the first one writes.
        world: How many there are.
        device: What this one computes on.
    """

    rank: int
    world: int
    device: str

    def gather(self, values: Tensor) -> Tensor:
        """The values of all processes one after the other in order of rank; shape and dtype are the same in all."""
        if self.world == 1:
            return values
        from accelerate.utils import gather

        return cast(Tensor, gather(values.to(self.device))).to(values.device)

    def wait(self) -> None:
        """Until all processes are here."""
        self.gather(torch.zeros(1))


def join_processes(device: str) -> Processes:
    """This process among those that ``WORLD_SIZE`` announces; alone without it."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Processes(0, 1, device)
    from accelerate import PartialState

    state = PartialState(cpu=device == "cpu", timeout=TIMEOUT)
    own = device if device == "cpu" else str(state.device)
    return Processes(state.process_index, state.num_processes, own)


def need_fit(config: RelighterConfig, processes: Processes) -> None:
    """Make sure that settings and number of processes go together.

    Raises:
        ConfigError: They do not.
    """
    if config.batch % processes.world:
        more = -(-config.batch // processes.world) * processes.world
        raise ConfigError(
            f"relighter: a batch of {config.batch} for {processes.world} processes: not the same share for each",
            hint=f"--set batch={more}",
        )
    obstacle = obstacle_to_shares(config)
    if obstacle is not None:
        raise ConfigError(f"relighter: {obstacle[0]}", hint=obstacle[1])


def obstacle_to_shares(config: RelighterConfig) -> tuple[str, str] | None:
    """Why these settings do not go with ``sharded``, and what to type; None where they do."""
    if not config.sharded:
        return None
    if config.mode == "lora":
        return "sharded is for mode = full; an adapter is small", "--set sharded=false"
    if config.optimizer == "muon":
        return "muon needs whole matrices, sharded ones are not", "--set optimizer=adamw"
    if config.clip_frames > 1 and config.clip_share < 1:
        # each length is a pass of its own, and in every pass all processes wait for the others' shares
        return "sharded needs clips of one length: processes with more lengths than others wait for ever", (
            "--set clip_share=1"
        )
    return None


def spread(network: RelighterNetwork, config: RelighterConfig, processes: Processes) -> nn.Module:
    """The network as all processes train it: as it is for one, its gradients averaged (DDP), or in shares (FSDP)."""
    if processes.world == 1:
        return network
    if not config.sharded:
        from torch.nn.parallel import DistributedDataParallel

        devices = None if processes.device == "cpu" else [torch.device(processes.device)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # the option's new name is not in older torch
            # positions are the same everywhere: nothing to send before each pass
            return DistributedDataParallel(network, device_ids=devices, broadcast_buffers=False)
    return in_shares(network, config, processes)


def in_shares(network: RelighterNetwork, config: RelighterConfig, processes: Processes) -> nn.Module:
    """The network with weights, gradients and optimizer state in shares, one for each process."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    warnings.filterwarnings("ignore", "FSDP2-wrapped module")  # of a view that nobody writes to
    mesh = init_device_mesh(processes.device.split(":")[0], (processes.world,))
    half = torch.bfloat16 if config.precision == "bfloat16" else None
    policy = MixedPrecisionPolicy(param_dtype=half, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for block in network.transformer_blocks:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    return cast(nn.Module, fully_shard(network, mesh=mesh, mp_policy=policy))


@contextmanager
def gradients_sent(model: nn.Module, now: bool) -> Iterator[None]:
    """Exchange gradients after the backward pass inside, or let them add up here until a later one."""
    wrapped = cast(Any, model)
    if hasattr(model, "set_requires_gradient_sync"):
        wrapped.set_requires_gradient_sync(now)
    with wrapped.no_sync() if hasattr(model, "no_sync") and not now else nullcontext():
        yield


def read_shares_anew(network: nn.Module) -> None:
    """Let a network whose shares were written to forget what it put together of them before.

    Its blocks do so after every pass, the layers around them only after a backward pass.
    """
    if hasattr(network, "reshard"):
        cast(Any, network).reshard()


def whole(value: Tensor) -> Tensor:
    """All of a tensor that processes may share, on the CPU; every one of them has to ask."""
    all_of_it = cast(Tensor, cast(Any, value).full_tensor()) if _is_shared(value) else value
    return all_of_it.detach().cpu().contiguous()


def like(value: Tensor, target: Tensor) -> Tensor:
    """A whole tensor on the target's device, shared among processes as the target is."""
    value = value.to(target.device)
    if not _is_shared(target):
        return value
    from torch.distributed.tensor import distribute_tensor

    shared = cast(Any, target)
    return distribute_tensor(value, shared.device_mesh, shared.placements)


def _is_shared(value: Tensor) -> bool:
    return hasattr(value, "full_tensor")

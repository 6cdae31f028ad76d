"""Two real processes train to the losses and weights of one: copies of the network, parts of a batch, shards."""

from __future__ import annotations

import multiprocessing
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from two_processes import prepare, take_part, train_all

from litdome.errors import ConfigError
from litdome.train_plugins.relighter.checkpoints import Trained
from litdome.train_plugins.relighter.config import NetworkConfig, RelighterConfig
from litdome.train_plugins.relighter.model import WeightAverage, trainable
from litdome.train_plugins.relighter.parallel import Processes, in_shares, need_fit
from litdome.train_plugins.relighter.weights import random_base
from litdome.train_plugins.run import RunFolder


def free_port() -> str:
    with socket.socket() as opened:
        opened.bind(("localhost", 0))
        return str(opened.getsockname()[1])


def in_two_processes(folder: Path) -> None:
    """Two processes that share their imports, which cost more than what they do."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["litdome.train_plugins.relighter.training", "peft", "accelerate", "torch.distributed.fsdp"]
    )
    port = free_port()
    started = [context.Process(target=take_part, args=(folder, rank, port)) for rank in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0, 0]


def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        prepare(tmp_path / name)
    train_all(tmp_path / "one", 0, ("copies",))
    in_two_processes(tmp_path / "two")
    expected = RunFolder.open(tmp_path / "one/copies")
    for name in ("copies", "parts", "shards"):
        run = RunFolder.open(tmp_path / "two" / name)
        for key in ("loss", "gradient", "loss_high_sigma"):
            here, there = ([float(line[key]) for line in one.metrics()] for one in (run, expected))
            assert here == pytest.approx(there, rel=1e-5), (name, key)  # float32, summed in another order
        for file in ("weights.safetensors", "average.safetensors", "optimizer.safetensors"):
            found = load_file(run.path / "checkpoints/step-000003" / file)
            for key, value in load_file(expected.path / "checkpoints/step-000003" / file).items():
                assert torch.allclose(found[key], value, rtol=1e-3, atol=1e-4), (name, file, key)


def test_a_look_at_the_averaged_weights_leaves_shared_training_as_it_was() -> None:
    torch.manual_seed(0)
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        network = random_base(NetworkConfig(heads=1, head_dim=12, blocks=1, adaln_dim=2), 0).network
        model = in_shares(network.requires_grad_(True), RelighterConfig(mode="full"), Processes(0, 1, "cpu"))
        weights = trainable(network)
        average = WeightAverage({name: value * 0.5 for name, value in weights.items()}, 0.9)
        trained = Trained(network, weights, average, [])
        latents, conditions = torch.randn(1, 48, 1, 8, 8), torch.randn(1, 8 * 49, 1, 8, 8)

        def output() -> torch.Tensor:
            found: torch.Tensor = model(latents, torch.zeros(1), conditions)
            found.sum().backward()  # type: ignore[no-untyped-call]
            return found.detach().clone()

        before = output()
        with trained.averaged(), torch.no_grad():
            averaged = model(latents, torch.zeros(1), conditions).clone()
        assert not torch.allclose(averaged, before, atol=1e-3)
        assert torch.equal(output(), before)
    finally:
        torch.distributed.destroy_process_group()


def test_settings_that_do_not_fit_the_processes_are_refused() -> None:
    two = Processes(0, 2, "cpu")
    need_fit(RelighterConfig(batch=4), two)
    with pytest.raises(ConfigError) as raised:
        need_fit(RelighterConfig(batch=3), two)
    assert raised.value.hint == "--set batch=4"
    with pytest.raises(ConfigError, match="mode = full"):
        need_fit(RelighterConfig(sharded=True), two)
    with pytest.raises(ConfigError, match="muon"):
        need_fit(RelighterConfig(sharded=True, mode="full", optimizer="muon"), two)

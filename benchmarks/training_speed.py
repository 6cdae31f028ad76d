"""How fast the relighter trains, beside a plain loop over diffusers' own class.

    python benchmarks/training_speed.py                                    a small network on this machine
    python benchmarks/training_speed.py --full-size --frames 57            7B, on a GPU, one clip of 57 frames a step
    python benchmarks/training_speed.py --full-size --batch 8              7B, on a GPU, eight pictures a step

Weights are random and latents given: this is about the step, not about what it learns. Model FLOP utilisation counts
what a step needs (cost.py, exact), not what checkpointing computes again, over the device's dense bfloat16 peak.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import torch
from diffusers import CosmosTransformer3DModel
from diffusers.training_utils import cast_training_params
from peft import LoraConfig as PeftLora
from torch import Tensor, nn

from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.cost import H100_FLOPS, Clip, describe, step_flops
from litdome.train_plugins.relighter.network import NetworkShape, RelighterNetwork, build_network, transformer_arguments
from litdome.train_plugins.relighter.objective import Batch, edm_losses

SMALL = NetworkShape(channels=16, heads=4, head_dim=48, blocks=4, adaln_dim=48, context_dim=64)
PEAKS = {"H100": H100_FLOPS, "H200": H100_FLOPS, "A100": 312e12}  # dense bfloat16, NVIDIA's figures


def main() -> None:
    """Read the command line and measure both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full-size", action="store_true", help="7B at 704x1280")
    parser.add_argument("--frames", type=int, default=1, help="pictures a sample: 1 or 57")
    parser.add_argument("--batch", type=int, default=1, help="samples a step")
    parser.add_argument("--steps", type=int, default=8, help="measured steps, after two that are not")
    parser.add_argument("--compile", action="store_true", help="compile our blocks")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if arguments.full_size and device == "cpu":
        raise SystemExit("7B needs a GPU; without --full-size a small network is measured here")
    shape = NetworkShape() if arguments.full_size else SMALL
    size = (88, 160) if arguments.full_size else (16, 28)
    clip = Clip((arguments.frames - 1) // 8 + 1, *size)
    config = RelighterConfig.model_validate(
        {"precision": "bfloat16" if device == "cuda" else "float32", "batch": arguments.batch}
        | {"gradient_checkpointing": True, "compile": arguments.compile}
    )
    name = torch.cuda.get_device_name() if device == "cuda" else f"{platform.processor() or 'CPU'}, 1 thread"
    print(f"{name}; torch {torch.__version__}; load {os.getloadavg()[0]:.1f}")
    trained = replace(shape, context_dim=0)
    print("\n".join(describe(trained, clip, config)))
    flops = arguments.batch * step_flops(trained, clip, config).model
    peak = next((value for key, value in PEAKS.items() if key in name), None)
    for label, build in (("ours", _ours), ("diffusers", _plain)):
        seconds = _measure(build(shape, clip, config, device), arguments.steps, device)
        share = f", {flops / seconds / peak:.1%} of the peak" if peak else ""
        memory = f", {torch.cuda.max_memory_allocated() / 1e9:.1f} GB" if device == "cuda" else ""
        print(f"{label}: {seconds:.3f} s a step, {flops / seconds / 1e12:.3g} TFLOP/s{share}{memory}")


def _ours(shape: NetworkShape, clip: Clip, config: RelighterConfig, device: str) -> Callable[[], None]:
    with torch.device(device):
        network = build_network(replace(shape, context_dim=0))
    targets = RelighterNetwork.lora_targets["attention"]
    _prepare(network, config, targets)
    if config.compile:
        for block in network.transformer_blocks:
            block.compile()
    batch, noise, sigmas = _inputs(shape, clip, config, device)
    step = _stepper(network)

    def run() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=config.precision == "bfloat16"):
            losses = edm_losses(network, batch, sigmas, noise, torch.ones(shape.channels, device=device))
        step(losses.mean())

    return run


def _plain(shape: NetworkShape, clip: Clip, config: RelighterConfig, device: str) -> Callable[[], None]:
    """As diffusers' own LoRA script for Cosmos does: the class as it is, a text context, its suffix targets."""
    with torch.device(device):
        network = CosmosTransformer3DModel(**transformer_arguments(shape))
    _prepare(network, config, ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"])
    batch, noise, sigmas = _inputs(shape, clip, config, device)
    kind = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    context = torch.zeros(len(noise), 512, shape.context_dim, device=device, dtype=kind)
    padding = torch.zeros_like(noise[:, :1])
    step = _stepper(network)

    def run() -> None:
        noisy = batch.clean + sigmas[:, None, None, None, None] * noise
        hidden = torch.cat([noisy, batch.conditions, padding], dim=1).to(kind)
        with torch.autocast(device, torch.bfloat16, enabled=config.precision == "bfloat16"):
            output: Tensor = network(hidden, sigmas.log() / 4, context, fps=24, return_dict=False)[0]
        step(((output.float() - batch.clean) ** 2).mean())

    return run


def _prepare(network: nn.Module, config: RelighterConfig, targets: str | list[str]) -> None:
    network.requires_grad_(False)
    nn.Module.to(network, torch.bfloat16 if config.precision == "bfloat16" else torch.float32)
    network.add_adapter(PeftLora(r=config.lora.rank, lora_alpha=config.lora.alpha, target_modules=targets))
    cast_training_params(network, torch.float32)
    network.enable_gradient_checkpointing()
    network.train()


def _inputs(shape: NetworkShape, clip: Clip, config: RelighterConfig, device: str) -> tuple[Batch, Tensor, Tensor]:
    size = (config.batch, shape.channels, clip.frames, clip.height, clip.width)
    clean, noise = torch.randn(size, device=device), torch.randn(size, device=device)
    conditions = torch.randn(config.batch, shape.condition_channels, *size[2:], device=device)
    return Batch(clean, conditions, None), noise, torch.full((config.batch,), 2.0, device=device)


def _stepper(network: nn.Module) -> Callable[[Tensor], None]:
    weights = [value for value in network.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=1e-4)

    def step(loss: Tensor) -> None:
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _measure(run: Callable[[], None], steps: int, device: str) -> float:
    times = []
    for _ in range(steps + 2):
        start = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return median(times[2:])


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

"""What bfloat16 and tiles change: network, sampler and autoencoder of the parity fixture, against float32.

    python benchmarks/relighter_precision.py ../shared/fixtures/relighter [--small]

The fixture's weights are random: the figures say how rounding travels through this architecture, not how pictures of
the released model change.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from litdome.train_plugins.relighter.autoencoder import CosmosAutoencoder
from litdome.train_plugins.relighter.convert_tokenizer import build_tokenizer
from litdome.train_plugins.relighter.parity import load_original_network
from litdome.train_plugins.relighter.sampler import noise_schedule, predict_clean, start_latents, step_euler
from litdome.train_plugins.relighter.tiling import TiledAutoencoder


class RoundedRope(nn.Module):
    """Rotary angles with frequencies of bfloat16, as the original's buffers have after ``model.to(bfloat16)``."""

    def __init__(self, exact: nn.Module) -> None:
        super().__init__()
        self.dims = (exact.dim_t, exact.dim_h, exact.dim_w)

    def forward(self, hidden: Tensor, fps: float) -> tuple[Tensor, Tensor]:
        t, h, w = hidden.shape[2], hidden.shape[3] // 2, hidden.shape[4] // 2
        axes = torch.meshgrid(torch.arange(t) / fps * 24, torch.arange(h) * 1.0, torch.arange(w) * 1.0, indexing="ij")
        angles = []
        for axis, dim in zip(axes, self.dims, strict=True):
            exponent = (torch.arange(0, dim, 2) / dim).bfloat16().float()
            angles.append(torch.outer(axis.flatten(), 10000.0**-exponent))
        both = torch.cat(angles * 2, dim=-1)
        return both.cos(), both.sin()


def compare(name: str, made: Tensor, exact: Tensor) -> None:
    """Print the difference in shares of the exact one's spread."""
    error, spread = (made.float() - exact).abs(), float(exact.std())
    print(f"{name:<64} rms {float(error.square().mean().sqrt()) / spread:.4f}  worst {float(error.max()) / spread:.4f}")


def networks(fixture: Path, height: int, width: int) -> None:
    """One network call and the sampler, in each precision."""
    generator = torch.Generator().manual_seed(0)
    exact = load_original_network(fixture / "model.pt", fixture / "config.json")
    latents = torch.randn(1, 16, 1, height, width, generator=generator)
    conditions = torch.randn(1, exact.condition_channels, 1, height, width, generator=generator) * 0.5
    level = torch.tensor([0.2739])
    half = load_original_network(fixture / "model.pt", fixture / "config.json").bfloat16()
    rounded = load_original_network(fixture / "model.pt", fixture / "config.json").bfloat16()
    rounded.rope = RoundedRope(exact.rope)

    def call(network: nn.Module, x: Tensor, at: Tensor) -> Tensor:
        made: Tensor = network(x.bfloat16(), at.bfloat16(), conditions.bfloat16())
        return made.float()

    def mixed(x: Tensor, at: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            made: Tensor = half(x, at, conditions)
        return made.float()

    def float_weights(x: Tensor, at: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            made: Tensor = exact(x, at, conditions)
        return made.float()

    ways: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "autocast, weights of float32 (mode = full)": float_weights,
        "autocast, weights of bfloat16 (mode = lora)": mixed,
        "all bfloat16, angles of float32": lambda x, at: call(half, x, at),
        "all bfloat16, angles of bfloat16 (the original's)": lambda x, at: call(rounded, x, at),
    }
    where = f"at {height}x{width} latents"
    reference = exact(latents, level, conditions)
    for name, way in ways.items():
        compare(f"network {where}: {name}", way(latents, level), reference)

    def sample(way: Callable[[Tensor, Tensor], Tensor], *, state: torch.dtype = torch.float32) -> Tensor:
        sigmas = noise_schedule(15)
        x = start_latents(latents, sigmas)
        for here, after in pairwise(sigmas):
            x = step_euler(x, predict_clean(way, x, here), here, after).to(state).float()
        return x

    end = sample(lambda x, at: exact(x, at, conditions))
    for name, way in ways.items():
        compare(f"15 steps {where}: {name}", sample(way), end)
    compare(
        f"15 steps {where}: and the state of bfloat16 (the original's)",
        sample(list(ways.values())[-1], state=torch.bfloat16),
        end,
    )


def autoencoders(fixture: Path, size: int) -> None:
    """The tokenizer in bfloat16 (but for its pooling, which torch has for GPUs only), and by tiles."""
    pool = nn.functional.avg_pool3d
    nn.functional.avg_pool3d = lambda x, *how, **named: pool(x.float(), *how, **named).to(x.dtype)
    state = load_file(fixture / "vae_state.safetensors")
    stats = [torch.load(fixture / f"vae_{name}.pt", weights_only=True) for name in ("mean_std", "image_mean_std")]
    exact = CosmosAutoencoder(build_tokenizer(state), stats[0], stats[1])
    half = CosmosAutoencoder(
        build_tokenizer({k: v.bfloat16() if v.is_floating_point() else v for k, v in state.items()}), stats[0], stats[1]
    )
    generator = torch.Generator().manual_seed(1)
    smooth = torch.randn(1, 3, 1, size // 16, size // 16, generator=generator)
    video = nn.functional.interpolate(smooth, scale_factor=(1, 16, 16), mode="trilinear").clamp(-1, 1)
    video = video.repeat(1, 1, 9, 1, 1)
    latents = exact.encode(video)
    pictures = exact.decode(latents)
    compare(f"encode 9 x {size}x{size}: bfloat16", half.encode(video), latents)
    compare(f"decode 9 x {size}x{size}: bfloat16", half.decode(latents), pictures)
    for tile in (size // 2, size * 3 // 4):
        tiled = TiledAutoencoder(exact, tile)
        compare(f"encode 9 x {size}x{size}: tiles of {tile} px", tiled.encode(video), latents)
        made = tiled.decode(latents)
        compare(f"decode 9 x {size}x{size}: tiles of {tile} px", made, pictures)
        print(f"  gradient energy against untiled: {float(_energy(made) / _energy(pictures)):.4f}")


def _energy(pictures: Tensor) -> Tensor:
    return pictures.diff(dim=-1).square().mean() + pictures.diff(dim=-2).square().mean()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fixture", type=Path)
    parser.add_argument("--small", action="store_true", help="seconds instead of a minute or two")
    parser.add_argument("--autoencoder", action="store_true", help="leave the network out")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.machine()} {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}")
    with torch.no_grad():
        if not arguments.autoencoder:
            networks(arguments.fixture, 8, 10)
            if not arguments.small:
                networks(arguments.fixture, 88, 160)
        autoencoders(arguments.fixture, 128 if arguments.small else 256)


if __name__ == "__main__":
    main()

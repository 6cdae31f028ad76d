"""A forward renderer in NVIDIA's layout with random weights, and its formulas written out once more.

The formulas use the original's names and no code of litdome or diffusers: an oracle for other sizes than the fixture's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import gelu, interpolate, layer_norm, linear, scaled_dot_product_attention, silu

from litdome.train_plugins.relighter.convert import original_layout
from litdome.train_plugins.relighter.network import NetworkShape

SMALL = NetworkShape(channels=16, heads=2, head_dim=16, blocks=2, adaln_dim=6, context_dim=10, max_size=(8, 32, 48))


def random_checkpoint(shape: NetworkShape, seed: int = 0) -> dict[str, Tensor]:
    """Weights by original names; every part of the network has an effect."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, size in original_layout(shape).items():
        spread = 0.3 if len(size) == 1 else size[-1] ** -0.5
        state[name] = torch.randn(size, generator=generator) * spread + (1.0 if len(size) == 1 else 0.0)
    return state


def forward(
    state: Mapping[str, Tensor],
    shape: NetworkShape,
    latents: Tensor,
    noise_level: Tensor,
    conditions: Tensor,
    *,
    padding_mask: Tensor,
    context: Tensor,
    fps: float,
) -> Tensor:
    """The network's output by the formulas of reference and paper; shapes as `RelighterNetwork.forward`."""
    w = {name.removeprefix("net."): value for name, value in state.items()}
    b, _, t, height, width_px = latents.shape
    h, v, width = height // 2, width_px // 2, shape.heads * shape.head_dim
    mask = interpolate(padding_mask, (height, width_px), mode="nearest")[:, :, None].expand(b, 1, t, height, width_px)
    x = torch.cat([latents, conditions, mask], 1)
    x = x.reshape(b, -1, t, h, 2, v, 2).permute(0, 2, 3, 5, 1, 4, 6).reshape(b, t * h * v, -1)  # (c m n)
    x = linear(x, w["x_embedder.proj.1.weight"])
    angle = noise_level[:, None] * 10000.0 ** (-torch.arange(width // 2) / (width // 2))
    wave = torch.cat([angle.cos(), angle.sin()], 1)
    shared = linear(silu(linear(wave, w["t_embedder.1.linear_1.weight"])), w["t_embedder.1.linear_2.weight"])
    feature = _rms(wave, w["affline_norm.weight"])
    axes = torch.meshgrid(torch.arange(t), torch.arange(h), torch.arange(v), indexing="ij")
    places = [axis.flatten().float() for axis in axes]
    fixed, angles = _positions(places, width), _angles(places, shape.head_dim, fps)
    for number in range(shape.blocks):
        x = x + fixed
        for part in "012":
            at = f"blocks.block{number}.blocks.{part}."
            shift, scale, gate = (_modulation(w, at, feature) + shared)[:, None].chunk(3, -1)
            inner = layer_norm(x, (width,), eps=1e-6) * (1 + scale) + shift
            if part == "2":
                inner = linear(gelu(linear(inner, w[at + "block.layer1.weight"])), w[at + "block.layer2.weight"])
            else:
                inner = _attention(
                    w, at, inner, inner if part == "0" else context, shape, angles if part == "0" else None
                )
            x = x + gate * inner
    shift, scale = (_modulation(w, "final_layer.", feature) + shared[:, : 2 * width])[:, None].chunk(2, -1)
    x = linear(layer_norm(x, (width,), eps=1e-6) * (1 + scale) + shift, w["final_layer.linear.weight"])
    return x.reshape(b, t, h, v, 2, 2, -1).permute(0, 6, 1, 2, 4, 3, 5).reshape(b, -1, t, height, width_px)  # (p1 p2 C)


def _modulation(w: Mapping[str, Tensor], at: str, feature: Tensor) -> Tensor:
    return linear(linear(silu(feature), w[at + "adaLN_modulation.1.weight"]), w[at + "adaLN_modulation.2.weight"])


def _attention(
    w: Mapping[str, Tensor], at: str, x: Tensor, source: Tensor, shape: NetworkShape, angles: Tensor | None
) -> Tensor:
    def heads(name: str, of: Tensor) -> Tensor:
        return linear(of, w[f"{at}block.attn.to_{name}.0.weight"]).unflatten(-1, (shape.heads, -1)).transpose(1, 2)

    q = _rms(heads("q", x), w[at + "block.attn.to_q.1.weight"])
    k = _rms(heads("k", source), w[at + "block.attn.to_k.1.weight"])
    if angles is not None:
        q, k = _turn(q, angles), _turn(k, angles)
    mixed = scaled_dot_product_attention(q, k, heads("v", source)).transpose(1, 2).flatten(2)
    return linear(mixed, w[at + "block.attn.to_out.0.weight"])


def _rms(x: Tensor, weight: Tensor) -> Tensor:
    return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * weight


def _turn(x: Tensor, angles: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return torch.cat([first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()], -1)


def _split(size: int) -> list[int]:
    return [size - 2 * (size // 6 * 2), size // 6 * 2, size // 6 * 2]


def _angles(places: list[Tensor], head_dim: int, fps: float) -> Tensor:
    seconds = [places[0] / fps * 24, *places[1:]]
    return torch.cat(
        [
            torch.outer(p, 10000.0 ** (-torch.arange(0, d, 2) / d))
            for p, d in zip(seconds, _split(head_dim), strict=True)
        ],
        1,
    )


def _positions(places: list[Tensor], width: int) -> Tensor:
    parts = []
    for place, size in zip(places, _split(width), strict=True):
        angle = torch.outer(place, 10000.0 ** (-torch.arange(size // 2) / (size / 2)))
        parts += [angle.sin(), angle.cos()]
    return torch.cat(parts, 1)


def write_tokenizer(folder: Path, fixture: Path) -> Path:
    """encoder.jit, decoder.jit and both statistics as NVIDIA publishes them, from the fixture's numbers."""
    folder.mkdir(parents=True)
    state = load_file(fixture / "vae_state.safetensors")
    for name, parts in (("encoder", ("encoder.", "quant_conv.")), ("decoder", ("decoder.", "post_quant_conv."))):
        inside = {key: value for key, value in state.items() if key.startswith(parts)}
        torch.jit.trace(module_of(inside), torch.zeros(1)).save(str(folder / f"{name}.jit"))
    for name in ("mean_std.pt", "image_mean_std.pt"):
        (folder / name).write_bytes((fixture / f"vae_{name}").read_bytes())
    return folder


class _Node(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


def module_of(state: Mapping[str, Tensor]) -> nn.Module:
    """A module whose state dict is this one."""
    root = _Node()
    for key, value in state.items():
        node: nn.Module = root
        *path, leaf = key.split(".")
        for name in path:
            if name not in dict(node.named_children()):
                node.add_module(name, _Node())
            node = node.get_submodule(name)
        if value.is_floating_point() and leaf in ("weight", "bias"):
            node.register_parameter(leaf, nn.Parameter(value))
        else:
            node.register_buffer(leaf, value)
    return root

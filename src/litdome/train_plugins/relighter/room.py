"""Whether a machine can render with a network, asked before a weight is read."""

from __future__ import annotations

import torch

from litdome.errors import PluginError
from litdome.train_plugins.relighter.config import RelighterConfig
from litdome.train_plugins.relighter.cost import LARGE, base_layout, parameters


def need_room_to_render(config: RelighterConfig, device: str) -> None:
    """Refuse a large network without a GPU, or with one that cannot hold its weights.

    Raises:
        PluginError: What it would need.

    Source: 16 GB for single pictures and 27 GB for 57 at 704x1280 are NVIDIA's figures for the 7B model (README of
    nv-tlabs/cosmos-transfer1-diffusion-renderer).
    """
    shape, _, _ = base_layout(config)
    count = parameters(shape)
    if count < LARGE:
        return
    needed = count * (2 if config.precision == "bfloat16" else 4)
    about = f"base {config.base} has {count / 1e9:.2f} B parameters, {needed / 1e9:.1f} GB in {config.precision}"
    if not device.startswith("cuda"):
        published = "a GPU of 16 GB makes single pictures, one of 27 GB clips of 57 (the 7B model in bfloat16)"
        raise PluginError(f"relighter: no GPU here, and {about}: {published}", hint="the same on a machine with a GPU")
    room = torch.cuda.get_device_properties(device).total_memory
    if needed > room:
        raise PluginError(f"relighter: {about}, this GPU has {room / 1e9:.1f}", hint="a larger GPU, or bfloat16")

"""The eight conditions in their order, each with a channel that says whether it is there.

Source: model_diffusion_renderer.py prepare_diffusion_renderer_latent_conditions of the original.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor

from litdome.errors import InputError

Condition = Literal["basecolor", "normal", "metallic", "roughness", "depth", "env_ldr", "env_log", "env_nrm"]
CONDITIONS: tuple[Condition, ...] = get_args(Condition)


def assemble_conditions(latents: Mapping[Condition, Tensor], like: Tensor) -> Tensor:
    """Concatenate conditions for the network.

    Args:
        latents: Encoded conditions that are there, shape (b, c, t, h, w) each. One that is absent gets zeros and a
            mask of 0, which is not the same as an encoded black picture.
        like: A tensor of that shape, for the absent ones.

    Returns:
        Shape (b, 8 * (c + 1), t, h, w): per condition its latents, then its mask.

    Raises:
        InputError: An unknown name or another shape.
    """
    for name, tensor in latents.items():
        if name not in CONDITIONS:
            raise InputError(f"condition {name} is unknown", hint=f"one of {', '.join(CONDITIONS)}")
        if tensor.shape != like.shape:
            raise InputError(f"condition {name} has shape {tuple(tensor.shape)}, not {tuple(like.shape)}")
    parts = []
    for name in CONDITIONS:
        present = latents.get(name)
        parts += [torch.zeros_like(like), torch.zeros_like(like[:, :1])]
        if present is not None:
            parts[-2:] = [present, torch.ones_like(like[:, :1])]
    return torch.cat(parts, dim=1)

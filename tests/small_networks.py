"""Checkpoints of Sapiens 2 as transformers saves them, small enough for a test: random, or with known answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import Sapiens2Config, Sapiens2ForImageMatting, Sapiens2ForSemanticSegmentation, logging

SIZE = (128, 96)  # height, width of the input
LEFT_HAND, RIGHT_HAND = 6, 15
HEAD: dict[str, Any] = {"upsample_out_channels": [16, 16], "conv_out_channels": [16], "conv_kernel_sizes": [1]}
MATTE_HEAD: dict[str, Any] = {**HEAD, "upsample_kernel_sizes": [3, 3], "use_pixel_shuffle": True}


def small_config(labels: int, **settings: Any) -> Sapiens2Config:
    """Three layers of 48 channels."""
    shape = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4}
    heads = {"num_key_value_attention_heads": 2, "num_first_full_attention_layers": 1}
    return Sapiens2Config(
        **shape,
        **heads,
        num_last_full_attention_layers=1,
        image_size=list(SIZE),
        num_labels=labels,
        head_config=MATTE_HEAD if labels == 4 else HEAD,
        **settings,
    )


def save_random(folder: Path, *, matting: bool = False, seed: int = 0, **settings: Any) -> str:
    """An untrained network; with ``matting`` one that gives mattes."""
    torch.manual_seed(seed)
    network = (
        Sapiens2ForImageMatting(small_config(4, **settings))
        if matting
        else Sapiens2ForSemanticSegmentation(small_config(settings.pop("labels", 29), **settings))
    )
    return _saved(network, folder)


def save_color_finder(folder: Path) -> str:
    """A network that calls red patches Left_Hand and blue ones Right_Hand: its layers pass a patch's mean colour on."""
    network = Sapiens2ForSemanticSegmentation(small_config(29))
    with torch.no_grad():
        for name, values in network.named_parameters():
            values.fill_(1.0 if "norm" in name else 0.0)
        patches = network.model.embeddings.patch_embeddings
        patches.weight[0, 0] = patches.weight[1, 2] = 1 / 256
        patches.bias[2] = 1.0
        spread = torch.tensor([0.25, 0.75, 0.75, 0.25])
        head = network.decode_head
        for layer in (*head.upsample_layers, *head.conv_layers):
            kernel = layer.convolution.weight
            for channel in (0, 1):
                kernel[channel, channel] = 1.0 if kernel.shape[-1] == 1 else torch.outer(spread, spread)
        head.predictor.weight[LEFT_HAND, 0] = head.predictor.weight[RIGHT_HAND, 1] = 8.0
        head.predictor.bias.fill_(-50.0)
        head.predictor.bias[[LEFT_HAND, RIGHT_HAND]] = -8.0
        head.predictor.bias[0] = 0.0
    return _saved(network, folder)


def _saved(network: Any, folder: Path) -> str:
    logging.disable_progress_bar()
    network.save_pretrained(folder)
    return str(folder)

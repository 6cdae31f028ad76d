"""The original's tokenizer in diffusers: its names, its shape, its model.

Source: huggingface/diffusers scripts/convert_cosmos_to_diffusers.py (the tokenizer table).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from litdome.errors import InputError
from litdome.train_plugins.relighter.convert import check_state

if TYPE_CHECKING:
    from diffusers import AutoencoderKLCosmos

_TOKENIZER_DROPPED = re.compile(r"wavelets$|_arange$|patch_size_buffer$")
_TOKENIZER_RENAMES = (
    (".block.", ".resnets."),
    ("downsample.", "downsamplers.0."),
    ("upsample.", "upsamplers.0."),
    ("mid.block_1", "mid_block.resnets.0"),
    ("mid.block_2", "mid_block.resnets.1"),
    ("mid.attn_1.0", "mid_block.attentions.0"),
    ("mid.attn_1.1", "mid_block.temp_attentions.0"),
    ("nin_shortcut.conv3d", "conv_shortcut"),
    (".q.conv3d", ".to_q"),
    (".k.conv3d", ".to_k"),
    (".v.conv3d", ".to_v"),
    (".proj_out.conv3d", ".to_out.0"),
    (".0.conv3d", ".conv_s"),
    (".1.conv3d", ".conv_t"),
    (".conv3d", ""),
)


def convert_tokenizer_state(original: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename an original tokenizer's weights (encoder's and decoder's together) to `AutoencoderKLCosmos` names."""
    kept = {key: value for key, value in original.items() if not _TOKENIZER_DROPPED.search(key)}
    levels = len({key.split(".")[2] for key in kept if key.startswith("decoder.up.")})
    return {_tokenizer_key(key, levels): value for key, value in kept.items()}


def _tokenizer_key(key: str, levels: int) -> str:
    key = re.sub(r"\bdown\.(\d+)", r"down_blocks.\1", key)
    key = re.sub(r"\bup\.(\d+)", lambda match: f"up_blocks.{levels - 1 - int(match[1])}", key)
    for old, new in _TOKENIZER_RENAMES:
        key = key.replace(old, new)
    return key


def build_tokenizer(original: Mapping[str, Tensor]) -> AutoencoderKLCosmos:
    """diffusers' model of an original tokenizer of any size, in the precision of its weights, not trainable.

    Args:
        original: Encoder's and decoder's state dict together.

    Raises:
        InputError: Names or shapes that are not those of a Cosmos tokenizer.
    """
    from diffusers import AutoencoderKLCosmos

    state = convert_tokenizer_state(original)
    try:
        model = AutoencoderKLCosmos(**tokenizer_config(state))
    except (KeyError, IndexError, ZeroDivisionError) as missing:
        raise InputError(f"tokenizer: tensor {missing} is missing", hint="encoder.jit and decoder.jit") from missing
    check_state(state, model.state_dict(), "tokenizer")
    model.load_state_dict(state, assign=True)
    nn.Module.requires_grad_(model, False)
    return model.eval()


def tokenizer_config(state: Mapping[str, Tensor]) -> dict[str, int | tuple[int, ...]]:
    """Constructor arguments of `AutoencoderKLCosmos` read from converted weights."""

    def widths(side: str, level: str) -> list[int]:
        count = len({key.split(".")[2] for key in state if key.startswith(f"{side}.{level}.")})
        return [state[f"{side}.{level}.{i}.resnets.0.conv1.conv_s.weight"].shape[0] for i in range(count)]

    down, up = widths("encoder", "down_blocks"), widths("decoder", "up_blocks")
    first = state["encoder.conv_in.conv_s.weight"]
    colours = 3
    patch = round((first.shape[1] / colours) ** (1 / 3))
    halvings = [
        sum(f"encoder.down_blocks.{i}.downsamplers.0.{conv}.weight" in state for i in range(len(down)))
        for conv in ("conv1", "conv2")
    ]
    layers = len({key.split(".")[4] for key in state if key.startswith("encoder.down_blocks.0.resnets.")})
    return {
        "in_channels": colours,
        "out_channels": colours,
        "latent_channels": state["encoder.conv_out.conv_s.weight"].shape[0],
        "encoder_block_out_channels": (first.shape[0], *down),
        "decode_block_out_channels": (*reversed(up), state["decoder.conv_in.conv_s.weight"].shape[0]),
        "attention_resolutions": (),
        "num_layers": layers,
        "patch_size": patch,
        "spatial_compression_ratio": patch * 2 ** halvings[0],
        "temporal_compression_ratio": patch * 2 ** halvings[1],
    }
